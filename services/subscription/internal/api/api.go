// Package api serves the subscription service: UserService, SignInService,
// ApplicationService, SubscriptionService, OAuth2Service, UsageService and
// ChangeService for users, GrantService and MeteringService for gateways. Checks of requests stand in
// check.go, conversions in convert.go; rows are left to package store, secrets to
// package token.
package api

import (
	"log/slog"
	"time"

	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
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
	identityv1.UnsafeUserServiceServer
	identityv1.UnsafeSignInServiceServer
	subscriptionv1.UnsafeApplicationServiceServer
	subscriptionv1.UnsafeSubscriptionServiceServer
	oauth2v1.UnsafeOAuth2ServiceServer
	usagev1.UnsafeUsageServiceServer
	backplanev1.UnsafeGrantServiceServer
	backplanev1.UnsafeMeteringServiceServer

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
	_ identityv1.UserServiceServer             = (*API)(nil)
	_ identityv1.SignInServiceServer           = (*API)(nil)
	_ subscriptionv1.ApplicationServiceServer  = (*API)(nil)
	_ subscriptionv1.SubscriptionServiceServer = (*API)(nil)
	_ oauth2v1.OAuth2ServiceServer             = (*API)(nil)
	_ usagev1.UsageServiceServer               = (*API)(nil)
	_ backplanev1.GrantServiceServer           = (*API)(nil)
	_ backplanev1.MeteringServiceServer        = (*API)(nil)
)

// New returns the API made of parts.
func New(p Parts) *API {
	return &API{
		store: p.Store, changes: p.Changes, issuer: p.Issuer, keys: p.Keys, passwords: p.Passwords,
		catalog: p.Catalog, refresh: p.RefreshLifetime, now: p.Now, log: p.Log, watch: change.NewServer[backplanev1.WatchGrantsRequest, backplanev1.WatchGrantsResponse](p.Changes, nil),
	}
}

// Register adds the services to the two faces of a server.
func (a *API) Register(users, services grpc.ServiceRegistrar) {
	for _, face := range []grpc.ServiceRegistrar{users, services} {
		identityv1.RegisterUserServiceServer(face, a)
		identityv1.RegisterSignInServiceServer(face, a)
		subscriptionv1.RegisterApplicationServiceServer(face, a)
		subscriptionv1.RegisterSubscriptionServiceServer(face, a)
		oauth2v1.RegisterOAuth2ServiceServer(face, a)
		usagev1.RegisterUsageServiceServer(face, a)
	}
	backplanev1.RegisterGrantServiceServer(services, a)
	backplanev1.RegisterMeteringServiceServer(services, a)
	change.Register(a.changes, users, services)
}

// Rules says who may call which method. What a user may do to one object is
// checked by its handler.
func Rules() identity.Rules {
	rules := change.Rules()
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
	add(identity.Rule{}, identityv1.UserService_ServiceDesc, subscriptionv1.ApplicationService_ServiceDesc,
		subscriptionv1.SubscriptionService_ServiceDesc, usagev1.UsageService_ServiceDesc)
	add(identity.Rule{Open: true}, identityv1.SignInService_ServiceDesc, oauth2v1.OAuth2Service_ServiceDesc)
	add(identity.Rule{Services: []string{identity.Gateway}},
		backplanev1.GrantService_ServiceDesc, backplanev1.MeteringService_ServiceDesc)
	for _, method := range []string{
		identityv1.UserService_CreateUser_FullMethodName,
		identityv1.UserService_ListUsers_FullMethodName,
	} {
		rules[method] = identity.Rule{Roles: []string{identity.RoleAdmin}}
	}
	rules[subscriptionv1.ApplicationService_CreateApplication_FullMethodName] =
		identity.Rule{Roles: []string{identity.RoleSubscriber}}
	return rules
}
