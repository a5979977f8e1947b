package relay

import (
	"bytes"
	"math"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// This file is the way of all data, from top to bottom:
//
//	Ready   the poller says what has become possible
//	flow    reads a buffer at a time from one leg
//	pass    takes a buffer apart: data frames go out, control frames are handled
//	walk      finds the data frames
//	admit     walks where limits hold, and leaves in what they let pass
//	forward   writes them to the other leg
//
// The bytes of one read go out in one write, unchanged, mask and all.

// turn is how many buffers are read from a leg before others have their turn.
const turn = 8

// chunk is a buffer and what was found in it.
type chunk struct {
	mem        []byte         // headroom, then what was read; nil: it came with the handshake
	rest       []byte         // what was not walked over yet
	out        []byte         // data frames, and parts of such, that go out before what follows
	edge       int            // the first place in out between two frames; -1: there is none
	gap        int            // the first place in out between two messages; -1: there is none
	midFrame   bool           // out ends inside a frame
	midMessage bool           // out ends inside a message
	count      ending.Count   // of out
	minute     minute         // in which out was admitted
	chain      *limits.Chain  // that count was charged to; nil: to none
	at         int64          // when
	kept       int            // bytes of the array of rest, where it is the chunk's own without mem
	control    frame.Header   // of the control frame behind out; its Size is 0: there is none
	end        *ending.Ending // what is behind out ends the session; nil: it does not
	waits      bool           // a limit did not let rest pass: the leg waited in its line, which another may have taken it out of by now
	done       bool           // all was walked over
}

// Ready does what has become possible on the leg, and returns how many bytes were
// read. The poller calls it.
func (l *leg) Ready(what netpoll.Readiness) (read int) {
	r, other := l.relay, l.other()
	r.mu.Lock()
	defer r.unlock()
	if r.over || l.out.state == writeClosed {
		return 0
	}
	switch {
	case what&netpoll.Readable == 0:
	case l.waits():
		if what&netpoll.Ended != 0 {
			r.checkGone(l)
		}
	case other.out.stalled == 0:
		read += r.flow(l, other, what&netpoll.Ended != 0)
		r.settle(l)
	}
	if what&netpoll.Writable != 0 && l.out.stalled != 0 {
		read += r.flow(other, l, true)
		r.settle(other)
	}
	return read
}

// flow relays what src holds, and then all that can be read from it now, or as much
// as it may before others have their turn. A read that does not fill the buffer is
// the last one: whatever comes later, be it the end, the poller tells of. toEnd makes
// it read until there is nothing.
func (r *Relay) flow(src, dst *leg, toEnd bool) (read int) {
	switch {
	case src.in.held != nil:
		if !r.pass(src.in.held, src, dst) {
			r.hold(src.in.held, src)
			return 0
		}
		r.releaseHeld(src)
		toEnd = true
	case dst.out.stalled != 0: // by a frame of ours
		if !r.forward(new(chunk), src, dst) {
			return 0
		}
	}
	if src.in.state >= draining {
		return 0
	}
	c := r.engine.chunks.Get().(*chunk)
	for range turn {
		n, drained, err := src.conn.Read(c.mem[headroom:])
		if n == 0 {
			r.engine.chunks.Put(c)
			if err != nil {
				r.closeReader(src, err)
			}
			return read
		}
		read += n
		start := headroom - len(src.in.partial)
		copy(c.mem[start:], src.in.partial)
		*c = chunk{mem: c.mem, rest: c.mem[start : headroom+n]}
		if !r.pass(c, src, dst) {
			r.hold(c, src)
			return read
		}
		if src.in.state >= draining || drained && !toEnd {
			r.engine.chunks.Put(c)
			return read
		}
	}
	r.engine.chunks.Put(c)
	r.engine.poller.Requeue(src)
	return read
}

// hold keeps c until dst takes it, or src has its turn. That may take long: then c is
// copied out of its buffer, and again when half of the copy has passed.
func (r *Relay) hold(c *chunk, src *leg) {
	if src.waits() && len(c.out) == 0 && (c.mem != nil || c.kept > 2*len(c.rest)+copyFrom) {
		small := &chunk{rest: bytes.Clone(c.rest), kept: len(c.rest)}
		r.recycle(c)
		c = small
	}
	src.in.held = c
}

// copyFrom is how many bytes that have passed are worth copying what did not.
const copyFrom = 512

// recycle takes the buffer of c back.
func (r *Relay) recycle(c *chunk) {
	if c.mem != nil {
		*c = chunk{mem: c.mem}
		r.engine.chunks.Put(c)
	}
}

// releaseHeld takes from src what it holds.
func (r *Relay) releaseHeld(src *leg) {
	c := src.in.held
	if src.in.held = nil; c != nil {
		r.giveBack(c, src)
		r.recycle(c)
	}
}

// pass takes apart what was read from src: it has data forwarded and control frames
// handled, one after the other, and keeps an incomplete header or control frame at
// the end for the next time. It returns false if dst does not take all of it now;
// the next call goes on where it was.
func (r *Relay) pass(c *chunk, src, dst *leg) bool {
	for {
		if (len(c.out) > 0 || dst.out.stalled != 0) && !r.forward(c, src, dst) {
			return false
		}
		switch {
		case !src.in.relays():
			return true
		case c.done:
			if len(c.rest)+len(src.in.partial) > 0 {
				src.in.partial = append(src.in.partial[:0], c.rest...)
			}
			return true
		case c.end != nil:
			src.in.discard()
			r.end(*c.end)
			c.end = nil
			return true
		case src.waits():
			return false
		case c.control.Size > 0:
			r.handleControl(c, src, dst)
			continue
		}
		if r.limited == nil {
			r.walk(c, src)
			c.minute = r.engine.coarseMinute()
			r.turnMinute(c.minute)
		} else {
			r.admit(c, src)
		}
		if c.done = c.end == nil && c.control.Size == 0 && !c.waits; len(c.out) > 0 {
			now := r.engine.coarse()
			if src.in.lastLife, r.moved = now, now; c.count.Frames > 0 {
				src.in.lastData = now
			}
		}
	}
}

// walk takes data frames from c.rest, up to a complete control frame, a violation,
// an incomplete header or control frame, or the end.
func (r *Relay) walk(c *chunk, src *leg) {
	frames := &src.in.frames
	c.edge, c.gap, c.count, c.control.Size = -1, -1, ending.Count{}, 0
	pos := 0
	for pos < len(c.rest) {
		if frames.MidFrame() {
			n := frames.Skip(len(c.rest) - pos)
			pos += n
			c.count.Payload += uint64(n)
			continue
		}
		if c.edge < 0 {
			c.edge = pos
		}
		if c.gap < 0 && !frames.MidMessage() {
			c.gap = pos
		}
		if n, messages, payload := frames.WholeMessages(c.rest[pos:], math.MaxInt64, math.MaxInt64); n > 0 {
			pos += n
			c.count.Messages += uint64(messages)
			c.count.Frames += uint64(messages)
			c.count.Payload += uint64(payload)
			continue
		}
		h, found := r.nextFrame(c, src, c.rest[pos:])
		if !found {
			break
		}
		frames.Begin(&h)
		pos += h.Size
		c.count.Frames++
		if h.Opcode != frame.Continuation {
			c.count.Messages++
		}
	}
	c.midFrame, c.midMessage = frames.MidFrame(), frames.MidMessage()
	c.out, c.rest = c.rest[:pos], c.rest[pos:]
	c.endOfWalk(pos)
}

// endOfWalk notes that n bytes go out.
func (c *chunk) endOfWalk(n int) {
	if c.edge < 0 && !c.midFrame {
		c.edge = n
	}
	if c.gap < 0 && !c.midMessage {
		c.gap = n
	}
	c.count.Wire = uint64(n)
}

// nextFrame returns the header of the data frame that b starts with. Where it finds none,
// c has the control frame or the violation that is there instead, or neither: then b is
// not complete.
func (r *Relay) nextFrame(c *chunk, src *leg, b []byte) (h frame.Header, found bool) {
	frames := &src.in.frames
	h, v := frames.Header(b)
	if v == frame.None && !h.Control() && h.Size > 0 && h.Length == 0 && !frames.Terminator(&h) && src.in.flooded(r.engine) {
		v = frame.Flood
	}
	switch {
	case v != frame.None:
		c.end = new(endingOf(src.party(), v))
	case h.Size == 0:
	case !h.Control():
		return h, true
	case len(b) >= h.Size+int(h.Length):
		c.control = h
	}
	return h, false
}

// forward writes the data in c to dst, behind what is due to dst itself. It returns
// false if dst does not take all of it now: until it has, src is not read, and the
// clocks of both stand still.
func (r *Relay) forward(c *chunk, src, dst *leg) bool {
	q := r.limited
	notice := q != nil && dst == &r.client && q.notice.isWaiting()
	for len(c.out) > 0 || dst.out.stalled != 0 {
		if notice {
			r.sendNotices(r.engine.now())
			notice = q.notice.isWaiting()
		}
		due := dst.out.state == closeQueued || dst.out.pong != nil
		if due {
			r.sendDue(dst)
			due = dst.out.state == closeQueued || dst.out.pong != nil
		}
		n := len(c.out) // what may be written before something else
		switch {
		case dst.out.state >= closeSent,
			dst.out.state == closeQueued && !dst.out.midFrame: // no frame begins before a close, nor goes on that lost its start
			n, c.out = 0, nil
			r.giveBack(c, src)
		case due && c.edge > 0:
			n = c.edge
		case notice && c.gap > 0:
			n = c.gap
		}
		if n == 0 && dst.out.stalled == 0 {
			return true
		}
		taken, someSent, allSent, err := dst.conn.Write(c.out[:n])
		if err != nil {
			c.out, dst.out.midFrame = nil, true
			r.giveBack(c, src)
			r.writeFailed(dst)
			return true
		}
		// Messages count when all of a read is taken, by TLS if dst has it: of a leg that
		// is aborted while it is stalled, the totals may be wrong by one buffer.
		switch {
		case taken == 0:
		case taken == len(c.out):
			r.relayed(src, &c.count, c.minute)
			c.out, c.count, dst.out.midFrame = nil, ending.Count{}, c.midFrame
			c.edge, c.gap = -1, -1
			dst.wrote(c.midMessage)
		default:
			payload := taken // of the frame that out starts inside of
			if c.edge >= 0 {
				payload = min(taken, c.edge)
			} else if c.count.Frames > 0 {
				payload = 0
			}
			part := ending.Count{Payload: uint64(payload), Wire: uint64(payload)}
			r.relayed(src, &part, c.minute)
			c.count = c.count.Minus(part)
			c.out, c.edge, c.gap = c.out[taken:], max(c.edge-taken, -1), max(c.gap-taken, -1)
			if c.gap == 0 {
				c.edge = 0
			}
			dst.out.midFrame = c.edge != 0
			dst.wrote(c.gap != 0)
		}
		if !allSent {
			r.stall(dst, someSent)
			return false
		}
		if dst.out.stalled != 0 {
			dst.out.stalled = 0
			src.in.lastLife = r.engine.now()
			dst.in.lastLife, r.moved = src.in.lastLife, src.in.lastLife
		}
	}
	return true
}

// wrote notes, where that is asked for later, whether what was written ends inside a
// message.
func (l *leg) wrote(midMessage bool) {
	if q := l.relay.limited; q != nil && q.midMessage != midMessage && l == &l.relay.client {
		q.midMessage = midMessage
	}
}

// stall notes that dst does not take all that it is given. someSent tells whether it took any byte.
func (r *Relay) stall(dst *leg, someSent bool) {
	now := r.engine.now()
	switch {
	case dst.out.stalled == 0:
		dst.out.stalled = now
		if wait := r.engine.cfg.Write; wait != 0 {
			r.schedule(now + int64(wait))
		}
	case someSent:
		dst.out.stalled, dst.in.lastLife = now, now
	}
}

// writeFailed notes that nothing more can be written to l. A read will tell what
// ended it, or else nothing more is read after the linger time.
func (r *Relay) writeFailed(l *leg) {
	if l.out.state == broken {
		return
	}
	l.abandon()
	l.in.lingerBy = r.engine.now() + int64(r.engine.cfg.Linger)
	r.schedule(l.in.lingerBy)
}

// closeReader notes that nothing more comes from l. err is the end of the stream,
// or nil if it is us who leave.
func (r *Relay) closeReader(l *leg, err error) {
	r.stopWaiting(l)
	r.releaseHeld(l)
	r.giveBackRest(l)
	l.in.state = readClosed
	if r.ended == nil {
		r.failLeg(l, err)
	}
}
