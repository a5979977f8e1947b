package bench

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// report gathers results by target.
type report struct {
	cfg        Config
	targets    []*target
	echoes     map[string]map[int][]echoResult
	handshakes map[string][]handshakeResult
	memory     map[string][]float64 // bytes per session
}

func newReport(cfg Config) *report {
	return &report{
		cfg:        cfg,
		echoes:     map[string]map[int][]echoResult{},
		handshakes: map[string][]handshakeResult{},
		memory:     map[string][]float64{},
	}
}

func (r *report) addEcho(name string, depth int, m echoResult) {
	if r.echoes[name] == nil {
		r.echoes[name] = map[int][]echoResult{}
	}
	r.echoes[name][depth] = append(r.echoes[name][depth], m)
}
func (r *report) addHandshake(name string, m handshakeResult) {
	r.handshakes[name] = append(r.handshakes[name], m)
}
func (r *report) addMemory(name string, bytes float64) {
	r.memory[name] = append(r.memory[name], bytes)
}

// median returns the middle of the values of f over rows.
func median[R any, V cmp.Ordered](rows []R, f func(R) V) V {
	vs := make([]V, len(rows))
	for i, r := range rows {
		vs[i] = f(r)
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}

// print writes the tables as Markdown, with ratios to nginx where it ran.
func (r *report) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "%d cores, %s, medians of %d rounds of %v; ratios are to nginx in the same round\n\n",
		runtime.NumCPU(), runtime.Version(), r.cfg.Rounds, r.cfg.Span)
	if r.cfg.wants("echo") {
		for _, depth := range depths {
			r.printEcho(w, depth)
		}
	}
	if r.cfg.wants("handshake") {
		r.printHandshakes(w)
	}
	if r.cfg.wants("memory") {
		r.printMemory(w)
	}
	return w.Flush()
}

func (r *report) printEcho(w io.Writer, depth int) {
	fmt.Fprintf(w, "Echo, %d connections, %d bytes, %d in flight\n\n", r.cfg.Conns, r.cfg.Payload, depth)
	fmt.Fprintf(w, "| target\t| messages/s\t| CPU/message\t| ratio\t| p50\t| p99\t|\n|---\t|---\t|---\t|---\t|---\t|---\t|\n")
	cpuOf := func(m echoResult) float64 { return float64(m.cpu) }
	for _, t := range r.targets {
		rows := r.echoes[t.name][depth]
		cpu := median(rows, func(m echoResult) time.Duration { return m.cpu })
		fmt.Fprintf(w, "| %s\t| %.0f\t| %s\t| %s\t| %s\t| %s\t|\n", t.name,
			median(rows, func(m echoResult) float64 { return m.perSecond }),
			cpuText(t, cpu), ratio(t, rows, r.echoes["nginx"][depth], cpuOf),
			micros(median(rows, func(m echoResult) time.Duration { return m.p50 })),
			micros(median(rows, func(m echoResult) time.Duration { return m.p99 })))
	}
	fmt.Fprintln(w)
}

func (r *report) printHandshakes(w io.Writer) {
	fmt.Fprintf(w, "Handshakes with their close, %d clients at once; Tidegate's with a token\n\n", r.cfg.Dialers)
	fmt.Fprintf(w, "| target\t| handshakes/s\t| CPU/handshake\t| ratio\t| p50\t| p99\t|\n|---\t|---\t|---\t|---\t|---\t|---\t|\n")
	cpuOf := func(m handshakeResult) float64 { return float64(m.cpu) }
	for _, t := range r.targets {
		rows := r.handshakes[t.name]
		cpu := median(rows, func(m handshakeResult) time.Duration { return m.cpu })
		fmt.Fprintf(w, "| %s\t| %.0f\t| %s\t| %s\t| %s\t| %s\t|\n", t.name,
			median(rows, func(m handshakeResult) float64 { return m.perSecond }),
			cpuText(t, cpu), ratio(t, rows, r.handshakes["nginx"], cpuOf),
			micros(median(rows, func(m handshakeResult) time.Duration { return m.p50 })),
			micros(median(rows, func(m handshakeResult) time.Duration { return m.p99 })))
	}
	fmt.Fprintln(w)
}

func (r *report) printMemory(w io.Writer) {
	fmt.Fprintf(w, "Memory per idle session, %d sessions, %v after the last handshake, on processes just started\n\n", r.cfg.Idle, r.cfg.Settle)
	fmt.Fprintf(w, "| target\t| KiB/session\t| ratio\t|\n|---\t|---\t|---\t|\n")
	same := func(bytes float64) float64 { return bytes }
	for _, t := range r.targets {
		if rows := r.memory[t.name]; len(t.procs) > 0 {
			fmt.Fprintf(w, "| %s\t| %.1f\t| %s\t|\n", t.name, median(rows, same)/1024, ratio(t, rows, r.memory["nginx"], same))
		}
	}
	fmt.Fprintln(w)
}

// micros prints a time in microseconds, with decimals where they matter.
func micros(d time.Duration) string {
	us := float64(d) / 1e3
	return fmt.Sprintf("%.*f µs", max(0, 2-int(math.Log10(max(us, 1)))), us)
}

func cpuText(t *target, d time.Duration) string {
	if len(t.procs) == 0 {
		return "–"
	}
	return micros(d)
}

// ratio is the median of the ratios of each round, which was measured within
// seconds: what the machine does in minutes is in both.
func ratio[R any](t *target, rows, base []R, f func(R) float64) string {
	if len(t.procs) == 0 || len(base) != len(rows) {
		return "–"
	}
	ratios := make([]float64, len(rows))
	for i := range rows {
		if f(base[i]) == 0 {
			return "–"
		}
		ratios[i] = f(rows[i]) / f(base[i])
	}
	return fmt.Sprintf("%.2f", median(ratios, func(v float64) float64 { return v }))
}
