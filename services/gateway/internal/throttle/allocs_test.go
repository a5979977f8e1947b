//go:build !race

package throttle

import (
	"runtime"
	"testing"
)

// TestHoldKeepsLittle bounds what a session keeps here as long as it lives: its hold, its
// seats, and the limits that it has for itself with their chain. It is a part of the memory of
// an idle session, of which docs/performance.md has what all of it may be.
func TestHoldKeepsLittle(t *testing.T) {
	for _, test := range []struct {
		limited bool
		most    int64 // bytes
	}{{false, 208}, {true, 656}} {
		come := inGroup(t, test.limited)
		come().Release()
		const sessions = 2000
		holds := make([]*Hold, sessions)
		before := inUse()
		for i := range holds {
			holds[i] = come()
		}
		if got := (inUse() - before) / sessions; got > test.most {
			t.Errorf("limited: %v: a session keeps %d bytes, want at most %d", test.limited, got, test.most)
		}
		for _, h := range holds {
			h.Release()
		}
	}
}

// inUse returns the bytes of all that is reachable.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what the first one left to be swept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
