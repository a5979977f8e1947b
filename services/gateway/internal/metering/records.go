package metering

import (
	"strings"
	"time"
	"unicode"

	"github.com/tidegatehq/tidegate/services/kit/resourcename"

	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// takeRecords takes a batch of records as they are reported, those of sessions first.
func (t *Meter) takeRecords() []*usagev1.SessionRecord {
	sessions := t.records.take(recordsBatch)
	refusals := t.refusals.take(recordsBatch - len(sessions))
	out := make([]*usagev1.SessionRecord, 0, len(sessions)+len(refusals))
	for i := range sessions {
		out = append(out, t.convert(&sessions[i]))
	}
	for i := range refusals {
		out = append(out, t.convertRefusal(&refusals[i]))
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
		RouteChangeNumber:    r.Route.ChangeNumber,
		Plan:                 r.AllPlans().Plan,
		Renewals:             int32(r.Renewals),
		RenewTime:            stamp(r.RenewedAt()),
	}
	if p := r.Plain; p != nil {
		out.Status, out.Host, out.Path, out.UserAgent = uint32(p.Status), p.Host, p.Path, p.UserAgent
	}
	if r.Grant != nil {
		out.Application, out.Subscription, out.Grant = r.Grant.Application, r.Grant.Subscription, r.Grant.Name
		out.ApiKey = r.Grant.APIKey
	}
	for i := range r.Limits {
		out.Limits = append(out.Limits, convertLimit(keyOfLimit(r.Limits[i].Limit), countOf(&r.Limits[i])))
	}
	if l := r.Ending.Limit; l != nil {
		out.DecidingLimit = &usagev1.DecidingLimit{Place: placeOf(l.Place), Plan: l.Plan, Limit: l.Name}
	}
	return out
}

// Answered takes the record of a plain request that is over and was not refused. As with
// refusals, those of one API are kept as far as their number in an hour is bounded, and counted
// beyond that; but one that was cut is always kept.
func (t *Meter) Answered(r session.Record) {
	of := kind{hour: hourOf(r.Ref, r.Ended), api: r.Route.API}
	if r.Ending.Reason == ending.Answered && !t.kinds.take(of) {
		t.leftOut.add(recordKey(&r))
		return
	}
	p := *r.Plain
	p.Host, p.Path, p.UserAgent = t.shown(p.Host), t.shown(p.Path), t.shown(p.UserAgent)
	r.Plain = &p
	t.keep(r)
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
	return string(runes[:min(len(runes), maxText)])
}

// stamp converts a time; the zero time is nil.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
