package grant_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/moment"
)

// issued returns a grant of an application whose credential was issued after a change.
func issued(token, application string, change uint64) *grant.Grant {
	return &grant.Grant{
		Name: "grants/" + token, Version: version1, Application: application, Issued: moment.Moment{Change: change, Time: int64(change)},
		RestsOn: []string{"grants/" + token, application, version1},
	}
}

// register registers a session with a grant.
func (r *rig) register(t *testing.T, g *grant.Grant) *session.Session {
	t.Helper()
	s, err := r.registry.New(nil, session.Info{Route: &session.Route{API: "apis/x", Version: version1}, Grant: g})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abandon)
	return s
}

// TestRevokedBefore ends the sessions of what was issued before a change, live ones and those
// that are registered after it was applied, and none of what was issued later.
func TestRevokedBefore(t *testing.T) {
	r := newRig(t, grant.Default(), answers(good("a", 0)))
	old, later := r.register(t, issued("old", "applications/a", 6)), r.register(t, issued("later", "applications/a", 7))
	_, position := r.granted(t, "a", 1)
	revoked := grant.Event{Kind: grant.Revoked, Names: []string{"applications/a"}, IssuedBefore: moment.Moment{Change: 7, Time: 7}}
	if n := r.Apply(7, revoked); n != 1 || old.Err() == nil || later.Err() != nil {
		t.Errorf("Apply has ended %d; old: %v, later: %v, want the old one ended alone", n, old.Err(), later.Err())
	}
	for change, want := range map[uint64]bool{6: true, 7: false} {
		s := r.register(t, issued("new", "applications/a", change))
		if err := r.Confirm(t.Context(), s, position); (err != nil) != want {
			t.Errorf("Confirm(issued after %d) = %v, want an end: %v", change, err, want)
		}
	}
}

// TestRevokedOfApplication ends the sessions of a token's name where they are of the
// application.
func TestRevokedOfApplication(t *testing.T) {
	r := newRig(t, grant.Default(), answers(good("a", 0)))
	mine, other := r.register(t, issued("t", "applications/a", 1)), r.register(t, issued("t", "applications/b", 1))
	if n := r.Apply(7, grant.Event{Kind: grant.Revoked, Names: []string{"grants/t"}, Application: "applications/a"}); n != 1 || mine.Err() == nil || other.Err() != nil {
		t.Errorf("Apply has ended %d; of the application: %v, of another: %v", n, mine.Err(), other.Err())
	}
}

// TestClosed waits for a change, and says how many sessions it has ended.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := grant.Default()
		cfg.MaxEvents = 2
		r := newRig(t, cfg, answers(good("a", 0)))
		for range 3 {
			r.register(t, issued("t", "applications/a", 1))
		}
		asked := make(chan int)
		go func() {
			n, err := r.Closed(t.Context(), 8)
			if err != nil {
				t.Errorf("Closed(8) = %v", err)
			}
			asked <- n
		}()
		synctest.Wait()
		r.Apply(7, grant.Event{})
		select {
		case n := <-asked:
			t.Errorf("Closed(8) = %d after change 7", n)
		default:
		}
		synctest.Wait()
		revoke := grant.Event{Kind: grant.TokenRevoked, Names: []string{"grants/t"}}
		r.Apply(8, revoke)
		if n := <-asked; n != 3 {
			t.Errorf("Closed(8) = %d, want 3", n)
		}
		closed := func(change uint64, want int, wantErr error) {
			t.Helper()
			if n, err := r.Closed(t.Context(), change); n != want || !errors.Is(err, wantErr) {
				t.Errorf("Closed(%d) = %d, %v, want %d, %v", change, n, err, want, wantErr)
			}
		}
		closed(7, 0, nil)
		for change := uint64(9); change < 12; change++ {
			r.register(t, issued("t", "applications/a", 1))
			r.Apply(change, revoke)
		}
		closed(8, 0, grant.ErrNotCounted) // no more are kept
		closed(11, 1, nil)
		r.Reset(20)
		closed(11, 0, grant.ErrNotCounted)
		closed(20, 0, grant.ErrNotCounted)
		r.Apply(21, grant.Event{})
		closed(21, 0, nil)
		left, leave := context.WithCancel(t.Context())
		leave()
		if _, err := r.Closed(left, 22); !errors.Is(err, context.Canceled) {
			t.Errorf("Closed of a caller who left = %v", err)
		}
	})
}
