package grants

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// VerifyCredential judges a credential for a version. Every verdict names all that
// it rests on: until an event touches one of these names, the same credential gets
// the same verdict.
func (a *API) VerifyCredential(ctx context.Context, req *backplanev1.VerifyCredentialRequest) (*backplanev1.VerifyCredentialResponse, error) {
	t, err := a.issuer.ReadApplication(ctx, req.GetCredential())
	expired := errors.Is(err, token.ErrExpired)
	switch {
	case errors.Is(err, token.ErrInvalid):
		return a.denyInvalid(ctx)
	case err != nil && !expired:
		return nil, err
	}
	st, err := a.state(ctx, t, req.GetVersion())
	if err != nil {
		return nil, err
	}
	resp := &backplanev1.VerifyCredentialResponse{AsOfChangeNumber: st.AsOf, ServerTime: timestamppb.New(a.now())}
	deny := func(reason backplanev1.Denial_Reason, restsOn ...string) {
		d := &backplanev1.Denial{Reason: reason, RestsOn: restsOn}
		if st.Known {
			d.Application = store.ApplicationName(st.Application)
		}
		resp.Verdict = &backplanev1.VerifyCredentialResponse_Denial{Denial: d}
	}
	switch {
	case expired:
		deny(backplanev1.Denial_REASON_EXPIRED) // no change can end it
	case !st.Known, st.Revoked, st.Over:
		// Deleted OAuth clients, revoked tokens and sign-ins that have ended never come back.
		deny(backplanev1.Denial_REASON_REVOKED, store.GrantName(t.ID))
	case st.Suspended:
		deny(backplanev1.Denial_REASON_SUSPENDED,
			store.GrantName(t.ID), oauthClientName(st.Grant), store.ApplicationName(st.Application), store.UserName(st.User))
	case st.Elsewhere:
		deny(backplanev1.Denial_REASON_INVALID, store.GrantName(t.ID))
	case st.NotOwner:
		deny(backplanev1.Denial_REASON_REVOKED, store.GrantName(t.ID), store.UserName(st.User), t.SignIn.String(), req.GetVersion())
	case st.Blocked:
		deny(backplanev1.Denial_REASON_SUBSCRIPTION_BLOCKED,
			store.SubscriptionName(st.Subscription), store.GrantName(t.ID), oauthClientName(st.Grant),
			store.ApplicationName(st.Application), store.UserName(st.User), req.GetVersion())
	case !st.Subscribed:
		deny(backplanev1.Denial_REASON_NO_SUBSCRIPTION,
			store.PairName(st.Application, req.GetVersion()), store.GrantName(t.ID), oauthClientName(st.Grant),
			store.ApplicationName(st.Application), store.UserName(st.User), req.GetVersion())
	default:
		resp.Verdict = &backplanev1.VerifyCredentialResponse_Grant{
			Grant: grantProto(st.Grant, t.ID, t.SignIn, req.GetVersion(), t.Scopes, t.ExpiresAt),
		}
	}
	return resp, nil
}

// state returns what is known of a token for a version.
func (a *API) state(ctx context.Context, t token.ApplicationClaims, version string) (store.TokenState, error) {
	if t.TryOut == "" {
		return a.store.TokenState(ctx, store.Token{ID: t.ID, ClientID: t.ClientID, SignIn: t.SignIn, Resource: t.Resource}, version)
	}
	st, err := a.store.TryOutState(ctx, t.SignIn, t.TryOut, store.Stage(t.TryOutStage))
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
	resp := &backplanev1.BatchGetGrantsResponse{AsOfChangeNumber: asOf}
	for i, state := range states {
		q := req.GetGrants()[i]
		out := &backplanev1.GrantState{}
		if state.Ended == backplanev1.GrantEvent_CAUSE_UNSPECIFIED {
			out.State = &backplanev1.GrantState_Grant{
				Grant: grantProto(state.Grant, queries[i].TokenID, queries[i].SignIn, q.GetVersion(), q.GetScopes(), queries[i].ExpiresAt),
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
		if err := q.GetExpireTime().CheckValid(); err != nil {
			return nil, fault.Invalid(at("expire_time"), "must be a time")
		}
		out = append(out, store.GrantQuery{
			TokenID: name.Grant, OAuthClient: client, Stage: store.Stage(q.GetStage()), SignIn: signIn, Version: q.GetVersion(),
			Subscribed: q.GetSubscription() != "", ExpiresAt: q.GetExpireTime().AsTime(),
		})
	}
	return out, nil
}
