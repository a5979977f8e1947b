// Package bench measures Tidegate's gateway, interleaved in one run, against other
// proxies that are installed, or against the gateway of another commit, and prints
// ratios. It asserts no times, because machines differ and are shared.
package bench

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"
)

// Config is the configuration of a run. Default makes it.
type Config struct {
	// Rounds is how often every target is measured; 0 means 5, or 30 with Against.
	// Medians are printed.
	Rounds int
	// Span is how long one measurement takes, in that many Turns. Between its turns a
	// target waits while the others have theirs.
	Span  time.Duration
	Turns int
	// Conns is the number of connections of the measurements of echoes and requests.
	Conns int
	// Payload is the size of an echoed message in bytes, 1 to 65535.
	Payload int
	// Dialers is how many clients do handshakes at once.
	Dialers int
	// Idle is the number of idle sessions in the memory measurement.
	Idle int
	// Settle is how long the memory measurement waits after the last
	// handshake.
	Settle time.Duration
	// Peers restricts the peers, such as "nginx,haproxy"; empty means all that are
	// installed.
	Peers string
	// Shapes restricts the shapes, such as "one"; empty means all.
	Shapes string
	// Skip leaves out measurements, such as "echo,memory".
	Skip string
	// Against is the folder of another commit's checkout, which is measured instead
	// of the peers.
	Against string
	// Limits has the gateway measured with limits of plans and without, instead of
	// the peers, and then paused sessions and a change of their plan.
	Limits bool
	// Paused is how many sessions are paused at once, and Changed how many a change of a
	// plan touches.
	Paused, Changed int

	// Revoke has the time measured from a call that ends sessions until their clients have
	// read the close frame, instead of the gateway against others; Tickets what a ticket costs.
	// Both can be set.
	Revoke, Tickets bool
	// Revoked is how many sessions there are with Revoke.
	Revoked int

	// perGateway is how many of those a gateway is given at most: its own two descriptors
	// of each are well within the 20 000 that a process may have on many machines.
	perGateway int

	// services is a folder that keeps the built services from one run to the next; empty
	// for a run that builds its own.
	services string
}

// Default returns the default configuration.
func Default() Config {
	return Config{Span: time.Second, Turns: 4, Conns: 50, Payload: 128, Dialers: 16, Idle: 4000, Settle: 10 * time.Second, Paused: 10_000, Changed: 5_000, Revoked: 5_000, perGateway: 5_000}
}

// Flags registers the options. Their defaults are what the Config holds.
func (c *Config) Flags(fs *flag.FlagSet) {
	fs.IntVar(&c.Rounds, "rounds", c.Rounds, "how `often` every target is measured; medians are printed (default 5, with -against and -limits 30; with -revoke all that was measured counts, not medians)")
	fs.DurationVar(&c.Span, "span", c.Span, "`time` that one measurement takes, not counting memory's")
	fs.IntVar(&c.Turns, "turns", c.Turns, "`turns` that a measurement is parted into: the targets take theirs one after the other, so that a machine that changes from one moment to the next changes for all")
	fs.IntVar(&c.Conns, "conns", c.Conns, "`connections` of the measurements of echoes and requests")
	fs.IntVar(&c.Payload, "payload", c.Payload, "`bytes` of an echoed message, 1 to 65535")
	fs.IntVar(&c.Dialers, "dialers", c.Dialers, "`clients` that do handshakes at once")
	fs.IntVar(&c.Idle, "idle", c.Idle, "idle `sessions` that memory is measured with")
	fs.DurationVar(&c.Settle, "settle", c.Settle, "`time` to wait after the last handshake before memory is read")
	fs.StringVar(&c.Peers, "peers", c.Peers, "peers to measure, of `nginx,haproxy,relay`; empty for all that are installed")
	fs.StringVar(&c.Shapes, "shapes", c.Shapes, "shapes to measure, of `one,cores`: one worker, or one for each core; empty for both")
	fs.StringVar(&c.Skip, "skip", c.Skip, "measurements to leave out, of `echo,handshake,request,memory,flood`")
	fs.StringVar(&c.Against, "against", c.Against, "`folder` of a checkout of another commit: compare the gateway with that commit's instead of with the peers. "+
		"Each round starts both anew. Printed are the medians of the rounds' ratios and their 95 % intervals, which are two of the "+
		"sorted ratios (order statistics) and assume nothing about how these are distributed; 6 rounds is the least that gives one. "+
		"What is called slower has its whole interval above 1.03")
	fs.BoolVar(&c.Limits, "limits", c.Limits, "compare the gateway with limits at four places with the gateway without, as -against does, instead of the peers; then pause sessions, and change the plan of others")
	fs.IntVar(&c.Paused, "paused", c.Paused, "`sessions` that are paused at once with -limits; more than 5000 are spread over several gateways")
	fs.IntVar(&c.Changed, "changed", c.Changed, "`sessions` that a change of a plan touches with -limits")
	fs.BoolVar(&c.Revoke, "revoke", c.Revoke, "measure how long it takes from a call that ends live sessions until their clients have read the close frame, in one process and with two replicas on Postgres, instead of anything else but -tickets")
	fs.IntVar(&c.Revoked, "revoked", c.Revoked, "`sessions` that there are with -revoke")
	fs.BoolVar(&c.Tickets, "tickets", c.Tickets, "measure what it costs to buy a ticket and to spend it, on SQLite and on Postgres, instead of anything else but -revoke")
}

// sides are the names of what is compared with Against and Limits, and the title of
// their tables.
func (c *Config) sides() (a, b, title string) {
	if c.Limits {
		return limited, unlimited, "With limits at four places and without"
	}
	return newSide, oldSide, "New and old"
}

// compares tells whether two gateways are compared, and no peers.
func (c *Config) compares() bool { return c.Against != "" || c.Limits }

// calls tells whether calls of the control plane are measured, and neither peers nor
// gateways against each other.
func (c *Config) calls() bool { return c.Revoke || c.Tickets }

// Check returns what is wrong with the options.
func (c *Config) Check() error {
	switch {
	case c.Rounds < 0:
		return fmt.Errorf("-rounds is %d: it must be at least 1", c.Rounds)
	case c.Span <= 0:
		return fmt.Errorf("-span is %v: it must be above 0", c.Span)
	case c.Turns < 1:
		return fmt.Errorf("-turns is %d: it must be at least 1", c.Turns)
	case c.Conns < 1 || c.Dialers < 1 || c.Idle < 1 || c.Paused < 1 || c.Changed < 1 || c.Revoked < 1:
		return errors.New("-conns, -dialers, -idle, -paused, -changed and -revoked must be at least 1")
	case c.Payload < 1 || c.Payload > 65535:
		return fmt.Errorf("-payload is %d: it must be 1 to 65535", c.Payload)
	case c.Against != "" && c.Peers != "":
		return errors.New("-peers and -against are given: only one of them can be")
	case c.Limits && (c.Against != "" || c.Peers != ""):
		return errors.New("-limits and -peers or -against are given: only one of them can be")
	case c.calls() && (c.Limits || c.Against != "" || c.Peers != "" || c.Shapes != "" || c.Skip != ""):
		return errors.New("-revoke and -tickets go with none of -limits, -against, -peers, -shapes and -skip")
	}
	return errors.Join(
		checkList("-peers", c.Peers, peerNames()),
		checkList("-shapes", c.Shapes, []string{one, cores}),
		checkList("-skip", c.Skip, []string{"echo", "handshake", "request", "memory", "flood"}),
	)
}

// checkList checks a list of words, which may be empty.
func checkList(flag, list string, known []string) error {
	for word := range strings.SplitSeq(list, ",") {
		if list != "" && !slices.Contains(known, word) {
			return fmt.Errorf("%s has %q: it takes some of %s", flag, word, strings.Join(known, ","))
		}
	}
	return nil
}

// has reports whether the list has the word; an empty list has every word.
func has(list, word string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), word)
}

func (c *Config) skips(measurement string) bool {
	return c.Skip != "" && has(c.Skip, measurement)
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

	r := &runner{cfg: cfg, log: log, dir: dir, backend: backend.addr}
	services := cmp.Or(cfg.services, dir)
	switch {
	case cfg.calls():
		r.cfg.Rounds = cmp.Or(cfg.Rounds, 5)
		return r.underCalls(ctx, builtBy(self, services), out)
	case cfg.Limits:
		r.cfg.Rounds = cmp.Or(cfg.Rounds, 30)
		r.starters = []starter{
			{limited, stackStarter(self, "", services, armed)},
			{unlimited, stackStarter(self, "", services, none)},
		}
	case cfg.Against != "":
		r.cfg.Rounds = cmp.Or(cfg.Rounds, 30)
		r.starters, err = sides(ctx, cfg.Against, self, dir, services)
	default:
		r.cfg.Rounds = cmp.Or(cfg.Rounds, 5)
		r.starters, err = proxies(ctx, cfg, log, self, dir, services)
	}
	if err != nil {
		return err
	}
	if err := r.run(ctx); err != nil {
		return err
	}
	if err := r.print(out); err != nil {
		return err
	}
	switch {
	case cfg.Limits:
		return r.underLimits(ctx, func(gateways int) starter {
			return starter{limited, gatewaysStarter(self, "", services, tight, gateways)}
		}, out)
	case cfg.Against != "" || cfg.skips("flood"):
		return nil
	}
	return r.underFlood(ctx, out)
}

// proxies returns what is measured without -against: the backend alone, Tidegate,
// and the peers that are installed.
func proxies(ctx context.Context, cfg Config, log *slog.Logger, self, dir, services string) ([]starter, error) {
	all := []starter{
		{alone, func(_ context.Context, _ shape, _, backend string) (*target, func(), error) {
			return &target{addr: backend, path: "/"}, func() {}, nil
		}},
		{tidegate, stackStarter(self, "", services, none)},
	}
	for _, p := range peers() {
		if !has(cfg.Peers, p.name) {
			continue
		}
		bin, err := p.find(ctx, dir)
		if errors.Is(err, errNotInstalled) {
			log.Warn("left out", "peer", p.name, "reason", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, starter{p.name, p.starter(bin, max(cfg.Idle, cfg.Conns))})
	}
	return all, nil
}

// sides returns what is measured with -against.
func sides(ctx context.Context, checkout, self, dir, services string) ([]starter, error) {
	other, err := buildBench(ctx, checkout, dir)
	if err != nil {
		return nil, err
	}
	return []starter{
		{newSide, stackStarter(self, "", services, none)},
		{oldSide, stackStarter(other, checkout, dir, none)},
	}, nil
}
