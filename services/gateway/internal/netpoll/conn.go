package netpoll

import (
	"crypto/tls"
	"fmt"
	"net"
	"syscall"
	"time"
)

// MaxBuffer is the largest buffer, in bytes, that a Conn may be written from.
const MaxBuffer = 64 << 10

// Conn is a connection that is used without waiting, plain or with TLS. The zero
// value is ready for Attach, and that of a connection that a Poller has closed. Its
// methods must not be called at the same time.
type Conn struct {
	tls    *tls.Conn // above the socket; nil: plain
	socket *socket   // own, or that of the connection under TLS
	own    socket
	slot   int32 // the Poller's
	reset  bool  // by Reset
}

// Attach takes over a TCP or Unix connection, or a *tls.Conn above one that was
// wrapped by UnderTLS. Until Detach nobody may use it but c.
func (c *Conn) Attach(conn net.Conn) error {
	c.socket = &c.own
	plain := conn
	if t, ok := conn.(*tls.Conn); ok {
		under, ok := t.NetConn().(*underTLS)
		if !ok {
			return fmt.Errorf("attach %T: not above netpoll.UnderTLS", conn)
		}
		for under.outer != nil {
			if under = under.below(); under == nil {
				return fmt.Errorf("attach %T: not above netpoll.UnderTLS", conn)
			}
		}
		c.tls, c.socket, plain = t, &under.socket, under.Conn
	}
	if err := c.socket.take(plain); err != nil {
		return fmt.Errorf("attach %T: %w", plain, err)
	}
	c.setLive(true)
	return nil
}

// Detach gives the connection back as it was before Attach.
func (c *Conn) Detach() {
	c.setLive(false)
	c.socket.close()
	*c = Conn{}
}

func (c *Conn) setLive(live bool) {
	if c.tls == nil {
		return
	}
	for under := c.tls.NetConn().(*underTLS); under != nil; under = under.below() {
		under.live = live
	}
}

// original returns the connection to a peer that is under TLS, or conn itself.
func original(conn net.Conn) net.Conn {
	for {
		switch c := conn.(type) {
		case *tls.Conn:
			conn = c.NetConn()
		case *underTLS:
			conn = c.Conn
		default:
			return conn
		}
	}
}

// KeepAlive has TCP ask whether the peer of a connection that Attach takes is still
// there: after 30 seconds of silence, and every 10 until it has not answered for 3 times. Other
// connections than TCP's are left as they are.
func KeepAlive(conn net.Conn) error {
	tcp, ok := original(conn).(*net.TCPConn)
	if !ok {
		return nil
	}
	if err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}); err != nil {
		return fmt.Errorf("ask for keep-alives: %w", err)
	}
	return nil
}

// CloseOriginal closes the net.Conn that a Conn has taken over with Attach, as far as
// it is not needed any more, and without a word of TLS: the Conn lives on.
func CloseOriginal(conn net.Conn) {
	release(original(conn))
}

// Read fills p with what is there and returns at once. It is drained when there was
// less than p takes; of TLS nothing is left then, not even decrypted. An error comes
// only without bytes; the last one that came with bytes comes again. Without any
// bytes and without an error there is nothing to read yet.
func (c *Conn) Read(p []byte) (n int, drained bool, err error) {
	if c.tls == nil {
		n, err = c.socket.read(p)
		drained = n < len(p)
	} else {
		// A TLS read gives one record at most; a small message is one.
		for n < len(p) && err == nil {
			var more int
			more, err = c.tls.Read(p[n:])
			n += more
		}
		drained = err == errWouldBlock || n == 0 //nolint:errorlint // ours and never wrapped; asked for every message
	}
	if n > 0 || err == errWouldBlock { //nolint:errorlint // ours and never wrapped; asked for every message
		err = nil
	}
	return n, drained, err
}

// Write gives the connection as much of b as it takes. What TLS has taken of it and
// the socket has not is kept: then not all is done, and nothing more is taken until
// it is. someSent tells whether the socket took any byte, allSent whether it took all.
func (c *Conn) Write(b []byte) (n int, someSent, allSent bool, err error) {
	if c.tls == nil {
		return c.socket.push(b)
	}
	if _, someSent, allSent, err = c.socket.push(nil); !allSent || err != nil || len(b) == 0 {
		return 0, someSent, allSent, err
	}
	n, err = c.tls.Write(b)
	return n, true, !c.Pending(), err
}

// Send writes all of b, which is small. What the socket does not take is kept.
func (c *Conn) Send(b []byte) error {
	if c.tls == nil {
		return c.socket.put(b)
	}
	_, err := c.tls.Write(b)
	return err
}

// Flush writes what is kept, as far as the socket takes it.
func (c *Conn) Flush() error {
	_, _, _, err := c.socket.push(nil)
	return err
}

// Pending reports whether bytes are kept that the socket has not taken.
func (c *Conn) Pending() bool { return len(c.socket.pending) > 0 }

// DropPending forgets the bytes that are kept. With TLS nothing can be written any more.
func (c *Conn) DropPending() { c.socket.pending = nil }

// Unacked returns how many bytes written to a TCP socket its peer has not
// acknowledged yet, 0 where that is not known.
func (c *Conn) Unacked() int { return c.socket.unacked() }

// CloseWrite tells the peer that nothing more comes, with TLS in its own words first.
func (c *Conn) CloseWrite() {
	if c.tls != nil {
		_ = c.tls.CloseWrite()
	}
	c.Shutdown()
}

// Shutdown tells the peer that nothing more comes, though something may be missing. After
// Reset it does nothing: the peer could read until the close, and take that for an end.
func (c *Conn) Shutdown() {
	if !c.reset {
		c.socket.shutdown()
	}
}

// Reset makes the close of the socket drop what the peer has not read.
func (c *Conn) Reset() {
	c.reset = true
	_ = syscall.SetsockoptLinger(c.socket.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
}
