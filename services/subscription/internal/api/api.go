// Package api serves the subscription service: PeopleService,
// SubscriptionService, OAuthService and UsageService for people, TokenService
// and MeteringService for gateways. Checks of requests stand in check.go,
// conversions in convert.go; rows are left to package store, secrets to package
// token.
package api

import (
	"log/slog"
	"time"

	"google.golang.org/grpc"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogwatch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// Parts is what the API works with.
type Parts struct {
	Store     *store.Store
	Changes   *change.Log
	Issuer    *token.Issuer
	Keys      *token.Keys
	Passwords *token.Passwords
	Catalog   *catalogwatch.Watch
	// RefreshLifetime is how long a refresh token works.
	RefreshLifetime time.Duration
	Now             func() time.Time
	Log             *slog.Logger
}

// API serves all of the service's gRPC services.
type API struct {
	subscriptionv1.UnsafePeopleServiceServer
	subscriptionv1.UnsafeSubscriptionServiceServer
	subscriptionv1.UnsafeOAuthServiceServer
	subscriptionv1.UnsafeUsageServiceServer
	subscriptionv1.UnsafeTokenServiceServer
	subscriptionv1.UnsafeMeteringServiceServer

	store     *store.Store
	changes   *change.Log
	issuer    *token.Issuer
	keys      *token.Keys
	passwords *token.Passwords
	catalog   *catalogwatch.Watch
	refresh   time.Duration
	now       func() time.Time
	log       *slog.Logger
	watch     *grantWatch
}

var (
	_ subscriptionv1.PeopleServiceServer       = (*API)(nil)
	_ subscriptionv1.SubscriptionServiceServer = (*API)(nil)
	_ subscriptionv1.OAuthServiceServer        = (*API)(nil)
	_ subscriptionv1.UsageServiceServer        = (*API)(nil)
	_ subscriptionv1.TokenServiceServer        = (*API)(nil)
	_ subscriptionv1.MeteringServiceServer     = (*API)(nil)
)

// New returns the API made of parts.
func New(p Parts) *API {
	return &API{
		store: p.Store, changes: p.Changes, issuer: p.Issuer, keys: p.Keys, passwords: p.Passwords,
		catalog: p.Catalog, refresh: p.RefreshLifetime, now: p.Now, log: p.Log, watch: newGrantWatch(p.Changes),
	}
}

// Register adds the services to the two faces of a server.
func (a *API) Register(people, services grpc.ServiceRegistrar) {
	for _, face := range []grpc.ServiceRegistrar{people, services} {
		subscriptionv1.RegisterPeopleServiceServer(face, a)
		subscriptionv1.RegisterSubscriptionServiceServer(face, a)
		subscriptionv1.RegisterOAuthServiceServer(face, a)
		subscriptionv1.RegisterUsageServiceServer(face, a)
	}
	subscriptionv1.RegisterTokenServiceServer(services, a)
	subscriptionv1.RegisterMeteringServiceServer(services, a)
}

// Rules says who may call which method. What a person may do to one object is
// checked by its handler.
func Rules() identity.Rules {
	rules := identity.Rules{}
	add := func(rule identity.Rule, services ...grpc.ServiceDesc) {
		for _, s := range services {
			for _, m := range s.Methods {
				rules["/"+s.ServiceName+"/"+m.MethodName] = rule
			}
			for _, m := range s.Streams {
				rules["/"+s.ServiceName+"/"+m.StreamName] = rule
			}
		}
	}
	add(identity.Rule{}, subscriptionv1.PeopleService_ServiceDesc, subscriptionv1.SubscriptionService_ServiceDesc,
		subscriptionv1.UsageService_ServiceDesc)
	add(identity.Rule{Open: true}, subscriptionv1.OAuthService_ServiceDesc)
	add(identity.Rule{Services: []string{identity.Gateway}},
		subscriptionv1.TokenService_ServiceDesc, subscriptionv1.MeteringService_ServiceDesc)
	for _, method := range []string{
		subscriptionv1.PeopleService_SignIn_FullMethodName,
		subscriptionv1.PeopleService_RefreshSignIn_FullMethodName,
		subscriptionv1.PeopleService_SignOut_FullMethodName,
	} {
		rules[method] = identity.Rule{Open: true}
	}
	for _, method := range []string{
		subscriptionv1.PeopleService_CreatePerson_FullMethodName,
		subscriptionv1.PeopleService_ListPeople_FullMethodName,
		subscriptionv1.SubscriptionService_ListChanges_FullMethodName,
		subscriptionv1.SubscriptionService_ListWatchers_FullMethodName,
	} {
		rules[method] = identity.Rule{Roles: []string{identity.RoleAdmin}}
	}
	rules[subscriptionv1.SubscriptionService_CreateApplication_FullMethodName] =
		identity.Rule{Roles: []string{identity.RoleSubscriber}}
	return rules
}
