package standalone

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// TestHint looks once a minute whether the first password is good, and no more once it is
// not.
func TestHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks, good, failure := 0, true, error(nil)
		h := &hint{path: "data/admin-password", log: slog.New(slog.DiscardHandler), good: func(context.Context) (bool, error) {
			looks++
			return good, failure
		}}
		expect := func(want string, wantLooks int) {
			t.Helper()
			if got := h.text(t.Context()); got != want || looks != wantLooks {
				t.Errorf("text = %q after %d looks, want %q after %d", got, looks, want, wantLooks)
			}
		}
		expect("data/admin-password", 1)
		expect("data/admin-password", 1)
		time.Sleep(hintKeeps + time.Second)
		failure = errors.New("away")
		expect("", 2)
		failure, good = nil, false
		expect("", 3)
		time.Sleep(2 * hintKeeps)
		good = true
		expect("", 3)
	})
}
