// Package usage serves usage and session records to users (tidegate.usage.v1), and
// takes both in from gateways (MeteringService).
package usage

import (
	"log/slog"

	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogwatch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// API serves UsageService and MeteringService.
type API struct {
	usagev1.UnsafeUsageServiceServer
	backplanev1.UnsafeMeteringServiceServer

	store   *store.Store
	catalog *catalogwatch.Watch
	log     *slog.Logger
}

var (
	_ usagev1.UsageServiceServer        = (*API)(nil)
	_ backplanev1.MeteringServiceServer = (*API)(nil)
)

// New returns the API.
func New(st *store.Store, catalog *catalogwatch.Watch, log *slog.Logger) *API {
	return &API{store: st, catalog: catalog, log: log}
}

// Register adds UsageService to a server for users.
func (a *API) Register(srv grpc.ServiceRegistrar) { usagev1.RegisterUsageServiceServer(srv, a) }

// RegisterInternal adds MeteringService to a server that only services reach.
func (a *API) RegisterInternal(srv grpc.ServiceRegistrar) {
	backplanev1.RegisterMeteringServiceServer(srv, a)
}

// Rules says who may call which method.
func Rules() identity.Rules {
	gateway := identity.Rule{Services: []string{identity.Gateway}}
	return identity.Rules{
		usagev1.UsageService_ListUsage_FullMethodName:                   {},
		usagev1.UsageService_GetSessionRecord_FullMethodName:            {},
		usagev1.UsageService_ListSessionRecords_FullMethodName:          {},
		backplanev1.MeteringService_ReportUsage_FullMethodName:          gateway,
		backplanev1.MeteringService_ReportSessionRecords_FullMethodName: gateway,
		backplanev1.MeteringService_ReportLeftOut_FullMethodName:        gateway,
	}
}
