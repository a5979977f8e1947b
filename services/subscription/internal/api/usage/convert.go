package usage

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

func usageProto(u store.Usage) *usagev1.Usage {
	return &usagev1.Usage{
		Subscription: subscriptionName(u.Subscription), Application: applicationName(u.Application),
		Version: u.Version, StartTime: timestamppb.New(u.Hour), Sessions: uint64(u.Sessions),
		Inbound: trafficProto(u.In), Outbound: trafficProto(u.Out),
		ApiDisplayName: u.Labels.API, VersionString: u.Labels.Version,
		ApplicationDisplayName: u.Labels.Application, Username: u.Labels.Owner,
	}
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
		Grant: r.Grant, ClientAddress: r.ClientAddress,
		StartTime: timeProto(r.StartedAt), EndTime: timeProto(r.EndedAt),
		EndedBy: usagev1.SessionRecord_Party(r.EndedBy), EndReason: usagev1.EndReason(r.EndReason), Detail: r.Detail,
		CloseCodeFromClient: uint32(r.CloseCodeFromClient), CloseCodeToClient: uint32(r.CloseCodeToClient),
		CloseCodeFromBackend: uint32(r.CloseCodeFromBackend), CloseCodeToBackend: uint32(r.CloseCodeToBackend),
		Inbound: trafficProto(r.In), Outbound: trafficProto(r.Out),
		LastInboundTime: timeProto(r.LastInAt), LastOutboundTime: timeProto(r.LastOutAt),
		Truncated: r.Truncated, RouteChangeNumber: uint64(r.RouteChangeNumber), LeftOut: r.LeftOut,
		Status: uint32(r.Status), Code: r.Code, Api: r.API, Host: r.Host, Path: r.Path, UserAgent: r.UserAgent,
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
