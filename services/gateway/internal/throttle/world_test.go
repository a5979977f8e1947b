package throttle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a controller on a virtual clock.
type world struct {
	*Controller
	t       *testing.T
	began   time.Time
	ledger  *ledger
	asOf    uint64
	fetches chan string

	mu       sync.Mutex
	served   []*limits.Limit
	released []*limits.Limit
	observed []string
	catalog  map[string]*catalogv1.Plan // what can be fetched
}

// inWorld runs f with a controller in a bubble.
func inWorld(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, began: time.Now(), ledger: &ledger{accounts: map[QuotaKey]*account{}}, catalog: map[string]*catalogv1.Plan{}, fetches: make(chan string, 100)}
		w.Controller = New(Config{
			Engine: (*engine)(w), Ledger: w.ledger, Fetch: w.fetch, MaxMessage: 1 << 20, Log: slog.New(slog.DiscardHandler),
			Observed: func(_ Who, l *limits.Limit) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.observed = append(w.observed, l.Name)
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = w.Run(ctx) }()
		f(w)
		cancel()
		<-done
		w.Close()
		if n := len(w.ledger.accounts); n > 0 {
			t.Errorf("%d accounts of quotas are open at the end", n)
		}
	})
}

func (w *world) fetch(ctx context.Context, name string) (*catalogv1.Plan, error) {
	w.fetches <- name
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.catalog[name]; p != nil {
		return p, nil
	}
	return nil, errors.New("no such plan")
}

// engine is the clock of decisions, and notes whose lines are served.
type engine world

func (e *engine) Now() int64 { return int64(time.Since(e.began)) }

func (e *engine) Serve(l *limits.Limit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.served = append(e.served, l)
}

func (e *engine) Release(l *limits.Limit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.released = append(e.released, l)
}

// ledger gives each account all of its quota, in one window.
type ledger struct {
	mu       sync.Mutex
	silent   bool
	accounts map[QuotaKey]*account
	opened   int
}

type account struct {
	quota  *limits.Quota
	ledger *ledger
	key    QuotaKey
	terms  QuotaTerms
	limits []*limits.Limit
}

func (l *ledger) Open(key QuotaKey, terms QuotaTerms) Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accounts[key] != nil {
		panic("an account is opened twice")
	}
	a := &account{quota: limits.NewQuota(limits.Window{Number: 1, End: math.MaxInt64}), ledger: l, key: key, terms: terms}
	l.accounts[key] = a
	l.opened++
	if !l.silent {
		a.give(terms.Amount)
	}
	return a
}

func (a *account) give(n int64) {
	a.quota.Grant(0, limits.Window{Number: 1, End: math.MaxInt64}, n)
	a.quota.UsedUp(0, 1)
}

func (a *account) Quota() *limits.Quota { return a.quota }

func (a *account) SetTerms(terms QuotaTerms) {
	a.ledger.mu.Lock()
	more := terms.Amount - a.terms.Amount
	a.terms = terms
	a.ledger.mu.Unlock()
	a.give(more)
}

func (a *account) SetLimits(all []*limits.Limit) { a.limits = all }

func (a *account) Close() {
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	delete(a.ledger.accounts, a.key)
}

// client is a session with its transport.
type client struct {
	*Hold
	w *world

	mu     sync.Mutex
	limits []ending.Limits // that were set
	ended  []ending.Ending
	life   time.Time
	pinged int
	alive  bool // answers pings
	deaf   bool // cannot be pinged
}

func (c *client) SetLimits(l ending.Limits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limits = append(c.limits, l)
}

func (c *client) Silent() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.life)
}

func (c *client) Ping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pinged++
	if c.alive {
		c.life = time.Now()
	}
	return !c.deaf
}

// End ends the session: its seats are given back later, when it is over.
func (c *client) End(e ending.Ending) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = append(c.ended, e)
	return len(c.ended) == 1
}

// why returns the word of why the session ended, "" while it lives.
func (c *client) why() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ended) == 0 {
		return ""
	}
	return c.ended[0].Reason.String()
}

// now returns the newest limits.
func (c *client) now() ending.Limits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limits[len(c.limits)-1]
}

// set returns how often limits were set, those of the start included.
func (c *client) set() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.limits)
}

// send asks whether n messages pass, one by one, and returns how many do.
func (c *client) send(n int) (passed int) {
	c.w.t.Helper()
	chain := c.now().Chain
	if chain == nil {
		return n
	}
	for range n {
		if chain.Ask(c.w.engine.Now(), limits.Demand{Direction: limits.Inbound, Messages: 1, Bytes: 10}, nil).Verdict == limits.Go {
			passed++
		}
	}
	return passed
}

const version1 = "apis/a/versions/1"

// who is application a at version 1, with these plans.
func (w *world) who(application, plan, applicationPlan string) Who {
	w.asOf++
	return Who{Version: version1, Grant: &grant.Grant{Application: application, Plan: plan, ApplicationPlan: applicationPlan, AsOf: w.asOf}}
}

// enter enters, and starts the session if it may.
func (w *world) enter(who Who) (*client, error) {
	h, err := w.Enter(w.t.Context(), who)
	if err != nil {
		return nil, err
	}
	return w.start(h), nil
}

func (w *world) start(h *Hold) *client {
	c := &client{Hold: h, w: w, life: time.Now(), alive: true}
	h.Bind(c)
	c.SetLimits(h.Limits())
	h.Attach(c)
	return c
}

func (w *world) mustEnter(who Who) *client {
	w.t.Helper()
	c, err := w.enter(who)
	if err != nil {
		w.t.Fatalf("Enter: %v", err)
	}
	return c
}

// refused checks that a limit refuses.
func (w *world) refused(who Who, name string, at limits.Place) *LimitError {
	w.t.Helper()
	c, err := w.enter(who)
	var limit *LimitError
	if !errors.As(err, &limit) || limit.Name != name || limit.Place != at {
		w.t.Fatalf("Enter = %v, %v, want a refusal by %s of place %d", c, err, name, at)
	}
	return limit
}

// put sets plans.
func (w *world) put(plans ...*catalogv1.Plan) { w.SetPlans(plans, nil) }

func planOf(name string, list ...*catalogv1.Limit) *catalogv1.Plan {
	return &catalogv1.Plan{Name: "plans/" + name, Limits: list}
}

// rate is a limit of n a minute, and n at once, which drops.
func rate(name string, unit catalogv1.Unit, n int64, more ...func(*catalogv1.Rate)) *catalogv1.Limit {
	r := &catalogv1.Rate{Unit: unit, Amount: n, Per: durationpb.New(time.Minute)}
	for _, f := range more {
		f(r)
	}
	l := &catalogv1.Limit{Name: name, Kind: &catalogv1.Limit_Rate{Rate: r}}
	if unit != catalogv1.Unit_UNIT_HANDSHAKES {
		l.Reaction = catalogv1.Limit_REACTION_DROP
	}
	return l
}

func messages(n int64) *catalogv1.Limit {
	return rate("messages-rate", catalogv1.Unit_UNIT_MESSAGES, n)
}

func handshakes(n int64) *catalogv1.Limit {
	return rate("handshakes-rate", catalogv1.Unit_UNIT_HANDSHAKES, n)
}

func perConnection(r *catalogv1.Rate) { r.PerConnection = true }

func connections(n int32, r catalogv1.Limit_Reaction) *catalogv1.Limit {
	return &catalogv1.Limit{Name: "connections", Reaction: r, Kind: &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: n}}}
}

func quota(unit catalogv1.Unit, n int64) *catalogv1.Limit {
	return &catalogv1.Limit{
		Name: fmt.Sprint(unit) + "-per-day",
		Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{Unit: unit, Amount: n, Window: catalogv1.Quota_WINDOW_DAY}},
	}
}

func observed(l *catalogv1.Limit) *catalogv1.Limit {
	l.Observe = true
	l.Name += "-observed"
	return l
}

const (
	refuse      = catalogv1.Limit_REACTION_REFUSE
	closeOldest = catalogv1.Limit_REACTION_CLOSE_OLDEST
)
