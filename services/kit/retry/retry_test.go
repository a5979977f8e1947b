package retry_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/retry"
)

func TestNext(t *testing.T) {
	b := retry.Backoff{Min: 100 * time.Millisecond, Max: time.Second}
	for round := range 100 {
		for i, step := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			step *= time.Millisecond
			if got := b.Next(); got < step/2 || got > step {
				t.Fatalf("round %d: pause %d = %v, want %v to %v", round, i, got, step/2, step)
			}
		}
		b.Reset()
	}
}

func TestPausesDiffer(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 10 {
		b := retry.Backoff{Min: time.Hour, Max: time.Hour}
		seen[b.Next()] = true
	}
	if len(seen) < 2 {
		t.Error("ten backoffs began with the same pause")
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		b := retry.Backoff{Min: time.Second, Max: 2 * time.Second}
		for range 3 {
			if !b.Wait(t.Context()) {
				t.Error("Wait = false, want true")
			}
		}
		if took := time.Since(begin); took < 2500*time.Millisecond || took > 5*time.Second {
			t.Errorf("three pauses took %v, want 2.5s to 5s", took)
		}
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if retry.Sleep(ctx, time.Hour) {
			t.Error("Sleep = true, want false when the context ends")
		}
		if retry.Sleep(ctx, 0) {
			t.Error("Sleep with an ended context = true, want false")
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("it took %v, want 1s", took)
		}
	})
}
