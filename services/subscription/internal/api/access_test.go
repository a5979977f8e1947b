package api_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/access"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// password gives a user a password, by the administrator.
func (w *world) password(name, password string) {
	w.t.Helper()
	_, err := w.users.ChangePassword(w.root, &identityv1.ChangePasswordRequest{Name: name, NewPassword: password})
	w.must(err)
}

// me calls with an access token and returns the error.
func (w *world) me(raw string) error {
	_, err := w.users.GetUser(bearer(w.t.Context(), raw), &identityv1.GetUserRequest{Name: "users/me"})
	return err
}

// TestSuspendedUserIsOut suspends a user: sign-ins and access tokens of the user end
// at once, and the credentials of the user's applications are refused. Restored, the
// user comes in again.
func TestSuspendedUserIsOut(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		app := w.application(w.ann, "one").GetName()
		client := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		w.subscribe(w.ann, app, v1)
		credential := w.token(client)
		w.password(w.annName, "a password of hers")
		in, err := w.signIn("ann", "a password of hers")
		w.must(err)

		u, err := w.users.SuspendUser(w.root, &identityv1.SuspendUserRequest{Name: w.annName})
		w.must(err)
		if u.GetState() != identityv1.User_STATE_SUSPENDED {
			t.Errorf("SuspendUser() = %v, want suspended", u)
		}
		refused(t, "a call", w.me(in.GetAccessToken()), codes.Unauthenticated, accessEnded)
		_, err = w.refresh(in.GetRefreshToken())
		refused(t, "RefreshSignIn", err, codes.Unauthenticated, signInEnded)
		_, err = w.signIn("ann", "a password of hers")
		refused(t, "SignIn", err, codes.PermissionDenied, "the user is suspended: ask an administrator")
		_, err = w.signIn("ann", "not the password")
		refused(t, "SignIn(wrong password)", err, codes.Unauthenticated, wrongPassword)
		denied := w.verify(credential, v1)
		if got := denied.GetDenial(); got.GetReason() != backplanev1.Denial_REASON_SUSPENDED || !strings.Contains(strings.Join(got.GetRestsOn(), " "), w.annName) {
			t.Errorf("VerifyCredential = %v, want a denial that rests on the user", denied)
		}
		_, err = w.oauth.IssueToken(t.Context(), &oauth2v1.IssueTokenRequest{GrantType: "client_credentials", ClientCredentials: credentials(client)})
		refused(t, "IssueToken", err, codes.Unauthenticated, "the OAuth client is not known, or its secret is wrong")
		before := w.head()
		again, err := w.users.SuspendUser(w.root, &identityv1.SuspendUserRequest{Name: w.annName})
		if err != nil || !proto.Equal(again, u) || w.head() != before {
			t.Errorf("SuspendUser again = %v, %v, want %v and no change", again, err, u)
		}

		u, err = w.users.RestoreUser(w.root, &identityv1.RestoreUserRequest{Name: w.annName, Etag: u.GetEtag()})
		if err != nil || u.GetState() != identityv1.User_STATE_ACTIVE {
			t.Errorf("RestoreUser() = %v, %v, want active", u, err)
		}
		before = w.head()
		again, err = w.users.RestoreUser(w.root, &identityv1.RestoreUserRequest{Name: w.annName})
		if err != nil || !proto.Equal(again, u) || w.head() != before {
			t.Errorf("RestoreUser again = %v, %v, want %v and no change", again, err, u)
		}
		refused(t, "a call with the token from before", w.me(in.GetAccessToken()), codes.Unauthenticated, accessEnded)
		in, err = w.signIn("ann", "a password of hers")
		w.must(err)
		w.must(w.me(in.GetAccessToken()))
		if got := w.verify(credential, v1); got.GetGrant() == nil {
			t.Errorf("VerifyCredential after RestoreUser = %v, want a grant", got)
		}
	})
}

// TestGrantOfSuspendedUserHasEnded reads the grant of a live session again, as a
// gateway does that was cut off while the user was suspended.
func TestGrantOfSuspendedUserHasEnded(t *testing.T) {
	w := onSQLite(t)
	w.publish(v1)
	app := w.application(w.ann, "one").GetName()
	client := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
	w.subscribe(w.ann, app, v1)
	g := w.verify(w.token(client), v1).GetGrant()
	_, err := w.users.SuspendUser(w.root, &identityv1.SuspendUserRequest{Name: w.annName})
	w.must(err)
	got, err := w.gateway.tokens.BatchGetGrants(t.Context(), &backplanev1.BatchGetGrantsRequest{Grants: []*backplanev1.GrantQuery{{
		Name: g.GetName(), OauthClient: g.GetOauthClient(), Version: g.GetVersion(), ExpireTime: g.GetExpireTime(),
	}}})
	w.must(err)
	if ended := got.GetGrants()[0].GetEnded(); ended != backplanev1.GrantEvent_CAUSE_USER_SUSPENDED {
		t.Errorf("BatchGetGrants = %v, want it ended because the user is suspended", got)
	}
}

// TestOtherServicesHearWhoIsOut follows WatchUsers as the catalog does: what ends a
// user's access is known there once it is applied, and also to a watcher that comes
// later.
func TestOtherServicesHearWhoIsOut(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		first := w.watchUsers("catalog-1")
		var header metadata.MD
		// Each ends the access of a user; who wants to know is given the last change.
		for what, end := range map[string]func(name, signIn string) error{
			"roles": func(name, _ string) error {
				_, err := w.users.UpdateUser(w.root, &identityv1.UpdateUserRequest{
					User: &identityv1.User{Name: name, Roles: []identityv1.User_Role{identityv1.User_ROLE_PUBLISHER}},
				}, grpc.Header(&header))
				return err
			},
			"suspended": func(name, _ string) error {
				_, err := w.users.SuspendUser(w.root, &identityv1.SuspendUserRequest{Name: name}, grpc.Header(&header))
				return err
			},
			"deleted": func(name, _ string) error {
				_, err := w.users.DeleteUser(w.root, &identityv1.DeleteUserRequest{Name: name}, grpc.Header(&header))
				return err
			},
			"password": func(name, _ string) error {
				_, err := w.users.ChangePassword(w.root, &identityv1.ChangePasswordRequest{Name: name, NewPassword: "something else entirely"}, grpc.Header(&header))
				return err
			},
			"sign-in": func(name, signIn string) error {
				_, err := w.signIns.DeleteSignIn(w.root, &identityv1.DeleteSignInRequest{Name: name + "/signIns/" + signIn}, grpc.Header(&header))
				return err
			},
		} {
			p, _, err := w.store.CreateUser(t.Context(), requestid.Request{}, store.User{Username: what, Roles: []string{"creator"}}, "hash")
			w.must(err)
			in, _, err := w.store.CreateSignIn(t.Context(), p.ID, "hash", store.Device{}, store.Lasting{Idle: time.Hour, Most: time.Hour})
			w.must(err)
			before := identity.User{Name: store.UserName(p.ID), SignIn: in.ID, AsOf: in.AsOf}
			w.must(end(before.Name, in.ID))
			w.applied(header)
			after := before
			after.AsOf = w.latest()
			for name, watcher := range map[string]*access.Watch{"first": first, "later": w.watchUsers("catalog-" + what)} {
				w.ended(what+", "+name, watcher, before, true)
				w.ended(what+", "+name+", a token from after it", watcher, after, false)
				w.ended(what+", "+name+", another user", watcher, identity.User{Name: w.annName, SignIn: "s"}, false)
			}
		}
	})
}

func (w *world) ended(what string, watcher *access.Watch, u identity.User, want bool) {
	w.t.Helper()
	if got, err := watcher.Ended(w.t.Context(), u); got != want || err != nil {
		w.t.Errorf("%s: ended = %v, %v, want %v", what, got, err, want)
	}
}

// watchUsers starts a watcher, and waits until it has its snapshot.
func (w *world) watchUsers(instance string) *access.Watch {
	w.t.Helper()
	watcher := access.New(backplanev1.NewAccessServiceClient(w.gateway.conn), identity.Catalog, instance, slog.New(slog.DiscardHandler), w.now)
	w.serve(watcher.Run)
	for ctx := w.t.Context(); watcher.Health() != nil; {
		if !waitMoment(ctx) {
			w.t.Fatal(watcher.Health())
		}
	}
	return watcher
}

// waitMoment lets others run, and returns false when the test is over.
func waitMoment(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Millisecond):
		return true
	}
}

// applied waits until watchers have applied the change in a write's header.
func (w *world) applied(header metadata.MD) {
	w.t.Helper()
	answer, err := w.changes.WaitChange(w.root, &changev1.WaitChangeRequest{Name: header.Get("tidegate-change")[0]})
	w.must(err)
	if !answer.GetApplied() {
		w.t.Fatalf("not applied by %v", answer.GetPendingWatchers())
	}
}
