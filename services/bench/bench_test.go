package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

// TestMain serves as the echo backend, or as Tidegate, when Run starts the test's
// binary again.
func TestMain(m *testing.M) {
	again := func(serve func(context.Context) error) {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := serve(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	switch {
	case len(os.Args) == 2 && os.Args[1] == "-echo-backend":
		again(func(ctx context.Context) error { return Backend(ctx, os.Stdout) })
	case len(os.Args) > 1 && os.Args[1] == "-stack":
		fs := flag.NewFlagSet("stack", flag.ExitOnError)
		dir, promised, gateways := fs.String("stack", "", ""), fs.String("promise", "", ""), fs.Int("gateways", 1, "")
		_ = fs.Parse(os.Args[1:]) // ExitOnError
		again(func(ctx context.Context) error {
			return ServeStack(ctx, *dir, *promised, *gateways, fs.Arg(0), os.Stdout)
		})
	default:
		var err error
		if services, err = os.MkdirTemp("", "tidegate-bench-test-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
			os.RemoveAll(services)
			os.Exit(code)
		}))
	}
}

// services is the folder that all tests' runs share, so that the services are built once.
// TestMain sets it.
var services string

// quick is as short as a run can be.
func quick() Config {
	cfg := Default()
	cfg.Rounds, cfg.Span, cfg.Conns, cfg.Dialers = 1, 100*time.Millisecond, 4, 2
	cfg.Turns, cfg.Idle, cfg.Settle, cfg.services = 2, 50, time.Millisecond, services
	return cfg
}

// TestRun is a short run of the whole benchmark: every target and every measurement
// gives a row in each shape. It does not check the figures.
func TestRun(t *testing.T) {
	for _, p := range peers() {
		if _, err := p.find(t.Context(), t.TempDir()); err != nil {
			if os.Getenv("TIDEGATE_REQUIRE_PEERS") != "" {
				t.Fatalf("%s: %v", p.name, err)
			}
			t.Skipf("%s: %v", p.name, err)
		}
	}
	var out bytes.Buffer
	if err := Run(t.Context(), quick(), slog.New(slog.DiscardHandler), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for target, rows := range map[string]int{alone: 10, tidegate: 12, "nginx": 12, "haproxy": 12, "relay": 12} {
		row := regexp.MustCompile(`(?m)^\| ` + target + ` .*\d`)
		if got := len(row.FindAllString(out.String(), -1)); got != rows {
			t.Errorf("%q has %d rows, want %d:\n%s", target, got, rows, &out)
		}
	}
	for _, f := range floods() {
		if row := regexp.MustCompile(`(?m)^\| ` + f.name + ` *\| \d+\.\d\d`); !row.MatchString(out.String()) {
			t.Errorf("no row of the flood %q with a ratio:\n%s", f.name, &out)
		}
	}
	ratio := regexp.MustCompile(`(?m)^\| nginx .*µs +\| \d+\.\d\d +\|`)
	if got := len(ratio.FindAllString(out.String(), -1)); got != 10 {
		t.Errorf("%d ratios of Tidegate's CPU to nginx's, want 10:\n%s", got, &out)
	}
	for _, title := range []string{"; one worker\n", "; one worker for each core\n"} {
		if got := strings.Count(out.String(), title); got != 6 {
			t.Errorf("%d tables of %q, want 6:\n%s", got, title, &out)
		}
	}
}

// TestAgainst compares this commit with itself as if it were another.
func TestAgainst(t *testing.T) {
	cfg := quick()
	cfg.Against, cfg.Shapes = "../..", one
	var out bytes.Buffer
	if err := Run(t.Context(), cfg, slog.New(slog.DiscardHandler), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, what := range []string{"CPU per message, 1 in flight", "CPU per message, 16 in flight", "CPU per handshake", "CPU per handshake, API key", "memory per idle session"} {
		row := regexp.MustCompile(`(?m)^\| ` + what + ` +\| \d.*\| \d.*\| \d+\.\d\d +\| – +\| 1 +\| +\|$`)
		if !row.MatchString(out.String()) {
			t.Errorf("no row of %q with one ratio and no interval:\n%s", what, &out)
		}
	}
}

// TestLimits compares gateways with limits and without, pauses sessions of several gateways
// and changes the plan of others.
func TestLimits(t *testing.T) {
	cfg := quick()
	cfg.Limits, cfg.Shapes, cfg.Paused, cfg.Changed, cfg.perGateway = true, one, 21, 10, 10
	var out bytes.Buffer
	if err := Run(t.Context(), cfg, slog.New(slog.DiscardHandler), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, what := range []string{
		`CPU per message, 1 in flight +\| \d.*\| \d.*\| \d+\.\d\d +\| – +\| 1 +\|`, `memory per idle session +\| \d.*\| \d.*\|`,
		`memory per paused session, 21 at once at 3 gateways +\| -?\d+\.\d KiB`, `a change of a plan, until the last of 10 at once has it +\| \d+ ms`,
	} {
		if !regexp.MustCompile(`(?m)^\| ` + what).MatchString(out.String()) {
			t.Errorf("no row %s:\n%s", what, &out)
		}
	}
}

// TestAgainstNothing names a folder that is not a checkout.
func TestAgainstNothing(t *testing.T) {
	cfg := quick()
	cfg.Against = t.TempDir()
	err := Run(t.Context(), cfg, slog.New(slog.DiscardHandler), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "build the benchmark of "+cfg.Against) {
		t.Errorf("Run = %v, want that the benchmark of %s cannot be built", err, cfg.Against)
	}
}

// TestDropped has a target that resets its connections in the second of three
// rounds and does not start in the third. That costs the target these two rounds,
// and the other targets none.
func TestDropped(t *testing.T) {
	echo := startEcho(t)
	self := func() []int { return []int{os.Getpid()} }
	starts := 0
	r := &runner{cfg: quick(), log: slog.New(slog.DiscardHandler), dir: t.TempDir(), backend: echo, starters: []starter{
		{tidegate, func(_ context.Context, _ shape, _, backend string) (*target, func(), error) {
			return &target{addr: backend, path: "/", procs: []func() []int{self}}, func() {}, nil
		}},
		{"fake", func(context.Context, shape, string, string) (*target, func(), error) {
			// The first start is the trial; then each round has one for memory and
			// one for the rest.
			switch starts++; (starts - 2) / 2 {
			case 1:
				addr, stop := resetting(t)
				return &target{addr: addr, path: "/", procs: []func() []int{self}}, stop, nil
			case 2:
				return nil, func() {}, errors.New("it has no wish to")
			}
			return &target{addr: echo, path: "/", procs: []func() []int{self}}, func() {}, nil
		}},
	}}
	r.cfg.Rounds, r.cfg.Shapes = 3, cores
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := r.print(&out); err != nil {
		t.Error(err)
	}
	for _, tab := range r.tables {
		for i, res := range tab.found[tidegate] {
			if res == nil {
				t.Errorf("round %d of %q is dropped of the target that works: %v", i+1, tab.short, tab.drops[tidegate].last)
			}
		}
		if got := tab.found["fake"]; len(got) != 3 || got[0] == nil || got[1] != nil || got[2] != nil {
			t.Errorf("the rounds of %q of the target that fails are %v, want that of three the last two are dropped", tab.short, got)
		}
		if got := len(tab.ratios(tidegate, "fake")); got > 1 {
			t.Errorf("%d ratios of %q, want one at most", got, tab.short)
		}
		want := fmt.Sprintf("fake failed in 2 of 3 rounds of %q, one worker for each core, which do not count; the last time: it has no wish to\n", tab.short)
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing says %q:\n%s", want, &out)
		}
	}
}

// resetting serves handshakes and resets each connection at the first frame.
func resetting(t *testing.T) (addr string, stop func()) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			if n%2 == 1 { // the others answer the handshake first
				conn.Close()
				continue
			}
			wg.Go(func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
					_, _ = conn.Read(make([]byte, 1))
				}
			})
		}
	})
	return lis.Addr().String(), func() { lis.Close(); wg.Wait() }
}

// TestFails has a target that fails in every round; the tables are printed
// nevertheless.
func TestFails(t *testing.T) {
	r := &runner{cfg: quick(), log: slog.New(slog.DiscardHandler), dir: t.TempDir(), backend: startEcho(t), starters: []starter{
		{tidegate, func(_ context.Context, _ shape, _, backend string) (*target, func(), error) {
			return &target{addr: backend, path: "/"}, func() {}, nil
		}},
		{"fake", func(context.Context, shape, string, string) (*target, func(), error) {
			addr, stop := resetting(t)
			return &target{addr: addr, path: "/"}, stop, nil
		}},
	}}
	r.cfg.Shapes, r.cfg.Skip = one, "memory,handshake"
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := r.print(&out)
	if err == nil || !strings.HasPrefix(err.Error(), "fake failed in every round of ") || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("print = %v, want that the target failed in every round, and how", err)
	}
	if !strings.Contains(out.String(), "| Tidegate ") {
		t.Errorf("the other target has no row:\n%s", &out)
	}
}

// TestUnstartable has a target that cannot start, which ends the run at once.
func TestUnstartable(t *testing.T) {
	starts := 0
	r := &runner{cfg: quick(), log: slog.New(slog.DiscardHandler), dir: t.TempDir(), starters: []starter{
		{"fake", func(context.Context, shape, string, string) (*target, func(), error) {
			starts++
			return nil, func() {}, errors.New("address already in use")
		}},
	}}
	if err := r.run(t.Context()); err == nil || err.Error() != "start fake: address already in use" || starts != 3 {
		t.Errorf("run = %v after %d starts, want the error of the third", err, starts)
	}
}

// TestInterval compares ranks with published tables of the sign test.
func TestInterval(t *testing.T) {
	for n, rank := range map[int]int{0: 0, 5: 0, 6: 1, 8: 1, 9: 2, 12: 3, 15: 4, 20: 6, 25: 8, 30: 10, 50: 18, 100: 40} {
		vs := make([]float64, n)
		for i := range vs {
			vs[i] = float64(n - i) // each value equals its rank
		}
		low, high, ok := interval(vs)
		if ok != (rank > 0) || ok && (low != float64(rank) || high != float64(n+1-rank)) {
			t.Errorf("interval of %d values = %v, %v, %v, want rank %d from each end", n, low, high, ok, rank)
		}
	}
}

// TestVerdict checks that only an interval wholly above 1.03 is called slower.
func TestVerdict(t *testing.T) {
	cpu, mem := &table{measurement: measurement{unit: message}}, &table{measurement: measurement{unit: session}}
	for _, c := range []struct {
		ratios []float64
		tab    *table
		want   string
	}{
		{[]float64{1.031, 2, 2, 2, 2, 2}, cpu, "slower"},
		{[]float64{1.031, 2, 2, 2, 2, 2}, mem, "larger"},
		{[]float64{1.03, 2, 2, 2, 2, 2}, cpu, ""},
		{[]float64{2, 2, 2, 2, 2}, cpu, ""},
		{[]float64{0.5, 0.5, 0.5, 0.5, 0.5, 0.5}, cpu, ""},
		{nil, cpu, ""},
	} {
		if got := c.tab.verdict(c.ratios); got != c.want {
			t.Errorf("verdict of %s, %v = %q, want %q", c.tab.unit, c.ratios, got, c.want)
		}
	}
}

// TestMedian is exact between two values, too.
func TestMedian(t *testing.T) {
	if got := median([]float64{9, 1, 2}); got != 2 {
		t.Errorf("median of 9, 1, 2 = %v, want 2", got)
	}
	if got := median([]float64{9, 1, 2, 4}); got != 3 {
		t.Errorf("median of 9, 1, 2, 4 = %v, want 3", got)
	}
}

// TestGone measures a process that has gone: that is an error, not zero.
func TestGone(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	gone := []int{os.Getpid(), cmd.Process.Pid}
	if d, err := cpuOf(gone); err == nil {
		t.Errorf("cpuOf = %v, want an error", d)
	}
	if n, err := rssOf(gone); err == nil {
		t.Errorf("rssOf = %v, want an error", n)
	}
}

// TestBackend talks to the echo backend with a client that checks every frame.
func TestBackend(t *testing.T) {
	ctx := t.Context()
	conn, _, err := websocket.Dial(ctx, "ws://"+startEcho(t), nil) //nolint:bodyclose // the library documents that the body of this response need not be closed
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	for _, size := range []int{0, 1, 125, 126, 4096, 65535} {
		want := bytes.Repeat([]byte{'x'}, size)
		if err := conn.Write(ctx, websocket.MessageBinary, want); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(ctx); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("echo of %d bytes = %d bytes, %v", size, len(got), err)
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, "done"); err != nil {
		t.Errorf("Close = %v, want an answer in order", err)
	}
}

// startEcho serves the echo backend in this process until the test ends, and
// returns its address.
func startEcho(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- Backend(ctx, w) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Backend = %v, want nil after its end", err)
		}
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// TestNothingDone measures handshakes in a span that is too short for one.
func TestNothingDone(t *testing.T) {
	m, err := handshakes(t.Context(), &Config{Dialers: 2}, &target{addr: startEcho(t), path: "/"})
	if err == nil || err.Error() != "nothing was done within the span" {
		t.Errorf("handshakes = %v, %v, want that none was done", m, err)
	}
}

// TestPortTaken reads what the programs log about a taken port.
func TestPortTaken(t *testing.T) {
	for text, want := range map[string]bool{
		"listen tcp 127.0.0.1:9: bind: address already in use":                true,
		"gateway: -ws: 127.0.0.1:9 is taken by another program; give another": true,
		"[emerg] bind() to 127.0.0.1:9 failed (98: Address already in use)":   true,
		"dial tcp 127.0.0.1:9: connect: connection refused":                   false,
	} {
		if got := portTaken(errors.New(text)); got != want {
			t.Errorf("portTaken(%q) = %v, want %v", text, got, want)
		}
	}
	if portTaken(nil) {
		t.Error("portTaken(nil) = true, want false")
	}
}

// TestCheck tries invalid options.
func TestCheck(t *testing.T) {
	good := quick()
	good.Peers, good.Shapes, good.Skip = "relay,nginx", "cores,one", "echo"
	if err := good.Check(); err != nil {
		t.Errorf("Check(%+v) = %v, want nil", good, err)
	}
	if err := new(Config).Check(); err == nil {
		t.Error("Check of a Config that Default has not made = nil, want an error")
	}
	for want, spoil := range map[string]func(*Config){
		"-rounds is -1: it must be at least 1":                                              func(c *Config) { c.Rounds = -1 },
		"-turns is 0: it must be at least 1":                                                func(c *Config) { c.Turns = 0 },
		"-span is 0s: it must be above 0":                                                   func(c *Config) { c.Span = 0 },
		"-payload is 65536: it must be 1 to 65535":                                          func(c *Config) { c.Payload = 65536 },
		"-conns, -dialers, -idle, -paused, -changed and -revoked must be at least 1":        func(c *Config) { c.Idle = 0 },
		"-peers and -against are given: only one of them can be":                            func(c *Config) { c.Against = "." },
		"-revoke and -tickets go with none of -limits, -against, -peers, -shapes and -skip": func(c *Config) { c.Revoke = true },
		`-peers has "nginy": it takes some of nginx,haproxy,relay`:                          func(c *Config) { c.Peers = "nginy" },
		`-shapes has "two": it takes some of one,cores`:                                     func(c *Config) { c.Shapes = "one,two" },
		`-skip has "": it takes some of echo,handshake,request,memory,flood`:                func(c *Config) { c.Skip = "echo," },
	} {
		bad := good
		spoil(&bad)
		if err := bad.Check(); err == nil || err.Error() != want {
			t.Errorf("Check(%+v) = %v, want %q", bad, err, want)
		}
	}
}
