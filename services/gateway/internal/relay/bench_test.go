package relay

import (
	"fmt"
	"io"
	"math"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// loop is a session whose peers pass bursts of messages to and fro without
// allocating or looking at them.
type loop struct {
	*rig
	request, reply []byte // a burst as the client sends it, and as it comes back
	in             []byte
}

func newLoop(t testing.TB, m mode, flight, size int, terms ending.Terms) *loop {
	t.Helper()
	e := &loop{rig: newRig(t, Default(), m, terms)}
	for range flight {
		f := wireFrame{0x82, make([]byte, size)}
		e.request, e.reply = append(e.request, f.bytes(true)...), append(e.reply, f.bytes(false)...)
	}
	e.in = make([]byte, len(e.request))
	go func() {
		in := make([]byte, len(e.request))
		for {
			if _, err := io.ReadFull(e.backend.Conn, in); err != nil {
				return
			}
			if _, err := e.backend.Write(e.reply); err != nil {
				return
			}
		}
	}()
	return e
}

func (e *loop) trip(t testing.TB) {
	if _, err := e.client.Write(e.request); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(e.client.Conn, e.in[:len(e.reply)]); err != nil {
		t.Fatal(err)
	}
}

// roomy returns the terms of a session with limits at four places, its own among them, that
// let everything pass: rates of messages and of bytes at each, and quotas at those that are
// shared.
func roomy(t testing.TB) ending.Terms {
	t.Helper()
	return ending.Terms{Limits: ending.Limits{Chain: roomyChain(t)}}
}

func roomyChain(t testing.TB) *limits.Chain {
	t.Helper()
	rates := func(at limits.Place) (both []*limits.Limit) {
		for _, unit := range []limits.Unit{limits.Messages, limits.Bytes} {
			both = append(both, rate(t, limits.Terms{Place: at, Unit: unit}, limits.Rate{Amount: 1 << 40, Per: time.Second, Burst: 1 << 40}))
		}
		return both
	}
	all := rates(limits.Subscription)
	for at := limits.Subscription; at <= limits.Version; at++ {
		w := limits.Window{Number: 1, End: math.MaxInt64}
		q := limits.NewQuota(w)
		q.Grant(0, w, 1<<60)
		quota, err := limits.NewQuotaLimit(limits.Terms{Place: at, Reaction: limits.Drop}, q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, rates(at)...), quota)
	}
	return chainOf(t, all...)
}

// BenchmarkEcho sends messages through a session and back. It counts messages.
func BenchmarkEcho(b *testing.B) { benchmarkEcho(b, ending.Terms{}) }

// BenchmarkLimitedEcho is BenchmarkEcho with limits that let everything pass.
func BenchmarkLimitedEcho(b *testing.B) { benchmarkEcho(b, roomy(b)) }

func benchmarkEcho(b *testing.B, terms ending.Terms) {
	for _, m := range modes[:2] {
		for _, flight := range []int{1, 16} {
			for _, size := range []int{128, 16 << 10} {
				b.Run(fmt.Sprintf("%v/flight=%d/size=%d", m, flight, size), func(b *testing.B) {
					e := newLoop(b, m, flight, size, terms)
					b.SetBytes(int64(size))
					b.ReportAllocs()
					b.ResetTimer()
					for n := 0; n < b.N; n += flight {
						e.trip(b)
					}
				})
			}
		}
	}
}
