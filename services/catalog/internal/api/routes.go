package api

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	watchv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/watch/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// routeWatch serves the catalog's changes.
type routeWatch = change.Server[catalogv1.WatchRoutesRequest, catalogv1.WatchRoutesResponse]

// newRouteWatch wraps the shared messages of a watch in those of WatchRoutes.
func newRouteWatch(log *change.Log) *routeWatch {
	return &routeWatch{
		Log: log,
		Split: func(m *catalogv1.WatchRoutesRequest) (*watchv1.Hello, *watchv1.Ack) {
			return m.GetHello(), m.GetAck()
		},
		Begin: func(b *watchv1.Begin) *catalogv1.WatchRoutesResponse {
			return &catalogv1.WatchRoutesResponse{Body: &catalogv1.WatchRoutesResponse_Begin{Begin: b}}
		},
		End: func(e *watchv1.SnapshotEnd) *catalogv1.WatchRoutesResponse {
			return &catalogv1.WatchRoutesResponse{Body: &catalogv1.WatchRoutesResponse_SnapshotEnd{SnapshotEnd: e}}
		},
		Heartbeat: func(h *watchv1.Heartbeat) *catalogv1.WatchRoutesResponse {
			return &catalogv1.WatchRoutesResponse{Body: &catalogv1.WatchRoutesResponse_Heartbeat{Heartbeat: h}}
		},
		Change:   changeResponse,
		Snapshot: snapshot,
	}
}

func changeResponse(at *watchv1.Position, event []byte) (*catalogv1.WatchRoutesResponse, error) {
	c := &catalogv1.RouteChange{Position: at}
	if len(event) > 0 {
		c.Event = &catalogv1.RouteEvent{}
		if err := proto.Unmarshal(event, c.Event); err != nil {
			return nil, fmt.Errorf("decode event: %w", err)
		}
	}
	return &catalogv1.WatchRoutesResponse{Body: &catalogv1.WatchRoutesResponse_Change{Change: c}}, nil
}

// WatchRoutes streams every route and plan, and then what changes.
func (a *API) WatchRoutes(stream grpc.BidiStreamingServer[catalogv1.WatchRoutesRequest, catalogv1.WatchRoutesResponse]) error {
	return a.watch.Serve(stream)
}

// GetRoute returns the route of one version, in whatever state it is.
func (a *API) GetRoute(ctx context.Context, req *catalogv1.GetRouteRequest) (*catalogv1.Route, error) {
	api, version, _ := strings.Cut(strings.TrimPrefix(req.GetName(), "apis/"), "/versions/")
	row, err := a.store.Version(ctx, api, version)
	if err != nil {
		return nil, err
	}
	return route(row), nil
}

// snapshot emits all plans and all routes.
func snapshot(ctx context.Context, tx *sqldb.Tx, emit func(*catalogv1.WatchRoutesResponse)) error {
	st := store.New(tx)
	piece := func(s *catalogv1.RouteSnapshot) {
		emit(&catalogv1.WatchRoutesResponse{Body: &catalogv1.WatchRoutesResponse_Snapshot{Snapshot: s}})
	}
	plans := change.NewBatch(func(all []*catalogv1.Plan) { piece(&catalogv1.RouteSnapshot{Plans: all}) })
	for row, err := range rows(store.After{}, chunk, func(after store.After, limit int) ([]store.Plan, error) {
		return st.ListPlans(ctx, store.PlanFilter{}, after, limit)
	}) {
		if err != nil {
			return err
		}
		plans.Add(planProto(row))
	}
	plans.Flush()
	routes := change.NewBatch(func(all []*catalogv1.Route) { piece(&catalogv1.RouteSnapshot{Routes: all}) })
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
