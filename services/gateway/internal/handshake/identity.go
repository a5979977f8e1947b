package handshake

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/backendidentity"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// IdentityHeader has what backends are told in a JWT.
const IdentityHeader = "X-Tidegate-Identity"

// identify makes the gateway's own headers for the backend, which say who the client is as
// far as the version wants that. An error means that they cannot be made now.
func (h *Handler) identify(ctx context.Context, a *attempt) error {
	a.own = a.told()
	if a.match.Route.Backends.Identity != routes.JWTIdentity {
		return nil
	}
	if a.grant == nil && !a.match.Route.Open() {
		// A preflight for the backend, before the credential: a JWT would say that its sender
		// was let in.
		a.own = append(a.own, head.Field{Name: "X-Tidegate-Ref", Value: a.ref})
		return nil
	}
	c := backendidentity.Claims{Version: a.match.Route.Name, Grant: a.grant, Ref: a.ref}
	if a.plain {
		// Plain requests share a JWT, which so has no ref: that is beside it.
		c.Ref, a.own = "", append(a.own, head.Field{Name: "X-Tidegate-Ref", Value: a.ref})
	}
	token, err := h.Identities.Sign(ctx, c)
	switch {
	case errors.Is(err, backendidentity.ErrUnavailable):
		return unavailable(problem.IdentityUnsigned, "what the backend is to be told cannot be signed now", 2*time.Second, err)
	case err != nil:
		return err
	}
	a.own = append(a.own, head.Field{Name: IdentityHeader, Value: token})
	return nil
}

// told returns the headers that nobody has to sign.
func (a *attempt) told() (own []head.Field) {
	add := func(name, value string) {
		if value != "" && visible(value) {
			own = append(own, head.Field{Name: name, Value: value})
		}
	}
	if a.passed != "" {
		add("Authorization", "Bearer "+a.passed)
	}
	if a.match.Route.Backends.Identity != routes.HeadersIdentity {
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
