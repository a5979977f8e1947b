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
)

// CreateApi adds an API that the caller owns.
func (a *API) CreateApi(ctx context.Context, req *catalogv1.CreateApiRequest) (*catalogv1.Api, error) {
	c := identity.From(ctx)
	row := apiRow(req.GetApi())
	row.ID, row.Owner = id.New(), c.User.Name
	if req.GetApi().GetDefaultVersion() != "" {
		return nil, fault.Invalid("api.default_version", "a new API has no version yet")
	}
	var made store.API
	err := a.write(ctx, func(w *writer) (string, error) {
		row.CreatedAt = w.now
		if err := w.CreateAPI(ctx, row); err != nil {
			return "", err
		}
		var err error
		made, err = w.API(ctx, row.ID)
		return apiName(row.ID), err
	})
	if err != nil {
		return nil, err
	}
	return apiProto(made, c), nil
}

// GetApi returns an API that the caller may see.
func (a *API) GetApi(ctx context.Context, req *catalogv1.GetApiRequest) (*catalogv1.Api, error) {
	c := identity.From(ctx)
	row, err := visibleAPI(ctx, a.store, c, apiID(req.GetName()))
	if err != nil {
		return nil, err
	}
	return apiProto(row, c), nil
}

// ListApis returns a page of the APIs that the caller may see.
func (a *API) ListApis(ctx context.Context, req *catalogv1.ListApisRequest) (*catalogv1.ListApisResponse, error) {
	c := identity.From(ctx)
	terms, err := page.Filter(req.GetFilter(), "display_name", "context", "owner")
	if err != nil {
		return nil, err
	}
	owner, err := ownerTerm(terms, c)
	if err != nil {
		return nil, err
	}
	p, err := newPage(req.GetPageSize(), req.GetPageToken(), "apis", req.GetFilter())
	if err != nil {
		return nil, err
	}
	filter := store.APIFilter{DisplayName: term(terms, "display_name"), Context: term(terms, "context"), Owner: owner}
	apis, token, err := read(p, func(after store.After, limit int) ([]store.API, error) {
		return a.store.ListAPIs(ctx, viewer(c), filter, after, limit)
	}, func(row store.API) *catalogv1.Api { return apiProto(row, c) })
	if err != nil {
		return nil, err
	}
	return &catalogv1.ListApisResponse{Apis: apis, NextPageToken: token}, nil
}

// UpdateApi changes an API that the caller owns.
func (a *API) UpdateApi(ctx context.Context, req *catalogv1.UpdateApiRequest) (*catalogv1.Api, error) {
	c := identity.From(ctx)
	apiID, err := nameOfAPI("api.name", req.GetApi())
	if err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetApi(), "display_name", "context", "description", "default_version")
	if err != nil {
		return nil, err
	}
	var row store.API
	err = a.write(ctx, func(w *writer) (string, error) {
		old, err := editableAPI(ctx, w.Store, c, apiID, req.GetApi().GetEtag())
		if err != nil {
			return "", err
		}
		next := apiProto(old, c)
		if err := u.Apply(next); err != nil {
			return "", err
		}
		if err := checkAPI(ctx, w.Store, old, next); err != nil {
			return "", err
		}
		row = apiRow(next)
		row.ID, row.Etag, row.UpdatedAt = old.ID, old.Etag, w.now
		err = w.changeRoutes(ctx, row.ID, "", func() error { return w.UpdateAPI(ctx, row) })
		if err != nil {
			return "", err
		}
		row, err = w.API(ctx, row.ID)
		return apiName(row.ID), err
	})
	if err != nil {
		return nil, err
	}
	return apiProto(row, c), nil
}

// DeleteApi removes an API that the caller owns.
func (a *API) DeleteApi(ctx context.Context, req *catalogv1.DeleteApiRequest) (*emptypb.Empty, error) {
	c := identity.From(ctx)
	err := a.write(ctx, func(w *writer) (string, error) {
		row, err := editableAPI(ctx, w.Store, c, apiID(req.GetName()), req.GetEtag())
		if err != nil {
			return "", err
		}
		versions, err := w.VersionsOf(ctx, row.ID)
		if err != nil {
			return "", err
		}
		switch {
		case row.Published:
			return "", fault.Precondition("a version of the API is published: demote it first")
		case len(versions) > 0 && !req.GetForce():
			return "", fault.Precondition("the API has versions: delete them first, or set force")
		}
		return apiName(row.ID), w.changeRoutes(ctx, row.ID, "", func() error { return w.DeleteAPI(ctx, row.ID, row.Etag) })
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
