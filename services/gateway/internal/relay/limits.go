package relay

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// start is what is known of a session since it began.
type start struct {
	at     int64         // engine's time
	age    time.Duration // the greatest that the terms allow; 0: any
	idle   time.Duration // without a message, that ends it; 0: none does
	limit  time.Duration // the greatest that holds, of the terms and the limits; 0: any
	retry  time.Duration // the hint of a session that ends of its age
	frames ending.ErrorFrames
	// endings are what the client gets for some reasons.
	endings ending.ClientEndings
}

// limited is what only sessions have that limits hold for, or once did. It is guarded by
// Relay.mu. What few need is made when it is needed.
type limited struct {
	chain      *limits.Chain // nil: all passes
	maxMessage int64         // as frame.NewWalker takes it
	client     intake
	backend    intake
	notice     *notice // nil: nothing was dropped yet
	midMessage bool    // what was written to the client ends inside a message, or may
}

// intake is what limits do to what comes from a leg.
type intake struct {
	rare     *rare // nil: it has none of it
	dropping bool  // the message that has begun is left out
	rearm    bool  // the next message is bound by another greatest message
}

// rare is what only a leg has that a read left inside a frame, that had to wait, or of which
// something was dropped or observed.
type rare struct {
	waiter  *limits.Waiter // nil: it never had to wait, and no limit is on observe
	under   *limits.Chain  // that the frame which has begun was charged to; nil: to none
	underAt int64          // when

	limit   *limits.Limit // at which it is paused; nil: it is not
	since   int64         // when something passed last while it is paused, or the pause began
	until   int64         // end of the pause: then the session ends
	retryAt int64         // when the limit is free, as far as that was known
	goneBy  int64         // end of a paused leg whose peer has ended the stream; 0: it has not

	drops      int32 // since dropsSince
	dropsSince int64
}

// keep returns what is rare of the leg, which is made where there is none.
func (in *intake) keep() *rare {
	if in.rare == nil {
		in.rare = &rare{}
	}
	return in.rare
}

// paused tells whether the leg is, see leg.paused.
func (in *intake) paused() bool { return in.rare != nil && in.rare.limit != nil }

// waiter returns what the leg waits with, nil where it has none.
func (in *intake) waiter() *limits.Waiter {
	if in.rare == nil {
		return nil
	}
	return in.rare.waiter
}

// charged returns what the frame that has begun was charged to, and when.
func (in *intake) charged() (under *limits.Chain, at int64) {
	if in.rare == nil {
		return nil, 0
	}
	return in.rare.under, in.rare.underAt
}

// setCharged notes what a frame that has begun was charged to, and when.
func (in *intake) setCharged(under *limits.Chain, at int64) {
	if in.rare != nil || under != nil {
		r := in.keep()
		r.under, r.underAt = under, at
	}
}

// passed notes that something of the leg passed.
func (in *intake) passed(now int64) {
	if in.rare != nil {
		in.rare.since = now
	}
}

const (
	// mostDrops is how many messages of a leg are dropped in a second before the session ends.
	mostDrops = 1000
	// longestPause is that of limits that have none, as those on quotas have.
	longestPause = 10 * time.Second
	// goneWithin is how long a paused leg is kept whose peer has ended the stream: what it
	// sent before may still pass.
	goneWithin = 500 * time.Millisecond
	// retrySpread is how much later than others clients are asked to come back, at least.
	retrySpread = int64(time.Second)
)

func (q *limited) of(l *leg) *intake {
	if l == &l.relay.client {
		return &q.client
	}
	return &q.backend
}

// waits reports whether the leg is paused, in the line of a limit.
func (l *leg) waits() bool {
	q := l.relay.limited
	return q != nil && q.of(l).waiter().Waits()
}

// paused reports whether the leg waits, or waited and has not gone on yet: then it has not
// been read since, whoever has taken it out of its line.
func (l *leg) paused() bool {
	q := l.relay.limited
	return q != nil && q.of(l).paused()
}

// direction is which way messages from the leg go.
func (l *leg) direction() limits.Direction {
	if l == &l.relay.client {
		return limits.Inbound
	}
	return limits.Outbound
}

// SetLimits replaces the limits of a session that was started. Legs that wait ask the new
// chain. The greatest message holds from the next one on.
func (r *Relay) SetLimits(l ending.Limits) {
	r.mu.Lock()
	defer r.mu.Unlock() // and does not tell of an end: the caller may hold a lock of its own
	if r.start == nil || r.over {
		return
	}
	r.setMaxMessage(l.MaxMessage)
	r.setMaxAge(l.MaxAge)
	if r.limited == nil && l.Chain == nil || r.limited != nil && r.limited.chain == l.Chain {
		return
	}
	r.setChain(l.Chain)
	for _, l := range r.legs() {
		r.leaveLine(l)
	}
}

func (r *Relay) makeLimited() *limited {
	if r.limited != nil {
		return r.limited
	}
	q := &limited{midMessage: r.backend.in.frames.MidMessage() || r.client.out.stalled != 0}
	r.limited = q
	return q
}

// setChain sets the limits that hold from now on, nil for none.
func (r *Relay) setChain(c *limits.Chain) {
	r.makeLimited().chain = c
	if c != nil && c.Observes() { // and tells the waiters of hits
		r.client.makeWaiter()
		r.backend.makeWaiter()
	}
}

// makeWaiter makes what the leg waits with. Most sessions never need it.
func (l *leg) makeWaiter() *limits.Waiter {
	r := l.relay.limited.of(l).keep()
	if r.waiter == nil {
		r.waiter = &limits.Waiter{Owner: l, Hit: l.relay.hit}
	}
	return r.waiter
}

// ask asks a chain for what comes from the leg. Where that has to wait, it is in a line.
func (l *leg) ask(c *limits.Chain, now int64, d *limits.Demand) limits.Decision {
	w := l.relay.limited.of(l).waiter()
	answer := c.Ask(now, *d, w)
	if answer.Verdict == limits.Wait && w == nil {
		answer = c.Ask(now, *d, l.makeWaiter())
	}
	return answer
}

// hit notes what a limit on observe would have refused.
func (r *Relay) hit(l *limits.Limit, hits int64) { r.tally.limit(l).Hits += uint64(hits) }

// setMaxMessage sets the greatest message, which is never greater than the configured one.
func (r *Relay) setMaxMessage(most int64) {
	limit := least(most, r.engine.cfg.MaxMessage)
	if limit == 0 {
		limit = -1
	}
	for _, l := range r.legs() {
		if !l.in.frames.MidMessage() {
			l.in.frames.SetLimit(limit)
			continue
		}
		r.makeLimited().of(l).rearm = true
	}
	if r.limited != nil {
		r.limited.maxMessage = limit
	}
}

// setMaxAge sets the greatest age, which is never greater than that of the terms. One
// that is over already ends the session at the next tick.
func (r *Relay) setMaxAge(age time.Duration) {
	s := r.start
	limit := least(age, s.age)
	if limit == s.limit {
		return
	}
	s.limit, r.maxAgeAt = limit, 0
	if limit > 0 {
		r.maxAgeAt = max(s.at+int64(limit)-rand.Int64N(int64(limit)/10+1), 1)
		r.schedule(r.maxAgeAt)
	}
}

// least returns the smaller of two bounds, where 0 is none.
func least[T int64 | time.Duration](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// pause notes that src waits in the line of a limit. Until its turn it is not read.
func (r *Relay) pause(src *leg, d *limits.Decision, now int64) {
	in, l := r.limited.of(src).keep(), d.Limit
	first := in.limit == nil
	if first {
		in.since = now
	}
	in.limit, in.retryAt = l, d.At
	r.tally.pause(src.party(), l, now)
	longest := l.LongestPause
	if longest <= 0 {
		longest = longestPause
	}
	in.until = in.since + int64(longest) + rand.Int64N(int64(longest)/10+1)
	r.schedule(in.until)
	at := d.At
	if l.Reaction != limits.Pause {
		at = now // a slice may have come since the quota was asked, before it was in line
	}
	r.engine.pacer.pace(r.engine, l, at)
	if first {
		r.checkGone(src)
	}
}

// checkGone looks whether the peer of a paused leg has left. What it sent is not read, so
// no read tells.
func (r *Relay) checkGone(l *leg) {
	gone, err := l.conn.Ended()
	if !gone {
		return
	}
	in := r.limited.of(l).rare
	now := r.engine.now()
	switch {
	case err != nil: // the next tick closes the reader: here what it holds may be in use
		in.goneBy = now
	case in.goneBy == 0:
		in.goneBy = now + int64(goneWithin)
	}
	r.schedule(in.goneBy)
}

// checkPause ends a pause that takes too long.
func (r *Relay) checkPause(l *leg, now int64) {
	in := r.limited.of(l).rare
	switch {
	case in.goneBy != 0 && now >= in.goneBy:
		l.in.drain()
	case now >= in.until && r.ended == nil:
		e := throttled(in.limit, in.retryAt, now)
		e.Detail += fmt.Sprintf(", at which the %s waited %v", l.party(), time.Duration(now-in.since).Round(time.Second/10))
		r.end(e)
	}
}

// proceed lets a leg go on whose turn it is. The pacer calls it.
func (l *leg) proceed() {
	r := l.relay
	r.mu.Lock()
	defer r.unlock()
	if r.over || l.out.state == writeClosed {
		return
	}
	r.flow(l, l.other(), true)
	r.settle(l)
}

// settle ends the pause of a leg that does not wait any more after it was let go on.
func (r *Relay) settle(l *leg) {
	q := r.limited
	if q == nil {
		return
	}
	if in := q.of(l); in.paused() && !in.rare.waiter.Waits() {
		in.rare.waiter.End()
		now := r.engine.now()
		r.endPause(l, now)
		l.in.lastLife = now // its pongs were not read
		r.schedule(l.nextDeadline())
	}
	r.tell()
}

func (r *Relay) endPause(l *leg, now int64) {
	in := r.limited.of(l).rare
	in.limit, in.goneBy = nil, 0
	r.tally.resume(l.party(), now)
}

// leaveLine takes a leg out of the line that it waits in. It goes on as if its turn had
// come, but has none.
func (r *Relay) leaveLine(l *leg) {
	in := r.limited.of(l)
	if !in.paused() {
		return
	}
	in.rare.waiter.Leave()
	r.engine.pacer.forget(in.rare.limit)
	if l.in.held != nil {
		r.engine.poller.Requeue(l)
	}
}

// stopWaiting ends the pause of a leg for good.
func (r *Relay) stopWaiting(l *leg) {
	if q := r.limited; q != nil && q.of(l).paused() {
		r.leaveLine(l)
		r.endPause(l, r.engine.now())
	}
}

// throttled is the ending of a session that a limit ends, which has room at a time. Its
// clients are asked to come back one after the other.
func throttled(l *limits.Limit, at, now int64) ending.Ending {
	e := ending.New(ending.Throttled, l.Place.Limit())
	e.Limit = l
	if at != math.MaxInt64 {
		wait := max(at-now, int64(time.Millisecond))
		e.Retry = time.Duration(wait + rand.Int64N(max(wait/10, retrySpread)))
	}
	return e
}

// giveBack gives back what was charged for c.count, which does not go on.
func (r *Relay) giveBack(c *chunk, src *leg) {
	if c.chain != nil {
		c.chain.Return(c.at, r.engine.now(), limits.Demand{Direction: src.direction(), Messages: int64(c.count.Messages), Bytes: int64(c.count.Payload)})
	}
	c.chain, c.count = nil, ending.Count{}
}

// giveBackRest gives back what was charged for the rest of a frame that never came.
func (r *Relay) giveBackRest(l *leg) {
	q := r.limited
	if q == nil {
		return
	}
	in := q.of(l)
	if under, at := in.charged(); under != nil && !in.dropping && l.in.frames.MidFrame() {
		under.Return(at, r.engine.now(), limits.Demand{Direction: l.direction(), Bytes: l.in.frames.Left()})
		in.setCharged(nil, 0)
	}
}
