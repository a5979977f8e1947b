package grant_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
)

// TestRenew gives a session another grant: what the old one rested on finds it no more, what
// the new one rests on does.
func TestRenew(t *testing.T) {
	r := newRig(t, grant.Default(), answers(good("a", 0)))
	s := r.register(t, issued("old", "applications/a", 1))
	next, position := r.granted(t, "a", 1)
	if err := r.Renew(t.Context(), s, next, position); err != nil || s.Grant() != next || s.Info().Renewals != 1 || s.Info().Renewed == 0 {
		t.Fatalf("Renew = %v, the grant is %v, renewed %d times", err, s.Grant(), s.Info().Renewals)
	}
	if n := r.Apply(1, grant.Event{Kind: grant.TokenRevoked, Names: []string{"grants/old"}}); n != 0 || s.Err() != nil {
		t.Errorf("the revocation of the old token has ended %d: %v", n, s.Err())
	}
	if n := r.Apply(2, grant.Event{Kind: grant.TokenRevoked, Names: []string{"grants/a"}}); n != 1 || s.Err() == nil {
		t.Errorf("the revocation of the new token has ended %d: %v", n, s.Err())
	}
}

// TestRenewIsVoid applies an event, or a reset, between the verification of the new credential
// and the renewal: the session keeps what it has, and lives on.
func TestRenewIsVoid(t *testing.T) {
	for name, between := range map[string]func(*rig){
		"revoked": func(r *rig) { r.Apply(1, grant.Event{Kind: grant.TokenRevoked, Names: []string{"grants/a"}}) },
		"changed": func(r *rig) { r.Apply(1, grant.Event{Kind: grant.Changed, Names: []string{"subscriptions/1"}}) },
		"reset":   func(r *rig) { r.Reset(1) },
	} {
		r := newRig(t, grant.Default(), answers(good("a", 0)))
		old := issued("old", "applications/a", 1)
		s := r.register(t, old)
		next, position := r.granted(t, "a", 1)
		between(r)
		if err := r.Renew(t.Context(), s, next, position); !errors.Is(err, grant.ErrVoid) || s.Grant() != old || s.Err() != nil || s.Info().Renewals != 0 {
			t.Errorf("%s: Renew = %v, the grant is %v, the session %v, want ErrVoid and all as it was", name, err, s.Grant(), s.Err())
		}
	}
}

// TestRenewAfterTheEnd has a session that was ended before its renewal.
func TestRenewAfterTheEnd(t *testing.T) {
	r := newRig(t, grant.Default(), answers(good("a", 0)))
	s := r.register(t, issued("old", "applications/a", 1))
	next, position := r.granted(t, "a", 1)
	s.End(ending.New(ending.Revoked, ""))
	if err := r.Renew(t.Context(), s, next, position); err == nil || s.Info().Renewals != 0 {
		t.Errorf("Renew = %v, renewed %d times, want how the session ended", err, s.Info().Renewals)
	}
}

// TestRenewWaitsForARefresh has a refresh of the old grant under way: its answer is for the old
// grant, and does not take the place of the new one.
func TestRenewWaitsForARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		old := issued("old", "applications/a", 1)
		src := answers(good("a", 0))
		src.read = func([]*grant.Grant) (grant.States, error) {
			<-release
			return grant.States{States: []grant.State{{Grant: issued("old", "applications/a", 1)}}, AsOf: 1}, nil
		}
		r := newRig(t, grant.Default(), src)
		s := r.register(t, old)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan struct{})
		go func() { defer close(ran); _ = r.Run(ctx) }()
		r.Apply(1, grant.Event{Kind: grant.Changed, Names: []string{"applications/a"}})
		synctest.Wait() // the refresh has asked
		next, position := r.granted(t, "a", 1)
		renewed := make(chan error)
		go func() { renewed <- r.Renew(t.Context(), s, next, position) }()
		synctest.Wait()
		if s.Grant() != old {
			t.Error("the session was renewed while its old grant is refreshed")
		}
		close(release)
		if err := <-renewed; err != nil || s.Grant() != next {
			t.Errorf("Renew = %v, the grant is %v, want the new one", err, s.Grant())
		}
		stop()
		<-ran
		s.Abandon()
	})
}
