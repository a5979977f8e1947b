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

// scheduler decides which goroutine of the world goes on next: all of them stop at
// certain points, and it resumes one at a time, chosen by the seed.
type scheduler struct {
	rnd  *rand.Rand
	slow string // goroutines at points with this in the name wait longer

	mu      sync.Mutex
	waiting []*waiter
	free    bool // nobody has to stop any more
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

// chance is true once in n times.
func (s *scheduler) chance(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.free && s.rnd.IntN(n) == 0
}

func (s *scheduler) pause(at string) { _ = s.stop(context.Background(), at) }

// slows are the points at which goroutines wait long in some interleavings: calls
// that are judged early and answered late, slow callers, events that are applied in
// part.
var slows = []string{"", "is judged", "read arrives", "has read the number", "has its grant", "has registered", "before", "between", "after"}

// step resumes one of the goroutines and waits until all have stopped again. It
// returns false if there is none.
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

// pick chooses the goroutine to resume; -1: none.
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
