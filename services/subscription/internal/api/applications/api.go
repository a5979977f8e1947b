// Package applications serves tidegate.subscription.v1: applications, their OAuth
// clients with secrets, their API keys, subscriptions, and the tokens that users get for gateways.
package applications

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/apikey"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogwatch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// API serves ApplicationService, APIKeyService, SubscriptionService, TokenService and RevocationService, and PlanDirectoryService of
// tidegate.backplane.v1.
type API struct {
	subscriptionv1.UnsafeApplicationServiceServer
	subscriptionv1.UnsafeAPIKeyServiceServer
	subscriptionv1.UnsafeSubscriptionServiceServer
	subscriptionv1.UnsafeTokenServiceServer
	subscriptionv1.UnsafeRevocationServiceServer
	backplanev1.UnsafePlanDirectoryServiceServer

	store    *store.Store
	catalog  *catalogwatch.Watch
	issuer   *token.Issuer
	keys     apikey.Formats
	now      func() time.Time
	security *securitylog.Log
}

var (
	_ subscriptionv1.ApplicationServiceServer  = (*API)(nil)
	_ subscriptionv1.APIKeyServiceServer       = (*API)(nil)
	_ subscriptionv1.SubscriptionServiceServer = (*API)(nil)
	_ subscriptionv1.TokenServiceServer        = (*API)(nil)
	_ subscriptionv1.RevocationServiceServer   = (*API)(nil)
	_ backplanev1.PlanDirectoryServiceServer   = (*API)(nil)
)

// New returns the API. API keys are made in the first of the formats keys.
func New(st *store.Store, catalog *catalogwatch.Watch, issuer *token.Issuer, keys apikey.Formats, now func() time.Time, security *securitylog.Log) *API {
	return &API{store: st, catalog: catalog, issuer: issuer, keys: keys, now: now, security: security}
}

// Register adds the services to a server.
func (a *API) Register(srv grpc.ServiceRegistrar) {
	subscriptionv1.RegisterApplicationServiceServer(srv, a)
	subscriptionv1.RegisterAPIKeyServiceServer(srv, a)
	subscriptionv1.RegisterSubscriptionServiceServer(srv, a)
	subscriptionv1.RegisterTokenServiceServer(srv, a)
	subscriptionv1.RegisterRevocationServiceServer(srv, a)
}

// RegisterInternal adds the service that only services reach.
func (a *API) RegisterInternal(srv grpc.ServiceRegistrar) {
	backplanev1.RegisterPlanDirectoryServiceServer(srv, a)
}

// Rules says who may call which method. What belongs to somebody else is NOT_FOUND,
// whatever the role.
func Rules() identity.Rules {
	owner := identity.Rule{OwnerRole: identity.RoleSubscriber}
	publisher := identity.Rule{OwnerRole: identity.RolePublisher}
	return identity.Rules{
		subscriptionv1.ApplicationService_CreateApplication_FullMethodName:       {Roles: []string{identity.RoleSubscriber}},
		subscriptionv1.ApplicationService_GetApplication_FullMethodName:          {},
		subscriptionv1.ApplicationService_BatchGetApplications_FullMethodName:    {},
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
		subscriptionv1.APIKeyService_CreateAPIKey_FullMethodName:                 owner,
		subscriptionv1.APIKeyService_GetAPIKey_FullMethodName:                    {},
		subscriptionv1.APIKeyService_ListAPIKeys_FullMethodName:                  {},
		subscriptionv1.APIKeyService_UpdateAPIKey_FullMethodName:                 owner,
		subscriptionv1.APIKeyService_RotateAPIKey_FullMethodName:                 owner,
		subscriptionv1.APIKeyService_DeleteAPIKey_FullMethodName:                 {},
		subscriptionv1.SubscriptionService_CreateSubscription_FullMethodName:     owner,
		subscriptionv1.SubscriptionService_GetSubscription_FullMethodName:        {},
		subscriptionv1.SubscriptionService_BatchGetSubscriptions_FullMethodName:  {},
		subscriptionv1.SubscriptionService_ListSubscriptions_FullMethodName:      {},
		subscriptionv1.SubscriptionService_UpdateSubscription_FullMethodName:     owner,
		subscriptionv1.SubscriptionService_DeleteSubscription_FullMethodName:     {},
		subscriptionv1.SubscriptionService_BlockSubscription_FullMethodName:      publisher,
		subscriptionv1.SubscriptionService_RestoreSubscription_FullMethodName:    publisher,
		subscriptionv1.TokenService_IssueApplicationToken_FullMethodName:         owner,
		subscriptionv1.TokenService_IssueTryOutToken_FullMethodName:              {},
		subscriptionv1.RevocationService_Revoke_FullMethodName:                   {},
		backplanev1.PlanDirectoryService_CountPlanUse_FullMethodName:             {Services: []string{identity.Catalog}},
	}
}

// withCatalog calls do, which depends on what is known of the catalog. When that
// knowledge, which may be old, makes do refuse, it reads what the refusal rests on from the
// catalog and calls do once more.
func withCatalog[Row any](ctx context.Context, catalog *catalogwatch.Watch, do func() (Row, error)) (Row, error) {
	row, err := do()
	refusal, ok := errors.AsType[*store.CatalogRefusal](err)
	if !ok {
		return row, err
	}
	var found bool
	var readErr error
	if refusal.Plan != "" {
		found, readErr = catalog.ReadPlan(ctx, refusal.Plan)
	} else {
		found, readErr = catalog.Read(ctx, refusal.Version)
	}
	switch {
	case readErr != nil:
		return row, readErr
	case !found:
		return row, err
	}
	return do()
}
