package grant_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

// world is one interleaving.
type world struct {
	*scheduler
	control  *control
	cache    *grant.Cache
	registry *session.Registry
	rules    *deny.Current
	denied   map[string]int // by application, how many deny rules it has had
	ruling   atomic.Bool    // a deny rule is being applied
	renewing sync.Mutex     // of what renewals note, of which several may end at once
	narrow   bool           // one application only, and fewer acts that end everything
	applied  int            // instant of the last change that the gateway has applied
	all      []*handshake
	failed   []string
}

// handshake is one attempt to connect.
type handshake struct {
	id             int
	token, version string
	ticket         *ticket   // that the token bought, and that is shown in its place; nil for none
	denials        int       // deny rules that its application had had when it began, without the one that held
	since          int       // the instant up to which the gateway had applied changes when it began
	began          time.Time // on the clock
	expired        bool      // the token had expired when it began
	session        *session.Session
	restsOn        []string  // what the grant rests on
	free           bool      // the grant had no subscription
	expires        time.Time // end of the grant
	left           bool
	renewed, void  int // renewals that succeeded, and that an event has made void
	err            error
}

func (w *world) failf(format string, a ...any) {
	w.failed = append(w.failed, fmt.Sprintf(format, a...))
}

// connect does what the gateway does for a client, except for the sockets.
func (w *world) connect(h *handshake) {
	ctx := context.Background()
	at := func(what string) string { return fmt.Sprintf("handshake %d %s", h.id, what) }
	w.pause(at("begins"))
	w.begin(h)
	h.denials = w.denied[appOf(h.token)]
	if w.deniedNow(h) {
		h.denials--
	}
	shown := credential.Credential{Type: credential.OAuth2, Value: h.token}
	if h.ticket != nil {
		shown = credential.Credential{Type: credential.Ticket, Value: h.ticket.value, Use: credential.Use{Attempt: h.attempt()}}
	}
	g, position, err := w.cache.Verify(ctx, shown, h.version)
	w.judge(h, g, position, err)
	if h.err = err; err != nil {
		return
	}
	h.has(g)
	w.pause(at("has its grant"))
	s, err := w.registry.New(nil, session.Info{
		Ref: ref.New(time.Now()), Route: &session.Route{API: "apis/x", Version: h.version}, Grant: g,
	})
	if err != nil {
		w.failf("handshake %d: New = %v", h.id, err)
		return
	}
	w.pause(at("has registered"))
	if w.deniedNow(h) {
		h.err = errDenied
		s.Abandon()
		return
	}
	if h.err = w.cache.Confirm(ctx, s, position); h.err != nil {
		s.Abandon()
		return
	}
	w.pause(at("is confirmed"))
	if h.err = s.Err(); h.err == nil && expired(s) {
		h.err = grant.ErrUnauthenticated
	}
	if h.err != nil {
		s.Abandon()
		return
	}
	h.session = s
}

// begin notes what the gateway and the token are like when a credential is shown.
func (w *world) begin(h *handshake) {
	h.since, h.began, h.expired = w.applied, time.Now(), w.control.over(h.token)
}

// has notes the grant that the credential was good for.
func (h *handshake) has(g *grant.Grant) {
	h.restsOn, h.expires, h.free = g.RestsOn, g.Expires, g.Subscription == ""
}

// renew does what the gateway does for a client that shows another token for its session.
func (w *world) renew(h *handshake, token string) {
	ctx := context.Background()
	at := func(what string) string { return fmt.Sprintf("renewal of session %d by %s %s", h.id, token, what) }
	next := &handshake{id: h.id, token: token, version: h.version}
	w.pause(at("begins"))
	w.begin(next)
	g, position, err := w.cache.Verify(ctx, credential.Credential{Type: credential.OAuth2, Value: token}, h.version)
	w.judge(next, g, position, err)
	if err != nil {
		return
	}
	next.has(g)
	w.pause(at("has its grant"))
	err = w.cache.Renew(ctx, h.session, g, position)
	w.note("%s: %v", at("ends"), err)
	w.renewing.Lock()
	defer w.renewing.Unlock()
	if h.session.Grant() == g {
		h.token, h.restsOn, h.expires, h.free, h.since = token, next.restsOn, next.expires, next.free, next.since
		h.renewed++
	} else if errors.Is(err, grant.ErrVoid) {
		h.void++
	}
}

// errDenied is what a handshake ends with that a deny rule matches.
var errDenied = errors.New("a deny rule matches")

// attempt is what tells the handshake from others.
func (h *handshake) attempt() string { return fmt.Sprint("attempt ", h.id) }

// deniedNow reports whether the gateway has a deny rule that matches the handshake.
func (w *world) deniedNow(h *handshake) bool {
	return w.rules.Load().ByGrant(deny.Client{Application: appOf(h.token)}) != nil
}

// deny makes a deny rule for an application, or takes back the one that it has. The rules
// come one after the other with the routes, which nothing orders with the changes of grants.
func (w *world) deny(app string) {
	if !w.ruling.CompareAndSwap(false, true) {
		return
	}
	defer w.ruling.Store(false)
	name := "denyRules/" + app
	if w.rules.Load().ByGrant(deny.Client{Application: app}) != nil {
		w.note("allow %s", app)
		w.rules.Swap(w.rules.Load().With(nil, []string{name}))
		return
	}
	w.note("deny %s", app)
	w.denied[app]++
	rule := []*deny.Rule{{Name: name, Application: app}}
	w.rules.Swap(w.rules.Load().With(rule, nil))
	w.pause("has a rule")
	w.registry.EndDenied(new(deny.Table).With(rule, nil))
}

// expired reports whether the session's credential has expired.
func expired(s *session.Session) bool {
	return s.Grant().Expired(time.Now())
}

// deliver delivers the next change, or a reset, to the gateway.
func (w *world) deliver() {
	c := w.control
	switch {
	case c.reset:
		number, instant := c.head, len(c.history)-1
		c.reset, c.queue = false, nil
		w.note("reset to %d", number)
		w.cache.Reset(number)
		w.applied = instant
	case len(c.queue) > 0:
		next := c.queue[0]
		c.queue = c.queue[1:]
		w.note("apply %d: %s %v", next.number, next.event.Kind, next.event.Names)
		w.cache.Apply(next.number, next.event)
		w.applied = next.instant
	}
}
