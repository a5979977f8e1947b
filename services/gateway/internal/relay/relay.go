package relay

import (
	"cmp"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/frame"
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
	engine *Engine
	poller *netpoll.Poller
	owner  Owner
	ref    string

	// The wheel's, guarded by Engine.mu.
	next, prev *Relay
	slot       int64

	mu      sync.Mutex
	client  leg
	backend leg
	ended   *ending.Ending // who ended the session first; nil: it lives
	why     *ending.Ending // what the closes of ours say; nil: none are due
	taken   ending.Totals
	mark    uint64 // payload of our pings
	started int64  // Unix nanoseconds
	lookAt  int64  // when the wheel looks at the session; 0: not asked for
	expires int64  // 0: never
	ages    int64  // end of the maximum age; 0: never
	retry   time.Duration
	closeBy int64 // end of waiting for closes; 0: none is awaited
	frameBy int64 // end of waiting for the end of a frame
	over    bool  // both legs are closed
	told    bool  // and the owner knows
}

// Start takes over both connections and returns at once. After an error the
// connections are the caller's to close.
func (r *Relay) Start(e *Engine, o Options, client, backend Leg) error {
	limit := cmp.Or(o.MaxMessage, e.cfg.MaxMessage)
	if err := r.client.open(r, client, ending.Client, limit); err != nil {
		return err
	}
	if err := r.backend.open(r, backend, ending.Backend, limit); err != nil {
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
		r.over, r.told = true, true
		return err
	}
	now := e.now()
	r.owner, r.ref, r.retry = o.Owner, o.Ref, o.Retry
	r.mark, r.started = rand.Uint64(), time.Now().UnixNano()
	for _, l := range r.legs() {
		l.life, l.pingAt = now, now+int64(e.cfg.Ping)
		if l.held != nil { // of which no event tells
			r.poller.Requeue(l)
		}
	}
	if o.MaxAge > 0 {
		r.ages = now + int64(o.MaxAge) - rand.Int64N(int64(o.MaxAge)/10+1)
	}
	r.setExpiry(o.Expires)
	if o.Ended != nil {
		r.end(*o.Ended)
	}
	r.look(now)
	return nil
}

func (r *Relay) other(l *leg) *leg {
	if l == &r.client {
		return &r.backend
	}
	return &r.client
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
	r.settle()
	for _, l := range r.legs() {
		l.kill()
	}
}

// end notes the end of the session and the closes that are due. Only the first
// ending counts, and a later one leaves closes that are due or sent as they are;
// but it stops what still flows.
func (r *Relay) end(e ending.Ending) (first bool) {
	if first = r.ended == nil; first {
		r.ended = &e
	}
	if r.why != nil {
		return first
	}
	r.why = &e
	now := r.engine.now()
	r.closeBy, r.frameBy = now+int64(r.engine.cfg.Close), now+int64(r.engine.cfg.FrameEnd)
	r.owe(&r.client, e.ClientCode)
	r.owe(&r.backend, e.BackendCode)
	r.look(r.frameBy)
	return first
}

// owe makes a close due on a leg that had none.
func (r *Relay) owe(l *leg, code uint16) {
	if l.sent == 0 && l.closing == 0 && !l.dead {
		l.closing = code
	}
}

// died ends the session because a leg is gone, without a close from it. It may
// still be there, half-closed and full: whoever writes to it must not wait.
func (r *Relay) died(l *leg, err error) {
	l.kill()
	r.end(ending.New(gone(l.party), lossOf(err)))
}

// gone is the reason of a session one of whose peers left without a close.
func gone(p ending.Party) ending.Reason {
	if p == ending.Client {
		return ending.ClientGone
	}
	return ending.BackendGone
}

// lossOf says what became of a connection, in words that are for everybody.
func lossOf(err error) string {
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection ended without a close"
	case errors.Is(err, syscall.ECONNRESET):
		return "the connection was reset"
	case errors.Is(err, syscall.ETIMEDOUT):
		return "the connection timed out"
	default:
		return "the connection broke"
	}
}

// offended ends the session because of a breach by l.
func (r *Relay) offended(l *leg, v frame.Violation) {
	r.end(endingOf(l.party, v))
}

// endingOf returns the ending of a session in which this peer did this.
func endingOf(p ending.Party, v frame.Violation) ending.Ending {
	switch v {
	case frame.TooBig:
		return ending.AtFault(p, ending.TooBig, 0, v.Error())
	case frame.Flood:
		return ending.AtFault(p, ending.Flood, 0, v.Error())
	case frame.InvalidReason:
		return ending.AtFault(p, ending.Protocol, frame.InvalidPayload, v.Error())
	}
	return ending.AtFault(p, ending.Protocol, 0, v.Error())
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
		r.look(r.expires)
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
	return r.wall(r.client.last), r.wall(r.backend.last)
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
	return ending.Totals{FromClient: r.client.count, FromBackend: r.backend.count}
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
	now := ending.Totals{FromClient: r.client.count, FromBackend: r.backend.count}
	d := now.Minus(r.taken)
	r.taken = now
	return d
}

// outcome is called once both legs are closed.
func (r *Relay) outcome() Outcome {
	leg := func(l *leg) LegOutcome {
		return LegOutcome{l.sent, l.received, l.mid, r.wall(l.last)}
	}
	return Outcome{
		Ending: *r.ended, Client: leg(&r.client), Backend: leg(&r.backend),
		Started: r.Started(), Ended: time.Now(),
		Totals: ending.Totals{FromClient: r.client.count, FromBackend: r.backend.count}, Untaken: r.take(),
	}
}
