package quota

import (
	"math"

	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/kit/calendar"
)

// account is a quota that is kept supplied. Ledger.mu guards it, but for what is said.
type account struct {
	ledger *Ledger
	key    throttle.QuotaKey
	quota  *limits.Quota
	asked  bool // it is in Ledger.asked; guarded by Ledger.askMu
	index  int  // in Ledger.due, -1 for none
	due    int64

	terms    throttle.QuotaTerms
	limits   []*limits.Limit
	openedAt int64

	present holding  // of the quota's present window
	next    *holding // of the one after it, when a slice of it was asked for
	last    *holding // of the one before it, until the service knows what was spent

	queued   bool // it is in Ledger.urgent or Ledger.ready
	inCall   bool
	called   bool  // a call was made ever
	askNow   bool  // it was opened, or must be asked again
	rearm    bool  // the slice goes back before it asks, as the amount is another
	opened   bool  // the service has said what was spent in the present window before
	report   bool  // the service wants usage first
	usedUp   bool  // there was nothing to give
	low      int64 // with no more left than this it asks
	closing  bool
	given    bool // everything was given back since it was closed
	notUntil int64

	lacked      int64 // what somebody waits for, or did not get
	lackedSince int64
	lack        bool // decisions are made without the service

	spent      int64 // when it was looked last
	spentAt    int64 // when that had changed
	answeredAt int64
}

// holding is what is held of a window.
type holding struct {
	calendar.Window       // number 0 while the service's clock is not known
	granted         int64 // what was given, ever, less what went back
	told            int64 // what the service knows to be spent
}

// demand is a demand in a call.
type demand struct {
	account *account
	window  int64
	message *backplanev1.QuotaDemand
}

func newAccount(l *Ledger, key throttle.QuotaKey, now int64) *account {
	a := &account{ledger: l, key: key, index: -1, spentAt: now}
	a.quota = limits.NewQuota(limits.Window{End: math.MaxInt64})
	a.quota.OnNeed(a.need)
	a.follow(now)
	return a
}

// need is told by the quota that it needs something.
func (a *account) need() {
	l := a.ledger
	l.askMu.Lock()
	defer l.askMu.Unlock()
	if !a.asked {
		a.asked = true
		l.asked = append(l.asked, a)
		l.look()
	}
}

// Quota implements throttle.Account.
func (a *account) Quota() *limits.Quota { return a.quota }

// SetTerms implements throttle.Account.
func (a *account) SetTerms(terms throttle.QuotaTerms) {
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	a.rearm = a.rearm || terms.Amount != a.terms.Amount
	a.terms = terms
	if a.lack {
		a.setLack()
	}
	a.ledger.schedule(a, a.ledger.cfg.Now())
	a.ledger.look()
}

// SetLimits implements throttle.Account.
func (a *account) SetLimits(all []*limits.Limit) {
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	a.limits = all
}

// Close implements throttle.Account.
func (a *account) Close() {
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	a.close(a.ledger.cfg.Now())
	a.ledger.look()
}

func (a *account) close(now int64) {
	if !a.closing {
		a.closing, a.given = true, false
	}
	a.ledger.schedule(a, now)
}

// window is a window on the clock of decisions.
func (a *account) window(w calendar.Window) limits.Window {
	return limits.Window{Number: w.Number, End: a.ledger.clock.when(w.End)}
}

// follow has the quota follow the service's clock.
func (a *account) follow(now int64) {
	c := &a.ledger.clock
	if !c.known() {
		return
	}
	w := calendar.At(a.key.Window, c.at(now))
	if before := a.present; w.Number > before.Number {
		a.present = holding{Window: w}
		if a.next != nil && a.next.Number == w.Number {
			a.present = *a.next
		}
		a.next = nil
		if before.Number > 0 {
			a.last = nil
			if a.opened && !a.closing {
				a.last = &before
			}
			// It was there from the beginning of the window.
			a.opened, a.report = true, false
		}
		a.usedUp, a.lacked, a.lackedSince, a.spent, a.spentAt = false, 0, 0, 0, now
		a.low = math.MinInt64 // until somebody lacks something
		if a.present.granted > 0 {
			a.low = a.present.granted / 2
		}
		defer func() {
			a.quota.Watch(now, a.low)
			a.serveLines()
		}()
	}
	next := a.present.Next(a.key.Window)
	a.quota.Follow(now, a.window(a.present.Window), a.window(next))
}

// serveLines has the lines served of those who wait for the quota.
func (a *account) serveLines() { a.ledger.serve = append(a.ledger.serve, a.limits...) }

func (a *account) setLack() {
	a.lack = true
	if a.terms.Refuse {
		a.quota.SetLack(limits.LackRefuses)
	} else {
		a.quota.SetLack(limits.LackAllows)
	}
	a.serveLines()
}

// step does what is due, and has the account looked at again when something will be.
func (a *account) step(now int64) {
	a.follow(now)
	_, left := a.quota.Left(now)
	if spent := max(a.present.granted-left, 0); spent != a.spent {
		a.spent, a.spentAt = spent, now
	}
	if n := a.quota.Lacked(); n > 0 {
		a.lacked = max(a.lacked, n)
		if a.lackedSince == 0 {
			a.lackedSince = max(now, 1)
		}
	}
	at := int64(math.MaxInt64)
	if a.present.Number > 0 {
		at = a.ledger.clock.when(a.present.End)
	}
	if left > 0 { // to see what was spent of it
		at = min(at, now+int64(sayEvery))
	}
	if a.lackedSince != 0 && !a.usedUp && !a.lack {
		if until := a.lackedSince + int64(limits.AnswerWithin); now >= until {
			a.setLack()
		} else {
			at = min(at, until)
		}
	}
	if !a.queued && !a.inCall {
		if a.closing && a.isSettled() {
			a.ledger.forget(a)
			return
		}
		call, urgent := a.callAt(now, left)
		call = max(call, a.notUntil)
		if call <= now {
			a.queue(urgent)
		} else {
			at = min(at, call)
		}
	}
	a.ledger.schedule(a, max(at, now+1))
}

// isSettled tells whether the service knows all that there is to know of a closed account.
func (a *account) isSettled() bool {
	switch {
	case !a.called, a.opened && a.present.granted == 0 && a.present.told == 0:
		return a.spent == 0 && a.last == nil && a.next == nil
	}
	return a.given && a.last == nil && a.next == nil && a.opened && a.spent == a.present.told
}

// queue puts the account into the next call.
func (a *account) queue(urgent bool) {
	a.queued = true
	if urgent {
		a.ledger.urgent = append(a.ledger.urgent, a)
	} else {
		a.ledger.ready = append(a.ledger.ready, a)
	}
}

// callAt returns when there is something to say or to ask, and whether that is urgent.
func (a *account) callAt(now, left int64) (at int64, urgent bool) {
	at = math.MaxInt64
	switch {
	case a.report && now < a.openedAt+int64(settled):
		return a.openedAt + int64(settled), true
	case a.askNow, a.rearm, a.lacked > 0 && !a.usedUp:
		return now, true
	case a.closing, a.last != nil, !a.usedUp && left <= a.low:
		return now, false
	case a.lacked > 0:
		at = a.answeredAt + int64(askAgain)
	}
	if a.spent != a.present.told {
		at = min(at, a.answeredAt+int64(sayEvery))
	}
	if left > 0 {
		at = min(at, a.idleAt())
	}
	return min(at, a.aheadAt()), false
}

// idleAt returns when a slice goes back of which nothing is spent until then.
func (a *account) idleAt() int64 { return max(a.spentAt, a.answeredAt) + int64(idleAfter) }

// aheadAt returns when a slice of the next window is asked for: in the last tenth of the
// present one, where anything was used of that. Accounts are spread over half of it.
func (a *account) aheadAt() int64 {
	if a.present.Number == 0 || a.next != nil || a.spent <= 0 || a.closing {
		return math.MaxInt64
	}
	tenth := int64(a.present.End.Sub(a.present.Start)) / 10
	return a.ledger.clock.when(a.present.End) - tenth + tenth/2*int64(a.spread())/256
}

// spread is a number that differs between accounts.
func (a *account) spread() (n uint8) {
	for _, c := range []byte(a.key.Application + a.key.Version) {
		n = n*31 + c
	}
	return n
}

// demands returns what the account says and asks for in a call that is made now.
func (a *account) demands(now int64) (all []demand) {
	a.inCall, a.called = true, true
	if a.last != nil {
		spent := a.last.told
		if left, known := a.quota.LeftOf(a.last.Number); known {
			spent = a.last.granted - left
		}
		all = append(all, a.demand(a.last, spent, 0, true))
	}
	all = append(all, a.demandPresent(now))
	switch {
	case a.next != nil && a.closing:
		all = append(all, a.demand(a.next, 0, 0, true))
	case now >= a.aheadAt():
		a.next = &holding{Window: a.present.Next(a.key.Window)}
		all = append(all, a.demand(a.next, 0, 1, false))
	case a.next != nil && a.next.granted == 0: // that call has failed
		all = append(all, a.demand(a.next, 0, 1, false))
	}
	return all
}

// demandPresent is the demand of the present window.
func (a *account) demandPresent(now int64) demand {
	a.lacked = max(a.lacked, a.quota.Lacked())
	_, left := a.quota.Left(now)
	giveBack, want := a.closing || a.rearm, int64(0)
	switch {
	case a.closing:
	case a.lacked > 0:
		want = a.wanted()
	case a.askNow, a.rearm, !a.usedUp && left <= a.low:
		want = max(left, 0) + 1
		if a.rearm {
			want = 1
		}
	case left > 0 && now >= a.idleAt():
		giveBack = true
	}
	if giveBack {
		_, back := a.quota.TakeBack(now)
		a.present.granted -= back
		_, left = a.quota.Left(now)
	}
	a.askNow, a.rearm = false, false
	d := a.demand(&a.present, a.present.granted-left, want, giveBack)
	d.message.Opens, d.message.UsageReported = !a.opened, a.report
	return d
}

// wanted is what those want who wait.
func (a *account) wanted() int64 {
	waiting := int64(1)
	for _, l := range a.limits {
		waiting = max(waiting, int64(l.Waiting()))
	}
	if a.lacked > mostAmount/waiting {
		return mostAmount
	}
	return a.lacked * waiting
}

// mostAmount is the greatest amount that is said.
const mostAmount = 1e15

func (a *account) demand(h *holding, spent, want int64, giveBack bool) demand {
	d := &backplanev1.QuotaDemand{
		Key: keyMessage(a.key), Plan: a.terms.Plan, Limit: a.terms.Limit, Amount: a.terms.Amount,
		Spent: min(max(spent, 0), mostAmount), Want: want, GiveBack: giveBack,
	}
	if h.Number > 0 {
		d.Time = timestamppb.New(h.Start)
	}
	return demand{account: a, window: h.Number, message: d}
}

func keyMessage(k throttle.QuotaKey) *backplanev1.QuotaKey {
	return &backplanev1.QuotaKey{
		Place: places[k.Place], Application: k.Application, Version: k.Version, Unit: units[k.Unit], Window: k.Window, Observe: k.Observe,
	}
}

var places = [...]catalogv1.PlanPlace{
	limits.Subscription: catalogv1.PlanPlace_PLAN_PLACE_SUBSCRIPTION,
	limits.Application:  catalogv1.PlanPlace_PLAN_PLACE_APPLICATION,
	limits.Version:      catalogv1.PlanPlace_PLAN_PLACE_VERSION,
}

var units = [...]catalogv1.Unit{
	limits.Messages:   catalogv1.Unit_UNIT_MESSAGES,
	limits.Bytes:      catalogv1.Unit_UNIT_BYTES,
	limits.Handshakes: catalogv1.Unit_UNIT_HANDSHAKES,
	limits.Sessions:   catalogv1.Unit_UNIT_SESSIONS,
}

// take takes the answer to a demand.
func (a *account) take(now int64, d demand, s *backplanev1.QuotaSlice) {
	a.inCall = false
	a.follow(now)
	switch number := calendar.At(a.key.Window, s.GetStartTime().AsTime()).Number; {
	case a.last != nil && number == a.last.Number:
		if d.message.GetGiveBack() {
			a.last = nil
		} // else the window ended during the call; what was given is not held, and not said to be
	case number == a.present.Number && number != 0:
		a.takePresent(now, d, s)
	case a.next != nil && number == a.next.Number:
		if a.quota.Grant(now, a.window(a.next.Window), s.GetGranted()-a.next.granted) {
			a.next.granted = s.GetGranted()
		}
		if d.message.GetGiveBack() {
			a.next = nil
		}
		if a.lack { // that was no answer for the present window
			a.setLack()
		}
	}
}

// takePresent takes the answer to a demand of the present window.
func (a *account) takePresent(now int64, d demand, s *backplanev1.QuotaSlice) {
	h := &a.present
	if s.GetReportUsage() {
		a.report, a.askNow = true, true
		return
	}
	h.told = d.message.GetSpent()
	if !a.opened {
		h.granted += s.GetSpent()
		h.told = s.GetSpent()
		a.opened, a.report = true, false
	}
	given := s.GetGranted() - h.granted
	h.granted = s.GetGranted()
	if !a.quota.Grant(now, a.window(h.Window), given) { // the window has ended just now
		h.granted -= given
	}
	a.given = a.closing && d.message.GetGiveBack()
	if a.usedUp = s.GetUsedUp(); a.usedUp {
		a.quota.UsedUp(now, h.Number)
	}
	a.lacked, a.lackedSince, a.lack, a.answeredAt = 0, 0, false, now
	_, left := a.quota.Left(now)
	a.low = left / 2
	if a.usedUp || d.message.GetWant() == 0 && left <= 0 {
		a.low = math.MinInt64 // until somebody lacks something
	}
	a.quota.Watch(now, a.low)
	a.serveLines()
}

// failed notes that a call failed that the account was in.
func (a *account) failed(d demand) {
	a.inCall = false
	if d.window != a.present.Number {
		return
	}
	a.askNow = a.askNow || !a.opened
	// What was given back may not have come back: it is asked anew.
	a.rearm = a.rearm || d.message.GetGiveBack()
}

var _ throttle.Account = (*account)(nil)
