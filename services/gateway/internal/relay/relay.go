package relay

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
)

// Relay is one session's two legs. It is the session.Transport for WebSocket
// clients whose backends speak WebSocket. Its methods may be called from any
// goroutine.
type Relay struct {
	engine    *Engine
	unstarted *[2]Leg // the client's and the backend's, until Start
	observer  ending.Observer
	ref       string
	limited   *limited // nil: no limits hold, and everything passes
	start     *start   // nil: it was not started

	// The wheel's, guarded by Engine.mu.
	next, prev *Relay
	slot       int64

	mu       sync.Mutex
	client   leg
	backend  leg
	ended    *ending.Ending // who ended the session first, and why; nil: it lives
	closing  *ending.Ending // what the closes of ours say; nil: none is due
	tally    tally          // what is not collected yet
	mark     uint64         // payload of our pings
	started  int64          // Unix nanoseconds
	deadline int64          // when the wheel calls; 0: it was not asked to
	expires  int64          // end of the credential; 0: never
	maxAgeAt int64          // end of the maximum age; 0: never
	moved    int64          // when something of a message passed last, or a leg that was not read kept it from that
	closeBy  int64          // end of waiting for closes; 0: none is awaited
	frameBy  int64          // end of waiting for the end of a frame, before a close
	over     bool           // both sockets are closed
	reported bool           // and the observer knows
	minute   minute         // that is counted for
}

// New returns a relay between a client and a backend, whose connections are its own
// from now on: Start sets it going, or Abort closes them.
func New(e *Engine, client, backend Leg) *Relay {
	return &Relay{engine: e, unstarted: &[2]Leg{client, backend}}
}

// Start sets the session going and returns at once. After an error both connections
// are closed, and nobody is told.
func (r *Relay) Start(t ending.Terms) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	legs := r.unstarted
	r.unstarted = nil
	if err := r.attach(legs); err != nil {
		r.over, r.reported = true, true
		closeAll(legs)
		return err
	}
	netpoll.CloseOriginal(legs[0].Conn)
	netpoll.CloseOriginal(legs[1].Conn)
	r.begin(t, legs)
	return nil
}

// attach has the connections served. After an error they are as they were.
func (r *Relay) attach(legs *[2]Leg) error {
	if err := r.client.attach(r, legs[0], true); err != nil {
		return err
	}
	if err := r.backend.attach(r, legs[1], false); err != nil {
		r.client.conn.Detach()
		return err
	}
	if err := r.engine.join(r); err != nil {
		r.client.conn.Detach()
		r.backend.conn.Detach()
		return err
	}
	return nil
}

func closeAll(legs *[2]Leg) {
	for _, l := range legs {
		_ = l.Conn.Close()
	}
}

// begin sets the clocks.
func (r *Relay) begin(t ending.Terms, legs *[2]Leg) {
	e := r.engine
	now := e.now()
	r.observer, r.ref = t.Observer, t.Ref
	r.start = &start{at: now, age: t.MaxAge, idle: least(t.Idle, e.cfg.Idle), retry: t.Retry, frames: t.Frames, endings: t.Endings}
	r.moved = now
	r.minute = e.minuteOf(now)
	r.mark, r.started = rand.Uint64(), time.Now().UnixNano()
	for i, l := range r.legs() {
		if l.in.lastLife = now; !legs[i].unpinged(e) {
			l.out.nextPing = now + int64(e.cfg.Ping)
		}
		if l.in.held != nil { // of which no event tells
			e.poller.Requeue(l)
		}
	}
	r.setMaxMessage(t.Limits.MaxMessage)
	r.setMaxAge(t.Limits.MaxAge)
	if t.Limits.Chain != nil {
		r.setChain(t.Limits.Chain)
	}
	r.setExpiry(t.Expires)
	if t.Ended != nil {
		r.end(*t.Ended)
	}
	r.schedule(now)
}

func (r *Relay) legs() [2]*leg { return [2]*leg{&r.client, &r.backend} }

// End ends the session with closes to both peers. It reports whether nothing had
// ended the session before.
func (r *Relay) End(e ending.Ending) bool {
	r.mu.Lock()
	defer r.unlock()
	return r.end(e)
}

// Abort ends the session without waiting for anybody. One that was not started is
// closed, and nobody is told.
func (r *Relay) Abort(e ending.Ending) {
	r.mu.Lock()
	defer r.unlock()
	if r.unstarted != nil {
		closeAll(r.unstarted)
		r.unstarted, r.over, r.reported = nil, true, true
		return
	}
	r.end(e)
	r.advance()
	for _, l := range r.legs() {
		l.abort()
	}
}

// SetExpiry sets when the session ends as EXPIRED; zero: never.
func (r *Relay) SetExpiry(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setExpiry(at)
}

func (r *Relay) setExpiry(at time.Time) {
	if r.expires = 0; !at.IsZero() {
		r.expires = max(int64(at.Sub(r.engine.base)), 1)
		r.schedule(r.expires)
	}
}

// Ending returns who ended the session first and why; By is Nobody while it lives.
func (r *Relay) Ending() ending.Ending {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended == nil {
		return ending.Ending{}
	}
	return *r.ended
}

// Started returns when Start took over.
func (r *Relay) Started() time.Time { return time.Unix(0, r.started) }

// wall turns the engine's time into that of the clock on the wall.
func (r *Relay) wall(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(at - r.engine.now()))
}

// outcome is called once both sockets are closed.
func (r *Relay) outcome() ending.Outcome {
	leg := func(l *leg) ending.LegEnd {
		return ending.LegEnd{Sent: l.out.code, Received: l.in.received, CutMidFrame: l.out.midFrame, Last: r.wall(l.in.lastData)}
	}
	l := r.ended.Limit
	if l == nil && r.closing != nil { // a peer had closed, and what still came was cut off
		l = r.closing.Limit
	}
	if l != nil {
		r.turnMinute(r.engine.minuteOf(r.engine.now()))
		r.tally.limit(l).Closed = 1
	}
	uncollected := r.collect()
	return ending.Outcome{
		Ending: *r.ended, Client: leg(&r.client), Backend: leg(&r.backend), Started: r.Started(), Ended: time.Now(),
		Minute: int64(r.minute) * 60, Totals: r.totals(), Uncollected: uncollected, Limits: r.tally.all(),
	}
}
