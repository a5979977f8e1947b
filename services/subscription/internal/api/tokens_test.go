package api_test

import (
	"context"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogtest"
)

// signedIn signs a user in who has no password yet, and returns a context with the token and
// the name of the sign-in.
func (w *world) signedIn(username, name string) (ctx context.Context, in *identityv1.SignInResponse, signIn string) {
	w.t.Helper()
	w.password(name, "a long secret for it")
	return w.signedInAgain(username)
}

func (w *world) signedInAgain(username string) (ctx context.Context, in *identityv1.SignInResponse, signIn string) {
	w.t.Helper()
	in, err := w.signIn(username, "a long secret for it")
	w.must(err)
	ctx = bearer(w.t.Context(), in.GetAccessToken())
	for _, s := range w.signInsOf(ctx, "users/me") {
		if s.GetCurrent() {
			signIn = s.GetName()
		}
	}
	return ctx, in, signIn
}

// administrator signs another administrator in.
func (w *world) administrator() (ctx context.Context, name string) {
	w.t.Helper()
	_, name = w.user("chief", "admin")
	ctx, _, _ = w.signedIn("chief", name)
	return ctx, name
}

// hears watches grants, and returns what a gateway heard of the newest change.
func (w *world) hears() (heard func() string) {
	w.t.Helper()
	g := newGateway()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g.follow(ctx, w.gateway.tokens, w.now) }()
	w.t.Cleanup(func() { stop(); <-done })
	heard = func() string {
		w.t.Helper()
		w.must(g.reach(w.t.Context(), w.head()))
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.events[w.head()]
	}
	heard()
	return heard
}

// production is a route that has an endpoint for production.
func (w *world) production(name string, published bool) *backplanev1.Route {
	r := catalogtest.Route(name, w.bobName, published, gold, silver)
	r.Version = path.Base(name)
	r.Endpoints = &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "ws://192.0.2.1/"}}}}
	return r
}

// read reads a grant again, as a gateway does.
func (w *world) read(g *backplanev1.Grant) *backplanev1.GrantState {
	w.t.Helper()
	resp, err := w.gateway.tokens.BatchGetGrants(w.t.Context(), &backplanev1.BatchGetGrantsRequest{Grants: []*backplanev1.GrantQuery{{
		Name: g.GetName(), OauthClient: g.GetOauthClient(), Version: g.GetVersion(), ExpireTime: g.GetExpireTime(), Scopes: g.GetScopes(),
		Subscription: g.GetSubscription(), SignIn: g.GetSignIn(), Stage: g.GetStage(), Secret: g.GetSecret(), IssuedChangeNumber: g.GetIssuedChangeNumber(), IssuedChangeTime: g.GetIssuedChangeTime(),
	}}})
	w.must(err)
	return resp.GetGrants()[0]
}

func TestIssueApplicationToken(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.must(w.store.SaveGateways(t.Context(), []string{"wss://gateway.test"}))
		w.catalog.Put(w.production(v1, true), w.production(v2, false))
		ann, _, signIn := w.signedIn("ann", w.annName)
		app := w.application(ann, "Chat").GetName()
		ask := func(ctx context.Context, version string, stage catalogv1.Stage) (*subscriptionv1.IssuedToken, error) {
			return w.issue.IssueApplicationToken(ctx, &subscriptionv1.IssueApplicationTokenRequest{Application: app, Version: version, Stage: stage})
		}
		refuses := func(what string, ctx context.Context, version string, stage catalogv1.Stage, code codes.Code, text string) {
			t.Helper()
			_, err := ask(ctx, version, stage)
			refused(t, what, err, code, text)
		}
		const production, sandbox = catalogv1.Stage_STAGE_UNSPECIFIED, catalogv1.Stage_STAGE_SANDBOX
		refuses("without an OAuth client", ann, v1, production, codes.FailedPrecondition, app+" has no OAuth client for production: create one")
		c := w.oauthClient(ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		refuses("without a subscription", ann, v1, production, codes.FailedPrecondition, app+" is not subscribed to "+v1)
		sub := w.subscribe(ann, app, v1)
		w.oauthClient(ann, app, sandbox)
		refuses("without an endpoint", ann, v1, sandbox, codes.FailedPrecondition, v1+" has no endpoint for sandbox")
		refuses("not published", ann, v2, production, codes.NotFound, v2+" not found")
		bob, _, _ := w.signedIn("bob", w.bobName)
		admin, _ := w.administrator()
		refuses("another user", bob, v1, production, codes.NotFound, app+" not found")
		refuses("an administrator", admin, v1, production, codes.NotFound, app+" not found")
		refuses("a sign-in that is over", w.guest, v1, production, codes.Unauthenticated, "the sign-in has ended: sign in again")

		issued, err := ask(ann, v1, production)
		w.must(err)
		got := w.verify(issued.GetAccessToken(), v1).GetGrant()
		name := got.GetName()
		want := &backplanev1.Grant{
			Name: name, User: w.annName, Application: app, OauthClient: c.GetName(), Stage: catalogv1.Stage_STAGE_PRODUCTION,
			Subscription: sub.GetName(), Plan: gold, Version: v1, Scopes: []string{"default"}, SignIn: signIn,
			ExpireTime: timestamppb.New(w.now().Add(15 * time.Minute)),
			RestsOn:    []string{name, c.GetName(), app, w.annName, v1, app + "@" + v1, sub.GetName(), signIn}, IssuedChangeNumber: w.head(), IssuedChangeTime: w.latest().Timestamp(),
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || !issued.GetExpireTime().AsTime().Equal(got.GetExpireTime().AsTime()) {
			t.Errorf("the grant (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, w.read(got).GetGrant(), protocmp.Transform()); diff != "" {
			t.Errorf("the grant, read again (-want +got):\n%s", diff)
		}
		if got := w.verify(issued.GetAccessToken(), v2).GetDenial().GetReason(); got != backplanev1.Denial_REASON_INVALID {
			t.Errorf("at another version it is %v, want INVALID", got)
		}
		if !strings.Contains(w.logs.String(), "TOKEN_ISSUED") || strings.Contains(w.logs.String(), issued.GetAccessToken()) {
			t.Error("the security log has no TOKEN_ISSUED, or the token")
		}
		introspect := func() *oauth2v1.IntrospectTokenResponse {
			resp, err := w.oauth.IntrospectToken(t.Context(), &oauth2v1.IntrospectTokenRequest{Token: issued.GetAccessToken(), ClientCredentials: credentials(c)})
			w.must(err)
			return resp
		}
		if in := introspect(); !in.GetActive() || in.GetSubject() != w.annName || in.GetAudience()[0] != "wss://gateway.test/echo/v1" {
			t.Errorf("IntrospectToken() = %v, want it active, the user's, for the version's address", in)
		}
		_, err = w.signIns.DeleteSignIn(ann, &identityv1.DeleteSignInRequest{Name: signIn})
		w.must(err)
		if got := w.verify(issued.GetAccessToken(), v1).GetDenial().GetReason(); got != backplanev1.Denial_REASON_REVOKED {
			t.Errorf("after the sign-in it is %v, want REVOKED", got)
		}
		if got := w.read(got).GetEnded(); got != backplanev1.GrantEvent_CAUSE_SIGN_IN_ENDED {
			t.Errorf("after the sign-in, its grant ended by %v, want SIGN_IN_ENDED", got)
		}
		if introspect().GetActive() {
			t.Error("after the sign-in, it is active")
		}
	})
}

// TestSignInsTakeTokensAlong: however a sign-in ends, gateways hear of it; and a token ends
// before a sign-in that is about to.
func TestSignInsTakeTokensAlong(t *testing.T) {
	w := onSQLite(t)
	w.must(w.store.SaveGateways(t.Context(), []string{"wss://gateway.test"}))
	w.hear(w.production(v1, false))
	bob, in, signIn := w.signedIn("bob", w.bobName)
	issue := func(ctx context.Context) *subscriptionv1.IssuedToken {
		t.Helper()
		issued, err := w.issue.IssueTryOutToken(ctx, &subscriptionv1.IssueTryOutTokenRequest{Version: v1})
		w.must(err)
		return issued
	}
	heard := w.hears()
	for what, end := range map[string]func(){
		"sign-out": func() {
			_, err := w.signIns.SignOut(t.Context(), &identityv1.SignOutRequest{RefreshToken: in.GetRefreshToken()})
			w.must(err)
		},
		"a new password": func() { w.password(w.bobName, "a long secret for it") },
	} {
		token := issue(bob).GetAccessToken()
		end()
		if e := heard(); e != "CAUSE_SIGN_IN_ENDED ["+signIn+"]" {
			t.Errorf("%s: gateways hear %q, want that %s ended", what, e, signIn)
		}
		if got := w.verify(token, v1).GetDenial().GetReason(); got != backplanev1.Denial_REASON_REVOKED {
			t.Errorf("%s: the token is %v, want REVOKED", what, got)
		}
		bob, in, signIn = w.signedInAgain("bob")
	}
	token := issue(bob).GetAccessToken()
	_, err := w.users.SuspendUser(w.root, &identityv1.SuspendUserRequest{Name: w.bobName})
	w.must(err)
	if e := heard(); e != "CAUSE_USER_SUSPENDED ["+w.bobName+"]" || w.verify(token, v1).GetDenial() == nil {
		t.Errorf("suspension: gateways hear %q, want USER_SUSPENDED, and the token refused", e)
	}
	_, err = w.users.RestoreUser(w.root, &identityv1.RestoreUserRequest{Name: w.bobName})
	w.must(err)
	if w.verify(token, v1).GetDenial() == nil {
		t.Error("the token is good again once its user is restored")
	}
	_, in, _ = w.signedInAgain("bob")
	for range 9 { // 3 days are the most that a sign-in lasts
		w.add(8*time.Hour - time.Minute)
		in, err = w.refresh(in.GetRefreshToken())
		w.must(err)
	}
	if got := issue(bearer(t.Context(), in.GetAccessToken())).GetExpireTime().AsTime().Sub(w.now()); got != 9*time.Minute {
		t.Errorf("9 minutes before the end of its sign-in, a token is good for %v", got)
	}
}

func TestIssueTryOutToken(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.must(w.store.SaveGateways(t.Context(), []string{"wss://gateway.test"}))
		w.catalog.Put(w.production(v1, false), w.production(v2, true))
		bob, _, signIn := w.signedIn("bob", w.bobName)
		ann, _, _ := w.signedIn("ann", w.annName)
		admin, adminName := w.administrator()
		ask := func(ctx context.Context, version string, stage catalogv1.Stage) (*subscriptionv1.IssuedToken, error) {
			return w.issue.IssueTryOutToken(ctx, &subscriptionv1.IssueTryOutTokenRequest{Version: version, Stage: stage})
		}
		_, err := ask(ann, v1, 0)
		refused(t, "who does not see it", err, codes.NotFound, v1+" not found")
		_, err = ask(ann, v2, 0)
		refused(t, "who does not own it", err, codes.PermissionDenied, "only its owner and administrators may try a version out")
		_, err = ask(bob, v1, catalogv1.Stage_STAGE_SANDBOX)
		refused(t, "a stage without an endpoint", err, codes.FailedPrecondition, v1+" has no endpoint for sandbox")
		_, err = ask(bob, "apis/a/versions/none", 0)
		refused(t, "no version", err, codes.NotFound, "apis/a/versions/none not found")

		issued, err := ask(bob, v1, 0)
		w.must(err)
		byAdmin, err := ask(admin, v1, 0)
		w.must(err)
		got, ofAdmin := w.verify(issued.GetAccessToken(), v1).GetGrant(), w.verify(byAdmin.GetAccessToken(), v1).GetGrant()
		want := &backplanev1.Grant{
			Name: got.GetName(), User: w.bobName, Application: "applications/try-out", Stage: catalogv1.Stage_STAGE_PRODUCTION, Version: v1,
			Scopes: []string{"default"}, SignIn: signIn, ExpireTime: timestamppb.New(w.now().Add(15 * time.Minute)),
			RestsOn: []string{got.GetName(), w.bobName, v1, signIn}, IssuedChangeNumber: w.head(), IssuedChangeTime: w.latest().Timestamp(),
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("the grant (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, w.read(got).GetGrant(), protocmp.Transform()); diff != "" {
			t.Errorf("the grant, read again (-want +got):\n%s", diff)
		}
		if got := w.verify(issued.GetAccessToken(), v2).GetDenial().GetReason(); got != backplanev1.Denial_REASON_INVALID {
			t.Errorf("at another version it is %v, want INVALID", got)
		}
		given := w.production(v1, false)
		given.Owner = w.annName
		heard := w.hears()
		w.hear(given)
		if e := heard(); e != "CAUSE_UNSPECIFIED ["+v1+"]" {
			t.Errorf("once the version has another owner, gateways hear %q, want that they read its grants", e)
		}
		if got := w.read(got).GetEnded(); got != backplanev1.GrantEvent_CAUSE_NOT_OWNER {
			t.Errorf("once the version has another owner, the grant ended by %v, want NOT_OWNER", got)
		}
		if got := w.verify(issued.GetAccessToken(), v1).GetDenial().GetReason(); got != backplanev1.Denial_REASON_REVOKED {
			t.Errorf("once the version has another owner, the token is %v, want REVOKED", got)
		}
		if w.read(ofAdmin).GetGrant() == nil {
			t.Error("an administrator's grant ended with the owner's")
		}
		_, err = w.users.UpdateUser(w.root, &identityv1.UpdateUserRequest{
			User: &identityv1.User{Name: adminName, Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"roles"}},
		})
		w.must(err)
		if e := heard(); e != "CAUSE_UNSPECIFIED ["+adminName+"]" || w.read(ofAdmin).GetEnded() != backplanev1.GrantEvent_CAUSE_NOT_OWNER {
			t.Errorf("once the user is no administrator, gateways hear %q, and the grant is %v", e, w.read(ofAdmin))
		}
	})
}
