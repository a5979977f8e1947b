package throttle

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// Engine serves the lines of limits. relay.Engine does. Its methods do not wait.
type Engine interface {
	// Now returns the time of all decisions, in nanoseconds.
	Now() int64
	// Serve says that there may be room in a limit for those in its line.
	Serve(*limits.Limit)
	// Release says that a limit is replaced: those in its line ask their own chain.
	Release(*limits.Limit)
}

// Config is what a Controller works with.
type Config struct {
	Engine Engine
	Ledger Ledger
	// Fetch returns a plan that no watch has brought yet.
	Fetch func(ctx context.Context, name string) (*catalogv1.Plan, error)
	// MaxMessage is the greatest message by what the gateway says; 0 is any.
	MaxMessage int64
	// Observed, when set, is told each time that a limit on observe would have refused a
	// handshake. It must not block.
	Observed func(Who, *limits.Limit)
	// SilentFor is how long a session has shown no life before a newcomer may have it asked
	// whether it is still there, and AnswerWithin how long it has to answer; 0 is 5 s and 2 s.
	SilentFor, AnswerWithin time.Duration
	Log                     *slog.Logger
}

// Controller holds plans: it knows the plans and who was given which, and has the counters
// of each place. It is safe for concurrent use.
//
// A place is kept as long as somebody uses it, and then until nothing is lost when it is
// forgotten: all its buckets are full again.
type Controller struct {
	engine                  Engine
	ledger                  Ledger
	maxMessage              int64
	observed                func(Who, *limits.Limit)
	silentFor, answerWithin time.Duration

	log   *slog.Logger
	fetch *fetcher
	wake  chan struct{} // holds a value when Run has to look

	mu        sync.Mutex
	plans     map[string]*plan               // by name
	versions  map[string]Version             // by name
	wanting   map[string]map[*place]struct{} // places by the plan that they want
	groups    map[groupKey]*group
	places    map[placeKey]*place
	idle      map[*place]struct{}
	evictions map[*place]*eviction
	sat       int64         // how many have sat down
	served    chan struct{} // closed and replaced when a quota may have room
}

// Version is what a route says of the limits of its version.
type Version struct {
	TrafficPlan string // plans/{plan}; "": none
	MaxMessage  int64  // 0: no bound
}

// New returns a controller without plans. Run ends seats that are too many and forgets
// what nobody uses; Close ends it.
func New(cfg Config) *Controller {
	c := &Controller{
		engine: cfg.Engine, ledger: cfg.Ledger, maxMessage: cfg.MaxMessage, observed: cfg.Observed, log: cfg.Log, wake: make(chan struct{}, 1),
		silentFor: cmp.Or(cfg.SilentFor, silentFor), answerWithin: cmp.Or(cfg.AnswerWithin, answerWithin),
		plans: map[string]*plan{}, versions: map[string]Version{}, wanting: map[string]map[*place]struct{}{}, groups: map[groupKey]*group{},
		places: map[placeKey]*place{}, idle: map[*place]struct{}{}, evictions: map[*place]*eviction{}, served: make(chan struct{}),
	}
	c.fetch = newFetcher(cfg.Fetch, c.fetched)
	return c
}

// Close cancels what is being fetched, waits for it, and gives back what is not spent of
// quotas. No session may be there any more.
func (c *Controller) Close() {
	c.fetch.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.places {
		p.close()
		p.held = nil
	}
}

// effects are what is left to do when Controller.mu is free again.
type effects struct {
	groups   []*group        // their sessions have other limits
	replaced []*limits.Limit // nobody asks them any more
	serve    []*limits.Limit // there may be room in them
	fetch    []string        // plans that are wanted and not known
	ended    []ended
}

// ended is a session that is ended.
type ended struct {
	hold *Hold
	why  ending.Ending
}

func (e *effects) replace(l *limits.Limit) {
	if l != nil {
		e.replaced = append(e.replaced, l)
	}
}

// locked runs f with the lock, and then does what it left to do.
func (c *Controller) locked(f func(e *effects)) {
	var e effects
	c.mu.Lock()
	f(&e)
	var holds []*Hold
	for _, g := range e.groups {
		holds = append(holds, g.holds...)
	}
	c.mu.Unlock()
	for _, h := range holds {
		h.apply()
	}
	for _, l := range e.replaced {
		c.engine.Release(l)
	}
	for _, l := range e.serve {
		c.engine.Serve(l)
	}
	for _, name := range e.fetch {
		c.fetch.start(name)
	}
	for _, x := range e.ended {
		x.hold.end(x.why)
	}
}

// SetPlans adds or replaces plans and removes others. When it returns all sessions have
// the limits of the new ones, without a close.
func (c *Controller) SetPlans(put []*catalogv1.Plan, removed []string) {
	c.locked(func(e *effects) {
		for _, name := range removed {
			delete(c.plans, name)
		}
		for _, p := range put {
			c.setPlan(p, e)
		}
	})
}

// setPlan has all places that want a plan hold it. One that is not understood is not held:
// sessions keep what they have, and handshakes are refused.
func (c *Controller) setPlan(p *catalogv1.Plan, e *effects) {
	if known := c.plans[p.GetName()]; known != nil && proto.Equal(known.proto, p) {
		return
	}
	next := newPlan(p, c.maxMessage)
	c.plans[next.name] = next
	if next.wrong != nil {
		c.log.Error("plan not held: this gateway does not understand it", "plan", next.name, "error", next.wrong)
		return
	}
	for place := range c.wanting[next.name] {
		place.hold(c, next, e)
	}
}

// fetched takes a plan that was fetched, unless a watch has brought it meanwhile.
func (c *Controller) fetched(p *catalogv1.Plan) {
	c.locked(func(e *effects) {
		if c.plans[p.GetName()] == nil {
			c.setPlan(p, e)
		}
	})
}

// SetVersions says what holds for versions, and which are gone. It is called before the
// routes that say so are served.
func (c *Controller) SetVersions(put map[string]Version, removed []string) {
	c.locked(func(e *effects) {
		for _, name := range removed {
			delete(c.versions, name)
		}
		for name, v := range put {
			if c.versions[name] == v {
				continue
			}
			before := c.versions[name]
			c.versions[name] = v
			p := c.places[placeKey{place: limits.Version, version: name}]
			if p == nil {
				continue
			}
			c.give(p, v.TrafficPlan, e)
			if before.MaxMessage != v.MaxMessage {
				for g := range p.groups {
					e.groups = append(e.groups, g)
				}
			}
		}
	})
}

// give gives a place a plan, "" for none. One that is not known yet is fetched; until it
// is here the place holds what it held.
func (c *Controller) give(p *place, name string, e *effects) {
	if p.want != name {
		c.unwant(p)
		p.want = name
		if name != "" {
			if c.wanting[name] == nil {
				c.wanting[name] = map[*place]struct{}{}
			}
			c.wanting[name][p] = struct{}{}
		}
	}
	next := c.plans[name]
	switch {
	case name == "" || next != nil && next.wrong == nil:
		p.hold(c, next, e)
	case next == nil:
		e.fetch = append(e.fetch, name)
	}
}

func (c *Controller) unwant(p *place) {
	if all := c.wanting[p.want]; all != nil {
		if delete(all, p); len(all) == 0 {
			delete(c.wanting, p.want)
		}
	}
}

// place returns a place, which is made where there is none.
func (c *Controller) place(key placeKey) *place {
	p := c.places[key]
	if p == nil {
		p = &place{key: key, groups: map[*group]struct{}{}}
		c.places[key] = p
	}
	delete(c.idle, p)
	p.idle = 0
	return p
}

// group returns the group of an application, "" for none, and a version.
func (c *Controller) group(key groupKey) *group {
	g := c.groups[key]
	if g != nil {
		return g
	}
	g = &group{key: key}
	if key.application != "" {
		g.places = append(g.places, c.place(placeKey{limits.Subscription, key.application, key.version}),
			c.place(placeKey{limits.Application, key.application, ""}))
	}
	g.places = append(g.places, c.place(placeKey{limits.Version, "", key.version}))
	for _, p := range g.places {
		p.groups[g] = struct{}{}
	}
	g.arrange()
	c.groups[key] = g
	return g
}

// leave takes a hold out of its group, and forgets the group when it was the last one.
func (c *Controller) leave(h *Hold) {
	g := h.group
	g.remove(h)
	if len(g.holds) > 0 {
		return
	}
	delete(c.groups, g.key)
	for _, p := range g.places {
		if delete(p.groups, g); len(p.groups) > 0 {
			continue
		}
		if p.plan == nil {
			c.forget(p)
			continue
		}
		for other := range c.idle {
			if len(c.idle) < maxIdle {
				break
			}
			c.forget(other)
		}
		p.idle = max(c.engine.Now(), 1)
		c.idle[p] = struct{}{}
		if len(c.idle) == 1 {
			c.look()
		}
	}
}

// forget forgets a place that nobody uses.
func (c *Controller) forget(p *place) {
	p.close()
	c.unwant(p)
	delete(c.places, p.key)
	delete(c.idle, p)
	delete(c.evictions, p)
}

// look makes Run look.
func (c *Controller) look() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

const (
	// maxIdle is how many places that nobody uses are kept.
	maxIdle = 100_000
	// keepIdle is how long one is kept at least, so that who reconnects finds its quota.
	keepIdle = time.Minute
	// sweepEvery is how often they are looked through.
	sweepEvery = 10 * time.Second
)

// Run ends sessions over a tightened limit and forgets places that nobody uses, until ctx
// ends.
func (c *Controller) Run(ctx context.Context) error {
	timer := time.NewTimer(sweepEvery)
	defer timer.Stop()
	for swept := c.engine.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-timer.C:
		}
		now := c.engine.Now()
		next := now + int64(time.Hour)
		c.locked(func(e *effects) {
			if now-swept >= int64(sweepEvery) {
				swept = now
				c.sweep(now)
			}
			if len(c.idle) > 0 {
				next = min(next, swept+int64(sweepEvery))
			}
			next = min(next, c.runEvictions(now, e))
		})
		timer.Reset(time.Duration(max(next-now, 0)))
	}
}

// sweep forgets places.
func (c *Controller) sweep(now int64) {
	for p := range c.idle {
		if now-p.idle >= int64(keepIdle) && p.isFull(now) {
			c.forget(p)
		}
	}
}

// Served says that there may be room in a quota: handshakes and requests that wait for it ask
// again.
func (c *Controller) Served() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.served)
	c.served = make(chan struct{})
}

// SeatsTaken returns how many sessions there are, in their handshake or live, by the plans
// that hold for them.
func (c *Controller) SeatsTaken() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := map[string]int{}
	for _, g := range c.groups {
		connections := len(g.holds) - g.seatless
		if connections == 0 {
			continue
		}
		for i, p := range g.places {
			if p.plan == nil {
				continue
			}
			counted := false
			for _, narrower := range g.places[:i] {
				counted = counted || narrower.plan == p.plan
			}
			if !counted {
				taken[p.plan.name] += connections
			}
		}
	}
	return taken
}
