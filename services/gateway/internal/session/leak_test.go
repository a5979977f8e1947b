package session

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle/throttletest"
)

// endings are the ways in which sessions end.
var endings = []func(b *bench, s *Session){
	func(_ *bench, s *Session) { s.Abandon() },
	func(_ *bench, s *Session) { s.End(ending.New(ending.Revoked, "")); s.Abandon() },
	func(b *bench, s *Session) { s.End(ending.New(ending.Revoked, "")); b.start(s) },
	func(b *bench, s *Session) {
		client, backend := b.start(s)
		client.close("bye")
		backend.expectClose(1000)
		backend.close("bye")
		client.expectClose(1000)
	},
	func(b *bench, s *Session) {
		client, backend := b.start(s)
		backend.close("bye")
		client.expectClose(1000)
	},
	func(b *bench, s *Session) { client, _ := b.start(s); client.Close() },
	func(b *bench, s *Session) { _, backend := b.start(s); backend.Close() },
	func(b *bench, s *Session) { client, backend := b.start(s); client.halfClose(backend, s) },
	func(b *bench, s *Session) { client, backend := b.start(s); backend.halfClose(client, s) },
	func(b *bench, s *Session) {
		client, backend := b.start(s)
		backend.fill(client)
		client.halfClose(backend, s)
	},
	func(b *bench, s *Session) {
		client, backend := b.start(s)
		client.fill(backend)
		backend.halfClose(client, s)
	},
	func(b *bench, s *Session) { client, _ := b.start(s); client.reset() },
	func(b *bench, s *Session) { _, backend := b.start(s); backend.reset() },
	func(b *bench, s *Session) { b.start(s); s.End(ending.New(ending.OperatorClose, "")) },
	func(b *bench, s *Session) { b.start(s); s.abort(ending.New(ending.Drain, "")) },
	func(b *bench, s *Session) { b.start(s); s.SetGrant(&grant.Grant{Expires: time.Now()}) },
	func(b *bench, s *Session) { client, _ := b.start(s); _, _ = client.Write([]byte{0xff}) },
	func(b *bench, s *Session) {
		client, backend := b.start(s)
		backend.send(ws.OpText, "x")
		client.expect(ws.OpText, "x")
		_, _ = client.Write([]byte{0x82, 0xfe}) // half a header
		client.Close()
	},
}

func (p *peer) reset() {
	_ = p.tcp().SetLinger(0)
	_ = p.Close()
}

func (p *peer) tcp() *net.TCPConn {
	if secure, ok := p.Conn.(*tls.Conn); ok {
		return secure.NetConn().(*net.TCPConn)
	}
	return p.Conn.(*net.TCPConn)
}

// fill writes until nothing more is taken, because the other peer does not read.
func (p *peer) fill(other *peer) {
	_ = other.tcp().SetReadBuffer(128 << 10)
	f := ws.NewBinaryFrame(make([]byte, 64<<10))
	if p.mask {
		f = ws.MaskFrame(f)
	}
	for err := error(nil); err == nil; err = ws.WriteFrame(p, f) {
		_ = p.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	}
}

// halfClose half-closes the connection and keeps it open otherwise. The other peer
// leaves when it gets its close, and that ends the session.
func (p *peer) halfClose(other *peer, s *Session) {
	_ = p.Conn.(interface{ CloseWrite() error }).CloseWrite()
	if p.mask {
		other.expectClose(1001)
	} else {
		other.expectClose(1013)
	}
	_ = other.Close()
	eventually(p.t, "session has not ended", 0, func() int { return int(over - s.current()) })
}

// seatsFor is a plan for n connections at once.
func seatsFor(n int32) *catalogv1.Plan {
	return &catalogv1.Plan{Name: "plans/p", Limits: []*catalogv1.Limit{{
		Name: "connections", Kind: &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: n}},
	}}}
}

// TestNoLeak ends a thousand sessions in every way, plain and over TLS, many at a
// time. Afterwards there are as many goroutines and sockets as before, and one
// record for each that was started.
func TestNoLeak(t *testing.T) {
	b := newBench(t)
	b.newCert()
	total := 1000
	if testing.Short() {
		total = 100
	}
	sockets, routines := openFiles(t), runtime.NumGoroutine()
	b.plans = throttle.New(throttle.Config{Engine: b.engine, Ledger: &throttletest.Ledger{}, Log: slog.New(slog.DiscardHandler)})
	defer b.plans.Close()
	b.plans.SetPlans([]*catalogv1.Plan{seatsFor(int32(total))}, nil)
	started := make(chan string, total)
	b.began = func(s *Session) { started <- s.Ref() }
	var wg sync.WaitGroup
	next := make(chan int)
	for range 20 {
		wg.Go(func() {
			for i := range next {
				own, round := *b, i/len(endings)
				own.t, own.secureClient, own.secureBackend = &cleaner{TB: t}, round&1 != 0, round&2 != 0
				endings[i%len(endings)](&own, b.register("grants/g"))
				own.t.(*cleaner).clean()
			}
		})
	}
	for i := range total {
		next <- i
	}
	close(next)
	wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Drain(ctx, 0); err != nil {
		t.Errorf("Drain = %v", err)
	}
	close(started)
	close(b.records)
	oneEach(t, started, b.records)
	if g := b.Gauges(); g != (Gauges{}) || len(b.sessions)+len(b.index.bases)+len(b.index.names)+b.open != 0 {
		t.Errorf("gauges = %+v, %d sessions, %d bases, %d names are left", g, len(b.sessions), len(b.index.bases), len(b.index.names))
	}
	if taken := b.plans.SeatsTaken(); len(taken) > 0 {
		t.Errorf("seats are taken at the end: %v", taken)
	}
	for range total { // all seats are free
		if _, err := b.plans.Enter(t.Context(), subscriber); err != nil {
			t.Fatalf("Enter = %v", err)
		}
	}
	if _, err := b.plans.Enter(t.Context(), subscriber); err == nil {
		t.Errorf("more than %d sat down", total)
	}
	eventually(t, "sockets", sockets, func() int { return openFiles(t) })
	eventually(t, "goroutines", routines, runtime.NumGoroutine)
}

// oneEach checks that there is one record for each session that was started.
func oneEach(t *testing.T, started <-chan string, records <-chan Record) {
	t.Helper()
	want := map[string]int{}
	for ref := range started {
		want[ref]++
	}
	for r := range records {
		if want[r.Ref]--; r.Ending.Reason == ending.Unspecified || want[r.Ref] != 0 {
			t.Errorf("record %+v, %d to come", r, want[r.Ref])
		}
		delete(want, r.Ref)
	}
	if len(want) != 0 {
		t.Errorf("%d sessions left no record", len(want))
	}
}

// cleaner collects the clean-up of one ending, whose sockets must not stay open
// until the test's end.
type cleaner struct {
	testing.TB
	fns []func()
}

func (c *cleaner) Cleanup(fn func()) { c.fns = append(c.fns, fn) }

func (c *cleaner) clean() {
	for _, fn := range c.fns {
		fn()
	}
}

// eventually waits until a number is what it was.
func eventually(t testing.TB, what string, want int, count func() int) {
	t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	got := count()
	for end := time.Now().Add(patience); got > want && time.Now().Before(end); got = count() {
		<-poll.C
	}
	if got > want {
		t.Errorf("%d %s, %d before", got, what, want)
	}
}

func openFiles(t *testing.T) int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc")
	}
	return len(files)
}
