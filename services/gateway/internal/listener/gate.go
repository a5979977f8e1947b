package listener

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
)

// gate decides which connections are served. There is a number of slots for handshakes in
// progress, of which one address may have a share, and there are spare slots for
// connections that get no such slot: they can reach the gateway's own endpoints, so
// that health checks work under full load, and are refused everything else.
//
//	reserve ─► accept ─► admit ──┬── slot ──────────► handshake ──► leave
//	                             ├── spare slot ────► refusal ────► leave
//	                             └── nil: the connection is closed
//
// A place is reserved before a connection is accepted, so no more are open than there
// are slots. An address that has its share gets no more than half of the spare slots;
// what it opens beyond that is closed at once.
type gate struct {
	slots, spare int
	limit        int // of slots by address; 0: none
	share        int // the same, or half of the slots if that is less
	now          func() time.Time

	mu        sync.Mutex
	reserved  int
	used      int // slots
	usedSpare int
	addresses map[netip.Prefix]*usage
	freed     chan struct{} // closed and replaced when something is given back
	patience  time.Duration // how long admit may still wait
	patient   time.Time     // when patience was brought up to date
}

// usage is what an address has.
type usage struct {
	used, spare int
	progress    time.Time // when a head was complete last, or the first slot was taken
}

// slot is what a connection has until leave.
type slot struct {
	gate    *gate
	network netip.Prefix     // whose it is; not valid: nobody's, it is not counted by address
	spare   bool             // all it gets but the gateway's own endpoints is refusal
	refusal *problem.Problem // of a spare slot
}

// Times in which admit waits, where few slots are shared: many clients at one address
// each get an answer, but silent ones do not keep others waiting for long.
const (
	stalled     = 1500 * time.Millisecond // an address without progress for this long is not waited for
	maxPatience = 10 * time.Second        // at most this much is waited,
	patienceFor = 6                       // and then a second more in each so many
)

func newGate(slots, spare, limit int, now func() time.Time) *gate {
	share := max(slots/2, 1)
	if limit > 0 {
		share = min(share, limit)
	}
	return &gate{
		slots: slots, spare: max(spare, 1), limit: limit, share: share, now: now,
		addresses: map[netip.Prefix]*usage{}, freed: make(chan struct{}), patience: maxPatience, patient: now(),
	}
}

// reserve waits for a slot of either kind. It returns false once ctx has ended.
func (g *gate) reserve(ctx context.Context) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.used+g.usedSpare+g.reserved >= g.slots+g.spare {
		if !g.await(ctx, nil) {
			return false
		}
	}
	g.reserved++
	return true
}

// giveUp gives back what was reserved.
func (g *gate) giveUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reserved--
	g.wake()
}

// admit turns what was reserved into a slot for a connection from a network, which is
// not valid if it does not count. It returns nil for one that is to be closed.
func (g *gate) admit(ctx context.Context, network netip.Prefix) *slot {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reserved--
	for {
		u := g.usage(network)
		refusal := g.refusal(u)
		if refusal == nil || refusal.Status != http.StatusServiceUnavailable || g.used >= g.slots || !g.wait(ctx, u) {
			break
		}
	}
	s := &slot{gate: g}
	if !g.place(s, network) {
		g.wake()
		return nil
	}
	return s
}

// place gives s a slot for a network, or a spare slot. It returns false if the network
// has its share of both.
func (g *gate) place(s *slot, network netip.Prefix) bool {
	u := g.usage(network)
	s.refusal = g.refusal(u)
	switch {
	case s.refusal == nil:
		g.used++
		u.used++
	case network.IsValid() && u.spare >= max(g.spare/2, 1):
		g.forget(network, u)
		return false
	default:
		g.usedSpare++
		u.spare++
	}
	s.network, s.spare = network, s.refusal != nil
	return true
}

// usage returns what a network has, which is added if there is nothing yet.
func (g *gate) usage(network netip.Prefix) *usage {
	if !network.IsValid() {
		return &usage{}
	}
	u := g.addresses[network]
	if u == nil {
		u = &usage{progress: g.now()}
		g.addresses[network] = u
	}
	return u
}

func (g *gate) forget(network netip.Prefix, u *usage) {
	if u.used+u.spare == 0 {
		delete(g.addresses, network)
	}
}

// refusal returns why an address with this usage gets no further slot, nil if it does.
func (g *gate) refusal(u *usage) *problem.Problem {
	switch {
	case g.limit > 0 && u.used >= g.limit:
		return &problem.Problem{
			Status: http.StatusTooManyRequests, Code: problem.AddressBusy, Detail: "too many handshakes of this address are in progress",
			Header: []head.Field{problem.RetryAfter(time.Second)},
		}
	case g.used >= g.slots || u.used >= g.share:
		return &problem.Problem{
			Status: http.StatusServiceUnavailable, Code: problem.Busy, Detail: "too many handshakes are in progress",
			Header: []head.Field{problem.RetryAfter(time.Second)},
		}
	}
	return nil
}

// wait waits until something is given back. It returns false if the address has made
// no progress for long, or enough was waited already.
func (g *gate) wait(ctx context.Context, u *usage) bool {
	began := g.now()
	g.patience = min(maxPatience, g.patience+began.Sub(g.patient)/patienceFor)
	g.patient = began
	left := min(g.patience, u.progress.Add(stalled).Sub(began))
	if left <= 0 {
		return false
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	ok := g.await(ctx, timer.C)
	now := g.now()
	g.patience -= now.Sub(began)
	g.patient = now
	return ok
}

// await waits, without the lock, until something is given back.
func (g *gate) await(ctx context.Context, timeout <-chan time.Time) bool {
	freed := g.freed
	g.mu.Unlock()
	defer g.mu.Lock()
	select {
	case <-freed:
		return true
	case <-timeout:
	case <-ctx.Done():
	}
	return false
}

func (g *gate) wake() {
	close(g.freed)
	g.freed = make(chan struct{})
}

// attribute counts a connection that came from a trusted proxy for its client's
// network, once that is known: it may get a spare slot instead of its slot, or the other
// way round. It returns false, and keeps what it has, if the network has its share of both;
// then it is to be refused or closed.
func (s *slot) attribute(network netip.Prefix) bool {
	g := s.gate
	if s.network.IsValid() || !network.IsValid() {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	had := &g.used
	if s.spare {
		had = &g.usedSpare
	}
	*had-- // what it has does not count against it
	if !g.place(s, network) {
		*had++
		return false
	}
	g.wake()
	return true
}

// headRead notes that the connection's head is complete.
func (s *slot) headRead() {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	if u := s.gate.addresses[s.network]; u != nil {
		u.progress = s.gate.now()
	}
}

// crowded reports whether half of the slots are used, of all or of the share of the
// connection's network: then none is to be kept for a request that may come.
func (s *slot) crowded() bool {
	g := s.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.used > g.slots/2 {
		return true
	}
	u := g.addresses[s.network]
	return u != nil && u.used > max(g.share/2, 1)
}

// leave gives the slot back.
func (s *slot) leave() {
	g := s.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.addresses[s.network]
	if u == nil {
		u = &usage{used: 1, spare: 1}
	}
	if s.spare {
		g.usedSpare--
		u.spare--
	} else {
		g.used--
		u.used--
	}
	g.forget(s.network, u)
	g.wake()
}
