package throttle

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// Passage is what plans let a plain request do, until End. It counts as one message
// from the client, and its bodies for bytes of their directions. It takes no seat, counts for no
// rate of handshakes, and knows nothing of limits that each connection has for itself.
type Passage struct {
	c    *Controller
	hold *Hold

	mu     sync.Mutex
	under  *limits.Chain // that it was let in by; nil: there was none
	chain  *limits.Chain // that holds now; nil: all passes
	at     int64         // when it was let in
	looked int64         // when chain was taken
	ahead  int64         // bytes from the client that it was charged for and that have not come yet
	did    []ending.LimitCount
}

// chainAgain is how long a request goes on with the limits that it has.
const chainAgain = int64(time.Second)

// Pass lets a plain request in, whose body has length bytes; -1 is any number.
// Where a limit has no room, whatever its reaction, it is refused: nothing of it was read yet.
// What its bodies have beyond that is charged, into debt if need be. The error is an
// *UnknownError, a *LimitError, or why ctx ended.
func (c *Controller) Pass(ctx context.Context, who Who, length int64) (*Passage, error) {
	if err := c.know(ctx, who); err != nil {
		return nil, err
	}
	p := &Passage{c: c, hold: &Hold{c: c, grant: who.Grant, seatless: true}}
	var err error
	c.locked(func(e *effects) {
		g := c.group(groupKey{who.application(), who.Version})
		g.add(p.hold)
		c.giveAll(g, who, e)
		err = c.isHeld(g)
	})
	if err == nil {
		err = p.enter(ctx, length)
	}
	if err != nil {
		p.hold.Release()
		return nil, err
	}
	return p, nil
}

// enter asks for the request. It waits for a second at most until it is known what is left of
// a quota.
func (p *Passage) enter(ctx context.Context, length int64) error {
	c := p.c
	var late <-chan time.Time // once it waits
	for {
		c.mu.Lock()
		d, err := p.ask(length)
		served := c.served
		c.mu.Unlock()
		if d.Verdict != limits.Wait || d.Limit.Kind() != limits.KindQuota {
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

// ask asks the limits of messages once. A limit on the bytes of answers has no room where it is
// in debt or empty: what the answer will have is not known. Controller.mu is held.
func (p *Passage) ask(length int64) (limits.Decision, error) {
	c, g := p.c, p.hold.group
	chain, now := g.messages.Chain, c.engine.Now()
	if chain == nil {
		return limits.Decision{}, nil
	}
	in := limits.Demand{Direction: limits.Inbound, Messages: 1, Bytes: max(length, 1)}
	for _, d := range []limits.Demand{in, {Direction: limits.Outbound, Bytes: 1}} {
		if answer := chain.Look(now, d); answer.Verdict != limits.Go {
			return answer, c.refusal(g, answer, now)
		}
	}
	var w *limits.Waiter // that hears of hits; it leaves a line at once that it comes into
	if chain.Observes() {
		w = &limits.Waiter{Hit: p.hit}
		defer w.Leave()
	}
	d := chain.Ask(now, in, w)
	if d.Verdict != limits.Go {
		return d, c.refusal(g, d, now)
	}
	p.under, p.chain, p.at, p.looked, p.ahead = chain, chain, now, now, in.Bytes
	return d, nil
}

// Charge charges bytes of a body, which have passed.
func (p *Passage) Charge(direction limits.Direction, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if direction == limits.Inbound {
		paid := min(bytes, p.ahead)
		p.ahead -= paid
		bytes -= paid
	}
	if bytes == 0 {
		return
	}
	now := p.c.engine.Now()
	if now-p.looked > chainAgain {
		p.chain, p.looked = p.hold.messages(), now
	}
	if p.chain == nil {
		return
	}
	w := limits.Waiter{Hit: p.hit}
	p.chain.Charge(now, direction, bytes, &w)
}

// hit notes what a limit on observe would have refused.
func (p *Passage) hit(l *limits.Limit, hits int64) {
	p.did = ending.AddLimits(p.did, []ending.LimitCount{{Limit: l, Hits: uint64(hits)}})
}

// Did returns what limits on observe have counted since the last call.
func (p *Passage) Did() []ending.LimitCount {
	p.mu.Lock()
	defer p.mu.Unlock()
	did := p.did
	p.did = nil
	return did
}

// At returns when the request was let in, by the engine's clock.
func (p *Passage) At() int64 { return p.at }

// MaxBody returns the greatest message by plans, in bytes; math.MaxInt64 where they say none.
func (p *Passage) MaxBody() int64 {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if g := p.hold.group; g != nil && g.maxMessage > 0 {
		return g.maxMessage
	}
	return math.MaxInt64
}

// Plans returns the plans that hold, nil for none.
func (p *Passage) Plans() *Plans { return p.hold.Plans() }

// End gives back what was charged for and has not come. It may be called more than once.
func (p *Passage) End() {
	p.mu.Lock()
	if p.under != nil && p.ahead > 0 {
		p.under.Return(p.at, p.c.engine.Now(), limits.Demand{Direction: limits.Inbound, Bytes: p.ahead})
	}
	p.ahead = 0
	p.mu.Unlock()
	p.hold.Release()
}

// messages returns what messages must pass, nil for nothing.
func (h *Hold) messages() *limits.Chain {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	if h.group == nil {
		return nil
	}
	return h.group.messages.Chain
}
