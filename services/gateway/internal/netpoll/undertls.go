package netpoll

import (
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
	net.Conn // closed on Linux once it is live
	socket   socket
	live     bool
}

// UnderTLS wraps a connection that will carry TLS, so that Conn can wait for the
// readability of what is under TLS without holding a buffer:
// tls.Server(netpoll.UnderTLS(conn), config). Until a Conn takes it over, it behaves
// as conn does.
func UnderTLS(conn net.Conn) net.Conn { return &underTLS{Conn: conn} }

// Read reads what is there; before the connection is live, it waits.
func (c *underTLS) Read(p []byte) (int, error) {
	if !c.live {
		return c.Conn.Read(p)
	}
	return c.socket.read(p)
}

// Write writes all of p, or keeps it; before the connection is live, it waits.
func (c *underTLS) Write(p []byte) (int, error) {
	if !c.live {
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
