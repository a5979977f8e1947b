package limits

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Place is what a plan was given to, from narrow to wide.
type Place uint8

// The places that take a plan.
const (
	Subscription Place = iota
	Application
	Version
)

// String returns the place's name.
func (p Place) String() string {
	switch p {
	case Subscription:
		return "subscription"
	case Application:
		return "application"
	}
	return "version"
}

// Limit says in words that it is a limit of the place, and not which: only those whose plan
// it is may know that.
func (p Place) Limit() string {
	if p == Version {
		return "the API's own limit"
	}
	return "a limit of the " + p.String()
}

// Unit is what a limit counts.
type Unit uint8

// The units of rates and quotas. A rate has no sessions, a quota no handshakes.
const (
	Messages   Unit = iota // that begin
	Bytes                  // of payload
	Handshakes             // that reach the limit
	Sessions               // that open
)

// Kind is what sort of limit it is.
type Kind uint8

// The kinds. Of the last three there is a Limit only to name what did something.
const (
	KindRate Kind = iota
	KindQuota
	KindConnections
	KindMessageSize
	KindSessionAge
)

// Direction is which way messages go.
type Direction uint8

// The directions: a limit may hold for both, a demand has one.
const (
	Both Direction = iota
	Inbound
	Outbound
)

// Reaction is what a limit does with what does not fit.
type Reaction uint8

// The reactions, the weakest first: where several limits refuse one message, the
// strongest reaction decides.
const (
	Pause           Reaction = iota // the message waits; for rates
	Drop                            // the message is left out
	Close                           // the session ends
	RefuseHandshake                 // of rates of handshakes and quotas of sessions
)

// Terms say what a limit is.
type Terms struct {
	Place     Place
	Unit      Unit
	Direction Direction // of messages and bytes
	Reaction  Reaction
	Observe   bool // takes what there is and counts hits, and never refuses

	LongestPause time.Duration // of a leg that waits, without a frame passed; not looked at

	Plan, Name string // plans/{plan}, and the limit's name in it; not looked at
}

// Limit is a rate or a quota of a plan at a place. All sessions that share it share the
// Limit; a limit per connection is the session's own, of which there are many: what few need
// is made when it is needed, and what they have in common they share.
type Limit struct {
	bucket  *Bucket // one of the two
	quota   *Quota
	*Terms  // never changed
	hits    atomic.Int64
	line    atomic.Pointer[line] // nil: nobody ever waited
	waiting atomic.Int32         // how many are in line; they are also counted by bucket or quota
	kind    Kind                 // where it is neither
}

// NewRate returns a limit on a rate. Other terms for the same rate are another Limit
// with the same bucket.
func NewRate(t Terms, b *Bucket) (*Limit, error) {
	if t.Unit == Sessions {
		return nil, errors.New("unit: a rate is of messages, bytes or handshakes")
	}
	return &Limit{Terms: &t, bucket: b}, t.check(Pause)
}

// ownLimit is a limit that one connection has for itself, with its bucket.
type ownLimit struct {
	limit  Limit
	bucket Bucket
}

// Own returns limits with the terms and rates of these, each with a bucket of its own that
// is full: those that one connection has for itself.
func Own(now int64, like ...*Limit) []*Limit {
	own, levels := make([]ownLimit, len(like)), make([]level, len(like))
	all := make([]*Limit, len(like))
	for i, l := range like {
		own[i].init(now, l, &levels[i])
		all[i] = &own[i].limit
	}
	return all
}

func (o *ownLimit) init(now int64, like *Limit, full *level) {
	b := like.bucket
	b.mu.Lock()
	o.bucket.rate, full.token, full.depth = b.rate, b.level.Load().token, b.level.Load().depth
	b.mu.Unlock()
	full.origin = now
	o.bucket.level.Store(full)
	o.limit.Terms, o.limit.bucket = like.Terms, &o.bucket
}

// NewQuotaLimit returns a limit on a quota. Other terms for the same quota are another
// Limit with the same Quota.
func NewQuotaLimit(t Terms, q *Quota) (*Limit, error) {
	if t.Unit == Handshakes {
		return nil, errors.New("unit: a quota is of messages, bytes or sessions")
	}
	return &Limit{Terms: &t, quota: q}, t.check(Drop)
}

// check refuses reactions that the unit does not have.
func (t Terms) check(weakest Reaction) error {
	strongest := Close
	if t.Unit == Handshakes || t.Unit == Sessions {
		weakest, strongest = RefuseHandshake, RefuseHandshake
		if t.Direction != Both {
			return errors.New("direction: only messages and bytes have one")
		}
	}
	if !t.Observe && (t.Reaction < weakest || t.Reaction > strongest) {
		return fmt.Errorf("reaction: %d is not one of this limit's", t.Reaction)
	}
	return nil
}

// NewNamed returns what names a limit that is neither a rate nor a quota. It is in no chain.
func NewNamed(kind Kind, t Terms) *Limit { return &Limit{Terms: &t, kind: kind} }

// Kind returns what sort of limit it is.
func (l *Limit) Kind() Kind {
	if l.quota != nil {
		return KindQuota
	}
	return l.kind
}

// Bucket returns the bucket of a rate, nil for a quota.
func (l *Limit) Bucket() *Bucket { return l.bucket }

// Hits returns how often a limit on observe lacked what it would have taken: one for
// each message of a limit on messages, one for each demand of another. It is a lower
// bound of what the limit would have refused.
func (l *Limit) Hits() int64 { return l.hits.Load() }

// Demand is what asks to pass. One of messages, handshakes and sessions is not 0.
type Demand struct {
	Direction  Direction // of messages
	Messages   int64
	Bytes      int64 // payload of the messages' frames that are there
	Handshakes int64
	Sessions   int64
}

// want is how much of d the limit counts.
func (l *Limit) want(d *Demand) int64 { return d.of(l.Unit, l.Direction) }

// of is how much of d a limit counts.
func (d *Demand) of(unit Unit, direction Direction) int64 {
	if direction != Both && direction != d.Direction {
		return 0
	}
	switch unit {
	case Messages:
		return d.Messages
	case Bytes:
		return d.Bytes
	case Handshakes:
		return d.Handshakes
	}
	return d.Sessions
}

// look tells whether n can be taken, and when it can where not.
func (l *Limit) look(now, n int64, whole bool) (answer Verdict, at int64) {
	switch {
	case l.quota != nil:
		return l.quota.look(now, n)
	case l.bucket.fits(now, n, whole):
		return Go, now
	case l.Reaction == Pause:
		return Wait, l.bucket.free(now, n)
	}
	return Refuse, l.bucket.free(now, n)
}

func (l *Limit) take(now, n int64, whole bool) bool {
	if l.quota != nil {
		return l.quota.take(now, n)
	}
	return l.bucket.take(now, n, whole)
}

func (l *Limit) room(now int64) int64 {
	if l.quota != nil {
		return l.quota.room(now)
	}
	return l.bucket.room(now)
}

// giveBack gives back n that was taken at a time.
func (l *Limit) giveBack(taken, now, n int64) {
	if l.quota != nil {
		l.quota.giveBack(taken, n)
	} else {
		l.bucket.giveBack(taken, now, n)
	}
}

func (l *Limit) charge(now, n int64) {
	if l.quota != nil {
		l.quota.charge(now, n)
	} else {
		l.bucket.charge(now, n)
	}
}

// observe takes what there is of n, and counts hits for what is not there, of which w's
// owner is told.
func (l *Limit) observe(now, n int64, w *Waiter) {
	var got int64
	if l.quota != nil {
		got = l.quota.takeSome(now, n)
	} else {
		got = l.bucket.takeSome(now, n)
	}
	if got == n {
		return
	}
	hits := int64(1)
	if l.Unit == Messages {
		hits = n - got
	}
	l.hits.Add(hits)
	if w != nil && w.Hit != nil {
		w.Hit(l, hits)
	}
}
