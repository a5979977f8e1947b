package relay

import (
	"encoding/binary"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/frame"
	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
)

// turn is how many buffers are read from a leg before others have their turn.
const turn = 8

// ready does what has become possible on l, and returns how many bytes were read.
// The poller calls it.
func (r *Relay) ready(l *leg, what netpoll.Readiness) (read int) {
	r.mu.Lock()
	defer r.unlock()
	if l.closed || r.over {
		return 0
	}
	other := r.other(l)
	if what&netpoll.Readable != 0 && other.stalled == 0 {
		read += r.flow(l, other, what&netpoll.Ended != 0)
	}
	if what&netpoll.Writable != 0 && l.stalled != 0 {
		read += r.flow(other, l, true)
	}
	return read
}

// chunk is a buffer and what was found in it.
type chunk struct {
	mem   []byte          // headroom, then what was read; none if it came with the handshake
	b     []byte          // what was not walked over yet
	out   []byte          // data frames, and parts of such, that go out before what follows
	edge  int             // the first place in out between two frames; -1: there is none
	mid   bool            // out ends inside a frame
	count ending.Count    // of out
	head  frame.Header    // of the control frame behind out; its size is 0: there is none
	v     frame.Violation // behind out
	done  bool            // b was walked over
}

// flow passes on what src holds, and then all that can be read from it now, or as
// much as it may before others have their turn. A read that does not fill the
// buffer is the last one: of what comes later, be it the end, there is another
// notice. With whole the last one finds nothing.
func (r *Relay) flow(src, dst *leg, whole bool) (read int) {
	switch {
	case src.held != nil:
		if !r.pass(src.held, src, dst) {
			return 0
		}
		r.release(src)
		whole = true
	case dst.stalled != 0: // by a frame of ours
		if !r.forward(new(chunk), src, dst) {
			return 0
		}
	}
	if src.deaf || src.quit {
		return 0
	}
	c := r.engine.chunks.Get().(*chunk)
	for range turn {
		n, drained, err := src.conn.Read(c.mem[headroom:])
		if n == 0 {
			r.engine.chunks.Put(c)
			if err != nil {
				r.leave(src, err)
			}
			return read
		}
		read += n
		start := headroom - len(src.carry)
		copy(c.mem[start:], src.carry)
		*c = chunk{mem: c.mem, b: c.mem[start : headroom+n]}
		if !r.pass(c, src, dst) {
			src.held = c
			return read
		}
		if src.quit || drained && !whole {
			r.engine.chunks.Put(c)
			return read
		}
	}
	r.engine.chunks.Put(c)
	r.poller.Requeue(src)
	return read
}

// release takes from src what it holds.
func (r *Relay) release(src *leg) {
	if src.held.mem != nil {
		*src.held = chunk{mem: src.held.mem}
		r.engine.chunks.Put(src.held)
	}
	src.held = nil
}

// leave notes that src is read no more. Without an error it is we who leave.
func (r *Relay) leave(src *leg, err error) {
	if src.held != nil {
		r.release(src)
	}
	if src.deaf = true; r.ended == nil {
		r.died(src, err)
	}
}

// pass handles what was read from src: it walks over the frames, passes on data,
// handles the others, and keeps an incomplete header or control frame at the end
// for the next time. It returns false if dst does not take all of it now; once it
// does, it goes on where it was.
func (r *Relay) pass(c *chunk, src, dst *leg) bool {
	for {
		if (len(c.out) > 0 || dst.stalled != 0) && !r.forward(c, src, dst) {
			return false
		}
		switch {
		case src.blind:
			return true
		case c.done:
			if len(c.b)+len(src.carry) > 0 {
				src.carry = append(src.carry[:0], c.b...)
			}
			return true
		case c.v != frame.None:
			r.breach(src, c.v)
			c.v = frame.None
			return true
		case c.head.Size > 0:
			r.special(c, src, dst)
			continue
		}
		c.v = src.walk(c, r.engine)
		c.done = c.v == frame.None && c.head.Size == 0
		r.alive(src, c)
	}
}

// alive notes that data came from src.
func (r *Relay) alive(src *leg, c *chunk) {
	if len(c.out) == 0 {
		return
	}
	if src.life = r.engine.coarse(); c.count.Frames > 0 {
		src.last = src.life
	}
}

// walk takes data frames from c.b up to a complete control frame, a breach, an
// incomplete header or control frame, or the end.
func (l *leg) walk(c *chunk, e *Engine) (v frame.Violation) {
	c.edge, c.count, c.head.Size = -1, ending.Count{}, 0
	pos := 0
	for pos < len(c.b) {
		if !l.in.MidFrame() {
			if c.edge < 0 {
				c.edge = pos
			}
			if n, messages, payload := l.in.WholeMessages(c.b[pos:]); n > 0 {
				pos += n
				c.count.Messages += uint64(messages)
				c.count.Frames += uint64(messages)
				c.count.Payload += uint64(payload)
				continue
			}
			if v = l.begin(c, pos, e); v != frame.None || c.head.Size == 0 || c.head.Control() {
				break
			}
			pos += c.head.Size
			c.head.Size = 0
		}
		n := l.in.Skip(len(c.b) - pos)
		pos += n
		c.count.Payload += uint64(n)
	}
	if c.mid = l.in.MidFrame(); c.edge < 0 && !c.mid {
		c.edge = pos
	}
	c.out, c.b = c.b[:pos], c.b[pos:]
	c.count.Wire = uint64(pos)
	return v
}

// begin reads the header at pos. Its size is 0 if it, or the control frame that
// it belongs to, is not complete.
func (l *leg) begin(c *chunk, pos int, e *Engine) (v frame.Violation) {
	c.head, v = l.in.Header(c.b[pos:])
	h := &c.head
	switch {
	case v != frame.None || h.Size == 0:
	case h.Control():
		if len(c.b)-pos < h.Size+int(h.Length) {
			h.Size = 0
		}
	case h.Length == 0 && !l.in.Terminator(h) && l.flooded(e):
		return frame.Flood
	default:
		l.in.Begin(h)
		c.count.Frames++
		if h.Opcode != frame.Continuation {
			c.count.Messages++
		}
	}
	return v
}

// special handles the control frame that c.b starts with.
func (r *Relay) special(c *chunk, src, dst *leg) {
	payload := c.b[c.head.Size : c.head.Size+int(c.head.Length)]
	if c.head.Masked {
		frame.Unmask(payload, c.head.MaskKey)
	}
	c.b = c.b[c.head.Size+len(payload):]
	c.head.Size = 0
	r.control(src, dst, c.head.Opcode, payload)
}

// flooded counts a control or empty frame and reports whether there are too many.
func (l *leg) flooded(e *Engine) bool {
	if now := e.now(); now-l.floodAt >= 1e9 {
		l.floodAt, l.flood = now, 0
	}
	l.flood++
	return e.cfg.Flood > 0 && int(l.flood) > e.cfg.Flood
}

// forward gives dst the data in c. It returns false if dst does not take all of it
// now: until it has, src is not read, and the clocks of both stand still.
func (r *Relay) forward(c *chunk, src, dst *leg) bool {
	for len(c.out) > 0 || dst.stalled != 0 {
		if dst.closing != 0 || dst.hasPong {
			r.sendDue(dst)
		}
		n := c.allowed(dst)
		if n == 0 {
			c.out = nil
		}
		k, some, all, err := 0, false, true, error(nil)
		if n > 0 || dst.stalled != 0 {
			k, some, all, err = dst.conn.Write(c.out[:n])
		}
		if err != nil {
			c.out, dst.mid = nil, true
			r.writeFailed(dst)
			return true
		}
		if k > 0 {
			c.taken(k, src, dst)
		}
		if !all {
			r.stall(dst, some)
			return false
		}
		if dst.stalled != 0 {
			dst.stalled = 0
			src.life = r.engine.now()
			dst.life = src.life
		}
	}
	return true
}

// allowed returns how much of c.out may be written to dst before something else.
// At 0 none of it ever is.
func (c *chunk) allowed(dst *leg) int {
	switch {
	case dst.sent != 0 || dst.dead || dst.shut:
		return 0
	case dst.closing != 0 && !dst.mid: // no frame begins before a close, nor does what is left of one
		return 0
	case dst.closing == 0 && !dst.hasPong || c.edge <= 0:
		return len(c.out)
	}
	return c.edge
}

// taken notes that dst took the first k bytes of c.out. Messages count when all of
// it is taken, by TLS if dst has it: of a leg that is cut while it is full, the
// totals may be wrong by one buffer.
func (c *chunk) taken(k int, src, dst *leg) {
	if k == len(c.out) {
		src.count.Add(&c.count)
		c.out, c.count, dst.mid = nil, ending.Count{}, c.mid
		return
	}
	payload := k // of the frame that c.out starts inside of
	if c.edge >= 0 {
		payload = min(k, c.edge)
	} else if c.count.Frames > 0 {
		payload = 0
	}
	part := ending.Count{Payload: uint64(payload), Wire: uint64(payload)}
	src.count.Add(&part)
	c.count = c.count.Minus(part)
	c.out, c.edge = c.out[k:], max(c.edge-k, -1)
	dst.mid = c.edge != 0
}

// stall notes that dst does not take all that it is given, but some perhaps.
func (r *Relay) stall(dst *leg, some bool) {
	now := r.engine.now()
	switch {
	case dst.stalled == 0:
		dst.stalled = now
		r.look(now + int64(r.engine.cfg.Write))
	case some:
		dst.stalled, dst.life = now, now
	}
}

// writeFailed notes that nothing more can be written to l. What ended it, a read
// will tell, or else nothing more is read after the linger time.
func (r *Relay) writeFailed(l *leg) {
	if l.dead {
		return
	}
	l.giveUp()
	l.lingerBy = r.engine.now() + int64(r.engine.cfg.Linger)
	r.look(l.lingerBy)
}

// breach handles frames of src that break the protocol.
func (r *Relay) breach(src *leg, v frame.Violation) {
	src.blind = true
	r.offended(src, v)
}

// control handles a complete control frame of src.
func (r *Relay) control(src, dst *leg, op frame.Opcode, payload []byte) {
	switch {
	case op == frame.Close:
		r.closeFrom(src, dst, payload)
	case src.flooded(r.engine):
		r.breach(src, frame.Flood)
	case op == frame.Ping:
		src.pong, src.hasPong = append(src.pong[:0], payload...), true
		r.sendDue(src)
	case len(payload) == 8 && binary.BigEndian.Uint64(payload) == r.mark:
		r.ponged(src)
	}
}

// ponged notes l's answer to a ping of ours.
func (r *Relay) ponged(l *leg) {
	l.life = r.engine.now()
	if l.pinged {
		l.pinged = false
		l.pingAt += int64(r.engine.cfg.Ping)
		r.look(l.pingAt)
	}
}

// closeFrom handles the close of src: it is passed on, unless dst had one. What
// follows it is discarded.
func (r *Relay) closeFrom(src, dst *leg, payload []byte) {
	code, reason, v := frame.ParseClose(payload)
	src.received, src.blind = code, true
	if v != frame.None {
		r.offended(src, v)
		return
	}
	if r.ended == nil {
		e := ending.ByPeer(src.party, code, string(reason))
		r.ended = &e
		r.closeBy = r.engine.now() + int64(r.engine.cfg.Close)
		r.look(r.closeBy)
	}
	if dst.sent != 0 || dst.closing != 0 || dst.dead || dst.shut {
		return
	}
	dst.sent = code
	if err := dst.control(frame.Close, frame.AppendClose(payload[:0], code, reason)); err != nil {
		dst.sent = 0
		r.writeFailed(dst)
	}
}
