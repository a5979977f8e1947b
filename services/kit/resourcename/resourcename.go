// Package resourcename has the names of resources (AIP-122) as Go types: one table
// of forms, one function that parses and one that formats. Tests hold the protos'
// rules for names and their patterns to the table.
//
// To add the name of a resource, add its form to the constants and its type below,
// its rule to proto/tidegate/rules/v1/rules.proto, and its pattern to its message;
// CONTRIBUTING.md lists what else a resource needs.
package resourcename

import (
	"strconv"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Forms of names, as google.api.resource patterns.
const (
	apiForm          = "apis/{api}"
	versionForm      = "apis/{api}/versions/{version}"
	planForm         = "plans/{plan}"
	userForm         = "users/{user}"
	signInForm       = "users/{user}/signIns/{sign_in}"
	applicationForm  = "applications/{application}"
	oauthClientForm  = "applications/{application}/oauthClients/{oauth_client}"
	secretForm       = "applications/{application}/oauthClients/{oauth_client}/secrets/{secret}"
	apiKeyForm       = "applications/{application}/apiKeys/{api_key}"
	subscriptionForm = "subscriptions/{subscription}"
	signingKeyForm   = "signingKeys/{signing_key}"
	recordForm       = "sessionRecords/{session_record}"
	quotaUseForm     = "quotaUses/{quota_use}"
	denyRuleForm     = "denyRules/{deny_rule}"
	grantForm        = "grants/{grant}"
	gatewayForm      = "gateways/{gateway}"
	sessionForm      = "gateways/{gateway}/sessions/{session}"
	serviceForm      = "services/{service}"
	changeForm       = "services/{service}/changes/{change_number}"
	watcherForm      = "services/{service}/watchers/{watcher}"
)

// Any is the id that means all resources of a collection (AIP-159).
const Any = "-"

// Me is the id of the caller's own user.
const Me = "me"

// ValidID reports whether an id has the form of generated ones: 1 to 64 characters
// of a-z, 0-9 and "-".
func ValidID(id string) bool { return valid(id, "abcdefghijklmnopqrstuvwxyz0123456789-") }

// validRef reports whether an id has the form of a session's, which may have
// letters of both cases.
func validRef(id string) bool {
	return valid(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
}

func valid(id, alphabet string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, alphabet) == ""
}

// API is apis/{api}.
type API struct{ API string }

// Version is apis/{api}/versions/{version}.
type Version struct{ API, Version string }

// Plan is plans/{plan}.
type Plan struct{ Plan string }

// User is users/{user}.
type User struct{ User string }

// SignIn is users/{user}/signIns/{sign_in}.
type SignIn struct{ User, SignIn string }

// Application is applications/{application}.
type Application struct{ Application string }

// OAuthClient is applications/{application}/oauthClients/{oauth_client}.
type OAuthClient struct{ Application, OAuthClient string }

// OAuthClientSecret is
// applications/{application}/oauthClients/{oauth_client}/secrets/{secret}.
type OAuthClientSecret struct{ Application, OAuthClient, Secret string }

// APIKey is applications/{application}/apiKeys/{api_key}.
type APIKey struct{ Application, APIKey string }

// Subscription is subscriptions/{subscription}.
type Subscription struct{ Subscription string }

// SigningKey is signingKeys/{signing_key}.
type SigningKey struct{ SigningKey string }

// SessionRecord is sessionRecords/{session_record}.
type SessionRecord struct{ Ref string }

// QuotaUse is quotaUses/{quota_use}.
type QuotaUse struct{ QuotaUse string }

// DenyRule is denyRules/{deny_rule}.
type DenyRule struct{ DenyRule string }

// Grant is grants/{grant}.
type Grant struct{ Grant string }

// Gateway is gateways/{gateway}.
type Gateway struct{ Gateway string }

// Session is gateways/{gateway}/sessions/{session}.
type Session struct{ Gateway, Ref string }

// Service is services/{service}.
type Service struct{ Service string }

// Change is services/{service}/changes/{change_number}.
type Change struct {
	Service string
	Number  uint64
}

// Watcher is services/{service}/watchers/{watcher}.
type Watcher struct{ Service, Watcher string }

// String returns the name.
func (n API) String() string { return format(apiForm, n.API) }

// String returns the name.
func (n Version) String() string { return format(versionForm, n.API, n.Version) }

// Parent returns the API that the version belongs to.
func (n Version) Parent() API { return API{n.API} }

// String returns the name.
func (n Plan) String() string { return format(planForm, n.Plan) }

// String returns the name.
func (n User) String() string { return format(userForm, n.User) }

// String returns the name.
func (n SignIn) String() string { return format(signInForm, n.User, n.SignIn) }

// String returns the name.
func (n Application) String() string { return format(applicationForm, n.Application) }

// String returns the name.
func (n OAuthClient) String() string { return format(oauthClientForm, n.Application, n.OAuthClient) }

// String returns the name.
func (n OAuthClientSecret) String() string {
	return format(secretForm, n.Application, n.OAuthClient, n.Secret)
}

// String returns the name.
func (n APIKey) String() string { return format(apiKeyForm, n.Application, n.APIKey) }

// String returns the name.
func (n Subscription) String() string { return format(subscriptionForm, n.Subscription) }

// String returns the name.
func (n SigningKey) String() string { return format(signingKeyForm, n.SigningKey) }

// String returns the name.
func (n SessionRecord) String() string { return format(recordForm, n.Ref) }

// String returns the name.
func (n QuotaUse) String() string { return format(quotaUseForm, n.QuotaUse) }

// String returns the name.
func (n DenyRule) String() string { return format(denyRuleForm, n.DenyRule) }

// String returns the name.
func (n Grant) String() string { return format(grantForm, n.Grant) }

// String returns the name.
func (n Gateway) String() string { return format(gatewayForm, n.Gateway) }

// String returns the name.
func (n Session) String() string { return format(sessionForm, n.Gateway, n.Ref) }

// String returns the name.
func (n Service) String() string { return format(serviceForm, n.Service) }

// String returns the name.
func (n Change) String() string {
	return format(changeForm, n.Service, strconv.FormatUint(n.Number, 10))
}

// Parent returns the service that made the change.
func (n Change) Parent() Service { return Service{n.Service} }

// String returns the name.
func (n Watcher) String() string { return format(watcherForm, n.Service, n.Watcher) }

// ParseAPI reads the name of an API. Its error, like that of the other Parse
// functions, is an Invalid fault that says what field, the name of a field or flag,
// must be.
func ParseAPI(field, name string) (n API, err error) {
	err = parse(apiForm, field, name, ValidID, &n.API)
	return n, err
}

// ParseVersion reads the name of a version.
func ParseVersion(field, name string) (n Version, err error) {
	err = parse(versionForm, field, name, ValidID, &n.API, &n.Version)
	return n, err
}

// ParsePlan reads the name of a plan.
func ParsePlan(field, name string) (n Plan, err error) {
	err = parse(planForm, field, name, ValidID, &n.Plan)
	return n, err
}

// ParseUser reads the name of a user, which may be users/me for the caller.
func ParseUser(field, name string) (n User, err error) {
	err = parse(userForm, field, name, ValidID, &n.User)
	return n, err
}

// ParseSignIn reads the name of a sign-in, whose user may be users/me.
func ParseSignIn(field, name string) (n SignIn, err error) {
	err = parse(signInForm, field, name, ValidID, &n.User, &n.SignIn)
	return n, err
}

// ParseApplication reads the name of an application.
func ParseApplication(field, name string) (n Application, err error) {
	err = parse(applicationForm, field, name, ValidID, &n.Application)
	return n, err
}

// ParseOAuthClient reads the name of an OAuth client.
func ParseOAuthClient(field, name string) (n OAuthClient, err error) {
	err = parse(oauthClientForm, field, name, ValidID, &n.Application, &n.OAuthClient)
	return n, err
}

// ParseOAuthClientSecret reads the name of a secret of an OAuth client.
func ParseOAuthClientSecret(field, name string) (n OAuthClientSecret, err error) {
	err = parse(secretForm, field, name, ValidID, &n.Application, &n.OAuthClient, &n.Secret)
	return n, err
}

// ParseAPIKey reads the name of an API key.
func ParseAPIKey(field, name string) (n APIKey, err error) {
	err = parse(apiKeyForm, field, name, ValidID, &n.Application, &n.APIKey)
	return n, err
}

// ParseSubscription reads the name of a subscription.
func ParseSubscription(field, name string) (n Subscription, err error) {
	err = parse(subscriptionForm, field, name, ValidID, &n.Subscription)
	return n, err
}

// ParseSigningKey reads the name of a signing key.
func ParseSigningKey(field, name string) (n SigningKey, err error) {
	err = parse(signingKeyForm, field, name, ValidID, &n.SigningKey)
	return n, err
}

// ParseSessionRecord reads the name of a session record.
func ParseSessionRecord(field, name string) (n SessionRecord, err error) {
	err = parse(recordForm, field, name, validRef, &n.Ref)
	return n, err
}

// ParseQuotaUse reads the name of the use of a quota.
func ParseQuotaUse(field, name string) (n QuotaUse, err error) {
	err = parse(quotaUseForm, field, name, ValidID, &n.QuotaUse)
	return n, err
}

// ParseDenyRule reads the name of a deny rule.
func ParseDenyRule(field, name string) (n DenyRule, err error) {
	err = parse(denyRuleForm, field, name, ValidID, &n.DenyRule)
	return n, err
}

// ParseGrant reads the name of a grant.
func ParseGrant(field, name string) (n Grant, err error) {
	err = parse(grantForm, field, name, ValidID, &n.Grant)
	return n, err
}

// ParseGateway reads the name of a gateway; gateways/- means all of them.
func ParseGateway(field, name string) (n Gateway, err error) {
	err = parse(gatewayForm, field, name, ValidID, &n.Gateway)
	return n, err
}

// ParseSession reads the name of a live session; its gateway may be "-" for any.
func ParseSession(field, name string) (n Session, err error) {
	err = parse(sessionForm, field, name, validRef, &n.Gateway, &n.Ref)
	return n, err
}

// ParseService reads the name of a service; services/- means all of them.
func ParseService(field, name string) (n Service, err error) {
	err = parse(serviceForm, field, name, ValidID, &n.Service)
	return n, err
}

// ParseChange reads the name of a change, whose number is 1 to 2^63-1.
func ParseChange(field, name string) (n Change, err error) {
	var number string
	if err := parse(changeForm, field, name, ValidID, &n.Service, &number); err != nil {
		return Change{}, err
	}
	n.Number, err = strconv.ParseUint(number, 10, 63)
	if err != nil || n.Number == 0 || n.String() != name {
		return Change{}, fault.Invalid(field, "must be %s", changeForm)
	}
	return n, nil
}

// format returns the name that a form makes of ids.
func format(form string, ids ...string) string {
	var b strings.Builder
	for i, segment := range strings.Split(form, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		if strings.HasPrefix(segment, "{") {
			segment, ids = ids[0], ids[1:]
		}
		b.WriteString(segment)
	}
	return b.String()
}

// parse reads the ids out of a name that must have a form.
func parse(form, field, name string, valid func(string) bool, ids ...*string) error {
	segments, given := strings.Split(form, "/"), strings.Split(name, "/")
	good := len(segments) == len(given)
	for i := 0; good && i < len(segments); i++ {
		if strings.HasPrefix(segments[i], "{") {
			*ids[0], ids = given[i], ids[1:]
			good = valid(given[i])
		} else {
			good = segments[i] == given[i]
		}
	}
	if !good {
		return fault.Invalid(field, "must be %s", form)
	}
	return nil
}
