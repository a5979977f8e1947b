package relay

import (
	"fmt"
	"net"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/frame"
	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
)

// Leg is one connection after its handshake, and the bytes that were read from
// it beyond the handshake. Conn is a TCP or Unix connection, or a *tls.Conn
// above one that was
// wrapped by netpoll.UnderTLS. From Start on nobody else may use it.
type Leg struct {
	Conn  net.Conn
	Ahead []byte
}

// leg is one side of a session: a connection, what is read from it and what is
// written to it. All that can change is guarded by Relay.mu.
type leg struct {
	relay *Relay
	conn  netpoll.Conn
	party ending.Party

	// What is read from it.
	blind    bool   // after its close, or a breach: what comes is discarded
	quit     bool   // it is read no more, but for what is held
	deaf     bool   // it is read no more
	flood    int32  // control and empty frames since floodAt
	received uint16 // code of the close that came from it; 0: none
	in       frame.Walker
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

// open prepares a leg of r.
func (l *leg) open(r *Relay, c Leg, party ending.Party, limit int64) error {
	if err := l.conn.Attach(c.Conn); err != nil {
		return fmt.Errorf("%s: %w", party, err)
	}
	l.relay, l.party = r, party
	l.in = frame.NewWalker(party == ending.Client, limit)
	if len(c.Ahead) > 0 {
		l.held = &chunk{b: c.Ahead}
	}
	return nil
}

// Ready does what has become possible on the leg. The poller calls it.
func (l *leg) Ready(what netpoll.Readiness) (read int) { return l.relay.ready(l, what) }

// writable reports whether a frame of ours may be put between the others now.
func (l *leg) writable() bool {
	return l.stalled == 0 && !l.mid && !l.dead && !l.shut && l.sent == 0 && !l.conn.Pending()
}

// control sends a control frame at once; it may be kept for later in part.
func (l *leg) control(op frame.Opcode, payload []byte) error {
	return l.conn.Send(frame.AppendControl(make([]byte, 0, frame.MaxControlFrame), op, payload, l.party == ending.Backend))
}

// giveUp notes that nothing more is written to the leg. If it is full, what it has
// not sent is lost.
func (l *leg) giveUp() {
	if l.closed {
		return
	}
	l.dead, l.closing, l.hasPong = true, 0, false
	l.conn.DropPending()
	if l.stalled != 0 {
		l.stalled, l.mid = 0, true
		l.relay.poller.Requeue(l.relay.other(l)) // what it holds is in the way of what follows
	}
}

// kill gives the leg up, and it is read no more.
func (l *leg) kill() {
	l.giveUp()
	l.quit = true
}

// halfClose tells the peer that nothing more comes.
func (l *leg) halfClose() {
	l.shut = true
	if l.dead {
		l.conn.Shutdown()
	} else {
		l.conn.CloseWrite()
	}
}

// close closes the socket. Its descriptor is soon another's.
func (l *leg) close() {
	l.closed = true
	l.relay.poller.CloseConn(&l.conn)
}
