package relay

import (
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// TestIdle ends sessions without messages, however often their peers ping.
func TestIdle(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		begin := time.Now()
		r := newRig(t, quick(), m, ending.Terms{Idle: 100 * time.Millisecond})
		r.client.send(ping("a"), pong("unasked"))
		r.client.expect(pong("a"))
		r.client.expectClose(1001, "IDLE")
		r.backend.expectClose(1001, "IDLE")
		if d := time.Since(begin); d < 100*time.Millisecond {
			t.Errorf("ended after %v, want 100ms at least", d)
		}
		r.hangUp()
		if o := r.outcome(t); o.Ending.Reason != ending.Idle || o.Ending.By != ending.Gateway || o.Ending.Detail != "no message for 100ms" {
			t.Errorf("outcome = %+v", o.Ending)
		}
	})
}

// TestIdleIsTheSmaller: of what the terms and the configuration say.
func TestIdleIsTheSmaller(t *testing.T) {
	for _, tt := range []struct{ flag, version, want time.Duration }{
		{0, 0, 0}, {time.Hour, 0, time.Hour}, {0, time.Hour, time.Hour}, {time.Hour, time.Minute, time.Minute}, {time.Minute, time.Hour, time.Minute},
	} {
		cfg := quick()
		cfg.Idle = tt.flag
		r := newRig(t, cfg, mode{}, ending.Terms{Idle: tt.version})
		if got := r.start.idle; got != tt.want {
			t.Errorf("flag %v, version %v: %v, want %v", tt.flag, tt.version, got, tt.want)
		}
	}
}

// TestIdleClock: when the time without a message begins, stands still, and is over.
func TestIdleClock(t *testing.T) {
	const since, second = 100 * int64(time.Second), int64(time.Second)
	limit := rate(t, limits.Terms{}, limits.Rate{Amount: 1, Per: time.Hour, Burst: 1})
	for name, tt := range map[string]struct {
		idle  time.Duration
		set   func(*Relay)
		now   int64
		ended bool
		moved int64 // 0: as it was
	}{
		"not yet":              {10 * time.Second, nil, since + 10*second - 1, false, 0},
		"over":                 {10 * time.Second, nil, since + 10*second, true, 0},
		"without a bound":      {0, nil, since + 1e6*second, false, 0},
		"a paused client":      {10 * time.Second, func(r *Relay) { r.makeLimited().client.keep().limit = limit }, since + 20*second, false, since + 20*second},
		"a paused backend":     {10 * time.Second, func(r *Relay) { r.makeLimited().backend.keep().limit = limit }, since + 20*second, false, since + 20*second},
		"a client that stalls": {10 * time.Second, func(r *Relay) { r.client.out.stalled = since }, since + 20*second, false, since + 20*second},
		"a backend that does":  {10 * time.Second, func(r *Relay) { r.backend.out.stalled = since }, since + 20*second, false, since + 20*second},
	} {
		r := &Relay{engine: NewEngine(Default())}
		r.client.relay, r.backend.relay = r, r
		r.start, r.moved = &start{idle: tt.idle}, since
		if tt.set != nil {
			tt.set(r)
		}
		next := r.nextDeadline()
		if want := since + int64(tt.idle); tt.idle != 0 && next != want || tt.idle == 0 && next != never {
			t.Errorf("%s: the next deadline is %d, want %d", name, next, want)
		}
		r.checkIdle(tt.now)
		if moved := max(tt.moved, since); (r.ended != nil) != tt.ended || r.moved != moved {
			t.Errorf("%s: ended %v, and the time began at %d, want %t and %d", name, r.ended, r.moved, tt.ended, moved)
		}
	}
}

// TestWhatIsNotIdle: each part of a message moves a session on, in both directions, and no
// ping or pong does.
func TestWhatIsNotIdle(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{Idle: time.Hour})
		moves := func() (moved bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			moved, r.moved = r.moved != 0, 0
			return moved
		}
		for _, p := range []struct{ from, to *peer }{{r.client, r.backend}, {r.backend, r.client}} {
			moves()
			p.from.send(ping("a"), pong("b"))
			p.from.expect(pong("a"))
			if moves() {
				t.Errorf("a ping of the %s counts as a message", p.from.name)
			}
			whole := text("0123456789").bytes(p.from.mask)
			half := len(whole) - 5
			p.from.sendRaw(whole[:half])
			if _, err := p.to.in.Peek(half); err != nil {
				t.Fatal(err)
			}
			if !moves() {
				t.Errorf("the beginning of a message of the %s does not count", p.from.name)
			}
			p.from.sendRaw(whole[half:])
			p.to.expect(text("0123456789"))
			if !moves() {
				t.Errorf("the end of a message of the %s does not count", p.from.name)
			}
		}
	})
}
