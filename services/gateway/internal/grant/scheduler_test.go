package grant_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
)

// scheduler decides who goes on next: everything in the world waits at some
// point, and it lets one go, chosen by the seed.
type scheduler struct {
	rnd  *rand.Rand
	slow string // what has this in its name waits longer

	mu      sync.Mutex
	waiting []*waiter
	free    bool // nobody waits any more
	trace   []string
}

type waiter struct {
	at     string
	resume chan struct{}
}

// stop waits until the scheduler lets the caller go on, or ctx ends.
func (s *scheduler) stop(ctx context.Context, at string) error {
	s.mu.Lock()
	if s.free {
		s.mu.Unlock()
		return ctx.Err()
	}
	w := &waiter{at: at, resume: make(chan struct{})}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	select {
	case <-w.resume:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.DeleteFunc(s.waiting, func(o *waiter) bool { return o == w })
	return ctx.Err()
}

func (s *scheduler) pause(at string) { _ = s.stop(context.Background(), at) }

// slows are what waits long in some interleavings: calls that are judged early and
// answered late, callers that dawdle, events that are half applied.
var slows = []string{"", "is judged", "read arrives", "has read the number", "has its grant", "has registered", "before", "after"}

// step lets one of those who wait go on, and waits until all wait again. It
// reports whether there was one.
func (s *scheduler) step() bool {
	synctest.Wait()
	s.mu.Lock()
	i := s.pick()
	if i < 0 {
		s.mu.Unlock()
		return false
	}
	w := s.waiting[i]
	s.waiting = slices.Delete(s.waiting, i, i+1)
	s.trace = append(s.trace, w.at)
	s.mu.Unlock()
	close(w.resume)
	synctest.Wait()
	return true
}

// pick chooses one of those who wait; -1 is nobody.
func (s *scheduler) pick() int {
	slices.SortStableFunc(s.waiting, func(a, b *waiter) int { return strings.Compare(a.at, b.at) })
	var fast []int
	for i, w := range s.waiting {
		if s.slow == "" || !strings.Contains(w.at, s.slow) {
			fast = append(fast, i)
		}
	}
	switch {
	case len(s.waiting) == 0:
		return -1
	case s.slow != "" && s.rnd.IntN(8) > 0 && len(fast) > 0:
		return fast[s.rnd.IntN(len(fast))]
	case s.slow != "" && s.rnd.IntN(8) > 0:
		return -1
	}
	return s.rnd.IntN(len(s.waiting))
}

func (s *scheduler) note(format string, a ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trace = append(s.trace, fmt.Sprintf("  "+format, a...))
}
