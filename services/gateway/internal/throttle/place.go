package throttle

import (
	"slices"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// placeKey says which subscription, application or version a place is. A subscription
// is its application and version, also where there is none.
type placeKey struct {
	place                limits.Place
	application, version string
}

// place is a subscription, an application or a version, with the counters of the plan that
// it was given. All of it is guarded by Controller.mu.
type place struct {
	key    placeKey
	want   string // the plan that it was given; "": none
	plan   *plan  // what holds: that plan, or the one before as long as that cannot be held
	asOf   uint64 // the newest change of the grants that said so
	held   []held // in the order of the plan
	seats  [2]*seats
	groups map[*group]struct{}
	probe  *probe
	probed int64 // when a probe found nobody silent
	idle   int64 // since when nobody uses it; 0: it is used
}

// held is a limit of the place's plan.
type held struct {
	limit
	made    *limits.Limit  // where each connection has its own, what those are like
	bucket  *limits.Bucket // of a rate that is shared
	account Account        // of a quota
}

// seats are the seats of one limit of a place.
type seats struct {
	*limits.Seats
	limit seatLimit
	named *limits.Limit // what it is called
}

// The seats of a place by what their limit does.
const (
	holding = iota
	observing
)

func (s seatLimit) which() int {
	if s.terms.Reaction == limits.ObserveSeats {
		return observing
	}
	return holding
}

// shares tells whether what was taken of a limit stays taken when another one takes its
// place: a rate keeps its name, a quota what it counts.
func (h *held) shares(l *limit) bool {
	switch {
	case h.perConnection || l.perConnection || h.terms.Unit != l.terms.Unit:
		return false
	case h.account != nil:
		return l.rate.Amount == 0 && h.window == l.window && h.terms.Observe == l.terms.Observe
	}
	return l.rate.Amount != 0 && h.terms.Name == l.terms.Name
}

// quotaKey is what a quota of the place counts.
func (p *place) quotaKey(l *limit) QuotaKey {
	return QuotaKey{
		Place: p.key.place, Application: p.key.application, Version: p.key.version,
		Unit: l.terms.Unit, Window: l.window, Observe: l.terms.Observe,
	}
}

// hold has the place hold a plan, nil for none. What other sessions must be told, and whose
// lines must be looked at, goes into e.
func (p *place) hold(c *Controller, next *plan, e *effects) {
	if p.plan == next {
		return
	}
	before := p.held
	p.plan, p.held = next, nil
	if next != nil {
		block := limits.NewBlock(next.sharedRates())
		for i := range next.limits {
			p.held = append(p.held, p.make(c, next.limits[i], block, &before, e))
		}
	}
	for i := range before {
		if before[i].account != nil {
			before[i].account.Close()
		}
		if !before[i].perConnection {
			e.replace(before[i].made)
		}
	}
	p.seat(c, next, e)
	for g := range p.groups {
		g.arrange()
		e.groups = append(e.groups, g)
	}
}

// make makes a limit, which goes on where one of before counted the same, which is taken
// out of it.
func (p *place) make(c *Controller, l limit, block *limits.Block, before *[]held, e *effects) held {
	l.terms.Place = p.key.place
	h := held{limit: l}
	if l.perConnection {
		h.made, _ = limits.NewRate(h.terms, limits.NewBucket(0, h.rate))
		return h
	}
	if i := slices.IndexFunc(*before, func(b held) bool { return b.shares(&l) }); i >= 0 {
		old := (*before)[i]
		*before = slices.Delete(slices.Clone(*before), i, i+1)
		h.bucket, h.account = old.bucket, old.account
		if h.bucket != nil && h.bucket.Rate() != l.rate {
			h.bucket.Rearm(c.engine.Now(), l.rate)
			e.serve = append(e.serve, old.made)
		}
		if h.account != nil && old.quota != l.quota {
			h.account.SetTerms(l.quota)
		}
		if *old.made.Terms == l.terms {
			h.made = old.made
			return h
		}
		e.replace(old.made)
	}
	h.create(c, p, block)
	return h
}

// create makes the limit, with a bucket or an account of its own where there is none yet.
// The terms were tried when the plan came.
func (h *held) create(c *Controller, p *place, block *limits.Block) {
	if h.rate.Amount != 0 {
		if h.bucket == nil && h.terms.Unit == limits.Handshakes {
			block = limits.NewBlock(1)
		}
		if h.bucket == nil {
			h.bucket = block.NewBucket(c.engine.Now(), h.rate)
		}
		h.made, _ = limits.NewRate(h.terms, h.bucket)
		return
	}
	if h.account == nil {
		h.account = c.ledger.Open(p.quotaKey(&h.limit), h.quota)
	}
	h.made, _ = limits.NewQuotaLimit(h.terms, h.account.Quota())
	h.account.SetLimits([]*limits.Limit{h.made})
}

// seat sets the limits of connections at once. Whoever is there when one comes anew gets
// a seat, in the order in which they came.
func (p *place) seat(c *Controller, next *plan, e *effects) {
	var given [2]*seatLimit
	if next != nil {
		for i := range next.seats {
			given[next.seats[i].which()] = &next.seats[i]
		}
	}
	for which, l := range given {
		s := p.seats[which]
		switch {
		case l == nil:
			if p.seats[which] = nil; which == holding {
				delete(c.evictions, p)
			}
			if s != nil {
				for h := range p.holds() {
					h.leave(s)
				}
			}
			continue
		case s == nil:
			s = p.seatAll()
			p.seats[which] = s
		}
		s.limit = *l
		s.named = limits.NewNamed(limits.KindConnections, limits.Terms{Plan: next.name, Name: l.name, Place: p.key.place, Observe: which == observing})
		if over := s.Rearm(l.terms); which == holding {
			c.evict(p, over, e)
		}
	}
}

// seatAll returns seats in which all sit who are there and have come that far.
func (p *place) seatAll() *seats {
	s := &seats{Seats: limits.NewSeats(p.key.place, limits.SeatTerms{Reaction: limits.ObserveSeats, Most: 1 << 30})}
	var all []*Hold
	for h := range p.holds() {
		if h.sat != 0 {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b *Hold) int { return int(a.sat - b.sat) })
	for _, h := range all {
		limits.Sit([]limits.Want{{Seats: s.Seats, Seat: h.freeSeat()}})
	}
	return s
}

// holds calls yield for each session that is at the place or on its way.
func (p *place) holds() func(yield func(*Hold) bool) {
	return func(yield func(*Hold) bool) {
		for g := range p.groups {
			for _, h := range g.holds {
				if !yield(h) {
					return
				}
			}
		}
	}
}

// isFull tells whether nothing is lost when the place is forgotten.
func (p *place) isFull(now int64) bool {
	for i := range p.held {
		if b := p.held[i].bucket; b != nil && !b.Full(now) {
			return false
		}
	}
	return true
}

// close gives back what is not spent of its quotas.
func (p *place) close() {
	for i := range p.held {
		if a := p.held[i].account; a != nil {
			a.Close()
		}
	}
}

// windowLength is how long a window of a quota is, 0 where that varies.
func windowLength(w catalogv1.Quota_Window) (seconds int64) {
	switch w {
	case catalogv1.Quota_WINDOW_MINUTE:
		return 60
	case catalogv1.Quota_WINDOW_HOUR:
		return 3600
	case catalogv1.Quota_WINDOW_DAY:
		return 86400
	case catalogv1.Quota_WINDOW_WEEK:
		return 7 * 86400
	}
	return 0
}
