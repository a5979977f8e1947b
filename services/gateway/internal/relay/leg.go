package relay

import (
	"crypto/tls"
	"fmt"
	"net"
	"syscall"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// Leg is one connection after its handshake, and the bytes that were read from
// it beyond the handshake. Conn is a TCP or Unix connection, or a *tls.Conn
// above one that was wrapped by BelowTLS. From Start on nobody else may use it.
type Leg struct {
	Conn  net.Conn
	Ahead []byte
}

// readiness is what has become possible on a leg.
type readiness uint8

const (
	readable readiness = 1 << iota
	writable
	ended // or may have: reads go on up to one that finds nothing
)

// leg is one side of a session: a connection, what is read from it and what is
// written to it. All that can change is guarded by Relay.mu.
type leg struct {
	relay *Relay
	tls   *tls.Conn // above the socket; nil: plain
	wire  *wire     // own, or that below TLS
	own   wire
	place int32 // the poller's
	party ending.Party

	// What is read from it.
	blind    bool   // after its close, or a breach: what comes is discarded
	quit     bool   // it is read no more, but for what is held
	deaf     bool   // it is read no more
	flood    int32  // control and empty frames since floodAt
	received uint16 // code of the close that came from it; 0: none
	in       Walker
	carry    []byte // an incomplete header or control frame
	held     *chunk // what was read and the other leg does not take yet
	floodAt  int64
	count    ending.Count // what was relayed
	last     int64        // when a data frame was relayed last
	life     int64        // when it last showed that it is there
	lingerBy int64        // end of reading after the half-close

	// What is written to it.
	sent    uint16 // code of the close that was sent to it; 0: none
	closing uint16 // code of the close that waits to be sent to it; 0: none
	pinged  bool   // a pong is awaited
	hasPong bool   // pong waits to be sent to it
	mid     bool   // what was written to it ends inside a frame
	dead    bool   // nothing more is written to it
	shut    bool   // half-closed
	closed  bool
	pingAt  int64 // the next ping, or when the one under way was sent
	stalled int64 // since when it takes no byte of what is to be sent; 0: it takes all
	queued  int   // bytes before the awaited pong's ping, when they were last looked at
	pong    []byte
}

// open prepares a leg of r. What it took can be dropped again.
func (l *leg) open(r *Relay, c Leg, party ending.Party, limit int64) error {
	l.relay, l.wire, l.party = r, &l.own, party
	sock := c.Conn
	if t, ok := sock.(*tls.Conn); ok {
		b, ok := t.NetConn().(*below)
		if !ok {
			return fmt.Errorf("relay %T: not above BelowTLS", sock)
		}
		l.tls, l.wire, sock = t, &b.wire, b.Conn
	}
	sc, ok := sock.(syscall.Conn)
	if !ok {
		return fmt.Errorf("relay %T: not a socket", sock)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return fmt.Errorf("relay %T: %w", sock, err)
	}
	if err := l.wire.take(sock, raw); err != nil {
		return fmt.Errorf("relay %T: %w", sock, err)
	}
	l.in = NewWalker(party == ending.Client, limit)
	if len(c.Ahead) > 0 {
		l.held = &chunk{b: c.Ahead}
	}
	return nil
}

// read fills p with what is there and returns at once. It is short when there
// was less, and of a TLS leg nothing is left then. An error comes only without
// bytes; the last one that came with bytes comes again.
func (l *leg) read(p []byte) (n int, short bool, err error) {
	if l.tls == nil {
		n, err = l.wire.read(p)
		return n, n < len(p), err
	}
	// A TLS read gives one record at most; a small message is one.
	for n < len(p) {
		var more int
		more, err = l.tls.Read(p[n:])
		if n += more; err != nil {
			break
		}
	}
	if n > 0 {
		return n, err == errWouldBlock, nil //nolint:errorlint // ours and never wrapped; asked for every message
	}
	return 0, true, err
}

// write gives the leg as much of b as it takes. What TLS has taken of it and the
// socket has not is kept: then not all is done, and nothing more is taken until
// it is. some tells whether the socket took any byte.
func (l *leg) write(b []byte) (n int, some, all bool, err error) {
	if l.tls == nil {
		return l.wire.push(b)
	}
	if _, some, all, err = l.wire.push(nil); !all || err != nil || len(b) == 0 {
		return 0, some, all, err
	}
	n, err = l.tls.Write(b)
	return n, true, !l.wire.waiting(), err
}

// writable reports whether a frame of ours may be put between the others now.
func (l *leg) writable() bool {
	return l.stalled == 0 && !l.mid && !l.dead && !l.shut && l.sent == 0 && !l.wire.waiting()
}

// control sends a control frame at once; it may be kept for later in part.
func (l *leg) control(opcode byte, payload []byte) error {
	frame := appendControl(make([]byte, 0, maxFrame), opcode, payload, l.party == ending.Backend)
	if l.tls != nil {
		_, err := l.tls.Write(frame)
		return err
	}
	return l.wire.put(frame)
}

// giveUp notes that nothing more is written to the leg. If it is full, what it has
// not sent is lost.
func (l *leg) giveUp() {
	l.dead, l.closing, l.hasPong, l.wire.spill = true, 0, false, nil
	if l.stalled != 0 {
		l.stalled, l.mid = 0, true
		l.relay.poller.again(l.relay.other(l)) // what it holds is in the way of what follows
	}
}

// kill gives the leg up, and it is read no more.
func (l *leg) kill() {
	l.giveUp()
	l.quit = true
}

// reset makes the close of the socket drop what the peer has not read.
func (l *leg) reset() {
	_ = syscall.SetsockoptLinger(l.wire.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
}

// halfClose tells the peer that nothing more comes.
func (l *leg) halfClose() {
	l.shut = true
	if l.tls != nil && !l.dead {
		_ = l.tls.CloseWrite()
	}
	_ = syscall.Shutdown(l.wire.fd, syscall.SHUT_WR)
}

// close closes the socket. Its descriptor is soon another's.
func (l *leg) close() {
	l.closed = true
	l.relay.poller.forget(l)
	l.wire.close()
	l.wire.fd, l.wire.spill = -1, nil
}
