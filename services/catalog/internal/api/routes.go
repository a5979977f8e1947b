package api

import (
	"context"
	"fmt"
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

// newRouteWatch wraps the shared messages of a watch in those of WatchRoutes.
func newRouteWatch(log *change.Log) *routeWatch {
	return &routeWatch{
		Log: log,
		Split: func(m *backplanev1.WatchRoutesRequest) (*backplanev1.Hello, *backplanev1.Ack) {
			return m.GetHello(), m.GetAck()
		},
		Begin: func(b *backplanev1.Begin) *backplanev1.WatchRoutesResponse {
			return &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Begin{Begin: b}}
		},
		End: func(e *backplanev1.SnapshotEnd) *backplanev1.WatchRoutesResponse {
			return &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_SnapshotEnd{SnapshotEnd: e}}
		},
		Heartbeat: func(h *backplanev1.Heartbeat) *backplanev1.WatchRoutesResponse {
			return &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Heartbeat{Heartbeat: h}}
		},
		Change:   changeResponse,
		Snapshot: snapshot,
	}
}

func changeResponse(at *backplanev1.Position, event []byte) (*backplanev1.WatchRoutesResponse, error) {
	c := &backplanev1.RouteChange{Position: at}
	if len(event) > 0 {
		c.Event = &backplanev1.RouteEvent{}
		if err := proto.Unmarshal(event, c.Event); err != nil {
			return nil, fmt.Errorf("decode event: %w", err)
		}
	}
	return &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Change{Change: c}}, nil
}

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
func snapshot(ctx context.Context, tx *sqldb.Tx, emit func(*backplanev1.WatchRoutesResponse)) error {
	st := store.New(tx)
	piece := func(s *backplanev1.RouteSnapshot) {
		emit(&backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Snapshot{Snapshot: s}})
	}
	plans := change.NewBatch(func(all []*catalogv1.Plan) { piece(&backplanev1.RouteSnapshot{Plans: all}) })
	for row, err := range rows(store.After{}, chunk, func(after store.After, limit int) ([]store.Plan, error) {
		return st.ListPlans(ctx, store.PlanFilter{}, after, limit)
	}) {
		if err != nil {
			return err
		}
		plans.Add(planProto(row))
	}
	plans.Flush()
	routes := change.NewBatch(func(all []*backplanev1.Route) { piece(&backplanev1.RouteSnapshot{Routes: all}) })
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
