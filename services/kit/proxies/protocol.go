package proxies

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/pires/go-proxyproto"
)

// conn is a connection whose PROXY header was read.
type conn struct {
	socket
	rest []byte // read along with the header, and not yet by anybody
	from net.Addr
}

// socket is a connection of TCP, and what callers that know sockets ask it for.
type socket interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// headerBuffer is how much is read at a time until the header is complete. What was
// read beyond it is less than that.
const headerBuffer = 256

// ReadHeader reads the header of the PROXY protocol from a connection of a trusted
// proxy, by its deadline, and returns a connection whose RemoteAddr is the client's.
// It stays that of the proxy where the header says that nobody stands behind it, as
// health checks do. Connections from elsewhere, and all without Config.Protocol, are
// returned as they are.
func (c *Config) ReadHeader(accepted net.Conn) (net.Conn, error) {
	if !c.expects(accepted.RemoteAddr()) {
		return accepted, nil
	}
	raw, ok := accepted.(socket)
	if !ok {
		return nil, fmt.Errorf("read the PROXY header: %T is no socket", accepted)
	}
	reader := bufio.NewReaderSize(raw, headerBuffer)
	header, err := proxyproto.Read(reader)
	if err != nil {
		return nil, fmt.Errorf("read the PROXY header: %w", err)
	}
	read := &conn{socket: raw, from: raw.RemoteAddr()}
	if source, ok := header.SourceAddr.(*net.TCPAddr); ok && !header.Command.IsLocal() {
		read.from = source
	}
	if n := reader.Buffered(); n > 0 {
		read.rest, _ = reader.Peek(n) // does not fail: the bytes are there
	}
	return read, nil
}

// Read reads what came with the header first.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return c.socket.Read(p)
	}
	n := copy(p, c.rest)
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		c.rest = nil // the buffer is not needed any more
	}
	return n, nil
}

// RemoteAddr returns the client's address.
func (c *conn) RemoteAddr() net.Addr { return c.from }

// expects reports whether a connection from addr must begin with a PROXY header.
func (c *Config) expects(addr net.Addr) bool {
	return c != nil && c.Protocol && c.Trusts(AddrOf(addr).Addr())
}

// Listener returns lis, or if trusted proxies send PROXY headers, a listener that
// reads them at the first use of a connection.
func (c *Config) Listener(lis net.Listener) net.Listener {
	if c == nil || !c.Protocol || lis == nil {
		return lis
	}
	return &proxyproto.Listener{Listener: lis, ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
		if c.expects(o.Upstream) {
			return proxyproto.REQUIRE, nil
		}
		return proxyproto.SKIP, nil
	}}
}

// Greet sends the header that begins a connection of our own to such a listener, as
// that of a health check does, if the listener expects one from where conn comes.
func (c *Config) Greet(conn net.Conn) error {
	if !c.expects(conn.LocalAddr()) {
		return nil
	}
	if _, err := conn.Write([]byte("PROXY UNKNOWN\r\n")); err != nil {
		return fmt.Errorf("send the PROXY header: %w", err)
	}
	return nil
}

// AddrOf returns the address and port of a TCP address in one form for each, not
// valid for any other.
func AddrOf(addr net.Addr) netip.AddrPort {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}
