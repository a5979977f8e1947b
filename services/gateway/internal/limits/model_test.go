package limits

import (
	"cmp"
	"math"
	"slices"
)

// The model keeps plain numbers and slices, and looks at everything each time.

type modelBucket struct {
	rate Rate
	lack int64 // ticks
	at   int64
}

func (b *modelBucket) token() int64 {
	return (int64(b.rate.Per)*256 + b.rate.Amount - 1) / b.rate.Amount
}
func (b *modelBucket) pass(now int64) {
	b.lack = max(0, b.lack-(now-b.at)*256)
	b.at = now
}
func (b *modelBucket) room() int64 {
	return max(0, (b.rate.Burst*b.token()-b.lack)/b.token())
}

func (b *modelBucket) fits(n int64, single bool) bool {
	return n <= b.rate.Burst && n*b.token()+b.lack <= b.rate.Burst*b.token() || single && n > b.rate.Burst && b.lack == 0
}

func (b *modelBucket) free(n int64) int64 {
	ticks := b.lack
	if n <= b.rate.Burst {
		ticks = b.lack + n*b.token() - b.rate.Burst*b.token()
	}
	if ticks <= 0 {
		return b.at
	}
	return b.at + (ticks+255)/256
}

func (b *modelBucket) rearm(rate Rate) {
	if rate == b.rate {
		return
	}
	tokens := (b.lack + b.token() - 1) / b.token()
	debt := max(0, tokens-b.rate.Burst)
	b.rate = rate
	b.lack = (min(tokens-debt, rate.Burst) + debt) * b.token()
}

type modelSlice struct {
	Window
	left   int64
	low    int64
	usedUp bool
}

type modelQuota struct {
	now, next *modelSlice
	lack      Lack
	lacked    int64   // the most
	told      [2]bool // of the low mark, and of a demand that lacks something
	needs     int     // how often it told
}

func (q *modelQuota) need(n int64) {
	q.lacked = max(q.lacked, n)
	if which := min(n, 1); !q.told[which] {
		q.told[which] = true
		q.needs++
	}
}

// spend takes n, which may be nothing.
func (q *modelQuota) spend(n int64) {
	if q.now.left -= n; q.now.left <= q.now.low {
		q.need(0)
	}
}

func (q *modelQuota) watch(low int64) {
	q.now.low, q.told = low, [2]bool{}
	q.spend(0)
}

func (q *modelQuota) pass(now int64) {
	for now >= q.now.End {
		if q.next == nil {
			q.next = &modelSlice{Window: Window{q.now.Number + 1, math.MaxInt64}}
		}
		q.now, q.next = q.next, nil
	}
}

func (q *modelQuota) grant(now int64, w Window, n int64) bool {
	q.lack = LackWaits
	var to *modelSlice
	switch {
	case w.Number < q.now.Number:
		return false
	case w.Number == q.now.Number:
		to = q.now
	case q.next == nil || q.next.Number < w.Number:
		q.next = &modelSlice{}
		to = q.next
	case q.next.Number == w.Number:
		to = q.next
	default:
		return false
	}
	to.Window = w
	to.left += n
	to.usedUp = to.usedUp && n <= 0
	q.pass(now)
	return true
}

type modelLimit struct {
	Terms
	bucket *modelBucket
	quota  *modelQuota
	hits   int64
	line   []*modelLeg
	great  int64
	holder *modelLeg
	heldTo int64
}

type modelLeg struct {
	chain  []*modelLimit
	in     *modelLimit
	turn   *modelLimit
	credit int64
	want   int64
	had    map[*modelLimit]bool
}

// letGo ends all that the leg holds.
func (leg *modelLeg) letGo() {
	for _, l := range leg.chain {
		if l.holder == leg {
			l.holder = nil
		}
	}
}

func (l *modelLimit) pass(now int64) {
	if l.quota != nil {
		l.quota.pass(now)
	} else {
		l.bucket.pass(now)
	}
}

func (l *modelLimit) wants(d Demand) int64 {
	if l.Direction != Both && l.Direction != d.Direction {
		return 0
	}
	return []int64{d.Messages, d.Bytes, d.Handshakes, d.Sessions}[l.Unit]
}

func (l *modelLimit) room() int64 {
	switch {
	case l.quota == nil:
		return l.bucket.room()
	case l.quota.lack == LackAllows && !l.quota.now.usedUp:
		return math.MaxInt64
	}
	return max(0, l.quota.now.left)
}

func (l *modelLimit) answer(now, n int64, single bool) (Verdict, int64) {
	if q := l.quota; q != nil {
		if q.now.left < n {
			q.need(n)
		}
		switch {
		case q.now.left >= n || q.lack == LackAllows && !q.now.usedUp:
			return Go, now
		case q.now.usedUp || q.lack == LackRefuses:
			return Refuse, q.now.End
		}
		return Wait, now + 1e9
	}
	switch {
	case l.bucket.fits(n, single):
		return Go, now
	case l.Reaction == Pause:
		return Wait, l.bucket.free(n)
	}
	return Refuse, l.bucket.free(n)
}

func (l *modelLimit) charge(n int64) {
	if l.quota != nil {
		l.quota.spend(n)
	} else {
		l.bucket.lack += n * l.bucket.token()
	}
}

func (l *modelLimit) observe(n int64) {
	there := l.room()
	if l.quota != nil {
		there = max(0, l.quota.now.left)
	}
	got := min(n, there)
	switch {
	case l.quota == nil || got == n:
		l.charge(got)
	default:
		l.quota.now.left -= got
		l.quota.need(n)
	}
	if got < n {
		l.hits++
		if l.Unit == Messages {
			l.hits += n - got - 1
		}
	}
}

// modelNo is a limit that does not let a demand pass.
type modelNo struct {
	l       *modelLimit
	verdict Verdict
	at      int64
}

// modelAsk is Ask, with leg's lines or without a leg.
func modelAsk(now int64, chain []*modelLimit, d Demand, leg *modelLeg) Decision {
	var nos []modelNo
	all := Decision{Messages: d.Messages, Bytes: d.Bytes}
	single := d.Messages < 2
	if leg != nil && leg.turn != nil && leg.turn.wants(d) > 0 {
		leg.had[leg.turn] = true
	}
	for _, l := range chain {
		n := l.wants(d)
		if l.Observe || n == 0 {
			continue
		}
		l.pass(now)
		verdict, at := l.answer(now, n, single)
		room := l.room()
		if leg != nil && leg.turn == l {
			room = min(room, leg.credit)
			if verdict == Go && n > leg.credit {
				verdict = Wait
			}
		} else if len(l.line) > 0 && (leg == nil || !leg.had[l]) {
			room = 0
			if verdict == Go {
				verdict = Wait
			}
		}
		if verdict == Go {
			continue
		}
		nos = append(nos, modelNo{l, verdict, at})
		if !single && l.Unit == Messages {
			all.Messages = min(all.Messages, room)
		} else if !single {
			all.Bytes = min(all.Bytes, room)
		}
	}
	switch {
	case len(nos) == 0:
		modelTake(now, chain, d, leg)
		return all
	case !single:
		all.Verdict = Split
		return all
	}
	slices.SortStableFunc(nos, strongerNo)
	first := nos[0]
	if first.verdict == Wait && leg != nil {
		leg.mustWait(now, d, first)
	}
	all.Verdict, all.At, all.Limit = first.verdict, first.at, &Limit{Terms: &first.l.Terms}
	return all
}

func strongerNo(a, b modelNo) int {
	switch {
	case a.verdict != b.verdict:
		return int(b.verdict) - int(a.verdict)
	case a.verdict == Refuse && a.l.Reaction != b.l.Reaction:
		return int(b.l.Reaction) - int(a.l.Reaction)
	}
	return cmp.Compare(b.at, a.at)
}

// modelTake charges d everywhere.
func modelTake(now int64, chain []*modelLimit, d Demand, leg *modelLeg) {
	for _, l := range chain {
		if n := l.wants(d); n > 0 && !l.Observe {
			l.charge(n)
		} else if n > 0 {
			l.pass(now)
			l.observe(n)
		}
	}
	if leg == nil {
		return
	}
	leg.had = map[*modelLimit]bool{}
	leg.letGo()
	if leg.turn != nil {
		leg.credit -= leg.turn.wants(d)
	}
}

// mustWait puts leg into a line, and has the line whose turn it has wait for it.
func (leg *modelLeg) mustWait(now int64, d Demand, no modelNo) {
	leg.letGo()
	again := leg.turn != nil && leg.turn != no.l && leg.had[no.l]
	if from := leg.turn; again && from.bucket != nil {
		n := from.wants(d)
		if n > 0 && from.bucket.fits(n, true) && no.at-now <= n*from.bucket.token()/256 {
			from.holder, from.heldTo = leg, no.at+ServedWithin
		}
	}
	leg.wait(no.l, no.l.wants(d), again)
}

func (leg *modelLeg) wait(l *modelLimit, want int64, again bool) {
	front := again || leg.turn == l && leg.credit >= want
	if leg.turn != l {
		leg.credit = 0
	}
	leg.turn, leg.want, leg.in = nil, want, l
	l.great = max(l.great, want)
	if front {
		l.line = slices.Insert(l.line, 0, leg)
	} else {
		l.line = append(l.line, leg)
	}
}

func (leg *modelLeg) out() {
	l := leg.in
	l.line = slices.DeleteFunc(l.line, func(other *modelLeg) bool { return other == leg })
	if leg.in = nil; len(l.line) == 0 {
		l.great = 0
	}
}

func (leg *modelLeg) end() {
	leg.letGo()
	leg.turn, leg.credit, leg.had = nil, 0, map[*modelLimit]bool{}
}

func (l *modelLimit) nextInLine(now int64) *modelLeg {
	if len(l.line) == 0 {
		return nil
	}
	l.pass(now)
	leg := l.line[0]
	if l.holder != nil && l.holder != leg && now < l.heldTo {
		return nil
	}
	l.holder = nil
	if leg.credit < leg.want {
		leg.credit += max(min(l.room(), math.MaxInt64/2)/int64(len(l.line)), l.great)
	}
	if verdict, _ := l.answer(now, leg.want, true); verdict == Wait {
		return nil
	}
	leg.out()
	leg.turn = l
	return leg
}
