// Package grants serves GrantService of tidegate.backplane.v1: it judges
// credentials for gateways, and tells them what changes a verdict.
package grants

import (
	"time"

	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/apikey"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// API serves GrantService.
type API struct {
	backplanev1.UnsafeGrantServiceServer

	store  *store.Store
	issuer *token.Issuer
	keys   apikey.Formats
	now    func() time.Time
	watch  *change.Server[backplanev1.WatchGrantsRequest, backplanev1.WatchGrantsResponse]
}

var _ backplanev1.GrantServiceServer = (*API)(nil)

// New returns the API. Gateways watch the log changes; keys are the formats that API keys
// have.
func New(st *store.Store, changes *change.Log, issuer *token.Issuer, keys apikey.Formats, now func() time.Time) *API {
	return &API{
		store: st, issuer: issuer, keys: keys, now: now,
		watch: change.NewServer[backplanev1.WatchGrantsRequest, backplanev1.WatchGrantsResponse](changes, nil),
	}
}

// RegisterInternal adds the service to a server that only services reach.
func (a *API) RegisterInternal(srv grpc.ServiceRegistrar) {
	backplanev1.RegisterGrantServiceServer(srv, a)
}

// Rules says who may call which method.
func Rules() identity.Rules {
	gateway := identity.Rule{Services: []string{identity.Gateway}}
	return identity.Rules{
		backplanev1.GrantService_VerifyCredential_FullMethodName: gateway,
		backplanev1.GrantService_IssueTicket_FullMethodName:      gateway,
		backplanev1.GrantService_BatchGetGrants_FullMethodName:   gateway,
		backplanev1.GrantService_WatchGrants_FullMethodName:      gateway,
	}
}
