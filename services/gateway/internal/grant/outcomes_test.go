package grant_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// outcomes counts what the interleavings led to, to make sure that they cover what
// they are for.
type outcomes struct {
	lives, ended, expired, raced, denied, unknown, free, moved atomic.Int64
	opened, spent, barred, renewed, void                       atomic.Int64
}

func (o *outcomes) add(w *world) {
	for _, h := range w.all {
		var over *session.EndedError
		if h.session != nil && h.free {
			o.free.Add(1)
			if h.session.Grant().Subscription != "" {
				o.moved.Add(1)
			}
		}
		o.renewed.Add(int64(h.renewed))
		o.void.Add(int64(h.void))
		if h.ticket != nil && h.session != nil {
			o.opened.Add(1)
		}
		if errors.Is(h.err, grant.ErrSpent) {
			o.spent.Add(1)
		}
		if h.session != nil && errors.As(h.session.Err(), &over) && strings.HasPrefix(over.Ending.Detail, "denied by ") || errors.Is(h.err, errDenied) {
			o.barred.Add(1)
		}
		switch {
		case h.session != nil && h.session.Err() == nil:
			o.lives.Add(1)
		case h.session != nil && hasExpired(h.session.Err()):
			o.expired.Add(1)
		case h.session != nil:
			o.ended.Add(1)
		case errors.As(h.err, &over):
			o.raced.Add(1)
		case errors.Is(h.err, grant.ErrUnavailable):
			o.unknown.Add(1)
		default:
			o.denied.Add(1)
		}
	}
}

// check makes sure that each outcome is that of enough interleavings.
func (o *outcomes) check(t *testing.T, all int64) {
	t.Helper()
	for _, of := range []struct {
		what       string
		n, atLeast int64
	}{
		{"sessions that live", o.lives.Load(), all / 20},
		{"sessions that ended", o.ended.Load(), all / 20},
		{"sessions that expired", o.expired.Load(), all / 20},
		{"handshakes refused in a race", o.raced.Load(), all / 20},
		{"denials", o.denied.Load(), all / 20},
		{"sessions without a subscription", o.free.Load(), all / 20},
		{"such sessions that got one", o.moved.Load(), all / 200},
		{"sessions that a ticket opened", o.opened.Load(), all / 20},
		{"tickets that were shown again", o.spent.Load(), all / 20},
		{"renewals", o.renewed.Load(), all / 5},
		{"renewals that an event has made void", o.void.Load(), all / 200},
		{"sessions and handshakes that a deny rule ended", o.barred.Load(), all / 50},
	} {
		t.Logf("%d %s", of.n, of.what)
		if of.n < of.atLeast {
			t.Errorf("%d %s in %d interleavings, want at least %d", of.n, of.what, all, of.atLeast)
		}
	}
}
