package api_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// events returns the security events that were logged, without their time.
func (w *world) events() (all []string) {
	for line := range strings.Lines(w.logs.String()) {
		if _, event, ok := strings.Cut(line, `msg="security event" `); ok {
			all = append(all, strings.TrimSpace(event))
		}
	}
	return all
}

// signInID is the end of the name of a sign-in.
var signInID = regexp.MustCompile(`/signIns/[a-z0-9-]+`)

// TestSecurityLog does what operators want to hear of, and reads who did it, what it was
// done to, and why it was refused. No secret is in it.
func TestSecurityLog(t *testing.T) {
	w := onSQLite(t)
	ctx := t.Context()
	_, err := w.signIn("admin", "not the password")
	if err == nil {
		t.Error("a wrong password signs in")
	}
	in, err := w.signIn("admin", adminPassword)
	w.must(err)
	_, _ = w.users.ListUsers(w.ann, &identityv1.ListUsersRequest{})
	_, _ = w.users.ListUsers(bearer(ctx, "nonsense"), &identityv1.ListUsersRequest{})
	_, _ = w.users.ListUsers(ctx, &identityv1.ListUsersRequest{})
	eve, err := w.users.CreateUser(w.root, &identityv1.CreateUserRequest{
		User: &identityv1.User{Username: "eve", Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR}},
	})
	w.must(err)
	_, err = w.users.ChangePassword(w.root, &identityv1.ChangePasswordRequest{Name: eve.GetName(), NewPassword: "a long enough one"})
	w.must(err)
	_, err = w.users.UpdateUser(w.root, &identityv1.UpdateUserRequest{
		User: &identityv1.User{Name: eve.GetName(), Roles: []identityv1.User_Role{identityv1.User_ROLE_PUBLISHER, identityv1.User_ROLE_SUBSCRIBER}},
	})
	w.must(err)
	app := w.application(w.ann, "app")
	c := w.oauthClient(w.ann, app.GetName(), catalogv1.Stage_STAGE_PRODUCTION)
	raw := w.token(c)
	_, _ = w.oauth.IssueToken(ctx, &oauth2v1.IssueTokenRequest{
		GrantType: "client_credentials", ClientCredentials: &oauth2v1.ClientCredentials{ClientId: c.GetClientId(), ClientSecret: "guess"},
	})
	_, err = w.oauth.RevokeToken(ctx, &oauth2v1.RevokeTokenRequest{Token: raw, ClientCredentials: credentials(c)})
	w.must(err)
	_, err = w.apps.DeleteOAuthClientSecret(w.ann, &subscriptionv1.DeleteOAuthClientSecretRequest{Name: c.secret.GetName()})
	w.must(err)
	_, err = w.apps.DeleteApplication(w.ann, &subscriptionv1.DeleteApplicationRequest{Name: app.GetName()})
	w.must(err)
	_, err = w.users.DeleteUser(w.root, &identityv1.DeleteUserRequest{Name: eve.GetName()})
	w.must(err)
	_, err = w.signIns.SignOut(ctx, &identityv1.SignOutRequest{RefreshToken: in.GetRefreshToken()})
	w.must(err)

	var got []string
	for _, event := range w.events() {
		kind, _, _ := strings.Cut(event, " what=grants/")
		kind = signInID.ReplaceAllString(kind, "/signIns/…")
		got = append(got, kind)
	}
	want := []string{
		`event=SIGN_IN_FAILED method=SignIn what=admin why="wrong username or password"`,
		`event=SIGNED_IN who=` + w.rootName + ` method=SignIn what=admin`,
		`event=DENIED who=` + w.annName + ` method=ListUsers why="this needs the role admin"`,
		`event=TOKEN_REFUSED method=ListUsers why="the token is not a user's access token"`,
		`event=USER_CHANGED who=` + w.rootName + ` method=CreateUser what=` + eve.GetName() + ` why="created as eve with the roles creator"`,
		`event=PASSWORD_CHANGED who=` + w.rootName + ` method=ChangePassword what=` + eve.GetName(),
		`event=ROLES_CHANGED who=` + w.rootName + ` method=UpdateUser what=` + eve.GetName() + ` why="from creator to publisher, subscriber"`,
		`event=SECRET_MADE who=` + w.annName + ` method=CreateOAuthClientSecret what=` + c.secret.GetName(),
		`event=CLIENT_REFUSED method=IssueToken what=` + c.GetClientId() + ` why="the OAuth client is not known, or its secret is wrong"`,
		`event=REVOKED who=` + c.GetName() + ` method=RevokeToken`,
		`event=REVOKED who=` + w.annName + ` method=DeleteOAuthClientSecret what=` + c.secret.GetName(),
		`event=REVOKED who=` + w.annName + ` method=DeleteApplication what=` + app.GetName(),
		`event=USER_CHANGED who=` + w.rootName + ` method=DeleteUser what=` + eve.GetName() + ` why=deleted`,
		`event=SIGN_IN_ENDED who=` + w.rootName + ` method=SignOut what=` + w.rootName + `/signIns/… why="signed out"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("security events (-want +got):\n%s", diff)
	}
	log := strings.Join(w.events(), "\n")
	for _, secret := range []string{adminPassword, "not the password", "a long enough one", "guess", raw, c.secret.GetSecret(), in.GetRefreshToken()} {
		if strings.Contains(log, secret) {
			t.Errorf("the security log has the secret %q", secret)
		}
	}
}

// TestSecurityLogOfSignInsThatEndTogether changes a password: operators hear which
// sign-ins have ended by it.
func TestSecurityLogOfSignInsThatEndTogether(t *testing.T) {
	w := onSQLite(t)
	lost, err := w.signIn("admin", adminPassword)
	w.must(err)
	here, err := w.signIn("admin", adminPassword)
	w.must(err)
	admin := bearer(t.Context(), here.GetAccessToken())
	ended := ""
	for _, in := range w.signInsOf(admin, "users/me") {
		if !in.GetCurrent() {
			ended = in.GetName()
		}
	}
	_, err = w.users.ChangePassword(admin, &identityv1.ChangePasswordRequest{
		Name: "users/me", CurrentPassword: adminPassword, NewPassword: "correct horse battery",
	})
	w.must(err)
	refused(t, "a call with the token of the other", w.me(lost.GetAccessToken()), codes.Unauthenticated, accessEnded)
	log := strings.Join(w.events(), "\n")
	if want := "event=SIGN_IN_ENDED who=" + w.rootName + " method=ChangePassword what=" + ended + ` why="the password was changed"`; !strings.Contains(log, want) {
		t.Errorf("security events:\n%s\nwant %s", log, want)
	}
}

// TestListSecurityEvents reads back what the security log has, by pages and with filters.
func TestListSecurityEvents(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		begun := w.now()
		list := func(req *identityv1.ListSecurityEventsRequest) []*identityv1.SecurityEvent {
			t.Helper()
			w.must(w.kept.Flush(t.Context()))
			var all []*identityv1.SecurityEvent
			for {
				resp, err := w.security.ListSecurityEvents(w.root, req)
				w.must(err)
				all = append(all, resp.GetSecurityEvents()...)
				if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
					return all
				}
			}
		}
		if all := list(&identityv1.ListSecurityEventsRequest{}); len(all) != 0 {
			t.Errorf("events of nobody: %v", all)
		}
		_, err := w.signInAt("192.0.2.7", "ADMIN", "not the password", "")
		refused(t, "a wrong password", err, codes.Unauthenticated, wrongPassword)
		w.add(time.Minute)
		_, err = w.signInAt("192.0.2.7", "admin", adminPassword, "")
		w.must(err)
		_, err = w.users.SuspendUser(w.root, &identityv1.SuspendUserRequest{Name: w.annName})
		w.must(err)
		all := list(&identityv1.ListSecurityEventsRequest{PageSize: 1})
		want := []*identityv1.SecurityEvent{
			{
				Time: timestamppb.New(w.now()), Event: "USER_CHANGED", Actor: w.rootName, ActorDisplayName: "admin", Method: "SuspendUser",
				Subject: w.annName, User: w.annName, Username: "ann", Detail: "suspended",
			},
			{
				Time: timestamppb.New(w.now()), Event: "SIGNED_IN", Actor: w.rootName, ActorDisplayName: "admin", ClientAddress: "192.0.2.7", Method: "SignIn",
				Subject: "admin",
			},
			{
				Time: timestamppb.New(begun), Event: "SIGN_IN_FAILED", ClientAddress: "192.0.2.7", Method: "SignIn",
				Subject: "ADMIN", User: w.rootName, Username: "admin", Detail: "wrong username or password",
			},
		}
		if diff := cmp.Diff(want, all, protocmp.Transform()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		for filter, want := range map[string][]string{
			`event = "SIGNED_IN"`:                             {"SIGNED_IN"},
			`user = "Ann"`:                                    {"USER_CHANGED"},
			`user = "` + w.annName + `"`:                      {"USER_CHANGED"},
			`user = "users/me" AND event = "SIGN_IN_FAILED"`:  {"SIGN_IN_FAILED"},
			`client_address = "::ffff:192.0.2.7"`:             {"SIGNED_IN", "SIGN_IN_FAILED"},
			`client_address = "192.0.2.8"`:                    nil,
			`user = "users/gone"`:                             nil,
			`user = "admin" AND client_address = "192.0.2.7"`: {"SIGNED_IN", "SIGN_IN_FAILED"},
		} {
			var got []string
			for _, e := range list(&identityv1.ListSecurityEventsRequest{Filter: filter}) {
				got = append(got, e.GetEvent())
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("events with %s (-want +got):\n%s", filter, diff)
			}
		}
		if got := list(&identityv1.ListSecurityEventsRequest{StartTime: timestamppb.New(begun), EndTime: timestamppb.New(begun.Add(time.Second))}); len(got) != 1 {
			t.Errorf("events of a second: %v, want one", got)
		}
		for range 15 {
			_, _ = w.users.ListUsers(w.guest, &identityv1.ListUsersRequest{})
		}
		w.add(time.Second)
		_, _ = w.users.ListUsers(w.guest, &identityv1.ListUsersRequest{})
		denied := list(&identityv1.ListSecurityEventsRequest{Filter: `event = "DENIED"`})
		if len(denied) != 12 || denied[1].GetLeftOut() != 5 || denied[1].GetActor() != "" || denied[0].GetLeftOut() != 0 {
			t.Errorf("a flood is %d events %v, want ten, five left out, and one", len(denied), denied)
		}
		for _, tt := range []struct {
			name string
			ctx  context.Context
			req  *identityv1.ListSecurityEventsRequest
			code codes.Code
			text string
		}{
			{"a user", w.ann, &identityv1.ListSecurityEventsRequest{}, codes.Unauthenticated, accessEnded},
			{"a creator", w.guest, &identityv1.ListSecurityEventsRequest{}, codes.PermissionDenied, "this needs the role admin"},
			{"another field", w.root, &identityv1.ListSecurityEventsRequest{Filter: `who = "ann"`}, codes.InvalidArgument, `filter: no field "who": there are event, user, client_address`},
			{"no user", w.root, &identityv1.ListSecurityEventsRequest{Filter: `user = "nobody"`}, codes.NotFound, `user "nobody" not found`},
			{"no name", w.root, &identityv1.ListSecurityEventsRequest{Filter: `user = "users/A"`}, codes.InvalidArgument, "filter: user must be users/{user}"},
			{"no address", w.root, &identityv1.ListSecurityEventsRequest{Filter: `client_address = "here"`}, codes.InvalidArgument, "filter: client_address must be an IP address, such as 192.0.2.7"},
			{"no time", w.root, &identityv1.ListSecurityEventsRequest{StartTime: timestamppb.New(begun), EndTime: timestamppb.New(begun)}, codes.InvalidArgument, "end_time: must be after start_time"},
			{"a bad token", w.root, &identityv1.ListSecurityEventsRequest{PageToken: "x"}, codes.InvalidArgument, "page_token: is not a token that a list has returned"},
		} {
			_, err := w.security.ListSecurityEvents(tt.ctx, tt.req)
			refused(t, tt.name, err, tt.code, tt.text)
		}
		_, err = w.security.ListSecurityEvents(w.root, &identityv1.ListSecurityEventsRequest{Filter: `event = "SIGNED_OUT"`})
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), `no event "SIGNED_OUT": there are SIGNED_IN, SIGN_IN_FAILED, `) {
			t.Errorf("an event that is none: %v", err)
		}
	})
}
