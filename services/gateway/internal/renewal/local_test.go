package renewal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
)

// plane is the subscription service, and what the gateway has kept of its answers.
type plane struct {
	good  map[string]*grant.Grant
	kept  []string      // whose grants need no look-up
	takes time.Duration // a look-up
	away  error         // what comes of one instead of an answer
	asked sync.Map      // credentials that were looked up
	void  int           // how often a grant is void when it comes
}

func (p *plane) Verify(ctx context.Context, c credential.Credential, version string) (*grant.Grant, grant.Position, error) {
	g := p.good[c.Value]
	if g == nil || !slices.Contains(p.kept, c.Value) {
		p.asked.Store(c, true)
		select {
		case <-time.After(p.takes):
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("verify credential: %w", context.Cause(ctx))
		}
		if p.away != nil {
			return nil, 0, p.away
		}
	}
	if g == nil || version == nowhere {
		return nil, 0, grant.ErrUnauthenticated
	}
	return g, 0, nil
}

func (p *plane) Renew(_ context.Context, s grant.Session, g *grant.Grant, _ grant.Position) error {
	if p.void > 0 {
		p.void--
		return grant.ErrVoid
	}
	s.Renew(g)
	return s.Err()
}

const version = "apis/a/versions/1"

// grantOf is a grant of an application for the version.
func grantOf(name, application string) *grant.Grant {
	return &grant.Grant{Name: "grants/" + name, Application: application, OAuthClient: application + "/oauthClients/1", Version: version, Stage: grant.Production, RestsOn: []string{"grants/" + name}}
}

// local is a gateway with one session, which takes access tokens in Authorization and API keys
// in their header, and its plane.
func local(t *testing.T, schemes ...credential.Scheme) (*Local, *plane, string) {
	t.Helper()
	l, p := localOf(t, "live", schemes...)
	return l, p, "live"
}

// localOf is one whose session has a ref.
func localOf(t *testing.T, ref string, schemes ...credential.Scheme) (*Local, *plane) {
	t.Helper()
	if schemes == nil {
		schemes = []credential.Scheme{{Type: credential.OAuth2, Places: append(credential.OAuth2Places(), credential.InHeader("X-Token", credential.Raw))}, {Type: credential.APIKey, Places: credential.APIKeyPlaces()}}
	}
	current := &routes.Current{}
	e, err := routes.ParseEndpoint("ws://backend.example")
	if err != nil {
		t.Fatal(err)
	}
	table, err := current.Load().With(routes.Changes{Put: []*routes.Route{{
		Name: version, API: "apis/a", Context: "/a", Segment: "1", Published: true, Schemes: schemes, Endpoints: routes.Endpoints{Production: routes.NewStage(balance.Default(), e)},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	current.Swap(table)
	p := &plane{good: map[string]*grant.Grant{
		"old": grantOf("old", "applications/a"), "next": grantOf("next", "applications/a"), "others": grantOf("others", "applications/b"),
	}}
	l := &Local{
		Sessions: session.NewRegistry(nil, func(session.Record) {}), Routes: current, Deny: &deny.Current{}, Grants: p,
		IsKey: func(text string) bool { return text == "key" },
	}
	_, err = l.Sessions.New(nil, session.Info{Ref: ref, Route: current.Load().Get(version).Shared(), Grant: p.good["old"]})
	if err != nil {
		t.Fatal(err)
	}
	return l, p
}

var (
	from    = netip.MustParseAddr("203.0.113.7")
	errDown = fmt.Errorf("%w: it is away", grant.ErrUnavailable)
)

// TestNobodyLearnsOfASession: whoever has proved no right gets the same answer, at the same
// time, whether there is a session or not, whatever is shown, and whether the control plane
// answers, is away, hangs, or has too much to do.
func TestNobodyLearnsOfASession(t *testing.T) {
	shown := map[string]Shown{
		"nothing":                           {},
		"garbage":                           {Header: http.Header{"Authorization": {"Bearer garbage"}}},
		"garbage at a place of the version": {Header: http.Header{"X-Token": {"garbage"}}},
		"garbage that is malformed":         {Header: http.Header{"Authorization": {"Bearer a", "Bearer b"}}},
		"garbage for an API key":            {Header: http.Header{"Apikey": {"garbage"}}},
		"what has the form of an API key":   {Header: http.Header{"Apikey": {"key"}}},
		"a text alone":                      {Credential: "garbage"},
		"a key alone":                       {Credential: "key"},
		"somebody else's token":             {Header: http.Header{"Authorization": {"Bearer others"}}},
		"somebody else's token alone":       {Credential: "others"},
		"the token, from a foreign page":    {Header: http.Header{"Authorization": {"Bearer next"}, "Origin": {"https://a.example", "https://b.example"}}},
	}
	for what, state := range map[string]struct {
		away  error
		takes time.Duration
		want  error
	}{
		"answers": {nil, 5 * time.Millisecond, ErrNotFound},
		"is away": {errDown, 0, ErrUnavailable},
		"hangs":   {errDown, 3 * time.Second, ErrUnavailable},
		"is busy": {grant.ErrBusy, 0, ErrUnavailable},
	} {
		for _, kept := range [][]string{nil, {"others", "next"}} {
			for _, ref := range []string{"live", "none"} {
				for _, name := range slices.Sorted(maps.Keys(shown)) {
					synctest.Test(t, func(t *testing.T) {
						l, p, _ := local(t)
						p.away, p.takes, p.kept = state.away, state.takes, kept
						s, began := shown[name], time.Now()
						s.Client = from
						g, err := l.Renew(t.Context(), ref, s)
						if took := time.Since(began); g != nil || !errors.Is(err, state.want) || took != state.takes {
							t.Errorf("%s for the session %q while the plane %s, grants kept of %q: %v, %v after %v, want %v after %v", name, ref, what, kept, g, err, took, state.want, state.takes)
						}
						if _, asked := p.asked.Load(credential.Credential{Type: credential.APIKey, Value: "garbage"}); asked {
							t.Errorf("%s: what has the form of no API key is looked up", name)
						}
					})
				}
			}
		}
	}
}

// TestProvedRights: who shows a good credential waits for nothing but that, goes on where it was
// void when it came, and is told where it cannot be known now.
func TestProvedRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p, ref := local(t)
		p.takes = time.Second
		for _, s := range []Shown{{Header: http.Header{"Authorization": {"Bearer next"}}, Client: from}, {Credential: "old"}} {
			began := time.Now()
			if g, err := l.Renew(t.Context(), ref, s); err != nil || g == nil || time.Since(began) != time.Second {
				t.Errorf("a good credential: %v, %v after %v", g, err, time.Since(began))
			}
		}
		p.kept, p.away = []string{"next"}, errDown
		began := time.Now()
		if g, err := l.Renew(t.Context(), ref, Shown{Credential: "next"}); err != nil || g.Name != "grants/next" || time.Since(began) != 0 {
			t.Errorf("one whose grant is kept, while the plane is away: %v, %v after %v, want it at once", g, err, time.Since(began))
		}
		p.void = tries
		if _, err := l.Renew(t.Context(), ref, Shown{Credential: "next"}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("one that is void each time: %v, want that it cannot be known now", err)
		}
		if got := l.Sessions.Get(ref).Grant(); got.Name != "grants/next" {
			t.Errorf("the session has %s, want grants/next", got.Name)
		}
	})
}

// TestPlainPlaces renews sessions of versions none of whose places a plain request has.
func TestPlainPlaces(t *testing.T) {
	for name, place := range map[string]credential.Place{
		"a ticket": credential.InTicket(), "a sub-protocol": credential.InSubprotocol(), "the first message": {Part: credential.FirstMessage, Message: &credential.Message{}},
	} {
		l, p, ref := local(t, credential.Scheme{Type: credential.OAuth2, Places: []credential.Place{place}})
		for _, s := range []Shown{{Header: http.Header{"Authorization": {"Bearer next"}}}, {Credential: "old"}} {
			if g, err := l.Renew(t.Context(), ref, s); err != nil || g == nil {
				t.Errorf("%s: %v, %v, want the session renewed", name, g, err)
			}
		}
		p.good["key"] = p.good["old"]
		if _, err := l.Renew(t.Context(), ref, Shown{Credential: "key"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: with an API key, which the version does not take: %v", name, err)
		}
	}
}

// TestRenewalsCountForTheirClient: look-ups are those of the client that asks, unless a proxy is
// all that is known of it.
func TestRenewalsCountForTheirClient(t *testing.T) {
	l, _, ref := local(t)
	for _, proxy := range []bool{false, true} {
		addrs := make(chan netip.Addr, 2)
		l.Grants = asking(func(ctx context.Context) { addrs <- clientaddr.From(ctx) })
		if _, err := l.Renew(t.Context(), ref, Shown{Credential: "garbage", Client: from, Proxy: proxy}); !errors.Is(err, ErrNotFound) {
			t.Errorf("garbage = %v", err)
		}
		for range 2 {
			if got := <-addrs; got.IsValid() == proxy {
				t.Errorf("behind a proxy %t: a look-up for %v", proxy, got)
			}
		}
	}
}

// asking is told of look-ups, all of which are refused.
type asking func(context.Context)

func (a asking) Verify(ctx context.Context, _ credential.Credential, _ string) (*grant.Grant, grant.Position, error) {
	a(ctx)
	return nil, 0, grant.ErrUnauthenticated
}

func (asking) Renew(context.Context, grant.Session, *grant.Grant, grant.Position) error { return nil }
