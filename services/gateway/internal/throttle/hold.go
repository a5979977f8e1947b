package throttle

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
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
	c   *Controller
	who Who // the grant is the first one

	// Guarded by Controller.mu.
	group   *group // nil once it is released
	index   int
	sat     int64 // its number among those who sat down; 0: not yet
	seats   [3][2]*limits.Seat
	own     ownChain
	session Session
	opened  int64          // when quotas of sessions counted it; 0: none did
	why     *ending.Ending // it was ended before it had a session
	last    *Plans         // those that held when it was released

	mu        sync.Mutex // of those who set limits, so that the newest are set last
	transport Transport
	given     ending.Limits
}

// ownChain is the chain of a connection that has limits for itself.
type ownChain struct {
	*limits.Chain
	limits []*limits.Limit // its own
	shared *limits.Chain   // with the others
}

// UnknownError says that a plan cannot be held, or that it is not known what is left of a
// quota.
type UnknownError struct {
	Place limits.Place
	Plan  string
	Limit string // its name; "" where it is not about one of the plan's
	Why   string
}

// Error names the plan and the limit.
func (e *UnknownError) Error() string {
	if e.Limit == "" {
		return e.Plan + ": " + e.Why
	}
	return fmt.Sprintf("limit %q of %s: %s", e.Limit, e.Plan, e.Why)
}

// LimitError says which limit refuses a handshake.
type LimitError struct {
	limits.Terms               // those of connections have no unit
	Kind         limits.Kind   // of handshakes a rate, of sessions a quota, or connections
	Limit        int64         // of a rate per Window
	Used         int64         // of a rate as many tokens as are taken of Burst
	Burst        int64         // of a rate
	Window       time.Duration // of a rate or a quota; 0: none, or it varies
	Reset        time.Duration // until there may be room; 0: not known
}

// Error names the plan and the limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("limit %q of %s: %s", e.Name, e.Plan, e.Taken())
}

// Taken says in words how much of the limit is used, and when there may be room.
func (e *LimitError) Taken() string {
	words := fmt.Sprintf("%d of %d used", e.Used, e.Limit)
	if e.Kind == limits.KindRate {
		words = fmt.Sprintf("%d of a burst of %d used, %d come back in %v", e.Used, e.Burst, e.Limit, e.Window)
	}
	if e.Reset > 0 {
		words += fmt.Sprintf(", room in %v", max(e.Reset.Round(time.Second), time.Second))
	}
	return words
}

// Enter lets a handshake in, at the step of the plan's limits: it counts for rates of
// handshakes, and gets a seat wherever connections are bounded, for which it may wait until
// it is known whether others are still there. The error is an *UnknownError, a *LimitError,
// or why ctx ended.
func (c *Controller) Enter(ctx context.Context, who Who) (*Hold, error) {
	if err := c.know(ctx, who); err != nil {
		return nil, err
	}
	h := &Hold{c: c, who: who}
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
			c.observed(h.who, l)
		}
	}
	return d
}

// eachHandshake calls f for each limit of handshakes.
func (g *group) eachHandshake(f func(*held)) {
	for _, p := range g.places {
		for i := range p.held {
			if u := p.held[i].terms.Unit; u == limits.Handshakes || u == limits.Sessions {
				f(&p.held[i])
			}
		}
	}
}

// refusal says what a limit of handshakes refused.
func (c *Controller) refusal(g *group, d limits.Decision, now int64) error {
	e := &LimitError{Terms: d.Limit.Terms, Kind: limits.KindQuota}
	if d.At != math.MaxInt64 {
		e.Reset = time.Duration(max(d.At-now, 0))
	}
	g.eachHandshake(func(h *held) {
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
	if d.Verdict == limits.Wait {
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
	if now.Chain = h.own.Chain; now.Chain == nil {
		now.Chain = g.messages.Chain
	}
	return now, replaced, serve
}

// maxAge returns the greatest age, 0 where plans say nothing. Controller.mu is held.
func (h *Hold) maxAge() time.Duration {
	if h.group == nil || h.group.maxAge == 0 {
		return 0
	}
	return smallest(h.group.maxAge, h.who.MaxAge)
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

// makeOwn makes the limits that the session has for itself, and their chain.
func (h *Hold) makeOwn(g *group) (replaced, serve []*limits.Limit) {
	before, own := slices.Clone(h.own.limits), make([]*limits.Limit, 0, g.own)
	at := h.c.engine.Now()
	for _, p := range g.places {
		for i := range p.held {
			def := &p.held[i]
			if !def.perConnection {
				continue
			}
			made, changed := def.makeOwn(before, at)
			if own = append(own, made); changed != nil {
				serve = append(serve, changed)
			}
		}
	}
	for _, old := range before {
		if old != nil {
			replaced = append(replaced, old)
		}
	}
	switch {
	case len(own) == 0:
		h.own = ownChain{}
	case h.own.shared != g.messages.Chain || !slices.Equal(h.own.limits, own):
		h.own = ownChain{must(g.messages.With(own...)), own, g.messages.Chain}
	}
	return replaced, serve
}

// makeOwn makes a limit that a connection has for itself. It goes on where it was among those
// before, which it is taken out of if it stays the same. Where its rate changes there may be
// room for who waits at the one before.
func (h *held) makeOwn(before []*limits.Limit, at int64) (made, changed *limits.Limit) {
	for i, old := range before {
		if old == nil || old.Place != h.terms.Place || old.Name != h.terms.Name || old.Unit != h.terms.Unit {
			continue
		}
		if old.Bucket().Rate() != h.rate {
			old.Bucket().Rearm(at, h.rate)
			changed = old
		}
		if old.Terms == h.terms {
			before[i] = nil
			return old, changed
		}
		made, _ = limits.NewRate(h.terms, old.Bucket())
		return made, changed
	}
	made, _ = limits.NewRate(h.terms, limits.NewBucket(at, h.rate))
	return made, nil
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
