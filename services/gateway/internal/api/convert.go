package api

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

func (a *API) toGateway() *gatewayv1.Gateway {
	return &gatewayv1.Gateway{
		Name:                      a.name().String(),
		Build:                     a.gateway.Build,
		RoutesAppliedChangeNumber: a.gateway.RoutesApplied(),
		GrantsAppliedChangeNumber: a.gateway.GrantsApplied(),
		Ready:                     a.gateway.Ready() == nil,
		Sessions:                  uint64(a.sessions.Gauges().Live),
		StartTime:                 timestamppb.New(a.gateway.Started),
	}
}

func (a *API) sessionName(ref string) resourcename.Session {
	return resourcename.Session{Gateway: a.gateway.Instance, Ref: ref}
}

// toSession converts a session for a viewer who sees it.
func (a *API) toSession(s *session.Session, v viewer) *gatewayv1.Session {
	info, totals := s.Info(), s.Totals()
	plans := v.plans(s)
	did, pausedSince := s.Limits()
	out := &gatewayv1.Session{
		Name:          a.sessionName(info.Ref).String(),
		Version:       info.Route.Version,
		ClientAddress: info.ClientAddress(),
		StartTime:     stamp(s.Started()),
		Inbound:       traffic(totals.FromClient),
		Outbound:      traffic(totals.FromBackend),
		Subprotocol:   info.Subprotocol,

		Plan: plans.Plan, ApplicationPlan: plans.ApplicationPlan, TrafficPlan: plans.TrafficPlan,
		PausedSinceTime: stamp(pausedSince),
		Renewals:        int32(info.Renewals), RenewTime: stamp(info.RenewedAt()),
	}
	for i := range did {
		if v.seesLimit(s, did[i].Limit.Place) {
			out.Limits = append(out.Limits, limitUsage(&did[i]))
		}
	}
	if g := info.Grant; g != nil {
		out.Application, out.Subscription, out.User = g.Application, g.Subscription, g.User
		out.OauthClient, out.ApiKey, out.ExpireTime = g.OAuthClient, g.APIKey, stamp(g.ExpireTime)
		if v.isApplicationOwner(s) {
			out.Grant = g.Name
		}
	}
	return out
}

func traffic(c ending.Count) *usagev1.Traffic {
	return &usagev1.Traffic{Messages: c.Messages, Frames: c.Frames, PayloadBytes: c.Payload, WireBytes: c.Wire}
}

func limitUsage(c *ending.LimitCount) *usagev1.LimitUsage {
	return &usagev1.LimitUsage{
		Place: catalogv1.PlanPlace(c.Limit.Place) + 1, // the numbers follow on that of no place
		Plan:  c.Limit.Plan, Limit: c.Limit.Name,
		Pauses: c.Pauses, PausedMilliseconds: uint64(c.Paused.Milliseconds()), DroppedMessages: c.Dropped,
		ClosedSessions: c.Closed, ObservedHits: c.Hits,
	}
}

// stamp converts a time; the zero time is nil.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
