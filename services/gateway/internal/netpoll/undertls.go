package netpoll

import (
	"crypto/tls"
	"net"
	"time"
)

// underTLS is the connection under a TLS leg. During the TLS handshake it is
// the plain connection; once it is live, reads and writes never wait.
//
// crypto/tls does not promise to work on a connection whose reads say "not now". It
// does so by an undocumented branch: a read error that is a net.Error and calls
// itself Temporary is not remembered by the tls.Conn, and what was read of the
// record before it is kept (Conn.readRecordOrCCS, Conn.readFromUntil, in
// crypto/tls/conn.go). TestTLSOverNonBlocking holds it to that; tested with Go 1.26.
// Writes have no such branch: any error of theirs ends a tls.Conn for good, so a
// write takes everything and keeps what the socket does not.
type underTLS struct {
	net.Conn // closed on Linux once it is live, unless it is outer
	// outer is TLS that this TLS is inside of, as behind a proxy that is spoken to with TLS;
	// nil: none. It is above another underTLS, which has the socket then. It hands errors on as
	// they are, so that "not now" means to the inner one what it means to itself.
	outer  *tls.Conn
	socket socket
	live   bool
}

// UnderTLS wraps a connection that will carry TLS, so that Conn can wait for the
// readability of what is under TLS without holding a buffer:
// tls.Server(netpoll.UnderTLS(conn), config). Until a Conn takes it over, it behaves
// as conn does.
// It may be TLS itself, above another UnderTLS.
func UnderTLS(conn net.Conn) net.Conn {
	outer, _ := conn.(*tls.Conn)
	return &underTLS{Conn: conn, outer: outer}
}

// below returns what is under the outer TLS, nil where there is none.
func (c *underTLS) below() *underTLS {
	if c.outer == nil {
		return nil
	}
	under, _ := c.outer.NetConn().(*underTLS)
	return under
}

// Read reads what is there; before the connection is live, it waits.
func (c *underTLS) Read(p []byte) (int, error) {
	if !c.live || c.outer != nil {
		return c.Conn.Read(p)
	}
	return c.socket.read(p)
}

// Write writes all of p, or keeps it; before the connection is live, it waits.
func (c *underTLS) Write(p []byte) (int, error) {
	if !c.live || c.outer != nil {
		return c.Conn.Write(p)
	}
	if err := c.socket.put(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline ignores the deadline that tls.Conn sets around a close_notify:
// nothing waits any more once the connection is live.
func (c *underTLS) SetWriteDeadline(t time.Time) error {
	if c.live {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}
