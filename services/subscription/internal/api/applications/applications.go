package applications

import (
	"context"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/validate"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// CreateApplication adds an application of the caller's.
func (a *API) CreateApplication(ctx context.Context, req *subscriptionv1.CreateApplicationRequest) (*subscriptionv1.Application, error) {
	c := identity.From(ctx)
	row := withApplication(store.Application{Owner: c.Viewer().User}, req.GetApplication())
	if err := mayGivePlan(c, "", row.Plan); err != nil {
		return nil, err
	}
	app, err := withCatalog(ctx, a.catalog, func() (store.Application, error) {
		return a.store.CreateApplication(ctx, requestid.Of(ctx, req), row)
	})
	if err != nil {
		return nil, err
	}
	return applicationProto(app), nil
}

// mayGivePlan returns why a caller may not change an application's plan.
func mayGivePlan(c identity.Caller, before, after string) error {
	if before != after && !c.User.Has(identity.RoleAdmin) {
		return fault.Denied("application.plan: only an administrator may change it")
	}
	return nil
}

// GetApplication returns an application.
func (a *API) GetApplication(ctx context.Context, req *subscriptionv1.GetApplicationRequest) (*subscriptionv1.Application, error) {
	name, err := resourcename.ParseApplication("name", req.GetName())
	if err != nil {
		return nil, err
	}
	app, err := a.store.Application(ctx, identity.From(ctx).Viewer(), name.Application)
	if err != nil {
		return nil, err
	}
	return applicationProto(app), nil
}

// BatchGetApplications returns applications in the order of their names.
func (a *API) BatchGetApplications(ctx context.Context, req *subscriptionv1.BatchGetApplicationsRequest) (*subscriptionv1.BatchGetApplicationsResponse, error) {
	ids, err := ids(req, resourcename.ParseApplication, func(n resourcename.Application) string { return n.Application })
	if err != nil {
		return nil, err
	}
	rows, err := a.store.ApplicationsNamed(ctx, identity.From(ctx).Viewer(), ids)
	if err != nil {
		return nil, err
	}
	all, err := inOrder(req, rows, applicationProto)
	return &subscriptionv1.BatchGetApplicationsResponse{Applications: all}, err
}

// ListApplications returns a page of applications.
func (a *API) ListApplications(ctx context.Context, req *subscriptionv1.ListApplicationsRequest) (*subscriptionv1.ListApplicationsResponse, error) {
	v := identity.From(ctx).Viewer()
	terms, err := page.Filter(req.GetFilter(), "display_name", "owner")
	if err != nil {
		return nil, err
	}
	filter := store.ApplicationFilter{DisplayName: terms.Value("display_name")}
	if filter.Owner, err = userTerm(terms, "owner", v); err != nil {
		return nil, err
	}
	if req.GetQuery() != "" {
		filter.Part = &req.Query
	}
	column, descending := strings.CutSuffix(req.GetOrderBy(), " desc")
	order := store.ApplicationOrder{ByName: column == "display_name", Descending: descending}
	p, err := page.New[store.ApplicationKey](req)
	if err != nil {
		return nil, err
	}
	apps, next, err := page.Collect(p, a.store.Applications(ctx, v, filter, order, p.After), order.Key, applicationProto)
	if err != nil {
		return nil, err
	}
	return &subscriptionv1.ListApplicationsResponse{Applications: apps, NextPageToken: next}, nil
}

// userTerm reads a field of a filter that is a user, users/me for the viewer: it returns
// the id, nil when the filter does not have the field.
func userTerm(terms page.Terms, field string, v identity.Viewer) (*string, error) {
	return page.Name(terms, field, resourcename.ParseUser, func(n resourcename.User) string {
		if n.User == resourcename.Me {
			return v.User
		}
		return n.User
	})
}

// UpdateApplication changes an application.
func (a *API) UpdateApplication(ctx context.Context, req *subscriptionv1.UpdateApplicationRequest) (*subscriptionv1.Application, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseApplication("application.name", req.GetApplication().GetName())
	if err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetApplication(), "display_name", "description", "plan")
	if err != nil {
		return nil, err
	}
	edit := func(old store.Application) (store.Application, error) {
		if err := c.MayChange(old.Owner); err != nil {
			return old, err
		}
		next := applicationProto(old)
		if err := u.Apply(next); err != nil {
			return old, err
		}
		if err := mayGivePlan(c, old.Plan, next.GetPlan()); err != nil {
			return old, err
		}
		return withApplication(old, next), validate.Message(&subscriptionv1.CreateApplicationRequest{Application: next})
	}
	app, err := withCatalog(ctx, a.catalog, func() (store.Application, error) {
		return a.store.UpdateApplication(ctx, c.Viewer(), name.Application, edit)
	})
	if err != nil {
		return nil, err
	}
	return applicationProto(app), nil
}

// DeleteApplication removes an application.
func (a *API) DeleteApplication(ctx context.Context, req *subscriptionv1.DeleteApplicationRequest) (*emptypb.Empty, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseApplication("name", req.GetName())
	if err != nil {
		return nil, err
	}
	err = a.store.DeleteApplication(ctx, c.Viewer(), name.Application, func(app store.Application) error {
		if err := c.MayChange(app.Owner); err != nil {
			return err
		}
		return page.CheckEtag(req.GetEtag(), app.Etag)
	})
	if err != nil {
		return nil, err
	}
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.Revoked, What: name.String()})
	return &emptypb.Empty{}, nil
}
