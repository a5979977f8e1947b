// Package access serves AccessService of tidegate.backplane.v1: it tells the other
// services that check users' tokens whose access has ended.
package access

import (
	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// API serves AccessService.
type API struct {
	backplanev1.UnsafeAccessServiceServer

	watch *change.Server[backplanev1.WatchUsersRequest, backplanev1.WatchUsersResponse]
}

var _ backplanev1.AccessServiceServer = (*API)(nil)

// New returns the API. Services watch the log changes.
func New(changes *change.Log) *API {
	return &API{watch: change.NewServer[backplanev1.WatchUsersRequest, backplanev1.WatchUsersResponse](changes, store.EndedAccess)}
}

// RegisterInternal adds the service to a server that only services reach.
func (a *API) RegisterInternal(srv grpc.ServiceRegistrar) {
	backplanev1.RegisterAccessServiceServer(srv, a)
}

// Rules says who may call which method.
func Rules() identity.Rules {
	return identity.Rules{
		backplanev1.AccessService_WatchUsers_FullMethodName: {Services: []string{identity.Catalog, identity.Gateway}},
	}
}

// WatchUsers streams the access that ends.
func (a *API) WatchUsers(stream grpc.BidiStreamingServer[backplanev1.WatchUsersRequest, backplanev1.WatchUsersResponse]) error {
	return a.watch.Serve(stream)
}
