package relay

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"time"
)

// pump reads src until its end, or until it is so quiet that it can be left to
// the lot, and passes its frames on to dst. It waits for readability without a
// buffer. All of it happens inside one Read of the raw connection, because a
// notice of readability that comes between two is lost; only a deadline, which is
// how the pump is woken, makes it start another.
func (r *Relay) pump(src, dst *leg, ahead []byte) {
	r.early(src, dst, ahead)
	var ended error
	read := func(uintptr) bool {
		ended = r.drain(src, dst)
		return ended != nil || !src.stays()
	}
	for ended == nil && !src.quit.Load() {
		if err := src.raw.Read(read); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			ended = err
		}
		_ = src.sock.SetReadDeadline(time.Time{}) // before quit is looked at: kick sets it the other way round
		if ended == nil && r.rest(src) {
			return
		}
	}
	r.mu.Lock()
	src.deaf = true
	if r.cause == nil {
		r.died(src, ended)
	}
	r.unlock()
}

// rest is park for the goroutine that reads l.
func (r *Relay) rest(l *leg) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.park(l)
}

// chunk is a buffer and what was found in it. It keeps off the stack of the
// reading goroutines what would double that stack's size.
type chunk struct {
	mem    []byte // headroom, then what was read
	b      []byte // what was not walked over yet
	out    []byte // data frames, and parts of such, that can go out in one write
	edge   int    // the first place in out between two frames; -1: there is none
	inside bool   // out ends inside a frame
	count  Count  // of out
	head   Header // of the control frame behind out
}

// early handles the bytes that came with the handshake.
func (r *Relay) early(src, dst *leg, ahead []byte) {
	for len(ahead) > 0 {
		c := r.engine.chunks.Get().(*chunk)
		n := copy(c.mem[headroom:], ahead)
		ahead = ahead[n:]
		r.piece(c, src, dst, n)
		r.engine.chunks.Put(c)
	}
}

// drain handles all that can be read from src now. It returns nil when src has
// nothing more to give at present.
func (r *Relay) drain(src, dst *leg) error {
	c := r.engine.chunks.Get().(*chunk)
	for !src.quit.Load() {
		n, short, err := src.read(c.mem[headroom:])
		src.hot = false // but for data; see alive
		if n > 0 {
			r.piece(c, src, dst, n)
			if !short || !src.hot && src.tls == nil || src.blind {
				continue
			}
		}
		r.engine.chunks.Put(c)
		if err == errWouldBlock { //nolint:errorlint // ours and never wrapped; asked for every message
			err = nil
		}
		return err
	}
	r.engine.chunks.Put(c)
	return io.EOF
}

// piece handles n bytes that were read from src: it walks over the frames,
// passes on data, handles the others, and keeps an incomplete header or control
// frame at the end for the next time.
func (r *Relay) piece(c *chunk, src, dst *leg, n int) {
	if src.blind {
		return
	}
	start := headroom - len(src.carry)
	copy(c.mem[start:], src.carry)
	c.b = c.mem[start : headroom+n]
	for {
		v := src.walk(c, r.engine)
		if len(c.out) > 0 {
			r.forward(c, src, dst)
		}
		if v == none && c.head.Size == 0 {
			break
		}
		if r.special(c, src, dst, v); src.blind {
			return
		}
	}
	if len(c.b)+len(src.carry) > 0 {
		src.carry = append(src.carry[:0], c.b...)
	}
}

// walk takes data frames from c.b up to a complete control frame, a breach, an
// incomplete header or control frame, or the end.
func (l *leg) walk(c *chunk, e *Engine) (v Violation) {
	c.edge, c.count, c.head.Size = -1, Count{}, 0
	pos := 0
	for pos < len(c.b) {
		if !l.in.Inside() {
			if c.edge < 0 {
				c.edge = pos
			}
			if n := l.in.Run(c.b[pos:], &c.count); n > 0 {
				pos += n
				continue
			}
			if v = l.begin(c, pos, e); v != none || c.head.Size == 0 || c.head.Control() {
				break
			}
			pos += c.head.Size
			c.head.Size = 0
		}
		n := l.in.Skip(len(c.b) - pos)
		pos += n
		c.count.Payload += uint64(n)
	}
	if c.inside = l.in.Inside(); c.edge < 0 && !c.inside {
		c.edge = pos
	}
	c.out, c.b = c.b[:pos], c.b[pos:]
	c.count.Wire = uint64(pos)
	return v
}

// begin reads the header at pos. Its size is 0 if it, or the control frame that
// it belongs to, is not complete.
func (l *leg) begin(c *chunk, pos int, e *Engine) (v Violation) {
	c.head, v = l.in.Header(c.b[pos:])
	h := &c.head
	switch {
	case v != none || h.Size == 0:
	case h.Control():
		if len(c.b)-pos < h.Size+int(h.Length) {
			h.Size = 0
		}
	case h.Length == 0 && !l.in.Ends(h) && l.flooded(e):
		return flood
	default:
		l.in.Begin(h)
		c.count.Frames++
		if h.Opcode != opContinuation {
			c.count.Messages++
		}
	}
	return v
}

// special handles a breach, or the control frame that c.b starts with.
func (r *Relay) special(c *chunk, src, dst *leg, v Violation) {
	if v != none {
		r.breach(src, v)
		return
	}
	payload := c.b[c.head.Size : c.head.Size+int(c.head.Length)]
	if c.head.Masked {
		unmask(payload, c.head.MaskKey)
	}
	c.b = c.b[c.head.Size+len(payload):]
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

// forward writes the data in c to dst and waits until dst has taken it.
func (r *Relay) forward(c *chunk, src, dst *leg) {
	r.mu.Lock()
	r.alive(src, c.count.Frames > 0)
	if dst.closing != 0 || dst.hasPong {
		r.between(c, src, dst)
	}
	if dst.closing == 0 || c.edge < 0 {
		r.write(c, src, dst)
	}
	if r.cause == nil && !dst.hasPong {
		r.mu.Unlock()
		return
	}
	r.unlock()
}

// between puts what waits for dst where the first frame in c ends.
func (r *Relay) between(c *chunk, src, dst *leg) {
	if c.edge <= 0 {
		return
	}
	out, count, inside := c.out, c.count, c.inside
	c.count = Count{Payload: uint64(c.edge), Wire: uint64(c.edge)}
	c.out, c.inside = out[:c.edge], false
	r.write(c, src, dst)
	c.out, c.count, c.inside = out[c.edge:], count.minus(c.count), inside
	c.edge = 0
}

// alive notes that data came from src. Where it comes at every tick, a read that
// did not fill its buffer is the last one before the next wait: the one that
// would find nothing is spared. It may be that such a read took the last bytes
// before the connection's end without showing the end, of which no further
// notice would come; so the wheel looks once the leg has become quiet.
func (r *Relay) alive(src *leg, frame bool) {
	now := r.engine.coarse()
	src.hot = src.life == now && src.tls == nil
	if src.life = now; frame {
		src.last = now
	}
	if !src.awake {
		src.awake = true
		r.look(now + int64(r.engine.cfg.Rest))
	}
	if src.hot {
		src.hasty = true
		r.look(now + int64(r.engine.cfg.Tick))
	}
}

// write writes c.out to dst, releasing r.mu meanwhile.
func (r *Relay) write(c *chunk, src, dst *leg) {
	if len(c.out) == 0 || dst.sent != 0 || dst.dead || dst.shut {
		return
	}
	dst.busy = true
	r.mu.Unlock()
	err := r.send(src, dst, c.out)
	r.mu.Lock()
	dst.busy = false
	dst.mid = c.inside || err != nil
	if err != nil {
		r.writeFailed(dst)
		return
	}
	src.count.add(&c.count)
	if dst.closing != 0 || dst.hasPong {
		r.settleLeg(dst, src)
	}
}

// writeFailed notes that nothing more can be written to l. What ended it, its
// reader will find out, at the latest when it is woken after the linger time.
func (r *Relay) writeFailed(l *leg) {
	if l.dead {
		return
	}
	l.giveUp()
	l.lingerBy = r.engine.now() + int64(r.engine.cfg.Linger)
	r.look(l.lingerBy)
}

// send writes b to dst and waits until the socket has taken it.
func (r *Relay) send(src, dst *leg, b []byte) error {
	if dst.tls != nil {
		if _, err := dst.tls.Write(b); err != nil {
			return err
		}
		b = nil
	}
	n, _, all, err := dst.wire.push(b)
	if err != nil || all {
		return err
	}
	return r.stall(src, dst, b[n:])
}

// stall waits until the socket of dst, which is full, has taken b. Meanwhile src
// is not read and its clocks stand still.
func (r *Relay) stall(src, dst *leg, b []byte) error {
	r.mu.Lock()
	dst.stalled, src.paused = r.engine.now(), true
	r.look(dst.stalled + int64(r.engine.cfg.Write))
	r.mu.Unlock()
	var failed error
	err := dst.raw.Write(func(uintptr) bool {
		n, some, all, err := dst.wire.push(b)
		if b, failed = b[n:], err; some {
			r.mu.Lock()
			dst.stalled = r.engine.now()
			dst.life = dst.stalled
			r.mu.Unlock()
		}
		return all || err != nil
	})
	if err == nil {
		err = failed
	}
	r.mu.Lock()
	dst.stalled, src.paused = 0, false
	src.life = r.engine.now()
	dst.life = src.life
	r.look(src.life + int64(r.engine.cfg.Rest))
	r.mu.Unlock()
	return err
}

// breach handles frames of src that break the protocol.
func (r *Relay) breach(src *leg, v Violation) {
	r.mu.Lock()
	src.blind = true
	r.offended(src, v)
	r.unlock()
}

// control handles a complete control frame of src.
func (r *Relay) control(src, dst *leg, opcode byte, payload []byte) {
	switch {
	case opcode == opClose:
		r.closeFrom(src, dst, payload)
	case src.flooded(r.engine):
		r.breach(src, flood)
	case opcode == opPing:
		r.mu.Lock()
		src.pong, src.hasPong = append(src.pong[:0], payload...), true
		r.unlock()
	case len(payload) == 8 && binary.BigEndian.Uint64(payload) == r.mark:
		r.mu.Lock()
		src.ponged(r.engine)
		r.mu.Unlock()
	}
}

// ponged notes the answer to a ping of ours.
func (l *leg) ponged(e *Engine) {
	l.life = e.now()
	if l.pinged {
		l.pinged = false
		l.pingAt += int64(e.cfg.Ping)
	}
}

// closeFrom handles the close of src: it is passed on, unless dst had one. What
// follows it is discarded.
func (r *Relay) closeFrom(src, dst *leg, payload []byte) {
	code, reason, v := parseClose(payload)
	r.mu.Lock()
	defer r.unlock()
	src.received, src.blind = code, true
	if v != none {
		r.offended(src, v)
		return
	}
	if r.cause == nil {
		r.cause = &Cause{By: src.party, Word: "CLOSE", Code: code, Detail: string(reason)}
		r.closeBy = r.engine.now() + int64(r.engine.cfg.Close)
		r.look(r.closeBy)
	}
	if dst.sent != 0 || dst.closing != 0 || dst.dead || dst.shut {
		return
	}
	var b [maxFrame]byte
	frame := appendControl(b[:0], opClose, appendClose(payload[:0], code, reason), dst.party == Backend)
	dst.sent, dst.busy = code, true
	r.mu.Unlock()
	err := r.send(src, dst, frame)
	r.mu.Lock()
	if dst.busy = false; err != nil {
		dst.sent = 0
		r.writeFailed(dst)
	}
}
