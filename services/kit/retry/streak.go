package retry

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// How often a streak of failures is logged: equal ones every repeatEvery, others after
// otherAfter at the earliest, so that two failures in turn fill no log.
const (
	repeatEvery = 10 * time.Minute
	otherAfter  = 10 * time.Second
)

// Streak logs the failures of something that is tried again and again: the first, then
// one every 10 minutes with how many there were, and once when it works again. A nil
// Streak logs nothing. It is safe for concurrent use.
type Streak struct {
	log   *slog.Logger
	level slog.Level
	what  string
	attrs []any

	mu       sync.Mutex
	failures int
	begun    time.Time
	said     time.Time
	text     string // of the failure that was logged last
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
	} else if since := now.Sub(s.said); since < otherAfter || text == s.text && since < repeatEvery {
		return
	}
	line := append(append([]any{}, s.attrs...), attrs...)
	line = append(line, "error", err)
	if s.failures > 1 {
		line = append(line, "failures", s.failures, "since", s.begun)
	}
	s.said, s.text = now, text
	s.log.Log(ctx, s.level, s.what, line...)
}

// over ends the streak.
func (s *Streak) over(ctx context.Context) {
	if s.failures == 0 {
		return
	}
	line := append([]any{"what", s.what}, s.attrs...)
	s.log.InfoContext(ctx, "works again", append(line, "failures", s.failures, "since", s.begun)...)
	s.failures, s.text = 0, ""
}

// withoutNumbers makes texts equal that differ in a number, such as that of a change or
// of a port.
func withoutNumbers(text string) string {
	return strings.Map(func(c rune) rune {
		if '0' <= c && c <= '9' {
			return -1
		}
		return c
	}, text)
}
