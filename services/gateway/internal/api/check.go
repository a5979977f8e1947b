package api

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
)

// Bounds of a request.
const (
	maxName   = 200
	maxFilter = 1024
	maxToken  = 1024
)

// name is the gateway's resource name.
func (a *API) name() string { return "gateways/" + a.gateway.Instance }

// checkGateway returns why a name is not that of this gateway, or nil.
func (a *API) checkGateway(field, name string) error {
	id, ok := strings.CutPrefix(name, "gateways/")
	if !ok || !isID(id) {
		return fault.Invalid(field, "must be gateways/{gateway}, or gateways/- for the one that is asked")
	}
	if id != "-" && id != a.gateway.Instance {
		return fault.NotFound("gateway %q", name)
	}
	return nil
}

// checkSession returns the reference of a session's name.
func (a *API) checkSession(name string) (ref string, err error) {
	rest, ok := strings.CutPrefix(name, "gateways/")
	gateway, ref, between := strings.Cut(rest, "/sessions/")
	if !ok || !between || !isID(gateway) || !isID(ref) {
		return "", fault.Invalid("name", "must be gateways/{gateway}/sessions/{session}")
	}
	if gateway != "-" && gateway != a.gateway.Instance {
		return "", fault.NotFound("session %q", name)
	}
	return ref, nil
}

// isID reports whether s can be the id of a resource.
func isID(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// fields are what sessions are filtered by.
var fields = map[string]func(session.Info) string{
	"version":      func(i session.Info) string { return i.Route.Version },
	"application":  func(i session.Info) string { return grantOf(i).Application },
	"subscription": func(i session.Info) string { return grantOf(i).Subscription },
	"user":         func(i session.Info) string { return grantOf(i).User },
}

// grantOf returns a session's grant, an empty one for the scheme NONE.
func grantOf(i session.Info) *grant.Grant {
	if i.Grant == nil {
		return &grant.Grant{}
	}
	return i.Grant
}

// checkFilter returns what a filter asks for.
func checkFilter(filter string) (func(session.Info) bool, error) {
	if utf8.RuneCountInString(filter) > maxFilter {
		return nil, fault.Invalid("filter", "must be at most %d characters", maxFilter)
	}
	terms, err := page.Filter(filter, slices.Sorted(maps.Keys(fields))...)
	if err != nil {
		return nil, err
	}
	return func(i session.Info) bool {
		for field, value := range terms {
			if fields[field](i) != value {
				return false
			}
		}
		return true
	}, nil
}

// checkToken returns the place after which a page begins.
func checkToken(token, scope string) (place, error) {
	if utf8.RuneCountInString(token) > maxToken {
		return place{}, fault.Invalid("page_token", "must be at most %d characters", maxToken)
	}
	keys, err := page.Keys(token, scope, 2)
	if err != nil || keys == nil {
		return place{started: math.MinInt64}, err
	}
	started, err := strconv.ParseInt(keys[0], 10, 64)
	if err != nil {
		return place{}, fault.Invalid("page_token", "is not a token that a list has returned")
	}
	return place{started: started, ref: keys[1]}, nil
}
