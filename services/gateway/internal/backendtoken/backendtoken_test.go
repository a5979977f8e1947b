package backendtoken

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// endpoint gives tokens t1, t2 and so on, that live for a time, each after a while.
type endpoint struct {
	life, takes time.Duration
	err         error

	mu    sync.Mutex
	given int
}

func (e *endpoint) fetch(ctx context.Context, _ Client) (Token, error) {
	select {
	case <-time.After(e.takes):
	case <-ctx.Done():
		return Token{}, context.Cause(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.given++
	if e.err != nil {
		return Token{}, e.err
	}
	t := Token{Value: fmt.Sprint("t", e.given)}
	if e.life > 0 {
		t.Expiry = time.Now().Add(e.life)
	}
	return t, nil
}

// get wants a token of a source.
func get(t *testing.T, s *Source, e *endpoint, want string) {
	t.Helper()
	if got, err := s.Get(t.Context(), e.fetch); got != want || err != nil {
		t.Errorf("after %d fetches Get = %q, %v, want %q", e.given, got, err, want)
	}
}

// A token is fetched once, by whoever comes first, and anew shortly before it expires.
func TestGet(t *testing.T) {
	for life, due := range map[time.Duration]time.Duration{0: unsaid - margin, time.Hour: time.Hour - margin, 10 * time.Second: 8 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s, e := New(Client{}), &endpoint{life: life, takes: time.Second}
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() { get(t, s, e, "t1") })
			}
			all.Wait()
			time.Sleep(due - time.Millisecond)
			get(t, s, e, "t1")
			time.Sleep(2 * time.Millisecond)
			// The first one waits for another, all others go on.
			began := time.Now()
			all.Go(func() { get(t, s, e, "t2") })
			synctest.Wait()
			for range 10 {
				get(t, s, e, "t1")
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("with a life of %v, who had a good token waited for %v", life, took)
			}
			all.Wait()
			get(t, s, e, "t2")
		})
	}
}

// While the token endpoint fails, who waits learns it at once, it is left in peace for a
// while, and a token that is still good is used to its end.
func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := New(Client{}), &endpoint{takes: time.Second, life: time.Minute}
		e.err = errors.New("away")
		var all sync.WaitGroup
		began := time.Now()
		for range 50 {
			all.Go(func() {
				if got, err := s.Get(t.Context(), e.fetch); !errors.Is(err, e.err) {
					t.Errorf("Get = %q, %v, want that it failed", got, err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); e.given != 1 || took != time.Second {
			t.Errorf("%d fetches in %v for 50, want 1 in a second", e.given, took)
		}
		time.Sleep(pause)
		e.err = nil
		get(t, s, e, "t2")
		e.err = errors.New("away again")
		time.Sleep(50 * time.Second)
		for range 10 {
			get(t, s, e, "t2")
		}
		if e.given != 3 {
			t.Errorf("%d fetches, want 3", e.given)
		}
		time.Sleep(10 * time.Second)
		if got, err := s.Get(t.Context(), e.fetch); !errors.Is(err, e.err) {
			t.Errorf("Get after the token's end = %q, %v, want that it failed", got, err)
		}
	})
}

// Who leaves ends the wait, and a fetch that is its own; the next one fetches then, and what
// became of the one before is no failure.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := New(Client{}), &endpoint{takes: 3 * time.Second}
		left := errors.New("left")
		var all sync.WaitGroup
		for range 2 { // one fetches, the other waits
			all.Go(func() {
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, left)
				defer cancel()
				if _, err := s.Get(ctx, e.fetch); !errors.Is(err, left) {
					t.Errorf("Get of who leaves = %v", err)
				}
			})
		}
		synctest.Wait()
		all.Go(func() { get(t, s, e, "t1") })
		all.Wait()
	})
}

// A token that is refused is dropped; but not the next one at once, and not what has taken
// its place.
func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := New(Client{}), &endpoint{}
		drop := func(value string, want bool) {
			t.Helper()
			if got := s.Drop(value); got != want {
				t.Errorf("Drop(%s) = %v, want %v", value, got, want)
			}
		}
		get(t, s, e, "t1")
		drop("t1", true)
		drop("t1", true) // of a handshake that had it, too
		get(t, s, e, "t2")
		drop("t1", true)
		drop("t2", false)
		get(t, s, e, "t2")
		time.Sleep(trust)
		drop("t2", true)
		get(t, s, e, "t3")
	})
}
