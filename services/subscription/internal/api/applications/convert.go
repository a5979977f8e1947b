package applications

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// Resource returns the resource that a row of this package's resources is, nil for any
// other value.
func Resource(row any) proto.Message {
	switch row := row.(type) {
	case store.Application:
		return applicationProto(row)
	case store.OAuthClient:
		return oauthClientProto(row)
	case store.Secret:
		return secretProto(row)
	case store.APIKey:
		return apiKeyProto(row)
	case store.Subscription:
		return subscriptionProto(row)
	}
	return nil
}

func applicationProto(a store.Application) *subscriptionv1.Application {
	return &subscriptionv1.Application{
		Name: store.ApplicationName(a.ID), DisplayName: a.DisplayName, Description: a.Description,
		Owner: store.UserName(a.Owner), Plan: a.Plan,
		CreateTime: timestamppb.New(a.CreatedAt), UpdateTime: timestamppb.New(a.UpdatedAt), Etag: page.Etag(a.Etag),
	}
}

// withApplication returns the row with the fields that a request may set taken from
// a.
func withApplication(row store.Application, a *subscriptionv1.Application) store.Application {
	row.DisplayName, row.Description, row.Plan = a.GetDisplayName(), a.GetDescription(), a.GetPlan()
	return row
}

func oauthClientProto(c store.OAuthClient) *subscriptionv1.OAuthClient {
	return &subscriptionv1.OAuthClient{
		Name: c.Name.String(), Stage: catalogv1.Stage(c.Stage), ClientId: c.ClientID,
		CreateTime: timestamppb.New(c.CreatedAt), UpdateTime: timestamppb.New(c.UpdatedAt), Etag: page.Etag(c.Etag),
	}
}

// secretProto returns a secret without its value.
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
	state := subscriptionv1.Subscription_STATE_ACTIVE
	if s.Blocked {
		state = subscriptionv1.Subscription_STATE_BLOCKED
	}
	return &subscriptionv1.Subscription{
		Name: store.SubscriptionName(s.ID), Application: store.ApplicationName(s.Application), Version: s.Version, Plan: s.Plan, State: state,
		ApplicationDisplayName: s.ApplicationLabel, ApplicationOwner: store.UserName(s.Owner), ApplicationOwnerUsername: s.OwnerLabel,
		CreateTime: timestamppb.New(s.CreatedAt), UpdateTime: timestamppb.New(s.UpdatedAt), Etag: page.Etag(s.Etag),
	}
}

// subscriptionRow returns a row with the fields that a request may set taken from
// s.
func subscriptionRow(s *subscriptionv1.Subscription) (store.Subscription, error) {
	app, err := resourcename.ParseApplication("subscription.application", s.GetApplication())
	if err != nil {
		return store.Subscription{}, err
	}
	return store.Subscription{Application: app.Application, Version: s.GetVersion(), Plan: s.GetPlan()}, nil
}
