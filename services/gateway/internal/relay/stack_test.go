//go:build !race && amd64

package relay

import (
	"runtime"
	"testing"
	"time"
)

// TestStacksStaySmall relays messages and answers pings: the stacks must not
// grow beyond what an idle session's goroutines have, 2 KiB each.
func TestStacksStaySmall(t *testing.T) {
	cfg := quick()
	cfg.Ping, cfg.Pong = 50*time.Millisecond, time.Hour
	e := NewEngine(cfg)
	// Goroutines start with a stack of the average size, which these bring down.
	for range 300 {
		newRigOn(t, e, mode{}, Options{}, nil, nil)
	}
	const sessions = 100
	empty := stacks()
	rigs := make([]*rig, sessions)
	for i := range rigs {
		rigs[i] = newRigOn(t, e, mode{}, Options{}, nil, nil)
	}
	idle := stacks()
	for _, r := range rigs {
		for range 3 {
			r.client.send(text("hello"))
			r.backend.answerUntil(text("hello"))
			r.backend.send(text("hello"))
			r.client.answerUntil(text("hello"))
		}
		r.client.answerUntil(frame{first: 0x89})
		r.backend.answerUntil(frame{first: 0x89})
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	active := int(m.StackInuse)
	t.Logf("%d bytes of stack for each goroutine that waits, %d after it worked", (idle-empty)/(2*sessions), (active-empty)/(2*sessions))
	if each := (active - empty) / (2 * sessions); each > 3<<10 {
		t.Errorf("%d bytes of stack for each goroutine, want 2 KiB", each)
	}
}

// answerUntil reads frames up to this one, or up to any ping, and answers pings.
func (p *peer) answerUntil(want frame) {
	p.t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("%s: %v, want %v", p.name, err, want)
		}
		if f.first == 0x89 {
			p.send(pong(string(f.payload)))
		}
		if f.first == want.first {
			return
		}
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
