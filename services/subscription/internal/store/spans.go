package store

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// span is a length of time that usage is summed by, each in tables of its own. Spans are
// counted from 1970 in UTC.
type span struct {
	// name ends the names of the tables.
	name string
	// length is in microseconds.
	length int64
}

// spans are all of them, the shortest first. Each divides the next.
var spans = [...]span{
	{"minute", time.Minute.Microseconds()},
	{"hour", time.Hour.Microseconds()},
	{"day", 24 * time.Hour.Microseconds()},
	// The sums of years are read from these, and the first days from those of days.
	{"20_days", 20 * 24 * time.Hour.Microseconds()},
}

// The places of spans in spans.
const (
	minutes = iota
	hours
	days
)

// endless is the end of a time that has none.
const endless = math.MaxInt64

// keeps returns how long usage is kept by the span at a place.
func (r Retention) keeps(at int) time.Duration {
	switch at {
	case minutes:
		return lasting(r.UsageMinutes)
	case hours:
		return lasting(r.Usage)
	}
	return lasting(r.UsageDays)
}

// keptSince returns from when on all usage is kept by the span at a place, in
// microseconds; 0 for ever. It begins a span of the next length, and is at least that
// long before what was promised: whoever asks for the last two days just before an hour
// ends gets them just after it too.
func (r Retention) keptSince(now time.Time, at int) int64 {
	keep := r.keeps(at)
	if keep == math.MaxInt64 {
		return 0
	}
	next := spans[min(at+1, len(spans)-1)].length
	return max(0, floor(now.Add(-keep).UnixMicro(), next)-next)
}

// floor rounds a time down to a span of a length.
func floor(at, length int64) int64 { return at - at%length }

// ceil rounds a time up; endless stays.
func ceil(at, length int64) int64 {
	if at == endless {
		return endless
	}
	return floor(at+length-1, length)
}

// piece is a half-open range of time that is read from the tables of one span.
type piece struct {
	span       span
	start, end int64
	// less says that it is taken from the sums of the others, not added to them.
	less bool
}

// split divides a range of time into pieces, each of the longest spans that fit.
func split(start, end int64) []piece { return splitAt(start, end, len(spans)-1) }

func splitAt(start, end int64, at int) []piece {
	if start >= end {
		return nil
	}
	length := spans[at].length
	from, to := ceil(start, length), end
	if end != endless {
		to = floor(end, length)
	}
	switch {
	case at == minutes:
		return []piece{{span: spans[at], start: start, end: end}}
	case from >= to:
		return splitAt(start, end, at-1)
	}
	return slices.Concat(splitAt(start, from, at-1), []piece{{span: spans[at], start: from, end: to}}, splitAt(to, end, at-1))
}

// forSums returns what is read for sums instead of pieces that split made, of which fewer
// rows are read: most of the days of one of the longest spans are all of it less the others.
// Days are kept since that time.
func forSums(pieces []piece, since int64) []piece {
	longest := spans[len(spans)-1]
	var added, less []piece
	for _, p := range pieces {
		start := floor(p.start, longest.length)
		end := start + longest.length
		if p.span == spans[days] && p.end <= end && p.end-p.start > longest.length/2 && start >= since {
			for _, other := range []piece{{p.span, start, p.start, true}, {p.span, p.end, end, true}} {
				if other.start < other.end {
					less = append(less, other)
				}
			}
			p = piece{span: longest, start: start, end: end}
		}
		if last := len(added) - 1; last >= 0 && added[last].span == p.span && added[last].end == p.start {
			added[last].end = p.end
		} else {
			added = append(added, p)
		}
	}
	return append(added, less...)
}

// pieces returns what a query reads, and the start of the first of its spans of time; 0
// if there is none. Step and times of the query are rounded as UsageQuery says.
func (q UsageQuery) pieces(keep Retention, now time.Time) ([]piece, int64, error) {
	start, end := micros(q.Start), micros(q.End)
	if end == 0 {
		end = endless
	}
	step := q.Step.Microseconds()
	if step == 0 {
		if end > now.UnixMicro() {
			end = endless
		}
		start = floor(start, keep.shortest(now, start))
		end = ceil(end, keep.shortest(now, end))
		return split(start, end), start, nil
	}
	at := len(spans) - 1
	for step%spans[at].length != 0 {
		at--
	}
	start, end = floor(start, step), ceil(end, step)
	// All that is by days is kept as long as it is: no longer step has more of it.
	if since := keep.keptSince(now, at); at < days && start > 0 && start < since {
		longer := time.Duration(spans[at+1].length) * time.Microsecond
		return nil, 0, fault.Invalid("step", "%s is too short for a time that long ago: by the %s, usage is kept for %s, here from %s on; set a start_time not before it, or a step of at least %s",
			words(q.Step), spans[at].name, words(keep.keeps(at)), time.UnixMicro(since).UTC().Format(time.RFC3339), words(longer))
	}
	return []piece{{span: spans[at], start: start, end: end}}, start, nil
}

// words says a length of time as users write it, such as 90m or 2d.
func words(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d%unit.length == 0 {
			return strconv.FormatInt(int64(d/unit.length), 10) + unit.name
		}
	}
	return d.String()
}

// shortest returns the length of the shortest spans that usage of a time is kept by.
func (r Retention) shortest(now time.Time, at int64) int64 {
	for i := range days {
		if at >= r.keptSince(now, i) {
			return spans[i].length
		}
	}
	return spans[days].length
}
