package relay

import (
	"time"
)

// Now returns the time of the engine, in nanoseconds: that of all decisions about limits.
func (e *Engine) Now() int64 { return e.now() }

// Silent returns for how long the client has shown no sign of life. It is 0 where that is
// not known: the session has ended, or the client is not read or takes no bytes.
func (r *Relay) Silent() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.client.canShowLife() {
		return 0
	}
	return time.Duration(r.engine.now() - r.client.in.lastLife)
}

// Ping sends the client a ping, and reports whether it could: not to one that gets no
// pings, nor in the middle of something.
func (r *Relay) Ping() bool {
	r.mu.Lock()
	defer r.unlock()
	l := &r.client
	if !l.canShowLife() || l.out.nextPing == 0 {
		return false
	}
	if l.out.pingSent == 0 {
		r.ping(l, r.engine.now())
		if l.out.pingSent == 0 && r.engine.cfg.Pong != 0 {
			return false
		}
		r.schedule(l.nextDeadline())
	}
	return l.out.state == writing
}

// canShowLife tells whether the peer is read, and has not been kept from answering.
func (l *leg) canShowLife() bool {
	r := l.relay
	return r != nil && !r.over && r.ended == nil && l.in.state == reading && l.in.held == nil && !l.waits() && l.out.state == writing &&
		l.out.stalled == 0 && l.other().out.stalled == 0
}
