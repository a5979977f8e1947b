// Package quota keeps the quotas of a gateway supplied with slices, which the subscription
// service gives.
//
//	limits.Quota ── needs more ──► Ledger ── TakeQuota, all keys in one call ──► service
//	     ▲                           │  ▲
//	     └──── slice, used up ───────┘  └── slices, the service's clock
//
// A slice is asked for ahead: when a quota is opened, when half of the slice is spent, and
// in the last tenth of a window for the next one. What was spent is said now and then; what
// is not spent for a while is given back, and so is everything when the gateway stops.
// While a quota is used up and somebody still asks, the service is asked about once a
// second.
//
// No decision waits longer than limits.AnswerWithin: then the quota's terms say whether it
// passes, and is owed, or is refused, until the service answers.
//
// All amounts are sums over the window, so a call whose answer was lost is made again.
// What one start of the gateway spent of a quota is known to the service: who opens a quota
// again asks for it.
package quota

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/kit/retry"
)

const (
	// mostDemands is how many demands a call has. It takes the service some 100 ms.
	mostDemands = 200
	// callTimeout is how long a call may take.
	callTimeout = 5 * time.Second
	// sayEvery is how long it takes at most until the service knows what was spent.
	sayEvery = 5 * time.Second
	// idleAfter is how long nothing is spent before a slice is given back.
	idleAfter = 10 * time.Second
	// askAgain is how long after an answer it is asked again for a quota that is used up.
	askAgain = time.Second
	// refusedFor is how long it is not asked for a quota that the service calls invalid.
	refusedFor = 10 * time.Second
	// settled is how long after a quota was opened all sessions that it is for are charged:
	// what passes before is in the usage that is reported then.
	settled = 10 * time.Millisecond
	// leap is how far the service's clock must have moved before all windows are looked at.
	leap = 10 * time.Millisecond
)

// Config says what a Ledger works with.
type Config struct {
	Gateway, BootID string // the gateway's instance, and an id made anew at every start
	Client          backplanev1.QuotaLedgerServiceClient
	// Now is the clock of decisions: nanoseconds, which never go back.
	Now func() int64
	// Wall is the clock on the wall, which is asked until the service's is known.
	Wall func() time.Time
	// Report reports what was used: a quota that begins in mid-window begins with that.
	Report func(context.Context) error
	// Serve is told of limits in whose lines there may be room. It does not wait.
	Serve func(*limits.Limit)
	Log   *slog.Logger
}

// Ledger implements throttle.Ledger. Run must run.
type Ledger struct {
	cfg       Config
	clock     clock
	supplying *retry.Streak
	wake      chan struct{}

	askMu sync.Mutex // locked last
	asked []*account // their quotas need something

	mu       sync.Mutex
	accounts map[throttle.QuotaKey]*account
	due      dueAccounts
	urgent   []*account // somebody waits: they are in the next call
	ready    []*account // they have something to say
	serve    []*limits.Limit
	inCall   bool
	stopped  bool
	sequence int64
	most     int   // demands in the next call
	notUntil int64 // when the next call may be made, after one that failed
	pause    retry.Backoff
}

var _ throttle.Ledger = (*Ledger)(nil)

// New returns a ledger without accounts.
func New(cfg Config) *Ledger {
	return &Ledger{
		cfg: cfg, clock: clock{wall: cfg.Wall, now: cfg.Now}, wake: make(chan struct{}, 1), accounts: map[throttle.QuotaKey]*account{}, most: mostDemands,
		supplying: retry.NewStreak(cfg.Log, slog.LevelWarn, "quotas are not supplied by the subscription service"),
		pause:     retry.Backoff{Min: 50 * time.Millisecond, Max: time.Second},
	}
}

// Minute returns the Unix seconds of the start of the minute that it is at a time of
// decisions, by the clock that windows go by.
func (l *Ledger) Minute(now int64) int64 { return l.clock.minute(now) }

// Open implements throttle.Ledger.
func (l *Ledger) Open(key throttle.QuotaKey, terms throttle.QuotaTerms) throttle.Account {
	now := l.cfg.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.accounts[key]
	if a == nil {
		a = newAccount(l, key, now)
		l.accounts[key] = a
	}
	a.closing, a.terms, a.askNow = false, terms, true
	a.openedAt = now
	if l.notUntil != 0 { // the service is away
		a.setLack()
	}
	l.schedule(a, now)
	l.look()
	return a
}

// look makes Run look.
func (l *Ledger) look() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run supplies quotas until ctx ends.
func (l *Ledger) Run(ctx context.Context) error {
	var call sync.WaitGroup
	defer call.Wait()
	for ctx.Err() == nil {
		demands, at := l.step(false)
		if demands != nil {
			call.Go(func() {
				l.exchange(ctx, demands)
				l.look()
			})
			continue
		}
		l.wait(ctx, at)
	}
	return nil
}

// wait waits until a time of decisions, until there is something to look at, or until ctx
// ends.
func (l *Ledger) wait(ctx context.Context, at int64) {
	var timeout <-chan time.Time
	if at != math.MaxInt64 {
		timer := time.NewTimer(time.Duration(max(0, at-l.cfg.Now())))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-ctx.Done():
	case <-l.wake:
	case <-timeout:
	}
}

// step does what is due, and returns the demands of a call that is to be made now, or when
// there is something to do next. While a call is under way, or after Flush, there is none.
func (l *Ledger) step(flushing bool) (demands []demand, at int64) {
	now := l.cfg.Now()
	l.mu.Lock()
	for _, a := range l.askers() {
		if l.accounts[a.key] == a {
			a.step(now)
		}
	}
	for len(l.due) > 0 && l.due[0].due <= now {
		l.due[0].step(now)
	}
	at = int64(math.MaxInt64)
	if len(l.due) > 0 {
		at = l.due[0].due
	}
	waits := len(l.urgent)+len(l.ready) > 0
	switch {
	case !waits || l.inCall || l.stopped && !flushing:
	case now < l.notUntil:
		at = min(at, l.notUntil)
	default:
		demands = l.batch(now)
		l.inCall = len(demands) > 0
	}
	serve := l.serve
	l.serve = nil
	l.mu.Unlock()
	for _, limit := range serve {
		l.cfg.Serve(limit)
	}
	return demands, at
}

// askers returns the accounts whose quotas need something.
func (l *Ledger) askers() []*account {
	l.askMu.Lock()
	defer l.askMu.Unlock()
	asked := l.asked
	l.asked = nil
	for _, a := range asked {
		a.asked = false
	}
	return asked
}

// batch returns the demands of the next call, those that somebody waits for first.
func (l *Ledger) batch(now int64) (demands []demand) {
	for _, queue := range []*[]*account{&l.urgent, &l.ready} {
		for len(*queue) > 0 && len(demands) < l.most {
			a := (*queue)[0]
			(*queue)[0] = nil
			*queue = (*queue)[1:]
			if a.queued && l.accounts[a.key] == a {
				a.queued = false
				demands = append(demands, a.demands(now)...)
				l.schedule(a, now)
			}
		}
	}
	return demands
}

// exchange makes one call and applies its answer.
func (l *Ledger) exchange(ctx context.Context, demands []demand) {
	l.mu.Lock()
	l.sequence++
	req := &backplanev1.TakeQuotaRequest{Gateway: l.cfg.Gateway, BootId: l.cfg.BootID, Sequence: l.sequence}
	report := false
	for i := range demands {
		req.Demands = append(req.Demands, demands[i].message)
		report = report || demands[i].message.GetUsageReported()
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if report {
		if err := l.cfg.Report(ctx); err != nil {
			l.failed(ctx, demands, fmt.Errorf("report usage before a quota begins: %w", err))
			return
		}
	}
	called := l.cfg.Now()
	answer, err := l.cfg.Client.TakeQuota(ctx, req)
	if err == nil && len(answer.GetSlices()) != len(demands) {
		err = fmt.Errorf("%d slices answer %d demands", len(answer.GetSlices()), len(demands))
	}
	if err != nil {
		l.failed(ctx, demands, err)
		return
	}
	l.supplying.Note(ctx, nil)
	l.apply(called, demands, answer)
}

// apply applies an answer.
func (l *Ledger) apply(called int64, demands []demand, answer *backplanev1.TakeQuotaResponse) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.cfg.Now()
	moved := time.Duration(0)
	first := !l.clock.known()
	if t := answer.GetServerTime(); t.CheckValid() == nil {
		moved = l.clock.hear(called, now, t.AsTime())
	}
	l.inCall, l.notUntil = false, 0
	l.pause.Reset()
	l.most = min(2*l.most, mostDemands)
	for i := range demands {
		demands[i].account.take(now, demands[i], answer.GetSlices()[i])
	}
	if first || moved.Abs() > leap {
		for _, a := range l.accounts {
			l.schedule(a, now)
		}
		return
	}
	for i := range demands {
		l.schedule(demands[i].account, now)
	}
}

// failed has demands made again later. Where the service calls one of many invalid, each is
// made alone.
func (l *Ledger) failed(ctx context.Context, demands []demand, err error) {
	invalid := status.Code(err) == codes.InvalidArgument
	if !errors.Is(ctx.Err(), context.Canceled) {
		l.supplying.Note(ctx, err, "quotas", len(demands))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.cfg.Now()
	l.inCall = false
	switch {
	case !invalid:
		l.notUntil = now + int64(l.pause.Next())
	case l.most == 1:
		demands[0].account.notUntil = now + int64(refusedFor)
	default:
		l.most = 1
	}
	for i := range demands {
		demands[i].account.failed(demands[i])
		l.schedule(demands[i].account, now)
	}
}

// Flush says what was spent last and gives back what was not, until the service has
// answered for all quotas or ctx ends. Nothing may be spent after it. Run makes no more
// calls then.
func (l *Ledger) Flush(ctx context.Context) error {
	l.mu.Lock()
	l.stopped = true
	now := l.cfg.Now()
	for _, a := range l.accounts {
		a.close(now)
	}
	l.mu.Unlock()
	for {
		demands, _ := l.step(true)
		if demands != nil {
			l.exchange(ctx, demands)
		}
		l.mu.Lock()
		open, busy, notUntil := len(l.accounts), l.inCall, l.notUntil
		l.mu.Unlock()
		if open == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("give back what is not spent of %d quotas: %w", open, cmp.Or(context.Cause(ctx), ctx.Err()))
		}
		if busy || notUntil != 0 || demands == nil {
			l.wait(ctx, max(notUntil, l.cfg.Now()+int64(time.Millisecond)))
		}
	}
}

// schedule puts an account where it belongs among those that are due. l.mu is held.
func (l *Ledger) schedule(a *account, at int64) {
	if l.accounts[a.key] != a {
		return // it was forgotten
	}
	a.due = at
	if a.index < 0 {
		heap.Push(&l.due, a)
		return
	}
	heap.Fix(&l.due, a.index)
}

// forget ends an account that has nothing more to say. l.mu is held.
func (l *Ledger) forget(a *account) {
	delete(l.accounts, a.key)
	if a.index >= 0 {
		heap.Remove(&l.due, a.index)
	}
}

// dueAccounts is a heap of accounts, of which the first is due first.
type dueAccounts []*account

func (d dueAccounts) Len() int           { return len(d) }
func (d dueAccounts) Less(i, j int) bool { return d[i].due < d[j].due }
func (d dueAccounts) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}

// Push implements heap.Interface.
func (d *dueAccounts) Push(x any) {
	a := x.(*account)
	a.index = len(*d)
	*d = append(*d, a)
}

// Pop implements heap.Interface.
func (d *dueAccounts) Pop() any {
	last := len(*d) - 1
	a := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	a.index = -1
	return a
}
