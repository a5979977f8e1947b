package grants

import (
	"cmp"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// oauthClientName returns the name of a grant's OAuth client, "" where it has none.
func oauthClientName(g store.Grant) string {
	if g.OAuthClient == "" {
		return ""
	}
	return resourcename.OAuthClient{Application: g.Application, OAuthClient: g.OAuthClient}.String()
}

// apiKeyName returns the name of a grant's API key, "" where it has none.
func apiKeyName(g store.Grant) string {
	if g.APIKey == "" {
		return ""
	}
	return resourcename.APIKey{Application: g.Application, APIKey: g.APIKey}.String()
}

// tokenOf returns what a token says of itself.
func tokenOf(t token.ApplicationClaims) store.Token {
	return store.Token{ID: t.ID, ClientID: t.ClientID, SignIn: t.SignIn, Secret: t.Secret, Issued: t.Issued, Resource: t.Resource}
}

// grantProto returns a grant of a token, or of a value of an API key, which has an id and
// when it was issued; expires is zero for never. It rests on the pair of application
// and version also where there is a subscription: an application that subscribes to a
// version where it needs none keeps its grants, which are read again because of the pair,
// and a gateway ends what no longer rests on all that it rested on.
func grantProto(g store.Grant, t store.Token, version string, scopes []string, expires time.Time) *backplanev1.Grant {
	out := &backplanev1.Grant{
		Name: store.GrantName(t.ID), User: store.UserName(g.User), Application: store.ApplicationName(g.Application),
		OauthClient: oauthClientName(g), Stage: catalogv1.Stage(g.Stage),
		Plan: g.Plan, ApplicationPlan: g.ApplicationPlan, Version: version, IssuedChangeNumber: t.Issued.Change, IssuedChangeTime: t.Issued.Timestamp(),
		Scopes: scopes, ApiKey: apiKeyName(g), PermittedAddresses: g.Addresses, PermittedReferers: g.Referers,
	}
	if !expires.IsZero() {
		out.ExpireTime = timestamppb.New(expires)
	}
	out.RestsOn = []string{out.GetName(), out.GetUser(), version}
	if issuedTo := cmp.Or(out.GetOauthClient(), out.GetApiKey()); issuedTo != "" {
		out.RestsOn = []string{out.GetName(), issuedTo, out.GetApplication(), out.GetUser(), version, store.PairName(g.Application, version)}
	}
	if g.Subscription != "" {
		out.Subscription = store.SubscriptionName(g.Subscription)
		out.RestsOn = append(out.RestsOn, out.GetSubscription())
	}
	if t.SignIn != (resourcename.SignIn{}) {
		out.SignIn = t.SignIn.String()
		out.RestsOn = append(out.RestsOn, out.GetSignIn())
	}
	if t.Secret != "" {
		out.Secret = resourcename.OAuthClientSecret{Application: g.Application, OAuthClient: g.OAuthClient, Secret: t.Secret}.String()
	}
	return out
}
