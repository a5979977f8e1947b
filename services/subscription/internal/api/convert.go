package api

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/resource"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// Prefixes of the names of the proto's values, which rows do without.
const (
	rolePrefix = "ROLE_"
)

func userProto(p store.User) *identityv1.User {
	out := &identityv1.User{
		Name: store.UserName(p.ID), Username: p.Username, DisplayName: p.DisplayName,
		CreateTime: timestamppb.New(p.CreatedAt), UpdateTime: timestamppb.New(p.UpdatedAt), Etag: store.Etag(p.Etag),
	}
	for _, role := range p.Roles {
		value := identityv1.User_Role_value[rolePrefix+strings.ToUpper(role)]
		out.Roles = append(out.Roles, identityv1.User_Role(value))
	}
	return out
}

// userRow is what a row takes from a user.
func userRow(p *identityv1.User) store.User {
	row := store.User{Username: p.GetUsername(), DisplayName: p.GetDisplayName()}
	for _, role := range p.GetRoles() {
		row.Roles = append(row.Roles, strings.ToLower(strings.TrimPrefix(role.String(), rolePrefix)))
	}
	return row
}

func applicationProto(a store.Application) *subscriptionv1.Application {
	return &subscriptionv1.Application{
		Name: store.ApplicationName(a.ID), DisplayName: a.DisplayName, Description: a.Description,
		Owner:      store.UserName(a.Owner),
		CreateTime: timestamppb.New(a.CreatedAt), UpdateTime: timestamppb.New(a.UpdatedAt), Etag: store.Etag(a.Etag),
	}
}

// applicationRow is what a row takes from an application.
func applicationRow(a *subscriptionv1.Application) store.Application {
	return store.Application{DisplayName: a.GetDisplayName(), Description: a.GetDescription()}
}

func oauthClientProto(c store.OAuthClient) *subscriptionv1.OAuthClient {
	return &subscriptionv1.OAuthClient{
		Name: c.Name.String(), Stage: catalogv1.Stage(c.Stage), ClientId: c.ClientID,
		CreateTime: timestamppb.New(c.CreatedAt), UpdateTime: timestamppb.New(c.UpdatedAt), Etag: store.Etag(c.Etag),
	}
}

// secretProto is a secret without its value.
func secretProto(s store.Secret) *subscriptionv1.OAuthClientSecret {
	out := &subscriptionv1.OAuthClientSecret{
		Name: s.Name.String(), CreateTime: timestamppb.New(s.CreatedAt),
	}
	if !s.ExpiresAt.IsZero() {
		out.ExpireTime = timestamppb.New(s.ExpiresAt)
	}
	return out
}

func subscriptionProto(s store.Subscription) *subscriptionv1.Subscription {
	return &subscriptionv1.Subscription{
		Name: store.SubscriptionName(s.ID), Application: store.ApplicationName(s.Application), Version: s.Version, Plan: s.Plan,
		CreateTime: timestamppb.New(s.CreatedAt), UpdateTime: timestamppb.New(s.UpdatedAt), Etag: store.Etag(s.Etag),
	}
}

// subscriptionRow is what a row takes from a subscription.
func subscriptionRow(s *subscriptionv1.Subscription) (store.Subscription, error) {
	app, err := nameOf("subscription.application", applicationsPrefix, s.GetApplication())
	if err != nil {
		return store.Subscription{}, err
	}
	return store.Subscription{Application: app, Version: s.GetVersion(), Plan: s.GetPlan()}, nil
}

func oauthClientName(g store.Grant) string {
	return resource.OAuthClient{Application: g.Application, OAuthClient: g.OAuthClient}.String()
}

func grantProto(g store.Grant, tokenID, version string, scopes []string, expires time.Time) *backplanev1.Grant {
	out := &backplanev1.Grant{
		Name: store.GrantName(tokenID), User: store.UserName(g.User), Application: store.ApplicationName(g.Application),
		OauthClient: oauthClientName(g), Stage: catalogv1.Stage(g.Stage),
		Subscription: store.SubscriptionName(g.Subscription), Plan: g.Plan, Version: version,
		Scopes: scopes, ExpireTime: timestamppb.New(expires),
	}
	out.RestsOn = []string{out.GetName(), out.GetOauthClient(), out.GetApplication(), out.GetSubscription(), out.GetUser(), version}
	return out
}

func usageProto(u store.Usage) *usagev1.Usage {
	return &usagev1.Usage{
		Subscription: optionalName(subscriptionsPrefix, u.Subscription), Application: optionalName(applicationsPrefix, u.Application),
		Version: u.Version, Hour: timestamppb.New(u.Hour), Sessions: uint64(u.Sessions),
		Inbound: trafficProto(u.In), Outbound: trafficProto(u.Out),
	}
}

func trafficProto(t store.Traffic) *usagev1.Traffic {
	return &usagev1.Traffic{
		Messages: uint64(t.Messages), Frames: uint64(t.Frames), PayloadBytes: uint64(t.Payload), WireBytes: uint64(t.Wire),
	}
}

func recordProto(r store.SessionRecord) *usagev1.SessionRecord {
	return &usagev1.SessionRecord{
		Name: recordsPrefix + r.Ref, Session: r.Session, Version: r.Version,
		Application: optionalName(applicationsPrefix, r.Application), Subscription: optionalName(subscriptionsPrefix, r.Subscription),
		Grant: r.Grant, ClientAddress: r.ClientAddress,
		StartTime: timeProto(r.StartedAt), EndTime: timeProto(r.EndedAt),
		EndedBy: usagev1.SessionRecord_Party(r.EndedBy), Cause: r.Cause, Detail: r.Detail,
		ClientCode: uint32(r.ClientCode), ClientSentCode: uint32(r.ClientSentCode),
		BackendCode: uint32(r.BackendCode), BackendSentCode: uint32(r.BackendSentCode),
		Inbound: trafficProto(r.In), Outbound: trafficProto(r.Out),
		LastInboundTime: timeProto(r.LastInAt), LastOutboundTime: timeProto(r.LastOutAt),
		Cut: r.Cut, RouteRevision: uint64(r.RouteRevision),
	}
}

// timeProto is a time that may be none.
func timeProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
