// Package quota gives slices of quotas to gateways (QuotaLedgerService), and shows users
// what was used of quotas (tidegate.usage.v1.QuotaService).
package quota

import (
	"time"

	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogwatch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// API serves QuotaService and QuotaLedgerService.
type API struct {
	usagev1.UnsafeQuotaServiceServer
	backplanev1.UnsafeQuotaLedgerServiceServer

	store   *store.Store
	catalog *catalogwatch.Watch
	now     func() time.Time
}

var (
	_ usagev1.QuotaServiceServer           = (*API)(nil)
	_ backplanev1.QuotaLedgerServiceServer = (*API)(nil)
)

// New returns the API. now is the clock that windows go by.
func New(st *store.Store, catalog *catalogwatch.Watch, now func() time.Time) *API {
	return &API{store: st, catalog: catalog, now: now}
}

// Register adds QuotaService to a server for users.
func (a *API) Register(srv grpc.ServiceRegistrar) { usagev1.RegisterQuotaServiceServer(srv, a) }

// RegisterInternal adds QuotaLedgerService to a server that only services reach.
func (a *API) RegisterInternal(srv grpc.ServiceRegistrar) {
	backplanev1.RegisterQuotaLedgerServiceServer(srv, a)
}

// Rules says who may call which method.
func Rules() identity.Rules {
	publisher := identity.Rule{OwnerRole: identity.RolePublisher}
	return identity.Rules{
		usagev1.QuotaService_ListQuotaUses_FullMethodName:       {},
		usagev1.QuotaService_ListQuotaEvents_FullMethodName:     {},
		usagev1.QuotaService_ResetQuota_FullMethodName:          publisher,
		usagev1.QuotaService_AddQuota_FullMethodName:            publisher,
		backplanev1.QuotaLedgerService_TakeQuota_FullMethodName: {Services: []string{identity.Gateway}},
	}
}
