package calendar_test

import (
	"testing"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/calendar"
)

const (
	minute = catalogv1.Quota_WINDOW_MINUTE
	hour   = catalogv1.Quota_WINDOW_HOUR
	day    = catalogv1.Quota_WINDOW_DAY
	week   = catalogv1.Quota_WINDOW_WEEK
	month  = catalogv1.Quota_WINDOW_MONTH
)

func TestWindows(t *testing.T) {
	for _, tt := range []struct {
		kind           catalogv1.Quota_Window
		at, start, end string
	}{
		{minute, "2026-11-30T14:55:32.5Z", "2026-11-30T14:55:00Z", "2026-11-30T14:56:00Z"},
		{minute, "2026-11-30T14:56:00Z", "2026-11-30T14:56:00Z", "2026-11-30T14:57:00Z"},
		{minute, "1969-12-31T23:59:59.9Z", "1969-12-31T23:59:00Z", "1970-01-01T00:00:00Z"},
		{hour, "2026-11-30T14:55:32+05:30", "2026-11-30T09:00:00Z", "2026-11-30T10:00:00Z"},
		{day, "2026-11-30T23:59:59Z", "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"},
		{week, "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-07T00:00:00Z"}, // a Monday
		{week, "2026-11-29T23:59:59Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"}, // a Sunday
		{week, "1970-01-01T00:00:00Z", "1969-12-29T00:00:00Z", "1970-01-05T00:00:00Z"},
		{month, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{month, "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"},
	} {
		w := calendar.At(tt.kind, at(t, tt.at))
		if !w.Start.Equal(at(t, tt.start)) || !w.End.Equal(at(t, tt.end)) {
			t.Errorf("%v at %s = %v, want %s to %s", tt.kind, tt.at, w, tt.start, tt.end)
		}
	}
}

// Windows have no gap, and each has the number after that of the one before.
func TestWindowsFollowEachOther(t *testing.T) {
	for kind := minute; kind <= month; kind++ {
		w := calendar.At(kind, at(t, "1969-06-07T08:09:10Z"))
		for range 2000 {
			next := w.Next(kind)
			if next.Number != w.Number+1 || !next.Start.Equal(w.End) || next.Previous(kind) != w {
				t.Fatalf("%v: after %v comes %v, and before that %v", kind, w, next, next.Previous(kind))
			}
			w = next
		}
	}
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
