package retry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/retry"
)

// lines returns a log without times, and a function that returns the lines since it was
// called last.
func lines() (*slog.Logger, func() string) {
	var buf bytes.Buffer
	log := slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "since" {
			return slog.Attr{}
		}
		return a
	}}))
	return log, func() string {
		defer buf.Reset()
		return buf.String()
	}
}

// TestStreak fails twice a second for an hour, as a loop does whose disk is full.
func TestStreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, said := lines()
		s := retry.NewStreak(log, slog.LevelWarn, "not written", "file", "routes")
		s.Note(t.Context(), nil)
		if got := said(); got != "" {
			t.Errorf("without a failure the log is %q", got)
		}
		for i := range 2 * 60 * 60 {
			s.Note(t.Context(), fmt.Errorf("write change %d: no space left", i), "retry_in", time.Second)
			time.Sleep(500 * time.Millisecond)
		}
		got := strings.Split(strings.TrimSpace(said()), "\n")
		if want := `level=WARN msg="not written" file=routes retry_in=1s error="write change 0: no space left"`; got[0] != want {
			t.Errorf("the first line is %q, want %q", got[0], want)
		}
		if want := `level=WARN msg="not written" file=routes retry_in=1s error="write change 1200: no space left" failures=1201`; len(got) != 6 || got[1] != want {
			t.Errorf("%d lines, the second %q, want 6 and %q", len(got), got[1], want)
		}
		for range 2 {
			s.Note(t.Context(), nil)
		}
		if got, want := said(), "level=INFO msg=\"works again\" what=\"not written\" file=routes failures=7200\n"; got != want {
			t.Errorf("afterwards the log is %q, want %q", got, want)
		}
	})
}

// TestStreakOfOtherFailures logs one that differs, but not two in turn each time, nor all of
// many that differ.
func TestStreakOfOtherFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, said := lines()
		s := retry.NewStreak(log, slog.LevelError, "not read")
		s.Note(t.Context(), errors.New("refused"))
		time.Sleep(time.Minute)
		s.Note(t.Context(), errors.New("full"))
		want := "level=ERROR msg=\"not read\" error=refused\nlevel=ERROR msg=\"not read\" error=full failures=2\n"
		if got := said(); got != want {
			t.Errorf("log = %q, want %q", got, want)
		}
		for range 9 * 60 {
			s.Note(t.Context(), errors.New("full"))
			s.Note(t.Context(), errors.New("refused"))
			time.Sleep(time.Second)
		}
		if got := said(); got != "" {
			t.Errorf("two failures in turn are logged again within 10 minutes: %s", got)
		}
		for i := range 60 * 60 {
			s.Note(t.Context(), errors.New(strings.Repeat("x", i)))
			time.Sleep(time.Second)
		}
		if n := strings.Count(said(), "\n"); n > 12 {
			t.Errorf("3600 failures that all differ make %d lines in an hour, want at most 12", n)
		}
	})
}

func TestStreakIgnoresTheEnd(t *testing.T) {
	log, said := lines()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	retry.NewStreak(log, slog.LevelWarn, "x").Note(ctx, context.Canceled)
	var none *retry.Streak
	none.Note(t.Context(), errors.New("x"))
	if got := said(); got != "" {
		t.Errorf("log = %q, want none", got)
	}
}
