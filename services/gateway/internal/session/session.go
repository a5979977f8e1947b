package session

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/kit/permit"
)

// Route is what the sessions of a route keep of it. It is made once per route and
// never changed, so that sessions share its strings.
type Route struct {
	API     string // apis/{api}
	Version string // apis/{api}/versions/{version}; empty for what is known of a refused handshake that led to none
	// Frames are what clients are told of messages that are dropped; nil: by default.
	Frames *ending.ErrorFrames
	// Endings are what clients get at ends of sessions; nil: by default.
	Endings ending.ClientEndings
	// Idle is how long a session may be without a message; 0: as long as the gateway says.
	Idle time.Duration
	// ChangeNumber is that of the catalog's change that made the route.
	ChangeNumber uint64
}

// Plans are the plans that hold for a session.
type Plans = throttle.Plans

// Info describes a session.
type Info struct {
	Ref         string // made by kit/ref; also the session's id
	Route       *Route
	Grant       *grant.Grant   // nil if the API asks for no credential
	Plans       *Plans         // nil for none
	ClientAddr  netip.AddrPort // the client's address; the port is 0 where it is not known
	Proxy       bool           // that is a trusted proxy's own address
	Beside      bool           // it is no session, but a plain request, which never starts
	Renewals    uint16         // how often its credential was renewed, at most 65535
	Renewed     uint32         // when last, in seconds since 1970; 0: never
	Subprotocol string         // that the backend chose; set by SetSubprotocol
	MaxAge      time.Duration  // the smallest that holds; 0: none
	Page        *permit.Page   // whose script opened it, where the grant is of an API key; nil for none
}

// errorFrames returns what the client is told of messages that are dropped: by default
// JSON, but nothing where a sub-protocol says what messages are.
func (i *Info) errorFrames() ending.ErrorFrames {
	switch {
	case i.Route.Frames != nil:
		return *i.Route.Frames
	case i.Subprotocol == "":
		return ending.ErrorFrames{Template: ending.JSONFrames}
	}
	return ending.ErrorFrames{}
}

// RenewedAt returns when the credential was renewed last; zero for never.
func (i *Info) RenewedAt() time.Time {
	if i.Renewed == 0 {
		return time.Time{}
	}
	return time.Unix(int64(i.Renewed), 0)
}

// AllPlans returns the plans of the session.
func (i *Info) AllPlans() Plans {
	if i.Plans == nil {
		return Plans{}
	}
	return *i.Plans
}

// UsagePlan returns the plan that usage is counted under: without a credential the
// version's is the only one.
func (i *Info) UsagePlan() string {
	if i.Grant == nil {
		return i.AllPlans().TrafficPlan
	}
	return i.AllPlans().Plan
}

// ClientAddress returns the client's address as text, with its port where that is
// known.
func (i *Info) ClientAddress() string {
	if i.ClientAddr.Port() == 0 && i.ClientAddr.IsValid() {
		return i.ClientAddr.Addr().String()
	}
	return i.ClientAddr.String()
}

// state is where a session is in its life. It only moves forward.
type state uint8

const (
	registered state = iota + 1 // in its handshake
	live                        // on its transport, until that has closed both legs
	over
)

// Session is one session, from before its backend is dialled to its record.
// All methods may be called from any goroutine at any time.
type Session struct {
	registry *Registry
	basis    *basis // guarded by Registry.mu
	index    int32  // place in the basis, guarded by Registry.mu
	counted  bool   // for its client's address; set by New
	state    state  // guarded by mu; it stands here for its size

	mu     sync.Mutex
	ended  *ending.Ending
	cancel context.CancelCauseFunc // of the handshake; nil after it
	info   Info

	transport Transport // nil until Start; stays nil after Abandon
	hold      *throttle.Hold
	backend   *balance.Member // set by SetBackend; nil: none
}

// Record is what a session leaves behind. Each session that started leaves exactly
// one.
type Record struct {
	Info
	ending.Outcome
	Plain *Plain // nil: it is of a session
}

// Plain is what the record of a plain request has of it.
type Plain struct {
	Method    string
	Status    int // of the answer; 0: it had none
	Host      string
	Path      string
	UserAgent string
}

// errOver is what Start returns after Start or Abandon.
var errOver = errors.New("the handshake is over")

// Ref returns the session's reference, which is also its id.
func (s *Session) Ref() string { return s.info.Ref }

// Beside reports whether it is a plain request. It is registered so that what ends
// sessions ends it, as it ends those in their handshake, and is abandoned once it is over.
func (s *Session) Beside() bool { return s.info.Beside }

// Route returns the route that led to the session.
func (s *Session) Route() *Route { return s.info.Route }

// Client returns the client's address; the port is 0 where it is not known.
func (s *Session) Client() netip.AddrPort { return s.info.ClientAddr }

// Info returns what is known about the session, with its newest grant.
func (s *Session) Info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest()
}

// newest returns the info as it is now.
func (s *Session) newest() Info {
	info := s.info
	if s.hold != nil {
		info.Plans = s.hold.Plans()
		if age := s.hold.MaxAge(); age > 0 {
			info.MaxAge = age
		}
	}
	return info
}

// SetHold says what plans let the session do, once, before Start. The session releases it.
func (s *Session) SetHold(h *throttle.Hold) {
	s.mu.Lock()
	gone := s.state != registered
	if !gone {
		s.hold = h
	}
	s.mu.Unlock()
	if gone {
		h.Release()
		return
	}
	h.Bind(s)
}

// Opened returns when quotas counted the session, by the engine's clock; 0 where none did.
func (s *Session) Opened() int64 {
	if h := s.held(); h != nil {
		return h.Opened()
	}
	return 0
}

// held returns what plans let the session do, nil for anything.
func (s *Session) held() *throttle.Hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hold
}

// Grant returns the newest grant, nil if the API asks for no credential.
func (s *Session) Grant() *grant.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info.Grant
}

// Permitted returns nil if a grant is good from where the client is.
func (s *Session) Permitted(g *grant.Grant) error {
	s.mu.Lock()
	client, page := s.info.ClientAddr.Addr(), s.info.Page
	s.mu.Unlock()
	if page == nil {
		page = &permit.Page{}
	}
	return g.Permits(client, *page)
}

// inHandshake reports whether the session has neither begun nor been abandoned.
func (s *Session) inHandshake() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == registered
}

// Started returns when the session became live, zero before.
func (s *Session) Started() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transport == nil {
		return time.Time{}
	}
	return s.transport.Started()
}

// Totals returns what was relayed so far.
func (s *Session) Totals() ending.Totals {
	if t := s.live(); t != nil {
		return t.Totals()
	}
	return ending.Totals{}
}

// Limits returns what limits did to the session so far, and since when it is paused; zero
// if it is not.
func (s *Session) Limits() (did []ending.LimitCount, pausedSince time.Time) {
	if t := s.live(); t != nil {
		return t.Limits()
	}
	return nil, time.Time{}
}

// collect returns what was used since its last call.
func (s *Session) collect() []ending.Usage {
	if t := s.live(); t != nil {
		return t.Collect()
	}
	return nil
}

// live returns the session's transport, nil before it has one.
func (s *Session) live() Transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport
}

// Err returns nil until the session is ended, and then an *EndedError. It is the
// last thing that the handshake checks before it answers 101.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return &EndedError{*s.ended}
	}
	if s.transport == nil {
		return nil
	}
	if e := s.transport.Ending(); e.By != ending.Nobody {
		return &EndedError{e}
	}
	return nil
}

// Abandon removes a session whose handshake was refused. It leaves no record of its own:
// package refusal notes the handshake. After Start it does nothing, so it can be deferred.
func (s *Session) Abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == registered {
		s.leave()
	}
}

// leave removes a session that is in its handshake.
func (s *Session) leave() {
	s.state, s.cancel = over, nil
	s.registry.remove(s)
	s.release()
	s.registry.done(s)
}

// SetBackend says to which endpoint the session has a connection, once, before Start. The
// session releases it.
func (s *Session) SetBackend(m *balance.Member) {
	s.mu.Lock()
	gone := s.state != registered
	if !gone {
		s.backend = m
	}
	s.mu.Unlock()
	if gone {
		m.Release()
	}
}

// release gives back what plans gave the session, and its place at its endpoint.
func (s *Session) release() {
	if s.backend != nil {
		s.backend.Release()
	}
	if s.hold != nil {
		s.hold.Release()
	}
}

// Start starts the transport, which moves the session's bytes from now on, and
// returns at once. The client must have been sent its 101 before. If the session
// was ended in the meantime, both peers get their close frames, and there is a
// record. After an error the transport is closed and the session abandoned.
func (s *Session) Start(t Transport) error {
	if began := s.registry.began; began != nil {
		began(s)
	}
	hold := s.held()
	if hold == nil {
		return s.start(t, ending.Limits{})
	}
	if err := s.start(t, hold.Limits()); err != nil {
		return err
	}
	hold.Attach(t)
	return nil
}

func (s *Session) start(t Transport, l ending.Limits) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != registered {
		t.Abort(ending.Ending{})
		return errOver
	}
	err := t.Start(ending.Terms{
		Ref: s.info.Ref, Expires: expiryOf(s.info.Grant), MaxAge: s.info.MaxAge,
		Retry: retry(), Ended: s.ended, Observer: (*observer)(s), Limits: l, Frames: s.info.errorFrames(), Endings: s.info.Route.Endings, Idle: s.info.Route.Idle,
	})
	if err != nil {
		s.leave()
		return err
	}
	s.transport, s.state = t, live
	s.cancel = nil
	s.registry.live.Add(1)
	return nil
}

// observer is the Session as its transport sees it.
type observer Session

// Ended implements ending.Observer.
func (o *observer) Ended(outcome ending.Outcome) {
	s := (*Session)(o)
	s.mu.Lock()
	s.state = over
	info := s.newest()
	s.mu.Unlock()
	if s.hold != nil {
		if l := s.hold.Bounding(outcome.Ending.Reason); l != nil {
			outcome.EndedBy(l)
		}
	}
	s.registry.live.Add(-1)
	s.registry.remove(s)
	s.release()
	s.registry.sink(Record{Info: info, Outcome: outcome})
	s.registry.done(s)
}

// End ends the session: by cancelling its handshake, or once it is live by closing
// both legs. Only the first ending counts; End reports whether it was this one.
func (s *Session) End(e ending.Ending) bool {
	s.mu.Lock()
	switch {
	case s.state == live:
		s.mu.Unlock()
		return s.transport.End(e)
	case s.state == over || s.ended != nil:
		s.mu.Unlock()
		return false
	}
	s.ended = &e
	if s.cancel != nil {
		s.cancel(&EndedError{e})
	}
	s.mu.Unlock()
	return true
}

// abort ends a live session without waiting for its peers.
func (s *Session) abort(e ending.Ending) {
	s.mu.Lock()
	isLive := s.state == live
	s.mu.Unlock()
	if isLive {
		s.transport.Abort(e)
	}
}

// expiryOf returns when a session with this grant must end; the zero time means
// never.
func expiryOf(g *grant.Grant) time.Time {
	if g == nil {
		return time.Time{}
	}
	return g.Expires
}

// SetSubprotocol sets the sub-protocol that the backend chose, before Start.
func (s *Session) SetSubprotocol(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info.Subprotocol = name
}

// Renew replaces the grant by that of another credential, and notes that.
func (s *Session) Renew(g *grant.Grant) {
	s.mu.Lock()
	s.info.Renewals = max(s.info.Renewals, s.info.Renewals+1)
	s.info.Renewed = uint32(time.Now().Unix())
	s.mu.Unlock()
	s.SetGrant(g)
}

// SetGrant replaces the grant. From then on the session rests on what the new grant
// rests on, ends when that expires, and has the limits of its plans. A deny rule that
// matches the new grant ends it.
func (s *Session) SetGrant(g *grant.Grant) {
	if !s.setGrant(g) {
		return
	}
	if h := s.held(); h != nil {
		h.SetGrant(g)
	}
	if rules := s.registry.rules; rules != nil {
		s.judge(rules.Load())
	}
}

// judge ends the session if a rule of a table matches it, and reports whether this ended it.
func (s *Session) judge(t *deny.Table) bool {
	r := t.Match(s.client())
	return r != nil && s.End(ending.New(ending.Blocked, DeniedBy(r)))
}

// DeniedBy is what records say of a session or a handshake that a rule ended. The reason of
// the rule is for those alone who see the rule.
func DeniedBy(r *deny.Rule) string { return "denied by " + r.Name }

// client is who deny rules judge.
func (s *Session) client() deny.Client {
	c := deny.Client{Addr: s.info.ClientAddr.Addr(), API: s.info.Route.API, Version: s.info.Route.Version}
	if g := s.Grant(); g != nil {
		c.Application, c.Subscription = g.Application, g.Subscription
	}
	return c
}

func (s *Session) setGrant(g *grant.Grant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == over {
		return false
	}
	s.info.Grant = g
	s.registry.move(s, s.info.Route, g)
	if s.state == live {
		s.transport.SetExpiry(expiryOf(g))
	}
	return true
}
