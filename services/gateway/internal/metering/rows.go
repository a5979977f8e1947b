package metering

import (
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// key names a row of usage.
type key struct {
	version, application, subscription, plan string
	minute                                   int64 // Unix seconds of its start
}

// keyOf returns the key of the row that what a session used in a minute belongs to.
func keyOf(info *session.Info, minute int64) key {
	k := key{version: info.Route.Version, plan: info.UsagePlan(), minute: minute}
	if info.Grant != nil {
		k.subscription, k.application = info.Grant.Subscription, info.Grant.Application
	}
	return k
}

// limitKey names a limit in a row.
type limitKey struct {
	place      limits.Place
	plan, name string
}

func keyOfLimit(l *limits.Limit) limitKey { return limitKey{l.Place, l.Plan, l.Name} }

// limitCount is what a limit did.
type limitCount struct {
	pauses, dropped, closed, refused, hits uint64
	paused                                 time.Duration
}

func (c *limitCount) add(o limitCount) {
	c.pauses += o.pauses
	c.dropped += o.dropped
	c.closed += o.closed
	c.refused += o.refused
	c.hits += o.hits
	c.paused += o.paused
}

func countOf(c *ending.LimitCount) limitCount {
	return limitCount{pauses: c.Pauses, dropped: c.Dropped, closed: c.Closed, hits: c.Hits, paused: c.Paused}
}

// row is what is counted under a key.
type row struct {
	sessions uint64
	totals   ending.Totals
	limits   map[limitKey]limitCount
	refused  map[int]uint64 // handshakes, by status
	apiKeys  map[string]struct{}
}

// size is how much of the bound of rows a row takes.
func (r *row) size() int { return 1 + len(r.limits) + len(r.refused) + len(r.apiKeys) }

func (r *row) addLimit(k limitKey, c limitCount) {
	if r.limits == nil {
		r.limits = map[limitKey]limitCount{}
	}
	sum := r.limits[k]
	sum.add(c)
	r.limits[k] = sum
}

func (r *row) addRefused(status int, n uint64) {
	if r.refused == nil {
		r.refused = map[int]uint64{}
	}
	r.refused[status] += n
}

// addAPIKey notes that an API key was used, where the grant is of one.
func (r *row) addAPIKey(g *grant.Grant) {
	if g == nil || g.APIKey == "" {
		return
	}
	if r.apiKeys == nil {
		r.apiKeys = map[string]struct{}{}
	}
	r.apiKeys[g.APIKey] = struct{}{}
}

func (r *row) add(o *row) {
	r.sessions += o.sessions
	r.totals.Add(&o.totals)
	for k, c := range o.limits {
		r.addLimit(k, c)
	}
	for status, n := range o.refused {
		r.addRefused(status, n)
	}
	for name := range o.apiKeys {
		r.addAPIKey(&grant.Grant{APIKey: name})
	}
}

// rows are the rows of usage that are in no batch yet. They are bounded: a row counts as
// one, and one more for each limit, status and API key in it. When there would be too many, because
// the control plane has been away for long, the rows of a subscription, application,
// version and plan are joined: the minutes of each hour into its newest, and if that is
// not enough, all minutes. That keeps the sums and loses the minutes. Only when those are
// still too many is a row lost.
type rows struct {
	max int

	mu   sync.Mutex
	byID map[key]*row
	size int
}

func newRows(bound int) *rows { return &rows{max: bound, byID: map[key]*row{}} }

// add has fn add to the row of k, and returns how many rows were lost.
func (r *rows) add(k key, fn func(*row)) (lost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to := r.byID[k]
	if to == nil {
		if r.size >= r.max {
			r.join(hourSeconds)
		}
		if r.size >= r.max {
			r.join(0)
		}
		if to = r.byID[k]; to == nil {
			if r.size >= r.max {
				return 1
			}
			to = &row{}
			r.byID[k] = to
			r.size++
		}
	}
	before := to.size()
	fn(to)
	r.size += to.size() - before
	return 0
}

// join merges all rows that differ in their minutes only, and in minutes of the same
// span of seconds, into the newest of them; 0 is all minutes.
func (r *rows) join(span int64) {
	group := func(k key) key {
		if k.minute -= k.minute % max(span, 1); span == 0 {
			k.minute = 0
		}
		return k
	}
	newest := map[key]int64{}
	for k := range r.byID {
		newest[group(k)] = max(newest[group(k)], k.minute)
	}
	joined := make(map[key]*row, len(newest))
	r.size = 0
	for k, of := range r.byID {
		to := k
		to.minute = newest[group(k)]
		if joined[to] == nil {
			joined[to] = of
			continue
		}
		joined[to].add(of)
	}
	for _, of := range joined {
		r.size += of.size()
	}
	r.byID = joined
}

func (r *rows) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byID)
}

// count returns how many rows are of more than refused handshakes.
func (r *rows) count() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range r.byID {
		if of.sessions > 0 || of.totals != (ending.Totals{}) || len(of.limits) > 0 && len(of.refused) == 0 {
			n++
		}
	}
	return n
}

// take removes and returns up to n rows. One of more limits, statuses or API keys than a
// report may have is taken in parts.
func (r *rows) take(n int) []*backplanev1.UsageReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*backplanev1.UsageReport, 0, min(n, len(r.byID)))
	for k, of := range r.byID {
		if len(out) == n {
			break
		}
		before := of.size()
		out = append(out, convertRow(k, of))
		r.size -= before - of.size()
		if of.size() == 1 {
			delete(r.byID, k)
			r.size--
		}
	}
	return out
}

// mostInReport is how many limits, statuses and API keys a row of a report has at most, of
// each.
const mostInReport = 100

// convertRow takes what a row of a report may have out of a row.
func convertRow(k key, of *row) *backplanev1.UsageReport {
	out := &backplanev1.UsageReport{
		Minute: &timestamppb.Timestamp{Seconds: k.minute}, Version: k.version, Application: k.application,
		Subscription: k.subscription, Plan: k.plan, Sessions: of.sessions,
		Inbound: traffic(of.totals.FromClient), Outbound: traffic(of.totals.FromBackend),
	}
	of.sessions, of.totals = 0, ending.Totals{}
	for l, c := range of.limits {
		if len(out.Limits) == mostInReport {
			break
		}
		delete(of.limits, l)
		out.Limits = append(out.Limits, convertLimit(l, c))
	}
	for status, n := range of.refused {
		if len(out.RefusedHandshakes) == mostInReport {
			break
		}
		delete(of.refused, status)
		out.RefusedHandshakes = append(out.RefusedHandshakes, &usagev1.RefusedHandshakes{Status: uint32(status), Count: n})
	}
	for name := range of.apiKeys {
		if len(out.ApiKeys) == mostInReport {
			break
		}
		delete(of.apiKeys, name)
		out.ApiKeys = append(out.ApiKeys, name)
	}
	return out
}

func convertLimit(l limitKey, c limitCount) *usagev1.LimitUsage {
	return &usagev1.LimitUsage{
		Place: placeOf(l.place), Plan: l.plan, Limit: l.name,
		Pauses: c.pauses, PausedMilliseconds: uint64(c.paused.Round(time.Millisecond).Milliseconds()),
		DroppedMessages: c.dropped, ClosedSessions: c.closed, RefusedHandshakes: c.refused, ObservedHits: c.hits,
	}
}

// placeOf converts a place: the numbers follow on that of no place.
func placeOf(p limits.Place) catalogv1.PlanPlace { return catalogv1.PlanPlace(p) + 1 }

func traffic(c ending.Count) *usagev1.Traffic {
	return &usagev1.Traffic{Messages: c.Messages, Frames: c.Frames, PayloadBytes: c.Payload, WireBytes: c.Wire}
}
