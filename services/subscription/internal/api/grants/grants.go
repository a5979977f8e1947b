package grants

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// VerifyCredential judges a credential for a version. Every verdict names all that
// it rests on: until an event touches one of these names, the same credential gets
// the same verdict.
func (a *API) VerifyCredential(ctx context.Context, req *backplanev1.VerifyCredentialRequest) (*backplanev1.VerifyCredentialResponse, error) {
	switch req.GetScheme() {
	case backplanev1.CredentialScheme_CREDENTIAL_SCHEME_API_KEY:
		return a.verifyKey(ctx, req)
	case backplanev1.CredentialScheme_CREDENTIAL_SCHEME_TICKET:
		return a.spendTicket(ctx, req)
	default:
		return a.verifyToken(ctx, req)
	}
}

func (a *API) verifyToken(ctx context.Context, req *backplanev1.VerifyCredentialRequest) (*backplanev1.VerifyCredentialResponse, error) {
	t, err := a.issuer.ReadApplication(ctx, req.GetCredential())
	expired := errors.Is(err, token.ErrExpired)
	switch {
	case errors.Is(err, token.ErrInvalid):
		return a.denyInvalid(ctx)
	case err != nil && !expired:
		return nil, err
	}
	return a.judgeToken(ctx, t, req.GetVersion())
}

// judgeToken judges a token of ours.
func (a *API) judgeToken(ctx context.Context, t token.ApplicationClaims, version string) (*backplanev1.VerifyCredentialResponse, error) {
	st, err := a.state(ctx, t, version)
	if err != nil {
		return nil, err
	}
	v := a.verdict(st)
	switch {
	case !a.now().Before(t.ExpiresAt):
		return v.deny(backplanev1.Denial_REASON_EXPIRED), nil // no change can end it
	case !st.Known, st.Revoked, st.Over && !st.Suspended:
		// Deleted OAuth clients, revoked tokens and sign-ins that have ended never come back.
		return v.deny(backplanev1.Denial_REASON_REVOKED, store.GrantName(t.ID)), nil
	case st.Elsewhere && !st.Suspended:
		return v.deny(backplanev1.Denial_REASON_INVALID, store.GrantName(t.ID)), nil
	case st.NotOwner && !st.Suspended:
		return v.deny(backplanev1.Denial_REASON_REVOKED, store.GrantName(t.ID), store.UserName(st.User), t.SignIn.String(), version), nil
	}
	return v.ofRights(grantProto(st.Grant, tokenOf(t), version, t.Scopes, t.ExpiresAt)), nil
}

// verdict makes the answer to a credential of which something is known.
type verdict struct {
	st   store.TokenState
	resp *backplanev1.VerifyCredentialResponse
}

func (a *API) verdict(st store.TokenState) verdict {
	return verdict{st, &backplanev1.VerifyCredentialResponse{AsOfChangeNumber: st.AsOf, ServerTime: timestamppb.New(a.now())}}
}

// deny refuses the credential.
func (v verdict) deny(reason backplanev1.Denial_Reason, restsOn ...string) *backplanev1.VerifyCredentialResponse {
	d := &backplanev1.Denial{Reason: reason, RestsOn: restsOn}
	if v.st.Known {
		d.Application = store.ApplicationName(v.st.Application)
	}
	v.resp.Verdict = &backplanev1.VerifyCredentialResponse_Denial{Denial: d}
	return v.resp
}

// ofRights answers with the grant of a good credential, unless its application may not
// use the version.
func (v verdict) ofRights(g *backplanev1.Grant) *backplanev1.VerifyCredentialResponse {
	issuedTo := cmp.Or(g.GetOauthClient(), g.GetApiKey())
	switch {
	case v.st.Suspended:
		return v.deny(backplanev1.Denial_REASON_SUSPENDED, g.GetName(), issuedTo, g.GetApplication(), g.GetUser())
	case v.st.Blocked:
		return v.deny(backplanev1.Denial_REASON_SUBSCRIPTION_BLOCKED,
			g.GetSubscription(), g.GetName(), issuedTo, g.GetApplication(), g.GetUser(), g.GetVersion())
	case !v.st.Subscribed:
		return v.deny(backplanev1.Denial_REASON_NO_SUBSCRIPTION,
			store.PairName(v.st.Application, g.GetVersion()), g.GetName(), issuedTo, g.GetApplication(), g.GetUser(), g.GetVersion())
	}
	v.resp.Verdict = &backplanev1.VerifyCredentialResponse_Grant{Grant: g}
	return v.resp
}

// state returns what is known of a token for a version.
func (a *API) state(ctx context.Context, t token.ApplicationClaims, version string) (store.TokenState, error) {
	if t.TryOut == "" {
		return a.store.TokenState(ctx, tokenOf(t), version)
	}
	st, err := a.store.TryOutState(ctx, tokenOf(t), t.TryOut, store.Stage(t.TryOutStage))
	st.Elsewhere = t.TryOut != version
	return st, err
}

// denyInvalid denies what is no credential of this installation, which no change can
// make one.
func (a *API) denyInvalid(ctx context.Context) (*backplanev1.VerifyCredentialResponse, error) {
	head, err := a.store.Head(ctx)
	if err != nil {
		return nil, err
	}
	return &backplanev1.VerifyCredentialResponse{
		Verdict:          &backplanev1.VerifyCredentialResponse_Denial{Denial: &backplanev1.Denial{Reason: backplanev1.Denial_REASON_INVALID}},
		AsOfChangeNumber: head, ServerTime: timestamppb.New(a.now()),
	}, nil
}

// BatchGetGrants returns the state of grants.
func (a *API) BatchGetGrants(ctx context.Context, req *backplanev1.BatchGetGrantsRequest) (*backplanev1.BatchGetGrantsResponse, error) {
	queries, err := grantQueries(req.GetGrants())
	if err != nil {
		return nil, err
	}
	states, asOf, err := a.store.Grants(ctx, queries)
	if err != nil {
		return nil, err
	}
	resp := &backplanev1.BatchGetGrantsResponse{AsOfChangeNumber: asOf, ServerTime: timestamppb.New(a.now())}
	for i, state := range states {
		q := req.GetGrants()[i]
		out := &backplanev1.GrantState{}
		if state.Ended == backplanev1.GrantEvent_CAUSE_UNSPECIFIED {
			credential, expires := queries[i].Token, queries[i].ExpiresAt
			if q.GetApiKey() != "" {
				credential.Issued, expires = state.Issued, state.ExpiresAt
			}
			out.State = &backplanev1.GrantState_Grant{
				Grant: grantProto(state.Grant, credential, q.GetVersion(), q.GetScopes(), expires),
			}
		} else {
			out.State = &backplanev1.GrantState_Ended{Ended: state.Ended}
		}
		resp.Grants = append(resp.Grants, out)
	}
	return resp, nil
}

// WatchGrants streams every change to what grants and denials rest on.
func (a *API) WatchGrants(stream grpc.BidiStreamingServer[backplanev1.WatchGrantsRequest, backplanev1.WatchGrantsResponse]) error {
	return a.watch.Serve(stream)
}

func grantQueries(all []*backplanev1.GrantQuery) ([]store.GrantQuery, error) {
	var out []store.GrantQuery
	for i, q := range all {
		at := func(field string) string { return fmt.Sprintf("grants[%d].%s", i, field) }
		name, err := resourcename.ParseGrant(at("name"), q.GetName())
		if err != nil {
			return nil, err
		}
		if q.GetApiKey() != "" {
			key, err := resourcename.ParseAPIKey(at("api_key"), q.GetApiKey())
			if err != nil {
				return nil, err
			}
			out = append(out, store.GrantQuery{Token: store.Token{ID: name.Grant}, APIKey: key, Version: q.GetVersion(), Subscribed: q.GetSubscription() != ""})
			continue
		}
		var client resourcename.OAuthClient
		if q.GetOauthClient() != "" || q.GetSignIn() == "" {
			if client, err = resourcename.ParseOAuthClient(at("oauth_client"), q.GetOauthClient()); err != nil {
				return nil, err
			}
		}
		var signIn resourcename.SignIn
		if q.GetSignIn() != "" {
			if signIn, err = resourcename.ParseSignIn(at("sign_in"), q.GetSignIn()); err != nil {
				return nil, err
			}
		}
		var secret resourcename.OAuthClientSecret
		if q.GetSecret() != "" {
			if secret, err = resourcename.ParseOAuthClientSecret(at("secret"), q.GetSecret()); err != nil {
				return nil, err
			}
		}
		if q.GetExpireTime() == nil {
			return nil, fault.Invalid(at("expire_time"), "is required")
		}
		if q.GetExpireTime().CheckValid() != nil {
			return nil, fault.Invalid(at("expire_time"), "must be a time")
		}
		out = append(out, store.GrantQuery{
			Token:       store.Token{ID: name.Grant, SignIn: signIn, Secret: secret.Secret, Issued: moment.Of(q.GetIssuedChangeNumber(), q.GetIssuedChangeTime())},
			OAuthClient: client, Stage: store.Stage(q.GetStage()), Version: q.GetVersion(),
			Subscribed: q.GetSubscription() != "", ExpiresAt: q.GetExpireTime().AsTime(),
		})
	}
	return out, nil
}
