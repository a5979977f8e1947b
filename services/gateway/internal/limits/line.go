package limits

import (
	"math"
	"sync"
	"sync/atomic"
)

// line is those who wait at a limit: deficit round robin (Shreedhar and Varghese,
// 1995), where the parts are of what the limit gives.
type line struct {
	mu          sync.Mutex
	first, last *Waiter
	greatest    int64 // want of anyone since the line was empty

	holder *Waiter // nobody has a turn until it asked elsewhere, or until heldTo
	heldTo int64
}

// ServedWithin is how late a line may be served, in nanoseconds, after the time that a
// decision or Next said.
const ServedWithin = 20e6

// Waiter is a leg's place in lines: one for each direction of a session. It is in one
// line at most. Whatever guards the leg is held when it is given to Ask, Leave or End.
type Waiter struct {
	Owner any // whose it is; not looked at

	// Hit is told of hits of limits on observe, by Ask and Charge. It may be nil.
	Hit func(l *Limit, hits int64)

	turn   *Limit // whose line gave it the turn that it has
	credit int64  // of the limit in whose line it is, or has its turn
	want   int64
	had    uint64 // the limits of chain whose turns it had since something passed
	chain  *Chain
	holds  *Limit // whose line waits for it

	in         atomic.Pointer[Limit]
	next, prev *Waiter
}

// inLine is the answer of limit i, at which others wait: w is let pass where it had its
// turn there, and in its turn no more than its part. Having had its turn it is not sent
// back, else two at the heads of two lines could send each other back for ever.
func (w *Waiter) inLine(c *Chain, i int, n int64, answer Verdict, at int64) (Verdict, int64) {
	l := c.at(i).limit
	switch {
	case w == nil:
		return Wait, at
	case w.turn == l:
		w.mark(c, i)
		if n > w.credit && answer != Refuse {
			return Wait, at
		}
	case w.chain != c || w.had&(1<<i) == 0:
		return Wait, at
	}
	return answer, at
}

func (w *Waiter) mark(c *Chain, i int) {
	if w.chain != c {
		w.chain, w.had = c, 0
	}
	w.had |= 1 << i
}

// most is how much w may take of limit i, for which others may wait.
func (w *Waiter) most(c *Chain, i int, l *Limit) int64 {
	switch {
	case w != nil && w.turn == l:
		return max(w.credit, 0)
	case l.waiting.Load() == 0, w != nil && w.chain == c && w.had&(1<<i) != 0:
		return math.MaxInt64
	}
	return 0
}

// passed lets w spend its part.
func (w *Waiter) passed(d *Demand) {
	if w == nil {
		return
	}
	w.had = 0
	w.unhold()
	if w.turn != nil {
		w.credit -= w.turn.want(d)
	}
}

// wait puts w into the line of the limit that answer names. Where w had its turn there
// it goes to the front, and the line whose turn it has now waits for it, if that takes
// no longer than the tokens of the turn: else others would take the tokens of the one
// limit whenever there is room in the other, and w would wait for ever.
func (w *Waiter) wait(now int64, c *Chain, d *Demand, answer *Decision) {
	w.unhold()
	to, from := answer.Limit, w.turn
	again := false
	for i := range c.holding() {
		again = again || c.at(i).limit == to && w.chain == c && w.had&(1<<i) != 0
	}
	if from != nil && from != to && again && from.bucket != nil {
		n := from.want(d)
		if n > 0 && from.bucket.fits(now, n, true) && answer.At-now <= from.bucket.interval(n) {
			w.holds = from
			from.lined().hold(w, answer.At+ServedWithin)
		}
	}
	to.wait(w, to.want(d), from != nil && from != to && again)
}

func (w *Waiter) unhold() {
	if l := w.holds; l != nil {
		w.holds = nil
		q := l.lined()
		q.mu.Lock()
		if q.holder == w {
			q.holder = nil
		}
		q.mu.Unlock()
	}
}

func (q *line) hold(w *Waiter, to int64) {
	q.mu.Lock()
	q.holder, q.heldTo = w, to
	q.mu.Unlock()
}

// Waits tells whether w, which may be nil, is in a line.
func (w *Waiter) Waits() bool { return w != nil && w.in.Load() != nil }

// End ends the turn that w was given, when nothing more is there to ask for.
func (w *Waiter) End() {
	if !w.Waits() {
		w.unhold()
		w.turn, w.credit, w.had = nil, 0, 0
	}
}

// Leave takes w out of the line, and ends its turn.
func (w *Waiter) Leave() {
	if l := w.in.Load(); l != nil {
		q := l.lined()
		q.mu.Lock()
		if w.in.Load() == l {
			l.leave(q, w)
		}
		q.mu.Unlock()
	}
	w.End()
}

// wait puts w into the line of l: at the end, or in front where it is told to or the
// turn that w has there is not over.
func (l *Limit) wait(w *Waiter, want int64, front bool) {
	q := l.lined()
	q.mu.Lock()
	defer q.mu.Unlock()
	front = front || w.turn == l && w.credit >= want
	if w.turn != l {
		w.credit = 0
	}
	w.turn, w.want = nil, want
	q.greatest = max(q.greatest, want)
	w.in.Store(l)
	l.addWaiting(1)
	switch {
	case q.first == nil:
		q.first, q.last = w, w
	case front:
		w.next, q.first.prev = q.first, w
		q.first = w
	default:
		w.prev, q.last.next = q.last, w
		q.last = w
	}
}

// lined returns the line of l, which is made where there is none.
func (l *Limit) lined() *line {
	q := l.line.Load()
	if q == nil {
		l.line.CompareAndSwap(nil, new(line))
		q = l.line.Load()
	}
	return q
}

// addWaiting counts who waits, also where a step looks, and returns how many do at l.
func (l *Limit) addWaiting(n int32) int32 {
	if l.quota != nil {
		l.quota.addWaiting(n)
	} else {
		l.bucket.addWaiting(n)
	}
	return l.waiting.Add(n)
}

// leave takes w out of the line, whose lock is held.
func (l *Limit) leave(q *line, w *Waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.last = w.prev
	}
	w.next, w.prev = nil, nil
	w.in.Store(nil)
	if l.addWaiting(-1) == 0 {
		q.greatest = 0
	}
}

// Next takes the first in line out of it, if there is room for what it asked for, and
// gives it its turn: its owner, who holds its guard, asks again and calls End, but not
// if it Waits again by then. What does not fit into its part waits for the next turn.
// Without one it returns when to come again, or 0 where nobody waits. A turn is at
// least the greatest message that anybody in line waits for.
func (l *Limit) Next(now int64) (w *Waiter, at int64) {
	q := l.line.Load()
	if q == nil {
		return nil, 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if w = q.first; w == nil {
		return nil, 0
	}
	if q.holder != nil && q.holder != w && now < q.heldTo {
		return nil, q.heldTo
	}
	q.holder = nil
	if w.credit < w.want {
		room := min(l.room(now), math.MaxInt64/2) // a quota that lets all pass has no bound
		w.credit += max(room/int64(l.waiting.Load()), q.greatest)
	}
	if answer, at := l.look(now, w.want, true); answer == Wait {
		return nil, at
	}
	w.turn = l // before it is out of the line: Leave sees both or neither
	l.leave(q, w)
	return w, 0
}

// Release takes the first out of the line without a turn. Who replaces a limit empties
// its line so, and each asks its new chain. It returns nil when nobody is left.
func (l *Limit) Release() *Waiter {
	q := l.line.Load()
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.first
	if w != nil {
		w.credit, w.had = 0, 0
		l.leave(q, w)
	}
	return w
}

// Waiting returns how many are in the limit's line.
func (l *Limit) Waiting() int { return int(l.waiting.Load()) }
