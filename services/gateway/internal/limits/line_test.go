package limits

import (
	"testing"
	"time"
)

// flood runs eight legs that always have a message for as long as the lines are served.
func flood(t *testing.T, chains []*Chain, lines []*Limit, size func(leg int) int64, took func(leg int, n int64)) {
	legs := make([]Waiter, len(chains))
	send := func(i int, now int64) {
		for legs[i].Owner = i; !legs[i].Waits(); {
			d := chains[i].Ask(now, message(size(i)), &legs[i])
			if d.Verdict == Go {
				took(i, size(i))
			} else if d.Verdict != Wait {
				t.Fatalf("got %+v", d)
			}
		}
	}
	for i := range legs {
		send(i, 0)
	}
	for now := int64(0); now < 60*second; now += 10e6 {
		for _, l := range lines {
			for turns := 0; ; turns++ {
				w, _ := l.Next(now)
				if w == nil {
					break
				}
				if turns > 10_000 {
					t.Fatal("the line never ends")
				}
				i := w.Owner.(int)
				send(i, now)
				w.End()
			}
		}
	}
}

func jain(got []int64) float64 {
	var sum, squares float64
	for _, n := range got {
		sum += float64(n)
		squares += float64(n) * float64(n)
	}
	return sum * sum / (float64(len(got)) * squares)
}

// TestEqualParts counts after the first burst, which is the first leg's.
func TestEqualParts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		unit Unit
		rate Rate
		size func(int) int64
	}{
		"messages":                  {Messages, Rate{100, time.Second, 10}, func(int) int64 { return 100 }},
		"messages, burst of 100":    {Messages, Rate{100, time.Second, 100}, func(int) int64 { return 100 }},
		"bytes":                     {Bytes, Rate{100_000, time.Second, 20_000}, func(int) int64 { return 1000 }},
		"bytes, small and great":    {Bytes, Rate{100_000, time.Second, 20_000}, func(i int) int64 { return []int64{10, 4000}[i%2] }},
		"bytes, above the burst":    {Bytes, Rate{100_000, time.Second, 2_000}, func(i int) int64 { return []int64{100, 4000}[i%2] }},
		"one message in 100 ms":     {Messages, Rate{10, time.Second, 1}, func(int) int64 { return 0 }},
		"bytes, as many as a burst": {Bytes, Rate{100_000, time.Second, 4000}, func(int) int64 { return 4000 }},
	} {
		t.Run(name, func(t *testing.T) {
			l := rateLimit(t, Terms{Unit: c.unit}, c.rate)
			got := make([]int64, 8)
			chains := make([]*Chain, 8)
			for i := range chains {
				chains[i] = chain(t, l)
			}
			total := int64(0)
			flood(t, chains, []*Limit{l}, c.size, func(i int, n int64) {
				if c.unit == Messages {
					n = 1
				}
				if total += n; total > c.rate.Burst {
					got[i] += n
				}
			})
			if j := jain(got); j < 0.98 {
				t.Errorf("Jain index %.3f: %v", j, got)
			}
			if allowed := c.rate.Amount*60 - c.rate.Burst; total < allowed*97/100 {
				t.Errorf("%d of %d passed", total, allowed)
			}
		})
	}
}

// TestLinesThatCross has legs that need tokens of two limits whose lines both fill.
func TestLinesThatCross(t *testing.T) {
	t.Parallel()
	for _, rates := range [][2]Rate{
		{{100, time.Second, 1}, {90, time.Second, 1}},
		{{90, time.Second, 1}, {100, time.Second, 1}},
		{{100, time.Second, 1}, {100, time.Second, 1}},
		{{100, time.Second, 100}, {90, time.Second, 50}},
		{{2, time.Second, 1}, {90, time.Second, 1}},
		{{90, time.Second, 1}, {2, time.Second, 1}},
		{{3, time.Second, 1}, {7, time.Second, 1}},
		{{2000, time.Second, 200}, {900, time.Second, 900}},
	} {
		a, b := rateLimit(t, Terms{}, rates[0]), rateLimit(t, Terms{}, rates[1])
		chains := make([]*Chain, 8)
		for i := range chains {
			switch i % 4 {
			case 0:
				chains[i] = chain(t, a)
			case 1:
				chains[i] = chain(t, b)
			default:
				chains[i] = chain(t, a, b)
			}
		}
		got := make([]int64, 8)
		flood(t, chains, []*Limit{a, b}, func(int) int64 { return 0 }, func(i int, _ int64) { got[i]++ })
		part := min(rates[0].Amount, rates[1].Amount, 50) * 60 / 6
		for i, n := range got {
			if n < part/2 {
				t.Errorf("%v: leg %d passed %d, less than half of an equal part, %d: %v", rates, i, n, part, got)
			}
		}
	}
}

func TestQuotaLine(t *testing.T) {
	t.Parallel()
	q := NewQuota(Window{1, second})
	l, err := NewQuotaLimit(Terms{Reaction: Drop}, q)
	if err != nil {
		t.Fatal(err)
	}
	c := chain(t, l)
	var w, behind Waiter
	if d := c.Ask(0, message(0), &w); d.Verdict != Wait || d.At != int64(AnswerWithin) {
		t.Fatalf("without a slice: %+v", d)
	}
	q.Grant(0, Window{1, second}, 1)
	if d := c.Ask(0, message(0), &behind); d.Verdict != Wait {
		t.Fatalf("passed by the line: %+v", d)
	}
	if turn, _ := l.Next(0); turn != &w || c.Ask(0, message(0), &w).Verdict != Go {
		t.Fatal("the first in line did not pass")
	}
	w.End()
	if turn, at := l.Next(0); turn != nil || at != int64(AnswerWithin) {
		t.Fatal("a turn without a slice")
	}
	q.UsedUp(0, 1)
	if turn, _ := l.Next(0); turn != &behind || c.Ask(0, message(0), &behind).Verdict != Refuse {
		t.Fatal("who waits is not told that the window is used up")
	}
}
