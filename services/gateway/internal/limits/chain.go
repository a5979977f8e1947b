package limits

import (
	"fmt"
	"slices"
)

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
	holding   []*Limit // from narrow to wide
	observing []*Limit
}

// NewChain returns the chain of limits, which are given from narrow to wide. It may keep
// them, so they do not change.
func NewChain(limits ...*Limit) (*Chain, error) {
	if len(limits) > MostLimits {
		return nil, fmt.Errorf("limits: at most %d apply at once", MostLimits)
	}
	c := &Chain{}
	observes := 0
	for i, l := range limits {
		if i > 0 && l.Place < limits[i-1].Place {
			return nil, fmt.Errorf("limits[%d]: must not be narrower than the one before", i)
		}
		if l.Observe {
			observes++
		}
	}
	if observes == 0 {
		c.holding = slices.Clip(limits)
		return c, nil
	}
	for _, l := range limits {
		if l.Observe {
			c.observing = append(c.observing, l)
		} else {
			c.holding = append(c.holding, l)
		}
	}
	return c, nil
}

// Ask decides d: all of it or nothing. Where it must wait, w is put into the line of
// the limit that is free last, and must not ask again before its turn. A handshake has
// no w, and neither has who does not wait in line.
//
// What guards w is held by the caller. Ask does not wait and does not allocate.
func (c *Chain) Ask(now int64, d Demand, w *Waiter) Decision {
	if (w == nil || w.turn == nil) && c.takeQuick(now, &d) {
		c.passed(now, &d, w)
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

// mostClaims is how many limits a chain has that is asked in the quick way.
const mostClaims = 16

// takeQuick takes d in the plain case that there is room in every limit and nobody waits:
// it looks at each limit once. Where it returns false nothing is taken, and nothing decided.
func (c *Chain) takeQuick(now int64, d *Demand) bool {
	var claims [mostClaims]claim
	if len(c.holding) > mostClaims {
		return false
	}
	single := d.Messages <= 1
	for i, l := range c.holding {
		n := l.want(d)
		if n == 0 {
			continue
		}
		if l.waiting.Load() > 0 || !l.claim(&claims[i], now, n, single) {
			return false
		}
	}
	for i := range c.holding {
		if x := &claims[i]; x.word != nil && !x.word.CompareAndSwap(x.from, x.to) {
			giveBack(c.holding[:i], now, now, d) // another was quicker
			return false
		}
	}
	return true
}

// Charge charges the payload of a message's further frames, which always pass, into
// debt if need be. The owner of w, where there is one, is told of hits.
func (c *Chain) Charge(now int64, direction Direction, bytes int64, w *Waiter) {
	d := Demand{Direction: direction, Bytes: bytes}
	for _, l := range c.holding {
		if n := l.want(&d); n > 0 {
			l.charge(now, n)
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
func (c *Chain) Return(taken, now int64, d Demand) { giveBack(c.holding, taken, now, &d) }

func giveBack(to []*Limit, taken, now int64, d *Demand) {
	for _, l := range to {
		if n := l.want(d); n > 0 {
			l.giveBack(taken, now, n)
		}
	}
}

// look asks every limit and takes nothing.
func (c *Chain) look(now int64, d *Demand, w *Waiter) Decision {
	single := d.Messages <= 1
	best := Decision{Messages: d.Messages, Bytes: d.Bytes}
	for i, l := range c.holding {
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
	for i, l := range c.holding {
		n := l.want(d)
		if n == 0 || l.take(now, n, single) {
			continue
		}
		giveBack(c.holding[:i], now, now, d)
		return false
	}
	return true
}
