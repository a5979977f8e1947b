package throttle

import (
	"slices"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// This file is what a live session is given of its plans: its limits, and their changes.

// Limits returns what a session begins with. Attach must follow.
func (h *Hold) Limits() ending.Limits {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.given, _, _ = h.read()
	return h.given
}

// Attach says what the session runs on: from now on changes of its limits reach it. One
// that came since Limits reaches it now.
func (h *Hold) Attach(t Transport) {
	h.mu.Lock()
	h.transport = t
	h.mu.Unlock()
	h.apply()
}

// apply gives the session its newest limits.
func (h *Hold) apply() {
	h.mu.Lock()
	if h.transport == nil {
		h.mu.Unlock()
		return
	}
	given, replaced, serve := h.read()
	if given != h.given {
		h.given = given
		h.transport.SetLimits(given)
	}
	h.mu.Unlock()
	for _, l := range replaced {
		h.c.engine.Release(l)
	}
	for _, l := range serve {
		h.c.engine.Serve(l)
	}
}

// read returns the newest limits of the session, and which of its own were replaced or
// may have room. h.mu is held.
func (h *Hold) read() (now ending.Limits, replaced, serve []*limits.Limit) {
	c := h.c
	c.mu.Lock()
	defer c.mu.Unlock()
	g := h.group
	if g == nil {
		return h.given, nil, nil
	}
	now.MaxMessage = h.maxMessage()
	now.MaxAge = h.maxAge()
	replaced, serve = h.makeOwn(g)
	if now.Chain = h.own; now.Chain == nil {
		now.Chain = g.messages.Chain
	}
	return now, replaced, serve
}

// maxAge returns the greatest age, 0 where plans say nothing. Controller.mu is held.
func (h *Hold) maxAge() time.Duration {
	if h.group == nil || h.group.maxAge == 0 {
		return 0
	}
	return smallest(h.group.maxAge, h.age)
}

// Bounding returns the limit of a plan that ended a session for this reason: for the size
// of a message, or its age. It is nil where it was none of a plan's.
func (h *Hold) Bounding(r ending.Reason) *limits.Limit {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	g := h.group
	if g == nil {
		return nil
	}
	kind := limits.KindMessageSize
	var bounds func(*plan) bool
	switch {
	case r == ending.TooBig && g.maxMessage > 0 && h.maxMessage() == g.maxMessage:
		bounds = func(p *plan) bool { return p.maxMessage == g.maxMessage }
	case r == ending.MaxAge && g.maxAge > 0 && h.maxAge() == g.maxAge:
		kind = limits.KindSessionAge
		bounds = func(p *plan) bool { return p.maxAge == g.maxAge }
	default:
		return nil
	}
	for _, p := range g.places {
		if p.plan != nil && bounds(p.plan) {
			return limits.NewNamed(kind, limits.Terms{Plan: p.plan.name, Name: p.plan.nameOf(kind), Place: p.key.place})
		}
	}
	return nil
}

// maxMessage returns the greatest message in bytes, 0 for any. Controller.mu is held.
func (h *Hold) maxMessage() int64 {
	return smallest(h.group.maxMessage, smallest(h.c.versions[h.group.key.version].MaxMessage, h.c.maxMessage))
}

// MaxAge returns the greatest age of the session, 0 where plans say nothing of it.
func (h *Hold) MaxAge() time.Duration {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	return h.maxAge()
}

// makeOwn makes the limits that the session has for itself, and its chain of them and of those
// that it shares. It returns those that others took the place of, and those that may have room.
// Controller.mu is held.
func (h *Hold) makeOwn(g *group) (replaced, serve []*limits.Limit) {
	now := h.c.engine.Now()
	if h.own == nil {
		if len(g.own) > 0 {
			h.own, h.shared = must(g.messages.WithOwn(now, g.own...)), g.messages.Chain
		}
		return nil, nil
	}
	before := h.own.Own()
	own := make([]*limits.Limit, 0, len(g.own))
	stay := len(before) == len(g.own)
	for _, like := range g.own {
		limit, changed := goOn(like, before, now)
		stay = stay && slices.Contains(before, limit)
		if own = append(own, limit); changed != nil {
			serve = append(serve, changed)
		}
	}
	for _, old := range before {
		if !slices.Contains(own, old) {
			replaced = append(replaced, old)
		}
	}
	switch {
	case len(own) == 0:
		h.own, h.shared = nil, nil
	case !stay || h.shared != g.messages.Chain:
		h.own, h.shared = must(g.messages.With(own...)), g.messages.Chain
	}
	return replaced, serve
}

// goOn returns a limit of a connection's own that is like another. It goes on where the one of
// the same name among those before was, and is that one if it stays the same. Where its rate
// changes there may be room for who waits at the one before.
func goOn(like *limits.Limit, before []*limits.Limit, now int64) (limit, changed *limits.Limit) {
	for _, old := range before {
		if old.Place != like.Place || old.Name != like.Name || old.Unit != like.Unit {
			continue
		}
		if rate := like.Bucket().Rate(); old.Bucket().Rate() != rate {
			old.Bucket().Rearm(now, rate)
			changed = old
		}
		if *old.Terms == *like.Terms {
			return old, changed
		}
		limit, _ = limits.NewRate(*like.Terms, old.Bucket())
		return limit, changed
	}
	return limits.Own(now, like)[0], nil
}

// SetGrant says that the session's grant is another one: it may have other plans.
func (h *Hold) SetGrant(now *grant.Grant) {
	h.c.locked(func(e *effects) {
		g := h.group
		if g == nil || now == nil {
			return
		}
		for _, p := range g.places {
			switch p.key.place {
			case limits.Subscription:
				p.asOf = now.AsOf
				h.c.give(p, now.Plan, e)
			case limits.Application:
				p.asOf = now.AsOf
				h.c.give(p, now.ApplicationPlan, e)
			}
		}
	})
}
