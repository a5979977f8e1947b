package grpcclient

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// unusedFor is how long a connection is kept after the last instance at its address has gone.
const unusedFor = 10 * time.Minute

// Pool keeps connections to the instances of a service, by their addresses. It is safe for
// concurrent use.
type Pool struct {
	dial *Instances

	mu    sync.Mutex
	conns map[string]*pooled // by address
}

// pooled is a connection, and when an instance was at its address last.
type pooled struct {
	conn *grpc.ClientConn
	seen time.Time
}

// NewPool returns a pool that connects as dial says.
func NewPool(dial *Instances) *Pool { return &Pool{dial: dial, conns: map[string]*pooled{}} }

// All returns the connections to the addresses at which there are instances, in their order,
// and closes those to addresses at which there has been none for 10 minutes. Calls over the
// connection to an address that cannot be dialled are UNAVAILABLE.
func (p *Pool) All(addresses []string) []grpc.ClientConnInterface {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	all := make([]grpc.ClientConnInterface, len(addresses))
	for i, address := range addresses {
		all[i] = p.connect(address, now)
	}
	for address, c := range p.conns {
		if now.Sub(c.seen) > unusedFor {
			_ = p.dial.Close(c.conn)
			delete(p.conns, address)
		}
	}
	return all
}

// connect returns the connection to an address.
func (p *Pool) connect(address string, now time.Time) grpc.ClientConnInterface {
	if c := p.conns[address]; c != nil {
		c.seen = now
		return c.conn
	}
	conn, err := p.dial.Dial(address)
	if err != nil {
		return refusing{err}
	}
	p.conns[address] = &pooled{conn: conn, seen: now}
	return conn
}

// Close closes all connections.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for address, c := range p.conns {
		errs = append(errs, p.dial.Close(c.conn))
		delete(p.conns, address)
	}
	return errors.Join(errs...)
}

// refusing is a connection to an address that cannot be dialled.
type refusing struct{ err error }

// Invoke says that the instance is not reached, and why.
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
