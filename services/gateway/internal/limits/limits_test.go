package limits

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

const second = int64(time.Second)

func rateLimit(t testing.TB, terms Terms, rate Rate) *Limit {
	t.Helper()
	l, err := NewRate(terms, NewBucket(0, rate))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func chain(t testing.TB, limits ...*Limit) *Chain {
	t.Helper()
	c, err := NewChain(limits...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func message(bytes int64) Demand { return Demand{Direction: Inbound, Messages: 1, Bytes: bytes} }

func TestFromFullExactlyTheBurstPasses(t *testing.T) {
	t.Parallel()
	for _, rate := range []Rate{
		{Amount: 3, Per: time.Second, Burst: 5},
		{Amount: 1, Per: time.Hour, Burst: 1},
		{Amount: 700_000_000, Per: time.Second, Burst: 1000},
		{Amount: 7, Per: time.Minute, Burst: 7},
	} {
		c := chain(t, rateLimit(t, Terms{Reaction: Drop}, rate))
		now := int64(5)
		for i := range rate.Burst {
			if d := c.Ask(now, message(0), nil); d.Verdict != Go {
				t.Fatalf("%+v: message %d did not pass", rate, i)
			}
		}
		d := c.Ask(now, message(0), nil)
		if d.Verdict != Refuse {
			t.Fatalf("%+v: more than the burst passed", rate)
		}
		if c.Ask(d.At-1, message(0), nil).Verdict == Go || c.Ask(d.At, message(0), nil).Verdict != Go {
			t.Errorf("%+v: At is not the first time with room", rate)
		}
	}
}

// TestWindows counts every window that begins and ends with a message.
func TestWindows(t *testing.T) {
	t.Parallel()
	type passed struct{ at, amount int64 }
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 3))
		rate := Rate{Amount: 1 + rng.Int64N(1000), Per: time.Second, Burst: 1 + rng.Int64N(500)}
		c := chain(t, rateLimit(t, Terms{Unit: Bytes, Reaction: Drop}, rate))
		greatest := rate.Burst * 3 / 2
		var all []passed
		for now := int64(0); len(all) < 300; now += rng.Int64N(second / 20) {
			n := 1 + rng.Int64N(greatest)
			if c.Ask(now, message(n), nil).Verdict == Go {
				all = append(all, passed{now, n})
			}
		}
		for i := range all {
			sum := int64(0)
			for _, p := range all[i:] {
				sum += p.amount
				window := p.at - all[i].at
				if most := (window*rate.Amount)/second + 1 + max(rate.Burst, greatest); sum > most {
					t.Fatalf("seed %d: %d bytes in %v, at most %d may pass", seed, sum, time.Duration(window), most)
				}
			}
		}
	}
}

// TestStrongestReactionDecides shows who decides where several limits refuse.
func TestStrongestReactionDecides(t *testing.T) {
	t.Parallel()
	one := Rate{Amount: 1, Per: time.Second, Burst: 1}
	pause := rateLimit(t, Terms{Place: Subscription}, Rate{Amount: 1, Per: time.Hour, Burst: 1})
	drop := rateLimit(t, Terms{Place: Application, Reaction: Drop}, one)
	closes := rateLimit(t, Terms{Place: Version, Reaction: Close}, one)
	wide := rateLimit(t, Terms{Place: Version}, Rate{Amount: 9, Per: time.Second, Burst: 9})
	c := chain(t, pause, drop, closes, wide)
	c.Ask(0, message(0), nil)
	for _, step := range []struct {
		now int64
		by  *Limit
	}{{0, closes}, {second, nil}, {second, closes}} {
		d := c.Ask(step.now, message(0), nil)
		if step.by == nil {
			if d.Verdict != Wait || d.Limit != pause {
				t.Errorf("only the pausing limit is empty, but the decision is %+v", d)
			}
			closes.charge(step.now, 1)
		} else if d.Verdict != Refuse || d.Limit != step.by {
			t.Errorf("at %d: got %+v", step.now, d)
		}
	}
	if left := wide.room(second); left != 9 {
		t.Errorf("refused messages were charged: %d left of 9", left)
	}
}

// TestTakeGivesBack is what happens when another takes the last token after the look.
func TestTakeGivesBack(t *testing.T) {
	t.Parallel()
	rate := Rate{5, time.Second, 5}
	q := NewQuota(Window{1, second})
	q.Grant(0, Window{1, second}, 5)
	spends, err := NewQuotaLimit(Terms{Reaction: Drop}, q)
	if err != nil {
		t.Fatal(err)
	}
	free := rateLimit(t, Terms{}, rate)
	empty := rateLimit(t, Terms{Place: Version}, rate)
	empty.charge(0, 5)
	c := chain(t, free, spends, empty)
	if c.take(0, &Demand{Messages: 2}) {
		t.Fatal("took from an empty bucket")
	}
	if _, left := q.Left(0); left != 5 || free.room(0) != 5 {
		t.Errorf("%d of 5 left of the rate and %d of 5 of the quota", free.room(0), left)
	}
	if q.take(0, 6) || empty.bucket.take(0, 1, true) {
		t.Error("took what is not there")
	}
	// The window turns between a take and the giving back: the next one gains nothing.
	q.Grant(0, Window{2, 2 * second}, 5)
	if !q.take(second-1, 2) {
		t.Fatal("the slice is not there")
	}
	if number, left := q.Left(second); number != 2 || left != 5 {
		t.Fatalf("window %d has %d", number, left)
	}
	q.giveBack(second-1, 2)
	if _, left := q.Left(second); left != 5 {
		t.Errorf("what was given back to a window that is over is in the next: %d", left)
	}
}

// TestDebt has a message of several frames.
func TestDebt(t *testing.T) {
	t.Parallel()
	l := rateLimit(t, Terms{Unit: Bytes}, Rate{100, time.Second, 100})
	c := chain(t, l)
	if c.Ask(0, message(10), nil).Verdict != Go {
		t.Fatal("the first frame did not pass")
	}
	c.Charge(0, Inbound, 490, nil)
	d := c.Ask(0, message(1), nil)
	if want := 4*second + second/100; d.Verdict != Wait || d.At != want {
		t.Errorf("got %+v, want to wait until the debt of 400 is paid, %d", d, want)
	}
	if c.Ask(d.At, message(1), nil).Verdict != Go {
		t.Error("no room when the debt is paid")
	}
}

func TestOldClock(t *testing.T) {
	t.Parallel()
	b := NewBucket(0, Rate{Amount: 1, Per: time.Hour, Burst: 2})
	now := int64(0)
	for range 2000 { // 27 years in which nothing else asks for two weeks
		now += 5 * 24 * int64(time.Hour)
		if b.room(now) != 2 || !b.take(now, 2, true) || b.take(now, 1, true) {
			t.Fatalf("wrong after %v", time.Duration(now))
		}
	}
	now += 1 << 60
	if !b.take(now, 2, true) || b.take(now, 1, true) {
		t.Fatal("wrong after 36 idle years")
	}
	b.charge(now, 1<<62)
	if b.take(now+int64(time.Hour), 1, true) {
		t.Fatal("debt is forgotten")
	}
}

func TestRefusedTerms(t *testing.T) {
	t.Parallel()
	b := NewBucket(0, Rate{1, 1, 1})
	q := NewQuota(Window{})
	for _, terms := range []Terms{
		{Unit: Messages, Reaction: RefuseHandshake}, {Unit: Handshakes, Reaction: Drop},
		{Unit: Handshakes, Reaction: RefuseHandshake, Direction: Inbound}, {Unit: Sessions, Reaction: RefuseHandshake},
	} {
		if _, err := NewRate(terms, b); err == nil {
			t.Errorf("a rate with %+v", terms)
		}
	}
	for _, terms := range []Terms{
		{Unit: Messages, Reaction: Pause}, {Unit: Handshakes, Reaction: RefuseHandshake}, {Unit: Sessions, Reaction: Close},
	} {
		if _, err := NewQuotaLimit(terms, q); err == nil {
			t.Errorf("a quota with %+v", terms)
		}
	}
	for _, rate := range []Rate{{0, 1, 1}, {1, 0, 1}, {1, 1, 0}, {1, time.Hour, 1 << 40}, {1, 1 << 60, 1}} {
		if rate.Check() == nil {
			t.Errorf("a bucket of %+v", rate)
		}
	}
	wide := rateLimit(t, Terms{Place: Version}, Rate{1, 1, 1})
	if _, err := NewChain(wide, rateLimit(t, Terms{}, Rate{1, 1, 1})); err == nil {
		t.Error("a chain from wide to narrow")
	}
	if _, err := NewChain(make([]*Limit, MostLimits+1)...); err == nil {
		t.Error("a chain of too many limits")
	}
}

func TestNothingAllocates(t *testing.T) {
	four := fourPlaces(t)
	tight := chain(t, rateLimit(t, Terms{Reaction: Pause}, Rate{1, time.Hour, 1}))
	var now int64
	var w Waiter
	quota := NewQuota(Window{1, 1 << 60})
	quota.Grant(0, Window{1, 1 << 60}, 1<<40)
	spends, _ := NewQuotaLimit(Terms{Reaction: Drop}, quota)
	quotas := chain(t, spends)
	for name, f := range map[string]func(){
		"go":     func() { now += second; four.Ask(now, message(10), nil) },
		"split":  func() { tight.Ask(now, Demand{Messages: 9}, nil) },
		"charge": func() { four.Charge(now, Inbound, 9, nil) },
		"quota":  func() { quotas.Ask(0, message(1), nil) },
		"line": func() {
			tight.Ask(now, message(10), &w)
			w.Leave()
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// TestReturn gives back what passed: as if it had not, but for limits on observe.
func TestReturn(t *testing.T) {
	hour := Rate{Amount: 1, Per: time.Hour, Burst: 10}
	quota := NewQuota(Window{1, second})
	quota.Grant(0, Window{1, second}, 100)
	quota.Grant(0, Window{2, 2 * second}, 100)
	spends, err := NewQuotaLimit(Terms{Unit: Bytes, Reaction: Drop}, quota)
	if err != nil {
		t.Fatal(err)
	}
	rate, observed := rateLimit(t, Terms{}, hour), rateLimit(t, Terms{Observe: true}, hour)
	c := chain(t, rate, spends, observed)
	d := Demand{Direction: Inbound, Messages: 8, Bytes: 60}
	if answer := c.Ask(0, d, nil); answer.Verdict != Go {
		t.Fatalf("Ask(%+v) = %+v, want it to go", d, answer)
	}
	if number, left := quota.Left(second); number != 2 || left != 100 {
		t.Fatalf("window %d has %d left, want the next one untouched", number, left)
	}
	c.Return(0, 0, Demand{Direction: Inbound, Messages: 3, Bytes: 20})
	if got := rate.room(0); got != 5 {
		t.Errorf("the rate has room for %d, want 5", got)
	}
	if got := observed.room(0); got != 2 {
		t.Errorf("the limit on observe has room for %d, want 2", got)
	}
	if _, before := quota.Left(0); before != 60 {
		t.Errorf("the window that it passed in has %d left, want 60", before)
	}
	if _, after := quota.Left(second); after != 100 {
		t.Errorf("the next window has %d left, want 100", after)
	}
}

// TestReturnLate gives back late: what a rate has had since is not given once more, nor is
// anything given to a window of a quota that it was not taken from.
func TestReturnLate(t *testing.T) {
	for _, test := range []struct{ after, room int64 }{{0, 10}, {second / 2, 5}, {second, 0}, {2 * second, 0}} {
		rate := rateLimit(t, Terms{}, Rate{Amount: 10, Per: time.Second, Burst: 10})
		c := chain(t, rate)
		d := Demand{Direction: Inbound, Messages: 10}
		c.Ask(0, d, nil)
		c.Ask(test.after, Demand{Direction: Inbound, Messages: rate.room(test.after)}, nil) // what has come meanwhile
		c.Return(0, test.after, d)
		if got := rate.room(test.after); got != test.room {
			t.Errorf("given back after %v there is room for %d, want %d", time.Duration(test.after), got, test.room)
		}
	}
	q := NewQuota(Window{1, second})
	spends, err := NewQuotaLimit(Terms{Reaction: Drop}, q)
	if err != nil {
		t.Fatal(err)
	}
	for number := int64(1); number <= 3; number++ {
		q.Grant((number-1)*second, Window{number, number * second}, 10)
	}
	chain(t, spends).Return(0, 2*second, Demand{Direction: Inbound, Messages: 3})
	for number := int64(2); number <= 3; number++ {
		if left, known := q.LeftOf(number); left != 10 || !known {
			t.Errorf("window %d has %d left (known: %v), want 10", number, left, known)
		}
	}
}

// TestDebtIsBounded takes and gives back more than numbers hold, many times: debt ends
// somewhere, and never becomes room.
func TestDebtIsBounded(t *testing.T) {
	for _, n := range []int64{1 << 20, 1 << 47, 1 << 60} {
		slow := rateLimit(t, Terms{Unit: Bytes}, Rate{Amount: 1, Per: 24 * time.Hour, Burst: 1})
		q := NewQuota(Window{1, math.MaxInt64})
		spends, err := NewQuotaLimit(Terms{Unit: Bytes, Reaction: Drop}, q)
		if err != nil {
			t.Fatal(err)
		}
		q.SetLack(LackAllows)
		c := chain(t, slow, spends)
		one := Demand{Direction: Inbound, Messages: 1, Bytes: n}
		for range 40 {
			c.Charge(1, Inbound, n, nil)
			spends.take(1, n, true)
			if _, left := q.Left(1); left >= 0 || slow.bucket.fits(1, 1, true) {
				t.Fatalf("%d left of the quota after %d was charged, and the rate has room: %v", left, n, slow.bucket.fits(1, 1, true))
			}
		}
		for range 80 {
			slow.giveBack(1, 1, n)
			if slow.room(1) > 1 || slow.bucket.free(1, 1) < 1 {
				t.Fatalf("room for %d, free at %d", slow.room(1), slow.bucket.free(1, 1))
			}
		}
		if answer := c.Look(1, one); answer.Verdict != Wait && answer.Verdict != Go {
			t.Errorf("Look(%+v) = %+v", one, answer)
		}
	}
}

// TestHit tells who asked of hits, by Ask and by Charge.
func TestHit(t *testing.T) {
	hour := Rate{Amount: 1, Per: time.Hour, Burst: 10}
	messages, bytes := rateLimit(t, Terms{Observe: true}, hour), rateLimit(t, Terms{Observe: true, Unit: Bytes}, hour)
	c := chain(t, messages, bytes)
	got := map[*Limit]int64{}
	w := Waiter{Hit: func(l *Limit, hits int64) { got[l] += hits }}
	c.Ask(0, Demand{Direction: Inbound, Messages: 14, Bytes: 5}, &w)
	c.Charge(0, Inbound, 20, &w)
	c.Charge(0, Inbound, 20, nil)
	if got[messages] != 4 || got[bytes] != 1 {
		t.Errorf("told of %d hits of messages and %d of bytes, want 4 and 1", got[messages], got[bytes])
	}
	if messages.Hits() != 4 || bytes.Hits() != 2 {
		t.Errorf("counted %d hits of messages and %d of bytes, want 4 and 2", messages.Hits(), bytes.Hits())
	}
}

// fourPlaces returns a chain with rates of messages and of bytes that each connection has
// for itself, and rates of both and a quota of messages at each place.
func fourPlaces(t testing.TB) *Chain { return sessions(t, 1)[0] }

// sessions returns such chains of so many connections, which share all but their own.
func sessions(t testing.TB, n int) (all []*Chain) {
	rates := func(at Place) []*Limit {
		block, rate := NewBlock(2), Rate{Amount: 1 << 40, Per: time.Second, Burst: 1 << 40}
		var both [2]*Limit
		for i, unit := range []Unit{Messages, Bytes} {
			var err error
			if both[i], err = NewRate(Terms{Place: at, Unit: unit}, block.NewBucket(0, rate)); err != nil {
				t.Fatal(err)
			}
		}
		return both[:]
	}
	var shared []*Limit
	for at := Subscription; at <= Version; at++ {
		shared = append(append(shared, rates(at)...), bigQuota(t, at))
	}
	others, own := chain(t, shared...), rates(Subscription)
	for range n {
		c, err := others.WithOwn(0, own...)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// bigQuota returns a limit on a quota with a slice that no benchmark spends.
func bigQuota(t testing.TB, at Place) *Limit {
	q := NewQuota(Window{1, 1 << 62})
	q.Grant(0, Window{1, 1 << 62}, 1<<60)
	l, err := NewQuotaLimit(Terms{Place: at, Reaction: Drop}, q)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func BenchmarkAsk(b *testing.B) {
	one := chain(b, rateLimit(b, Terms{}, Rate{1 << 40, time.Second, 1 << 40}))
	full := chain(b, rateLimit(b, Terms{Reaction: Drop}, Rate{1, time.Hour, 1}))
	full.Ask(0, message(0), nil)
	for _, bench := range []struct {
		name  string
		chain *Chain
	}{{"One", one}, {"FourPlaces", fourPlaces(b)}, {"Quota", chain(b, bigQuota(b, Subscription))}, {"Refused", full}} {
		b.Run(bench.name, func(b *testing.B) {
			now := int64(0)
			for b.Loop() {
				now += 100
				bench.chain.Ask(now, Demand{Direction: Inbound, Messages: 16, Bytes: 2048}, nil)
			}
		})
	}
	four := fourPlaces(b)
	b.Run("FourPlacesParallel", func(b *testing.B) {
		b.RunParallel(func(p *testing.PB) {
			for now := int64(0); p.Next(); now += 100 {
				four.Ask(now, Demand{Direction: Inbound, Messages: 16, Bytes: 2048}, nil)
			}
		})
	})
}

// BenchmarkAskCold asks for messages of 50 sessions that share their places, each time after
// the caches were filled with other things, as they are by the kernel between two messages,
// with one worker and with two. ns/ask is the median: others may have the core for a while.
func BenchmarkAskCold(b *testing.B) {
	chains := sessions(b, 50)
	for name, workers := range map[string]int{"One": 1, "Two": 2} {
		b.Run(name, func(b *testing.B) {
			took := make([][]time.Duration, workers)
			var all sync.WaitGroup
			for i := range took {
				all.Go(func() { took[i] = askCold(chains[25*i:][:25], b.N) })
			}
			all.Wait()
			sorted := slices.Sorted(slices.Values(slices.Concat(took...)))
			b.ReportMetric(float64(sorted[len(sorted)/2]), "ns/ask")
		})
	}
}

func askCold(chains []*Chain, n int) (took []time.Duration) {
	junk := make([]int64, 1<<17) // 1 MiB
	var w Waiter
	for i := range n {
		for j := 0; j < len(junk); j += 8 {
			junk[j]++
		}
		c, now := chains[i%len(chains)], int64(i)*1000
		began := time.Now()
		c.Ask(now, Demand{Direction: Inbound, Messages: 1, Bytes: 128}, &w)
		took = append(took, time.Since(began))
	}
	return took
}
