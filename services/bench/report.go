package bench

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Names of targets.
const (
	alone    = "backend alone"
	tidegate = "Tidegate"
	newSide  = "new"
	oldSide  = "old"

	limited   = "limits"
	unlimited = "none"
)

// table has the results of one measurement in one shape, for all targets.
type table struct {
	measurement
	shape shape
	names []string             // of targets, in order
	bare  map[string]bool      // targets without processes to measure
	found map[string][]*result // by target, one for each round; nil: the target failed
	drops map[string]dropped
}

// dropped says in how many rounds a target failed, and how.
type dropped struct {
	rounds int
	last   error
}

func newTable(s shape, m measurement, targets []*target) *table {
	t := &table{measurement: m, shape: s, bare: map[string]bool{}, found: map[string][]*result{}, drops: map[string]dropped{}}
	for _, target := range targets {
		if t.bare[target.name] = len(target.procs) == 0; !t.bare[target.name] || m.unit != session {
			t.names = append(t.names, target.name)
		}
	}
	return t
}

// add records a target's result in the next round, or its failure.
func (t *table) add(name string, r result, err error) {
	if err != nil {
		t.drops[name] = dropped{t.drops[name].rounds + 1, err}
		t.found[name] = append(t.found[name], nil)
		return
	}
	t.found[name] = append(t.found[name], &r)
}

// median returns the median of f over the rounds in which the target did not fail.
func (t *table) median(name string, f func(*result) float64) float64 {
	var vs []float64
	for _, r := range t.found[name] {
		if r != nil {
			vs = append(vs, f(r))
		}
	}
	return median(vs)
}

func (t *table) cost(name string) float64 {
	return t.median(name, func(r *result) float64 { return r.cost })
}

// ratios returns the ratio of the costs of two targets for each round in which both
// were measured. The two measurements are seconds apart, so slow changes of the
// machine affect both alike.
func (t *table) ratios(name, base string) []float64 {
	var vs []float64
	for i, r := range t.found[name] {
		if b := t.found[base][i]; r != nil && b != nil && b.cost > 0 {
			vs = append(vs, r.cost/b.cost)
		}
	}
	return vs
}

// median returns the middle value, or the mean of the two middle values. It is NaN
// if there are no values.
func median(vs []float64) float64 {
	n := len(vs)
	if n == 0 {
		return math.NaN()
	}
	vs = slices.Sorted(slices.Values(vs))
	return (vs[(n-1)/2] + vs[n/2]) / 2
}

// interval returns a 95 % confidence interval of the median of the distribution
// that the values come from, whatever that distribution is. Its bounds are two of
// the values, with the same number of values outside on either side. A value is
// below the median with probability one half, so the number of values below it is
// binomial; interval counts in from both ends as far as 95 % allow. With fewer than
// 6 values there is no interval.
func interval(vs []float64) (low, high float64, ok bool) {
	n := len(vs)
	k, tail, term := 0, 0.0, math.Pow(0.5, float64(n)) // term is the probability that k values are below
	for tail+term <= 0.025 {
		tail += term
		term *= float64(n-k) / float64(k+1)
		k++
	}
	if k == 0 {
		return 0, 0, false
	}
	vs = slices.Sorted(slices.Values(vs))
	return vs[k-1], vs[n-k], true
}

// print writes the tables as Markdown. It returns an error if a target has no
// result at all in one of them.
func (r *runner) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "%d cores, %s, medians of %d rounds of %v\n\n", runtime.NumCPU(), runtime.Version(), r.cfg.Rounds, r.cfg.Span)
	if r.cfg.compares() {
		r.printSides(w)
	} else {
		for _, t := range r.tables {
			t.print(w)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, t := range r.tables {
		for _, name := range t.names {
			if d := t.drops[name]; d.rounds == r.cfg.Rounds {
				return fmt.Errorf("%s failed in every round of %q, %s: %w", name, t.title, t.shape.title, d.last)
			}
		}
	}
	return nil
}

// print writes one table of proxies. Its ratios are Tidegate's cost divided by that
// of each proxy.
func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "%s; %s\n\n", t.title, t.shape.title)
	columns := []string{"target", t.unit + "s/s", "CPU/" + t.unit, "Tidegate to it", "95 %", "p50", "p99"}
	if t.unit == session {
		columns = []string{"target", "memory/session", "Tidegate to it", "95 %"}
	}
	printRow(w, columns...)
	printRow(w, slices.Repeat([]string{"---"}, len(columns))...)
	for _, name := range t.names {
		ratio, between := "–", "–"
		if name != tidegate && !t.bare[name] && slices.Contains(t.names, tidegate) {
			ratio, between = ratioText(t.ratios(tidegate, name))
		}
		if t.unit == session {
			printRow(w, name, t.costText(name), ratio, between)
			continue
		}
		printRow(w, name,
			number("%.0f", t.median(name, func(r *result) float64 { return r.perSecond })), t.costText(name), ratio, between,
			micros(t.median(name, func(r *result) float64 { return float64(r.p50) })),
			micros(t.median(name, func(r *result) float64 { return float64(r.p99) })))
	}
	fmt.Fprintln(w)
	t.printDrops(w)
}

// printSides writes how two gateways compare, a table for each shape.
func (r *runner) printSides(w io.Writer) {
	a, b, title := r.cfg.sides()
	tables := r.tables
	for i, t := range tables {
		if i == 0 || tables[i-1].shape != t.shape {
			if i > 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintf(w, "%s; %s\n\n", title, t.shape.title)
			printRow(w, "what", a, b, a+" to "+b, "95 %", "rounds", "")
			printRow(w, slices.Repeat([]string{"---"}, 7)...)
		}
		ratios := t.ratios(a, b)
		ratio, between := ratioText(ratios)
		printRow(w, t.short, t.costText(a), t.costText(b), ratio, between, fmt.Sprint(len(ratios)), t.verdict(ratios))
	}
	fmt.Fprintln(w)
	for _, t := range tables {
		t.printDrops(w)
	}
}

// tolerated is the ratio above which the new side counts as slower.
const tolerated = 1.03

// verdict says what the ratios prove.
func (t *table) verdict(ratios []float64) string {
	low, _, ok := interval(ratios)
	switch {
	case !ok || low <= tolerated:
		return ""
	case t.unit == session:
		return "larger"
	default:
		return "slower"
	}
}

// printDrops writes in how many rounds each target failed.
func (t *table) printDrops(w io.Writer) {
	for _, name := range t.names {
		if d := t.drops[name]; d.rounds > 0 {
			why, _, _ := strings.Cut(d.last.Error(), "\n")
			fmt.Fprintf(w, "%s failed in %d of %d rounds of %q, %s, which do not count; the last time: %s\n\n",
				name, d.rounds, len(t.found[name]), t.short, t.shape.title, why)
		}
	}
}

func printRow(w io.Writer, cells ...string) {
	fmt.Fprintf(w, "| %s\t|\n", strings.Join(cells, "\t| "))
}

// costText prints a target's cost, which is unknown for the backend alone.
func (t *table) costText(name string) string {
	switch {
	case t.bare[name]:
		return "–"
	case t.unit == session:
		return number("%.1f KiB", t.cost(name)/1024)
	default:
		return micros(t.cost(name))
	}
}

// ratioText prints the median of ratios and its interval, if there are any.
func ratioText(ratios []float64) (ratio, between string) {
	ratio, between = number("%.2f", median(ratios)), "–"
	if low, high, ok := interval(ratios); ok {
		between = fmt.Sprintf("%.2f to %.2f", low, high)
	}
	return ratio, between
}

// number prints a number, or a dash for NaN.
func number(format string, v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf(format, v)
}

// micros prints nanoseconds in microseconds, with decimals where they matter.
func micros(ns float64) string {
	us := ns / float64(time.Microsecond)
	return number(fmt.Sprintf("%%.%df µs", max(0, 2-int(math.Log10(max(us, 1))))), us)
}
