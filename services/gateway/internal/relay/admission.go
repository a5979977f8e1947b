package relay

import (
	"math"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// admit is walk for sessions that limits hold for. All that a read brought is asked for at
// once. Where not all of it fits, it is divided.
func (r *Relay) admit(c *chunk, src *leg) {
	now := r.engine.now()
	c.chain, c.minute, c.waits = nil, r.engine.minuteOf(now), false
	r.turnMinute(c.minute)
	if r.closing != nil {
		r.endFrame(c, src)
		return
	}
	q := r.limited
	in, frames := q.of(src), &src.in.frames
	r.betweenMessages(src)
	all := c.rest
	first := limits.Decision{Verdict: limits.Split}
	if !in.dropping && !in.rearm {
		before, flood, floodSince := *frames, src.in.flood, src.in.floodSince
		if r.walk(c, src); len(c.out) == 0 {
			return
		}
		if q.chain != nil {
			first = r.askWhole(c, src, before.Left(), now)
		} else {
			first.Verdict = limits.Go
		}
		if first.Verdict == limits.Go {
			if c.count.Frames == 0 { // it is of the frame that has begun before
				c.chain, c.at = in.charged()
				return
			}
			if c.chain, c.at = q.chain, now; c.midFrame {
				in.setCharged(q.chain, now)
			}
			in.passed(now)
			return
		}
		*frames, src.in.flood, src.in.floodSince = before, flood, floodSince
	}
	r.divide(c, src, all, now, first)
}

// endFrame is walk for a session whose closes are due: nothing begins any more, and only
// the rest of a frame goes on.
func (r *Relay) endFrame(c *chunk, src *leg) {
	in := r.limited.of(src)
	left := src.in.frames.Left()
	r.walk(c, src)
	if in.dropping {
		left = 0
	}
	n := min(int(left), len(c.out))
	c.out, c.count = c.out[:n], ending.Count{Payload: uint64(n)}
	c.edge, c.gap, c.midFrame, c.midMessage = -1, -1, int64(n) < left, int64(n) < left
	c.endOfWalk(n)
	if c.chain, c.at = in.charged(); !c.midFrame {
		in.setCharged(nil, 0)
	}
}

// betweenMessages does what is due where one message ends and the next begins.
func (r *Relay) betweenMessages(src *leg) {
	in := r.limited.of(src)
	if src.in.frames.MidMessage() {
		return
	}
	in.dropping = false
	if in.rearm {
		in.rearm = false
		src.in.frames.SetLimit(r.limited.maxMessage)
	}
}

// askWhole asks for what c.out begins, which charges all of it or nothing. left is what
// was to come of the frame that out begins inside of. Frames that are not the first of
// their message pass in any case: where there are some beside a single first frame, that
// has to be asked for alone.
func (r *Relay) askWhole(c *chunk, src *leg, left, now int64) (d limits.Decision) {
	q := r.limited
	in, frames := q.of(src), &src.in.frames
	begun := int64(c.count.Payload) + frames.Left() - left
	switch {
	case c.count.Messages == 0:
		if begun > 0 {
			q.chain.Charge(now, src.direction(), begun, in.waiter())
		}
	case c.count.Messages == 1 && c.count.Frames > 1:
		d.Verdict = limits.Split
	default:
		demand := limits.Demand{Direction: src.direction(), Messages: int64(c.count.Messages), Bytes: begun}
		if !q.chain.Pass(now, &demand, in.waiter()) {
			d = src.ask(q.chain, now, &demand)
		}
	}
	return d
}

// division is what divide has done of a buffer.
type division struct {
	all  []byte
	pos  int // what is behind it was not decided yet
	kept int // up to here all has what goes on

	most, room int64 // of messages and of their payload, that are asked for together
}

// keep has n more bytes go on, which move forward where something was left out.
func (d *division) keep(n int) {
	if d.kept != d.pos {
		copy(d.all[d.kept:], d.all[d.pos:d.pos+n])
	}
	d.kept, d.pos = d.kept+n, d.pos+n
}

// divide walks over all and decides its messages in parts: as many as there is room for,
// then one by one. What is dropped it cuts out in place, up to a message that has to wait
// or ends the session. Where first is not a Split, it is the decision of the first message.
func (r *Relay) divide(c *chunk, src *leg, all []byte, now int64, first limits.Decision) {
	in, frames := r.limited.of(src), &src.in.frames
	d := division{all: all, most: first.Messages, room: first.Bytes}
	c.edge, c.gap, c.count, c.control.Size, c.end = -1, -1, ending.Count{}, 0, nil
	c.chain, c.at = r.limited.chain, now
	for d.pos < len(all) {
		if frames.MidFrame() {
			n := frames.Skip(len(all) - d.pos)
			if in.dropping {
				d.pos += n
			} else {
				d.keep(n)
				c.count.Payload += uint64(n)
			}
			continue
		}
		if c.edge < 0 {
			c.edge = d.kept
		}
		if r.betweenMessages(src); c.gap < 0 && (in.dropping || !frames.MidMessage()) {
			c.gap = d.kept
		}
		if !r.decideNext(c, src, &d, &first) {
			break
		}
	}
	if d.pos > 0 {
		src.in.lastLife = r.engine.coarse()
	}
	c.midFrame = frames.MidFrame() && !in.dropping
	c.midMessage = frames.MidMessage() && !in.dropping
	c.out, c.rest = all[:d.kept], all[d.pos:]
	c.endOfWalk(d.kept)
}

// decideNext decides the messages, or the frame, that d.pos is in front of. It returns
// false where nothing behind d.pos can be decided now.
func (r *Relay) decideNext(c *chunk, src *leg, d *division, first *limits.Decision) bool {
	in, frames := r.limited.of(src), &src.in.frames
	b := d.all[d.pos:]
	n, messages, payload := frames.WholeMessages(b, d.most, d.room)
	if messages == 0 {
		n, messages, payload = frames.WholeMessages(b, 1, math.MaxInt64)
	}
	if messages > 0 {
		answer := r.ask(c, src, first, int64(messages), int64(payload))
		switch {
		case answer.Verdict == limits.Go:
			d.keep(n)
			d.most, d.room = d.most-int64(messages), d.room-int64(payload)
			c.count.Add(&ending.Count{Messages: uint64(messages), Frames: uint64(messages), Payload: uint64(payload)})
			in.passed(c.at)
		case answer.Verdict == limits.Split: // fewer than those that did not fit
			d.most, d.room = min(answer.Messages, int64(messages)-1), answer.Bytes
		case !r.react(c, src, &answer):
			return false
		default:
			d.pos, d.most = d.pos+n, 0
		}
		return true
	}
	h, found := r.nextFrame(c, src, b)
	if !found {
		return false
	}
	if h.Opcode == frame.Continuation {
		if !in.dropping && c.chain != nil {
			c.chain.Charge(c.at, src.direction(), h.Length, in.waiter())
		}
	} else if answer := r.ask(c, src, first, 1, h.Length); answer.Verdict != limits.Go {
		if !r.react(c, src, &answer) {
			if h.Length == 0 {
				src.in.flood-- // it will be counted when it is asked for again
			}
			return false
		}
		in.dropping, d.most = true, 0
	}
	frames.Begin(&h)
	if in.dropping {
		d.pos += h.Size
		return true
	}
	d.keep(h.Size)
	c.count.Frames++
	if h.Opcode != frame.Continuation {
		c.count.Messages++
	}
	in.passed(c.at)
	in.setCharged(c.chain, c.at)
	return true
}

// ask asks for messages, unless the decision is known.
func (r *Relay) ask(c *chunk, src *leg, first *limits.Decision, messages, bytes int64) (answer limits.Decision) {
	if first.Verdict != limits.Split {
		answer, first.Verdict = *first, limits.Split
		return answer
	}
	if c.chain == nil {
		return answer
	}
	demand := limits.Demand{Direction: src.direction(), Messages: messages, Bytes: bytes}
	return src.ask(c.chain, c.at, &demand)
}

// react does what a limit says about a message that does not pass. It returns true where
// that is dropped, and what is behind it goes on.
func (r *Relay) react(c *chunk, src *leg, answer *limits.Decision) bool {
	if answer.Verdict == limits.Wait {
		c.waits = true
		r.pause(src, answer, c.at)
		return false
	}
	if answer.Limit.Reaction == limits.Drop && r.drop(src, answer, c.at) {
		return true
	}
	c.end = new(throttled(answer.Limit, answer.At, c.at))
	return false
}

// drop counts a dropped message. It returns false where there are too many.
func (r *Relay) drop(src *leg, answer *limits.Decision, now int64) bool {
	r.tally.limit(answer.Limit).Dropped++
	r.limited.note().add(r.start.frames.Template, answer.At)
	in := r.limited.of(src).keep()
	if now-in.dropsSince >= 1e9 {
		in.dropsSince, in.drops = now, 0
	}
	in.drops++
	return in.drops <= mostDrops
}
