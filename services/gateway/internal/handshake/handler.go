package handshake

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/backendidentity"
	"github.com/tidegatehq/tidegate/services/gateway/internal/bound"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/deflate"
	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/monitor"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/gateway/internal/relay"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
	"github.com/tidegatehq/tidegate/services/kit/permit"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

// Granter says what credentials are good for; grant.Cache does.
type Granter interface {
	// Verify returns the grant of a credential for a version, or one of the
	// errors of package grant, and the position that Confirm needs.
	Verify(ctx context.Context, c credential.Credential, version string) (*grant.Grant, grant.Position, error)
	// Confirm is called once the session is registered. It returns nil if the
	// session's grant has been valid from that position until now; what happens
	// later ends the session.
	Confirm(ctx context.Context, s grant.Session, p grant.Position) error
}

// Seller sells tickets; grant.Remote does.
type Seller interface {
	// Buy buys a ticket, or returns one of the errors of package grant.
	Buy(ctx context.Context, o grant.Order) (grant.Ticket, error)
}

// Identities signs what backends are told about clients; backendidentity.Signer does.
type Identities interface {
	// Sign returns a JWT, or an error that wraps backendidentity.ErrUnavailable or is the
	// cause of ctx.
	Sign(ctx context.Context, c backendidentity.Claims) (string, error)
}

// Dependencies are what a Handler works with.
type Dependencies struct {
	Routes     *routes.Current
	Deny       *deny.Current
	Grants     Granter
	Tickets    Seller
	Identities Identities
	Ours       *credential.Recognizer
	Dialer     *upstream.Dialer
	Sessions   *session.Registry
	Relay      *relay.Engine
	Throttle   *throttle.Controller
	Refused    *refusal.Recorder
	Metrics    *metrics.Metrics
	Log        *slog.Logger
	// First bounds clients that have been answered 101 and not shown a credential yet.
	First FirstConfig
	Tag   ref.Tag // of this boot, in the refs of sessions
	// MaxPerVersion is how many handshakes of a version, and how many for the same address
	// of a backend, may be with the backend or on the way there at once; 0 is any number.
	MaxPerVersion int
	// MaxRequests is how many plain requests may be in progress at once; a version, and within
	// it an application, has half of what it is of. 0 is any number.
	MaxRequests int
	// EndpointTimeout is how long one of several endpoints may take, while another is left to
	// be tried and its version does not say.
	EndpointTimeout time.Duration
}

// Handler does handshakes. It is safe for concurrent use.
type Handler struct {
	Dependencies
	upgrader *upgrader
	versions *bound.ByKey[string] // handshakes by version
	backends *bound.ByKey[string] // handshakes by the backend's address
	requests *requests            // that are plain
	starts   chan struct{}        // taken while a session starts
	first    *unauthenticated
	// monitorDelay is how long a handshake may take before its client is monitored.
	monitorDelay time.Duration
}

// New returns a handler.
func New(d Dependencies) *Handler {
	return &Handler{
		Dependencies: d, upgrader: newUpgrader(), versions: bound.NewByKey[string](d.MaxPerVersion), backends: bound.NewByKey[string](d.MaxPerVersion),
		requests: newRequests(d.MaxRequests), starts: make(chan struct{}, maxStarts), first: newUnauthenticated(d.First), monitorDelay: monitor.Delay,
	}
}

// maxStarts is how many sessions may start at once. A start copies the descriptors of
// both connections for a moment; what is kept of the process's descriptors has room for
// so many copies.
const maxStarts = 8

var (
	errClientGone = errors.New("client left during the handshake")
	errTooSlow    = errors.New("handshake took too long")
)

// attempt is one handshake, with what the steps so far have found out.
type attempt struct {
	*listener.Request
	cancel   context.CancelCauseFunc
	deadline *time.Timer // ends the handshake
	monitor  monitor.Monitor
	ref      string
	match    routes.Match
	near     *session.Route // what the path leads to, also where that is refused
	plain    bool           // it opens no session: the request is no handshake
	tryOut   bool           // its credential says that it is a try-out token of the version
	// shown is what the client's request has for the backend, without credentials once they
	// are taken out.
	shown  credential.Handshake
	taken  credential.Taken // once they are
	offers deflate.Offers   // of compression, where the version allows it
	own    []head.Field     // of the gateway's own, for the backend
	// passed is the access token or the API key that the backend gets; "" for none.
	passed string
	first  *first // the credential is in the first message; nil: it is not

	grant *grant.Grant // nil if the API asks for no credential
	// application is whose credential was shown, good or not; "" where none is known.
	application string
	position    grant.Position
	page        *permit.Page  // whose script connects, where the credential is an API key; nil for none
	who         *throttle.Who // once it is known who asks
}

// Handle does one handshake. It implements listener.Handler.
func (h *Handler) Handle(ctx context.Context, r *listener.Request) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := &attempt{
		Request: r, ref: ref.NewAt(time.Now(), h.Tag), cancel: cancel,
		deadline: time.AfterFunc(time.Until(r.Deadline), func() { cancel(errTooSlow) }),
		shown:    credential.Handshake{Header: r.Header, Query: r.Query, Protocols: r.Protocols},
	}
	defer a.deadline.Stop()
	a.monitor.Start(r.Conn, r.Buffered, h.monitorDelay, func() { cancel(errClientGone) })
	if err := h.run(ctx, a); err != nil {
		a.received()
		h.refuse(ctx, a, err)
	}
}

// run takes the steps in order. An error means that the client has not been
// answered yet, or that it has been answered 101 for its first message, and gets a close.
func (h *Handler) run(ctx context.Context, a *attempt) error {
	if err := denied(h.Deny.Load().ByAddress(a.Remote.Addr())); err != nil {
		return err
	}
	if err := h.route(a); err != nil {
		return err
	}
	// That there is a version which is not published is told to nobody before the credential.
	if a.match.Route.Published {
		if err := denied(h.Deny.Load().ByRoute(a.judged())); err != nil {
			return err
		}
	}
	if err := h.authorize(ctx, a); err != nil {
		return err
	}
	if err := a.origin(); err != nil {
		return err
	}
	if err := a.readOffers(); err != nil {
		return err
	}
	if a.first != nil {
		if err := h.hear(ctx, a); err != nil {
			return err
		}
	}
	if err := denied(h.Deny.Load().Match(a.judged())); err != nil {
		return err
	}
	a.who = &throttle.Who{Version: a.match.Route.Name, Grant: a.grant, MaxAge: a.match.Route.MaxAge}
	hold, err := h.Throttle.Enter(ctx, *a.who)
	if err != nil {
		return err
	}
	defer hold.ReleaseUnbound()
	leave, err := h.enter(a)
	if err != nil {
		return err
	}
	defer leave()
	s, err := h.register(ctx, a, hold)
	if err != nil {
		return err
	}
	defer s.Abandon()
	backend, member, err := h.dial(ctx, a)
	if err != nil {
		return err
	}
	s.SetBackend(member)
	if err := h.finish(ctx, a, s, hold, backend); err != nil {
		_ = backend.Conn.Close()
		return err
	}
	return nil
}

// judged is whom deny rules judge, as far as the steps so far have found out.
func (a *attempt) judged() deny.Client {
	c := deny.Client{Addr: a.Remote.Addr(), API: a.match.Route.API, Version: a.match.Route.Name}
	if a.grant != nil {
		c.Application, c.Subscription = a.grant.Application, a.grant.Subscription
	}
	return c
}

// denied returns the answer to a handshake that a rule matches, nil where none does.
func denied(r *deny.Rule) error {
	if r == nil {
		return nil
	}
	return problemOfRule(r)
}

// enter counts the handshake for its version, until leave is called. It is counted for each
// backend, which one publisher can have many versions lead to, while that is dialled.
func (h *Handler) enter(a *attempt) (leave func(), err error) {
	version := a.match.Route.Name
	if !h.versions.Take(version) {
		return nil, unavailable(problem.VersionBusy, "too many handshakes of this version are in progress", time.Second, nil)
	}
	return func() { h.versions.Give(version) }, nil
}

// route finds the version of the API that the path leads to.
func (h *Handler) route(a *attempt) error {
	if !h.Routes.Loaded() {
		return unavailable(problem.NotReady, "the gateway has no routes yet", time.Second, nil)
	}
	if upstream.Passed(a.Header, h.Routes.Installation()) {
		return &problem.Problem{
			Status: http.StatusLoopDetected, Code: problem.Loop, Detail: "the handshake came through this installation already: a backend leads back to it",
		}
	}
	m, err := h.Routes.Load().Match(a.AskedHost(), a.Path)
	if m.Serves.NoSocket && !a.plain {
		return notFound("the address serves plain requests only")
	}
	a.near = m.Near
	switch {
	case errors.Is(err, routes.ErrBadPath):
		return &problem.Problem{Status: http.StatusBadRequest, Code: problem.BadPath, Detail: err.Error()}
	case err != nil:
		return a.find(m, err)
	}
	a.match, a.near = m, m.Route.Shared()
	a.tryOut = m.Route.Open() && credential.TryOut(nil, &a.shown) == m.Route.Name
	return a.served()
}

// find lets a handshake go on to a version that is not published if its credential says
// that it is a try-out token of that. Only who has seen such a token knows the name of the
// version, so nobody else can make the gateway take longer for the path of a version than
// for that of none: the credential is looked at for both.
func (a *attempt) find(m routes.Match, why error) error {
	var schemes []credential.Scheme
	if m.Hidden != nil {
		schemes = m.Hidden.Schemes
	}
	version := credential.TryOut(schemes, &a.shown)
	if m.Hidden == nil || m.Hidden.Name != version {
		return notFound(why.Error())
	}
	a.match, a.tryOut = routes.Match{Route: m.Hidden, Suffix: m.Suffix, Serves: m.Serves}, true
	return nil
}

// served returns why the gateway cannot serve the route.
func (a *attempt) served() error {
	if missing := a.match.Route.Missing(); len(missing) > 0 {
		return unavailable(problem.FeatureMissing, "this gateway cannot serve the API: it lacks the feature "+missing[0], time.Minute, nil)
	}
	return nil
}

// origin refuses pages that may not connect. Clients that send no Origin are not
// browsers, and are let through, but with a cookie: browsers send those on their own, so
// that it came says nothing of who asked for it.
func (a *attempt) origin() error {
	switch lines := a.Header["Origin"]; {
	case len(lines) == 0 && a.taken.Part == credential.Cookie:
		return forbidden(problem.OriginRefused, "a credential in a cookie needs the header Origin")
	case len(lines) == 0:
		return nil
	case len(lines) == 1 && a.match.Route.Origins.Allow(lines[0]):
		return nil
	default:
		p := forbidden(problem.OriginRefused, "the API does not take connections from this origin")
		p.Why = strings.Join(lines, ", ")
		p.Why = p.Why[:min(len(p.Why), maxOrigin)]
		return p
	}
}

// maxOrigin is how much of an origin that is refused the log and the record have, in bytes.
const maxOrigin = 255

// readOffers reads what the client offers of compression, where the version allows it. A
// client that is answered before the backend is asked gets none.
func (a *attempt) readOffers() (err error) {
	if !a.match.Route.Deflate || a.first != nil {
		return nil
	}
	if a.offers, err = deflate.Parse(a.Header["Sec-Websocket-Extensions"]); err != nil {
		return &problem.Problem{Status: http.StatusBadRequest, Code: problem.BadRequest, Detail: err.Error()}
	}
	return nil
}

// register makes the session, then checks once more what may have changed before
// it could be found: from here on, a change of the route, of the deny rules or of the grant
// ends it.
func (h *Handler) register(ctx context.Context, a *attempt, hold *throttle.Hold) (*session.Session, error) {
	r := a.match.Route
	s, err := h.Sessions.New(a.cancel, session.Info{
		Ref: a.ref, Route: r.Shared(), Grant: a.grant, ClientAddr: a.Remote, Proxy: a.Proxy, Page: a.page,
		MaxAge: r.MaxAge,
	})
	if err != nil {
		return nil, err
	}
	s.SetHold(hold)
	if err := h.confirm(ctx, a, s); err != nil {
		s.Abandon()
		return nil, err
	}
	return s, nil
}

// confirm checks once more what may have changed before a session was registered.
func (h *Handler) confirm(ctx context.Context, a *attempt, s *session.Session) error {
	if !h.Routes.Load().Get(a.match.Route.Name).Serves(a.grant) {
		return notFound(noLonger)
	}
	if err := denied(h.Deny.Load().Match(a.judged())); err != nil || a.grant == nil {
		return err
	}
	return refusedGrant(h.Grants.Confirm(ctx, s, a.position))
}

// finish answers the client with 101 and starts the session. An error means that
// the client has not been sent anything yet.
func (h *Handler) finish(ctx context.Context, a *attempt, s *session.Session, hold *throttle.Hold, backend *upstream.Backend) error {
	buffered := a.received()
	if err := s.Err(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if g := s.Grant(); g != nil && g.Expired(time.Now()) {
		return invalid(errors.New("it has expired"))
	}
	if err := hold.Open(ctx); err != nil {
		return err
	}
	s.SetSubprotocol(backend.Protocol)
	if a.first != nil {
		h.start(a, s, backend, buffered)
		return nil
	}
	if err := h.upgrader.answer(a.Conn, a.Key, a.ref, cmp.Or(backend.Protocol, a.taken.Answer), backend.Header); err != nil {
		// A part of the answer may have been sent: there is no other answer now.
		_, _ = a.Conn.Close(), backend.Conn.Close()
		hold.Unopen()
		h.Metrics.Handshake(0)
		h.Log.Debug("client left during the handshake", "ref", a.ref, "client", a.Remote, "error", err)
		return nil
	}
	h.start(a, s, backend, buffered)
	return nil
}

// start starts the session of a client that has been answered 101.
func (h *Handler) start(a *attempt, s *session.Session, backend *upstream.Backend, buffered []byte) {
	h.Metrics.Handshake(http.StatusSwitchingProtocols)
	pings := a.match.Route.Pings
	between := relay.New(h.Relay, relay.Leg{Conn: a.Conn, Buffered: buffered, NoPings: pings.NoClient, Compressed: backend.Compressed},
		relay.Leg{Conn: backend.Conn, Buffered: backend.Buffered, NoPings: pings.NoBackend, Compressed: backend.Compressed})
	h.starts <- struct{}{}
	defer func() { <-h.starts }()
	if err := s.Start(between); err != nil {
		h.Log.Error("session not started", "ref", a.ref, "error", err)
	}
}

// received ends the monitoring of the client and returns what it has sent that is to be
// relayed. It may be called more than once.
func (a *attempt) received() []byte {
	if a.heard() {
		return a.first.stop()
	}
	return a.monitor.Stop()
}
