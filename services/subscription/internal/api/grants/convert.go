package grants

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

func oauthClientName(g store.Grant) string {
	return resourcename.OAuthClient{Application: g.Application, OAuthClient: g.OAuthClient}.String()
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
