package throttle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// TestPlacesHaveTheirOwn: one plan at a subscription, an application and a version has
// three sets of counters, and each subscription its own; whoever shares a place shares them.
func TestPlacesHaveTheirOwn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("ten", messages(10)), planOf("25", messages(25)))
		w.SetVersions(map[string]Version{version1: {TrafficPlan: "plans/25"}}, nil)
		a1, a2 := w.mustEnter(w.who("a", "plans/ten", "")), w.mustEnter(w.who("a", "plans/ten", ""))
		b := w.mustEnter(w.who("b", "plans/ten", ""))
		if got := a1.send(6) + a2.send(6) + b.send(12); got != 20 {
			t.Errorf("%d messages of two subscriptions of 10 each passed", got)
		}
		c := w.mustEnter(w.who("c", "", "plans/ten")) // of its own, at all versions
		if got := c.send(12); got != 5 {
			t.Errorf("%d messages passed, want the 5 that the version has left", got)
		}
		if want := (Plans{Plan: "plans/ten", TrafficPlan: "plans/25"}); *a1.Plans() != want {
			t.Errorf("Plans = %+v, want %+v", a1.Plans(), want)
		}
		other := w.who("c", "", "plans/ten")
		other.Version = "apis/b/versions/1"
		if got := w.mustEnter(other).send(12); got != 5 {
			t.Errorf("%d messages passed at another version, want the 5 that the application has left", got)
		}
		none := w.mustEnter(Who{Version: version1})
		if got := none.send(1); got != 0 {
			t.Error("without a credential the version's plan does not hold")
		}
		if got := w.SeatsTaken(); got["plans/ten"] != 5 || got["plans/25"] != 5 {
			t.Errorf("SeatsTaken = %v, want 5 of each", got)
		}
	})
}

// TestLimitsOfAConnection: each session has them for itself, and they keep what was taken
// when the plan is edited.
func TestLimitsOfAConnection(t *testing.T) {
	inWorld(t, func(w *world) {
		own := func(n int64) *catalogv1.Plan {
			return planOf("own", rate("messages-rate-per-connection", catalogv1.Unit_UNIT_MESSAGES, n, perConnection), messages(100))
		}
		w.put(own(10))
		a, b := w.mustEnter(w.who("a", "plans/own", "")), w.mustEnter(w.who("a", "plans/own", ""))
		if x, y := a.send(12), b.send(12); x != 10 || y != 10 {
			t.Errorf("%d and %d messages passed, want 10 each", x, y)
		}
		w.put(own(30))
		if x, y := a.send(40), b.send(10); x != 20 || y != 10 {
			t.Errorf("with 30 instead of 10, %d and %d more passed, want 20 and 10", x, y)
		}
		w.put(planOf("own", messages(100)))
		if got := a.send(100); got != 50 {
			t.Errorf("without the limit of a connection %d passed, want the 50 that all have left", got)
		}
		if w.mustEnter(w.who("a", "plans/own", "")).now().Chain != a.now().Chain {
			t.Error("sessions without limits of their own do not share a chain")
		}
	})
}

// TestLeavingFillsNoRate: a rate is as empty for who comes back; when it is full again
// nothing is kept.
func TestLeavingFillsNoRate(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("ten", messages(10), handshakes(100), quota(catalogv1.Unit_UNIT_MESSAGES, 1000)))
		who := w.who("a", "plans/ten", "")
		c := w.mustEnter(who)
		c.send(10)
		c.Release()
		c.Release()
		time.Sleep(6 * time.Second)
		c = w.mustEnter(who)
		if got := c.send(10); got != 1 {
			t.Errorf("after 6 s of a minute %d messages passed, want 1", got)
		}
		c.Release()
		time.Sleep(50 * time.Second)
		if n := w.kept(); n == 0 || w.ledger.opened != 1 {
			t.Errorf("%d places are kept, %d accounts were opened: the rate is not full yet", n, w.ledger.opened)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := w.kept(); n != 0 || len(w.ledger.accounts) != 0 {
			t.Errorf("%d places and %d accounts are kept, want none", n, len(w.ledger.accounts))
		}
		if got := w.mustEnter(who).send(12); got != 10 {
			t.Errorf("%d messages passed, want 10", got)
		}
	})
}

func (w *world) kept() int {
	w.Controller.mu.Lock()
	defer w.Controller.mu.Unlock()
	return len(w.places)
}

// TestHandshakeRate: every attempt that reaches it counts, also one that is refused later.
func TestHandshakeRate(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("four", handshakes(4), connections(2, refuse)))
		who := w.who("a", "plans/four", "")
		a, b := w.mustEnter(who), w.mustEnter(who)
		if e := w.refused(who, "connections", limits.Subscription); e.Kind != limits.KindConnections || e.Limit != 2 || e.Used != 2 {
			t.Errorf("connections: %+v, want 2 of 2", e)
		}
		a.Release()
		b.Release()
		w.mustEnter(who)
		e := w.refused(who, "handshakes-rate", limits.Subscription)
		if e.Kind != limits.KindRate || e.Limit != 4 || e.Used != 4 || e.Burst != 4 || e.Window != time.Minute || e.Reset != 15*time.Second {
			t.Errorf("the rate: %+v, want 4 of 4 a minute, and the next in 15 s", e)
		}
		time.Sleep(15 * time.Second)
		w.mustEnter(who)
	})
}

// TestSessionQuota: sessions count when they open; where nothing is known of what is left
// they wait for a second.
func TestSessionQuota(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("two", quota(catalogv1.Unit_UNIT_SESSIONS, 2)))
		who := w.who("a", "plans/two", "")
		var opened [3]*client
		for i := range opened {
			opened[i] = w.mustEnter(who)
		}
		if a, b := opened[0].Open(w.t.Context()), opened[1].Open(w.t.Context()); a != nil || b != nil {
			t.Errorf("Open = %v, %v", a, b)
		}
		var limit *LimitError
		if err := opened[2].Open(w.t.Context()); !errors.As(err, &limit) || limit.Kind != limits.KindQuota || limit.Limit != 2 || limit.Used != 2 || limit.Window != 24*time.Hour {
			t.Errorf("Open of the third = %v, want a refusal by the quota", err)
		}
		_ = w.refused(who, limit.Name, limits.Subscription) // no backend is dialled for it
		opened[0].Unopen()
		if err := opened[2].Open(w.t.Context()); err != nil {
			t.Errorf("Open = %v, though one was given back", err)
		}

		w.ledger.silent = true
		other := w.mustEnter(w.who("b", "plans/two", ""))
		began := time.Now()
		var unknown *UnknownError
		if err := other.Open(w.t.Context()); !errors.As(err, &unknown) || time.Since(began) != time.Second {
			t.Errorf("Open with a silent ledger = %v after %v, want that nothing is known, after 1 s", err, time.Since(began))
		}
		go func() {
			time.Sleep(300 * time.Millisecond)
			w.ledger.accounts[QuotaKey{Place: limits.Subscription, Application: "b", Version: version1, Unit: limits.Sessions, Window: catalogv1.Quota_WINDOW_DAY}].give(1)
			w.Served()
		}()
		began = time.Now()
		if err := other.Open(w.t.Context()); err != nil || time.Since(began) != 300*time.Millisecond {
			t.Errorf("Open = %v after %v, want to get in when the slice comes", err, time.Since(began))
		}
		w.ledger.silent = true
		waiting := w.mustEnter(w.who("c", "plans/two", ""))
		ctx, cancel := context.WithCancelCause(w.t.Context())
		gone := errors.New("client left")
		cancel(gone)
		if err := waiting.Open(ctx); !errors.Is(err, gone) {
			t.Errorf("Open = %v, want why the client is not there", err)
		}
	})
}

// TestQuotasAreOfTheirKey: another plan with a quota of the same unit and window goes on
// with the same account, one with another name too; another window is another account.
func TestQuotasAreOfTheirKey(t *testing.T) {
	inWorld(t, func(w *world) {
		renamed := quota(catalogv1.Unit_UNIT_MESSAGES, 15)
		renamed.Name = "other"
		w.put(planOf("ten", quota(catalogv1.Unit_UNIT_MESSAGES, 10)), planOf("15", renamed))
		c := w.mustEnter(w.who("a", "plans/ten", ""))
		if got := c.send(12); got != 10 {
			t.Errorf("%d messages passed, want 10", got)
		}
		c.SetGrant(w.who("a", "plans/15", "").Grant)
		if got := c.send(12); got != 5 || w.ledger.opened != 1 {
			t.Errorf("with the quota of 15 %d more passed, of %d accounts, want 5 of one", got, w.ledger.opened)
		}
		hour := quota(catalogv1.Unit_UNIT_MESSAGES, 3)
		hour.GetQuota().Window = catalogv1.Quota_WINDOW_HOUR
		w.put(planOf("15", hour))
		if got := c.send(12); got != 3 || w.ledger.opened != 2 || len(w.ledger.accounts) != 1 {
			t.Errorf("with a quota of the hour %d passed, %d accounts were opened, %d are", got, w.ledger.opened, len(w.ledger.accounts))
		}
		for _, a := range w.ledger.accounts {
			if len(a.limits) != 1 || a.limits[0].Name != hour.Name {
				t.Errorf("the account serves the limits %v", a.limits)
			}
		}
	})
}

// TestPlanEdited: sessions that live have the new limits at once, in both directions and
// without a close; what was taken stays taken.
func TestPlanEdited(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("p", messages(10)))
		c := w.mustEnter(w.who("a", "plans/p", ""))
		c.send(4)
		before := c.now().Chain
		w.put(planOf("p", messages(20)))
		if c.now().Chain != before || c.set() != 1 || len(w.served) != 1 || len(w.released) != 0 {
			t.Errorf("another amount: set %d times, %d served, %d released; want the same chain and its line served", c.set(), len(w.served), len(w.released))
		}
		if got := c.send(30); got != 16 {
			t.Errorf("with 20 instead of 10, %d more passed, want 16", got)
		}
		w.put(planOf("p", messages(5)))
		if got := c.send(10); got != 0 {
			t.Errorf("with 5, %d more passed, want 0", got)
		}
		closes := messages(5)
		closes.Reaction = catalogv1.Limit_REACTION_CLOSE
		w.put(planOf("p", closes))
		d := c.now().Chain.Ask(w.engine.Now(), limits.Demand{Messages: 1}, nil)
		if d.Verdict != limits.Refuse || d.Limit.Reaction != limits.Close || len(w.released) != 1 || w.released[0].Reaction != limits.Drop {
			t.Errorf("with CLOSE: %+v, %v released; want a refusal that closes, and the old limit released", d, w.released)
		}
		w.put(planOf("p"))
		if got := c.send(100); got != 100 || c.now().Chain != nil || len(w.released) != 2 {
			t.Errorf("without limits %d passed, chain %v", got, c.now().Chain)
		}
		w.put(planOf("p", messages(10)))
		if got := c.send(100); got != 10 {
			t.Errorf("with a limit again %d passed, want 10", got)
		}
		if c.why() != "" {
			t.Errorf("the session ended: %s", c.why())
		}
	})
}

// TestPlanMoved: a subscription that moves, an application that is given a plan or loses it,
// a version with another plan and greatest message.
func TestPlanMoved(t *testing.T) {
	inWorld(t, func(w *world) {
		size := func(n int64) *catalogv1.Limit {
			return &catalogv1.Limit{Name: "message-size", Kind: &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: n}}}
		}
		age := &catalogv1.Limit{Name: "session-age", Kind: &catalogv1.Limit_SessionAge{SessionAge: &catalogv1.SessionAge{Age: durationpb.New(time.Hour)}}}
		w.put(planOf("bronze", messages(5)), planOf("gold", messages(20), size(1000)), planOf("app", messages(7), size(500), age))
		who := w.who("a", "plans/bronze", "")
		who.MaxAge = 2 * time.Hour
		c := w.mustEnter(who)
		if l := c.now(); l.MaxMessage != 1<<20 || l.MaxAge != 0 {
			t.Errorf("limits = %+v, want the greatest message of the gateway and no age", l)
		}
		c.send(5)
		c.SetGrant(w.who("a", "plans/gold", "").Grant)
		if got := c.send(30); got != 15 || c.now().MaxMessage != 1000 {
			t.Errorf("moved to gold: %d more, messages of %d, want 15 and 1000", got, c.now().MaxMessage)
		}
		time.Sleep(2 * time.Minute)
		c.SetGrant(w.who("a", "plans/gold", "plans/app").Grant)
		if got := c.send(30); got != 7 || c.now().MaxMessage != 500 || c.now().MaxAge != time.Hour || c.MaxAge() != time.Hour {
			t.Errorf("with the application's: %d, %+v, want 7 of at most 500 bytes, for an hour", got, c.now())
		}
		c.SetGrant(w.who("a", "plans/gold", "").Grant)
		if got := c.send(30); got != 13 || c.now().MaxAge != 0 {
			t.Errorf("without the application's: %d more, %+v, want 13", got, c.now())
		}
		time.Sleep(2 * time.Minute)
		w.SetVersions(map[string]Version{version1: {TrafficPlan: "plans/bronze", MaxMessage: 300}}, nil)
		if got := c.send(30); got != 5 || c.now().MaxMessage != 300 {
			t.Errorf("with the version's: %d of at most %d bytes, want 5 of 300", got, c.now().MaxMessage)
		}
		w.SetVersions(map[string]Version{version1: {MaxMessage: 2 << 20}}, nil)
		if got := c.send(30); got != 15 || c.now().MaxMessage != 1000 {
			t.Errorf("without the version's: %d of at most %d bytes, want the 15 of gold, of 1000", got, c.now().MaxMessage)
		}
		if want := (Plans{Plan: "plans/gold"}); *c.Plans() != want || c.why() != "" {
			t.Errorf("Plans = %+v, ended %q", c.Plans(), c.why())
		}
		c.Release()
		if want := (Plans{Plan: "plans/gold"}); *c.Plans() != want {
			t.Errorf("after the release Plans = %+v", c.Plans())
		}
	})
}

// TestOldGrantsChangeNothing: a handshake whose grant is older than those of live sessions
// has their plans, and does not take them away.
func TestOldGrantsChangeNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("old", messages(5)), planOf("new", messages(20)))
		stale := w.who("a", "plans/old", "")
		live := w.mustEnter(w.who("a", "plans/old", ""))
		live.SetGrant(w.who("a", "plans/new", "").Grant)
		c := w.mustEnter(stale)
		if got := c.send(30); got != 20 || c.Plans().Plan != "plans/new" {
			t.Errorf("%d passed under %+v, want the 20 of the new plan", got, c.Plans())
		}
		c.Release()
		live.Release()
		if got := w.mustEnter(stale); got.Plans().Plan != "plans/old" {
			t.Errorf("alone it has %+v, want what its grant says", got.Plans())
		}
	})
}

// TestUnknownPlan: it is fetched once however many need it, what is not there is not asked
// for again for 2 s, and nobody gets in meanwhile.
func TestUnknownPlan(t *testing.T) {
	inWorld(t, func(w *world) {
		who := w.who("a", "plans/new", "")
		var all sync.WaitGroup
		refusals := make(chan error, 20)
		for range 10 {
			all.Go(func() { _, err := w.enter(who); refusals <- err })
		}
		all.Wait()
		_, err := w.enter(who)
		refusals <- err
		if n := len(w.fetches); n != 1 {
			t.Errorf("%d fetches, want one", n)
		}
		for range 11 {
			var unknown *UnknownError
			if err := <-refusals; !errors.As(err, &unknown) || unknown.Plan != "plans/new" {
				t.Errorf("Enter = %v, want that the plan is not known", err)
			}
		}
		w.catalog["plans/new"] = planOf("new", messages(3))
		time.Sleep(2 * time.Second)
		if got := w.mustEnter(who).send(9); got != 3 || len(w.fetches) != 2 {
			t.Errorf("once it can be fetched %d messages pass after %d fetches, want 3 after 2", got, len(w.fetches))
		}
		w.catalog["plans/moved"] = planOf("moved", messages(4))
		c := w.mustEnter(w.who("b", "plans/new", ""))
		c.SetGrant(w.who("b", "plans/moved", "").Grant)
		if got := c.send(9); got != 3 {
			t.Errorf("until the plan that it moved to is known %d pass, want 3 as before", got)
		}
		time.Sleep(time.Second)
		if got := c.send(9); got != 1 || c.Plans().Plan != "plans/moved" {
			t.Errorf("then %d more, under %+v, want one, as 3 of 4 are taken", got, c.Plans())
		}
		w.SetPlans(nil, []string{"plans/new"})
		w.catalog = nil
		if _, err := w.enter(who); err == nil {
			t.Error("under a plan that is gone somebody gets in")
		}
	})
}

// TestPlanNotUnderstood: nobody gets in under it, and sessions keep what they have.
func TestPlanNotUnderstood(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("p", messages(5)))
		c := w.mustEnter(w.who("a", "plans/p", ""))
		w.put(planOf("p", messages(50), &catalogv1.Limit{Name: "newer"}))
		var unknown *UnknownError
		if _, err := w.enter(w.who("a", "plans/p", "")); !errors.As(err, &unknown) || !strings.Contains(err.Error(), `limit "newer": a kind that this gateway does not know`) {
			t.Errorf("Enter = %v, want that the plan is not understood", err)
		}
		if got := c.send(9); got != 5 {
			t.Errorf("%d messages passed, want 5 as before", got)
		}
		w.put(planOf("p", messages(50)))
		if got := c.send(99) + w.mustEnter(w.who("a", "plans/p", "")).send(99); got != 45 {
			t.Errorf("%d more passed once it is understood, want 45", got)
		}
	})
}

func TestNewPlan(t *testing.T) {
	edit := func(l *catalogv1.Limit, f func(*catalogv1.Limit)) *catalogv1.Limit { f(l); return l }
	bytes := func(f func(*catalogv1.Rate)) *catalogv1.Limit {
		return rate("r", catalogv1.Unit_UNIT_BYTES, 100, f)
	}
	many := make([]*catalogv1.Limit, 30)
	for i := range many {
		many[i] = rate(strings.Repeat("x", i+1), catalogv1.Unit_UNIT_MESSAGES, 1)
	}
	for want, list := range map[string][]*catalogv1.Limit{
		"":                          {messages(1), handshakes(1), connections(1, refuse), observed(connections(1, refuse)), quota(catalogv1.Unit_UNIT_BYTES, 1)},
		"kind":                      {{Name: "x"}},
		"unit":                      {rate("x", 77, 1)},
		"name comes twice":          {messages(1), messages(2)},
		"more than 21 limits":       many,
		"direction":                 {bytes(func(r *catalogv1.Rate) { r.Direction = 9 })},
		"amount":                    {rate("x", catalogv1.Unit_UNIT_BYTES, 0)},
		"a rate is of":              {rate("x", catalogv1.Unit_UNIT_SESSIONS, 1)},
		"a quota is of":             {quota(catalogv1.Unit_UNIT_HANDSHAKES, 1)},
		"not of a connection":       {rate("x", catalogv1.Unit_UNIT_HANDSHAKES, 1, perConnection)},
		"burst: must refill within": {bytes(func(r *catalogv1.Rate) { r.Per, r.Amount, r.Burst = durationpb.New(time.Hour), 1, 1e12 })},
		"window":                    {edit(quota(catalogv1.Unit_UNIT_BYTES, 1), func(l *catalogv1.Limit) { l.GetQuota().Window = 9 })},
		"outages":                   {edit(quota(catalogv1.Unit_UNIT_BYTES, 1), func(l *catalogv1.Limit) { l.GetQuota().OnOutage = 9 })},
		"counts what":               {connections(1, refuse), edit(connections(2, refuse), func(l *catalogv1.Limit) { l.Name = "y" })},
		"reaction":                  {edit(messages(1), func(l *catalogv1.Limit) { l.Reaction = 77 })},
		"reaction: 3":               {edit(messages(1), func(l *catalogv1.Limit) { l.Reaction = refuse })},
		"reaction: 0":               {edit(quota(catalogv1.Unit_UNIT_BYTES, 1), func(l *catalogv1.Limit) { l.Reaction = catalogv1.Limit_REACTION_PAUSE })},
		"a reaction that":           {connections(1, catalogv1.Limit_REACTION_DROP)},
		"on observe": {edit(&catalogv1.Limit{Kind: &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: 1}}},
			func(l *catalogv1.Limit) { l.Observe = true })},
	} {
		p := newPlan(planOf("p", list...), 1000)
		if want == "" && p.wrong != nil || want != "" && (p.wrong == nil || !strings.Contains(p.wrong.Error(), want)) {
			t.Errorf("%v: %v, want %q", list, p.wrong, want)
		}
	}
	p := newPlan(planOf("p", rate("r", catalogv1.Unit_UNIT_BYTES, 100), &catalogv1.Limit{Name: "m", Kind: &catalogv1.Limit_Rate{Rate: &catalogv1.Rate{
		Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: 7, Per: durationpb.New(time.Second),
	}}}), 1000)
	if b, m := p.limits[0], p.limits[1]; b.rate.Burst != 1000 || m.rate.Burst != 7 || m.terms.Reaction != limits.Pause || m.terms.LongestPause != 10*time.Second {
		t.Errorf("the defaults are %+v and %+v", b, m)
	}
}

// TestManySessions: one change reaches 5000 sessions before it is done, each once, and
// costs a few allocations for all of them.
func TestManySessions(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("p", messages(10)), planOf("app", messages(10)))
		all := make([]*client, 5000)
		for i := range all {
			all[i] = w.mustEnter(w.who("a", "plans/p", "plans/app"))
		}
		closes := messages(7)
		closes.Reaction = catalogv1.Limit_REACTION_CLOSE
		w.put(planOf("p", closes))
		chain := all[0].now().Chain
		for _, c := range all {
			if c.set() != 2 || c.now().Chain != chain {
				t.Fatalf("limits were set %d times, and a chain is its own: %v", c.set(), c.now().Chain != chain)
			}
		}
		if got := all[4999].send(10); got != 7 {
			t.Errorf("%d messages passed, want 7", got)
		}
	})
}

// TestObserved: what limits on observe would have refused gets in, and is told.
func TestObserved(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("p", observed(handshakes(2)), observed(connections(3, refuse)), observed(quota(catalogv1.Unit_UNIT_SESSIONS, 1))))
		who := w.who("a", "plans/p", "")
		for range 4 {
			if err := w.mustEnter(who).Open(w.t.Context()); err != nil {
				t.Errorf("Open = %v", err)
			}
		}
		slices.Sort(w.observed)
		name := observed(quota(catalogv1.Unit_UNIT_SESSIONS, 1)).Name
		if want := []string{name, name, name, "connections-observed", "handshakes-rate-observed", "handshakes-rate-observed"}; !slices.Equal(w.observed, want) {
			t.Errorf("told: %q, want %q", w.observed, want)
		}
	})
}

// TestConcurrent has sessions come and go while plans change, for the race detector.
func TestConcurrent(t *testing.T) {
	inWorld(t, func(w *world) {
		plans := []*catalogv1.Plan{
			planOf("p", messages(100), connections(50, closeOldest)),
			planOf("p", rate("own", catalogv1.Unit_UNIT_MESSAGES, 9, perConnection), connections(5, refuse)),
			planOf("p", quota(catalogv1.Unit_UNIT_MESSAGES, 100), observed(connections(1, refuse))),
			planOf("p"),
		}
		w.put(plans[0])
		who := w.who("a", "plans/p", "plans/p")
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 200 {
					c, err := w.enter(who)
					if err != nil {
						if _, ok := errors.AsType[*LimitError](err); !ok {
							t.Errorf("Enter = %v", err)
						}
						continue
					}
					c.send(3)
					c.SetGrant(who.Grant)
					c.Release()
				}
			})
		}
		all.Go(func() {
			for i := range 400 {
				w.put(plans[i%len(plans)])
			}
		})
		all.Wait()
		if got := w.SeatsTaken(); len(got) > 0 {
			t.Errorf("SeatsTaken = %v at the end", got)
		}
		w.put(planOf("p", connections(1, refuse)))
		w.mustEnter(who).Release()
		w.mustEnter(who).Release()
	})
}
