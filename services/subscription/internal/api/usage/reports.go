package usage

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// report converts one reported message; at is its path.
type report struct {
	at    string
	wrong []fault.Violation
}

func (r *report) fail(field, message string) {
	r.wrong = append(r.wrong, fault.Violation{Field: r.at + "." + field, Message: message})
}

// time reads a time; a missing one is the zero time.
func (r *report) time(field string, t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	if t.CheckValid() != nil {
		r.fail(field, "must be a time")
		return time.Time{}
	}
	return t.AsTime()
}

func trafficRow(t *usagev1.Traffic) store.Traffic {
	return store.Traffic{
		Messages: int64(t.GetMessages()), Frames: int64(t.GetFrames()),
		Payload: int64(t.GetPayloadBytes()), Wire: int64(t.GetWireBytes()),
	}
}

func batchRow(b *backplanev1.Batch) store.Batch {
	return store.Batch{Gateway: b.GetGateway(), BootID: b.GetBootId(), Sequence: int64(b.GetSequence())}
}

func usageRows(all []*backplanev1.UsageReport) ([]store.Usage, error) {
	var out []store.Usage
	for i, u := range all {
		r := &report{at: fmt.Sprintf("usage[%d]", i)}
		minute := r.time("minute", u.GetMinute())
		if !minute.Equal(minute.Truncate(time.Minute)) {
			r.fail("minute", "must be the start of a minute")
		}
		if err := fault.InvalidAll(r.wrong...); err != nil {
			return nil, err
		}
		row := store.Usage{
			Start: minute, Version: u.GetVersion(),
			Application:  applicationID(u.GetApplication()),
			Subscription: subscriptionID(u.GetSubscription()),
			Plan:         u.GetPlan(),
			Sessions:     int64(u.GetSessions()),
			In:           trafficRow(u.GetInbound()), Out: trafficRow(u.GetOutbound()),
			Limits: limitRows(u.GetLimits()),
		}
		for _, name := range u.GetApiKeys() {
			key, err := resourcename.ParseAPIKey(r.at+".api_keys", name)
			if err != nil {
				return nil, err
			}
			row.APIKeys = append(row.APIKeys, key)
		}
		for _, h := range u.GetRefusedHandshakes() {
			row.Refused = append(row.Refused, store.RefusedHandshakes{Status: int64(h.GetStatus()), Number: int64(h.GetCount())})
		}
		out = append(out, row)
	}
	return out, nil
}

func limitRows(all []*usagev1.LimitUsage) (out []store.LimitUsage) {
	for _, l := range all {
		out = append(out, store.LimitUsage{
			LimitName: store.LimitName{Place: int64(l.GetPlace()), Plan: l.GetPlan(), Limit: l.GetLimit()},
			Pauses:    int64(l.GetPauses()), PausedMilliseconds: int64(l.GetPausedMilliseconds()), Dropped: int64(l.GetDroppedMessages()),
			Closed: int64(l.GetClosedSessions()), Refused: int64(l.GetRefusedHandshakes()), Observed: int64(l.GetObservedHits()),
		})
	}
	return out
}

func decidingRow(l *usagev1.DecidingLimit) *store.DecidingLimit {
	if l == nil {
		return nil
	}
	return &store.DecidingLimit{LimitName: store.LimitName{Place: int64(l.GetPlace()), Plan: l.GetPlan(), Limit: l.GetLimit()}, Detail: l.GetDetail()}
}

func recordRows(all []*usagev1.SessionRecord) ([]store.SessionRecord, error) {
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

// leftOutRows converts counts, and adds them up.
func leftOutRows(all []*backplanev1.LeftOut) (counts map[store.LeftOut]int64, total int64, err error) {
	counts = map[store.LeftOut]int64{}
	for i, l := range all {
		r := &report{at: fmt.Sprintf("left_out[%d]", i)}
		hour := r.time("hour", l.GetHour())
		if !hour.Equal(hour.Truncate(time.Hour)) {
			r.fail("hour", "must be the start of an hour")
		}
		if err := fault.InvalidAll(r.wrong...); err != nil {
			return nil, 0, err
		}
		counts[store.LeftOut{
			Hour: hour, API: l.GetApi(), Version: l.GetVersion(), Application: applicationID(l.GetApplication()),
			EndReason: int64(l.GetEndReason()), Code: l.GetCode(),
		}] += int64(l.GetCount())
		total += int64(l.GetCount())
	}
	return counts, total, nil
}

func (r *report) record(s *usagev1.SessionRecord) store.SessionRecord {
	return store.SessionRecord{
		Ref: recordRef(s.GetName()), Session: s.GetSession(), Version: s.GetVersion(),
		Application:   applicationID(s.GetApplication()),
		Subscription:  subscriptionID(s.GetSubscription()),
		Grant:         s.GetGrant(),
		APIKey:        s.GetApiKey(),
		ClientAddress: s.GetClientAddress(),
		StartedAt:     r.time("start_time", s.GetStartTime()), EndedAt: r.time("end_time", s.GetEndTime()),
		EndedBy: int64(s.GetEndedBy()), EndReason: int64(s.GetEndReason()),
		CloseCodeFromClient: int64(s.GetCloseCodeFromClient()), CloseCodeToClient: int64(s.GetCloseCodeToClient()),
		CloseCodeFromBackend: int64(s.GetCloseCodeFromBackend()), CloseCodeToBackend: int64(s.GetCloseCodeToBackend()),
		In: trafficRow(s.GetInbound()), Out: trafficRow(s.GetOutbound()),
		LastInAt: r.time("last_inbound_time", s.GetLastInboundTime()), LastOutAt: r.time("last_outbound_time", s.GetLastOutboundTime()),
		Truncated: s.GetTruncated(), RouteChangeNumber: int64(s.GetRouteChangeNumber()), Detail: s.GetDetail(),
		Status: int64(s.GetStatus()), Code: s.GetCode(), API: s.GetApi(), Host: s.GetHost(), Path: s.GetPath(), UserAgent: s.GetUserAgent(),
		Plan: s.GetPlan(), Limits: limitRows(s.GetLimits()), Deciding: decidingRow(s.GetDecidingLimit()),
		Renewals: int64(s.GetRenewals()), RenewedAt: r.time("renew_time", s.GetRenewTime()),
	}
}

// The protos' rules check names before a handler runs, so each is either valid or,
// where it is optional, empty.

func recordRef(name string) string      { return strings.TrimPrefix(name, "sessionRecords/") }
func applicationID(name string) string  { return strings.TrimPrefix(name, "applications/") }
func subscriptionID(name string) string { return strings.TrimPrefix(name, "subscriptions/") }
