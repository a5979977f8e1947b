package relay

import (
	"bytes"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// TestZeroIsOff turns off one bound after another: what it would end goes on.
func TestZeroIsOff(t *testing.T) {
	t.Run("pong", func(t *testing.T) {
		cfg := quick()
		cfg.Ping, cfg.Pong = 10*time.Millisecond, 0
		r := newRig(t, cfg, mode{}, ending.Terms{})
		for range 3 { // which nobody answers
			if f, err := r.client.next(); err != nil || f.first != 0x89 {
				t.Fatalf("the client gets %v, %v, want a ping", f, err)
			}
		}
		r.backend.send(text("fine"))
		skipTo(t, r.client, text("fine"))
	})
	t.Run("flood", func(t *testing.T) {
		cfg := quick()
		cfg.Flood = 0
		r := newRig(t, cfg, mode{}, ending.Terms{})
		r.client.sendRaw(append(bytes.Repeat(pong("x").bytes(true), 1000), text("fine").bytes(true)...))
		r.backend.expect(text("fine"))
	})
	t.Run("message", func(t *testing.T) {
		cfg := quick()
		cfg.MaxMessage = 0
		r := newRig(t, cfg, mode{}, ending.Terms{})
		large := string(bytes.Repeat([]byte("x"), 3<<20))
		go func() { _, _ = r.client.Write(text(large).bytes(true)) }()
		r.backend.expect(text(large))
	})
	t.Run("write", func(t *testing.T) {
		cfg := quick()
		cfg.Write = 0
		r := newRig(t, cfg, mode{}, ending.Terms{})
		r.client.keepLittle()
		stop := make(chan struct{})
		sent := make(chan int)
		go func() { sent <- r.backend.floodData(stop) }()
		stalled := func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.legs()[0].out.stalled != 0
		}
		for deadline := time.Now().Add(patience); !stalled(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the leg of a client that does not read does not stall")
			}
		}
		r.mu.Lock()
		r.checkLeg(r.legs()[0], r.engine.now()+int64(24*time.Hour))
		if r.Relay.ended != nil {
			t.Errorf("a client that takes no byte for a day ends the session: %+v", *r.Relay.ended)
		}
		r.mu.Unlock()
		close(stop)
		r.client.reset()
		r.backend.reset()
		<-sent
		r.outcome(t)
	})
}
