package api

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// routeWatch serves the catalog's changes.
type routeWatch = change.Server[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse]

// WatchRoutes streams every route and plan, and then what changes.
func (a *API) WatchRoutes(stream grpc.BidiStreamingServer[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse]) error {
	return a.watch.Serve(stream)
}

// GetRoute returns the route of one version, in whatever state it is.
func (a *API) GetRoute(ctx context.Context, req *backplanev1.GetRouteRequest) (*backplanev1.Route, error) {
	api, version, _ := strings.Cut(strings.TrimPrefix(req.GetName(), "apis/"), "/versions/")
	row, err := a.store.Version(ctx, api, version)
	if err != nil {
		return nil, err
	}
	return route(row), nil
}

// snapshot emits all plans and all routes.
func snapshot(ctx context.Context, tx *sqldb.Tx, emit func(proto.Message)) error {
	st := store.New(tx)
	plans := change.NewBatch(func(all []*catalogv1.Plan) { emit(&backplanev1.RouteSnapshot{Plans: all}) })
	for row, err := range rows(store.After{}, chunk, func(after store.After, limit int) ([]store.Plan, error) {
		return st.ListPlans(ctx, store.PlanFilter{}, after, limit)
	}) {
		if err != nil {
			return err
		}
		plans.Add(planProto(row))
	}
	plans.Flush()
	routes := change.NewBatch(func(all []*backplanev1.Route) { emit(&backplanev1.RouteSnapshot{Routes: all}) })
	for row, err := range rows(store.After{}, chunk, func(after store.After, limit int) ([]store.Version, error) {
		return st.ListVersions(ctx, store.Viewer{All: true}, store.VersionFilter{}, after, limit)
	}) {
		if err != nil {
			return err
		}
		routes.Add(route(row))
	}
	routes.Flush()
	return nil
}
