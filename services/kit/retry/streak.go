package retry

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// How often a streak of failures is logged: each kind every repeatEvery, and another
// kind after otherAfter at the earliest. At most maxKinds are told apart, so that
// failures which all differ fill no log.
const (
	repeatEvery = 10 * time.Minute
	otherAfter  = 10 * time.Second
	maxKinds    = 8
)

// Streak logs the failures of something that is tried again and again: the first of each
// kind, then one every 10 minutes with how many there were, and once when it works again.
// A nil Streak logs nothing. It is safe for concurrent use.
type Streak struct {
	log   *slog.Logger
	level slog.Level
	what  string
	attrs []any

	mu       sync.Mutex
	failures int
	begun    time.Time
	said     time.Time            // when anything was
	kinds    map[string]time.Time // when each kind was
}

// NewStreak returns a Streak that logs failures at this level. what is their message,
// such as "routes not written to disk", and attrs are those of all its lines.
func NewStreak(log *slog.Logger, level slog.Level, what string, attrs ...any) *Streak {
	return &Streak{log: log, level: level, what: what, attrs: attrs}
}

// Note takes the outcome of an attempt, nil for one that succeeded. attrs are added to
// the line of a failure. A failure after ctx has ended is none.
func (s *Streak) Note(ctx context.Context, err error, attrs ...any) {
	if s == nil || ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.over(ctx)
		return
	}
	now, text := time.Now(), withoutNumbers(err.Error())
	if s.failures++; s.failures == 1 {
		s.begun = now
		s.kinds = map[string]time.Time{}
	} else if !s.due(text, now) {
		return
	}
	line := append(append([]any{}, s.attrs...), attrs...)
	line = append(line, "error", err)
	if s.failures > 1 {
		line = append(line, "failures", s.failures, "since", s.begun)
	}
	s.said, s.kinds[text] = now, now
	s.log.Log(ctx, s.level, s.what, line...)
}

// over ends the streak.
func (s *Streak) over(ctx context.Context) {
	if s.failures == 0 {
		return
	}
	line := append([]any{"what", s.what}, s.attrs...)
	s.log.InfoContext(ctx, "works again", append(line, "failures", s.failures, "since", s.begun)...)
	s.failures = 0
}

// due reports whether a failure of this kind is to be logged.
func (s *Streak) due(kind string, now time.Time) bool {
	quiet := now.Sub(s.said)
	said, known := s.kinds[kind]
	if !known && len(s.kinds) >= maxKinds {
		return quiet >= repeatEvery
	}
	return quiet >= otherAfter && now.Sub(said) >= repeatEvery // a kind that is not known was said long ago
}

// withoutNumbers returns the kind of a failure: it makes texts equal that differ in a
// number, such as that of a change or of a port.
func withoutNumbers(text string) string {
	return strings.Map(func(c rune) rune {
		if '0' <= c && c <= '9' {
			return -1
		}
		return c
	}, text)
}
