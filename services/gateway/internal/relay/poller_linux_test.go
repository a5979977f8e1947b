//go:build !portable

package relay

import (
	"runtime"
	"testing"
)

// TestSessionsCostNoGoroutine has sessions that are idle, and such that were used.
func TestSessionsCostNoGoroutine(t *testing.T) {
	for _, m := range modes[:2] {
		e := NewEngine(quick())
		rigs := make([]*rig, 20)
		rigs[0] = newRigOn(t, e, m, Options{}, nil, nil)
		before := runtime.NumGoroutine()
		for i := range rigs[1:] {
			rigs[i+1] = newRigOn(t, e, m, Options{}, nil, nil)
		}
		for range 3 {
			for _, r := range rigs {
				r.talk()
			}
			until(t, "sessions have no goroutines", func() bool { return runtime.NumGoroutine() <= before })
		}
	}
}
