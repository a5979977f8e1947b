// Package applications serves tidegate.subscription.v1: applications, their OAuth
// clients with secrets, and subscriptions.
package applications

import (
	"context"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"time"

	"google.golang.org/grpc"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogwatch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// API serves ApplicationService and SubscriptionService.
type API struct {
	subscriptionv1.UnsafeApplicationServiceServer
	subscriptionv1.UnsafeSubscriptionServiceServer

	store    *store.Store
	catalog  *catalogwatch.Watch
	now      func() time.Time
	security *securitylog.Log
}

var (
	_ subscriptionv1.ApplicationServiceServer  = (*API)(nil)
	_ subscriptionv1.SubscriptionServiceServer = (*API)(nil)
)

// New returns the API.
func New(st *store.Store, catalog *catalogwatch.Watch, now func() time.Time, security *securitylog.Log) *API {
	return &API{store: st, catalog: catalog, now: now, security: security}
}

// Register adds the services to a server.
func (a *API) Register(srv grpc.ServiceRegistrar) {
	subscriptionv1.RegisterApplicationServiceServer(srv, a)
	subscriptionv1.RegisterSubscriptionServiceServer(srv, a)
}

// Rules says who may call which method. What belongs to somebody else is NOT_FOUND,
// whatever the role.
func Rules() identity.Rules {
	owner := identity.Rule{OwnerRole: identity.RoleSubscriber}
	return identity.Rules{
		subscriptionv1.ApplicationService_CreateApplication_FullMethodName:       {Roles: []string{identity.RoleSubscriber}},
		subscriptionv1.ApplicationService_GetApplication_FullMethodName:          {},
		subscriptionv1.ApplicationService_ListApplications_FullMethodName:        {},
		subscriptionv1.ApplicationService_UpdateApplication_FullMethodName:       owner,
		subscriptionv1.ApplicationService_DeleteApplication_FullMethodName:       {},
		subscriptionv1.ApplicationService_CreateOAuthClient_FullMethodName:       owner,
		subscriptionv1.ApplicationService_GetOAuthClient_FullMethodName:          {},
		subscriptionv1.ApplicationService_ListOAuthClients_FullMethodName:        {},
		subscriptionv1.ApplicationService_DeleteOAuthClient_FullMethodName:       {},
		subscriptionv1.ApplicationService_CreateOAuthClientSecret_FullMethodName: owner,
		subscriptionv1.ApplicationService_GetOAuthClientSecret_FullMethodName:    {},
		subscriptionv1.ApplicationService_ListOAuthClientSecrets_FullMethodName:  {},
		subscriptionv1.ApplicationService_DeleteOAuthClientSecret_FullMethodName: {},
		subscriptionv1.SubscriptionService_CreateSubscription_FullMethodName:     owner,
		subscriptionv1.SubscriptionService_GetSubscription_FullMethodName:        {},
		subscriptionv1.SubscriptionService_ListSubscriptions_FullMethodName:      {},
		subscriptionv1.SubscriptionService_UpdateSubscription_FullMethodName:     owner,
		subscriptionv1.SubscriptionService_DeleteSubscription_FullMethodName:     {},
	}
}

// BlockSubscription blocks a subscription.
func (a *API) BlockSubscription(context.Context, *subscriptionv1.BlockSubscriptionRequest) (*subscriptionv1.Subscription, error) {
	return nil, status.Error(codes.Unimplemented, "not yet")
}

// RestoreSubscription lets a blocked subscription be used again.
func (a *API) RestoreSubscription(context.Context, *subscriptionv1.RestoreSubscriptionRequest) (*subscriptionv1.Subscription, error) {
	return nil, status.Error(codes.Unimplemented, "not yet")
}
