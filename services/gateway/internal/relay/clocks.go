package relay

import (
	"encoding/binary"
	"math"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// schedule asks the wheel to call onTick at the time at or before.
func (r *Relay) schedule(at int64) {
	if r.over || at == never || r.deadline != 0 && r.deadline <= at {
		return
	}
	r.deadline = at
	r.engine.wake(r, at)
}

// onTick does what has become due by time alone. The wheel calls it.
func (r *Relay) onTick(now int64) {
	r.mu.Lock()
	defer r.unlock()
	if r.deadline = 0; r.over {
		return
	}
	if r.closing == nil {
		r.checkLifetime(now)
	}
	if r.ended == nil {
		r.checkIdle(now)
	}
	for _, l := range r.legs() {
		r.checkLeg(l, now)
	}
	if r.limited != nil {
		r.sendNotices(now)
	}
	if r.ended != nil {
		r.checkCloses(now)
	}
	r.advance()
	if !r.over {
		r.schedule(r.nextDeadline())
	}
}

// checkLifetime ends a session whose credential or maximum age is over.
func (r *Relay) checkLifetime(now int64) {
	switch {
	case r.expires != 0 && now >= r.expires:
		r.end(ending.New(ending.Expired, ""))
	case r.maxAgeAt != 0 && now >= r.maxAgeAt:
		e := ending.New(ending.MaxAge, "")
		e.Retry = r.start.retry
		r.end(e)
	}
}

// checkIdle ends a session of which no message passes. A leg that is not read, because it
// is paused or the other one takes no bytes, has the clock begin anew.
func (r *Relay) checkIdle(now int64) {
	idle := r.start.idle
	switch {
	case idle == 0:
	case r.client.paused() || r.backend.paused() || r.client.out.stalled != 0 || r.backend.out.stalled != 0:
		r.moved = now
	case now-r.moved >= int64(idle):
		r.end(ending.New(ending.Idle, "no message for "+idle.String()))
	}
}

// checkLeg ends reads and writes that take too long, and sends pings.
func (r *Relay) checkLeg(l *leg, now int64) {
	cfg := &r.engine.cfg
	if l.in.lingerBy != 0 && now >= l.in.lingerBy {
		l.in.drain()
	}
	if l.out.stalled != 0 && cfg.Write != 0 && now-l.out.stalled >= int64(cfg.Write) {
		l.abort()
		l.conn.Reset()
		r.end(ending.New(ending.Slow, l.party().String()+" takes no bytes"))
	}
	if l.paused() {
		if l.waits() {
			r.checkPause(l, now)
		}
		return
	}
	if r.ended != nil || l.out.stalled != 0 || l.other().out.stalled != 0 || l.out.state == broken {
		return
	}
	switch pinged := l.out.pingSent != 0; {
	case pinged && now >= l.pongBy(cfg) && !l.takesBytes(now):
		r.end(ending.New(ending.Idle, "no pong from the "+l.party().String()))
	case !pinged && l.out.nextPing != 0 && now >= l.out.nextPing:
		r.ping(l, now)
	}
}

// pongBy is when the awaited pong is late. Whatever the peer sends shows that it is
// there, as a pong to the last ping would have: some answer no pings and send frames
// of their own.
func (l *leg) pongBy(cfg *Config) int64 {
	return max(l.out.pingSent, l.in.lastLife+int64(cfg.Ping)) + int64(cfg.Pong)
}

// takesBytes reports whether the peer still takes what was sent to it before the
// ping, which it cannot have answered then.
func (l *leg) takesBytes(now int64) bool {
	n := int32(min(l.conn.Unacked(), math.MaxInt32))
	if n == 0 || l.out.unacked != 0 && n >= l.out.unacked {
		return false
	}
	l.out.unacked, l.in.lastLife = n, now
	return true
}

// ping sends a ping of ours, unless the leg is in the middle of something.
func (r *Relay) ping(l *leg, now int64) {
	if !l.takesControl() {
		l.out.nextPing = now + int64(r.engine.cfg.Ping)
		return
	}
	var mark [8]byte
	binary.BigEndian.PutUint64(mark[:], r.mark)
	if err := r.sendPingOrPong(l, frame.Ping, mark[:]); err != nil {
		r.writeFailed(l)
		return
	}
	if r.engine.cfg.Pong == 0 {
		l.out.nextPing = now + int64(r.engine.cfg.Ping)
		return
	}
	l.out.pingSent, l.out.unacked = now, 0
}

// checkCloses ends the waiting for closes, ends of frames, and ends of streams.
func (r *Relay) checkCloses(now int64) {
	for _, l := range r.legs() {
		if l.out.state == closeQueued && now >= r.frameBy {
			l.abort()
		}
	}
	if r.closeBy == 0 || now < r.closeBy {
		return
	}
	r.closeBy = 0
	for _, l := range r.legs() {
		switch {
		case l.out.state == closeSent:
			l.halfClose()
			l.in.drain()
		case l.out.state == writing && l.in.received != 0:
			r.answerClose(l, ending.CloseTimeout)
		}
	}
}

// never is a time that does not come.
const never int64 = math.MaxInt64

// nextDeadline is when something may become due by time alone.
func (r *Relay) nextDeadline() int64 {
	at := never
	sooner := func(t int64) {
		if t != 0 {
			at = min(at, t)
		}
	}
	if r.closing == nil {
		sooner(r.expires)
		sooner(r.maxAgeAt)
	}
	if idle := r.start.idle; idle != 0 && r.ended == nil {
		sooner(r.moved + int64(idle))
	}
	sooner(r.closeBy)
	if q := r.limited; q != nil && q.notice.isDue() && !q.notice.waits {
		sooner(q.notice.next)
	}
	for _, l := range r.legs() {
		sooner(l.nextDeadline())
	}
	return at
}

// nextDeadline is when something of the leg's may become due.
func (l *leg) nextDeadline() int64 {
	r := l.relay
	at := never
	cfg := &r.engine.cfg
	switch {
	case l.out.state == closeQueued:
		at = r.frameBy
	case l.in.lingerBy != 0 && l.in.state != readClosed:
		at = l.in.lingerBy
	case l.waits():
		in := r.limited.of(l).rare
		if at = in.until; in.goneBy != 0 {
			at = min(at, in.goneBy)
		}
	case r.ended != nil:
	case l.out.pingSent != 0:
		at = l.pongBy(cfg)
	case l.out.nextPing != 0:
		at = l.out.nextPing
	}
	if l.out.stalled != 0 && cfg.Write != 0 {
		at = min(at, l.out.stalled+int64(cfg.Write))
	}
	return at
}
