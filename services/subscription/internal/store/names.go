package store

import "github.com/tidegatehq/tidegate/services/kit/resourcename"

// UserName returns users/{id}.
func UserName(id string) string { return resourcename.User{User: id}.String() }

// SignInName returns users/{user}/signIns/{id}.
func SignInName(user, id string) string { return resourcename.SignIn{User: user, SignIn: id}.String() }

// ApplicationName returns applications/{id}.
func ApplicationName(id string) string { return resourcename.Application{Application: id}.String() }

// SubscriptionName returns subscriptions/{id}.
func SubscriptionName(id string) string { return resourcename.Subscription{Subscription: id}.String() }

// GrantName returns grants/{token id}.
func GrantName(tokenID string) string { return resourcename.Grant{Grant: tokenID}.String() }

// PairName names a subscription that does not exist: by its application and its
// version.
func PairName(application, version string) string {
	return ApplicationName(application) + "@" + version
}
