package ui

import (
	"testing"
	"time"
)

// TestUnits reads what is written, and what users write.
func TestUnits(t *testing.T) {
	for _, n := range []int64{0, 1, 1023, 1024, 65536, 1 << 30, 1<<40 + 1} {
		if got, err := ParseBytes(Bytes(n)); err != nil || got != n {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", Bytes(n), got, err, n)
		}
		if got, err := ParseNumber(Number(n)); err != nil || got != n {
			t.Errorf("ParseNumber(%q) = %d, %v, want %d", Number(n), got, err, n)
		}
	}
	for _, d := range []time.Duration{0, time.Second, 90 * time.Second, 1500 * time.Millisecond, time.Hour, 36 * time.Hour, 30 * 24 * time.Hour} {
		if got, err := ParseSpan(Span(d)); err != nil || got != d {
			t.Errorf("ParseSpan(%q) = %v, %v, want %v", Span(d), got, err, d)
		}
	}
	for text, want := range map[string]int64{"64kib": 64 << 10, "1 MIB": 1 << 20, "12 b": 12, "1,000": 1000} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]time.Duration{"1d12h": 36 * time.Hour, "30 min": 30 * time.Minute, "1h30m": 90 * time.Minute} {
		if got, err := ParseSpan(text); err != nil || got != want {
			t.Errorf("ParseSpan(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.5 MiB", "1 kB", "9999999 TiB", "KiB"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", text, got)
		}
	}
	for _, text := range []string{"", "x", "-1s", "12", "d", "99999999d", "1e9h"} {
		if got, err := ParseSpan(text); err == nil {
			t.Errorf("ParseSpan(%q) = %v, want an error", text, got)
		}
	}
}
