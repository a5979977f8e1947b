package grpcserver

import (
	"net"
	"sync"
	"time"
)

// openingListener closes the connections that are still being opened when the
// server stops. gRPC waits for each of them, up to openTimeout, before it tells
// anybody that it is stopping; so one connection on which nothing is sent could
// hold up every stop.
type openingListener struct {
	net.Listener

	mu      sync.Mutex
	conns   map[*openingConn]struct{}
	stopped bool
}

func newOpeningListener(lis net.Listener) *openingListener {
	return &openingListener{Listener: lis, conns: map[*openingConn]struct{}{}}
}

// Accept returns the next connection, which is being opened from now on.
func (l *openingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &openingConn{Conn: conn, listener: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		conn.Close()
	} else {
		l.conns[c] = struct{}{}
	}
	return c, nil
}

// stop closes the connections that are being opened, and those still to come.
func (l *openingListener) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	for c := range l.conns {
		c.Conn.Close()
	}
}

func (l *openingListener) forget(c *openingConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

type openingConn struct {
	net.Conn
	listener *openingListener
}

// SetDeadline is called by gRPC with a time before it opens the connection, and
// with the zero time once it is open.
func (c *openingConn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.listener.forget(c)
	}
	return c.Conn.SetDeadline(t)
}

// Close closes the connection.
func (c *openingConn) Close() error {
	c.listener.forget(c)
	return c.Conn.Close()
}
