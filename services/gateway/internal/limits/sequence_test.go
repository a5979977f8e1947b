package limits

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const steps = 150

// What make fuzz sets; make test runs the same sequences each time.
var (
	sequences = flag.Int("sequences", 1000, "how many sequences are run")
	firstSeed = flag.Uint64("first-seed", 0, "seed of the first; the next ones are one higher")
)

// pair is a kind of limit with a reaction at a place.
type pair struct {
	Place    Place
	What     string
	Unit     Unit
	Reaction Reaction
	Observe  bool
}

// pairs are all that there are.
func pairs() []pair {
	var all []pair
	for place := Subscription; place <= Version; place++ {
		for _, unit := range []Unit{Messages, Bytes} {
			for _, r := range []Reaction{Pause, Drop, Close} {
				all = append(all, pair{place, "rate", unit, r, false})
			}
			for _, r := range []Reaction{Drop, Close} {
				all = append(all, pair{place, "quota", unit, r, false})
			}
			all = append(all, pair{place, "rate", unit, 0, true}, pair{place, "quota", unit, 0, true})
		}
		all = append(all,
			pair{place, "rate", Handshakes, RefuseHandshake, false}, pair{place, "rate", Handshakes, 0, true},
			pair{place, "quota", Sessions, RefuseHandshake, false}, pair{place, "quota", Sessions, 0, true})
	}
	return all
}

// world runs the package and the model side by side.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	now   int64
	pairs []pair
	real  []*Limit
	model []*modelLimit
	legs  []*worldLeg
	needs map[*Limit]*int // how often a quota has told that it needs something
	hits  map[pair]int
}

type worldLeg struct {
	direction Direction
	chain     *Chain
	waiter    Waiter
	model     modelLeg
}

func newWorld(t *testing.T, seed uint64, hits map[pair]int) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 9)), hits: hits, needs: map[*Limit]*int{}}
	w.now = w.rng.Int64N(1e12)
	all := pairs()
	for range 1 + w.rng.IntN(6) {
		w.pairs = append(w.pairs, all[w.rng.IntN(len(all))])
	}
	w.pairs = append(w.pairs, all[seed%uint64(len(all))])
	slices.SortStableFunc(w.pairs, func(a, b pair) int { return int(a.Place) - int(b.Place) })
	for _, p := range w.pairs {
		w.add(p)
	}
	for i := range 4 {
		leg := &worldLeg{direction: Inbound + Direction(i%2)}
		var limits []*Limit
		for j, l := range w.real {
			if l.Place == Subscription && j%2 != i/2 && len(w.real) > 1 {
				continue // another subscription's
			}
			limits = append(limits, l)
			leg.model.chain = append(leg.model.chain, w.model[j])
		}
		var err error
		if leg.chain, err = NewChain(limits...); err != nil {
			t.Fatal(err)
		}
		leg.model.end()
		leg.waiter.Owner = leg
		w.legs = append(w.legs, leg)
	}
	return w
}

func (w *world) add(p pair) {
	terms := Terms{Place: p.Place, Unit: p.Unit, Reaction: p.Reaction, Observe: p.Observe}
	if p.Unit == Messages || p.Unit == Bytes {
		terms.Direction = Direction(w.rng.IntN(3))
	}
	var l *Limit
	var err error
	m := &modelLimit{Terms: terms}
	if p.What == "rate" {
		rate := w.rate(p.Unit)
		m.bucket = &modelBucket{rate: rate, at: w.now}
		l, err = NewRate(terms, NewBucket(w.now, rate))
	} else {
		window := Window{Number: 7, End: w.now + w.rng.Int64N(3e9)}
		m.quota = &modelQuota{now: &modelSlice{Window: window}}
		q := NewQuota(window)
		needs := new(int)
		q.OnNeed(func() { *needs++ })
		l, err = NewQuotaLimit(terms, q)
		w.needs[l] = needs
		n := w.amount(p.Unit)
		q.Grant(w.now, window, n)
		m.quota.grant(w.now, window, n)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.real, w.model = append(w.real, l), append(w.model, m)
}

func (w *world) amount(unit Unit) int64 {
	if unit == Bytes {
		return 1 + w.rng.Int64N(2000)
	}
	return 1 + w.rng.Int64N(12)
}

func (w *world) rate(unit Unit) Rate {
	per := []time.Duration{time.Second, 3 * time.Second, time.Minute}[w.rng.IntN(3)]
	return Rate{Amount: w.amount(unit), Per: per, Burst: w.amount(unit)}
}

func (w *world) demand(leg *worldLeg) Demand {
	d := Demand{Direction: leg.direction, Messages: 1, Bytes: w.rng.Int64N(1500)}
	if w.rng.IntN(4) == 0 {
		d.Messages, d.Bytes = 2+w.rng.Int64N(8), w.rng.Int64N(3000)
	}
	return d
}

// ask asks both and compares; after Split it asks again as a caller does.
func (w *world) ask(leg *worldLeg, d Demand, inLine bool) {
	var waiter *Waiter
	var model *modelLeg
	if inLine {
		waiter, model = &leg.waiter, &leg.model
	}
	var before []int64
	for _, l := range leg.model.chain {
		before = append(before, l.hits)
	}
	got, want := leg.chain.Ask(w.now, d, waiter), modelAsk(w.now, leg.model.chain, d, model)
	at := w.now
	if got.Limit != nil {
		at = got.At
		w.hit(got.Limit)
	}
	for i, l := range leg.model.chain {
		if l.hits > before[i] {
			w.hit(w.real[slices.Index(w.model, l)])
		}
	}
	same := got.Verdict == want.Verdict && (got.Limit == nil) == (want.Limit == nil)
	if same && got.Limit != nil {
		same = *got.Limit.Terms == *want.Limit.Terms && at == want.At
	}
	if same && got.Verdict == Split {
		same = got.Messages == want.Messages && got.Bytes == want.Bytes
	}
	if !same {
		w.t.Fatalf("asked %+v: got %+v, the model says %+v (limit %+v)", d, got, want, want.Limit)
	}
	if got.Verdict == Split && got.Messages > 0 {
		d.Messages, d.Bytes = min(d.Messages, got.Messages), min(d.Bytes/2, got.Bytes)
		if d.Messages > 1 {
			w.ask(leg, d, inLine)
		}
	}
}

func (w *world) hit(l *Limit) {
	p := w.pairs[slices.Index(w.real, l)]
	w.hits[p]++
}

// step does one thing.
func (w *world) step() {
	leg := w.legs[w.rng.IntN(len(w.legs))]
	i := w.rng.IntN(len(w.real))
	switch n := w.rng.IntN(100); {
	case n < 15:
		w.now += w.rng.Int64N([]int64{1e3, 1e8, 1e9, 2e10}[w.rng.IntN(4)])
	case n < 55:
		if !leg.waiter.Waits() {
			w.ask(leg, w.demand(leg), true)
		}
	case n < 58:
		w.ask(leg, w.demand(leg), false)
	case n < 64:
		for range 3 {
			w.ask(leg, Demand{Handshakes: 1}, false)
		}
		w.ask(leg, Demand{Sessions: 1}, false)
	case n < 68:
		bytes := w.rng.Int64N(1000)
		leg.chain.Charge(w.now, leg.direction, bytes, nil)
		for _, l := range leg.model.chain {
			n := l.wants(Demand{Direction: leg.direction, Bytes: bytes})
			if l.pass(w.now); n > 0 && l.Observe {
				l.observe(n)
			} else if n > 0 {
				l.charge(n)
			}
		}
	case n < 82:
		if w.real[i].quota != nil {
			w.changeQuota(i)
		} else if n < 72 {
			rate := w.rate(w.real[i].Unit)
			w.model[i].pass(w.now)
			w.model[i].bucket.rearm(rate)
			w.real[i].bucket.Rearm(w.now, rate)
		}
	case n < 96:
		w.serve(i)
	case n < 99:
		if leg.waiter.Leave(); leg.model.in != nil {
			leg.model.out()
		}
		leg.model.end()
	default:
		w.release(i)
	}
}

func (w *world) changeQuota(i int) {
	q, m := w.real[i].quota, w.model[i].quota
	m.pass(w.now)
	number := m.now.Number + w.rng.Int64N(4) - 1
	switch w.rng.IntN(5) {
	case 0, 1:
		end := w.now + w.rng.Int64N(5e9)
		n := w.amount(w.real[i].Unit)
		got := q.Grant(w.now, Window{number, end}, n)
		if want := m.grant(w.now, Window{number, end}, n); got != want {
			w.t.Fatalf("grant of window %d: got %v, the model says %v", number, got, want)
		}
	case 2:
		q.UsedUp(w.now, number)
		m.lack = LackWaits
		if m.now.Number == number {
			m.now.usedUp = true
		} else if m.next != nil && m.next.Number == number {
			m.next.usedUp = true
		}
	case 3:
		if w.rng.IntN(2) == 0 {
			m.lack = Lack(w.rng.IntN(3))
			q.SetLack(m.lack)
			return
		}
		_, left := q.TakeBack(w.now)
		if want := max(0, m.now.left); left != want {
			w.t.Fatalf("took back %d, the model has %d", left, want)
		}
		m.now.left = min(0, m.now.left)
	case 4:
		low := w.rng.Int64N(2*w.amount(w.real[i].Unit)) - w.amount(w.real[i].Unit)
		q.Watch(w.now, low)
		m.watch(low)
		if got := q.Lacked(); got != m.lacked {
			w.t.Fatalf("lacked %d, the model says %d", got, m.lacked)
		}
		m.lacked = 0
	}
}

// serve serves the line of limit i for as long as a turn comes, at most 10 times.
func (w *world) serve(i int) {
	for range 10 {
		got, _ := w.real[i].Next(w.now)
		want := w.model[i].nextInLine(w.now)
		if (got == nil) != (want == nil) || got != nil && &got.Owner.(*worldLeg).model != want {
			w.t.Fatalf("turn of %v, the model says %v", got, want)
		}
		if got == nil {
			return
		}
		leg := got.Owner.(*worldLeg)
		for range 1 + w.rng.IntN(3) {
			if !leg.waiter.Waits() {
				w.ask(leg, w.demand(leg), true)
			}
		}
		leg.waiter.End()
		if leg.model.in == nil {
			leg.model.end()
		}
	}
}

func (w *world) release(i int) {
	for waiter := w.real[i].Release(); waiter != nil; waiter = w.real[i].Release() {
		leg := &waiter.Owner.(*worldLeg).model
		leg.out()
		leg.end()
	}
	if len(w.model[i].line) > 0 {
		w.t.Fatal("the model's line is not empty")
	}
}

// compare compares all levels.
func (w *world) compare() {
	for i, l := range w.real {
		m := w.model[i]
		m.pass(w.now)
		if got, want := l.room(w.now), m.room(); got != want {
			w.t.Fatalf("%+v: room for %d, the model has %d", *l.Terms, got, want)
		}
		if l.bucket != nil {
			if got, want := l.bucket.free(w.now, 1), m.bucket.free(1); got != want {
				w.t.Fatalf("%+v: free at %d, the model says %d", *l.Terms, got, want)
			}
		} else if number, left := l.quota.Left(w.now); number != m.quota.now.Number || left != m.quota.now.left {
			w.t.Fatalf("%+v: window %d with %d, the model has %+v", *l.Terms, number, left, m.quota.now)
		}
		if m.quota != nil && *w.needs[l] != m.quota.needs {
			w.t.Fatalf("%+v: told %d times that it needs something, the model %d times", *l.Terms, *w.needs[l], m.quota.needs)
		}
		if got, want := l.Waiting(), len(m.line); got != want {
			w.t.Fatalf("%+v: %d wait, the model has %d", *l.Terms, got, want)
		}
		if l.Hits() != m.hits {
			w.t.Fatalf("%+v: %d hits, the model has %d", *l.Terms, l.Hits(), m.hits)
		}
	}
}

func runSequence(t *testing.T, seed uint64, hits map[pair]int) {
	w := newWorld(t, seed, hits)
	for i := range steps {
		w.step()
		w.compare()
		if t.Failed() {
			t.Fatalf("seed %d, step %d", seed, i)
		}
	}
}

func TestSequences(t *testing.T) {
	t.Parallel()
	hits := map[pair]int{}
	for i := range uint64(*sequences) {
		seed := *firstSeed + i
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) { runSequence(t, seed, hits) })
		if !ok {
			return
		}
	}
	least := *sequences * steps
	for _, p := range pairs() {
		least = min(least, hits[p])
		if hits[p] < 100 {
			t.Errorf("%+v was hit %d times, want 100", p, hits[p])
		}
	}
	t.Logf("%d pairs, each hit at least %d times", len(pairs()), least)
}

func FuzzSequences(f *testing.F) {
	f.Add(uint64(1000)) // those below are TestSequences
	f.Fuzz(func(t *testing.T, seed uint64) { runSequence(t, seed, map[pair]int{}) })
}
