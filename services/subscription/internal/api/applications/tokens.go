package applications

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// IssueApplicationToken issues a token of one of the caller's applications.
func (a *API) IssueApplicationToken(ctx context.Context, req *subscriptionv1.IssueApplicationTokenRequest) (*subscriptionv1.IssuedToken, error) {
	c := identity.From(ctx)
	app, err := resourcename.ParseApplication("application", req.GetApplication())
	if err != nil {
		return nil, err
	}
	made, err := withCatalog(ctx, a.catalog, func() (store.Issue, error) {
		return a.store.IssueForApplication(ctx, signInOf(c), app.Application, req.GetVersion(), stageOf(req.GetStage()), func(app store.Application) error {
			return c.MayChange(app.Owner)
		})
	})
	if err != nil {
		return nil, err
	}
	claims := token.ApplicationClaims{ClientID: made.ClientID, SignIn: signInOf(c)}
	return a.issue(ctx, claims, made, "for "+app.String()+" at "+req.GetVersion())
}

// IssueTryOutToken issues a token to try a version out.
func (a *API) IssueTryOutToken(ctx context.Context, req *subscriptionv1.IssueTryOutTokenRequest) (*subscriptionv1.IssuedToken, error) {
	c := identity.From(ctx)
	stage := stageOf(req.GetStage())
	made, err := withCatalog(ctx, a.catalog, func() (store.Issue, error) {
		return a.store.IssueToTryOut(ctx, c.Viewer(), signInOf(c), req.GetVersion(), stage)
	})
	if err != nil {
		return nil, err
	}
	return a.issue(ctx, token.ApplicationClaims{
		ClientID: token.TryOutClient, SignIn: signInOf(c), TryOut: req.GetVersion(), TryOutStage: int64(stage),
	}, made, "to try out "+req.GetVersion())
}

// issue signs a token and writes that it did, and what for.
func (a *API) issue(ctx context.Context, claims token.ApplicationClaims, made store.Issue, purpose string) (*subscriptionv1.IssuedToken, error) {
	claims.Resource, claims.Issued, claims.Scopes = made.Address, made.AsOf, []string{token.DefaultScope}
	raw, t, err := a.issuer.SignWithin(claims, made.SignInEnds)
	if err != nil {
		return nil, err
	}
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.TokenIssued, What: store.GrantName(t.ID), Why: purpose})
	return &subscriptionv1.IssuedToken{AccessToken: raw, ExpireTime: timestamppb.New(t.ExpiresAt)}, nil
}

// signInOf returns the sign-in that a user's call belongs to.
func signInOf(c identity.Caller) resourcename.SignIn {
	return resourcename.SignIn{User: c.User.ID(), SignIn: c.User.SignIn}
}

// stageOf returns the stage that is asked for; not set means production.
func stageOf(s catalogv1.Stage) store.Stage {
	if s == catalogv1.Stage_STAGE_SANDBOX {
		return store.Sandbox
	}
	return store.Production
}
