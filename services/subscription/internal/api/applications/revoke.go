package applications

import (
	"context"
	"errors"
	"strings"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// revocation revokes something, and returns the number of the change, 0 for none.
type revocation func(ctx context.Context, v identity.Viewer, check func(owner string) error) (uint64, error)

// Revoke makes credentials unusable that were issued until now.
func (a *API) Revoke(ctx context.Context, req *subscriptionv1.RevokeRequest) (*subscriptionv1.RevokeResponse, error) {
	c := identity.From(ctx)
	name, revoke, err := a.revocation(ctx, c, req)
	if err != nil {
		return nil, err
	}
	resp := &subscriptionv1.RevokeResponse{Name: name}
	number, err := revoke(ctx, c.Viewer(), c.MayChange)
	if err != nil || number == 0 {
		return resp, err
	}
	resp.Change = resourcename.Change{Service: identity.Subscription, Number: number}.String()
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.Revoked, What: name})
	return resp, nil
}

// revocation reads what a request is about: its name, and what revokes it.
func (a *API) revocation(ctx context.Context, c identity.Caller, req *subscriptionv1.RevokeRequest) (string, revocation, error) {
	if (req.GetToken() == "") == (req.GetName() == "") {
		return "", nil, fault.Invalid("token", "must be set, or name: one of them")
	}
	if req.GetApplication() != "" && !strings.HasPrefix(req.GetName(), grantPrefix) {
		return "", nil, fault.Invalid("application", "goes with the name of a token only, %s…", grantPrefix)
	}
	if req.GetToken() != "" {
		return a.tokenRevocation(ctx, req.GetToken())
	}
	return a.namedRevocation(c, req)
}

// grantPrefix begins the names of tokens.
const grantPrefix = "grants/"

// tokenRevocation is that of a token by its value.
func (a *API) tokenRevocation(ctx context.Context, raw string) (string, revocation, error) {
	t, err := a.issuer.ReadApplication(ctx, raw)
	switch {
	case errors.Is(err, token.ErrInvalid):
		return "", nil, fault.Invalid("token", "must be an access token of this installation for gateways")
	case errors.Is(err, token.ErrExpired):
		return store.GrantName(t.ID), func(context.Context, identity.Viewer, func(string) error) (uint64, error) { return 0, nil }, nil
	case err != nil:
		return "", nil, err
	}
	row := store.Token{ID: t.ID, ClientID: t.ClientID, SignIn: t.SignIn}
	if t.TryOut != "" {
		row.ClientID = ""
	}
	return store.GrantName(t.ID), func(ctx context.Context, v identity.Viewer, check func(string) error) (uint64, error) {
		return a.store.RevokeToken(ctx, v, row, t.ExpiresAt, check)
	}, nil
}

// namedRevocation is that of a name.
func (a *API) namedRevocation(c identity.Caller, req *subscriptionv1.RevokeRequest) (string, revocation, error) {
	name := req.GetName()
	switch kind, rest, _ := strings.Cut(name, "/"); {
	case kind == "grants":
		return a.grantRevocation(c, req)
	case kind == "subscriptions":
		n, err := resourcename.ParseSubscription("name", name)
		return name, func(ctx context.Context, v identity.Viewer, check func(string) error) (uint64, error) {
			return a.store.RevokeSubscription(ctx, v, n.Subscription, check)
		}, err
	case kind == "applications" && strings.Contains(rest, "/secrets/"):
		n, err := resourcename.ParseOAuthClientSecret("name", name)
		return name, func(ctx context.Context, v identity.Viewer, check func(string) error) (uint64, error) {
			return a.store.RevokeSecret(ctx, v, n, check)
		}, err
	case kind == "applications" && strings.Contains(rest, "/apiKeys/"):
		n, err := resourcename.ParseAPIKey("name", name)
		return name, func(ctx context.Context, v identity.Viewer, check func(string) error) (uint64, error) {
			return a.store.RevokeAPIKey(ctx, v, n, check)
		}, err
	case kind == "applications" && strings.Contains(rest, "/oauthClients/"):
		n, err := resourcename.ParseOAuthClient("name", name)
		return name, func(ctx context.Context, v identity.Viewer, check func(string) error) (uint64, error) {
			return a.store.RevokeOAuthClient(ctx, v, n, check)
		}, err
	case kind == "applications" && !strings.Contains(rest, "/"):
		n, err := resourcename.ParseApplication("name", name)
		return name, func(ctx context.Context, v identity.Viewer, check func(string) error) (uint64, error) {
			return a.store.RevokeApplication(ctx, v, n.Application, check)
		}, err
	}
	return "", nil, fault.Invalid("name", "must be grants/{grant}, applications/{application}, the name of an OAuth client, a secret or an API key below it, or subscriptions/{subscription}")
}

// grantRevocation is that of a token by its name.
func (a *API) grantRevocation(c identity.Caller, req *subscriptionv1.RevokeRequest) (string, revocation, error) {
	n, err := resourcename.ParseGrant("name", req.GetName())
	if err != nil {
		return "", nil, err
	}
	var app resourcename.Application
	switch {
	case req.GetApplication() != "":
		if app, err = resourcename.ParseApplication("application", req.GetApplication()); err != nil {
			return "", nil, err
		}
	case !c.User.Has(identity.RoleAdmin):
		return "", nil, fault.Invalid("application", "must be the application that the token was issued to")
	}
	return n.String(), func(ctx context.Context, v identity.Viewer, check func(string) error) (uint64, error) {
		return a.store.RevokeGrant(ctx, v, n.Grant, app.Application, check)
	}, nil
}
