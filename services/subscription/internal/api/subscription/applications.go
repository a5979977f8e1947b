package subscription

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resource"
	"github.com/tidegatehq/tidegate/services/kit/validate"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api/request"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// CreateApplication adds an application of the caller's.
func (a *API) CreateApplication(ctx context.Context, req *subscriptionv1.CreateApplicationRequest) (*subscriptionv1.Application, error) {
	row := applicationRow(req.GetApplication())
	row.Owner = request.Viewer(ctx).User
	app, err := a.store.CreateApplication(ctx, row)
	if err != nil {
		return nil, err
	}
	return applicationProto(app), nil
}

// GetApplication returns an application.
func (a *API) GetApplication(ctx context.Context, req *subscriptionv1.GetApplicationRequest) (*subscriptionv1.Application, error) {
	name, err := resource.ParseApplication("name", req.GetName())
	if err != nil {
		return nil, err
	}
	app, err := a.store.Application(ctx, request.Viewer(ctx), name.Application)
	if err != nil {
		return nil, err
	}
	return applicationProto(app), nil
}

// ListApplications returns a page of applications.
func (a *API) ListApplications(ctx context.Context, req *subscriptionv1.ListApplicationsRequest) (*subscriptionv1.ListApplicationsResponse, error) {
	terms, err := request.Filter(req.GetFilter(), request.Field{Name: "display_name"}, request.Field{Name: "owner", Prefix: request.UsersPrefix})
	if err != nil {
		return nil, err
	}
	if terms["owner"] == resource.Me {
		terms["owner"] = request.Viewer(ctx).User
	}
	p, err := request.NewPage(req.GetPageSize(), req.GetPageToken(), 2, "applications", req.GetFilter())
	if err != nil {
		return nil, err
	}
	after, err := p.After()
	if err != nil {
		return nil, err
	}
	rows, err := a.store.Applications(ctx, request.Viewer(ctx), terms, after, p.Limit())
	if err != nil {
		return nil, err
	}
	resp := &subscriptionv1.ListApplicationsResponse{}
	resp.Applications, resp.NextPageToken = request.Cut(p, rows, applicationProto, func(app store.Application) []string {
		return request.TimeKeys(app.CreatedAt.UnixMicro(), app.ID)
	})
	return resp, nil
}

// UpdateApplication changes an application.
func (a *API) UpdateApplication(ctx context.Context, req *subscriptionv1.UpdateApplicationRequest) (*subscriptionv1.Application, error) {
	name, err := resource.ParseApplication("application.name", req.GetApplication().GetName())
	if err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetApplication(), "display_name", "description")
	if err != nil {
		return nil, err
	}
	if _, err := a.store.Application(ctx, request.Viewer(ctx), name.Application); err != nil {
		return nil, err
	}
	if err := request.MayChange(ctx); err != nil {
		return nil, err
	}
	app, err := a.store.UpdateApplication(ctx, request.Viewer(ctx), name.Application, req.GetApplication().GetEtag(), func(app *store.Application) error {
		next := applicationProto(*app)
		if err := u.Apply(next); err != nil {
			return err
		}
		if err := validate.Message(&subscriptionv1.CreateApplicationRequest{Application: next}); err != nil {
			return err
		}
		app.DisplayName, app.Description = next.GetDisplayName(), next.GetDescription()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return applicationProto(app), nil
}

// DeleteApplication removes an application.
func (a *API) DeleteApplication(ctx context.Context, req *subscriptionv1.DeleteApplicationRequest) (*emptypb.Empty, error) {
	name, err := resource.ParseApplication("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.store.DeleteApplication(ctx, request.Viewer(ctx), name.Application, req.GetEtag()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
