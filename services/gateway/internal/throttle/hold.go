package throttle

import (
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// Session is what a hold is for. session.Session is.
type Session interface {
	// End ends the session, once; only the first ending counts.
	End(ending.Ending) bool
}

// Transport is what a live session runs on, as far as limits go. relay.Relay is.
type Transport interface {
	SetLimits(ending.Limits)
	// Silent returns for how long the client has shown no sign of life, 0 where that is
	// not known, because it is not read.
	Silent() time.Duration
	// Ping sends the client a ping, and reports whether it could.
	Ping() bool
}

// Plans are the plans that hold for a session, plans/{plan}, or "" for none. They are not
// changed: other plans are another Plans.
type Plans struct {
	Plan            string // of the subscription, or of an application that has none at the version
	ApplicationPlan string // of the application
	TrafficPlan     string // of the version
}

// Hold is what plans let a session do, from its handshake to its end: its seats, and its
// limits. Release gives all of it back.
type Hold struct {
	c     *Controller
	grant *grant.Grant  // the first one
	age   time.Duration // the greatest by what others than plans say; 0: any

	// Guarded by Controller.mu.
	group   *group // nil once it is released
	index   int
	sat     int64         // its number among those who sat down; 0: not yet
	seats   []limits.Seat // those that nobody sits on are free
	own     *limits.Chain // with limits that the session has for itself; nil: it has none
	shared  *limits.Chain // of which own is the chain with more
	session Session
	opened  int64          // when quotas of sessions counted it; 0: none did
	why     *ending.Ending // it was ended before it had a session
	last    *Plans         // those that held when it was released

	seatless bool // of a plain request

	mu        sync.Mutex // of those who set limits, so that the newest are set last
	transport Transport
	given     ending.Limits
}

// who came in. Controller.mu is held, and the hold not released.
func (h *Hold) who() Who { return Who{Version: h.group.key.version, Grant: h.grant, MaxAge: h.age} }

// Bind says which session it is for. If a newcomer has got its seat by then, the session is
// ended.
func (h *Hold) Bind(s Session) {
	h.c.mu.Lock()
	h.session = s
	why := h.why
	h.c.mu.Unlock()
	if why != nil {
		s.End(*why)
	}
}

// end ends the session.
func (h *Hold) end(why ending.Ending) {
	h.c.mu.Lock()
	s := h.session
	if s == nil && h.why == nil {
		h.why = &why
	}
	h.c.mu.Unlock()
	if s != nil {
		s.End(why)
	}
}

// Opened returns when quotas of sessions counted the session, by the engine's clock; 0
// where there are none.
func (h *Hold) Opened() int64 {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	return h.opened
}

// Plans returns the plans that hold now, and after Release those that held last; nil for
// none.
func (h *Hold) Plans() *Plans {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	if h.group == nil {
		return h.last
	}
	return h.group.plans
}

// ReleaseUnbound releases a hold that no session has got.
func (h *Hold) ReleaseUnbound() {
	h.c.mu.Lock()
	bound := h.session != nil
	h.c.mu.Unlock()
	if !bound {
		h.Release()
	}
}

// Release gives back the seats. It may be called more than once, from anywhere.
func (h *Hold) Release() {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	if h.group == nil {
		return
	}
	h.stand()
	h.last = h.group.plans
	h.c.leave(h)
}
