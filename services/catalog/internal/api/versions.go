package api

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/validate"
)

// CreateVersion adds a version to an API that the caller owns.
func (a *API) CreateVersion(ctx context.Context, req *catalogv1.CreateVersionRequest) (*catalogv1.Version, error) {
	c := identity.From(ctx)
	parent, err := resourcename.ParseAPI("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if err := checkVersion(req.GetVersion()); err != nil {
		return nil, err
	}
	row := store.Version{APIID: parent.API, Version: req.GetVersion().GetVersion()}
	row, err = a.store.CreateVersion(ctx, c.Viewer(), withVersion(row, req.GetVersion()), func(api store.API) error {
		return c.MayChange(api.Owner)
	})
	if err != nil {
		return nil, err
	}
	return a.versionProto(row), nil
}

// GetVersion returns a version that the caller may see.
func (a *API) GetVersion(ctx context.Context, req *catalogv1.GetVersionRequest) (*catalogv1.Version, error) {
	name, err := resourcename.ParseVersion("name", req.GetName())
	if err != nil {
		return nil, err
	}
	row, err := a.store.Version(ctx, identity.From(ctx).Viewer(), name)
	if err != nil {
		return nil, err
	}
	return a.versionProto(row), nil
}

// ListVersions returns a page of the versions that the caller may see.
func (a *API) ListVersions(ctx context.Context, req *catalogv1.ListVersionsRequest) (*catalogv1.ListVersionsResponse, error) {
	v := identity.From(ctx).Viewer()
	parent, err := resourcename.ParseAPI("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	terms, err := page.Filter(req.GetFilter(), "version", "state", "tags")
	if err != nil {
		return nil, err
	}
	p, err := page.New[sqldb.TimeKey](req)
	if err != nil {
		return nil, err
	}
	filter := store.VersionFilter{Version: terms.Value("version"), State: terms.Value("state"), Tag: terms.Value("tags")}
	if err := checkState(filter.State); err != nil {
		return nil, err
	}
	if parent.API != resourcename.Any {
		if _, err := a.store.API(ctx, v, parent.API); err != nil {
			return nil, err
		}
		filter.API = &parent.API
	}
	versions, next, err := page.Collect(p, a.store.Versions(ctx, v, filter, p.After), store.Version.ListKey, a.versionProto)
	if err != nil {
		return nil, err
	}
	return &catalogv1.ListVersionsResponse{Versions: versions, NextPageToken: next}, nil
}

// UpdateVersion changes a version that the caller owns; its state stays.
func (a *API) UpdateVersion(ctx context.Context, req *catalogv1.UpdateVersionRequest) (*catalogv1.Version, error) {
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetVersion(), "description", "tags", "endpoints", "security", "plans",
		"allowed_origins", "max_session_age", "endpoints.production", "endpoints.sandbox")
	if err != nil {
		return nil, err
	}
	if len(req.GetUpdateMask().GetPaths()) == 0 && req.GetVersion().GetVersion() != "" {
		u.Fix("version")
	}
	return a.changeVersion(ctx, "version.name", req.GetVersion().GetName(), func(old store.Version) (store.Version, error) {
		next := a.versionProto(old)
		if err := u.Apply(next); err != nil {
			return old, err
		}
		if err := validate.Message(&catalogv1.CreateVersionRequest{Parent: old.Name().Parent().String(), Version: next}); err != nil {
			return old, err
		}
		return withVersion(old, next), checkVersion(next)
	})
}

// PublishVersion publishes a version that the caller owns.
func (a *API) PublishVersion(ctx context.Context, req *catalogv1.PublishVersionRequest) (*catalogv1.Version, error) {
	return a.transition(ctx, req.GetName(), req.GetEtag(), store.Created, store.Published)
}

// DemoteVersion demotes a published version that the caller owns.
func (a *API) DemoteVersion(ctx context.Context, req *catalogv1.DemoteVersionRequest) (*catalogv1.Version, error) {
	return a.transition(ctx, req.GetName(), req.GetEtag(), store.Published, store.Created)
}

// transition moves a version from one state to another.
func (a *API) transition(ctx context.Context, name, etag, from, to string) (*catalogv1.Version, error) {
	return a.changeVersion(ctx, "name", name, func(v store.Version) (store.Version, error) {
		if err := page.CheckEtag(etag, v.Etag); err != nil {
			return v, err
		}
		if v.State != from {
			return v, fault.Precondition("the version is %s: only one that is %s becomes %s", v.State, from, to)
		}
		v.State = to
		return v, nil
	})
}

// changeVersion makes a version that the caller may change, whose name a field
// has, what edit makes of it.
func (a *API) changeVersion(ctx context.Context, field, text string, edit func(store.Version) (store.Version, error)) (*catalogv1.Version, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseVersion(field, text)
	if err != nil {
		return nil, err
	}
	row, err := a.store.UpdateVersion(ctx, c.Viewer(), name, func(old store.Version) (store.Version, error) {
		if err := c.MayChange(old.Owner); err != nil {
			return old, err
		}
		next, err := edit(old)
		if err != nil {
			return old, err
		}
		return next, checkPublished(next)
	})
	if err != nil {
		return nil, err
	}
	return a.versionProto(row), nil
}

// DeleteVersion removes a version that the caller owns and that is not
// published.
func (a *API) DeleteVersion(ctx context.Context, req *catalogv1.DeleteVersionRequest) (*emptypb.Empty, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseVersion("name", req.GetName())
	if err != nil {
		return nil, err
	}
	err = a.store.DeleteVersion(ctx, c.Viewer(), name, func(v store.Version) error {
		if err := c.MayChange(v.Owner); err != nil {
			return err
		}
		if err := page.CheckEtag(req.GetEtag(), v.Etag); err != nil {
			return err
		}
		if v.State != store.Created {
			return fault.Precondition("the version is %s: demote it first", v.State)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
