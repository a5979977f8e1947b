package relay

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Leg is one connection after its handshake, and the bytes that were read from
// it beyond the handshake. Conn is a TCP or Unix connection, or a *tls.Conn
// above one that was wrapped by BelowTLS. From Start on nobody else may use it.
type Leg struct {
	Conn  net.Conn
	Ahead []byte
}

// leg is one side of a session: a connection, what is read from it and what is
// written to it.
type leg struct {
	// Fixed at the start.
	relay *Relay
	sock  net.Conn  // the TCP connection
	tls   *tls.Conn // above it; nil: plain
	raw   syscall.RawConn
	wire  *wire // own, or that below TLS
	own   wire

	// Of the goroutine that reads this leg.
	in      Walker
	carry   []byte // an incomplete header or control frame
	floodAt int64
	flood   int32 // control and empty frames since floodAt
	party   Party // fixed at the start
	hot     bool  // data came at the last tick as well; see Relay.alive
	blind   bool  // after its close, or a breach: what comes is discarded. Written under Relay.mu
	awake   bool  // it gave data lately, so the goroutine stays. Written under Relay.mu

	quit atomic.Bool // the reading goroutine must leave

	// Guarded by Relay.mu.
	sent     uint16 // code of the close that was sent to it; 0: none
	received uint16 // code of the close that came from it; 0: none
	closing  uint16 // code of the close that waits to be sent to it; 0: none
	pinged   bool   // a pong is awaited
	hasPong  bool   // pong waits to be sent to it
	hasty    bool   // the last read was not followed by one that found nothing
	parked   bool   // it waits in the lot, and has no goroutine
	watched  bool   // the lot knows its descriptor
	wakeful  bool   // the lot could not take it: it keeps its goroutine
	busy     bool   // a goroutine writes to it, without holding the mutex
	mid      bool   // what was written to it ends inside a frame
	paused   bool   // it is not read, because the other leg does not take its bytes
	deaf     bool   // its reading goroutine has left
	dead     bool   // nothing more is written to it
	shut     bool   // half-closed
	closed   bool
	count    Count // what was relayed from this leg
	last     int64 // when a data frame of it was relayed last
	life     int64 // when it last showed that it is there
	pingAt   int64 // the next ping, or when the one under way was sent
	stalled  int64 // since when it takes no byte of a write; 0: it does
	lingerBy int64 // end of reading after the half-close
	queued   int   // bytes before the awaited pong's ping, when they were last looked at
	pong     []byte
}

// open prepares a leg of r for being read and written without waiting.
func (l *leg) open(r *Relay, c Leg, party Party, limit int64) error {
	l.relay, l.sock, l.wire, l.party = r, c.Conn, &l.own, party
	if t, ok := c.Conn.(*tls.Conn); ok {
		b, ok := t.NetConn().(*below)
		if !ok {
			return fmt.Errorf("relay %T: not above BelowTLS", c.Conn)
		}
		l.tls, l.sock, l.wire = t, b.Conn, &b.wire
	}
	sc, ok := l.sock.(syscall.Conn)
	if !ok {
		return fmt.Errorf("relay %T: not a socket", l.sock)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return fmt.Errorf("relay %T: %w", l.sock, err)
	}
	l.raw = raw
	if err := raw.Control(func(fd uintptr) { l.wire.fd = int(fd) }); err != nil {
		return fmt.Errorf("relay %T: %w", l.sock, err)
	}
	if err := l.sock.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("relay %T: %w", l.sock, err)
	}
	l.in = NewWalker(party == Client, limit)
	if l.tls != nil {
		l.tls.NetConn().(*below).live = true
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

// unseen reports whether there is something to read below.
func (l *leg) unseen() bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(l.wire.fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err != syscall.EAGAIN
}

// writable reports whether a frame of ours may be put between the others now.
func (l *leg) writable() bool {
	return !l.busy && !l.mid && !l.dead && !l.shut && l.sent == 0 && !l.wire.waiting()
}

// control sends a control frame at once; it may be kept for later in part.
func (l *leg) control(opcode byte, payload []byte) error {
	frame := appendControl(make([]byte, 0, maxFrame), opcode, payload, l.party == Backend)
	if l.tls != nil {
		_, err := l.tls.Write(frame)
		return err
	}
	return l.wire.put(frame)
}

// past is a deadline that wakes whoever waits.
var past = time.Unix(1, 0)

// stays reports whether the goroutine that reads the leg waits for more: it gave
// data lately, it is about to end, or the lot cannot take it.
func (l *leg) stays() bool { return l.awake || l.blind || l.wakeful }

// kick makes the goroutine that reads the leg leave. Like all that is done to a
// leg, it needs the mutex of its Relay.
func (l *leg) kick() {
	l.quit.Store(true)
	l.relay.unpark(l)
	l.nudge()
}

// nudge makes the goroutine that reads the leg look around.
func (l *leg) nudge() { _ = l.sock.SetReadDeadline(past) }

// giveUp notes that nothing more is written to the leg.
func (l *leg) giveUp() { l.dead, l.closing, l.hasPong = true, 0, false }

// kill gives the leg up and wakes whoever writes to it or reads it.
func (l *leg) kill() {
	l.giveUp()
	_ = l.sock.SetWriteDeadline(past)
	l.kick()
}

// reset makes the close of the socket drop what the peer has not read.
func (l *leg) reset() {
	if t, ok := l.sock.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
}

// halfClose tells the peer that nothing more comes.
func (l *leg) halfClose() {
	l.shut = true
	if l.tls != nil && !l.dead {
		_ = l.tls.CloseWrite()
	}
	if s, ok := l.sock.(interface{ CloseWrite() error }); ok {
		_ = s.CloseWrite()
	}
}
