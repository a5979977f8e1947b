package relay

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
)

// headroom is kept free in front of what is read, for the incomplete header or
// control frame that the bytes before it ended with.
const headroom = 144

// Engine is what all sessions share: the configuration, the buffers, the poller
// that serves the legs, and the clock with its one timer wheel. The wheel turns on
// a goroutine that exists, as the poller does, while there are sessions.
type Engine struct {
	cfg     Config
	base    time.Time
	clock   atomic.Int64 // now as of the last tick, nanoseconds since base
	minute  atomic.Int32 // the minute as of the last tick
	minutes func(now int64) int64
	chunks  sync.Pool
	pacer   pacer

	mu      sync.Mutex
	slots   [wheelSlots]*Relay // lists of the sessions that are due in that tick
	tick    int64              // the last tick that was handled
	relays  int
	poller  *netpoll.Poller // changes only while there are no sessions
	turning bool            // the wheel's goroutine is there
	stopped chan struct{}   // closed by it when it has left
}

// wheelSlots is how many ticks a turn of the wheel has. A session that is due later
// comes up once in each turn until it is.
const wheelSlots = 1024

// NewEngine returns an engine without sessions.
func NewEngine(cfg Config) *Engine {
	e := &Engine{cfg: cfg, base: time.Now(), minutes: func(int64) int64 { return time.Now().Unix() }}
	e.chunks.New = func() any { return &chunk{mem: make([]byte, headroom+e.cfg.Buffer)} }
	return e
}

// now is the exact time, coarse that of the last tick; both are nanoseconds since
// base.
func (e *Engine) now() int64    { return int64(time.Since(e.base)) }
func (e *Engine) coarse() int64 { return e.clock.Load() }

// SetMinute sets the clock that says which minute it is: given the engine's time, it
// returns the Unix seconds of the minute's start. Without it, that is the clock on the
// wall. It is called before the first session.
func (e *Engine) SetMinute(minute func(now int64) int64) { e.minutes = minute }

// Minute returns the Unix seconds of the start of the minute of a time of the engine's; 0
// is now.
func (e *Engine) Minute(at int64) int64 {
	if at == 0 {
		at = e.now()
	}
	return int64(e.minuteOf(at)) * 60
}

// minuteOf is the minute at a time of the engine's, coarseMinute that of the last tick.
func (e *Engine) minuteOf(now int64) minute { return minute(e.minutes(now) / 60) }
func (e *Engine) coarseMinute() minute      { return minute(e.minute.Load()) }

// setClock notes the time.
func (e *Engine) setClock(now int64) {
	e.clock.Store(now)
	e.minute.Store(int32(e.minuteOf(now)))
}

// Wait returns when the goroutines of the wheel and of the pacer have left, soon after
// the last session ended.
func (e *Engine) Wait() {
	e.mu.Lock()
	stopped := e.stopped
	e.mu.Unlock()
	if stopped != nil {
		<-stopped
	}
	e.pacer.wait()
}

// join counts a session in, makes sure that the wheel turns, and has the session's
// legs served. After an error they are not.
func (e *Engine) join(r *Relay) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.start(); err != nil {
		return err
	}
	if err := e.poller.Add(&r.client.conn, &r.client); err != nil {
		return err
	}
	if err := e.poller.Add(&r.backend.conn, &r.backend); err != nil {
		e.poller.Remove(&r.client.conn)
		return err
	}
	e.relays++
	return nil
}

// start sets the wheel turning unless it does.
func (e *Engine) start() error {
	if e.turning {
		return nil
	}
	p, err := netpoll.NewPoller()
	if err != nil {
		return err
	}
	now := e.now()
	e.setClock(now)
	e.tick = now / int64(e.cfg.Tick)
	e.poller, e.turning, e.stopped = p, true, make(chan struct{})
	go e.turn(p, e.stopped)
	return nil
}

// leave counts a session out.
func (e *Engine) leave(r *Relay) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unlink(r)
	e.relays--
}

// turn is the wheel's goroutine.
func (e *Engine) turn(p *netpoll.Poller, stopped chan<- struct{}) {
	defer close(stopped)
	defer p.Close()
	ticker := time.NewTicker(e.cfg.Tick)
	defer ticker.Stop()
	var due []*Relay
	for range ticker.C {
		now := e.now()
		e.setClock(now)
		var more bool
		if due, more = e.due(due[:0], now); !more {
			return
		}
		for i, r := range due {
			r.onTick(now)
			due[i] = nil
		}
	}
}

// due takes the sessions that are due out of the wheel. It returns false when there
// are no sessions at all: then the goroutine leaves.
func (e *Engine) due(list []*Relay, now int64) ([]*Relay, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.relays == 0 {
		e.turning = false
		return nil, false
	}
	last := now / int64(e.cfg.Tick)
	e.tick = max(e.tick, last-wheelSlots)
	for e.tick < last {
		e.tick++
		for r := e.slots[e.tick%wheelSlots]; r != nil; r = e.slots[e.tick%wheelSlots] {
			e.unlink(r)
			list = append(list, r)
		}
	}
	return list, true
}

// wake has r.onTick called in the first tick after the time at, or at an earlier
// turn of the wheel, instead of when it was asked for before.
func (e *Engine) wake(r *Relay, at int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unlink(r)
	r.slot = max(at/int64(e.cfg.Tick)+1, e.tick+1)
	head := &e.slots[r.slot%wheelSlots]
	if r.next = *head; r.next != nil {
		r.next.prev = r
	}
	*head = r
}

// unlink takes r out of the wheel if it is in.
func (e *Engine) unlink(r *Relay) {
	if r.slot == 0 {
		return
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		e.slots[r.slot%wheelSlots] = r.next
	}
	r.next, r.prev, r.slot = nil, nil, 0
}
