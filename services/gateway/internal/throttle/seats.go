package throttle

import (
	"context"
	mathrand "math/rand/v2"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

const (
	// Those of Config.
	silentFor    = 5 * time.Second
	answerWithin = 2 * time.Second
	// maxProbed is how many sessions of a place are asked at once, and maxLooked how many
	// are looked at for silent ones, the oldest first.
	maxProbed = 64
	maxLooked = 1024
	// probeAgain is how long nobody is looked for again where nobody was silent.
	probeAgain = time.Second
	// evictionTime is what the ends of sessions over a tightened limit are spread over.
	evictionTime = 10 * time.Second
	// maxRetry is the longest hint when to come back.
	maxRetry = 5 * time.Second
)

// retry returns a hint when to come back, different for each session.
func retry() time.Duration {
	const minRetry = maxRetry / 10
	return minRetry + mathrand.N(maxRetry-minRetry+1)
}

// probe asks silent sessions of a place whether they are still there. One is under way at
// a place at most.
type probe struct {
	done   chan struct{} // closed when it is over
	wanted int           // newcomers who wait for a seat
	asked  int           // how many were asked; -1: not known yet
}

// sit takes a seat at each place that bounds connections.
func (c *Controller) sit(ctx context.Context, h *Hold) error {
	full := c.trySit(h)
	if full == nil {
		return nil
	}
	err := full.refusal()
	if full.limit.terms.Reaction != limits.RefuseNewest || !c.probe(ctx, full.place) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	if full = c.trySit(h); full != nil {
		return full.refusal()
	}
	return nil
}

// fullSeats are seats that are all taken.
type fullSeats struct {
	place *place
	limit seatLimit
	named *limits.Limit
	taken int
}

func (f *fullSeats) refusal() *LimitError {
	return &LimitError{
		Terms: *f.named.Terms, Kind: limits.KindConnections, Limit: int64(f.limit.terms.Most), Used: int64(f.taken),
	}
}

// trySit takes the seats, or returns which are full.
func (c *Controller) trySit(h *Hold) (full *fullSeats) {
	c.locked(func(e *effects) {
		var at []*seats
		for _, p := range h.group.places {
			for _, s := range p.seats {
				if s != nil {
					at = append(at, s)
				}
			}
		}
		h.seats = make([]limits.Seat, len(at))
		wants := make([]limits.Want, len(at))
		for i, s := range at {
			h.seats[i].Owner = h
			wants[i] = limits.Want{Seats: s.Seats, Seat: &h.seats[i]}
		}
		hits := make([]int64, len(at))
		for i, s := range at {
			_, hits[i] = s.Taken()
		}
		if refused := limits.Sit(wants); refused != nil {
			full = h.full(refused)
			h.seats = nil
			return
		}
		c.sat++
		h.sat = c.sat
		for i, s := range at {
			if _, now := s.Taken(); now > hits[i] && c.observed != nil {
				c.observed(h.who(), s.named)
			}
			if oldest := wants[i].Replaced; oldest != nil {
				why := ending.New(ending.Replaced, s.named.Place.Limit()+": a newer connection has its seat")
				why.Limit = s.named
				e.ended = append(e.ended, ended{oldest.Owner.(*Hold), why})
			}
		}
	})
	return full
}

// full says which seats of h's places those are.
func (h *Hold) full(refused *limits.Seats) *fullSeats {
	for _, p := range h.group.places {
		for _, s := range p.seats {
			if s != nil && s.Seats == refused {
				taken, _ := s.Taken()
				return &fullSeats{place: p, limit: s.limit, named: s.named, taken: taken}
			}
		}
	}
	return nil
}

// stand gives back all seats. Controller.mu is held.
func (h *Hold) stand() {
	for i := range h.seats {
		if s := h.seats[i].At(); s != nil {
			s.Give(&h.seats[i])
		}
	}
	h.seats = nil
}

// leave gives back the seat among some, if there is one. Controller.mu is held.
func (h *Hold) leave(s *seats) {
	for i := range h.seats {
		if h.seats[i].At() == s.Seats {
			s.Give(&h.seats[i])
		}
	}
}

// freeSeat returns a seat to sit on. Controller.mu is held.
func (h *Hold) freeSeat() *limits.Seat {
	for i := range h.seats {
		if h.seats[i].At() == nil {
			return &h.seats[i]
		}
	}
	more := make([]limits.Seat, len(h.seats)+1)
	for i := range h.seats {
		h.seats[i].At().Move(&h.seats[i], &more[i])
	}
	h.seats = more
	last := &more[len(more)-1]
	last.Owner = h
	return last
}

// asked is a session that was sent a ping.
type asked struct {
	hold      *Hold
	transport Transport
	silent    time.Duration // for how long it was before
}

// probe looks for sessions of a place that have been silent, pings them, and ends those
// that do not answer, no more than there are newcomers. It reports whether it is worth
// trying again.
func (c *Controller) probe(ctx context.Context, p *place) bool {
	c.mu.Lock()
	if x := p.probe; x != nil {
		if x.asked >= 0 && x.wanted >= x.asked {
			c.mu.Unlock()
			return false
		}
		x.wanted++
		c.mu.Unlock()
		select {
		case <-x.done:
			return true
		case <-ctx.Done():
			c.mu.Lock()
			x.wanted--
			c.mu.Unlock()
			return false
		}
	}
	if p.probed != 0 && c.engine.Now()-p.probed < int64(probeAgain) {
		c.mu.Unlock()
		return false
	}
	x := &probe{done: make(chan struct{}), wanted: 1, asked: -1}
	p.probe = x
	holders := c.holders(p)
	c.mu.Unlock()
	silent := c.ping(holders)
	c.mu.Lock()
	x.asked = len(silent)
	c.mu.Unlock()
	if len(silent) > 0 {
		wait := time.NewTimer(c.answerWithin)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done(): // others who wait find their seats taken still
			silent = nil
		}
	}
	gone := answerless(silent)
	c.locked(func(e *effects) {
		c.takeSeats(gone[:min(len(gone), x.wanted)], e)
		p.probe = nil
		if p.probed = 0; x.asked == 0 {
			p.probed = c.engine.Now()
		}
	})
	close(x.done)
	return len(gone) > 0
}

// takeSeats gives the seats of sessions that do not answer to whoever comes, and ends them.
func (c *Controller) takeSeats(gone []*Hold, e *effects) {
	for _, h := range gone {
		if h.group == nil {
			continue
		}
		h.stand()
		e.ended = append(e.ended, ended{h, ending.New(ending.Idle, "no pong from the client within "+c.answerWithin.String()+", and its seat was needed")})
	}
}

// holders returns those who sit at a place and are live, the oldest first. Controller.mu
// is held.
func (c *Controller) holders(p *place) (all []*Hold) {
	if p.seats[holding] == nil {
		return nil
	}
	p.seats[holding].Each(func(s *limits.Seat) bool {
		all = append(all, s.Owner.(*Hold))
		return len(all) < maxLooked
	})
	return all
}

// ping pings those who are silent.
func (c *Controller) ping(holders []*Hold) (silent []asked) {
	for _, h := range holders {
		h.mu.Lock()
		t := h.transport
		h.mu.Unlock()
		if t == nil {
			continue
		}
		if is := t.Silent(); is >= c.silentFor && t.Ping() {
			if silent = append(silent, asked{h, t, is}); len(silent) == maxProbed {
				break
			}
		}
	}
	return silent
}

// answerless returns those who have been silent since: silence has only grown.
func answerless(silent []asked) (gone []*Hold) {
	for _, a := range silent {
		if a.transport.Silent() >= a.silent {
			gone = append(gone, a.hold)
		}
	}
	return gone
}

// eviction ends the newest sessions of a place that has fewer seats than sessions.
type eviction struct {
	next, every int64
}

// evict has the newest of a place end, of which over are too many, spread over some time.
func (c *Controller) evict(p *place, over int, _ *effects) {
	if over == 0 {
		delete(c.evictions, p)
		return
	}
	c.evictions[p] = &eviction{next: c.engine.Now(), every: int64(evictionTime) / int64(over)}
	c.look()
}

// runEvictions ends the sessions that are due, and returns when it has to be called next.
func (c *Controller) runEvictions(now int64, e *effects) int64 {
	next := now + int64(time.Hour)
	for p, x := range c.evictions {
		s := p.seats[holding]
		for ; x.next <= now; x.next += x.every {
			seat := s.TakeNewest()
			if seat == nil {
				delete(c.evictions, p)
				break
			}
			why := ending.New(ending.Throttled, s.named.Place.Limit()+": it is for fewer connections now")
			why.Retry, why.Limit = retry(), s.named
			e.ended = append(e.ended, ended{seat.Owner.(*Hold), why})
		}
		next = min(next, x.next)
	}
	return next
}
