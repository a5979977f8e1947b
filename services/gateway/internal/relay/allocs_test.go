//go:build !race && !portable

package relay

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// TestRelayAllocates relays without allocating. Under the race detector pools
// forget at random what they are given.
func TestRelayAllocates(t *testing.T) {
	for name, terms := range map[string]ending.Terms{"no limits": {}, "limits": roomy(t)} {
		for _, flight := range []int{1, 16} {
			e := newLoop(t, mode{}, flight, 128, terms)
			e.trip(t)
			if n := testing.AllocsPerRun(500, func() { e.trip(t) }); n != 0 {
				t.Errorf("%s: %v allocations for a round trip of %d messages, want none", name, n, flight)
			}
		}
	}
}

// TestDropAllocates drops and divides without allocating.
func TestDropAllocates(t *testing.T) {
	r, src := newWalk(true, false, 1<<20)
	l := rate(t, limits.Terms{Reaction: limits.Drop}, limits.Rate{Amount: 1, Per: time.Hour, Burst: 1})
	r.start = &start{frames: ending.ErrorFrames{Template: ending.JSONFrames}}
	q := r.makeLimited()
	q.chain = chainOf(t, l)
	b := bytes.Repeat(append(wireFrame{0x82, make([]byte, 100)}.bytes(true), bytesOf(true, wireFrame{0x01, []byte("x")}, wireFrame{0x80, nil})...), 20)
	in := bytes.Clone(b)
	c := new(chunk)
	if n := testing.AllocsPerRun(1000, func() {
		q.client.keep().drops = math.MinInt32
		copy(in, b)
		c.rest = in
		if r.admit(c, src); c.end != nil || len(c.rest) > 0 {
			t.Fatal(c.end, len(c.rest))
		}
	}); n != 0 {
		t.Errorf("%v allocations for 40 dropped messages, want none", n)
	}
}
