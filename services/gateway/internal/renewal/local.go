// Package renewal renews the credentials of live sessions from outside: a client sends a new
// credential to a gateway, any of them, and its session goes on with that, on the same socket.
// It also lists the sessions of a credential.
//
//	client ── POST /-/sessions/{ref}/credential ──► Server ── this gateway's ──► Local
//	                                                   │
//	                                                   └── another's: RenewSession, over mTLS
//
// A ref is an address, never an authority: what is wrong with it, and with the credential, has
// one and the same answer. Local judges, where the session is; package grant makes it one step.
package renewal

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/permit"
)

var (
	// ErrNotFound is the answer to all that is wrong with a ref, or with the credential that is
	// shown for it.
	ErrNotFound = errors.New("there is no such session, or the credential cannot renew it")
	// ErrUnavailable says that it cannot be known now.
	ErrUnavailable = errors.New("the credential cannot be renewed now")
)

// tries bounds how often a credential is verified whose grant is void when it comes.
const tries = 3

// Grants says what credentials are good for, and gives sessions others; grant.Cache does.
type Grants interface {
	Verify(ctx context.Context, c credential.Credential, version string) (*grant.Grant, grant.Position, error)
	Renew(ctx context.Context, s grant.Session, g *grant.Grant, p grant.Position) error
}

// Local renews the credentials of this gateway's sessions.
type Local struct {
	Sessions *session.Registry
	Routes   *routes.Current
	Deny     *deny.Current
	Grants   Grants
	// IsKey reports whether a text has the form of an API key. What has not is not looked up.
	IsKey func(string) bool
}

// Shown is what shows a credential: the request of a client, or the credential alone.
type Shown struct {
	Header http.Header
	Query  string // undecoded, without "?"
	// Credential stands for a header and a query; "" where it is in one of them.
	Credential string
	Client     netip.Addr // not valid where nobody knows it
	Proxy      bool       // the address is a trusted proxy's own, and so nobody's client
}

// Holds reports whether the session with a ref is here.
func (l *Local) Holds(ref string) bool {
	s := l.Sessions.Get(ref)
	return s != nil && s.Err() == nil
}

// Renew gives the live session with a ref the credential that is shown, and returns its grant.
// The error is ErrNotFound, ErrUnavailable, or the cause of ctx.
//
// Neither the error nor the time that it takes says whether there is such a session: while
// what is shown is judged, another look-up is made, of what is nobody's credential. Whoever has
// proved no right waits for that, and gets what comes of it, which is ErrUnavailable while
// credentials cannot be checked.
func (l *Local) Renew(ctx context.Context, ref string, shown Shown) (*grant.Grant, error) {
	if !shown.Proxy && shown.Client.IsValid() {
		ctx = clientaddr.With(ctx, shown.Client)
	}
	probing, stop := context.WithCancel(ctx)
	defer stop()
	var probed error
	var probe sync.WaitGroup
	probe.Go(func() { probed = l.probe(probing) })
	g, err := l.renew(ctx, ref, &shown)
	if proved := !errors.Is(err, ErrNotFound); proved {
		stop()
		probe.Wait()
		return g, err
	}
	probe.Wait()
	return nil, probed
}

// nowhere is the version that nobody's credential is looked up for.
const nowhere = "apis/none/versions/none"

// probe looks up a text that is nobody's credential, and returns what that is answered with.
func (l *Local) probe(ctx context.Context) error {
	_, _, err := l.Grants.Verify(ctx, credential.Credential{Type: credential.OAuth2, Value: rand.Text()}, nowhere)
	return refused(err)
}

// renew judges what is shown. The error is ErrNotFound until a right is proved.
func (l *Local) renew(ctx context.Context, ref string, shown *Shown) (*grant.Grant, error) {
	s := l.Sessions.Get(ref)
	if s == nil || s.Err() != nil || s.Grant() == nil {
		return nil, ErrNotFound
	}
	r := l.Routes.Load().Get(s.Route().Version)
	if r == nil {
		return nil, ErrNotFound
	}
	c, ok := l.taken(r, s.Grant(), shown)
	if !ok {
		return nil, ErrNotFound
	}
	for i := range tries {
		g, position, err := l.Grants.Verify(ctx, c, r.Name)
		switch {
		case err != nil && i == 0:
			return nil, ErrNotFound
		case err != nil:
			return nil, refused(err)
		case !follows(s.Grant(), g), !l.admits(r, s, g, shown):
			return nil, ErrNotFound
		}
		if err = l.Grants.Renew(ctx, s, g, position); err == nil {
			return g, nil
		}
		if !errors.Is(err, grant.ErrVoid) {
			return nil, refused(err)
		}
	}
	return nil, fmt.Errorf("%w: its grant was void %d times", ErrUnavailable, tries)
}

// refused is the answer to what has kept a credential from being verified or renewed.
func refused(err error) error {
	if errors.Is(err, grant.ErrUnavailable) || errors.Is(err, grant.ErrBusy) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return ErrNotFound
}

// taken finds the credential that is shown for a version, if it can be one of a scheme that the
// version has.
func (l *Local) taken(r *routes.Route, now *grant.Grant, shown *Shown) (c credential.Credential, ok bool) {
	schemes := r.Schemes
	if now.TryOut() {
		schemes = credential.TryOutSchemes(schemes)
	}
	if shown.Credential != "" {
		c = credential.Credential{Type: credential.OAuth2, Value: shown.Credential}
		if l.IsKey(c.Value) {
			c.Type = credential.APIKey
		}
		return c, slices.ContainsFunc(schemes, func(s credential.Scheme) bool { return s.Type == c.Type })
	}
	found := credential.Handshake{Header: shown.Header, Query: shown.Query}
	t, err := credential.TakePlain(credential.PlainSchemes(schemes, credential.Header, credential.Query, credential.Cookie), &found)
	if err != nil || t.Type != credential.OAuth2 && (t.Type != credential.APIKey || !l.IsKey(t.Value)) {
		return c, false
	}
	origin := shown.Header["Origin"]
	allowed := len(origin) == 0 && t.Part != credential.Cookie || len(origin) == 1 && r.Origins.Allow(origin[0])
	return t.Credential, allowed
}

// follows reports whether a grant can take the place of another: it is of the same user,
// application, OAuth client or API key, stage and version.
func follows(old, next *grant.Grant) bool {
	return old != nil && old.User == next.User && old.Application == next.Application && old.OAuthClient == next.OAuthClient &&
		old.APIKey == next.APIKey && old.Stage == next.Stage && old.Version == next.Version
}

// admits reports whether the client would be let in now, from where it is and from where its
// session is.
func (l *Local) admits(r *routes.Route, s *session.Session, g *grant.Grant, shown *Shown) bool {
	if !r.Serves(g) {
		return false
	}
	info := s.Info()
	if g.APIKey != "" {
		var page permit.Page
		if info.Page != nil {
			page = *info.Page
		}
		here := permit.PageOf(shown.Header["Referer"], shown.Header["Origin"])
		if g.Permits(info.ClientAddr.Addr(), page) != nil || g.Permits(shown.Client, here) != nil {
			return false
		}
	}
	for _, addr := range []netip.Addr{shown.Client, info.ClientAddr.Addr()} {
		c := deny.Client{Addr: addr, API: r.API, Version: r.Name, Application: g.Application, Subscription: g.Subscription}
		if l.Deny.Load().Match(c) != nil {
			return false
		}
	}
	return true
}

// Credential names what the sessions of a grant's credential rest on: the API key, or the
// grant of the token.
func Credential(g *grant.Grant) string { return cmp.Or(g.APIKey, g.Name) }

// maxListed is how many sessions of a credential a gateway lists.
const maxListed = 1000

// List returns the sessions of a version that rest on a credential, oldest first, at most
// 1000. The last are those whose handshake is under way: a client may have its 101 a moment
// before its session is known to have started.
func (l *Local) List(credential, version string) []*session.Session {
	live := slices.DeleteFunc(l.Sessions.RestingOn(credential), func(s *session.Session) bool {
		return s.Beside() || s.Err() != nil || s.Route().Version != version
	})
	slices.SortFunc(live, func(a, b *session.Session) int {
		return cmp.Or(compareStarts(a.Started(), b.Started()), cmp.Compare(a.Ref(), b.Ref()))
	})
	return live[:min(len(live), maxListed)]
}

// compareStarts orders by the time of the start, with what has not started at the end.
func compareStarts(a, b time.Time) int {
	switch {
	case a.IsZero() && !b.IsZero():
		return 1
	case b.IsZero() && !a.IsZero():
		return -1
	}
	return a.Compare(b)
}
