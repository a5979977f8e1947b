package relay

import (
	"fmt"
	"net"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// Leg is one connection after its handshake, and the bytes that were read from it
// beyond the handshake. Conn is a TCP or Unix connection, or a *tls.Conn above one
// that was wrapped by netpoll.UnderTLS. From New on nobody else may use it.
type Leg struct {
	Conn     net.Conn
	Buffered []byte
	NoPings  bool // the peer is sent no pings
	// Compressed is whether permessage-deflate was agreed with the peer, without context
	// takeover: then a message needs no other to be read, and any may be dropped.
	Compressed bool
}

// unpinged reports whether the leg has no pings.
func (l *Leg) unpinged(e *Engine) bool { return l.NoPings || e.cfg.Ping == 0 }

// leg is one side of a session. All that can change is guarded by Relay.mu. The
// package comment has its states.
type leg struct {
	relay *Relay
	conn  netpoll.Conn
	in    reader
	out   writer
}

// readState is how far the reading of a leg has come.
type readState uint8

const (
	reading    readState = iota // frames are relayed
	discarding                  // after its close, or a violation: what comes is thrown away
	draining                    // the socket is not read any more; what is held may still go out
	readClosed                  // nothing more comes
)

// reader is what is read from a leg.
type reader struct {
	state      readState
	received   uint16       // code of the close that came; 0: none
	flood      int32        // control and empty frames since floodSince
	floodSince int64        //
	frames     frame.Walker // where the stream stands
	partial    []byte       // an incomplete header or control frame
	held       *chunk       // what was read and the other leg does not take yet
	count      ending.Count // what was relayed
	lastData   int64        // when a data frame was relayed last; 0: never
	lastLife   int64        // when the peer last showed that it is there
	lingerBy   int64        // end of reading after the last byte that was written; 0: none
}

// relays reports whether frames are relayed.
func (in *reader) relays() bool { return in.state == reading || in.state == draining }

// discard throws away what comes from now on.
func (in *reader) discard() {
	switch in.state {
	case reading:
		in.state = discarding
	case draining:
		in.state = readClosed
	}
}

// drain stops reading the socket. What is held may still go out.
func (in *reader) drain() {
	if in.state < draining {
		in.state = draining
	}
}

// writeState is how far the writing to a leg has come.
type writeState uint8

const (
	writing     writeState = iota // frames go out
	closeQueued                   // a close waits for its place between two frames, or for the socket
	closeSent                     // nothing follows the close
	broken                        // nothing more can be written, or is to be
	halfClosed                    // the peer was told that nothing more comes
	writeClosed                   // the socket is closed
)

// writer is what is written to a leg.
type writer struct {
	state    writeState
	midFrame bool   // what was written ends inside a frame
	code     uint16 // of the close that is queued or was sent; 0: none
	unacked  int32  // bytes before the awaited pong's ping that the peer's kernel lacked when it was last asked
	nextPing int64  // when the next ping is due; 0: never
	pingSent int64  // when the ping was sent whose pong is awaited; 0: none is
	stalled  int64  // since when the socket takes no byte of what is to be sent; 0: it takes all
	pong     []byte // payload of a pong that waits to be sent; nil: none does
}

// nothingDue reports whether data alone moves on the leg.
func (l *leg) nothingDue() bool {
	return l.in.state == reading && l.out.state == writing && l.out.pong == nil && !l.conn.Pending()
}

// takesControl reports whether a frame of ours may be written now.
func (l *leg) takesControl() bool {
	return l.out.state <= closeQueued && !l.out.midFrame && l.out.stalled == 0 && !l.conn.Pending()
}

// attach takes over a connection, whose frames must be masked or must not.
func (l *leg) attach(r *Relay, c Leg, masked bool) error {
	l.relay = r
	if c.unpinged(r.engine) { // so only TCP finds out that the peer is gone
		if err := netpoll.KeepAlive(c.Conn); err != nil {
			return fmt.Errorf("relay the %s: %w", l.party(), err)
		}
	}
	if err := l.conn.Attach(c.Conn); err != nil {
		return fmt.Errorf("relay the %s: %w", l.party(), err)
	}
	limit := r.engine.cfg.MaxMessage
	if limit == 0 {
		limit = -1
	}
	l.in.frames = frame.NewWalker(masked, limit)
	if c.Compressed {
		l.in.frames.AllowCompressed()
	}
	if len(c.Buffered) > 0 {
		l.in.held = &chunk{rest: c.Buffered}
	}
	return nil
}

// party returns whose leg it is.
func (l *leg) party() ending.Party {
	if l == &l.relay.client {
		return ending.Client
	}
	return ending.Backend
}

// other returns the leg of the other peer.
func (l *leg) other() *leg {
	if l == &l.relay.client {
		return &l.relay.backend
	}
	return &l.relay.client
}

// sendControl writes a control frame; the socket may take it later.
func (l *leg) sendControl(op frame.Opcode, payload []byte) error {
	masked := l == &l.relay.backend
	return l.conn.Send(frame.AppendControl(make([]byte, 0, frame.MaxControlFrame), op, payload, masked))
}

// queueClose makes a close due on a leg that has none. A code of 0 is no close.
func (l *leg) queueClose(code uint16) {
	if l.out.state == writing && code != 0 {
		l.out.state, l.out.code = closeQueued, code
	}
}

// abandon gives up writing to the leg. If it is stalled, what it has not sent is
// lost.
func (l *leg) abandon() {
	if l.out.state == writeClosed {
		return
	}
	l.conn.DropPending()
	l.out.pong = nil
	if l.out.state == closeQueued {
		l.out.code = 0
	}
	if l.out.state < broken {
		l.out.state = broken
	}
	if l.out.stalled != 0 {
		l.out.stalled, l.out.midFrame = 0, true
		l.relay.engine.poller.Requeue(l.other()) // what it holds is in the way of what follows
	}
}

// abort abandons the leg and stops reading it.
func (l *leg) abort() {
	l.abandon()
	l.in.drain()
}

// halfClose tells the peer that nothing more comes.
func (l *leg) halfClose() {
	if l.out.state == broken {
		l.conn.Shutdown()
	} else {
		l.conn.CloseWrite()
	}
	l.out.state = halfClosed
}

// close closes the socket.
func (l *leg) close() {
	l.out.state = writeClosed
	l.relay.engine.poller.CloseConn(&l.conn)
}
