package relay

import "net"

// Leg is one connection after its handshake, and the bytes that were read from
// it beyond the handshake. Conn is a TCP or Unix connection, or a *tls.Conn
// above one that was wrapped by BelowTLS.
type Leg struct {
	Conn  net.Conn
	Ahead []byte
}

// BelowTLS wraps a connection that will carry TLS, so that a session can wait
// for readability of the connection below without holding a buffer:
// tls.Server(relay.BelowTLS(conn), config). Until a session starts on it, it
// behaves as conn does.
func BelowTLS(conn net.Conn) net.Conn { return conn }
