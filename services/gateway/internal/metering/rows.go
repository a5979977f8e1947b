package metering

import (
	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// key names a row of usage.
type key struct {
	subscription, application, version string
	hour                               int64 // Unix seconds of its start
}

// keyOf returns the key of the row that a session's traffic at now belongs to.
func keyOf(info *session.Info, now time.Time) key {
	k := key{version: info.Route.Version, hour: now.Unix() - now.Unix()%hourSeconds}
	if info.Grant != nil {
		k.subscription, k.application = info.Grant.Subscription, info.Grant.Application
	}
	return k
}

// count is what a row counts.
type count struct {
	sessions uint64
	totals   ending.Totals
}

func (c *count) add(o count) {
	c.sessions += o.sessions
	c.totals.Add(&o.totals)
}

// rows are the rows of usage that are in no batch yet. They are bounded. When a new
// row would be one too many, because the control plane has been away for long, the
// rows of each subscription and version are joined into their newest hour: that
// keeps the totals and loses the hours. Only when those are still too many is a row
// refused.
type rows struct {
	max int

	mu   sync.Mutex
	byID map[key]*count
}

func newRows(bound int) *rows { return &rows{max: bound, byID: map[key]*count{}} }

// add adds to the row of k, and returns how many rows were lost.
func (r *rows) add(k key, totals ending.Totals, begun uint64) (lost int) {
	added := count{sessions: begun, totals: totals}
	if added == (count{}) {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.byID[k]; c != nil {
		c.add(added)
		return 0
	}
	if len(r.byID) >= r.max {
		r.join()
	}
	if len(r.byID) >= r.max {
		return 1
	}
	r.byID[k] = &added
	return 0
}

// join merges all hours of a subscription and version into the newest.
func (r *rows) join() {
	newest := map[key]int64{}
	for k := range r.byID {
		hour := k.hour
		k.hour = 0
		newest[k] = max(newest[k], hour)
	}
	joined := make(map[key]*count, len(newest))
	for k, c := range r.byID {
		k.hour = 0
		k.hour = newest[k]
		if to := joined[k]; to != nil {
			to.add(*c)
			continue
		}
		joined[k] = c
	}
	r.byID = joined
}

func (r *rows) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byID)
}

// take removes and returns up to n rows.
func (r *rows) take(n int) []*backplanev1.UsageReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*backplanev1.UsageReport, 0, min(n, len(r.byID)))
	for k, c := range r.byID {
		if len(out) == n {
			break
		}
		delete(r.byID, k)
		out = append(out, &backplanev1.UsageReport{
			Subscription: k.subscription,
			Application:  k.application,
			Version:      k.version,
			Minute:       &timestamppb.Timestamp{Seconds: k.hour},
			Sessions:     c.sessions,
			Inbound:      traffic(c.totals.FromClient),
			Outbound:     traffic(c.totals.FromBackend),
		})
	}
	return out
}

func traffic(c ending.Count) *usagev1.Traffic {
	return &usagev1.Traffic{Messages: c.Messages, Frames: c.Frames, PayloadBytes: c.Payload, WireBytes: c.Wire}
}
