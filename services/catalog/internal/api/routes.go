package api

import (
	"context"

	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// WatchRoutes streams every route and plan, and then what changes.
func (a *API) WatchRoutes(stream grpc.BidiStreamingServer[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse]) error {
	return a.watch.Serve(stream)
}

// GetRoute returns the route of one version, in whatever state it is.
func (a *API) GetRoute(ctx context.Context, req *backplanev1.GetRouteRequest) (*backplanev1.Route, error) {
	name, err := resourcename.ParseVersion("name", req.GetName())
	if err != nil {
		return nil, err
	}
	v, err := a.store.Version(ctx, identity.Viewer{All: true}, name)
	if err != nil {
		return nil, err
	}
	return v.Route(), nil
}

// ListGateways returns the gateways that may have live sessions.
func (a *API) ListGateways(ctx context.Context, _ *backplanev1.ListGatewaysRequest) (*backplanev1.ListGatewaysResponse, error) {
	gateways, err := a.log.Gateways(ctx)
	return &backplanev1.ListGatewaysResponse{Gateways: gateways}, err
}

// FetchPlan returns a plan to a service.
func (a *API) FetchPlan(ctx context.Context, req *backplanev1.FetchPlanRequest) (*catalogv1.Plan, error) {
	return a.GetPlan(ctx, &catalogv1.GetPlanRequest{Name: req.GetName()})
}
