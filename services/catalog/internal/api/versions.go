package api

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/validate"
)

// CreateVersion adds a version to an API that the caller owns.
func (a *API) CreateVersion(ctx context.Context, req *catalogv1.CreateVersionRequest) (*catalogv1.Version, error) {
	c := identity.From(ctx)
	parent, err := resourcename.ParseAPI("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	create := a.newVersion
	if req.GetSourceVersion() != "" {
		create = a.copyVersion
	}
	row, err := create(ctx, c, parent, req)
	if err != nil {
		return nil, err
	}
	return a.versionProto(row, c.Viewer()), nil
}

// newVersion adds a version that has what the request says.
func (a *API) newVersion(ctx context.Context, c identity.Caller, parent resourcename.API, req *catalogv1.CreateVersionRequest) (store.Version, error) {
	if err := checkVersion(req.GetVersion()); err != nil {
		return store.Version{}, err
	}
	row := store.Version{APIID: parent.API, Version: req.GetVersion().GetVersion()}
	next := withVersion(row, req.GetVersion())
	if err := keepSecrets(c, row, next); err != nil {
		return store.Version{}, err
	}
	return a.store.CreateVersion(ctx, requestid.Of(ctx, req), c.Viewer(), next, func(api store.API) error {
		if err := c.MayChange(api.Owner); err != nil {
			return err
		}
		return mayPromise(c, row, next)
	})
}

// copyVersion adds a version that has what the request says, and for the rest what its
// source version has. A promise of a publisher may be taken over by others: the version is
// published by a publisher.
func (a *API) copyVersion(ctx context.Context, c identity.Caller, parent resourcename.API, req *catalogv1.CreateVersionRequest) (store.Version, error) {
	source, err := resourcename.ParseVersion("source_version", req.GetSourceVersion())
	if err != nil {
		return store.Version{}, err
	}
	if source.Parent() != parent {
		return store.Version{}, fault.Invalid("source_version", "must be a version of %s", parent)
	}
	return a.store.CopyVersion(ctx, requestid.Of(ctx, req), c.Viewer(), source, func(api store.API, old store.Version) (store.Version, error) {
		if err := c.MayChange(api.Owner); err != nil {
			return old, err
		}
		v := takeOver(req.GetVersion(), versionProto(old))
		if err := validate.Message(&catalogv1.CreateVersionRequest{Parent: parent.String(), Version: v}); err != nil {
			return old, err
		}
		if err := checkVersion(v); err != nil {
			return old, err
		}
		next := withVersion(store.Version{Version: v.GetVersion()}, v)
		if err := keepSecrets(c, old, next); err != nil {
			return old, err
		}
		return next, mayPromise(c, old, next)
	})
}

// settings are the fields of a version that can be changed, and those below them.
func settings() []string {
	return []string{
		"description", "tags", "endpoints", "security", "plans",
		"allowed_origins", "max_session_age", "idle_timeout", "endpoints.production", "endpoints.sandbox",
		"endpoints.health_check", "endpoints.suspension", "endpoints.timeouts", "endpoints.production_connection", "endpoints.sandbox_connection",
		"backend_options", "backend_options.host", "backend_options.fixed_host", "backend_options.origin", "backend_options.headers", "backend_options.identity", "pings",
		"traffic_plan", "subscriptionless", "pass_credential", "deflate", "client_endings", "further_addresses", "max_message_bytes", "error_frames", "error_frames.template", "error_frames.text",
		"http", "http.endpoints", "http.endpoints.production", "http.endpoints.sandbox", "http.endpoints.health_check",
		"http.endpoints.suspension", "http.endpoints.timeouts", "http.endpoints.production_connection", "http.endpoints.sandbox_connection",
		"http.security", "http.cors", "http.max_body_bytes", "http.timeout",
	}
}

// takeOver returns a version with the settings of source that it does not have itself. Its
// further addresses are one version's only.
func takeOver(v, source *catalogv1.Version) *catalogv1.Version {
	v = proto.CloneOf(v)
	for _, name := range settings() {
		if name != "further_addresses" {
			takeOverField(v, source, name)
		}
	}
	return v
}

// takeOverField sets a field of v that is not set to that of source. It does nothing for a
// field below another one.
func takeOverField(v, source *catalogv1.Version, name string) {
	to, from := v.ProtoReflect(), source.ProtoReflect()
	if fd := to.Descriptor().Fields().ByName(protoreflect.Name(name)); fd != nil && !to.Has(fd) && from.Has(fd) {
		to.Set(fd, from.Get(fd))
	}
}

// GetVersion returns a version that the caller may see.
func (a *API) GetVersion(ctx context.Context, req *catalogv1.GetVersionRequest) (*catalogv1.Version, error) {
	name, err := resourcename.ParseVersion("name", req.GetName())
	if err != nil {
		return nil, err
	}
	v := identity.From(ctx).Viewer()
	row, err := a.store.Version(ctx, v, name)
	if err != nil {
		return nil, err
	}
	return a.versionProto(row, v), nil
}

// BatchGetVersions returns versions that the caller may see.
func (a *API) BatchGetVersions(ctx context.Context, req *catalogv1.BatchGetVersionsRequest) (*catalogv1.BatchGetVersionsResponse, error) {
	v := identity.From(ctx).Viewer()
	parent, err := resourcename.ParseAPI("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	parse := func(field, name string) (resourcename.Version, error) {
		n, err := resourcename.ParseVersion(field, name)
		if err == nil && parent.API != resourcename.Any && n.Parent() != parent {
			err = fault.Invalid(field, "must be a version of %s", parent)
		}
		return n, err
	}
	versions, err := batch(req, parse, func(n resourcename.Version) string { return n.Version },
		func(ids []string) (map[string]store.Version, error) { return a.store.VersionsByID(ctx, v, ids) },
		func(row store.Version) *catalogv1.Version { return a.versionProto(row, v) })
	if err != nil {
		return nil, err
	}
	return &catalogv1.BatchGetVersionsResponse{Versions: versions}, nil
}

// ListVersions returns a page of the versions that the caller may see.
func (a *API) ListVersions(ctx context.Context, req *catalogv1.ListVersionsRequest) (*catalogv1.ListVersionsResponse, error) {
	v := identity.From(ctx).Viewer()
	parent, err := resourcename.ParseAPI("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	terms, err := page.Filter(req.GetFilter(), "version", "state", "tags", "owner")
	if err != nil {
		return nil, err
	}
	owner, err := ownerTerm(terms, v)
	if err != nil {
		return nil, err
	}
	p, err := page.New[store.ListPlace](req)
	if err != nil {
		return nil, err
	}
	filter := store.VersionFilter{
		Version: terms.Value("version"), State: terms.Value("state"), Tag: terms.Value("tags"), Owner: owner, Query: req.GetQuery(),
	}
	if err := checkState(filter.State); err != nil {
		return nil, err
	}
	if parent.API != resourcename.Any {
		if _, err := a.store.API(ctx, v, parent.API); err != nil {
			return nil, err
		}
		if len(req.GetApis()) > 0 {
			return nil, fault.Invalid("apis", "is for the parent apis/- only")
		}
		filter.APIs = []string{parent.API}
	}
	for _, name := range req.GetApis() {
		api, err := resourcename.ParseAPI("apis", name)
		if err != nil {
			return nil, err
		}
		filter.APIs = append(filter.APIs, api.API)
	}
	order := orderOf(req.GetOrderBy())
	versions, next, err := page.Collect(p, a.store.Versions(ctx, v, filter, order, p.After),
		func(row store.Version) store.ListPlace { return row.ListPlace(order) },
		func(row store.Version) *catalogv1.Version { return a.versionProto(row, v) })
	if err != nil {
		return nil, err
	}
	return &catalogv1.ListVersionsResponse{Versions: versions, NextPageToken: next}, nil
}

// UpdateVersion changes a version that the caller owns; its state stays. What gateways
// serve of a published version is changed by publishers.
func (a *API) UpdateVersion(ctx context.Context, req *catalogv1.UpdateVersionRequest) (*catalogv1.Version, error) {
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetVersion(), settings()...)
	if err != nil {
		return nil, err
	}
	if len(req.GetUpdateMask().GetPaths()) == 0 && req.GetVersion().GetVersion() != "" {
		u.Fix("version")
	}
	c := identity.From(ctx)
	return a.changeVersion(ctx, "version.name", req.GetVersion().GetName(), func(old store.Version) (store.Version, error) {
		if err := mayUpdate(c, old, u.Only("traffic_plan", "subscriptionless", "pass_credential", "further_addresses")); err != nil {
			return old, err
		}
		v := a.versionProto(old, c.Viewer())
		if err := u.Apply(v); err != nil {
			return old, err
		}
		if err := validate.Message(&catalogv1.CreateVersionRequest{Parent: old.Name().Parent().String(), Version: v}); err != nil {
			return old, err
		}
		next := withVersion(old, v)
		missing := keepSecrets(c, old, next)
		if err := mayServe(c, old, next); err != nil {
			return old, err
		}
		if err := checkVersion(v); err != nil {
			return old, err
		}
		return next, missing
	})
}

// mayUpdate returns why the caller may not update a version, or nil: it takes the owner
// with the role creator, or with the role publisher where it is published or only what
// mayPromise says is changed.
func mayUpdate(c identity.Caller, v store.Version, promised bool) error {
	if (v.State == store.Published || promised) && c.MayActAs(identity.RolePublisher, v.Owner) == nil {
		return nil
	}
	return c.MayChange(v.Owner)
}

// mayServe returns why the caller, who may update a version, may not make it next, or
// nil: what gateways serve of a published version is changed by publishers.
func mayServe(c identity.Caller, old, next store.Version) error {
	if old.State != store.Published || c.User.Has(identity.RolePublisher) || proto.Equal(old.Route(), next.Route()) {
		return mayPromise(c, old, next)
	}
	return fault.Denied("this needs the role publisher: without it, only the description and the tags of a published version can be changed")
}

// mayPromise returns why the caller may not make a version next, or nil: what all its
// traffic may be, whether it needs subscriptions, where it is reached, and whether backends
// get what clients prove who they are with, is for publishers to say.
func mayPromise(c identity.Caller, old, next store.Version) error {
	if err := mayProxy(c, old, next); err != nil {
		return err
	}
	if err := mayReach(c, old.Further, next.Further); err != nil {
		return err
	}
	if next.PassesOn() && !old.PassesOn() && !c.User.Has(identity.RolePublisher) {
		return fault.Denied("this needs the role publisher: without it, a first message with a credential cannot be passed on")
	}
	if old.TrafficPlan == next.TrafficPlan && old.Subscriptionless == next.Subscriptionless &&
		old.Backend.PassCredential == next.Backend.PassCredential || c.User.Has(identity.RolePublisher) {
		return nil
	}
	return fault.Denied("this needs the role publisher: without it, traffic_plan, subscriptionless and pass_credential cannot be changed")
}

// mayReach returns why the caller may not give a version its next further addresses, or nil:
// that takes a publisher, and what is new on the host that all share an administrator.
func mayReach(c identity.Caller, old, next []store.FurtherAddress) error {
	for i, a := range next {
		if a.Host == "" && !slices.ContainsFunc(old, a.Same) && !c.User.Has(identity.RoleAdmin) {
			return fault.Denied("version.further_addresses[%d]: only administrators give addresses on the shared host; on a virtual host publishers do", i)
		}
	}
	same := func(a, b store.FurtherAddress) bool {
		return a.Same(b) && a.Serves == b.Serves && a.KeepPrefix == b.KeepPrefix
	}
	if c.User.Has(identity.RolePublisher) || slices.EqualFunc(old, next, same) {
		return nil
	}
	return fault.Denied("this needs the role publisher: without it, further_addresses cannot be changed")
}

// PublishVersion publishes a version, which need not be the caller's: the rule of the
// method asks for the role publisher.
func (a *API) PublishVersion(ctx context.Context, req *catalogv1.PublishVersionRequest) (*catalogv1.Version, error) {
	owner, changed := "", false
	v, err := a.changeVersion(ctx, "name", req.GetName(), func(v store.Version) (store.Version, error) {
		owner, changed = v.Owner, v.State != store.Published
		return transition(v, req.GetEtag(), store.Published)
	})
	if err == nil && changed && owner != identity.From(ctx).Viewer().User {
		a.security.Write(ctx, securitylog.Event{
			Kind: securitylog.Published, What: v.GetName(), Why: "it is owned by " + resourcename.User{User: owner}.String(),
		})
	}
	return v, err
}

// DemoteVersion demotes a published version that the caller owns.
func (a *API) DemoteVersion(ctx context.Context, req *catalogv1.DemoteVersionRequest) (*catalogv1.Version, error) {
	c := identity.From(ctx)
	return a.changeVersion(ctx, "name", req.GetName(), func(v store.Version) (store.Version, error) {
		if err := c.MayChange(v.Owner); err != nil {
			return v, err
		}
		return transition(v, req.GetEtag(), store.Created)
	})
}

// transition moves a version to a state. One that is in it stays as it is: the change
// that made its route, then, is the one that the caller would wait for.
func transition(v store.Version, etag, to string) (store.Version, error) {
	if err := page.CheckEtag(etag, v.Etag); err != nil {
		return v, err
	}
	if v.State == to {
		return v, change.Unchanged(uint64(v.ChangeNumber))
	}
	v.State = to
	return v, nil
}

// changeVersion makes a version that the caller sees, whose name a field has, what edit
// makes of it, which also decides whether the caller may.
func (a *API) changeVersion(ctx context.Context, field, text string, edit func(store.Version) (store.Version, error)) (*catalogv1.Version, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseVersion(field, text)
	if err != nil {
		return nil, err
	}
	row, err := a.store.UpdateVersion(ctx, c.Viewer(), name, func(old store.Version) (store.Version, error) {
		next, err := edit(old)
		if err != nil {
			return old, err
		}
		return next, checkPublished(next)
	})
	if err != nil {
		return nil, err
	}
	return a.versionProto(row, c.Viewer()), nil
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
