package usage

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

func usageProto(u store.Usage) *usagev1.Usage {
	out := &usagev1.Usage{
		StartTime: timeProto(u.Start), Api: u.API, Version: u.Version, Application: applicationName(u.Application),
		Subscription: subscriptionName(u.Subscription), Plan: u.Plan, Sessions: uint64(u.Sessions),
		Inbound: trafficProto(u.In), Outbound: trafficProto(u.Out), Limits: limitProtos(u.Limits),
		ApiDisplayName: u.Labels.API, VersionString: u.Labels.Version,
		ApplicationDisplayName: u.Labels.Application, Username: u.Labels.Owner, PlanDisplayName: u.Labels.Plan,
	}
	for _, r := range u.Refused {
		out.RefusedHandshakes = append(out.RefusedHandshakes, &usagev1.RefusedHandshakes{Status: uint32(r.Status), Count: uint64(r.Number)})
	}
	return out
}

func limitProtos(all []store.LimitUsage) (out []*usagev1.LimitUsage) {
	for _, l := range all {
		out = append(out, &usagev1.LimitUsage{
			Place: catalogv1.PlanPlace(l.Place), Plan: l.Plan, Limit: l.Limit,
			Pauses: uint64(l.Pauses), PausedMilliseconds: uint64(l.PausedMilliseconds), DroppedMessages: uint64(l.Dropped),
			ClosedSessions: uint64(l.Closed), RefusedHandshakes: uint64(l.Refused), ObservedHits: uint64(l.Observed),
			FirstTime: timeProto(l.FirstAt), LastTime: timeProto(l.LastAt),
		})
	}
	return out
}

func decidingProto(l *store.DecidingLimit) *usagev1.DecidingLimit {
	if l == nil {
		return nil
	}
	return &usagev1.DecidingLimit{Place: catalogv1.PlanPlace(l.Place), Plan: l.Plan, Limit: l.Limit, Detail: l.Detail}
}

func trafficProto(t store.Traffic) *usagev1.Traffic {
	return &usagev1.Traffic{
		Messages: uint64(t.Messages), Frames: uint64(t.Frames), PayloadBytes: uint64(t.Payload), WireBytes: uint64(t.Wire),
	}
}

func recordProto(r store.SessionRecord) *usagev1.SessionRecord {
	return &usagev1.SessionRecord{
		Name: resourcename.SessionRecord{Ref: r.Ref}.String(), Session: r.Session, Version: r.Version,
		Application: applicationName(r.Application), Subscription: subscriptionName(r.Subscription),
		Grant: r.Grant, ApiKey: r.APIKey, ClientAddress: r.ClientAddress,
		StartTime: timeProto(r.StartedAt), EndTime: timeProto(r.EndedAt),
		EndedBy: usagev1.SessionRecord_Party(r.EndedBy), EndReason: usagev1.EndReason(r.EndReason), Detail: r.Detail,
		CloseCodeFromClient: uint32(r.CloseCodeFromClient), CloseCodeToClient: uint32(r.CloseCodeToClient),
		CloseCodeFromBackend: uint32(r.CloseCodeFromBackend), CloseCodeToBackend: uint32(r.CloseCodeToBackend),
		Inbound: trafficProto(r.In), Outbound: trafficProto(r.Out),
		LastInboundTime: timeProto(r.LastInAt), LastOutboundTime: timeProto(r.LastOutAt),
		Truncated: r.Truncated, RouteChangeNumber: uint64(r.RouteChangeNumber), LeftOut: r.LeftOut,
		Renewals: int32(r.Renewals), RenewTime: timeProto(r.RenewedAt),
		Status: uint32(r.Status), Code: r.Code, Api: r.API, Host: r.Host, Path: r.Path, UserAgent: r.UserAgent,
		Plan: r.Plan, Limits: limitProtos(r.Limits), DecidingLimit: decidingProto(r.Deciding),
		ApiDisplayName: r.Labels.API, VersionString: r.Labels.Version,
		ApplicationDisplayName: r.Labels.Application, Username: r.Labels.Owner,
	}
}

// endReasonWord returns the word of an end reason, or its number where this release has
// no word for it.
func endReasonWord(number int64) string {
	return strings.TrimPrefix(usagev1.EndReason(number).String(), "END_REASON_")
}

// timeProto converts a time; the zero time is nil.
func timeProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// applicationName returns the name of an application, "" for an empty id.
func applicationName(id string) string {
	if id == "" {
		return ""
	}
	return store.ApplicationName(id)
}

// subscriptionName returns the name of a subscription, "" for an empty id.
func subscriptionName(id string) string {
	if id == "" {
		return ""
	}
	return store.SubscriptionName(id)
}
