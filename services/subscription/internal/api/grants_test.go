package api_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

func TestVerifyCredential(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1, v2)
		app := w.application(w.ann, "Chat")
		c := w.oauthClient(w.ann, app.GetName(), catalogv1.Stage_STAGE_SANDBOX)
		sub := w.subscribe(w.ann, app.GetName(), v1)
		raw := w.token(c)
		got := w.verify(raw, v1)
		grant := got.GetGrant().GetName()
		want := &backplanev1.VerifyCredentialResponse{
			Verdict: &backplanev1.VerifyCredentialResponse_Grant{Grant: &backplanev1.Grant{
				Name: grant, User: w.annName, Application: app.GetName(), OauthClient: c.GetName(),
				Stage: catalogv1.Stage_STAGE_SANDBOX, Subscription: sub.GetName(), Plan: gold, Version: v1,
				Scopes: []string{"default"}, ExpireTime: timestamppb.New(w.now().Add(time.Hour)),
				RestsOn: []string{grant, c.GetName(), app.GetName(), w.annName, v1, app.GetName() + "@" + v1, sub.GetName()},
				Secret:  c.secret.GetName(), IssuedChangeNumber: w.head(), IssuedChangeTime: w.latest().Timestamp(),
			}},
			AsOfChangeNumber: w.head(), ServerTime: timestamppb.New(w.now()),
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || len(grant) < len("grants/")+16 {
			t.Errorf("VerifyCredential() (-want +got):\n%s", diff)
		}
		denied := w.verify(raw, v2)
		wantDenied := &backplanev1.VerifyCredentialResponse{
			Verdict: &backplanev1.VerifyCredentialResponse_Denial{Denial: &backplanev1.Denial{
				Reason:  backplanev1.Denial_REASON_NO_SUBSCRIPTION,
				RestsOn: []string{app.GetName() + "@" + v2, grant, c.GetName(), app.GetName(), w.annName, v2}, Application: app.GetName(),
			}},
			AsOfChangeNumber: w.head(), ServerTime: timestamppb.New(w.now()),
		}
		if diff := cmp.Diff(wantDenied, denied, protocmp.Transform()); diff != "" {
			t.Errorf("VerifyCredential(not subscribed) (-want +got):\n%s", diff)
		}
		user := w.userToken(w.annName, "admin")
		for name, tt := range map[string]struct {
			credential string
			want       backplanev1.Denial_Reason
		}{
			"nonsense":        {"nonsense", backplanev1.Denial_REASON_INVALID},
			"all-zero UUID":   {"00000000-0000-0000-0000-000000000000", backplanev1.Denial_REASON_INVALID},
			"a user's token":  {user, backplanev1.Denial_REASON_INVALID},
			"a client secret": {c.secret.GetSecret(), backplanev1.Denial_REASON_INVALID},
		} {
			got := w.verify(tt.credential, v1)
			if got.GetDenial().GetReason() != tt.want || got.GetAsOfChangeNumber() != w.head() {
				t.Errorf("VerifyCredential(%s) = %v, want %v", name, got, tt.want)
			}
		}
		revoked := w.token(c)
		_, err := w.oauth.RevokeToken(t.Context(), &oauth2v1.RevokeTokenRequest{Token: revoked, ClientCredentials: credentials(c)})
		w.must(err)
		if got := w.verify(revoked, v1).GetDenial(); got.GetReason() != backplanev1.Denial_REASON_REVOKED || got.GetApplication() != app.GetName() {
			t.Errorf("VerifyCredential(revoked) = %v, want REVOKED, and whose it was", got)
		}
		w.add(time.Hour)
		if got := w.verify(raw, v1).GetDenial(); got.GetReason() != backplanev1.Denial_REASON_EXPIRED || got.GetApplication() != app.GetName() {
			t.Errorf("VerifyCredential(an hour later) = %v, want EXPIRED, and whose it was", got)
		}
	})
}

// TestBatchGetGrants reads grants that have ended in every way.
func TestBatchGetGrants(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1, v2)
		app, gone := w.application(w.ann, "Chat").GetName(), w.application(w.ann, "Gone").GetName()
		c := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		deleted := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_SANDBOX)
		goneClient := w.oauthClient(w.ann, gone, catalogv1.Stage_STAGE_PRODUCTION)
		w.subscribe(w.ann, app, v1)
		sub2 := w.subscribe(w.ann, app, v2)
		w.subscribe(w.ann, gone, v1)
		live, revoked := w.token(c), w.token(c)
		grants := []*backplanev1.Grant{
			w.verify(live, v1).GetGrant(), w.verify(revoked, v1).GetGrant(), w.verify(w.token(deleted), v1).GetGrant(),
			w.verify(w.token(goneClient), v1).GetGrant(), w.verify(live, v2).GetGrant(), w.verify(live, v1).GetGrant(),
		}
		var queries []*backplanev1.GrantQuery
		for _, g := range grants {
			queries = append(queries, &backplanev1.GrantQuery{
				Name: g.GetName(), OauthClient: g.GetOauthClient(), Version: g.GetVersion(), ExpireTime: g.GetExpireTime(), Scopes: g.GetScopes(),
				Subscription: g.GetSubscription(), Secret: g.GetSecret(), IssuedChangeNumber: g.GetIssuedChangeNumber(), IssuedChangeTime: g.GetIssuedChangeTime(),
			})
		}
		queries[5].ExpireTime = timestamppb.New(w.now())
		_, err := w.oauth.RevokeToken(t.Context(), &oauth2v1.RevokeTokenRequest{Token: revoked, ClientCredentials: credentials(c)})
		w.must(err)
		_, err = w.apps.DeleteOAuthClient(w.ann, &subscriptionv1.DeleteOAuthClientRequest{Name: deleted.GetName()})
		w.must(err)
		_, err = w.apps.DeleteApplication(w.ann, &subscriptionv1.DeleteApplicationRequest{Name: gone})
		w.must(err)
		_, err = w.subs.DeleteSubscription(w.ann, &subscriptionv1.DeleteSubscriptionRequest{Name: sub2.GetName()})
		w.must(err)
		resp, err := w.gateway.tokens.BatchGetGrants(t.Context(), &backplanev1.BatchGetGrantsRequest{Grants: queries})
		w.must(err)
		if diff := cmp.Diff(grants[0], resp.GetGrants()[0].GetGrant(), protocmp.Transform()); diff != "" || resp.GetAsOfChangeNumber() != w.head() {
			t.Errorf("a grant that holds, as of %d (-want +got):\n%s", resp.GetAsOfChangeNumber(), diff)
		}
		var causes []backplanev1.GrantEvent_Cause
		for _, s := range resp.GetGrants()[1:] {
			causes = append(causes, s.GetEnded())
		}
		want := []backplanev1.GrantEvent_Cause{
			backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, backplanev1.GrantEvent_CAUSE_OAUTH_CLIENT_DELETED,
			backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED, backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_DELETED,
			backplanev1.GrantEvent_CAUSE_EXPIRED,
		}
		if !slices.Equal(want, causes) {
			t.Errorf("causes = %v, want %v", causes, want)
		}
	})
}
