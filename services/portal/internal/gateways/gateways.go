// Package gateways finds the gateways of the installation, which the catalog knows
// with the addresses that they advertise. Package sessions calls them.
package gateways

import (
	"cmp"
	"context"
	"log/slog"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/ref"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
)

// Gateway is one of the gateways.
type Gateway struct {
	// Name is gateways/{gateway}.
	Name resourcename.Gateway
	// Connected says whether the gateway watches the catalog now; if not, it did
	// recently.
	Connected bool
	// Tag is what the refs of its sessions have; "" is that of an earlier release.
	Tag ref.Tag
	// Sessions, Endpoints and Live are its SessionService, EndpointService and
	// LiveSessionService.
	Sessions  gatewayv1.SessionServiceClient
	Endpoints gatewayv1.EndpointServiceClient
	Live      backplanev1.LiveSessionServiceClient
}

// Directory finds gateways and keeps the connections to them. It is safe for
// concurrent use.
type Directory struct {
	catalog backplanev1.DirectoryServiceClient
	pool    *grpcclient.Pool
	log     *slog.Logger
}

// New returns a directory that asks the catalog, and connects as dial says.
func New(catalog grpc.ClientConnInterface, dial *grpcclient.Instances, log *slog.Logger) *Directory {
	return &Directory{catalog: backplanev1.NewDirectoryServiceClient(catalog), pool: grpcclient.NewPool(dial), log: log}
}

// All returns the gateways that may have live sessions, by name. ctx has the user's
// token, which the catalog checks: a token that is not valid is refused even if there
// are no gateways.
func (d *Directory) All(ctx context.Context) ([]Gateway, error) {
	if md, _ := metadata.FromOutgoingContext(ctx); len(md.Get("authorization")) == 0 {
		return nil, identity.NoToken()
	}
	resp, err := d.catalog.ListGateways(ctx, &backplanev1.ListGatewaysRequest{})
	if err != nil {
		return nil, fault.Forward(err)
	}
	var addresses []string
	for _, w := range resp.GetGateways() {
		addresses = append(addresses, w.GetAddress())
	}
	conns := d.pool.All(addresses)
	var all []Gateway
	for i, w := range resp.GetGateways() {
		name := resourcename.Gateway{Gateway: w.GetInstance()}
		conn := upstream.New(name.String(), conns[i], d.log)
		all = append(all, Gateway{
			Name: name, Connected: w.GetConnected(), Tag: ref.Tag(w.GetRefTag()),
			Sessions: gatewayv1.NewSessionServiceClient(conn), Endpoints: gatewayv1.NewEndpointServiceClient(conn),
			Live: backplanev1.NewLiveSessionServiceClient(conn),
		})
	}
	slices.SortFunc(all, func(a, b Gateway) int { return cmp.Compare(a.Name.Gateway, b.Name.Gateway) })
	return all, nil
}

// Close closes all connections.
func (d *Directory) Close() error { return d.pool.Close() }
