package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

// TestMain serves as the echo backend when Run starts the test's binary again.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "-echo-backend" {
		ctx, cancel := context.WithCancel(context.Background())
		if err := Backend(ctx, os.Stdout); err != nil {
			os.Exit(1)
		}
		cancel()
		return
	}
	goleak.VerifyTestMain(m)
}

// TestRun is a short run of the whole benchmark: every target and every
// measurement gives a row. What the figures are is not its business.
func TestRun(t *testing.T) {
	for _, p := range peers {
		if _, err := lookPeer(p.name); err != nil {
			if os.Getenv("TIDEGATE_REQUIRE_PEERS") != "" {
				t.Fatalf("%s is not installed", p.name)
			}
			t.Skipf("%s is not installed", p.name)
		}
	}
	cfg := Config{
		Rounds: 1, Span: 100 * time.Millisecond, Conns: 4, Payload: 128, Dialers: 2,
		Idle: 50, Settle: time.Millisecond,
	}
	var out bytes.Buffer
	if err := Run(t.Context(), cfg, slog.New(slog.DiscardHandler), &out); err != nil {
		t.Fatal(err)
	}
	for target, rows := range map[string]int{"backend alone": 3, "Tidegate": 4, "nginx": 4, "haproxy": 4} {
		row := regexp.MustCompile(`(?m)^\| ` + target + ` .*\d`)
		if got := len(row.FindAllString(out.String(), -1)); got != rows {
			t.Errorf("%q has %d rows, want %d:\n%s", target, got, rows, out.String())
		}
	}
	if !strings.Contains(out.String(), "| 1.00  |") {
		t.Errorf("the table has no ratio of nginx to itself:\n%s", out.String())
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

// TestNothingDone measures handshakes in a span in which none is done.
func TestNothingDone(t *testing.T) {
	m, err := handshakes(t.Context(), Config{Dialers: 2}, &target{addr: startEcho(t), path: "/"})
	if err == nil || err.Error() != "no handshake was done within the span" {
		t.Errorf("handshakes = %v, %v, want that none was done", m, err)
	}
}

// TestPortTaken reads what the programs say of a port that is taken.
func TestPortTaken(t *testing.T) {
	for text, want := range map[string]bool{
		"listen tcp 127.0.0.1:9: bind: address already in use":              true,
		"[emerg] bind() to 127.0.0.1:9 failed (98: Address already in use)": true,
		"dial tcp 127.0.0.1:9: connect: connection refused":                 false,
	} {
		if got := portTaken(errors.New(text)); got != want {
			t.Errorf("portTaken(%q) = %v, want %v", text, got, want)
		}
	}
	if portTaken(nil) {
		t.Error("portTaken(nil) = true, want false")
	}
}

// TestCheck tries options that cannot work.
func TestCheck(t *testing.T) {
	good := Config{Rounds: 1, Span: time.Second, Conns: 1, Payload: 1, Dialers: 1, Idle: 1}
	if err := good.Check(); err != nil {
		t.Errorf("Check(%+v) = %v, want nil", good, err)
	}
	for want, spoil := range map[string]func(*Config){
		"-rounds is 0: it must be at least 1":           func(c *Config) { c.Rounds = 0 },
		"-span is 0s: it must be above 0":               func(c *Config) { c.Span = 0 },
		"-payload is 65536: it must be 1 to 65535":      func(c *Config) { c.Payload = 65536 },
		"-conns, -dialers and -idle must be at least 1": func(c *Config) { c.Idle = 0 },
	} {
		bad := good
		spoil(&bad)
		if err := bad.Check(); err == nil || err.Error() != want {
			t.Errorf("Check(%+v) = %v, want %q", bad, err, want)
		}
	}
}
