package relay

import (
	"encoding/binary"
	"strconv"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// handleControl handles the complete control frame that c.rest starts with.
func (r *Relay) handleControl(c *chunk, src, dst *leg) {
	h := c.control
	payload := c.rest[h.Size : h.Size+int(h.Length)]
	c.rest, c.control.Size = c.rest[h.Size+len(payload):], 0
	if h.Masked {
		frame.Unmask(payload, h.MaskKey)
	}
	src.in.lastLife = r.engine.now()
	switch {
	case h.Opcode == frame.Close:
		r.handleClose(src, dst, payload)
	case src.in.flooded(r.engine):
		r.failProtocol(src, frame.Flood)
	case h.Opcode == frame.Ping:
		r.answerPing(src, payload)
	case len(payload) == 8 && binary.BigEndian.Uint64(payload) == r.mark:
		r.handlePong(src)
	}
}

// flooded counts a control or empty frame and reports whether there are too many.
func (in *reader) flooded(e *Engine) bool {
	if now := e.now(); now-in.floodSince >= 1e9 {
		in.floodSince, in.flood = now, 0
	}
	in.flood++
	return e.cfg.Flood != 0 && int(in.flood) > e.cfg.Flood
}

// answerPing sends a pong. If it has to wait, the newest one is sent.
func (r *Relay) answerPing(l *leg, payload []byte) {
	l.out.pong = payload
	if r.sendDue(l); l.out.pong != nil {
		l.out.pong = append([]byte{}, payload...)
	}
}

// handlePong notes the answer to a ping of ours.
func (r *Relay) handlePong(l *leg) {
	if l.out.pingSent != 0 {
		l.out.nextPing, l.out.pingSent = l.out.pingSent+int64(r.engine.cfg.Ping), 0
		r.schedule(l.out.nextPing)
	}
}

// handleClose passes the close of src on, unless dst has had one or is about to.
// What follows it is thrown away.
func (r *Relay) handleClose(src, dst *leg, payload []byte) {
	code, reason, v := frame.ParseClose(payload)
	src.in.received = code
	if v != frame.None {
		r.failProtocol(src, v)
		return
	}
	src.in.discard()
	if r.ended == nil {
		e := ending.ByPeer(src.party(), code, string(reason))
		r.ended = &e
		r.closeBy = r.engine.now() + int64(r.engine.cfg.Close)
		r.schedule(r.closeBy)
	}
	if dst == &r.client {
		r.tell()
	}
	if dst.out.state != writing {
		return
	}
	dst.out.state, dst.out.code = closeSent, code
	if err := dst.sendControl(frame.Close, frame.AppendClose(payload[:0], code, reason)); err != nil {
		dst.out.code = 0
		r.writeFailed(dst)
	}
}

// sendDue sends the close or the pong that is due to l, if l can take it now.
func (r *Relay) sendDue(l *leg) {
	if l.conn.Pending() {
		if err := l.conn.Flush(); err != nil {
			r.writeFailed(l)
		}
	}
	queued := l.out.state == closeQueued
	if !queued && l.out.pong == nil || !l.takesControl() {
		return
	}
	var err error
	pong := l.out.pong
	l.out.pong = nil
	if queued {
		l.out.state = closeSent
		if text := r.lastText(l); text != "" {
			err = l.conn.Send(frame.AppendText(nil, text))
		}
		if err == nil {
			err = l.sendControl(frame.Close, r.closePayload(l))
		}
	} else {
		err = r.sendPingOrPong(l, frame.Pong, pong)
	}
	if err != nil {
		l.out.code = 0
		r.writeFailed(l)
	}
}

// sendPingOrPong sends what more may follow. A leg that does not take all of it is
// slow, as if it did not take data.
func (r *Relay) sendPingOrPong(l *leg, op frame.Opcode, payload []byte) error {
	err := l.sendControl(op, payload)
	if l.conn.Pending() {
		r.stall(l, false)
	}
	return err
}

// lastText is the text message that the client gets before a close of ours, "" for none. It
// has no place inside of a message whose end the client has not got.
func (r *Relay) lastText(l *leg) string {
	if l != &r.client || r.start == nil || r.start.endings == nil {
		return ""
	}
	if r.backend.in.frames.MidMessage() || r.limited != nil && r.limited.midMessage {
		return ""
	}
	return r.start.endings.Text(*r.closing, r.ref)
}

// closePayload is what a close of ours carries.
func (r *Relay) closePayload(l *leg) []byte {
	var b [frame.MaxControlPayload]byte
	return frame.AppendClose(b[:0], l.out.code, r.appendReason(nil, l))
}

// appendReason appends the reason of a close of ours to l.
func (r *Relay) appendReason(b []byte, l *leg) []byte {
	b = append(b, r.closing.Reason.String()...)
	b = append(b, " ref="...)
	b = append(b, r.ref...)
	if l == &r.client && r.closing.Retry > 0 {
		b = append(b, " retry="...)
		b = strconv.AppendInt(b, r.closing.Retry.Milliseconds(), 10)
		b = append(b, "ms"...)
	}
	return b[:min(len(b), frame.MaxControlPayload-2)]
}
