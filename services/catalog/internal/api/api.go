// Package api serves the catalog: CatalogService, DenyRuleService and ChangeService for users,
// RouteService, DirectoryService and EndpointCheckService for services. Checks of requests are in check.go, conversions in
// convert.go. Package store has the rows and what must be unique in them.
package api

import (
	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
)

// API serves all of them but ChangeService.
type API struct {
	catalogv1.UnsafeCatalogServiceServer
	catalogv1.UnsafeDenyRuleServiceServer
	backplanev1.UnsafeRouteServiceServer
	backplanev1.UnsafeDirectoryServiceServer
	backplanev1.UnsafeEndpointCheckServiceServer

	store    *store.Store
	log      *change.Log
	users    backplanev1.UserDirectoryServiceClient
	plans    backplanev1.PlanDirectoryServiceClient
	gateways []string
	security *securitylog.Log
	watch    *change.Server[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse]
}

var (
	_ catalogv1.CatalogServiceServer         = (*API)(nil)
	_ catalogv1.DenyRuleServiceServer        = (*API)(nil)
	_ backplanev1.RouteServiceServer         = (*API)(nil)
	_ backplanev1.DirectoryServiceServer     = (*API)(nil)
	_ backplanev1.EndpointCheckServiceServer = (*API)(nil)
)

// New returns the API of the catalog in a store, whose changes are in log. users knows
// to whom APIs can be given, and plans who has a plan. The addresses of versions are made
// from gateways, the addresses of gateways, such as "ws://localhost:9099". security hears
// of what one user does to another's.
func New(st *store.Store, log *change.Log, users backplanev1.UserDirectoryServiceClient, plans backplanev1.PlanDirectoryServiceClient,
	gateways []string, security *securitylog.Log,
) *API {
	watch := change.NewServer[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse](log, st.Snapshot)
	watch.GatewayAddresses = gateways
	return &API{store: st, log: log, users: users, plans: plans, gateways: gateways, security: security, watch: watch}
}

// Register adds the services to the two listeners of a server.
func (a *API) Register(users, services grpc.ServiceRegistrar) {
	for _, listener := range []grpc.ServiceRegistrar{users, services} {
		catalogv1.RegisterCatalogServiceServer(listener, a)
		catalogv1.RegisterDenyRuleServiceServer(listener, a)
	}
	backplanev1.RegisterRouteServiceServer(services, a)
	backplanev1.RegisterDirectoryServiceServer(services, a)
	backplanev1.RegisterEndpointCheckServiceServer(services, a)
	change.Register(a.log, users, services)
}

// Rules says who may call which method. The handler checks what a user may do to one
// resource.
func Rules() identity.Rules {
	admin := identity.Rule{Roles: []string{identity.RoleAdmin}}
	services := identity.Rule{Services: []string{identity.Gateway, identity.Subscription}}
	rules := change.Rules()
	for _, m := range catalogv1.CatalogService_ServiceDesc.Methods {
		rules["/"+catalogv1.CatalogService_ServiceDesc.ServiceName+"/"+m.MethodName] = identity.Rule{}
	}
	for _, m := range catalogv1.DenyRuleService_ServiceDesc.Methods {
		rules["/"+catalogv1.DenyRuleService_ServiceDesc.ServiceName+"/"+m.MethodName] = identity.Rule{OwnerRole: identity.RolePublisher}
	}
	for _, method := range []string{catalogv1.DenyRuleService_GetDenyRule_FullMethodName, catalogv1.DenyRuleService_ListDenyRules_FullMethodName} {
		rules[method] = identity.Rule{}
	}
	rules[catalogv1.CatalogService_CreateApi_FullMethodName] = identity.Rule{Roles: []string{identity.RoleCreator}}
	for _, method := range []string{
		catalogv1.CatalogService_UpdateApi_FullMethodName, catalogv1.CatalogService_DeleteApi_FullMethodName,
		catalogv1.CatalogService_CreateVersion_FullMethodName, catalogv1.CatalogService_UpdateVersion_FullMethodName,
		catalogv1.CatalogService_DeleteVersion_FullMethodName,
	} {
		rules[method] = identity.Rule{OwnerRole: identity.RoleCreator}
	}
	// One user may create and another publish: this takes the role, not the owner.
	rules[catalogv1.CatalogService_PublishVersion_FullMethodName] = identity.Rule{Roles: []string{identity.RolePublisher}}
	rules[catalogv1.CatalogService_DemoteVersion_FullMethodName] = identity.Rule{OwnerRole: identity.RolePublisher}
	rules[catalogv1.CatalogService_CreatePlan_FullMethodName] = admin
	rules[catalogv1.CatalogService_UpdatePlan_FullMethodName] = admin
	rules[catalogv1.CatalogService_DeletePlan_FullMethodName] = admin
	rules[catalogv1.CatalogService_GetPlanUse_FullMethodName] = identity.Rule{Roles: []string{identity.RoleAdmin, identity.RolePublisher}}
	rules[backplanev1.RouteService_WatchRoutes_FullMethodName] = services
	rules[backplanev1.RouteService_GetRoute_FullMethodName] = services
	rules[backplanev1.RouteService_FetchPlan_FullMethodName] = services
	rules[backplanev1.DirectoryService_ListGateways_FullMethodName] = identity.Rule{Services: []string{identity.Portal}}
	rules[backplanev1.EndpointCheckService_AllowEndpointCheck_FullMethodName] = identity.Rule{Services: []string{identity.Portal}}
	return rules
}
