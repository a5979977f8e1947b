package limits

import "fmt"

// Verdict is what a decision says.
type Verdict uint8

// The verdicts.
const (
	Go     Verdict = iota // all of it passes, and is charged
	Split                 // several messages do not fit together; nothing is charged
	Wait                  // ask again when its turn comes; nothing is charged
	Refuse                // as the limit's reaction says; nothing is charged
)

// Decision is the answer to a demand.
type Decision struct {
	Verdict Verdict

	// Limit decided, where the verdict is Wait or Refuse, and will have room at At: the
	// earliest time, if nobody else takes it, and math.MaxInt64 where it is not known.
	Limit *Limit
	At    int64

	// Messages and Bytes are the most that has room now, where the verdict is Split. The
	// caller asks for as many messages as are within both, and for the next one alone.
	Messages int64
	Bytes    int64
}

// MostLimits is how many limits a chain has at most.
const MostLimits = 64

// Chain is all limits that a session's messages, or its handshake, must pass. It does
// not change: other limits are another Chain, of which those that stay are part. Any
// number of goroutines may use it.
type Chain struct {
	own []step // that hold for one connection; the first ones
	*common
}

// common is what sessions of the same places share.
type common struct {
	shared       []step   // the others that hold, from narrow to wide
	observing    []*Limit // in the same order
	ownObserving int      // how many of them, the first ones, are for one connection
}

// NewChain returns the chain of limits, which are given from narrow to wide.
func NewChain(limits ...*Limit) (*Chain, error) {
	if len(limits) > MostLimits {
		return nil, fmt.Errorf("limits: at most %d apply at once", MostLimits)
	}
	for i, l := range limits {
		if i > 0 && l.Place < limits[i-1].Place {
			return nil, fmt.Errorf("limits[%d]: must not be narrower than the one before", i)
		}
	}
	c := &Chain{common: &common{}}
	c.shared, c.observing = divide(limits)
	return c, nil
}

// With returns the chain of a connection that has limits of its own, which come before those
// of c, all of which it shares. c may be nil.
func (c *Chain) With(own ...*Limit) (*Chain, error) {
	if c == nil {
		c = &Chain{common: &common{}}
	}
	if len(own)+len(c.shared)+len(c.observing) > MostLimits {
		return nil, fmt.Errorf("limits: at most %d apply at once", MostLimits)
	}
	with := &Chain{common: c.common}
	var observing []*Limit
	if with.own, observing = divide(own); len(observing) > 0 {
		with.common = &common{c.shared, append(observing, c.observing...), len(observing)}
	}
	return with, nil
}

// WithOwn is With for the Own limits that are like these.
func (c *Chain) WithOwn(now int64, like ...*Limit) (*Chain, error) {
	if c == nil || len(like) != 2 || like[0].Observe || like[1].Observe || c.holding()+len(c.observing) > MostLimits-2 {
		return c.With(Own(now, like...)...)
	}
	// What most connections have for themselves, a rate of messages and one of bytes, is in
	// one piece, of which decisions look at the first three cache lines.
	own := &struct {
		chain  Chain
		steps  [2]step
		levels [2]level
		limits [2]ownLimit
	}{}
	for i := range own.limits {
		own.limits[i].init(now, like[i], &own.levels[i])
		own.steps[i].init(&own.limits[i].limit)
	}
	own.chain = Chain{own: own.steps[:], common: c.common}
	return &own.chain, nil
}

// Own returns the limits that the chain has for one connection.
func (c *Chain) Own() []*Limit {
	all := make([]*Limit, 0, len(c.own)+c.ownObserving)
	for i := range c.own {
		all = append(all, c.own[i].limit)
	}
	return append(all, c.observing[:c.ownObserving]...)
}

// divide parts limits into those that hold and those on observe.
func divide(limits []*Limit) (holding []step, observing []*Limit) {
	observes := 0
	for _, l := range limits {
		if l.Observe {
			observes++
		}
	}
	holding = make([]step, len(limits)-observes)
	next := holding
	for _, l := range limits {
		if l.Observe {
			observing = append(observing, l)
		} else {
			next[0].init(l)
			next = next[1:]
		}
	}
	return holding, observing
}

// Observes tells whether some limits are on observe.
func (c *Chain) Observes() bool { return len(c.observing) > 0 }

// holding is how many limits hold, at the one of a number.
func (c *Chain) holding() int { return len(c.own) + len(c.shared) }

func (c *Chain) at(i int) *step {
	if i < len(c.own) {
		return &c.own[i]
	}
	return &c.shared[i-len(c.own)]
}

// Ask decides d: all of it or nothing. Where it must wait, w is put into the line of
// the limit that is free last, and must not ask again before its turn. A handshake has
// no w, and neither has who does not wait in line: where others wait it is Wait too.
//
// What guards w is held by the caller. Ask does not wait, and allocates
// nothing but the first line of a limit.
func (c *Chain) Ask(now int64, d Demand, w *Waiter) Decision {
	if c.Pass(now, &d, w) {
		return Decision{Messages: d.Messages, Bytes: d.Bytes}
	}
	for {
		answer := c.look(now, &d, w)
		switch answer.Verdict {
		case Go:
			if !c.take(now, &d) {
				continue // another was quicker
			}
			c.passed(now, &d, w)
		case Wait:
			if w != nil {
				w.wait(now, c, &d, &answer)
			}
		}
		return answer
	}
}

// passed is what follows when d was taken.
func (c *Chain) passed(now int64, d *Demand, w *Waiter) {
	w.passed(d)
	for _, l := range c.observing {
		if n := l.want(d); n > 0 {
			l.observe(now, n, w)
		}
	}
}

// Pass takes d in the plain case that there is room in every limit and nobody waits, as
// most that is asked for passes. Where it returns false nothing is taken, and nothing decided:
// then Ask decides.
func (c *Chain) Pass(now int64, d *Demand, w *Waiter) bool {
	if w != nil && w.turn != nil || c.holding() > mostClaims {
		return false
	}
	var claims [mostClaims]claim
	own := len(c.own)
	if !claimAll(claims[:own], c.own, now, d) || !claimAll(claims[own:], c.shared, now, d) {
		return false
	}
	if taken, all := takeAll(claims[:c.holding()]); !all {
		c.giveBack(taken, now, now, d)
		return false
	}
	if w != nil || len(c.observing) > 0 {
		c.passed(now, d, w)
	}
	return true
}

// Charge charges the payload of a message's further frames, which always pass, into
// debt if need be. The owner of w, where there is one, is told of hits.
func (c *Chain) Charge(now int64, direction Direction, bytes int64, w *Waiter) {
	d := Demand{Direction: direction, Bytes: bytes}
	for i := range c.holding() {
		if l := c.at(i).limit; l.want(&d) > 0 {
			l.charge(now, l.want(&d))
		}
	}
	for _, l := range c.observing {
		if n := l.want(&d); n > 0 {
			l.observe(now, n, w)
		}
	}
}

// Return gives back what passed at the time taken and then did not go on. What limits on
// observe took of it stays taken.
func (c *Chain) Return(taken, now int64, d Demand) { c.giveBack(c.holding(), taken, now, &d) }

// giveBack gives back to the first limits, of which there are so many.
func (c *Chain) giveBack(first int, taken, now int64, d *Demand) {
	for i := range first {
		if l := c.at(i).limit; l.want(d) > 0 {
			l.giveBack(taken, now, l.want(d))
		}
	}
}

// look asks every limit and takes nothing.
func (c *Chain) look(now int64, d *Demand, w *Waiter) Decision {
	single := d.Messages <= 1
	best := Decision{Messages: d.Messages, Bytes: d.Bytes}
	for i := range c.holding() {
		l := c.at(i).limit
		n := l.want(d)
		if n == 0 {
			continue
		}
		answer, at := l.look(now, n, single)
		if answer != Refuse && l.waiting.Load() > 0 || w != nil && w.turn == l {
			answer, at = w.inLine(c, i, n, answer, at)
		}
		if answer == Go {
			continue
		}
		if !single {
			c.split(now, &best, l, i, w)
			continue
		}
		if answer > best.Verdict || answer == best.Verdict && l.stronger(&best, at) {
			best.Verdict, best.Limit, best.At = answer, l, at
		}
	}
	return best
}

// stronger tells whether the limit decides rather than the one that decides in best:
// by its reaction, and among equals by the time at which it is free.
func (l *Limit) stronger(best *Decision, at int64) bool {
	if best.Verdict == Refuse && l.Reaction != best.Limit.Reaction {
		return l.Reaction > best.Limit.Reaction
	}
	return at > best.At
}

// split narrows best to what limit i has room for.
func (c *Chain) split(now int64, best *Decision, l *Limit, i int, w *Waiter) {
	best.Verdict = Split
	room := min(l.room(now), w.most(c, i, l))
	if l.Unit == Messages {
		best.Messages = min(best.Messages, room)
	} else {
		best.Bytes = min(best.Bytes, room)
	}
}

// take takes d from every limit, or from none.
func (c *Chain) take(now int64, d *Demand) bool {
	single := d.Messages <= 1
	for i := range c.holding() {
		l := c.at(i).limit
		n := l.want(d)
		if n == 0 || l.take(now, n, single) {
			continue
		}
		c.giveBack(i, now, now, d)
		return false
	}
	return true
}
