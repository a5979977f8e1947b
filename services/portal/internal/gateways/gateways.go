// Package gateways finds the gateways of the installation, which the catalog knows
// with the addresses that they advertise. Package sessions calls them.
package gateways

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
)

// unusedFor is how long a connection is kept after the last gateway at its address
// has gone.
const unusedFor = 10 * time.Minute

// Gateway is one of the gateways.
type Gateway struct {
	// Name is gateways/{gateway}.
	Name resourcename.Gateway
	// Connected says whether the gateway watches the catalog now; if not, it did
	// recently.
	Connected bool
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
	dial    *grpcclient.Instances
	log     *slog.Logger

	mu    sync.Mutex
	conns map[string]*connection // by address
}

// connection is one to an address, and when a gateway was there last.
type connection struct {
	conn *grpc.ClientConn
	seen time.Time
}

// New returns a directory that asks the catalog, and connects as dial says.
func New(catalog grpc.ClientConnInterface, dial *grpcclient.Instances, log *slog.Logger) *Directory {
	return &Directory{
		catalog: backplanev1.NewDirectoryServiceClient(catalog), dial: dial, log: log,
		conns: map[string]*connection{},
	}
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
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	var all []Gateway
	for _, w := range resp.GetGateways() {
		name := resourcename.Gateway{Gateway: w.GetInstance()}
		conn := upstream.New(name.String(), d.connect(w.GetAddress(), now), d.log)
		all = append(all, Gateway{
			Name: name, Connected: w.GetConnected(),
			Sessions: gatewayv1.NewSessionServiceClient(conn), Endpoints: gatewayv1.NewEndpointServiceClient(conn),
			Live: backplanev1.NewLiveSessionServiceClient(conn),
		})
	}
	d.closeUnused(now)
	slices.SortFunc(all, func(a, b Gateway) int { return cmp.Compare(a.Name.Gateway, b.Name.Gateway) })
	return all, nil
}

// connect returns the connection to an address.
func (d *Directory) connect(address string, now time.Time) grpc.ClientConnInterface {
	if c := d.conns[address]; c != nil {
		c.seen = now
		return c.conn
	}
	conn, err := d.dial.Dial(address)
	if err != nil {
		return refusing{err}
	}
	d.conns[address] = &connection{conn: conn, seen: now}
	return conn
}

// closeUnused closes the connections to addresses at which no gateway has been for
// long.
func (d *Directory) closeUnused(now time.Time) {
	for address, c := range d.conns {
		if now.Sub(c.seen) > unusedFor {
			_ = d.dial.Close(c.conn)
			delete(d.conns, address)
		}
	}
}

// Close closes all connections.
func (d *Directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for address, c := range d.conns {
		errs = append(errs, d.dial.Close(c.conn))
		delete(d.conns, address)
	}
	return errors.Join(errs...)
}

// refusing is a connection to an address that cannot be dialled.
type refusing struct{ err error }

// Invoke says that the gateway is not reached, and why.
func (r refusing) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return r.unreachable()
}

// NewStream says the same.
func (r refusing) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, r.unreachable()
}

func (r refusing) unreachable() error {
	return fault.WithReason(fault.Unavailable("%s", r.err), fault.ReasonServiceUnreachable)
}
