package handshake

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

// Beside is a plain request on its way to a backend. It takes the steps of a
// handshake, as far as they are the same; package beside does the rest.
type Beside struct {
	attempt
	h    *Handler
	http *routes.HTTP // nil: it is not known yet, or there is none
	// Reader is the origin of the page that sent the request and may read the answer; "" for
	// none.
	Reader string
	// Preflight says that a browser asks whether a page may send a request. It has no body: what
	// has one needs a credential.
	Preflight bool

	leave   func() // gives its places back; nil: it has none
	passage *throttle.Passage
	session *session.Session
	expiry  *time.Timer
}

// NewBeside returns a request that has taken no step yet. cancel is called with why it must
// end.
func (h *Handler) NewBeside(r *listener.Request, cancel context.CancelCauseFunc) *Beside {
	b := &Beside{h: h}
	b.attempt = attempt{
		Request: r, ref: ref.NewAt(time.Now(), h.Tag), cancel: cancel, plain: true,
		shown: credential.Handshake{Header: r.Header, Query: r.Query},
	}
	origin := r.Header["Origin"]
	b.Preflight = r.Beside.Method == http.MethodOptions && r.Beside.Length == 0 && len(origin) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0
	return b
}

// Admit takes the steps up to the backend. A preflight that the gateway answers itself has none
// after its origin was found good. The error is for Refuse.
func (b *Beside) Admit(ctx context.Context) error {
	h, a := b.h, &b.attempt
	if err := denied(h.Deny.Load().ByAddress(a.Remote.Addr())); err != nil {
		return err
	}
	if err := b.route(); err != nil {
		return err
	}
	// That there is a version which is not published is told to nobody before the credential.
	if a.match.Route.Published {
		if err := denied(h.Deny.Load().ByRoute(a.judged())); err != nil {
			return err
		}
		if origin := a.Header["Origin"]; len(origin) == 1 && a.match.Route.Origins.Allow(origin[0]) {
			b.Reader = origin[0]
		}
	}
	if b.Preflight {
		if err := b.preflight(); err != nil || !b.http.BackendCORS {
			return err
		}
		// It costs a backend something, and nobody has shown a credential for it.
		if p := a.Beside.Count(); p != nil {
			return p
		}
	} else if err := h.authorize(ctx, a); err != nil {
		return err
	}
	if b.http == nil {
		if err := b.open(); err != nil {
			return err
		}
	}
	if err := a.origin(); err != nil {
		return err
	}
	if err := denied(h.Deny.Load().Match(a.judged())); err != nil {
		return err
	}
	if err := h.identify(ctx, a); err != nil {
		return err
	}
	return b.enter(ctx)
}

// route finds the version that the path leads to, and its HTTP where all may know of it.
func (b *Beside) route() error {
	a := &b.attempt
	if err := b.h.route(a); err != nil {
		return err
	}
	if plain := a.match.Route.Plain(); plain != nil {
		a.match.Route = plain
		a.tryOut = a.tryOut || plain.Open() && credential.TryOut(nil, &a.shown) == plain.Name
	}
	if !a.match.Route.Published {
		return nil
	}
	return b.open()
}

// open has the version's HTTP serve the request, or returns why there is none. Of a version
// that is not published that is for those alone whose credential is good.
func (b *Beside) open() error {
	a := &b.attempt
	if a.match.Route.HTTP == nil || a.match.Serves.NoHTTP {
		return a.Beside.NoHandshake
	}
	b.http = a.match.Route.HTTP
	return a.served()
}

// preflight judges what a browser asks before a page's request, without the credential that
// only that has.
func (b *Beside) preflight() error {
	a := &b.attempt
	if !a.match.Route.Published {
		return notFound("the version is not published")
	}
	if err := a.origin(); err != nil {
		return err
	}
	_, _ = credential.Take(a.match.Route.Schemes, &a.shown)
	_, a.shown.Query = b.h.Ours.Remove(a.shown.Header, nil, a.shown.Query)
	return a.checkEndpoint()
}

// enter has the request counted, by plans and by version, and registered: from then on what
// ends sessions ends it.
func (b *Beside) enter(ctx context.Context) (err error) {
	h, a := b.h, &b.attempt
	a.who = &throttle.Who{Version: a.match.Route.Name, Grant: a.grant}
	if b.leave, err = h.requests.enter(a); err != nil {
		return err
	}
	s, err := h.Sessions.New(a.cancel, session.Info{
		Ref: a.ref, Route: a.match.Route.Shared(), Grant: a.grant, ClientAddr: a.Remote, Proxy: a.Proxy, Page: a.page, Beside: true,
	})
	if err != nil {
		return err
	}
	b.session = s
	if err := h.confirm(ctx, a, s); err != nil {
		return err
	}
	b.watchExpiry()
	b.passage, err = h.Throttle.Pass(ctx, *a.who, a.Beside.Length)
	return err
}

// watchExpiry ends the request when its credential expires, or that which it was given since.
func (b *Beside) watchExpiry() {
	g := b.session.Grant()
	if g == nil || g.Expires.IsZero() {
		return
	}
	expire := func() {
		if g := b.session.Grant(); !g.Expired(time.Now()) && !g.Expires.IsZero() {
			b.expiry.Reset(time.Until(g.Expires))
			return
		}
		b.session.End(ending.New(ending.Expired, ""))
	}
	b.expiry = time.AfterFunc(time.Until(g.Expires), expire)
}

// End gives back what the request has. It is called once it is over, admitted or not.
func (b *Beside) End() {
	if b.expiry != nil {
		b.expiry.Stop()
	}
	if b.passage != nil {
		b.passage.End()
	}
	if b.session != nil {
		b.session.Abandon()
	}
	if b.leave != nil {
		b.leave()
	}
}

// Refuse notes that the request is refused and returns the answer.
func (b *Beside) Refuse(ctx context.Context, err error) *problem.Problem {
	a := &b.attempt
	p := b.h.problemOf(a, err)
	b.h.Refused.Note(ctx, &refusal.Refusal{
		Ref: a.ref, Problem: p, Err: err, At: time.Now(), Route: a.near, Grant: a.grant, Application: a.application, From: a.Remote,
		Host: a.Host, Path: a.Path, UserAgent: strings.Join(a.Header["User-Agent"], ", "),
		Plans: b.h.plansOf(a), Limit: limitOf(err), Beside: true,
	})
	return p
}

// Trusted reports whether the request got as far as its plans: it has a good credential, or
// needs none.
func (b *Beside) Trusted() bool { return b.who != nil }

// Ref returns the request's ref.
func (b *Beside) Ref() string { return b.ref }

// HTTP returns what serves the request; nil where there is nothing.
func (b *Beside) HTTP() *routes.HTTP { return b.http }

// Route returns the route of the request, as plain requests see it. HTTP is not nil.
func (b *Beside) Route() *routes.Route { return b.match.Route }

// Stage returns the endpoints that may serve it. It is admitted.
func (b *Beside) Stage() *routes.Stage { return b.stage() }

// Passage returns what plans let the request do. It is admitted.
func (b *Beside) Passage() *throttle.Passage { return b.passage }

// Ended returns why the request was ended, nil if it was not.
func (b *Beside) Ended() error {
	if b.session == nil {
		return nil
	}
	return b.session.Err()
}

// Info returns what is known about the request.
func (b *Beside) Info() session.Info {
	if b.session == nil {
		return session.Info{Ref: b.ref, Route: b.near, Grant: b.grant, ClientAddr: b.Remote, Proxy: b.Proxy, Beside: true}
	}
	info := b.session.Info()
	if b.passage != nil {
		info.Plans = b.passage.Plans()
	}
	return info
}

// Upstream returns what the backend at an endpoint gets. An error means that the request is
// nothing for it.
func (b *Beside) Upstream(e *routes.Endpoint) (*upstream.Request, error) {
	req := b.h.outgoing(&b.attempt)
	return req, b.fill(req, e)
}

// ErrClientGone is the cause of the end of a request whose client has left.
var ErrClientGone = errClientGone
