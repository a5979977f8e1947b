package limits

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// AnswerWithin is how long a decision may wait for a quota's next slice.
const AnswerWithin = time.Second

// mostOwed is the least that is left of a slice. A demand is less than the distance to
// where numbers end.
const mostOwed = -1 << 61

// Window is a window of a quota.
type Window struct {
	Number int64 // rising by one; a number never comes back
	End    int64 // on the clock of decisions
}

// Lack is what a quota does without a slice when its owner does not answer.
type Lack uint32

// What a quota does where its slice is not enough and the window is not known to be
// used up.
const (
	LackWaits   Lack = iota // for the answer
	LackAllows              // lets pass, and owes it
	LackRefuses             // until the window ends
)

// Quota is a gateway's part of a quota: a slice of one window, and perhaps one of the
// next. Its owner, the service that gives slices, is asked by the caller. Any number
// of goroutines may use it.
type Quota struct {
	lack  atomic.Uint32
	slice atomic.Pointer[slice]

	needed func()         // see OnNeed
	told   [2]atomic.Bool // it was called since Watch for the low mark, and for a demand
	lacked atomic.Int64   // see Lacked

	mu      sync.Mutex
	next    *slice // of a later window
	waiting int32  // how many are in the lines of its limits
}

// slice is what a gateway may spend in a window. It is one cache line.
type slice struct {
	number int64
	end    atomic.Int64
	left   atomic.Int64 // negative: owed
	low    atomic.Int64 // with no more left than this the owner is told
	usedUp atomic.Bool  // the whole window's quota is spent
	plain  atomic.Bool  // it is the present one, and nobody waits

	opened int64                 // when it took the place of before
	before atomic.Pointer[slice] // for decisions that began earlier
}

func newSlice(w Window, n int64) *slice {
	s := &slice{number: w.Number}
	s.end.Store(w.End)
	s.left.Store(n)
	return s
}

// NewQuota returns a quota in window w with an empty slice.
func NewQuota(w Window) *Quota {
	q := &Quota{}
	first := newSlice(w, 0)
	first.plain.Store(true)
	q.slice.Store(first)
	return q
}

// OnNeed has f called when the slice comes to its low mark, at first 0, and when it is not
// enough for a demand: once for each, and again after a Watch. f must not wait: locks of whoever
// spends are held. OnNeed is called before the quota is used.
func (q *Quota) OnNeed(f func()) { q.needed = f }

// Watch sets the low mark of the present slice, and has OnNeed's function called again.
func (q *Quota) Watch(now, low int64) {
	s := q.current(now)
	s.low.Store(low)
	q.told[0].Store(false)
	q.told[1].Store(false)
	if s.left.Load() <= low {
		q.need(0)
	}
}

// Lacked returns the most that one demand did not get since it was called last, 0 where
// none was there.
func (q *Quota) Lacked() int64 { return q.lacked.Swap(0) }

// need notes that n was not there, or with 0 that the low mark is reached.
func (q *Quota) need(n int64) {
	for {
		most := q.lacked.Load()
		if n <= most || q.lacked.CompareAndSwap(most, n) {
			break
		}
	}
	told := &q.told[min(n, 1)]
	if q.needed != nil && !told.Load() && told.CompareAndSwap(false, true) {
		q.needed()
	}
}

// Follow says which window is the present one and which comes next, by the clock that
// windows go by: a later window than the one that was is opened at once, and otherwise the
// ends are set. A window never reopens: an earlier one changes nothing. What was owed in a
// window whose end was never known is owed in w.
func (q *Quota) Follow(now int64, w, next Window) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.turn(now)
	if w.Number < s.number {
		return
	}
	if w.Number > s.number {
		opened := q.next
		if opened == nil || opened.number != w.Number {
			opened = newSlice(w, 0)
		}
		if s.end.Load() == math.MaxInt64 {
			opened.left.Add(min(s.left.Load(), 0))
		}
		q.open(s, opened, now)
		s = opened
	}
	s.end.Store(w.End)
	if q.next == nil || q.next.number != next.Number {
		q.next = newSlice(next, 0)
	}
	q.next.end.Store(next.End)
}

// LeftOf returns what is left of the slice of a window: the present one, the one before or
// the next. It reports false for any other.
func (q *Quota) LeftOf(number int64) (left int64, known bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.slice.Load()
	for _, s := range []*slice{s, s.before.Load(), q.next} {
		if s != nil && s.number == number {
			return s.left.Load(), true
		}
	}
	return 0, false
}

// Grant adds n to the slice of window w: the present one, or a later one, which opens
// when the present one ends. It reports false where w is over: a window never
// reopens. A later window than the one that is kept takes its place.
func (q *Quota) Grant(now int64, w Window, n int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.SetLack(LackWaits)
	s := q.turn(now)
	switch {
	case w.Number < s.number:
		return false
	case w.Number == s.number:
	case q.next == nil || q.next.number < w.Number:
		q.next = newSlice(w, n)
		q.turn(now)
		return true
	case q.next.number > w.Number:
		return false
	default:
		s = q.next
	}
	s.end.Store(w.End)
	s.left.Add(n)
	if n > 0 {
		s.usedUp.Store(false)
	}
	return true
}

// UsedUp says that window number has no more to give, until a Grant.
func (q *Quota) UsedUp(now, number int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.SetLack(LackWaits)
	if s := q.turn(now); s.number == number {
		s.usedUp.Store(true)
	} else if q.next != nil && q.next.number == number {
		q.next.usedUp.Store(true)
	}
}

// SetLack says what happens where a slice is not enough. It is LackWaits at first, and
// again as soon as the owner answers.
func (q *Quota) SetLack(l Lack) { q.lack.Store(uint32(l)) }

// Left returns the number of the present window and what is left of its slice; a
// negative number is owed.
func (q *Quota) Left(now int64) (number, left int64) {
	s := q.current(now)
	return s.number, s.left.Load()
}

// TakeBack empties the slice of the present window, and returns the window's number and
// what was left, which its owner gets back.
func (q *Quota) TakeBack(now int64) (number, left int64) {
	s := q.current(now)
	for {
		left = s.left.Load()
		if left <= 0 {
			return s.number, 0
		}
		if s.left.CompareAndSwap(left, 0) {
			return s.number, left
		}
	}
}

// current returns the slice that a decision at now takes from and gives back to,
// though another goroutine with a later now may have opened the next one.
func (q *Quota) current(now int64) *slice {
	s := q.slice.Load()
	if now < s.opened {
		if before := s.before.Load(); before != nil {
			return before
		}
	}
	if now < s.end.Load() {
		return s
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.turn(now)
}

// turn opens the next window when the present one is over. Where nothing is known about
// the next one it has an empty slice, and a Grant says when it ends. q.mu is held.
func (q *Quota) turn(now int64) *slice {
	s := q.slice.Load()
	for now >= s.end.Load() {
		next := q.next
		if next == nil {
			next = newSlice(Window{Number: s.number + 1, End: math.MaxInt64}, 0)
		}
		q.open(s, next, now)
		s = next
	}
	return s
}

// open has next take the place of s. q.mu is held.
func (q *Quota) open(s, next *slice, now int64) {
	q.next = nil
	next.opened = now
	next.before.Store(s)
	s.before.Store(nil)
	s.plain.Store(false)
	next.plain.Store(q.waiting == 0)
	q.slice.Store(next)
}

// addWaiting counts who is in the lines of the quota's limits.
func (q *Quota) addWaiting(n int32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting += n
	q.slice.Load().plain.Store(q.waiting == 0)
}

// look tells whether n can be taken, and if not whether that is to wait for.
func (q *Quota) look(now, n int64) (answer Verdict, at int64) {
	s := q.current(now)
	if s.left.Load() >= n {
		return Go, now
	}
	q.need(n)
	switch lack := Lack(q.lack.Load()); {
	case s.usedUp.Load():
		return Refuse, s.end.Load()
	case lack == LackAllows:
		return Go, now
	case lack == LackRefuses:
		return Refuse, s.end.Load()
	}
	return Wait, now + int64(AnswerWithin)
}

// take takes n where look lets it.
func (q *Quota) take(now, n int64) bool {
	s := q.current(now)
	for {
		left := s.left.Load()
		if left < n && (s.usedUp.Load() || Lack(q.lack.Load()) != LackAllows) {
			return false
		}
		if to := max(left-n, mostOwed); s.left.CompareAndSwap(left, to) {
			if to <= s.low.Load() {
				q.need(0)
			}
			return true
		}
	}
}

// takeSome takes up to n of the slice and returns how many.
func (q *Quota) takeSome(now, n int64) int64 {
	s := q.current(now)
	for {
		left := s.left.Load()
		got := max(min(n, left), 0)
		if got > 0 && !s.left.CompareAndSwap(left, left-got) {
			continue
		}
		switch {
		case got < n:
			q.need(n)
		case left-got <= s.low.Load():
			q.need(0)
		}
		return got
	}
}

// charge takes n, owing it if need be.
func (q *Quota) charge(now, n int64) {
	s := q.current(now)
	for {
		left := s.left.Load()
		if to := max(left-n, mostOwed); s.left.CompareAndSwap(left, to) {
			if to <= s.low.Load() {
				q.need(0)
			}
			return
		}
	}
}

// giveBack gives back n that was taken at a time, if the window of that time is the present
// one or the one before.
func (q *Quota) giveBack(taken, n int64) {
	if s := q.current(taken); taken >= s.opened {
		s.left.Add(n)
	}
}

// room is how much look lets pass.
func (q *Quota) room(now int64) int64 {
	s := q.current(now)
	if !s.usedUp.Load() && Lack(q.lack.Load()) == LackAllows {
		return math.MaxInt64
	}
	return max(s.left.Load(), 0)
}
