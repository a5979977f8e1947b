package watch_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	request  = backplanev1.WatchRoutesRequest
	response = backplanev1.WatchRoutesResponse
	follower = watch.Follower[request, response]
)

// sink keeps the words that a follower receives, and checks that nothing comes
// twice or out of order.
type sink struct {
	mu     sync.Mutex
	number uint64
	words  []string
	resets int
	result watch.Result
	err    error
	takes  time.Duration
	wrong  []string
}

func (s *sink) Reset(_ context.Context, at watch.At, _ backplanev1.Begin_Reset, pieces []*response) (watch.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return watch.Result{}, s.err
	}
	s.number, s.words = at.Number, nil
	s.resets++
	for _, p := range pieces {
		for _, r := range p.GetSnapshot().GetRoutes() {
			s.words = append(s.words, r.GetName())
		}
	}
	return s.result, nil
}

func (s *sink) Apply(_ context.Context, at watch.At, c *response) (watch.Result, error) {
	s.mu.Lock()
	takes := s.takes
	s.mu.Unlock()
	time.Sleep(takes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return watch.Result{}, s.err
	}
	if at.Number != s.number+1 {
		s.wrong = append(s.wrong, fmt.Sprintf("%d after %d", at.Number, s.number))
	}
	s.number = at.Number
	for _, r := range c.GetChange().GetEvent().GetRoutes() {
		s.words = append(s.words, r.GetName())
	}
	return s.result, nil
}

func (s *sink) set(r watch.Result, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result, s.err = r, err
}

// state returns the words in order, how many snapshots there were and what came
// in the wrong order.
func (s *sink) state() (words []string, resets int, wrong []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	words = slices.Clone(s.words)
	slices.Sort(words)
	return words, s.resets, s.wrong
}

// quiet is a log that nobody reads.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func hello() *backplanev1.Hello {
	return &backplanev1.Hello{Instance: "gateway-1", Kind: "gateway", Build: "v1", Address: "127.0.0.1:1", Features: []string{"a", "b"}}
}
