package grpcserver

import (
	"net"
	"sync"
	"time"
)

// opening is a listener that knows the connections that gRPC has not opened yet,
// for gRPC waits for each of them, as long as openTimeout, before it stops.
type opening struct {
	net.Listener

	mu      sync.Mutex
	conns   map[*openingConn]bool
	stopped bool
}

func newOpening(lis net.Listener) *opening {
	return &opening{Listener: lis, conns: map[*openingConn]bool{}}
}

// Accept waits for the next connection.
func (o *opening) Accept() (net.Conn, error) {
	conn, err := o.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &openingConn{Conn: conn, of: o}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stopped {
		conn.Close()
	} else {
		o.conns[c] = true
	}
	return c, nil
}

// stop closes the connections that are not open, and those that are still to
// come.
func (o *opening) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopped = true
	for c := range o.conns {
		c.Conn.Close()
	}
}

func (o *opening) forget(c *openingConn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.conns, c)
}

// openingConn is a connection of an opening.
type openingConn struct {
	net.Conn
	of *opening
}

// SetDeadline is what gRPC calls with a time before it opens a connection and
// with none afterwards.
func (c *openingConn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.of.forget(c)
	}
	return c.Conn.SetDeadline(t)
}

// Close closes the connection.
func (c *openingConn) Close() error {
	c.of.forget(c)
	return c.Conn.Close()
}
