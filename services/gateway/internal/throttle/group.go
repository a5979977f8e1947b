package throttle

import (
	"slices"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// groupKey is what the sessions of a group have in common.
type groupKey struct{ application, version string }

// group is the sessions, and handshakes, of an application and a version, or of a version
// that asks for no credential: they are at the same places. It is guarded by
// Controller.mu.
type group struct {
	key    groupKey
	places []*place // from narrow to wide; the version's alone where there is no application
	holds  []*Hold

	seatless   int             // of the holds are of plain requests
	handshakes chain           // what a handshake must pass
	messages   chain           // what messages must pass, besides the limits that each session has for itself
	own        []*limits.Limit // what those are like
	maxMessage int64           // of plans
	maxAge     time.Duration   // of plans
	plans      *Plans          // nil: none
}

// arrange makes the chains from what its places hold.
func (g *group) arrange() {
	var handshakes, messages []*limits.Limit
	g.own, g.maxMessage, g.maxAge = nil, 0, 0
	var plans Plans
	for _, p := range g.places {
		if p.plan == nil {
			continue
		}
		g.maxMessage, g.maxAge = smallest(g.maxMessage, p.plan.maxMessage), smallest(g.maxAge, p.plan.maxAge)
		plans.set(p.key.place, p.plan.name)
		for i := range p.held {
			switch h := &p.held[i]; {
			case h.terms.Unit == limits.Handshakes || h.terms.Unit == limits.Sessions:
				handshakes = append(handshakes, h.made)
			case h.perConnection:
				g.own = append(g.own, h.made)
			default:
				messages = append(messages, h.made)
			}
		}
	}
	if g.plans = nil; plans != (Plans{}) {
		g.plans = &plans
	}
	g.handshakes.set(handshakes)
	g.messages.set(messages)
}

// chain is a chain and what it is made of.
type chain struct {
	*limits.Chain // nil where there is nothing
	limits        []*limits.Limit
}

// set makes it of these limits. One of the same limits stays the same.
func (c *chain) set(list []*limits.Limit) {
	if !slices.Equal(c.limits, list) {
		c.Chain, c.limits = newChain(list), list
	}
}

func (p *Plans) set(at limits.Place, plan string) {
	switch at {
	case limits.Subscription:
		p.Plan = plan
	case limits.Application:
		p.ApplicationPlan = plan
	case limits.Version:
		p.TrafficPlan = plan
	}
}

// newChain returns the chain of limits, nil for none. A plan has 16 limits at most, so
// three of them fit into a chain; a plan with more is not held.
func newChain(list []*limits.Limit) *limits.Chain {
	if len(list) == 0 {
		return nil
	}
	return must(limits.NewChain(list...))
}

func must(chain *limits.Chain, err error) *limits.Chain {
	if err != nil {
		panic("throttle: " + err.Error()) // the places are in order, and plans bounded by maxLimits
	}
	return chain
}

// add counts a hold in.
func (g *group) add(h *Hold) {
	h.group, h.index = g, len(g.holds)
	g.holds = append(g.holds, h)
	if h.seatless {
		g.seatless++
	}
}

// remove counts a hold out.
func (g *group) remove(h *Hold) {
	last := len(g.holds) - 1
	g.holds[h.index] = g.holds[last]
	g.holds[h.index].index = h.index
	g.holds[last] = nil
	g.holds = g.holds[:last]
	h.group = nil
	if h.seatless {
		g.seatless--
	}
}
