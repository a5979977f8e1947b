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
	// All is how many wait in all.
	All int
	// Each is how many of one network, or of one user who is signed in.
	Each int
}

// DefaultWaiting is what Passwords are made with where nothing else is asked for: those
// who wait longest wait 4 s.
func DefaultWaiting() Waiting { return Waiting{All: 256, Each: 16} }

// Passwords hashes passwords, a few at once. Who must wait stands in a line with those
// that come from the same place, and the lines take turns: whoever sends many delays
// only their own. When too many wait in all, the longest line loses its last.
type Passwords struct {
	bound Waiting

	mu    sync.Mutex
	free  int
	lines []*line // those in which somebody waits, the next to be served first
	total int
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
	return fault.WithReason(fault.Exhausted("too many sign-ins are under way; try again"), "TOO_MANY_SIGN_INS")
}

// Acquire waits for a slot. from is where the caller comes from, empty where that is not
// known; callers of one place wait for each other first. It fails with RESOURCE_EXHAUSTED when too many wait.
func (p *Passwords) Acquire(ctx context.Context, from string) (*HashSlot, error) {
	w, err := p.enqueue(from)
	if err != nil {
		return nil, err
	}
	select {
	case err = <-w.done:
	case <-ctx.Done():
		if !p.leave(from, w) {
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
func (p *Passwords) enqueue(from string) (*waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &waiter{done: make(chan error, 1)}
	if p.free > 0 {
		p.free--
		w.done <- nil
		return w, nil
	}
	mine := p.line(from)
	length := 0
	if mine != nil {
		length = len(mine.waiters)
	}
	if from != "" && p.bound.Each > 0 && length >= p.bound.Each {
		return nil, errBusy()
	}
	if p.bound.All > 0 && p.total >= p.bound.All && !p.shorten(length+1) {
		return nil, errBusy()
	}
	if mine == nil {
		mine = &line{from: from}
		p.lines = append(p.lines, mine)
	}
	mine.waiters = append(mine.waiters, w)
	p.total++
	return w, nil
}

// line returns the line of a place, nil if nobody waits there.
func (p *Passwords) line(from string) *line {
	i := slices.IndexFunc(p.lines, func(l *line) bool { return l.from == from })
	if i < 0 {
		return nil
	}
	return p.lines[i]
}

// shorten refuses the last of the longest line, if that is longer than length, and
// reports whether it did.
func (p *Passwords) shorten(length int) bool {
	longest := slices.MaxFunc(p.lines, func(a, b *line) int { return len(a.waiters) - len(b.waiters) })
	last := len(longest.waiters) - 1
	if last+1 <= length {
		return false
	}
	longest.waiters[last].done <- errBusy()
	longest.waiters = longest.waiters[:last]
	p.total--
	return true
}

// leave takes a waiter out of the line of a place, and reports false when the waiter is
// no longer in it.
func (p *Passwords) leave(from string, w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.line(from)
	if l == nil {
		return false
	}
	i := slices.Index(l.waiters, w)
	if i < 0 {
		return false
	}
	l.waiters = slices.Delete(l.waiters, i, i+1)
	p.total--
	if len(l.waiters) == 0 {
		p.lines = slices.DeleteFunc(p.lines, func(other *line) bool { return other == l })
	}
	return true
}

// Release gives the slot back.
func (s *HashSlot) Release() { s.of.release() }

// release gives a slot to the first of the next line, which then goes to the end.
func (p *Passwords) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) == 0 {
		p.free++
		return
	}
	next := p.lines[0]
	p.lines = p.lines[1:]
	next.waiters[0].done <- nil
	next.waiters = next.waiters[1:]
	p.total--
	if len(next.waiters) > 0 {
		p.lines = append(p.lines, next)
	}
}
