package relay

import (
	"bytes"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// minutesOf returns an engine whose minutes a test sets.
func minutesOf(cfg Config) (e *Engine, set func(minute)) {
	var now atomic.Int64
	e = NewEngine(cfg)
	e.SetMinute(func(int64) int64 { return now.Load() * 60 })
	set = func(m minute) {
		now.Store(int64(m))
		e.setClock(e.now())
	}
	set(1)
	return e, set
}

// TestMinutes: what is admitted in a minute is counted in it, also when its peer takes it
// in a later one.
func TestMinutes(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		cfg := quick()
		cfg.Write = time.Hour
		e, set := minutesOf(cfg)
		r := newRigOn(t, e, m, ending.Terms{}, nil, nil)
		r.client.send(text("one"))
		r.backend.expect(text("one"))
		set(2)
		const messages = 400
		big := bytes.Repeat([]byte("x"), 64<<10)
		r.client.keepLittle()
		done := make(chan error, 1)
		go func() {
			var err error
			for i := 0; i < messages && err == nil; i++ {
				_, err = r.backend.Write(wireFrame{0x82, big}.bytes(false))
			}
			done <- err
		}()
		var admitted ending.Count
		r.until(t, "the client's leg is stalled", func() bool {
			if r.Relay.client.out.stalled == 0 {
				return false
			}
			src := &r.Relay.backend.in
			admitted = src.count
			admitted.Add(&src.held.count)
			set(3)
			return true
		})
		for range messages {
			r.client.expect(wireFrame{0x82, big})
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		r.client.send(text("three"))
		r.backend.expect(text("three"))
		var all ending.Totals
		r.until(t, "all is counted", func() bool {
			all = r.totals()
			return all.FromClient.Messages == 2 && all.FromBackend.Messages == messages && r.Relay.backend.in.held == nil
		})
		small := func(n uint64) ending.Count { return ending.Count{Messages: 1, Frames: 1, Payload: n, Wire: n + 6} }
		want := []ending.Usage{
			{Minute: 60, Totals: ending.Totals{FromClient: small(3)}},
			{Minute: 120, Totals: ending.Totals{FromBackend: admitted}},
			{Minute: 180, Totals: ending.Totals{FromClient: small(5), FromBackend: all.FromBackend.Minus(admitted)}},
		}
		if diff := cmp.Diff(want, r.Collect()); diff != "" {
			t.Errorf("collected (- want, + got):\n%s", diff)
		}
		if again := r.Collect(); again != nil {
			t.Errorf("collected again: %+v", again)
		}
		r.client.send(text("end"))
		r.backend.expect(text("end"))
		r.hangUp()
		o := r.outcome(t)
		if diff := cmp.Diff([]ending.Usage{{Minute: 180, Totals: ending.Totals{FromClient: small(3)}}}, o.Uncollected); diff != "" {
			t.Errorf("uncollected (- want, + got):\n%s", diff)
		}
	})
}

// TestMinutesAreExact admits, relays later, lets minutes pass and collects, at random:
// each minute has what was admitted in it.
func TestMinutesAreExact(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		now := minute(1)
		r := &Relay{engine: NewEngine(quick()), minute: now}
		want, got := map[int64]ending.Totals{}, map[int64]ending.Totals{}
		var held []minute
		collect := func() {
			for _, u := range r.tally.take(r.minute, r.totals()) {
				sum := got[u.Minute]
				sum.Add(&u.Totals)
				got[u.Minute] = sum
			}
		}
		for range 300 {
			switch rnd.IntN(6) {
			case 0:
				now += minute(rnd.IntN(3))
			case 1, 2:
				r.turnMinute(now)
				held = append(held, now)
			case 3, 4:
				if len(held) == 0 {
					break
				}
				i := rnd.IntN(len(held))
				of := held[i]
				held = append(held[:i], held[i+1:]...)
				n := ending.Count{Messages: rnd.Uint64N(3), Frames: rnd.Uint64N(3), Payload: rnd.Uint64N(100), Wire: 1 + rnd.Uint64N(100)}
				sum := want[int64(of)*60]
				if src := r.legs()[rnd.IntN(2)]; src == &r.client {
					r.relayed(src, &n, of)
					sum.FromClient.Add(&n)
				} else {
					r.relayed(src, &n, of)
					sum.FromBackend.Add(&n)
				}
				want[int64(of)*60] = sum
			case 5:
				collect()
			}
		}
		collect()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d (- want, + got):\n%s", seed, diff)
		}
	}
}

// TestAMinuteCostsNothing: what is counted for the present minute allocates nothing.
func TestAMinuteCostsNothing(t *testing.T) {
	r := &Relay{engine: NewEngine(quick()), minute: 1}
	n := ending.Count{Messages: 1, Wire: 1}
	if allocs := testing.AllocsPerRun(100, func() { r.turnMinute(1); r.relayed(&r.client, &n, 1) }); allocs != 0 || r.tally.notes != nil {
		t.Errorf("%v allocations, want none", allocs)
	}
}

func aLimit(t *testing.T, name string) *limits.Limit {
	t.Helper()
	l, err := limits.NewRate(limits.Terms{Plan: "plans/gold", Name: name, Reaction: limits.Pause}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestWhatLimitsDid is collected by the minute and kept for the record and the live view.
func TestWhatLimitsDid(t *testing.T) {
	rate, quota, edited := aLimit(t, "messages-rate"), aLimit(t, "messages-per-day"), aLimit(t, "messages-rate")
	r := &Relay{engine: NewEngine(quick()), minute: 1}
	r.tally.limit(rate).Dropped += 2
	r.tally.limit(quota).Hits++
	r.tally.limit(rate).Dropped++
	r.turnMinute(2)
	r.tally.limit(edited).Dropped += 4 // the plan was edited, and the limit kept its name
	want := []ending.Usage{
		{Minute: 60, Limits: []ending.LimitCount{{Limit: rate, Dropped: 3}, {Limit: quota, Hits: 1}}},
		{Minute: 120, Limits: []ending.LimitCount{{Limit: edited, Dropped: 4}}},
	}
	same := cmp.Comparer(func(a, b *limits.Limit) bool { return a == b })
	if diff := cmp.Diff(want, r.tally.take(r.minute, r.totals()), same); diff != "" {
		t.Errorf("collected (- want, + got):\n%s", diff)
	}
	r.tally.limit(quota).Hits++
	all := []ending.LimitCount{{Limit: rate, Dropped: 7}, {Limit: quota, Hits: 2}}
	for range 2 { // looking changes nothing
		if got, since := r.Limits(); !cmp.Equal(all, got, same) || !since.IsZero() {
			t.Errorf("Limits = %+v, %v, want %+v, and no pause", got, since, all)
		}
	}
}

// TestPauses: a pause is counted when it begins, its time as it passes, and it lasts until
// the leg waits at no limit.
func TestPauses(t *testing.T) {
	a, b := aLimit(t, "a"), aLimit(t, "b")
	var s tally
	is := func(want ...ending.LimitCount) {
		t.Helper()
		if diff := cmp.Diff(want, s.all(), cmp.Comparer(func(a, b *limits.Limit) bool { return a == b })); diff != "" {
			t.Errorf("(- want, + got):\n%s", diff)
		}
	}
	if s.resume(ending.Client, 5); s.notes != nil || s.pausedSince() != 0 {
		t.Error("who never paused resumes, and that costs memory")
	}
	s.pause(ending.Client, a, 100)
	s.pause(ending.Client, a, 110) // still waits
	s.countPauses(130)
	is(ending.LimitCount{Limit: a, Pauses: 1, Paused: 30})
	s.pause(ending.Backend, a, 140)
	s.pause(ending.Client, b, 150)
	is(ending.LimitCount{Limit: a, Pauses: 2, Paused: 50}, ending.LimitCount{Limit: b, Pauses: 1})
	if got := s.pausedSince(); got != 100 {
		t.Errorf("paused since %d, want 100: before it waited at b, it waited at a", got)
	}
	s.resume(ending.Client, 160)
	if got := s.pausedSince(); got != 140 {
		t.Errorf("paused since %d, want 140", got)
	}
	s.resume(ending.Backend, 200)
	s.resume(ending.Backend, 300)
	is(ending.LimitCount{Limit: a, Pauses: 2, Paused: 110}, ending.LimitCount{Limit: b, Pauses: 1, Paused: 10})
	if got := s.pausedSince(); got != 0 {
		t.Errorf("paused since %d, want not at all", got)
	}
}

// TestTheLimitThatEndsASession is in the record.
func TestTheLimitThatEndsASession(t *testing.T) {
	e, set := minutesOf(quick())
	r := newRigOn(t, e, mode{}, ending.Terms{}, nil, nil)
	l := limits.NewNamed(limits.KindConnections, limits.Terms{Plan: "plans/gold", Name: "connections"})
	set(9)
	over := ending.New(ending.MaxAge, "")
	over.Limit = l
	r.End(over)
	r.client.expectClose(1012, "MAX_AGE")
	r.hangUp()
	o := r.outcome(t)
	want := []ending.LimitCount{{Limit: l, Closed: 1}}
	if o.Minute != 9*60 || len(o.Uncollected) != 1 || o.Uncollected[0].Minute != 9*60 || len(o.Limits) != 1 || o.Limits[0] != want[0] || o.Uncollected[0].Limits[0] != want[0] {
		t.Errorf("outcome = %+v, want %+v in minute 9", o, want)
	}
}
