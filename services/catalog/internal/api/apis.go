package api

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
)

// CreateApi adds an API that the caller owns.
func (a *API) CreateApi(ctx context.Context, req *catalogv1.CreateApiRequest) (*catalogv1.Api, error) {
	v := identity.From(ctx).Viewer()
	if req.GetApi().GetDefaultVersion() != "" {
		return nil, fault.Invalid("api.default_version", "a new API has no version yet")
	}
	row, err := withAPI(store.API{Owner: v.User}, req.GetApi())
	if err != nil {
		return nil, err
	}
	if row, err = a.store.CreateAPI(ctx, requestid.Of(ctx, req), v, row); err != nil {
		return nil, err
	}
	return apiProto(row, v), nil
}

// GetApi returns an API that the caller may see.
func (a *API) GetApi(ctx context.Context, req *catalogv1.GetApiRequest) (*catalogv1.Api, error) {
	name, err := resourcename.ParseAPI("name", req.GetName())
	if err != nil {
		return nil, err
	}
	v := identity.From(ctx).Viewer()
	row, err := a.store.API(ctx, v, name.API)
	if err != nil {
		return nil, err
	}
	return apiProto(row, v), nil
}

// BatchGetApis returns APIs that the caller may see.
func (a *API) BatchGetApis(ctx context.Context, req *catalogv1.BatchGetApisRequest) (*catalogv1.BatchGetApisResponse, error) {
	v := identity.From(ctx).Viewer()
	apis, err := batch(req, resourcename.ParseAPI, func(n resourcename.API) string { return n.API },
		func(ids []string) (map[string]store.API, error) { return a.store.APIsByID(ctx, v, ids) },
		func(row store.API) *catalogv1.Api { return apiProto(row, v) })
	if err != nil {
		return nil, err
	}
	return &catalogv1.BatchGetApisResponse{Apis: apis}, nil
}

// ListApis returns a page of the APIs that the caller may see.
func (a *API) ListApis(ctx context.Context, req *catalogv1.ListApisRequest) (*catalogv1.ListApisResponse, error) {
	v := identity.From(ctx).Viewer()
	terms, err := page.Filter(req.GetFilter(), "display_name", "context", "owner", "state", "tags")
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
	filter := store.APIFilter{
		DisplayName: terms.Value("display_name"), Context: terms.Value("context"), Owner: owner,
		State: terms.Value("state"), Tag: terms.Value("tags"), Query: req.GetQuery(),
	}
	if err := checkState(filter.State); err != nil {
		return nil, err
	}
	order := orderOf(req.GetOrderBy())
	apis, next, err := page.Collect(p, a.store.APIs(ctx, v, filter, order, p.After),
		func(row store.API) store.ListPlace { return row.ListPlace(order) },
		func(row store.API) *catalogv1.Api { return apiProto(row, v) })
	if err != nil {
		return nil, err
	}
	return &catalogv1.ListApisResponse{Apis: apis, NextPageToken: next}, nil
}

// UpdateApi changes an API that the caller owns.
func (a *API) UpdateApi(ctx context.Context, req *catalogv1.UpdateApiRequest) (*catalogv1.Api, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseAPI("api.name", req.GetApi().GetName())
	if err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetApi(), "display_name", "context", "description", "default_version", "default_version_paths")
	if err != nil {
		return nil, err
	}
	row, err := a.store.UpdateAPI(ctx, c.Viewer(), name.API, func(old store.API) (store.API, error) {
		if err := c.MayChange(old.Owner); err != nil {
			return old, err
		}
		next := apiProto(old, c.Viewer())
		if err := u.Apply(next); err != nil {
			return old, err
		}
		if err := checkAPI(old, next); err != nil {
			return old, err
		}
		row, err := withAPI(old, next)
		if err != nil {
			return old, err
		}
		return row, mayLead(c, old, row)
	})
	if err != nil {
		return nil, err
	}
	return apiProto(row, c.Viewer()), nil
}

// mayLead returns why the caller, who may update an API, may not make it next, or nil:
// where the addresses of an API with a published version lead is changed by publishers.
func mayLead(c identity.Caller, old, next store.API) error {
	same := next.DefaultVersion == old.DefaultVersion && next.DefaultVersionPaths == old.DefaultVersionPaths
	if same || !old.Published || c.User.Has(identity.RolePublisher) {
		return nil
	}
	return fault.Denied("this needs the role publisher: without it, default_version and default_version_paths of an API with a published version cannot be changed")
}

// TransferOwnership gives an API that the caller owns to another user.
func (a *API) TransferOwnership(ctx context.Context, req *catalogv1.TransferOwnershipRequest) (*catalogv1.Api, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseAPI("name", req.GetName())
	if err != nil {
		return nil, err
	}
	// Whether there is such a user is told only to those who may give the API away.
	row, err := a.store.API(ctx, c.Viewer(), name.API)
	if err != nil {
		return nil, err
	}
	if err := c.MayChange(row.Owner); err != nil {
		return nil, err
	}
	owner, err := a.findUser(ctx, c, req.GetOwner())
	if err != nil {
		return nil, err
	}
	before := ""
	row, err = a.store.UpdateAPI(ctx, c.Viewer(), name.API, func(old store.API) (store.API, error) {
		if err := c.MayChange(old.Owner); err != nil {
			return old, err
		}
		if err := page.CheckEtag(req.GetEtag(), old.Etag); err != nil {
			return old, err
		}
		if before = old.Owner; before == owner {
			return old, change.Unchanged(0)
		}
		old.Owner = owner
		return old, nil
	})
	if err != nil {
		return nil, err
	}
	if before != owner {
		a.security.Write(ctx, securitylog.Event{
			Kind: securitylog.OwnerChanged, What: name.String(),
			Why: "from " + resourcename.User{User: before}.String() + " to " + resourcename.User{User: owner}.String(),
		})
	}
	return apiProto(row, c.Viewer()), nil
}

// findUser returns the id of the user that text names: users/{user}, users/me or a
// username. The subscription service knows the users.
func (a *API) findUser(ctx context.Context, c identity.Caller, text string) (string, error) {
	if me := (resourcename.User{User: resourcename.Me}); text == me.String() {
		return c.Viewer().User, nil
	}
	found, err := a.users.FindUser(ctx, &backplanev1.FindUserRequest{User: text})
	switch {
	case fault.Is(err, codes.NotFound):
		return "", fault.Invalid("owner", "there is no user %q: must be users/{user} or a username", text)
	case err != nil:
		return "", fault.Wrap(fault.Unavailable("the subscription service, which knows the users, does not answer now"), err)
	case found.GetSuspended():
		return "", fault.Precondition("the user %q is suspended: restore the user first, or name another", text)
	case found.GetPending():
		return "", fault.Precondition("the user %q waits for approval: approve the user first, or name another", text)
	}
	name, err := resourcename.ParseUser("owner", found.GetName())
	return name.User, err
}

// DeleteApi removes an API that the caller owns.
func (a *API) DeleteApi(ctx context.Context, req *catalogv1.DeleteApiRequest) (*emptypb.Empty, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseAPI("name", req.GetName())
	if err != nil {
		return nil, err
	}
	err = a.store.DeleteAPI(ctx, c.Viewer(), name.API, req.GetForce(), func(row store.API) error {
		if err := c.MayChange(row.Owner); err != nil {
			return err
		}
		return page.CheckEtag(req.GetEtag(), row.Etag)
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
