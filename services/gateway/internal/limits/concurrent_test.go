package limits

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestConcurrentTakesAreExact lets eight goroutines ask while time stands still.
func TestConcurrentTakesAreExact(t *testing.T) {
	t.Parallel()
	const burst, wide, granted = 4000, 1_000_000, 6000
	q := NewQuota(Window{1, second})
	spends, err := NewQuotaLimit(Terms{Place: Application, Reaction: Drop}, q)
	if err != nil {
		t.Fatal(err)
	}
	widest := rateLimit(t, Terms{Reaction: Drop}, Rate{wide, time.Hour, wide})
	narrow := rateLimit(t, Terms{Place: Version, Reaction: Drop}, Rate{burst, time.Hour, burst})
	c := chain(t, widest, spends, narrow)
	var passed atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 3000 {
				if (i+j)%4 == 0 {
					q.Grant(0, Window{1, second}, 1)
				}
				if n := int64(1 + j%3); c.Ask(0, Demand{Direction: Inbound, Messages: n}, nil).Verdict == Go {
					passed.Add(n)
				}
			}
		})
	}
	all.Wait()
	for c.Ask(0, message(0), nil).Verdict == Go {
		passed.Add(1)
	}
	if n := passed.Load(); n != burst {
		t.Errorf("%d messages passed, want the burst, %d", n, burst)
	}
	if left := widest.room(0); left != wide-burst {
		t.Errorf("the widest limit has %d left, want %d", left, wide-burst)
	}
	if _, left := q.Left(0); left != granted-burst {
		t.Errorf("the quota has %d left, want %d", left, granted-burst)
	}
}

// guarded is a leg with its guard.
type guarded struct {
	mu   sync.Mutex
	left bool // for good
	Waiter
}

// work asks, waits, leaves and comes back.
func (l *guarded) work(seed uint64, clock *atomic.Int64, ask func(*guarded) Verdict) {
	rng := rand.New(rand.NewPCG(seed, 5))
	for range 4000 {
		l.mu.Lock()
		if !l.Waits() {
			ask(l)
		} else if rng.IntN(20) == 0 {
			l.Leave()
		}
		l.mu.Unlock()
		clock.Add(rng.Int64N(1e6))
		runtime.Gosched() // to those who grant and serve
	}
	l.mu.Lock()
	l.left = true
	l.Leave()
	l.mu.Unlock()
}

// serveOne gives the first in limit's line its turn.
func serveOne(limit *Limit, clock *atomic.Int64, ask func(*guarded) Verdict) {
	w, _ := limit.Next(clock.Load())
	if w == nil {
		return
	}
	l := w.Owner.(*guarded)
	l.mu.Lock()
	for !l.left && !l.Waits() && ask(l) == Go {
	}
	l.End()
	l.mu.Unlock()
}

// TestConcurrentLines has legs that wait, are served, leave and come back while rates
// and windows change.
func TestConcurrentLines(t *testing.T) {
	t.Parallel()
	rate := Rate{1000, time.Second, 50}
	pause := rateLimit(t, Terms{}, rate)
	other := rateLimit(t, Terms{Place: Version}, Rate{5000, time.Second, 20})
	q := NewQuota(Window{1, second / 2})
	spends, err := NewQuotaLimit(Terms{Place: Version, Reaction: Drop}, q)
	if err != nil {
		t.Fatal(err)
	}
	seen := rateLimit(t, Terms{Place: Version, Observe: true}, Rate{100, time.Second, 1})
	c := chain(t, pause, other, spends, seen)
	var clock, passed, granted, working atomic.Int64
	ask := func(l *guarded) Verdict {
		d := c.Ask(clock.Load(), message(10), &l.Waiter)
		if d.Verdict == Go {
			passed.Add(1)
		}
		return d.Verdict
	}
	var all sync.WaitGroup
	working.Store(8)
	q.Grant(0, Window{1, second / 2}, 3) // those who ask may be done before anything else runs
	granted.Add(3)
	for i := range 8 {
		l := &guarded{}
		l.Owner = l
		all.Go(func() {
			defer working.Add(-1)
			l.work(uint64(i), &clock, ask)
		})
	}
	all.Go(func() {
		for window := int64(1); working.Load() > 0; runtime.Gosched() {
			now := clock.Load()
			if number, _ := q.Left(now); number > window {
				window = number
			}
			if q.Grant(now, Window{window, (window + 1) * second / 2}, 3) {
				granted.Add(3)
			}
			// A smaller burst would forgive what was taken beyond it, and the bound below not hold.
			pause.bucket.Rearm(now, Rate{rate.Amount - now%30, rate.Per, rate.Burst})
		}
	})
	all.Go(func() {
		for working.Load() > 0 {
			for _, limit := range []*Limit{pause, other, spends} {
				serveOne(limit, &clock, ask)
			}
			runtime.Gosched()
		}
	})
	all.Wait()
	if n, most := passed.Load(), clock.Load()*rate.Amount/second+rate.Burst; n > most || n == 0 {
		t.Errorf("%d messages passed, at most %d may", n, most)
	}
	t.Logf("%d passed in %v, %d were granted", passed.Load(), time.Duration(clock.Load()), granted.Load())
	if n := passed.Load(); n > granted.Load() {
		t.Errorf("%d messages passed, %d were granted", n, granted.Load())
	}
	for _, l := range []*Limit{pause, other, spends} {
		if l.Waiting() != 0 {
			t.Errorf("%d wait though all have left", l.Waiting())
		}
	}
}

// TestConcurrentSeats has connections that come and go from many goroutines.
func TestConcurrentSeats(t *testing.T) {
	t.Parallel()
	places := []*Seats{
		NewSeats(Subscription, SeatTerms{Most: 3, Reaction: CloseOldest}),
		NewSeats(Application, SeatTerms{Most: 5}),
		NewSeats(Version, SeatTerms{Most: 4}),
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2000 {
				wants := make([]Want, len(places))
				for i, s := range places {
					wants[i] = Want{Seats: s, Seat: &Seat{}}
				}
				if Sit(wants) != nil {
					continue
				}
				for i, s := range places {
					if taken, _ := s.Taken(); taken > []int{3, 5, 4}[i] {
						t.Errorf("%d sit", taken)
					}
					s.Give(wants[i].Seat)
				}
			}
		})
	}
	all.Wait()
	for _, s := range places {
		if taken, _ := s.Taken(); taken != 0 {
			t.Errorf("%d seats were not given back", taken)
		}
	}
}
