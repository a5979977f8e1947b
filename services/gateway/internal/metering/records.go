package metering

import (
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/tidegatehq/tidegate/services/kit/resourcename"

	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// records are the records that are in no batch yet, oldest first. They are bounded:
// when they are full, a new one displaces the oldest.
type records struct {
	max int

	mu    sync.Mutex
	queue []session.Record // a ring: n records from head on
	head  int
	n     int
}

func newRecords(bound int) *records { return &records{max: bound} }

// add appends a record, and reports whether it displaced the oldest.
func (r *records) add(rec session.Record) (dropped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == len(r.queue) && r.n < r.max {
		r.grow()
	}
	if r.n == r.max {
		r.queue[r.head] = rec
		r.head = (r.head + 1) % len(r.queue)
		return true
	}
	r.queue[(r.head+r.n)%len(r.queue)] = rec
	r.n++
	return false
}

// grow doubles the ring.
func (r *records) grow() {
	bigger := make([]session.Record, min(max(64, 2*len(r.queue)), r.max))
	for i := range r.n {
		bigger[i] = r.queue[(r.head+i)%len(r.queue)]
	}
	r.queue, r.head = bigger, 0
}

func (r *records) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// take removes and returns up to n records.
func (r *records) take(n int) []session.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]session.Record, min(n, r.n))
	for i := range out {
		out[i] = r.queue[r.head]
		r.queue[r.head] = session.Record{}
		r.head = (r.head + 1) % len(r.queue)
	}
	if r.n -= len(out); r.n == 0 {
		r.queue, r.head = nil, 0
	}
	return out
}

// takeRecords takes a batch of records as they are reported.
func (t *Meter) takeRecords() []*usagev1.SessionRecord {
	taken := t.records.take(recordsBatch)
	out := make([]*usagev1.SessionRecord, len(taken))
	for i := range taken {
		out[i] = t.convert(&taken[i])
	}
	return out
}

// convert returns a record as it is reported.
func (t *Meter) convert(r *session.Record) *usagev1.SessionRecord {
	out := &usagev1.SessionRecord{
		Name:                 resourcename.SessionRecord{Ref: r.Ref}.String(),
		Session:              resourcename.Session{Gateway: t.cfg.Gateway, Ref: r.Ref}.String(),
		Version:              r.Route.Version,
		ClientAddress:        r.ClientAddress(),
		StartTime:            stamp(r.Started),
		EndTime:              stamp(r.Ended),
		EndedBy:              usagev1.SessionRecord_Party(r.Ending.By), // the numbers are the same
		EndReason:            usagev1.EndReason(r.Ending.Reason),
		Detail:               line(r.Ending.Detail),
		CloseCodeFromClient:  uint32(r.Client.Received),
		CloseCodeToClient:    uint32(r.Client.Sent),
		CloseCodeFromBackend: uint32(r.Backend.Received),
		CloseCodeToBackend:   uint32(r.Backend.Sent),
		Inbound:              traffic(r.Totals.FromClient),
		Outbound:             traffic(r.Totals.FromBackend),
		LastInboundTime:      stamp(r.Client.Last),
		LastOutboundTime:     stamp(r.Backend.Last),
		Truncated:            r.Client.CutMidFrame || r.Backend.CutMidFrame,
		RouteChangeNumber:    r.RouteChangeNumber,
	}
	if r.Grant != nil {
		out.Application, out.Subscription, out.Grant = r.Grant.Application, r.Grant.Subscription, r.Grant.Name
	}
	return out
}

// line returns text, which may come from a peer, as one line of at most 255
// characters.
func line(text string) string {
	runes := []rune(strings.ToValidUTF8(text, "\uFFFD"))
	for i, c := range runes {
		if unicode.IsControl(c) {
			runes[i] = ' '
		}
	}
	return string(runes[:min(len(runes), 255)])
}

// stamp converts a time; the zero time is nil.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
