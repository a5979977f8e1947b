package api

import (
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/fault"
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

// fields are the fields of a filter of sessions, and whether one has a value for a viewer.
var fields = map[string]func(s *session.Session, v viewer, value string) bool{
	"version":      func(s *session.Session, _ viewer, value string) bool { return s.Route().Version == value },
	"application":  func(s *session.Session, _ viewer, value string) bool { return grantOf(s).Application == value },
	"subscription": func(s *session.Session, _ viewer, value string) bool { return grantOf(s).Subscription == value },
	"user":         func(s *session.Session, _ viewer, value string) bool { return grantOf(s).User == value },
	"api_key":      func(s *session.Session, _ viewer, value string) bool { return grantOf(s).APIKey == value },
	"plan":         func(s *session.Session, v viewer, value string) bool { return hasPlan(v.plans(s), value) },
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
	return func(s *session.Session) bool {
		if !v.sees(s) {
			return false
		}
		for field, value := range terms {
			if !fields[field](s, v, value) {
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
