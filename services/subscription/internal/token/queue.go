package token

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Waiting bounds how many callers wait to hash a password; 0 is no bound.
type Waiting struct {
	// All is how many wait in all. A quarter of it is for callers who are known.
	All int
	// Each is how many of one place.
	Each int
}

// knownShare is the part of all places that strangers leave free: one in four.
const knownShare = 4

// DefaultWaiting is what Passwords are made with where nothing else is asked for: those
// who wait longest wait 4 s.
func DefaultWaiting() Waiting { return Waiting{All: 256, Each: 16} }

// Place is where a caller comes from.
type Place struct {
	// From is a network, a device, or a user who is signed in; empty is not known.
	From string
	// Within is what somebody may have many such places of: a wider network, or a user.
	Within string
	// Known says that it is a device that its user has signed in from, or a user.
	Known bool
}

// Passwords hashes passwords, a few at once. Who must wait stands in a line with those
// that come from the same place, and the lines take turns: whoever sends many delays
// only their own. The lines of places within one wider network, or of one user, are a
// queue, and the queues take turns too: whoever has many networks delays only those
// near. When too many wait in all, the longest queue loses the last of its longest line.
// Strangers leave a share free for those who are known.
type Passwords struct {
	bound Waiting

	mu               sync.Mutex
	free             int
	queues           []*queue // those in which somebody waits, the next to be served first
	total, strangers int
}

// queue is who waits from places within one wider place.
type queue struct {
	within string
	known  bool
	lines  []*line // those in which somebody waits, the next to be served first
	length int
}

// line is who waits from one place, the first to be served first.
type line struct {
	from    string
	waiters []*waiter
}

// waiter is a caller who waits.
type waiter struct {
	// done has nil when the caller has a slot, or why there will be none.
	done chan error
}

// NewPasswords returns a Passwords.
func NewPasswords(bound Waiting) *Passwords {
	return &Passwords{bound: bound, free: hashesAtOnce}
}

// HashSlot is the right to compute a hash; Release gives it back.
type HashSlot struct{ of *Passwords }

func errBusy() error {
	return fault.WithReason(fault.Exhausted("too many sign-ins are under way; try again"), fault.ReasonTooManySignIns)
}

// Acquire waits for a slot. Callers of one place wait for each other first. It fails
// with RESOURCE_EXHAUSTED when too many wait.
func (p *Passwords) Acquire(ctx context.Context, place Place) (*HashSlot, error) {
	w, err := p.enqueue(place)
	if err != nil {
		return nil, err
	}
	select {
	case err = <-w.done:
	case <-ctx.Done():
		if !p.leave(place, w) {
			// The slot, or the refusal, came at the same moment.
			if <-w.done == nil {
				p.release()
			}
		}
		err = fmt.Errorf("wait to hash a password: %w", ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	return &HashSlot{of: p}, nil
}

// enqueue returns a waiter, who has a slot already if one is free.
func (p *Passwords) enqueue(place Place) (*waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &waiter{done: make(chan error, 1)}
	if p.free > 0 {
		p.free--
		w.done <- nil
		return w, nil
	}
	_, l := p.find(place)
	if place.From != "" && p.bound.Each > 0 && l.length() >= p.bound.Each {
		return nil, errBusy()
	}
	if p.full(place) && !p.shorten(place) {
		return nil, errBusy()
	}
	// Whoever lost a place may have been the last of this queue or line.
	q, l := p.find(place)
	if q == nil {
		q = &queue{within: place.Within, known: place.Known}
		p.queues = append(p.queues, q)
	}
	if l == nil {
		l = &line{from: place.From}
		q.lines = append(q.lines, l)
	}
	l.waiters = append(l.waiters, w)
	p.count(q, 1)
	return w, nil
}

// count adds n to how many wait in a queue.
func (p *Passwords) count(q *queue, n int) {
	q.length += n
	p.total += n
	if !q.known {
		p.strangers += n
	}
}

// find returns the queue and the line of a place; each is nil if nobody waits there.
func (p *Passwords) find(place Place) (*queue, *line) {
	i := slices.IndexFunc(p.queues, func(q *queue) bool { return q.within == place.Within && q.known == place.Known })
	if i < 0 {
		return nil, nil
	}
	q := p.queues[i]
	j := slices.IndexFunc(q.lines, func(l *line) bool { return l.from == place.From })
	if j < 0 {
		return q, nil
	}
	return q, q.lines[j]
}

// length returns how many wait in a line, which may be nil.
func (l *line) length() int {
	if l == nil {
		return 0
	}
	return len(l.waiters)
}

// full reports whether as many wait as may, before somebody from a place.
func (p *Passwords) full(place Place) bool {
	all := p.bound.All
	return all > 0 && (p.total >= all || !place.Known && p.strangers >= all-all/knownShare)
}

// shorten refuses somebody in favour of a caller from a place, and reports whether there
// is anybody to refuse: the last of the longest queue's longest line if that queue is
// longer than the caller's would be, or of the longest line in the caller's queue if
// that line is longer than the caller's would be. Strangers displace those who are known
// only where these have more than their share.
func (p *Passwords) shorten(place Place) bool {
	mine, line := p.find(place)
	length := 0
	if mine != nil {
		length = mine.length
	}
	displacesKnown := place.Known || p.total-p.strangers > p.bound.All/knownShare
	var longest *queue
	for _, q := range p.queues {
		if (displacesKnown || !q.known) && (longest == nil || q.length > longest.length) {
			longest = q
		}
	}
	switch {
	case longest == nil:
		return false
	case longest.length > length+1:
		p.refuseLast(longest)
		return true
	case mine != nil && mine.longest().length() > line.length()+1:
		p.refuseLast(mine)
		return true
	}
	return false
}

// longest returns the longest line, of several the one that is served last.
func (q *queue) longest() *line {
	longest := q.lines[0]
	for _, l := range q.lines {
		if l.length() >= longest.length() {
			longest = l
		}
	}
	return longest
}

// refuseLast refuses the last of the longest line of a queue.
func (p *Passwords) refuseLast(q *queue) {
	l := q.longest()
	p.take(q, l, l.length()-1).done <- errBusy()
}

// take takes a waiter out of a line, and the line and the queue away when they are
// empty.
func (p *Passwords) take(q *queue, l *line, i int) *waiter {
	w := l.waiters[i]
	l.waiters = slices.Delete(l.waiters, i, i+1)
	p.count(q, -1)
	if l.length() == 0 {
		q.lines = slices.DeleteFunc(q.lines, func(other *line) bool { return other == l })
	}
	if q.length == 0 {
		p.queues = slices.DeleteFunc(p.queues, func(other *queue) bool { return other == q })
	}
	return w
}

// leave takes a waiter out of the line of a place, and reports false when the waiter is
// no longer in it.
func (p *Passwords) leave(place Place, w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	q, l := p.find(place)
	if l == nil {
		return false
	}
	i := slices.Index(l.waiters, w)
	if i < 0 {
		return false
	}
	p.take(q, l, i)
	return true
}

// Release gives the slot back.
func (s *HashSlot) Release() { s.of.release() }

// release gives a slot to the first of the next line of the next queue, which both then
// go to the end.
func (p *Passwords) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queues) == 0 {
		p.free++
		return
	}
	q := p.queues[0]
	l := q.lines[0]
	p.take(q, l, 0).done <- nil
	if l.length() > 0 {
		q.lines = append(q.lines[1:], l)
	}
	if q.length > 0 {
		p.queues = append(p.queues[1:], q)
	}
}
