package api

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// Bounds of what gateways report.
const (
	// maxCount keeps sums of counts in 63 bits.
	maxCount = 1_000_000_000_000_000
	maxText  = 255
	maxCode  = 65535
)

// report checks and converts one reported message; at is its path.
type report struct {
	at    string
	wrong []fault.Violation
}

// fail notes what is wrong with a field.
func (r *report) fail(field, format string, a ...any) {
	r.wrong = append(r.wrong, fault.Violation{Field: r.at + "." + field, Message: fmt.Sprintf(format, a...)})
}

// count reads a counter.
func (r *report) count(field string, n uint64) int64 {
	if n > maxCount {
		r.fail(field, "must be at most %d", maxCount)
		return 0
	}
	return int64(n)
}

func (r *report) traffic(field string, t *subscriptionv1.Traffic) store.Traffic {
	return store.Traffic{
		Messages: r.count(field+".messages", t.GetMessages()), Frames: r.count(field+".frames", t.GetFrames()),
		Payload: r.count(field+".payload_bytes", t.GetPayloadBytes()), Wire: r.count(field+".wire_bytes", t.GetWireBytes()),
	}
}

// optional reads a name that may be empty, and returns its id.
func (r *report) optional(field, prefix, name string) string {
	if name == "" {
		return ""
	}
	id, ok := idOf(prefix, name)
	if !ok {
		r.fail(field, "must be %s{id} or empty", prefix)
	}
	return id
}

func (r *report) version(name string) string {
	api, id, ok := strings.Cut(strings.TrimPrefix(name, "apis/"), "/versions/")
	if !ok || !validID(api) || !validID(id) || name != "apis/"+api+"/versions/"+id {
		r.fail("version", "must be apis/{api}/versions/{version}")
	}
	return name
}

func (r *report) text(field, text string) string {
	if utf8.RuneCountInString(text) > maxText {
		r.fail(field, "must have at most %d characters", maxText)
	}
	return text
}

func (r *report) code(field string, n uint32) int64 {
	if n > maxCode {
		r.fail(field, "must be at most %d", maxCode)
	}
	return int64(n)
}

// time reads a time that must be there.
func (r *report) time(field string, t *timestamppb.Timestamp) time.Time {
	if t.CheckValid() != nil || t.GetSeconds() <= 0 {
		r.fail(field, "must be a time")
		return time.Time{}
	}
	return t.AsTime()
}

// maybe reads a time that may be none.
func (r *report) maybe(field string, t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return r.time(field, t)
}

// batchRow is the batch of a report.
func batchRow(b *subscriptionv1.Batch) (store.Batch, error) {
	if b.GetSequence() > math.MaxInt64 {
		return store.Batch{}, fault.Invalid("batch.sequence", "must be at most %d", int64(math.MaxInt64))
	}
	return store.Batch{Gateway: b.GetGateway(), BootID: b.GetBootId(), Sequence: int64(b.GetSequence())}, nil
}

func usageRows(all []*subscriptionv1.Usage) ([]store.Usage, error) {
	var out []store.Usage
	for i, u := range all {
		r := &report{at: fmt.Sprintf("usage[%d]", i)}
		hour := r.time("hour", u.GetHour())
		if !hour.Equal(hour.Truncate(time.Hour)) {
			r.fail("hour", "must be the start of an hour")
		}
		row := store.Usage{
			Hour: hour, Version: r.version(u.GetVersion()),
			Subscription: r.optional("subscription", subscriptionsPrefix, u.GetSubscription()),
			Application:  r.optional("application", applicationsPrefix, u.GetApplication()),
			Sessions:     r.count("sessions", u.GetSessions()),
			In:           r.traffic("inbound", u.GetInbound()), Out: r.traffic("outbound", u.GetOutbound()),
		}
		if err := fault.InvalidAll(r.wrong...); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}

func recordRows(all []*subscriptionv1.SessionRecord) ([]store.SessionRecord, error) {
	var out []store.SessionRecord
	for i, s := range all {
		r := &report{at: fmt.Sprintf("session_records[%d]", i)}
		row := r.record(s)
		if err := fault.InvalidAll(r.wrong...); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}

func (r *report) record(s *subscriptionv1.SessionRecord) store.SessionRecord {
	ref, err := recordRef("", s.GetName())
	if err != nil {
		r.fail("name", "must be %s{ref}", recordsPrefix)
	}
	return store.SessionRecord{
		Ref: ref, Session: r.text("session", s.GetSession()), Version: r.version(s.GetVersion()),
		Application:   r.optional("application", applicationsPrefix, s.GetApplication()),
		Subscription:  r.optional("subscription", subscriptionsPrefix, s.GetSubscription()),
		Grant:         r.text("grant", s.GetGrant()),
		ClientAddress: r.text("client_address", s.GetClientAddress()),
		StartedAt:     r.time("start_time", s.GetStartTime()), EndedAt: r.time("end_time", s.GetEndTime()),
		EndedBy: int64(s.GetEndedBy()), Cause: r.text("cause", s.GetCause()),
		ClientCode: r.code("client_code", s.GetClientCode()), ClientSentCode: r.code("client_sent_code", s.GetClientSentCode()),
		BackendCode: r.code("backend_code", s.GetBackendCode()), BackendSentCode: r.code("backend_sent_code", s.GetBackendSentCode()),
		In: r.traffic("inbound", s.GetInbound()), Out: r.traffic("outbound", s.GetOutbound()),
		LastInAt: r.maybe("last_inbound_time", s.GetLastInboundTime()), LastOutAt: r.maybe("last_outbound_time", s.GetLastOutboundTime()),
		Cut: s.GetCut(), RouteRevision: r.count("route_revision", s.GetRouteRevision()),
	}
}

// recordRef returns the ref in the name of a record.
func recordRef(field, name string) (string, error) {
	ref, ok := strings.CutPrefix(name, recordsPrefix)
	letters := "abcdefghijklmnopqrstuvwxyz"
	if !ok || ref == "" || len(ref) > 64 || strings.Trim(ref, letters+strings.ToUpper(letters)+"0123456789-") != "" {
		return "", fault.Invalid(field, "must be %s{ref}", recordsPrefix)
	}
	return ref, nil
}
