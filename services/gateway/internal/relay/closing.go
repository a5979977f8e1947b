package relay

import (
	"errors"
	"io"
	"syscall"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// end notes the end of the session and makes the closes due. Only the first ending
// counts, and closes that are due or sent stay as they are; but what still flows is
// stopped by a later one, too. It reports whether this was the first.
func (r *Relay) end(e ending.Ending) (first bool) {
	if r.start != nil {
		e = r.start.endings.Apply(e)
	}
	if first = r.ended == nil; first {
		r.ended = &e
	}
	if r.closing == nil {
		r.closing = &e
		r.awaitCloses()
		r.tell()
		r.client.queueClose(e.ClientCode)
		r.backend.queueClose(e.BackendCode)
		for _, l := range r.legs() {
			r.stopWaiting(l)
		}
	}
	return first
}

// awaitCloses starts the clocks of closes of ours.
func (r *Relay) awaitCloses() {
	now := r.engine.now()
	r.closeBy, r.frameBy = now+int64(r.engine.cfg.Close), now+int64(r.engine.cfg.FrameEnd)
	r.schedule(r.frameBy)
}

// failLeg ends the session because a leg is gone, without a close from it. The leg
// may still be there, half-closed and stalled: whoever writes to it must not wait.
func (r *Relay) failLeg(l *leg, err error) {
	l.abort()
	r.end(ending.New(gone(l.party()), lossOf(err)))
}

// gone is the reason of a session whose peer left without a close.
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

// failProtocol ends the session because of what l's peer sent.
func (r *Relay) failProtocol(l *leg, v frame.Violation) {
	l.in.discard()
	r.end(endingOf(l.party(), v))
}

// endingOf returns the ending of a session in which this peer did this.
func endingOf(p ending.Party, v frame.Violation) ending.Ending {
	switch v {
	case frame.TooBig:
		return ending.AtFault(p, ending.TooBig, 0, v.Error())
	case frame.Flood:
		return ending.AtFault(p, ending.Flood, 0, v.Error())
	case frame.InvalidReason:
		return ending.AtFault(p, ending.Protocol, frame.CloseInvalidPayload, v.Error())
	}
	return ending.AtFault(p, ending.Protocol, 0, v.Error())
}

// unlock moves the states on, releases the mutex, and tells the observer of the end.
func (r *Relay) unlock() {
	r.advance()
	tell := r.over && !r.reported
	if !tell {
		r.mu.Unlock()
		return
	}
	r.reported = true
	o := r.outcome()
	r.mu.Unlock()
	r.observer.Ended(o)
	r.engine.leave(r)
}

// advance moves the states of both legs as far as they can go. It may be called at
// any time.
func (r *Relay) advance() {
	if r.over || r.client.nothingDue() && r.backend.nothingDue() { // as after nearly every message
		return
	}
	for _, l := range r.legs() {
		if l.in.state == draining && (l.in.held == nil || l.other().out.stalled == 0) {
			r.closeReader(l, nil)
		}
	}
	r.advanceLeg(&r.client)
	r.advanceLeg(&r.backend)
	r.over = r.client.out.state == writeClosed && r.backend.out.state == writeClosed
}

// advanceLeg sends what is due to l, half-closes it when closes were exchanged, and
// closes it when nobody reads or writes it any more.
func (r *Relay) advanceLeg(l *leg) {
	if l.out.state == writeClosed || l.out.stalled != 0 {
		return
	}
	other := l.other()
	if l.in.received != 0 && l.out.state == writing && other.in.state == readClosed && other.in.received == 0 {
		r.answerClose(l, gone(other.party())) // the other leg will not do it any more
	}
	r.sendDue(l)
	if l.out.state == closeQueued && l.out.midFrame && other.in.state == readClosed {
		l.abandon() // the frame that it is inside of will not end
	}
	answered := l.out.state == closeSent && (l.in.state == discarding || l.in.state == readClosed) && !l.conn.Pending()
	if answered || l.out.state == broken && r.ended != nil {
		l.halfClose()
		l.in.lingerBy = r.engine.now() + int64(r.engine.cfg.Linger)
		r.schedule(l.in.lingerBy)
	}
	if l.in.state == readClosed && (l.out.state == halfClosed || l.out.state == broken) {
		l.close()
	}
}

// answerClose makes l's own close the answer to it.
func (r *Relay) answerClose(l *leg, reason ending.Reason) {
	if r.closing == nil {
		e := ending.New(reason, "")
		r.closing = &e
	}
	r.awaitCloses()
	l.queueClose(l.in.received)
}
