// Package grants serves GrantService and DirectoryService of tidegate.backplane.v1: it
// judges credentials for gateways, and tells them what changes a verdict, and where other
// gateways are.
package grants

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/apikey"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// API serves GrantService and DirectoryService.
type API struct {
	backplanev1.UnsafeGrantServiceServer
	backplanev1.UnsafeDirectoryServiceServer

	store   *store.Store
	changes *change.Log
	issuer  *token.Issuer
	signer  *token.BackendIdentities
	keys    apikey.Formats
	now     func() time.Time
	watch   *change.Server[backplanev1.WatchGrantsRequest, backplanev1.WatchGrantsResponse]
}

// Signs are what the service signs: access tokens, which it reads here, and what backends are
// told.
type Signs struct {
	Tokens     *token.Issuer
	Identities *token.BackendIdentities
}

var (
	_ backplanev1.GrantServiceServer     = (*API)(nil)
	_ backplanev1.DirectoryServiceServer = (*API)(nil)
)

// New returns the API. Gateways watch the log changes; keys are the formats that API keys
// have.
func New(st *store.Store, changes *change.Log, signs Signs, keys apikey.Formats, now func() time.Time) *API {
	return &API{
		store: st, changes: changes, issuer: signs.Tokens, signer: signs.Identities, keys: keys, now: now,
		watch: change.NewServer[backplanev1.WatchGrantsRequest, backplanev1.WatchGrantsResponse](changes, nil),
	}
}

// ListGateways lists the gateways that watch grants, for each other: those that say which tag
// the refs of their sessions have. What watches users says none.
func (a *API) ListGateways(ctx context.Context, _ *backplanev1.ListGatewaysRequest) (*backplanev1.ListGatewaysResponse, error) {
	all, err := a.changes.Gateways(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(w *changev1.Watcher) bool { return w.GetRefTag() == "" })
	return &backplanev1.ListGatewaysResponse{Gateways: all}, nil
}

// RegisterInternal adds the services to a server that only services reach.
func (a *API) RegisterInternal(srv grpc.ServiceRegistrar) {
	backplanev1.RegisterGrantServiceServer(srv, a)
	backplanev1.RegisterDirectoryServiceServer(srv, a)
}

// Rules says who may call which method.
func Rules() identity.Rules {
	gateway := identity.Rule{Services: []string{identity.Gateway}}
	return identity.Rules{
		backplanev1.GrantService_VerifyCredential_FullMethodName:    gateway,
		backplanev1.GrantService_IssueTicket_FullMethodName:         gateway,
		backplanev1.GrantService_SignBackendIdentity_FullMethodName: gateway,
		backplanev1.GrantService_BatchGetGrants_FullMethodName:      gateway,
		backplanev1.GrantService_WatchGrants_FullMethodName:         gateway,

		backplanev1.DirectoryService_ListGateways_FullMethodName: gateway,
	}
}
