package grant_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

var (
	interleavings = flag.Int("interleavings", 1000, "how many interleavings are played")
	firstSeed     = flag.Uint64("first-seed", 0, "seed of the first; the next ones are one higher")
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

// judge checks that an answer was true at some instant between the handshake's
// since and now, and that a grant expires with its token or earlier by at most the
// time that the answer took. A grant may have expired already only if it was on its
// way when the handshake began. A denial may be one that is kept from before the
// token expired.
func (w *world) judge(h *handshake, g *grant.Grant, position grant.Position, err error) {
	if g != nil {
		w.note("handshake %d: at %d until %s", h.id, position, g.Expires.Format(time.StampMicro))
	} else {
		w.note("handshake %d: %v", h.id, err)
	}
	if err != nil && !errors.Is(err, grant.ErrUnauthenticated) && !errors.Is(err, grant.ErrNotSubscribed) {
		return
	}
	if errors.Is(err, grant.ErrSpent) {
		if h.ticket == nil || h.ticket.spent == h.attempt() {
			w.failf("handshake %d has not spent another's ticket: %v", h.id, err)
		}
		return
	}
	if h.ticket != nil && h.ticket.spent != h.attempt() {
		w.failf("handshake %d got %v for a ticket that %q has spent", h.id, err, h.ticket.spent)
	}
	c := w.control
	early, end := c.early[h.token], c.expires[h.token]
	over := [2]bool{false, !time.Now().Before(early)}
	if err == nil {
		if g.Expires.Before(early) || g.Expires.After(end) {
			w.failf("handshake %d: the grant ends at %s, want %s, or from %s on", h.id, g.Expires, end, early)
		}
		over[0] = h.expired && c.given[g].Before(h.began)
	}
	for _, s := range c.history[h.since:] {
		for _, over := range over {
			a := s.judge(h.token, h.version, over)
			if err != nil && a.Denial != nil && errors.Is(err, a.Denial.Reason) || err == nil && a.Grant != nil && a.Grant.Subscription == g.Subscription {
				return
			}
		}
	}
	w.failf("handshake %d of %s to %s got %v, which was true at no instant since it began", h.id, h.token, h.version, err)
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

// start starts something new, chosen by the seed.
func (w *world) start(delivering *atomic.Bool) {
	pick := func(list []string) string {
		if w.narrow {
			return list[0]
		}
		return list[w.rnd.IntN(len(list))]
	}
	app, version := pick(w.control.apps()), pick(w.control.versions())
	token := pick(w.control.tokens(app))
	w.control.away = w.control.away && w.rnd.IntN(4) > 0
	switch n := w.rnd.IntN(24); {
	case n >= 20:
		if live := w.live(); len(live) > 0 {
			h := live[w.rnd.IntN(len(live))]
			token := pick(w.control.tokens(appOf(h.token)))
			w.control.issue(token)
			w.note("renew session %d by %s", h.id, token)
			go w.renew(h, token)
		}
	case n < 12 && (len(w.control.queue) > 2 || w.narrow && len(w.control.queue) > 0 && n < 9):
		w.deliverNext(delivering)
	case n < 6:
		if len(w.all) > 0 && w.rnd.IntN(4) == 0 {
			before := w.all[w.rnd.IntN(len(w.all))]
			token, version = before.token, before.version
		}
		w.control.issue(token)
		h := &handshake{id: len(w.all), token: token, version: version}
		w.showTicket(h)
		w.all = append(w.all, h)
		w.note("handshake %d of %s to %s", h.id, h.token, h.version)
		go w.connect(h)
	case n < 12:
		what := w.rnd.IntN(acts)
		if w.narrow && what < groupActs {
			what = groupActs + w.rnd.IntN(groupsEnd-groupActs)
		}
		w.note("%s", w.control.act(what, app, token, version))
	case n < 16:
		w.deliverNext(delivering)
	case n < 18:
		w.pass([]time.Duration{150 * time.Millisecond, 150 * time.Millisecond, 150 * time.Millisecond, time.Second, 61 * time.Second}[w.rnd.IntN(5)])
	case n < 19:
		w.mishap()
	default:
		w.control.away = true
		w.note("away: %t", w.control.away)
	}
}

// showTicket has some handshakes show a ticket, of which some were shown before.
func (w *world) showTicket(h *handshake) {
	switch all := w.control.tickets; w.rnd.IntN(6) {
	case 0:
		h.ticket = w.control.sell(h.token, h.version)
	case 1:
		if len(all) > 0 {
			h.ticket = all[w.rnd.IntN(len(all))]
			h.token, h.version = h.ticket.token, h.ticket.version
		}
	}
}

// pass lets time pass, and ends the sessions that expire, as the relay does.
func (w *world) pass(d time.Duration) {
	w.note("%s pass", d)
	time.Sleep(d)
	synctest.Wait()
	for _, h := range w.all {
		if h.session != nil && !h.left && expired(h.session) && h.session.End(ending.New(ending.Expired, "")) {
			w.note("session %d expires", h.id)
		}
	}
}

// mishap is a rare event.
func (w *world) mishap() {
	switch w.rnd.IntN(5) {
	case 0:
		w.note("events are lost")
		w.control.lose()
	case 1:
		w.note("another history")
		w.control.restore(func() bool { return w.rnd.IntN(3) > 0 })
	case 2:
		app := w.control.apps()[0]
		go w.deny(app)
	default:
		if live := w.live(); len(live) > 0 {
			h := live[w.rnd.IntN(len(live))]
			w.note("session %d leaves", h.id)
			h.left = true
			h.session.Abandon()
		}
	}
}

// live returns the handshakes that have become sessions, of which some have ended.
func (w *world) live() []*handshake {
	return slices.DeleteFunc(slices.Clone(w.all), func(h *handshake) bool { return h.session == nil || h.left })
}

// drain lets everything finish: all that is under way, the delivery of all changes,
// and all refreshes.
func (w *world) drain(delivering *atomic.Bool) {
	w.control.away, w.slow = false, ""
	steps := 0
	for quiet := 0; quiet < 20; quiet++ {
		for w.step() || w.deliverNext(delivering) {
			quiet = 0
			if steps++; steps > 10_000 {
				w.failf("the world does not become idle")
				return
			}
		}
		w.pass(grant.MaxBackoff / 10)
	}
}

// deliverNext starts the next delivery to the gateway, unless one is under way.
func (w *world) deliverNext(delivering *atomic.Bool) bool {
	if !w.control.reset && len(w.control.queue) == 0 || !delivering.CompareAndSwap(false, true) {
		return false
	}
	go func() {
		defer delivering.Store(false)
		w.deliver()
	}()
	return true
}

// check compares the surviving sessions with those of the model.
func (w *world) check() {
	opened := map[*ticket]int{}
	for _, h := range w.all {
		if h.ticket != nil && h.session != nil {
			if opened[h.ticket]++; opened[h.ticket] > 1 {
				w.failf("%s has opened %d sessions", h.ticket.value, opened[h.ticket])
			}
		}
		switch {
		case h.left:
		case h.session != nil:
			w.checkSession(h)
		case h.err == nil:
			w.failf("handshake %d did not end", h.id)
		default:
			w.checkEnd(h, "handshake", h.err)
		}
	}
}

func (w *world) checkSession(h *handshake) {
	if end := h.session.Grant().Expires; !end.Equal(h.expires) {
		w.failf("session %d expires at %s, its grant at %s", h.id, end, h.expires)
	}
	err := h.session.Err()
	if err == nil && w.deniedNow(h) {
		w.failf("session %d survived, though a deny rule matches it", h.id)
	}
	// What it rests on now has a subscription that it may have got since.
	valid := w.control.holds(appOf(h.token), slices.Concat(h.restsOn, h.session.Grant().RestsOn)) && time.Now().Before(h.expires)
	if h.free && w.control.judge(h.token, h.version, false).Grant == nil {
		valid = false
	}
	if err == nil && !valid {
		w.failf("session %d survived, though its grant %v until %s is void", h.id, h.restsOn, h.expires)
	}
	w.checkEnd(h, "session", err)
}

// checkEnd checks that a session or handshake that was ended ended for a true
// reason.
func (w *world) checkEnd(h *handshake, what string, err error) {
	holds, inTime := w.control.holds(appOf(h.token), h.restsOn) && !w.interrupted(h), time.Now().Before(h.expires)
	var end *session.EndedError
	switch {
	case !errors.As(err, &end):
	case end.Ending.Detail == "denied by denyRules/"+appOf(h.token):
		if w.denied[appOf(h.token)] == h.denials {
			w.failf("%s %d was ended (%v), though no rule has denied it", what, h.id, err)
		}
	case holds && inTime:
		w.failf("%s %d was ended (%v), though its grant was valid all the time", what, h.id, err)
	case hasExpired(err) && inTime, !hasExpired(err) && holds:
		w.failf("%s %d was ended (%v), which is not why its grant %v until %s is void", what, h.id, err, h.restsOn, h.expires)
	}
}

// interrupted reports whether a handshake without a subscription can have lost its right
// at some instant since it began: the version needed a subscription and there was none, or
// a subscription that it may have moved to is gone.
func (w *world) interrupted(h *handshake) bool {
	at := pair(appOf(h.token), h.version)
	return h.free && slices.ContainsFunc(w.control.history[h.since:], func(s state) bool {
		sub := s.subs[at]
		return sub != "" && w.control.gone[sub] || !s.free[h.version] && (sub == "" || s.gone[sub])
	})
}

// hasExpired reports whether a session ended because its credential expired.
func hasExpired(err error) bool {
	var end *session.EndedError
	return errors.As(err, &end) && end.Ending.Reason == ending.Expired
}

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

// interleave plays one interleaving.
func interleave(t *testing.T, seed uint64, m *metrics.Metrics, o *outcomes) {
	s := &scheduler{rnd: rand.New(rand.NewPCG(seed, 0))}
	s.slow = slows[s.rnd.IntN(len(slows))]
	w := &world{scheduler: s, control: newControl(s), registry: session.NewRegistry(nil, func(session.Record) {}), rules: &deny.Current{}, denied: map[string]int{}}
	w.registry.Judge(w.rules)
	cfg := grant.Default()
	cfg.MaxLookups, cfg.MaxEvents = 3, 1+s.rnd.IntN(4)
	w.cache = grant.New(cfg, w.control, pausing{w.registry, s}, m, slog.New(slog.DiscardHandler))
	w.narrow = s.rnd.IntN(2) == 0
	w.cache.SetJitter(func(d time.Duration) time.Duration { return d })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.cache.Run(ctx) }()
	var delivering atomic.Bool
	for range 50 + s.rnd.IntN(100) {
		if s.rnd.IntN(3) == 0 || !s.step() {
			w.start(&delivering)
			synctest.Wait()
		}
	}
	w.drain(&delivering)
	w.check()
	o.add(w)
	s.mu.Lock()
	s.free = true
	s.mu.Unlock()
	cancel()
	if err := <-done; err != nil {
		w.failf("Run = %v", err)
	}
	w.cache.Close()
	if len(w.failed) > 0 {
		t.Errorf("seed %d:\n%s\n\nwhat happened:\n%s", seed, strings.Join(w.failed, "\n"), strings.Join(s.trace, "\n"))
	}
}

// TestSurvivorsAreTheModels plays random interleavings of handshakes, changes, their
// delivery, resets, failures of the control plane and the passing of time, step by
// step. It compares the sessions that are live at the end with those whose grant was
// valid at every instant. A failure names the seed of its interleaving, which -first-seed
// with -interleavings=1 plays again.
func TestSurvivorsAreTheModels(t *testing.T) {
	m, o := metrics.New(prometheus.NewRegistry()), &outcomes{}
	const shards = 4
	t.Run("interleavings", func(t *testing.T) {
		for shard := range shards {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				for i := shard; i < *interleavings && !t.Failed(); i += shards {
					synctest.Test(t, func(t *testing.T) { interleave(t, *firstSeed+uint64(i), m, o) })
				}
			})
		}
	})
	if *interleavings >= 1000 {
		o.check(t, int64(*interleavings))
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
