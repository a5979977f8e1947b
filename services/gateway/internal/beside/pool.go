package beside

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
)

// Bounds of the connections to the backends of one version that are kept for another request.
const (
	maxIdlePerEndpoint = 32
	idleTimeout        = 30 * time.Second
)

// pools have the connections to backends, by version.
type pools struct {
	server *Server
	open   atomic.Int64 // connections, in use or kept

	mu        sync.Mutex
	byVersion map[string]*pool
}

// pool has the connections to the backends of a route. Another route of the same version has
// another pool: what the connections were made by may have changed.
type pool struct {
	of        *routes.HTTP
	transport *http.Transport
}

// of returns the pool of a version, by what its route says of HTTP.
func (p *pools) of(version string, r *routes.HTTP) *pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.byVersion[version]
	if found != nil && found.of == r {
		return found
	}
	if found != nil {
		found.transport.CloseIdleConnections()
	}
	found = &pool{of: r, transport: &http.Transport{
		DialContext: p.dial, DisableCompression: true, MaxIdleConnsPerHost: maxIdlePerEndpoint, IdleConnTimeout: idleTimeout,
		MaxResponseHeaderBytes: int64(p.server.Dialer.MaxHead()),
	}}
	p.byVersion[version] = found
	return found
}

// keep closes the connections that are kept and not of a table's routes.
func (p *pools) keep(t *routes.Table) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, found := range p.byVersion {
		if r := t.Get(name); r == nil || r.HTTP != found.of {
			found.transport.CloseIdleConnections()
			delete(p.byVersion, name)
		}
	}
}

// keeps reports whether a connection may be kept for another request.
func (p *pools) keeps() bool { return p.open.Load() < int64(p.server.cfg.MaxIdle) }

// host returns what the transport knows an endpoint of the pool's route by. Connections are
// dialled, and TLS spoken, as the endpoint says.
func (p *pool) host(e *routes.Endpoint) string {
	for i, stage := range []*routes.Stage{p.of.Production, p.of.Sandbox} {
		if stage != nil {
			if at := slices.Index(stage.Endpoints, e); at >= 0 {
				return strconv.Itoa(i) + "." + strconv.Itoa(at)
			}
		}
	}
	return "none"
}

// dialError is what went wrong before the endpoint got anything.
type dialError struct{ error }

// Unwrap returns the error.
func (e *dialError) Unwrap() error { return e.error }

func isDial(err error) bool {
	var dial *dialError
	return errors.As(err, &dial)
}

// dial opens a connection to the endpoint that is tried. It is the transport's DialContext.
func (p *pools) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	up, _ := ctx.Value(upstreamKey{}).(*upstream.Request)
	conn, err := p.server.Dialer.Connect(ctx, up)
	if err != nil {
		return nil, &dialError{err}
	}
	// An answer may be silent for as long as it likes, so only TCP finds out that the backend is gone.
	if err := netpoll.KeepAlive(conn); err != nil {
		_ = conn.Close()
		return nil, &dialError{err}
	}
	p.open.Add(1)
	return &backendConn{Conn: conn, stall: p.server.cfg.Stall, closed: sync.OnceFunc(func() { p.open.Add(-1) })}, nil
}

// backendConn is a connection to a backend, on which each write has the time of a stall.
type backendConn struct {
	net.Conn
	stall  time.Duration
	closed func()
}

// Write implements net.Conn.
func (c *backendConn) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.stall))
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *backendConn) Close() error {
	c.closed()
	return c.Conn.Close()
}
