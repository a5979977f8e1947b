package api

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/validate"
)

// CreateVersion adds a version to an API that the caller owns.
func (a *API) CreateVersion(ctx context.Context, req *catalogv1.CreateVersionRequest) (*catalogv1.Version, error) {
	c := identity.From(ctx)
	if err := checkVersion(req.GetVersion()); err != nil {
		return nil, err
	}
	row := versionRow(req.GetVersion())
	row.ID, row.State = id.New(), store.Created
	var made store.Version
	err := a.write(ctx, func(w *writer) (string, error) {
		parent, err := editableAPI(ctx, w.Store, c, apiID(req.GetParent()), "")
		if err != nil {
			return "", err
		}
		if err := checkPlans(ctx, w.Store, row.Plans); err != nil {
			return "", err
		}
		row.APIID, row.Context, row.CreatedAt = parent.ID, parent.Context, w.now
		err = w.changeRoutes(ctx, parent.ID, row.ID, func() error { return w.CreateVersion(ctx, row) })
		if err != nil {
			return "", err
		}
		made, err = w.Version(ctx, parent.ID, row.ID)
		return versionName(parent.ID, row.ID), err
	})
	if err != nil {
		return nil, err
	}
	return a.versionProto(made), nil
}

// GetVersion returns a version that the caller may see.
func (a *API) GetVersion(ctx context.Context, req *catalogv1.GetVersionRequest) (*catalogv1.Version, error) {
	row, err := visibleVersion(ctx, a.store, identity.From(ctx), req.GetName())
	if err != nil {
		return nil, err
	}
	return a.versionProto(row), nil
}

// ListVersions returns a page of the versions that the caller may see.
func (a *API) ListVersions(ctx context.Context, req *catalogv1.ListVersionsRequest) (*catalogv1.ListVersionsResponse, error) {
	c := identity.From(ctx)
	terms, err := page.Filter(req.GetFilter(), "version", "state", "tags")
	if err != nil {
		return nil, err
	}
	p, err := newPage(req.GetPageSize(), req.GetPageToken(), "versions", req.GetParent(), req.GetFilter())
	if err != nil {
		return nil, err
	}
	filter := store.VersionFilter{Version: term(terms, "version"), State: term(terms, "state"), Tag: term(terms, "tags")}
	if err := checkState(filter.State); err != nil {
		return nil, err
	}
	if api := apiID(req.GetParent()); api != "-" {
		if _, err := visibleAPI(ctx, a.store, c, api); err != nil {
			return nil, err
		}
		filter.APIID = &api
	}
	versions, token, err := read(p, func(after store.After, limit int) ([]store.Version, error) {
		return a.store.ListVersions(ctx, viewer(c), filter, after, limit)
	}, a.versionProto)
	if err != nil {
		return nil, err
	}
	return &catalogv1.ListVersionsResponse{Versions: versions, NextPageToken: token}, nil
}

// UpdateVersion changes a version that the caller owns; its state stays.
func (a *API) UpdateVersion(ctx context.Context, req *catalogv1.UpdateVersionRequest) (*catalogv1.Version, error) {
	name, err := nameOfVersion("version.name", req.GetVersion())
	if err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetVersion(), "description", "tags", "endpoints", "security", "plans",
		"allowed_origins", "max_session_age", "endpoints.production", "endpoints.sandbox")
	if err != nil {
		return nil, err
	}
	if len(req.GetUpdateMask().GetPaths()) == 0 && req.GetVersion().GetVersion() != "" {
		u.Fix("version")
	}
	return a.changeVersion(ctx, name, req.GetVersion().GetEtag(), func(w *writer, old store.Version) (store.Version, error) {
		next := a.versionProto(old)
		if err := u.Apply(next); err != nil {
			return store.Version{}, err
		}
		if err := validate.Message(&catalogv1.CreateVersionRequest{Parent: apiName(old.APIID), Version: next}); err != nil {
			return store.Version{}, err
		}
		if err := checkVersion(next); err != nil {
			return store.Version{}, err
		}
		row := versionRow(next)
		row.State = old.State
		if err := checkPlans(ctx, w.Store, row.Plans); err != nil {
			return store.Version{}, err
		}
		return row, checkPublished(row)
	})
}

// PublishVersion publishes a version that the caller owns.
func (a *API) PublishVersion(ctx context.Context, req *catalogv1.PublishVersionRequest) (*catalogv1.Version, error) {
	return a.transition(ctx, req.GetName(), req.GetEtag(), store.Created, store.Published)
}

// DemoteVersion takes a version that the caller owns back from being published.
func (a *API) DemoteVersion(ctx context.Context, req *catalogv1.DemoteVersionRequest) (*catalogv1.Version, error) {
	return a.transition(ctx, req.GetName(), req.GetEtag(), store.Published, store.Created)
}

// transition moves a version from one state to another.
func (a *API) transition(ctx context.Context, name, etag, from, to string) (*catalogv1.Version, error) {
	return a.changeVersion(ctx, name, etag, func(_ *writer, old store.Version) (store.Version, error) {
		if old.State != from {
			return store.Version{}, fault.Precondition("the version is %s: only one that is %s becomes %s", old.State, from, to)
		}
		old.State = to
		return old, checkPublished(old)
	})
}

// changeVersion replaces a version by what fn makes of it.
func (a *API) changeVersion(ctx context.Context, name, etag string,
	fn func(w *writer, old store.Version) (store.Version, error),
) (*catalogv1.Version, error) {
	c := identity.From(ctx)
	var row store.Version
	err := a.write(ctx, func(w *writer) (string, error) {
		old, err := visibleVersion(ctx, w.Store, c, name)
		if err != nil {
			return "", err
		}
		if err := c.MayChange(old.Owner); err != nil {
			return "", err
		}
		if err := checkEtag(etag, old.Etag); err != nil {
			return "", err
		}
		if row, err = fn(w, old); err != nil {
			return "", err
		}
		row.ID, row.Etag, row.UpdatedAt = old.ID, old.Etag, w.now
		err = w.changeRoutes(ctx, old.APIID, old.ID, func() error { return w.UpdateVersion(ctx, row) })
		if err != nil {
			return "", err
		}
		row, err = w.Version(ctx, old.APIID, old.ID)
		return name, err
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
	err := a.write(ctx, func(w *writer) (string, error) {
		row, err := visibleVersion(ctx, w.Store, c, req.GetName())
		if err != nil {
			return "", err
		}
		if err := c.MayChange(row.Owner); err != nil {
			return "", err
		}
		if err := checkEtag(req.GetEtag(), row.Etag); err != nil {
			return "", err
		}
		if row.State != store.Created {
			return "", fault.Precondition("the version is %s: demote it first", row.State)
		}
		return req.GetName(), w.changeRoutes(ctx, row.APIID, row.ID, func() error { return w.DeleteVersion(ctx, row, w.now) })
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
