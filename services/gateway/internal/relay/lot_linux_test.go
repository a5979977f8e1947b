package relay

import (
	"runtime"
	"testing"
	"time"
)

// restful is a configuration under which legs are left to the lot soon.
func restful() Config {
	cfg := quick()
	cfg.Tick, cfg.Rest = time.Millisecond, time.Millisecond
	return cfg
}

// parkedBoth waits until both legs are in the lot.
func (r *rig) parkedBoth(t *testing.T) {
	t.Helper()
	r.until(t, "both legs are parked", func() bool { return r.Relay.client.parked && r.Relay.backend.parked })
}

// TestIdleCostsNoGoroutine has sessions that are idle from the start, and such
// that have become it. TLS legs are looked at once, for what TLS may hold already.
func TestIdleCostsNoGoroutine(t *testing.T) {
	for _, m := range modes[:2] {
		e := NewEngine(restful())
		rigs := make([]*rig, 20)
		rigs[0] = newRigOn(t, e, m, Options{}, nil, nil)
		rigs[0].parkedBoth(t)
		before := runtime.NumGoroutine()
		for i := range rigs[1:] {
			rigs[i+1] = newRigOn(t, e, m, Options{}, nil, nil)
		}
		check := func() {
			t.Helper()
			for _, r := range rigs {
				r.parkedBoth(t)
			}
			rigs[0].until(t, "idle sessions have no goroutines", func() bool { return runtime.NumGoroutine() <= before })
		}
		check()
		for range 3 {
			for _, r := range rigs {
				r.talk()
			}
			check()
		}
	}
}

// TestParkedLegs tries all that can come to a session whose legs are in the lot.
func TestParkedLegs(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		start := func(o Options) *rig {
			r := newRig(t, restful(), m, o)
			r.parkedBoth(t)
			return r
		}
		t.Run("woken for nothing", func(t *testing.T) {
			r := start(Options{})
			for _, l := range r.legs() {
				r.mu.Lock()
				r.unpark(l)
				r.mu.Unlock()
			}
			r.parkedBoth(t)
			r.client.send(text("hello"))
			r.backend.expect(text("hello"))
		})
		t.Run("ended", func(t *testing.T) {
			r := start(Options{})
			r.End(Cause{By: Gateway, Word: "KICKED", Code: 4010})
			r.client.expectClose(4010, "KICKED")
			r.backend.expectClose(1001, "KICKED")
			r.hangUp()
			r.check(t, Gateway, "KICKED", 4010, 0, 1001, 0)
		})
		t.Run("cut", func(t *testing.T) {
			r := start(Options{})
			r.Cut(Cause{By: Gateway, Word: "CUT", Code: 4010})
			r.hangUp()
			if o := r.outcome(t); o.Cause.Word != "CUT" {
				t.Errorf("cause = %+v, want CUT", o.Cause)
			}
		})
		t.Run("close not answered", func(t *testing.T) {
			cfg := restful()
			cfg.Close = 20 * time.Millisecond
			r := newRig(t, cfg, m, Options{})
			r.parkedBoth(t)
			r.End(Cause{By: Gateway, Word: "KICKED", Code: 4010})
			r.check(t, Gateway, "KICKED", 4010, 0, 1001, 0)
		})
		t.Run("client gone", func(t *testing.T) {
			r := start(Options{})
			r.client.Close()
			r.backend.expectClose(1001, "CLIENT_GONE")
			r.hangUp()
			r.check(t, Client, "CLIENT_GONE", 0, 0, 1001, 0)
		})
		t.Run("backend reset", func(t *testing.T) {
			r := start(Options{})
			r.backend.reset()
			r.client.expectClose(1014, "BACKEND_GONE")
			r.hangUp()
			r.check(t, Backend, "BACKEND_GONE", 1014, 0, 0, 0)
		})
	})
}

// TestWithoutLot has sessions whose kernel gives no lot: they keep their
// goroutines and work as well.
func TestWithoutLot(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		e := NewEngine(restful())
		newRigOn(t, e, mode{}, Options{}, nil, nil) // keeps the engine going
		e.mu.Lock()
		e.lot = nil
		e.mu.Unlock()
		r := newRigOn(t, e, m, Options{}, nil, nil)
		for range 3 {
			r.talk()
		}
		r.client.send(closing(1000, "done"))
		r.backend.expect(closing(1000, "done"))
		r.backend.send(closing(1000, "done"))
		r.client.expect(closing(1000, "done"))
		r.hangUp()
		r.check(t, Client, "CLOSE", 1000, 1000, 1000, 1000)
	})
}
