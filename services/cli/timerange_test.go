package cli

import (
	"testing"
	"time"
)

func TestTimes(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"24h":                       now.Add(-24 * time.Hour),
		"7d":                        now.Add(-7 * 24 * time.Hour),
		"90m":                       now.Add(-90 * time.Minute),
		"0s":                        now,
		"2026-01-01T00:00:00Z":      time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		"2026-01-01t02:00:00+02:00": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		got, err := timeOf("--since", text, now)
		if err != nil || !got.AsTime().Equal(want) {
			t.Errorf("timeOf(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-1h", "2026-01-01", "24", "-1d", "d", "1.5d"} {
		if got, err := timeOf("--since", text, now); err == nil {
			t.Errorf("timeOf(%q) = %v, want a refusal", text, got)
		}
	}
	if got, err := timeOf("--since", "", now); got != nil || err != nil {
		t.Errorf("timeOf(nothing) = %v, %v", got, err)
	}
	for _, f := range []timeFlags{{Since: "1h", Until: "2h"}, {Since: "2026-01-01T00:00:00Z", Until: "2026-01-01T00:00:00Z"}} {
		if _, _, err := f.times(); err == nil {
			t.Errorf("times(%+v) is no refusal", f)
		}
	}
}
