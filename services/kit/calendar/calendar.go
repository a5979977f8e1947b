// Package calendar has the windows that quotas are for. They follow each other without a
// gap, in UTC. The service that gives slices of a quota and the gateways that spend them
// count them alike.
package calendar

import (
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// Window is one window. Its number rises by one from window to window of a kind.
type Window struct {
	Number     int64
	Start, End time.Time
}

// monday is the first day, counted from the Thursday of 1970-01-01, that a week begins at.
const monday = 4

// At returns the window of a kind that t is in. A kind that there is none of is a month.
func At(kind catalogv1.Quota_Window, t time.Time) Window {
	switch kind {
	case catalogv1.Quota_WINDOW_MINUTE:
		return fixed(t, time.Minute, 0)
	case catalogv1.Quota_WINDOW_HOUR:
		return fixed(t, time.Hour, 0)
	case catalogv1.Quota_WINDOW_DAY:
		return fixed(t, 24*time.Hour, 0)
	case catalogv1.Quota_WINDOW_WEEK:
		return fixed(t, 7*24*time.Hour, monday*24*time.Hour)
	}
	year, month, _ := t.UTC().Date()
	start := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
	return Window{Number: int64(year)*12 + int64(month) - 1, Start: start, End: start.AddDate(0, 1, 0)}
}

// fixed returns the window of a kind that is always as long. One of them begins at first
// after 1970.
func fixed(t time.Time, length, first time.Duration) Window {
	seconds, offset := int64(length/time.Second), int64(first/time.Second)
	since := t.Unix() - offset
	number := since / seconds
	if since < number*seconds { // before 1970
		number--
	}
	start := time.Unix(number*seconds+offset, 0).UTC()
	return Window{Number: number, Start: start, End: start.Add(length)}
}

// Next returns the window after w, which is of a kind.
func (w Window) Next(kind catalogv1.Quota_Window) Window { return At(kind, w.End) }

// Previous returns the window before w, which is of a kind.
func (w Window) Previous(kind catalogv1.Quota_Window) Window {
	return At(kind, w.Start.Add(-time.Nanosecond))
}
