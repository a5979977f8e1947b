// Package api serves the catalog: CatalogService and ChangeService for users,
// RouteService for services. Checks of requests stand in check.go, conversions in convert.go; rows
// and what must be unique in them are left to package store.
package api

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// API serves CatalogService and RouteService.
type API struct {
	catalogv1.UnsafeCatalogServiceServer
	backplanev1.UnsafeRouteServiceServer

	store    *store.Store
	log      *change.Log
	gateways []string
	watch    *routeWatch
}

var (
	_ catalogv1.CatalogServiceServer = (*API)(nil)
	_ backplanev1.RouteServiceServer = (*API)(nil)
)

// New returns the API of the catalog in db, whose changes go to log. Gateways
// are the addresses of gateways that versions are advertised at, as
// "ws://localhost:9099".
func New(db *sqldb.DB, log *change.Log, gateways []string) *API {
	return &API{store: store.New(db), log: log, gateways: gateways, watch: change.NewServer[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse](log, snapshot)}
}

// Register adds the services to the two faces of a server.
func (a *API) Register(users, services grpc.ServiceRegistrar) {
	catalogv1.RegisterCatalogServiceServer(users, a)
	catalogv1.RegisterCatalogServiceServer(services, a)
	backplanev1.RegisterRouteServiceServer(services, a)
	change.Register(a.log, users, services)
}

// Rules says who may call which method. What a user may do to one object is
// checked by its handler.
func Rules() identity.Rules {
	admin := identity.Rule{Roles: []string{identity.RoleAdmin}}
	services := identity.Rule{Services: []string{identity.Gateway, identity.Subscription}}
	rules := change.Rules()
	for _, m := range catalogv1.CatalogService_ServiceDesc.Methods {
		rules["/"+catalogv1.CatalogService_ServiceDesc.ServiceName+"/"+m.MethodName] = identity.Rule{}
	}
	rules[catalogv1.CatalogService_CreateApi_FullMethodName] = identity.Rule{Roles: []string{identity.RoleCreator}}
	for _, method := range []string{
		catalogv1.CatalogService_UpdateApi_FullMethodName, catalogv1.CatalogService_DeleteApi_FullMethodName,
		catalogv1.CatalogService_CreateVersion_FullMethodName, catalogv1.CatalogService_UpdateVersion_FullMethodName,
		catalogv1.CatalogService_DeleteVersion_FullMethodName,
	} {
		rules[method] = identity.Rule{OwnerRole: identity.RoleCreator}
	}
	rules[catalogv1.CatalogService_PublishVersion_FullMethodName] = identity.Rule{OwnerRole: identity.RolePublisher}
	rules[catalogv1.CatalogService_DemoteVersion_FullMethodName] = identity.Rule{OwnerRole: identity.RolePublisher}
	rules[catalogv1.CatalogService_CreatePlan_FullMethodName] = admin
	rules[catalogv1.CatalogService_UpdatePlan_FullMethodName] = admin
	rules[catalogv1.CatalogService_DeletePlan_FullMethodName] = admin
	rules[backplanev1.RouteService_WatchRoutes_FullMethodName] = services
	rules[backplanev1.RouteService_GetRoute_FullMethodName] = services
	return rules
}

// writer is the store in a transaction that writes, and what the write does to
// routes and plans.
type writer struct {
	*store.Store
	number uint64 // of the change that is being made
	now    time.Time
	event  backplanev1.RouteEvent
}

// write runs fn in a transaction of its own, as one change of the resource that
// fn returns. Writes of the catalog follow one another, so what fn reads holds
// until the commit. fn may run more than once.
func (a *API) write(ctx context.Context, fn func(w *writer) (resource string, err error)) error {
	return a.log.Write(ctx, "change the catalog", func(tx *change.Tx) (change.Record, error) {
		w := &writer{Store: store.New(tx), number: tx.Number, now: tx.Time}
		resource, err := fn(w)
		if err != nil {
			return change.Record{}, err
		}
		return change.Record{Resource: resource, Event: &w.event}, nil
	})
}

// changeRoutes runs fn, which changes one version of an API, or with the id ""
// the API and all of them, and adds to the event what that does to their routes.
func (w *writer) changeRoutes(ctx context.Context, api, id string, fn func() error) error {
	before, err := w.versions(ctx, api, id)
	if err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	after, err := w.versions(ctx, api, id)
	if err != nil {
		return err
	}
	gone := map[string]*backplanev1.Route{}
	for _, v := range before {
		gone[v.ID] = route(v)
	}
	for _, v := range after {
		r, old := route(v), gone[v.ID]
		delete(gone, v.ID)
		if proto.Equal(r, old) {
			continue
		}
		if err := w.SetRevision(ctx, v.ID, int64(w.number)); err != nil {
			return err
		}
		r.ChangeNumber = w.number
		w.event.Routes = append(w.event.Routes, r)
	}
	for _, v := range before {
		if gone[v.ID] != nil {
			w.event.RemovedRoutes = append(w.event.RemovedRoutes, versionName(v.APIID, v.ID))
		}
	}
	return nil
}

// versions returns one version of an API, if it is there, or with the id "" all.
func (w *writer) versions(ctx context.Context, api, id string) ([]store.Version, error) {
	if id == "" {
		return w.VersionsOf(ctx, api)
	}
	v, err := w.Version(ctx, api, id)
	switch {
	case fault.Is(err, codes.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return []store.Version{v}, nil
}
