//go:build !race && !portable

package relay

import "testing"

// TestRelayAllocates relays without allocating. Under the race detector pools
// forget at random what they are given.
func TestRelayAllocates(t *testing.T) {
	for _, flight := range []int{1, 16} {
		e := newLoop(t, mode{}, flight, 128)
		e.trip(t)
		if n := testing.AllocsPerRun(500, func() { e.trip(t) }); n != 0 {
			t.Errorf("%v allocations for a round trip of %d messages, want none", n, flight)
		}
	}
}
