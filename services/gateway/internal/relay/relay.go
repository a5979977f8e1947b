package relay

import (
	"cmp"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
)

// Owner is told about the end of a session, once, from a goroutine that serves
// all sessions or from the caller's. It must not block.
type Owner interface {
	Ended(Outcome)
}

// Options are a session's own settings.
type Options struct {
	Ref        string         // goes into each close of ours
	MaxMessage int64          // bytes; 0: Config's
	Expires    time.Time      // ends the session as EXPIRED; zero: never
	MaxAge     time.Duration  // ends the session as MAX_AGE, up to a tenth sooner; 0: never
	Retry      time.Duration  // the hint of that end
	Ended      *ending.Ending // set: the session is over already, only its closes are sent
	Owner      Owner
	admission  admission // decides on what the peers send; nil: everything passes
}

// Outcome is how a session ended.
type Outcome struct {
	Ending          ending.Ending
	Client, Backend LegOutcome
	Started, Ended  time.Time
	Totals          ending.Totals
	Untaken         ending.Totals // the part of Totals that Take has not given
}

// LegOutcome is how a session's leg ended. The codes are those of the close
// frames: 0 is no frame, frame.NoCode one without a code.
type LegOutcome struct {
	Sent, Received uint16
	CutMidFrame    bool      // closed inside a frame that it was being sent
	Last           time.Time // when the last data frame came from it; zero: never
}

// Relay is one session's two legs. The zero value is ready for Start; the other
// methods may be called from any goroutine once Start has returned.
type Relay struct {
	engine    *Engine
	owner     Owner
	ref       string
	admission admission // nil: everything may pass

	// The wheel's, guarded by Engine.mu.
	next, prev *Relay
	slot       int64

	mu       sync.Mutex
	client   leg
	backend  leg
	ended    *ending.Ending // who ended the session first, and why; nil: it lives
	closing  *ending.Ending // what the closes of ours say; nil: none is due
	taken    ending.Totals  // what Take has given
	mark     uint64         // payload of our pings
	started  int64          // Unix nanoseconds
	deadline int64          // when the wheel calls; 0: it was not asked to
	expires  int64          // end of the credential; 0: never
	maxAgeAt int64          // end of the maximum age; 0: never
	retry    time.Duration  // the hint of that end
	closeBy  int64          // end of waiting for closes; 0: none is awaited
	frameBy  int64          // end of waiting for the end of a frame, before a close
	over     bool           // both sockets are closed
	reported bool           // and the owner knows
}

// Start takes over both connections and returns at once. After an error the
// connections are the caller's to close.
func (r *Relay) Start(e *Engine, o Options, client, backend Leg) error {
	maxMessage := cmp.Or(o.MaxMessage, e.cfg.MaxMessage)
	if err := r.client.open(r, client, true, maxMessage); err != nil {
		return err
	}
	if err := r.backend.open(r, backend, false, maxMessage); err != nil {
		r.client.conn.Detach()
		return err
	}
	if err := r.begin(e, o); err != nil {
		r.client.conn.Detach()
		r.backend.conn.Detach()
		return err
	}
	netpoll.Release(client.Conn)
	netpoll.Release(backend.Conn)
	return nil
}

// begin sets the session going.
func (r *Relay) begin(e *Engine, o Options) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := e.join(r); err != nil {
		r.over, r.reported = true, true
		return err
	}
	now := e.now()
	r.owner, r.ref, r.retry, r.admission = o.Owner, o.Ref, o.Retry, o.admission
	r.mark, r.started = rand.Uint64(), time.Now().UnixNano()
	for _, l := range r.legs() {
		l.in.lastLife, l.out.nextPing = now, now+int64(e.cfg.Ping)
		if l.in.held != nil { // of which no event tells
			e.poller.Requeue(l)
		}
	}
	if o.MaxAge > 0 {
		r.maxAgeAt = now + int64(o.MaxAge) - rand.Int64N(int64(o.MaxAge)/10+1)
	}
	r.setExpiry(o.Expires)
	if o.Ended != nil {
		r.end(*o.Ended)
	}
	r.schedule(now)
	return nil
}

func (r *Relay) legs() [2]*leg { return [2]*leg{&r.client, &r.backend} }

// End ends the session with closes to both peers. It reports whether nothing had
// ended the session before.
func (r *Relay) End(e ending.Ending) bool {
	r.mu.Lock()
	defer r.unlock()
	return r.end(e)
}

// Cut ends the session without waiting for anybody.
func (r *Relay) Cut(e ending.Ending) {
	r.mu.Lock()
	defer r.unlock()
	r.end(e)
	r.advance()
	for _, l := range r.legs() {
		l.cut()
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

// Last returns when the last data frame came from each leg; zero: never.
func (r *Relay) Last() (client, backend time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wall(r.client.in.lastData), r.wall(r.backend.in.lastData)
}

// wall turns the engine's time into that of the clock on the wall.
func (r *Relay) wall(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(at - r.engine.now()))
}

// Totals returns what was relayed up to now.
func (r *Relay) Totals() ending.Totals {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.totals()
}

func (r *Relay) totals() ending.Totals {
	return ending.Totals{FromClient: r.client.in.count, FromBackend: r.backend.in.count}
}

// Take returns what was relayed since the last Take. After the end it is zero:
// the Outcome has the rest.
func (r *Relay) Take() ending.Totals {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return ending.Totals{}
	}
	return r.take()
}

func (r *Relay) take() ending.Totals {
	now := r.totals()
	added := now.Minus(r.taken)
	r.taken = now
	return added
}

// outcome is called once both sockets are closed.
func (r *Relay) outcome() Outcome {
	leg := func(l *leg) LegOutcome {
		return LegOutcome{l.out.code, l.in.received, l.out.midFrame, r.wall(l.in.lastData)}
	}
	return Outcome{
		Ending: *r.ended, Client: leg(&r.client), Backend: leg(&r.backend),
		Started: r.Started(), Ended: time.Now(), Totals: r.totals(), Untaken: r.take(),
	}
}
