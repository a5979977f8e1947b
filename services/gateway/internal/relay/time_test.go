package relay

import (
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// TestExpiry ends sessions whose credential ends, also for a client that only
// listens, and moves that end.
func TestExpiry(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		begin := time.Now()
		r := newRig(t, quick(), m, ending.Terms{Expires: begin.Add(60 * time.Millisecond)})
		r.client.expectClose(4001, "EXPIRED")
		r.backend.expectClose(1001, "EXPIRED")
		if d := time.Since(begin); d < 60*time.Millisecond {
			t.Errorf("expired after %v, want 60ms at least", d)
		}
		r.hangUp()
		r.check(t, ending.Gateway, ending.Expired, 4001, 0, 1001, 0)

		r = newRig(t, quick(), m, ending.Terms{Expires: time.Now().Add(time.Hour)})
		r.SetExpiry(time.Time{})
		r.SetExpiry(time.Now().Add(-time.Second))
		r.client.expectClose(4001, "EXPIRED")
		r.hangUp()
		r.check(t, ending.Gateway, ending.Expired, 4001, 0, 1001, 0)

		r = newRig(t, quick(), m, ending.Terms{})
		begin = time.Now()
		r.mu.Lock() // nobody looks between the two
		r.setExpiry(begin.Add(40 * time.Millisecond))
		r.setExpiry(begin.Add(200 * time.Millisecond))
		r.mu.Unlock()
		r.client.expectClose(4001, "EXPIRED")
		if d := time.Since(begin); d < 200*time.Millisecond {
			t.Errorf("expired after %v, though that was moved to 200ms", d)
		}
	})
}

// TestMaxAge ends a session of its age, with a hint when to come back.
func TestMaxAge(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		begin := time.Now()
		r := newRig(t, quick(), m, ending.Terms{MaxAge: 100 * time.Millisecond, Retry: 2 * time.Second})
		if got := r.client.expectClose(1012, "MAX_AGE"); !strings.HasSuffix(got, " retry=2000ms") {
			t.Errorf("reason = %q, want a hint of 2000ms", got)
		}
		if d := time.Since(begin); d < 90*time.Millisecond {
			t.Errorf("ended after %v, want 90ms at least", d)
		}
		r.backend.expectClose(1001, "MAX_AGE")
		r.hangUp()
		r.check(t, ending.Gateway, ending.MaxAge, 1012, 0, 1001, 0)
	})
}

// TestWheelHorizon waits for longer than the wheel can hold.
func TestWheelHorizon(t *testing.T) {
	cfg := quick()
	cfg.Tick = 100 * time.Microsecond
	begin := time.Now()
	wait := 3 * wheelSlots * cfg.Tick / 2
	r := newRig(t, cfg, mode{}, ending.Terms{Expires: begin.Add(wait)})
	r.client.expectClose(4001, "EXPIRED")
	if d := time.Since(begin); d < wait {
		t.Errorf("expired after %v, want %v at least", d, wait)
	}
}
