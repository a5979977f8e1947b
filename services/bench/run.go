package bench

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// shape is how many workers a proxy has, or how many threads that work at once.
type shape struct {
	flag    string // in -shapes
	title   string
	workers int
}

// The shapes' names in -shapes.
const (
	one   = "one"
	cores = "cores"
)

func shapes() []shape {
	return []shape{{one, "one worker", 1}, {cores, "one worker for each core", runtime.NumCPU()}}
}

// starter starts a target.
type starter struct {
	name string
	// start runs the target in front of the backend, with dir as its own folder.
	// stop is never nil, and ends whatever was started, even after an error.
	start func(ctx context.Context, s shape, dir, backend string) (t *target, stop func(), err error)
}

// measurement is something that is measured for every target.
type measurement struct {
	kind  string // in -skip
	unit  string // what costs something
	short string // what the cost is
	title string // and how it is measured
	run   func(context.Context, *Config, *target) (result, error)
}

// Units that a cost is counted for.
const (
	message   = "message"
	request   = "request"
	handshake = "handshake"
	session   = "session"
)

// result is the result of one measurement of one target.
type result struct {
	perSecond float64
	cost      float64       // per unit: nanoseconds of CPU or bytes of memory, of the proxy's processes
	p50, p99  time.Duration // of a message there and back, or from connect to 101
}

// memory is measured on fresh processes: what earlier measurements left behind
// would count as memory without sessions.
func memory(c *Config) measurement {
	return measurement{
		"memory", session, "memory per idle session",
		fmt.Sprintf("Memory per idle session, %d sessions, %v after the last handshake, on processes just started", c.Idle, c.Settle), idle,
	}
}

// loads are the measurements of CPU, which share the processes of a round.
func loads(c *Config) []measurement {
	var all []measurement
	for _, depth := range []int{1, 16} {
		all = append(all, measurement{
			"echo", message, fmt.Sprintf("CPU per message, %d in flight", depth),
			fmt.Sprintf("Echo, %d connections, %d bytes, %d in flight", c.Conns, c.Payload, depth),
			func(ctx context.Context, c *Config, t *target) (result, error) { return echo(ctx, c, t, depth) },
		})
	}
	all = append(all, measurement{
		"handshake", handshake, "CPU per handshake",
		fmt.Sprintf("Handshakes with their close, %d clients at once; Tidegate's with a token", c.Dialers), handshakes,
	})
	if c.Limits { // which hold alike for both
		return all
	}
	all = append(all, measurement{
		"handshake", handshake, "CPU per handshake, API key",
		fmt.Sprintf("Handshakes with their close, %d clients at once; Tidegate's with an API key", c.Dialers),
		func(ctx context.Context, c *Config, t *target) (result, error) {
			return handshakes(ctx, c, t.withKey())
		},
	})
	if c.Against != "" { // a commit that may have no HTTP beside the socket
		return all
	}
	return append(all, measurement{
		"request", request, "CPU per request",
		fmt.Sprintf("HTTP beside the socket, %d connections that are kept, GET, %d bytes back; Tidegate's with a token", c.Conns, bodySize),
		func(ctx context.Context, c *Config, t *target) (result, error) {
			return requests(ctx, c, t.withoutSocket())
		},
	})
}

// phases returns the chosen measurements, grouped by the processes that they share.
func (c *Config) phases() [][]measurement {
	var all [][]measurement
	for _, phase := range [][]measurement{{memory(c)}, loads(c)} {
		phase = slices.DeleteFunc(phase, func(m measurement) bool { return c.skips(m.kind) })
		if len(phase) > 0 {
			all = append(all, phase)
		}
	}
	return all
}

// runner measures, and keeps the results.
type runner struct {
	cfg      Config
	log      *slog.Logger
	dir      string
	backend  string
	starters []starter
	tables   []*table // of each shape and measurement
}

// run does all rounds. A target that fails loses that measurement of the round; the
// run goes on. A target that cannot start at all ends the run.
func (r *runner) run(ctx context.Context) error {
	var shaped []shape
	for _, s := range shapes() {
		if has(r.cfg.Shapes, s.flag) {
			shaped = append(shaped, s)
		}
	}
	for _, s := range shaped {
		r.log.Info("try to start all", "shape", s.title)
		live, stop := r.start(ctx, s)
		stop()
		for _, t := range live {
			if t.failed != nil {
				return fmt.Errorf("start %s: %w", t.name, t.failed)
			}
		}
		for _, m := range slices.Concat(r.cfg.phases()...) {
			r.tables = append(r.tables, newTable(s, m, live))
		}
	}
	for n := range r.cfg.Rounds {
		r.log.Info("measure", "round", n+1, "of", r.cfg.Rounds)
		tables := r.tables
		for _, s := range shaped {
			for _, phase := range r.cfg.phases() {
				if err := r.phase(ctx, n, s, tables[:len(phase)]); err != nil {
					return err
				}
				tables = tables[len(phase):]
			}
		}
	}
	return nil
}

// phase starts all targets, and does each measurement for all of them, a turn of one
// right after a turn of the other, because a shared machine changes from one moment to
// the next. The order changes with the round and the turn.
func (r *runner) phase(ctx context.Context, round int, s shape, tables []*table) error {
	ts, stop := r.start(ctx, s)
	defer stop()
	for _, tab := range tables {
		cfg := r.cfg
		if tab.unit == session {
			cfg.Turns = 1 // what has been there once is memory that is not given back
		}
		cfg.Span /= time.Duration(cfg.Turns)
		found := map[*target][]result{}
		failed := map[*target]error{}
		for turn := range cfg.Turns {
			for i := range ts {
				t := ts[(round+turn+i)%len(ts)]
				if failed[t] = cmp.Or(failed[t], t.failed); failed[t] != nil || !slices.Contains(tab.names, t.name) {
					continue
				}
				var m result
				m, failed[t] = tab.run(ctx, &cfg, t)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				found[t] = append(found[t], m)
			}
		}
		for _, t := range ts {
			if !slices.Contains(tab.names, t.name) {
				continue
			}
			if err := failed[t]; err != nil {
				r.log.Warn("dropped", "target", t.name, "shape", s.title, "measurement", tab.title, "round", round+1, "err", err)
			}
			tab.add(t.name, mean(found[t]), failed[t])
		}
	}
	return nil
}

// mean returns the mean of results, each of the same span.
func mean(rs []result) (m result) {
	n := float64(len(rs))
	for _, r := range rs {
		m.perSecond += r.perSecond / n
		m.cost += r.cost / n
		m.p50 += r.p50 / time.Duration(len(rs))
		m.p99 += r.p99 / time.Duration(len(rs))
	}
	return m
}

// start starts all targets, in folders of their own. stop ends them.
func (r *runner) start(ctx context.Context, s shape) (ts []*target, stop func()) {
	var stops []func()
	for _, st := range r.starters {
		t, end, err := r.startOne(ctx, s, st)
		stops = append(stops, end)
		if err != nil {
			t = &target{failed: err}
		}
		t.name = st.name
		ts = append(ts, t)
	}
	return ts, func() {
		for _, end := range slices.Backward(stops) {
			end()
		}
	}
}

// startOne starts a target and waits until it answers. It tries again, twice, when
// a port was taken.
func (r *runner) startOne(ctx context.Context, s shape, st starter) (t *target, stop func(), err error) {
	for range 3 {
		var dir string
		if dir, err = os.MkdirTemp(r.dir, "run-"); err != nil {
			return nil, func() {}, fmt.Errorf("make a folder for %s: %w", st.name, err)
		}
		if t, stop, err = st.start(ctx, s, dir, r.backend); err == nil {
			return t, stop, nil
		}
		if !portTaken(err) {
			break
		}
		stop()
	}
	return nil, stop, err
}

// portTaken reports whether a start failed because a port was taken after it had
// been chosen, as the program's log shows.
func portTaken(err error) bool {
	if err == nil {
		return false
	}
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "address already in use") || strings.Contains(text, "is taken by another program") // our own words
}
