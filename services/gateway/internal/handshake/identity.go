package handshake

import (
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

// own returns the gateway's own headers for the backend, which say who the client is as far
// as the version wants that: nil for none.
func (a *attempt) own() (own []head.Field) {
	add := func(name, value string) {
		if value != "" && visible(value) {
			own = append(own, head.Field{Name: name, Value: value})
		}
	}
	if a.passed != "" {
		add("Authorization", "Bearer "+a.passed)
	}
	if !a.match.Route.Backends.Identity {
		return own
	}
	add("X-Tidegate-Ref", a.ref)
	if g := a.grant; g != nil {
		add("X-Tidegate-Application", g.Application)
		add("X-Tidegate-Oauth-Client", g.OAuthClient)
		add("X-Tidegate-Api-Key", g.APIKey)
		add("X-Tidegate-Subscription", g.Subscription)
		add("X-Tidegate-Stage", g.Stage.String())
		add("X-Tidegate-Scopes", strings.Join(g.Scopes, " "))
	}
	return own
}

// visible reports whether s is visible ASCII and spaces, as a header can have it.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' })
}
