package session

import (
	"context"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// endings are the ways in which sessions end.
var endings = []func(b *bench, s *Session){
	func(_ *bench, s *Session) { s.Abandon() },
	func(_ *bench, s *Session) { s.End(Revoked("")); s.Abandon() },
	func(b *bench, s *Session) { s.End(Revoked("")); b.start(s) },
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
	func(b *bench, s *Session) { client, _ := b.start(s); client.reset() },
	func(b *bench, s *Session) { _, backend := b.start(s); backend.reset() },
	func(b *bench, s *Session) { b.start(s); s.End(Closed("")) },
	func(b *bench, s *Session) { b.start(s); s.cut(Drained(0)) },
	func(b *bench, s *Session) { b.start(s); s.SetExpiry(time.Now()) },
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
	_ = p.Conn.(*net.TCPConn).SetLinger(0)
	_ = p.Close()
}

// TestNoLeak ends a thousand sessions in every way, many at a time. Afterwards
// there are as many goroutines and sockets as before, and one record for each
// that was started.
func TestNoLeak(t *testing.T) {
	b := newBench(t)
	total := 1000
	if testing.Short() {
		total = 100
	}
	sockets, routines := openFiles(t), runtime.NumGoroutine()
	started := make(chan string, total)
	b.cfg.Began = func(s *Session) { started <- s.Ref() }
	var wg sync.WaitGroup
	next := make(chan int)
	for range 20 {
		wg.Go(func() {
			for i := range next {
				own := *b
				own.t = &cleaner{TB: t}
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
	want := map[string]int{}
	for ref := range started {
		want[ref]++
	}
	close(b.records)
	for r := range b.records {
		if want[r.Ref]--; r.Cause.Word == "" || want[r.Ref] != 0 {
			t.Errorf("record %+v, %d to come", r, want[r.Ref])
		}
		delete(want, r.Ref)
	}
	if len(want) != 0 {
		t.Errorf("%d sessions left no record", len(want))
	}
	if g := b.Gauges(); g != (Gauges{}) || len(b.sessions)+len(b.index.bases)+len(b.index.names)+b.open != 0 {
		t.Errorf("gauges = %+v, %d sessions, %d bases, %d names are left", g, len(b.sessions), len(b.index.bases), len(b.index.names))
	}
	eventually(t, "sockets", sockets, func() int { return openFiles(t) })
	eventually(t, "goroutines", routines, runtime.NumGoroutine)
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
func eventually(t *testing.T, what string, want int, count func() int) {
	t.Helper()
	got := count()
	for end := time.Now().Add(patience); got > want && time.Now().Before(end); got = count() {
		runtime.Gosched()
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
