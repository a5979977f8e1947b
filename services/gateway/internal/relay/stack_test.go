//go:build !race && amd64 && linux && !portable

package relay

import (
	"runtime"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// TestStacksStaySmall relays messages and answers pings: the stacks of the
// goroutines that do it must not grow beyond the 2 KiB that they start with.
func TestStacksStaySmall(t *testing.T) {
	cfg := quick()
	cfg.Ping, cfg.Pong = 50*time.Millisecond, time.Hour
	e := NewEngine(cfg)
	// Goroutines start with a stack of the average size, which these bring down.
	for range 300 {
		newRigOn(t, e, mode{}, ending.Terms{}, nil, nil).talk()
	}
	const sessions = 100
	empty := stacks()
	rigs := make([]*rig, sessions)
	for i := range rigs {
		rigs[i] = newRigOn(t, e, mode{}, ending.Terms{}, nil, nil)
	}
	idle := stacks()
	for _, r := range rigs {
		for range 3 {
			r.talk()
		}
		r.client.answerUntil(wireFrame{first: 0x89})
		r.backend.answerUntil(wireFrame{first: 0x89})
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	active := int(m.StackInuse)
	t.Logf("%d bytes of stack for each leg that was not used, %d after it was", (idle-empty)/(2*sessions), (active-empty)/(2*sessions))
	if each := (idle - empty) / (2 * sessions); each > 500 { // a span is 32 KiB
		t.Errorf("%d bytes of stack for each leg that was not used, want none", each)
	}
	if each := (active - empty) / (2 * sessions); each > 3<<10 {
		t.Errorf("%d bytes of stack for each goroutine, want 2 KiB", each)
	}
}

// stacks returns how large the stacks are once those that can shrink have.
func stacks() int {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.StackInuse)
}
