package grant_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/permit"
)

// keyGrant returns an answer with a grant of an API key that never expires, from these
// networks.
func keyGrant(addresses ...string) grant.Answer {
	a := good("a", 0)
	a.Grant.APIKey, a.Lifetime = "applications/a/apiKeys/k", 0
	for _, text := range addresses {
		a.Grant.Addresses = append(a.Grant.Addresses, netip.MustParsePrefix(text))
	}
	return a
}

// client registers a session of a client at this address with a page of example.com.
func (r *rig) client(t *testing.T, g *grant.Grant, address string) *session.Session {
	t.Helper()
	page := permit.PageOf(nil, []string{"https://example.com"})
	s, err := r.registry.New(nil, session.Info{
		Route: &session.Route{Version: version1}, Grant: g, ClientAddr: netip.MustParseAddrPort(address + ":40000"), Page: &page,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAPIKeyGetsAnEnd: a key that never expires does so after a rotation, for the
// sessions that there are and for those to come.
func TestAPIKeyGetsAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, grant.Default(), answers(keyGrant()))
		g, position := r.granted(t, "a", 1)
		if !g.Expires.IsZero() || g.Expired(time.Now().Add(1000*time.Hour)) {
			t.Fatalf("a key that never expires ends at %v", g.Expires)
		}
		s := r.client(t, g, "192.0.2.1")
		r.source.read = func([]*grant.Grant) (grant.States, error) {
			now := keyGrant().Grant
			now.ExpireTime = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC) // by another clock
			return grant.States{States: []grant.State{{Grant: now, Lifetime: time.Minute}}, AsOf: 9}, nil
		}
		r.Apply(9, grant.Event{Kind: grant.Changed, Names: []string{"grants/a"}})
		if err := r.Confirm(t.Context(), s, position); err != nil {
			t.Fatal(err)
		}
		if end := s.Grant().Expires; !end.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("after the rotation the session ends at %v, want in a minute", end)
		}
	})
}

// TestSessionsEndWhereTheirKeyIsNotGoodAnyMore: a session whose client's address or page
// is not permitted any more ends with 4006, another lives on.
func TestSessionsEndWhereTheirKeyIsNotGoodAnyMore(t *testing.T) {
	only := func(pattern string) []permit.Referer {
		r, err := permit.ParseReferer(pattern)
		if err != nil {
			t.Fatal(err)
		}
		return []permit.Referer{r}
	}
	for what, tt := range map[string]struct {
		change func(*grant.Grant)
		lives  bool
	}{
		"its address":        {func(g *grant.Grant) { g.Addresses = keyGrant("192.0.2.1/32").Grant.Addresses }, true},
		"another address":    {func(g *grant.Grant) { g.Addresses = keyGrant("192.0.2.2/32").Grant.Addresses }, false},
		"its page":           {func(g *grant.Grant) { g.Referers = only("example.com") }, true},
		"another page":       {func(g *grant.Grant) { g.Referers = only("example.org") }, false},
		"one that it is not": {func(g *grant.Grant) { g.Referers = only("*.example.com") }, false},
	} {
		r := newRig(t, grant.Default(), answers(keyGrant()))
		g, position := r.granted(t, "a", 1)
		s := r.client(t, g, "192.0.2.1")
		r.source.read = func([]*grant.Grant) (grant.States, error) {
			now := keyGrant().Grant
			tt.change(now)
			return grant.States{States: []grant.State{{Grant: now}}, AsOf: 9}, nil
		}
		r.Apply(9, grant.Event{Kind: grant.Changed, Names: []string{"grants/a"}})
		err := r.Confirm(t.Context(), s, position)
		var ended *session.EndedError
		switch {
		case tt.lives && err != nil:
			t.Errorf("permitted is %s: %v, want that it lives on", what, err)
		case !tt.lives && (!errors.As(err, &ended) || ended.Ending.ClientCode != 4006):
			t.Errorf("permitted is %s: %v, want 4006", what, err)
		}
	}
}

// TestEventsOfAPIKeysEndSessions: what is deleted or replaced ends with 4001.
func TestEventsOfAPIKeysEndSessions(t *testing.T) {
	for _, kind := range []grant.EventKind{grant.APIKeyDeleted, grant.APIKeyReplaced} {
		r := newRig(t, grant.Default(), answers(keyGrant()))
		g, _ := r.granted(t, "a", 1)
		s := r.client(t, g, "192.0.2.1")
		ended := r.Apply(9, grant.Event{Kind: kind, Names: []string{"grants/a"}})
		var e *session.EndedError
		if ended != 1 || !errors.As(s.Err(), &e) || e.Ending.ClientCode != 4001 {
			t.Errorf("%s: %d sessions ended with %v, want one with 4001", kind, ended, s.Err())
		}
		r.source.verify = func(context.Context, string, string) (grant.Answer, error) {
			return bad(grant.ErrRevoked), nil
		}
		r.refused(t, "a", grant.ErrRevoked, 2) // what was kept is gone
	}
}
