package api

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/planlimit"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/validate"
)

// checkAPI checks the new values of old.
func checkAPI(old store.API, next *catalogv1.Api) error {
	if err := validate.Message(&catalogv1.CreateApiRequest{Api: next}); err != nil {
		return err
	}
	if old.Published && next.GetContext() != old.Context {
		return fault.PreconditionOf("api.context", "is fixed while the API has a published version")
	}
	return nil
}

// maxOrigins is the largest number of characters in all origins of a version. With it,
// an API with the most versions still fits in one message of the watch.
const maxOrigins = 8192

// maxURLs is the largest number of characters in the URLs of all endpoints of a version, for
// the same reason.
const maxURLs = 16384

// checkVersion checks what the proto's rules do not.
func checkVersion(v *catalogv1.Version) error {
	var wrong []fault.Violation
	add := func(field string, err error) {
		if err != nil {
			wrong = append(wrong, fault.Violation{Field: "version." + field, Message: err.Error()})
		}
	}
	addAll := func(all []fault.Violation) {
		for _, w := range all {
			add(w.Field, errors.New(w.Message))
		}
	}
	addAll(checkEndpoints("endpoints", v.GetEndpoints(), checkEndpoint))
	addAll(checkHTTP(v))
	urls := 0
	for _, e := range withVersion(store.Version{}, v).AllEndpoints() {
		urls += len(e.URL)
	}
	if urls > maxURLs {
		add("endpoints", fmt.Errorf("must have URLs of at most %d characters together, with those of http", maxURLs))
	}
	size := 0
	for i, origin := range v.GetAllowedOrigins() {
		size += len(origin)
		add(fmt.Sprintf("allowed_origins[%d]", i), checkOrigin(origin))
	}
	if size > maxOrigins {
		add("allowed_origins", fmt.Errorf("must have at most %d characters together", maxOrigins))
	}
	add("error_frames.text", checkErrorText(v.GetErrorFrames()))
	if v.GetSubscriptionless() && withVersion(store.Version{}, v).Anonymous() {
		add("subscriptionless", errors.New("must be false with the security none, which asks for no token"))
	}
	add("pass_credential", checkPassCredential(v))
	seen := map[catalogv1.ClientEnding_Cause]int{}
	for i, e := range v.GetClientEndings() {
		at := fmt.Sprintf("client_endings[%d]", i)
		if first, again := seen[e.GetCause()]; again {
			add(at+".cause", fmt.Errorf("is the cause of client_endings[%d], too: a cause has one ending", first))
		} else {
			seen[e.GetCause()] = i
		}
		if e.GetCode() == 0 && e.GetText() == "" {
			add(at, errors.New("needs a code or a text"))
		}
	}
	for i, a := range v.GetFurtherAddresses() {
		add(fmt.Sprintf("further_addresses[%d]", i), checkFurtherAddress(a, v.GetFurtherAddresses()[:i]))
		if a.GetServes() == catalogv1.FurtherAddress_SERVES_HTTP && v.GetHttp() == nil {
			add(fmt.Sprintf("further_addresses[%d].serves", i), errors.New("must not be HTTP while the version has no http"))
		}
	}
	wrong = append(wrong, checkBackend(v.GetBackendOptions())...)
	wrong = append(wrong, checkConnections(v)...)
	addAll(checkSecurity("security", filledIn(v.GetSecurity()), v.GetAllowedOrigins()))
	return fault.InvalidAll(wrong...)
}

// checkErrorText checks that there is a text exactly with the template TEXT.
func checkErrorText(f *catalogv1.ErrorFrames) error {
	own := f.GetTemplate() == catalogv1.ErrorFrames_TEMPLATE_TEXT
	switch {
	case own && f.GetText() == "":
		return errors.New("is required with the template TEXT, 1 to 1000 bytes")
	case !own && f.GetText() != "":
		return errors.New("only with the template TEXT")
	}
	return nil
}

// checkFurtherAddress checks an address of a version beside those before it.
func checkFurtherAddress(a *catalogv1.FurtherAddress, before []*catalogv1.FurtherAddress) error {
	if a.GetHost() == "" && a.GetPrefix() == "" {
		return errors.New("needs a prefix, a host, or both")
	}
	for i, other := range before {
		if a.GetHost() == other.GetHost() && strings.EqualFold(a.GetPrefix(), other.GetPrefix()) {
			return fmt.Errorf("is the same as further_addresses[%d]", i)
		}
	}
	return nil
}

// checkPublished checks that a version, if it is published, can be used by somebody.
func checkPublished(v store.Version) error {
	if v.State == store.Published && len(v.Plans) == 0 && !v.Anonymous() && !v.Subscriptionless {
		return fault.PreconditionOf("version.plans", "a published version needs a plan, unless its security is none or it is subscriptionless")
	}
	return nil
}

// completePlan checks a plan, and fills in what its limits leave open.
func completePlan(p *catalogv1.Plan) error {
	if err := validate.Message(&catalogv1.CreatePlanRequest{Plan: p}); err != nil {
		return err
	}
	limits, wrong := planlimit.Complete(p.GetLimits())
	p.Limits = limits
	return fault.InvalidAll(wrong...)
}

// checkDenyRule checks the new values of a deny rule that was old.
func checkDenyRule(old store.DenyRule, next *catalogv1.DenyRule) error {
	if err := validate.Message(&catalogv1.CreateDenyRuleRequest{DenyRule: next}); err != nil {
		return err
	}
	if next.GetApi() == "" && next.GetApplication() == "" && next.GetSubscription() == "" && next.GetClientAddress() == "" {
		return fault.Invalid("deny_rule", "must have a condition: api, application, subscription or client_address")
	}
	for i, version := range next.GetVersions() {
		if !strings.HasPrefix(version, next.GetApi()+"/") {
			return fault.Invalid(fmt.Sprintf("deny_rule.versions[%d]", i), "must be a version of the rule's api")
		}
	}
	if next.GetClientAddress() != "" {
		if _, err := parseClientAddress("deny_rule.client_address", next.GetClientAddress()); err != nil {
			return err
		}
	}
	t := next.GetExpireTime()
	switch {
	case t == nil:
	case !t.IsValid() || t.AsTime().Year() > 9999:
		return fault.Invalid("deny_rule.expire_time", "must be a time before the year 10000")
	case !t.AsTime().Equal(old.ExpiresAt) && !t.AsTime().After(time.Now()):
		return fault.Invalid("deny_rule.expire_time", "must be in the future")
	}
	return nil
}

// parseClientAddress reads an address or a network of clients.
func parseClientAddress(field, text string) (netip.Prefix, error) {
	network, err := netaddr.ParseNetwork(text)
	if err != nil {
		return network, fault.Invalid(field, "must be an IP address or a network such as 203.0.113.0/24: %v", err)
	}
	return network, nil
}

// checkUnused refuses to delete a plan that something uses.
func checkUnused(name resourcename.Plan, use *catalogv1.PlanUse) error {
	var users []string
	for _, u := range []struct {
		count     int64
		one, many string
	}{
		{use.GetVersions(), "version that offers it", "versions that offer it"},
		{use.GetTrafficVersions(), "version that has it for its traffic", "versions that have it for their traffic"},
		{use.GetSubscriptionlessVersions(), "version that needs no subscription", "versions that need no subscription"},
		{use.GetSubscriptions(), "subscription", "subscriptions"},
		{use.GetApplications(), "application", "applications"},
	} {
		switch {
		case u.count == 1:
			users = append(users, "1 "+u.one)
		case u.count > 1:
			users = append(users, fmt.Sprintf("%d %s", u.count, u.many))
		}
	}
	if len(users) == 0 {
		return nil
	}
	return fault.Precondition("%s is in use by %s: take it from them first", name, strings.Join(users, ", "))
}

// checkState reads the state of a filter.
func checkState(state *string) error {
	if state == nil || *state == store.Created || *state == store.Published {
		return nil
	}
	return fault.Invalid("filter", "no state %q: there are CREATED, PUBLISHED", *state)
}

// ownerTerm returns the owner in a filter, the id of a user, or nil; users/me is the
// caller.
func ownerTerm(terms page.Terms, v identity.Viewer) (*string, error) {
	return page.Name(terms, "owner", resourcename.ParseUser, func(n resourcename.User) string {
		if n.User == resourcename.Me {
			return v.User
		}
		return n.User
	})
}
