package store

// UserName returns users/{id}.
func UserName(id string) string { return "users/" + id }

// ApplicationName returns applications/{id}.
func ApplicationName(id string) string { return "applications/" + id }

// SubscriptionName returns subscriptions/{id}.
func SubscriptionName(id string) string { return "subscriptions/" + id }

// GrantName returns grants/{token id}.
func GrantName(tokenID string) string { return "grants/" + tokenID }

// PairName is what a missing subscription is known by: the application and the
// version that it would join.
func PairName(application, version string) string {
	return ApplicationName(application) + "@" + version
}
