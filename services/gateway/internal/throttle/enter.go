package throttle

import (
	"context"
	"math"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// Who asks to come in.
type Who struct {
	Version string       // apis/{api}/versions/{version}
	Grant   *grant.Grant // nil where the version asks for no credential
	// MaxAge is the greatest age of a session by what its version and the gateway say; 0: none.
	MaxAge time.Duration
}

func (w *Who) application() string {
	if w.Grant == nil {
		return ""
	}
	return w.Grant.Application
}

// Enter lets a handshake in, at the step of the plan's limits: it counts for rates of
// handshakes, and gets a seat wherever connections are bounded, for which it may wait until
// it is known whether others are still there. The error is an *UnknownError, a *LimitError,
// or why ctx ended.
func (c *Controller) Enter(ctx context.Context, who Who) (*Hold, error) {
	if err := c.know(ctx, who); err != nil {
		return nil, err
	}
	h := &Hold{c: c, grant: who.Grant, age: who.MaxAge}
	var err error
	c.locked(func(e *effects) {
		g := c.group(groupKey{who.application(), who.Version})
		g.add(h)
		c.giveAll(g, who, e)
		if err = c.isHeld(g); err == nil {
			err = c.count(h)
		}
	})
	if err == nil {
		err = c.sit(ctx, h)
	}
	if err != nil {
		h.Release()
		return nil, err
	}
	return h, nil
}

// plans are the plans that who was given.
func (c *Controller) plansOf(who Who) (p Plans) {
	p.TrafficPlan = c.versions[who.Version].TrafficPlan
	if who.Grant != nil {
		p.Plan, p.ApplicationPlan = who.Grant.Plan, who.Grant.ApplicationPlan
	}
	return p
}

// PlansOf returns the plans that who was given, nil for none.
func (c *Controller) PlansOf(who Who) *Plans {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.plansOf(who); p != (Plans{}) {
		return &p
	}
	return nil
}

// know fetches the plans that are not known.
func (c *Controller) know(ctx context.Context, who Who) error {
	c.mu.Lock()
	plans := c.plansOf(who)
	var unknown []*UnknownError
	for place, name := range [...]string{limits.Subscription: plans.Plan, limits.Application: plans.ApplicationPlan, limits.Version: plans.TrafficPlan} {
		if name != "" && c.plans[name] == nil {
			unknown = append(unknown, notKnown(limits.Place(place), name))
		}
	}
	c.mu.Unlock()
	for _, plan := range unknown {
		done := c.fetch.start(plan.Plan)
		if done == nil {
			return plan
		}
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func notKnown(at limits.Place, plan string) *UnknownError {
	return &UnknownError{Place: at, Plan: plan, Why: "the plan is not known yet"}
}

// giveAll gives the places of g the plans that who's grant says, unless another session's
// grant is newer.
func (c *Controller) giveAll(g *group, who Who, e *effects) {
	plans := c.plansOf(who)
	for _, p := range g.places {
		switch p.key.place {
		case limits.Version:
			c.give(p, plans.TrafficPlan, e)
			continue
		case limits.Subscription:
			if p.isNewer(g, who.Grant) {
				c.give(p, plans.Plan, e)
			}
		case limits.Application:
			if p.isNewer(g, who.Grant) {
				c.give(p, plans.ApplicationPlan, e)
			}
		}
	}
}

// isNewer tells whether a grant of a handshake says what a place's plan is: the grants of
// its live sessions are kept up to date.
func (p *place) isNewer(g *group, by *grant.Grant) bool {
	if by.AsOf < p.asOf && (len(p.groups) > 1 || len(g.holds) > 1) {
		return false
	}
	p.asOf = by.AsOf
	return true
}

// isHeld reports which plan of a group is not held as its place wants it.
func (c *Controller) isHeld(g *group) error {
	for _, p := range g.places {
		if p.want == "" {
			continue
		}
		switch known := c.plans[p.want]; {
		case known == nil:
			return notKnown(p.key.place, p.want)
		case known.wrong != nil:
			return &UnknownError{Place: p.key.place, Plan: p.want, Why: "this gateway does not understand the plan: " + known.wrong.Error()}
		}
	}
	return nil
}

// count counts an attempt for the rates of handshakes, and looks whether a session may
// open.
func (c *Controller) count(h *Hold) error {
	chain := h.group.handshakes.Chain
	if chain == nil {
		return nil
	}
	now := c.engine.Now()
	if d := c.ask(h, now, limits.Demand{Handshakes: 1}); d.Verdict != limits.Go {
		return c.refusal(h.group, d, now)
	}
	if d := chain.Look(now, limits.Demand{Sessions: 1}); d.Verdict == limits.Refuse {
		return c.refusal(h.group, d, now)
	}
	return nil
}

// ask asks the limits of handshakes, and tells of those on observe that lacked something.
// The lock is held, so that nobody else asks them.
func (c *Controller) ask(h *Hold, now int64, demand limits.Demand) limits.Decision {
	before := map[*limits.Limit]int64{}
	if c.observed != nil {
		h.group.eachHandshake(func(x *held) {
			if x.terms.Observe {
				before[x.made] = x.made.Hits()
			}
		})
	}
	d := h.group.handshakes.Ask(now, demand, nil)
	for l, hits := range before {
		if l.Hits() > hits {
			c.observed(h.who(), l)
		}
	}
	return d
}

// each calls f for each rate and quota.
func (g *group) each(f func(*held)) {
	for _, p := range g.places {
		for i := range p.held {
			f(&p.held[i])
		}
	}
}

// eachHandshake calls f for each limit of handshakes.
func (g *group) eachHandshake(f func(*held)) {
	g.each(func(h *held) {
		if u := h.terms.Unit; u == limits.Handshakes || u == limits.Sessions {
			f(h)
		}
	})
}

// refusal says what a limit that sessions share refused.
func (c *Controller) refusal(g *group, d limits.Decision, now int64) error {
	e := &LimitError{Terms: *d.Limit.Terms, Kind: limits.KindQuota}
	if d.At != math.MaxInt64 {
		e.Reset = time.Duration(max(d.At-now, 0))
	}
	g.each(func(h *held) {
		switch {
		case h.made != d.Limit:
		case h.bucket != nil:
			rate := h.bucket.Rate()
			e.Kind, e.Limit, e.Burst, e.Window = limits.KindRate, rate.Amount, rate.Burst, rate.Per
			e.Used = rate.Burst - h.bucket.Room(now)
		default:
			e.Limit, e.Used = h.quota.Amount, h.quota.Amount
			e.Window = time.Duration(windowLength(h.window)) * time.Second
		}
	})
	if d.Verdict == limits.Wait && e.Kind == limits.KindQuota {
		return &UnknownError{Place: e.Place, Plan: e.Plan, Limit: e.Name, Why: "what is left of it is not known"}
	}
	return e
}

// Open counts a session that opens for the quotas of sessions. It is called right before
// the 101, and may wait for a second until it is known what is left. The errors are those
// of Enter.
func (h *Hold) Open(ctx context.Context) error {
	c := h.c
	var late <-chan time.Time // once it waits
	for {
		c.mu.Lock()
		if h.group == nil || h.group.handshakes.Chain == nil {
			c.mu.Unlock()
			return nil
		}
		now := c.engine.Now()
		d := c.ask(h, now, limits.Demand{Sessions: 1})
		var err error
		if d.Verdict == limits.Go {
			h.opened = max(now, 1)
		} else {
			err = c.refusal(h.group, d, now)
		}
		served := c.served
		c.mu.Unlock()
		if d.Verdict != limits.Wait {
			return err
		}
		if late == nil {
			late = time.After(limits.AnswerWithin)
		}
		select {
		case <-served:
		case <-late:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Unopen gives back what Open counted: the 101 did not go out.
func (h *Hold) Unopen() {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	if h.group != nil && h.group.handshakes.Chain != nil && h.opened != 0 {
		h.group.handshakes.Return(h.opened, h.c.engine.Now(), limits.Demand{Sessions: 1})
	}
}
