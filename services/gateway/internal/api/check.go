package api

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// Bounds of a request.
const (
	maxFilter = 1024
	maxToken  = 1024
)

// name is the gateway's resource name.
func (a *API) name() resourcename.Gateway { return resourcename.Gateway{Gateway: a.gateway.Instance} }

// checkGateway returns why a name is not this gateway's, or nil.
func (a *API) checkGateway(field, name string) error {
	n, err := resourcename.ParseGateway(field, name)
	switch {
	case err != nil:
		return err
	case n.Gateway == resourcename.Any:
		return fault.Invalid(field, "must be %s: only the portal answers for all gateways", a.name())
	case n != a.name():
		return fault.NotFound("%s", n)
	}
	return nil
}

// checkSession returns the reference in a session's name.
func (a *API) checkSession(name string) (ref string, err error) {
	n, err := resourcename.ParseSession("name", name)
	switch {
	case err != nil:
		return "", err
	case n.Gateway == resourcename.Any:
		return "", fault.Invalid("name", "must be %s/sessions/{session}: only the portal answers for all gateways", a.name())
	case n.Gateway != a.gateway.Instance:
		return "", fault.NotFound("%s", n)
	}
	return n.Ref, nil
}

// A condition reports whether a session has what a term of a filter asks for, as far as the
// viewer sees it.
type condition func(s *session.Session, v viewer) bool

// fields are the fields of a filter of sessions, with the conditions that their values make.
var fields = map[string]func(value string) (condition, error){
	"api":          equals(func(s *session.Session, _ viewer) string { return apiOf(s.Route().Version) }),
	"version":      equals(func(s *session.Session, _ viewer) string { return s.Route().Version }),
	"application":  equals(func(s *session.Session, _ viewer) string { return grantOf(s).Application }),
	"subscription": equals(func(s *session.Session, _ viewer) string { return grantOf(s).Subscription }),
	"user":         equals(func(s *session.Session, _ viewer) string { return grantOf(s).User }),
	"oauth_client": equals(func(s *session.Session, _ viewer) string { return grantOf(s).OAuthClient }),
	"secret":       ofOwner(func(g *grant.Grant) string { return g.Secret }),
	"grant":        ofOwner(func(g *grant.Grant) string { return g.Name }),
	"api_key":      equals(func(s *session.Session, _ viewer) string { return grantOf(s).APIKey }),
	"plan": func(value string) (condition, error) {
		return func(s *session.Session, v viewer) bool { return hasPlan(v.plans(s), value) }, nil
	},
	"client_address": func(value string) (condition, error) {
		network, err := netaddr.ParseNetwork(value)
		if err != nil {
			return nil, fault.Invalid("filter", "client_address must be an IP address or a network such as 203.0.113.0/24: %v", err)
		}
		return isAt(network), nil
	},
}

// equals returns the conditions of a field that is compared as it is.
func equals(of func(*session.Session, viewer) string) func(string) (condition, error) {
	return func(value string) (condition, error) {
		return func(s *session.Session, v viewer) bool { return of(s, v) == value }, nil
	}
}

// ofOwner returns the conditions of a field that only the application's owner may ask for.
// Others find that no session has a value there.
func ofOwner(of func(*grant.Grant) string) func(string) (condition, error) {
	return func(value string) (condition, error) {
		return func(s *session.Session, v viewer) bool { return v.isApplicationOwner(s) && of(grantOf(s)) == value }, nil
	}
}

// isAt is the condition that a session's client is in a network.
func isAt(network netip.Prefix) condition {
	return func(s *session.Session, _ viewer) bool {
		return network.Contains(s.Client().Addr().Unmap().WithZone(""))
	}
}

// apiOf is the name of a version's API.
func apiOf(version string) string {
	api, _, _ := strings.Cut(version, "/versions/")
	return api
}

// hasPlan reports whether a session has the plan at any place, or none at all where plan
// is empty.
func hasPlan(of session.Plans, plan string) bool {
	if plan == "" {
		return of == session.Plans{}
	}
	return plan == of.Plan || plan == of.ApplicationPlan || plan == of.TrafficPlan
}

// filter returns a function that reports whether the viewer sees a session, and a filter
// accepts it.
func (v viewer) filter(filter string) (func(*session.Session) bool, error) {
	if utf8.RuneCountInString(filter) > maxFilter {
		return nil, fault.Invalid("filter", "must be at most %d characters", maxFilter)
	}
	terms, err := page.Filter(filter, slices.Sorted(maps.Keys(fields))...)
	if err != nil {
		return nil, err
	}
	var all []condition
	for field, value := range terms {
		holds, err := fields[field](value)
		if err != nil {
			return nil, err
		}
		all = append(all, holds)
	}
	return func(s *session.Session) bool {
		if !v.sees(s) {
			return false
		}
		for _, holds := range all {
			if !holds(s, v) {
				return false
			}
		}
		return true
	}, nil
}

// checkToken returns why a page token cannot be one that a list has returned, or
// nil.
func checkToken(token string) error {
	if utf8.RuneCountInString(token) > maxToken {
		return fault.Invalid("page_token", "must be at most %d characters", maxToken)
	}
	return nil
}
