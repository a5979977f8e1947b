package relay

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/frame"
)

// unlock does what has become due, and tells the owner of the end.
func (r *Relay) unlock() {
	r.settle()
	tell := r.over && !r.told
	if !tell {
		r.mu.Unlock()
		return
	}
	r.told = true
	o := r.outcome()
	r.mu.Unlock()
	r.owner.Ended(o)
	r.engine.leave(r)
}

// settle does what has become due on both legs. It may be called at any time.
func (r *Relay) settle() {
	if r.over {
		return
	}
	for _, l := range r.legs() {
		if other := r.other(l); l.quit && !l.deaf && (l.held == nil || other.stalled == 0) {
			r.leave(l, nil)
		}
	}
	r.settleLeg(&r.client, &r.backend)
	r.settleLeg(&r.backend, &r.client)
	r.over = r.client.closed && r.backend.closed
}

// settleLeg sends what waits for l, half-closes it when both closes were
// exchanged, and closes it when nobody reads or writes it any more.
func (r *Relay) settleLeg(l, other *leg) {
	if l.closed || l.stalled != 0 {
		return
	}
	r.echo(l, other)
	r.sendDue(l)
	if l.closing != 0 && l.mid && other.deaf {
		l.giveUp() // the frame that it is inside of will not end
	}
	answered := l.sent != 0 && (l.blind || l.deaf) && !l.conn.Pending()
	if !l.shut && r.ended != nil && (l.dead || answered) {
		l.halfClose()
		l.lingerBy = r.engine.now() + int64(r.engine.cfg.Linger)
		r.look(l.lingerBy)
	}
	if l.deaf && (l.shut || l.dead) {
		l.close()
	}
}

// echo answers the close of l when the other leg will not do it any more.
func (r *Relay) echo(l, other *leg) {
	if l.received == 0 || l.sent != 0 || l.closing != 0 || l.dead || !other.deaf || other.received != 0 {
		return
	}
	r.answer(l, gone(other.party))
}

// answer makes the close that l sent its own answer.
func (r *Relay) answer(l *leg, reason ending.Reason) {
	if r.why == nil {
		why := ending.New(reason, "")
		r.why = &why
	}
	now := r.engine.now()
	r.closeBy, r.frameBy = now+int64(r.engine.cfg.Close), now+int64(r.engine.cfg.FrameEnd)
	r.owe(l, l.received)
	r.look(r.frameBy)
}

// sendDue sends the close or the pong that waits for l, if l can take it now.
func (r *Relay) sendDue(l *leg) {
	if l.conn.Pending() && !l.dead {
		if err := l.conn.Flush(); err != nil {
			r.writeFailed(l)
		}
	}
	if l.closing == 0 && !l.hasPong || !l.writable() {
		return
	}
	var err error
	if l.closing != 0 {
		err = l.control(frame.Close, r.closePayload(l))
		l.sent, l.closing, l.hasPong = l.closing, 0, false
	} else {
		err = r.sendControl(l, frame.Pong, l.pong)
		l.hasPong = false
	}
	if err != nil {
		l.sent = 0
		r.writeFailed(l)
	}
}

// sendControl sends a ping or a pong, after which more follows. A leg that does not
// take all of it is slow, as if it did not take data.
func (r *Relay) sendControl(l *leg, op frame.Opcode, payload []byte) error {
	err := l.control(op, payload)
	if l.conn.Pending() {
		r.stall(l, false)
	}
	return err
}

// closePayload is what a close of ours carries.
func (r *Relay) closePayload(l *leg) []byte {
	var b [frame.MaxControlPayload]byte
	return frame.AppendClose(b[:0], l.closing, r.appendReason(nil, l))
}

// appendReason appends the reason of a close of ours to l.
func (r *Relay) appendReason(b []byte, l *leg) []byte {
	b = append(b, r.why.Reason.String()...)
	b = append(b, " ref="...)
	b = append(b, r.ref...)
	if l.party == ending.Client && r.why.Retry > 0 {
		b = append(b, " retry="...)
		b = strconv.AppendInt(b, r.why.Retry.Milliseconds(), 10)
		b = append(b, "ms"...)
	}
	return b[:min(len(b), frame.MaxControlPayload-2)]
}

// look asks the wheel to look at the session at the time at or before.
func (r *Relay) look(at int64) {
	if r.over || r.lookAt != 0 && r.lookAt <= at {
		return
	}
	r.lookAt = at
	r.engine.wake(r, at)
}

// onTick is the wheel's look: it does what has become due by time alone.
func (r *Relay) onTick(now int64) {
	r.mu.Lock()
	defer r.unlock()
	if r.lookAt = 0; r.over {
		return
	}
	if r.why == nil {
		r.lifetimes(now)
	}
	for _, l := range r.legs() {
		r.legClocks(l, now)
	}
	if r.ended != nil {
		r.closeClocks(now)
	}
	r.settle()
	if !r.over {
		r.look(r.nextLook())
	}
}

// lifetimes ends a session whose credential or maximum age is over.
func (r *Relay) lifetimes(now int64) {
	switch {
	case r.expires != 0 && now >= r.expires:
		e := ending.New(ending.Expired, "")
		r.end(e)
	case r.ages != 0 && now >= r.ages:
		e := ending.New(ending.MaxAge, "")
		e.Retry = r.retry
		r.end(e)
	}
}

// legClocks looks after writes that do not end, and pings.
func (r *Relay) legClocks(l *leg, now int64) {
	cfg := &r.engine.cfg
	if l.lingerBy != 0 && now >= l.lingerBy {
		l.quit = true
	}
	if l.stalled != 0 && now-l.stalled >= int64(cfg.Write) && !l.dead {
		l.kill()
		l.conn.Reset()
		e := ending.New(ending.Slow, l.party.String()+" takes no bytes")
		r.end(e)
	}
	if cfg.Ping < 0 || r.ended != nil || l.stalled != 0 || r.other(l).stalled != 0 || l.dead {
		return
	}
	if l.pinged && now >= max(l.pingAt, l.life)+int64(cfg.Pong) && !l.draining(now) {
		e := ending.New(ending.Idle, "no pong from the "+l.party.String())
		r.end(e)
		return
	}
	if !l.pinged && now >= l.pingAt {
		r.ping(l, now)
	}
}

// draining reports whether the leg still takes what was sent to it before the
// ping, which it cannot have answered then.
func (l *leg) draining(now int64) bool {
	n := l.conn.Unacked()
	if n == 0 || l.queued != 0 && n >= l.queued {
		return false
	}
	l.queued, l.life = n, now
	return true
}

// ping sends a ping of ours, unless the leg is in the middle of something.
func (r *Relay) ping(l *leg, now int64) {
	if !l.writable() {
		l.pingAt = now + int64(r.engine.cfg.Ping)
		return
	}
	var mark [8]byte
	binary.BigEndian.PutUint64(mark[:], r.mark)
	if err := r.sendControl(l, frame.Ping, mark[:]); err != nil {
		r.writeFailed(l)
		return
	}
	l.pinged, l.pingAt, l.queued = true, now, 0
}

// closeClocks ends the waiting for closes, ends of frames, and ends of streams.
func (r *Relay) closeClocks(now int64) {
	for _, l := range r.legs() {
		if l.closing != 0 && now >= r.frameBy {
			l.kill()
		}
	}
	if r.closeBy == 0 || now < r.closeBy {
		return
	}
	r.closeBy = 0
	for _, l := range r.legs() {
		switch {
		case l.shut || l.closed:
		case l.sent != 0:
			l.halfClose()
			l.quit = true
		case l.received != 0 && l.closing == 0 && !l.dead:
			r.answer(l, ending.CloseTimeout)
		}
	}
}

// nextLook is when something may become due by time alone.
func (r *Relay) nextLook() int64 {
	at := int64(math.MaxInt64)
	sooner := func(t int64) {
		if t != 0 {
			at = min(at, t)
		}
	}
	if r.why == nil {
		sooner(r.expires)
		sooner(r.ages)
	}
	sooner(r.closeBy)
	for _, l := range r.legs() {
		sooner(l.nextLook(r))
	}
	return at
}

func (l *leg) nextLook(r *Relay) int64 {
	at := int64(math.MaxInt64)
	cfg := &r.engine.cfg
	switch {
	case l.closing != 0:
		at = r.frameBy
	case l.lingerBy != 0 && !l.deaf:
		at = l.lingerBy
	case r.ended != nil || cfg.Ping < 0:
	case l.pinged:
		at = max(l.pingAt, l.life) + int64(cfg.Pong)
	default:
		at = l.pingAt
	}
	if l.stalled != 0 {
		at = min(at, l.stalled+int64(cfg.Write))
	}
	return at
}
