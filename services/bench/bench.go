// Package bench measures Tidegate's gateway against the backend alone and
// against other proxies that are installed, interleaved in one run, and prints
// ratios. Nothing in it is asserted by time: machines differ and are shared.
package bench

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// Config is what a run can be told.
type Config struct {
	// Rounds is how often every target is measured; medians are printed.
	Rounds int
	// Span is how long one measurement takes.
	Span time.Duration
	// Conns is the number of connections of the echo measurements.
	Conns int
	// Payload is the size of an echoed message in bytes, 1 to 65535.
	Payload int
	// Dialers is how many clients do handshakes at once.
	Dialers int
	// Idle is the number of idle sessions that memory is measured with.
	Idle int
	// Settle is how long the memory measurement waits after the last
	// handshake.
	Settle time.Duration
	// Peers restricts the targets, as "nginx,haproxy"; empty for all that are
	// installed.
	Peers string
	// Skip leaves out measurements, as "echo,handshake,memory".
	Skip string
}

// Flags registers the options.
func (c *Config) Flags(fs *flag.FlagSet) {
	fs.IntVar(&c.Rounds, "rounds", 5, "how `often` every target is measured; medians are printed")
	fs.DurationVar(&c.Span, "span", 4*time.Second, "`time` that one measurement takes")
	fs.IntVar(&c.Conns, "conns", 50, "`connections` of the echo measurements")
	fs.IntVar(&c.Payload, "payload", 128, "`bytes` of an echoed message, 1 to 65535")
	fs.IntVar(&c.Dialers, "dialers", 16, "`clients` that do handshakes at once")
	fs.IntVar(&c.Idle, "idle", 4000, "idle `sessions` that memory is measured with")
	fs.DurationVar(&c.Settle, "settle", 10*time.Second, "`time` to wait after the last handshake before memory is read")
	fs.StringVar(&c.Peers, "peers", "", "peers to measure, as `nginx,haproxy`; empty for all that are installed")
	fs.StringVar(&c.Skip, "skip", "", "measurements to leave out, of `echo,handshake,memory`")
}

// Check returns what is wrong with the options.
func (c *Config) Check() error {
	switch {
	case c.Rounds < 1:
		return fmt.Errorf("-rounds is %d: it must be at least 1", c.Rounds)
	case c.Span <= 0:
		return fmt.Errorf("-span is %v: it must be above 0", c.Span)
	case c.Conns < 1 || c.Dialers < 1 || c.Idle < 1:
		return fmt.Errorf("-conns, -dialers and -idle must be at least 1")
	case c.Payload < 1 || c.Payload > 65535:
		return fmt.Errorf("-payload is %d: it must be 1 to 65535", c.Payload)
	}
	return nil
}

// Run measures everything and prints the tables to out.
func Run(ctx context.Context, cfg Config, log *slog.Logger, out io.Writer) error {
	dir, err := os.MkdirTemp("", "tidegate-bench-")
	if err != nil {
		return fmt.Errorf("make a folder for the run: %w", err)
	}
	defer os.RemoveAll(dir)

	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the benchmark's own binary: %w", err)
	}
	backend, err := startBackend(ctx, self)
	if err != nil {
		return err
	}
	defer backend.stop()

	log.Info("build Tidegate")
	if err := buildTidegate(ctx, dir); err != nil {
		return err
	}
	r := newReport(cfg)
	// What earlier measurements left would be counted as memory at none, so that
	// is measured on processes just started, in each round anew.
	for round := range cfg.Rounds {
		if !cfg.wants("memory") {
			break
		}
		log.Info("measure memory", "round", round+1)
		if err := withTargets(ctx, cfg, log, dir, backend.addr, func(ts []*target) error {
			return each(ts, func(t *target) error { return measureMemory(ctx, cfg, t, r) })
		}); err != nil {
			return err
		}
	}
	err = withTargets(ctx, cfg, log, dir, backend.addr, func(ts []*target) error {
		r.targets = ts
		for round := range cfg.Rounds {
			log.Info("measure", "round", round+1)
			if err := measure(ctx, cfg, ts, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.print(out)
}

// each measures one target after the other.
func each(ts []*target, measure func(*target) error) error {
	for _, t := range ts {
		if err := measure(t); err != nil {
			return fmt.Errorf("measure %s: %w", t.name, err)
		}
	}
	return nil
}

// withTargets starts all targets and ends them after fn. A start that finds a
// port taken is tried again, twice.
func withTargets(ctx context.Context, cfg Config, log *slog.Logger, dir, backend string, fn func([]*target) error) error {
	targets, stop, err := startTargets(ctx, cfg, log, dir, backend)
	for try := 0; try < 2 && portTaken(err); try++ {
		log.Warn("a port was taken meanwhile: start again")
		stop()
		targets, stop, err = startTargets(ctx, cfg, log, dir, backend)
	}
	defer stop()
	if err != nil {
		return err
	}
	return fn(targets)
}

// measure does one round: each measurement of all targets, one right after the
// other, for a shared machine changes from one moment to the next.
func measure(ctx context.Context, cfg Config, ts []*target, r *report) error {
	for _, depth := range depths {
		if !cfg.wants("echo") {
			break
		}
		if err := each(ts, func(t *target) error {
			m, err := echo(ctx, cfg, t, depth)
			r.addEcho(t.name, depth, m)
			return err
		}); err != nil {
			return err
		}
	}
	if !cfg.wants("handshake") {
		return nil
	}
	return each(ts, func(t *target) error {
		m, err := handshakes(ctx, cfg, t)
		r.addHandshake(t.name, m)
		return err
	})
}

// startTargets starts what is measured, in a folder of its own below dir: the
// backend alone, Tidegate, and the peers that are installed. stop ends them, also
// after an error.
func startTargets(ctx context.Context, cfg Config, log *slog.Logger, dir, backend string) (ts []*target, stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, end := range slices.Backward(stops) {
			end()
		}
	}
	own, err := os.MkdirTemp(dir, "run-")
	if err != nil {
		return nil, stop, fmt.Errorf("make a folder for the processes: %w", err)
	}
	ts = append(ts, &target{name: "backend alone", addr: backend, path: "/"})
	tide, end, err := startTidegate(ctx, own, backend)
	stops = append(stops, end)
	if err != nil {
		return nil, stop, err
	}
	ts = append(ts, tide)
	for _, p := range peers {
		if !cfg.wantsPeer(p.name) {
			continue
		}
		bin, err := lookPeer(p.name)
		if err != nil {
			log.Warn("peer is not installed: left out", "peer", p.name)
			continue
		}
		t, end, err := startPeer(ctx, p, bin, own, backend)
		stops = append(stops, end)
		if err != nil {
			return nil, stop, err
		}
		ts = append(ts, t)
	}
	return ts, stop, nil
}

// lookPeer finds a peer's binary, also where an ordinary user's PATH does not
// lead.
func lookPeer(name string) (string, error) {
	if bin, err := exec.LookPath(name); err == nil {
		return bin, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", name))
}
