package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// draft makes a version that is not published, and waits until gateways know.
func (p *user) draft(t *testing.T, name, backend string) *product {
	t.Helper()
	api, err := p.catalog.CreateApi(p.ctx(t), &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: name, Context: "/" + strings.ToLower(name)}})
	if err != nil {
		t.Fatal(err)
	}
	var header metadata.MD
	v, err := p.catalog.CreateVersion(p.ctx(t), &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: &catalogv1.Version{
		Version: "1.0.0", Endpoints: &catalogv1.Endpoints{Production: endpoint(backend)}, Plans: []string{p.plan(t, "Gold")},
	}}, grpc.Header(&header))
	return &product{api: api, version: p.moved(t, v, header, err), path: "/" + strings.ToLower(name) + "/1.0.0"}
}

// TestTryOut: a version that is not published is not there for anybody but its owner's
// try-out token. What passes is marked, and the end of the sign-in ends it; so it does with
// a token of an application that a user got without a secret.
func TestTryOut(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Stack) {
		admin := s.admin(t)
		const password = "a long password for both of them"
		for _, name := range []string{"wharf", "quay"} {
			_, err := admin.users.CreateUser(admin.ctx(t), &identityv1.CreateUserRequest{Password: password, User: &identityv1.User{
				Username: name, Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR, identityv1.User_ROLE_SUBSCRIBER},
			}})
			if err != nil {
				t.Fatal(err)
			}
		}
		backend := newBackend(t)
		public := admin.publish(t, "Open", backend)
		wharf, quay := s.signIn(t, "wharf", password), s.signIn(t, "quay", password)
		x := wharf.draft(t, "Draft", backend)
		app := wharf.application(t, "Wharf's")
		wharf.subscribe(t, app.app.GetName(), public.version.GetName())

		for what, token := range map[string]string{"nobody": "", "an application": wharf.accessToken(t, app)} {
			if got := s.refused(t, s.WS+x.path, token); got != http.StatusNotFound {
				t.Errorf("%s is answered %d at a version that is not published, want 404", what, got)
			}
		}
		_, err := quay.tokens.IssueTryOutToken(quay.ctx(t), &subscriptionv1.IssueTryOutTokenRequest{Version: x.version.GetName()})
		if status.Code(err) != codes.NotFound {
			t.Errorf("IssueTryOutToken() by another user = %v, want NOT_FOUND", err)
		}
		tryOut, err := wharf.tokens.IssueTryOutToken(wharf.ctx(t), &subscriptionv1.IssueTryOutTokenRequest{Version: x.version.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.refused(t, s.WS+public.path, tryOut.GetAccessToken()); got != http.StatusUnauthorized {
			t.Errorf("a try-out token is answered %d at another version, want 401", got)
		}
		ofApp, err := wharf.tokens.IssueApplicationToken(wharf.ctx(t), &subscriptionv1.IssueApplicationTokenRequest{
			Application: app.app.GetName(), Version: public.version.GetName(),
		})
		if err != nil {
			t.Fatal(err)
		}
		tried, subscribed := s.connect(t, s.WS+x.path, tryOut.GetAccessToken()), s.connect(t, s.WS+public.path, ofApp.GetAccessToken())
		echo(t, tried, websocket.MessageText, "not published yet")
		echo(t, subscribed, websocket.MessageText, "without a secret")
		if live := admin.liveSessions(t, x); len(live) != 1 || live[0].GetApplication() != "applications/try-out" || live[0].GetUser() != wharf.name {
			t.Errorf("live sessions = %v, want one of applications/try-out, of the owner", live)
		}

		// Its owner revokes another one by the name that its session shows, and that one alone.
		another, err := wharf.tokens.IssueTryOutToken(wharf.ctx(t), &subscriptionv1.IssueTryOutTokenRequest{Version: x.version.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		lost := s.connect(t, s.WS+x.path, another.GetAccessToken())
		for _, live := range wharf.liveSessions(t, x) {
			if live.GetGrant() == "" || live.GetGrant() == admin.liveSessions(t, x)[0].GetGrant() {
				continue
			}
			done, err := subscriptionv1.NewRevocationServiceClient(s.dial(t)).Revoke(wharf.ctx(t), &subscriptionv1.RevokeRequest{
				Name: live.GetGrant(), Application: "applications/try-out",
			})
			if err != nil || done.GetClosedSessions() != 1 {
				t.Errorf("Revoke of a try-out token by its name = %v, %v, want 1 closed", done, err)
			}
		}
		if code, reason := closed(t, lost); code != 4001 || !strings.HasPrefix(reason, "REVOKED ") {
			t.Errorf("a try-out token is revoked: its session is closed with %d %q, want 4001 REVOKED", code, reason)
		}

		all, err := wharf.signIns.ListSignIns(wharf.ctx(t), &identityv1.ListSignInsRequest{Parent: "users/me"})
		if err != nil || len(all.GetSignIns()) != 1 {
			t.Fatalf("ListSignIns() = %v, %v, want one", all, err)
		}
		if _, err := wharf.signIns.DeleteSignIn(wharf.ctx(t), &identityv1.DeleteSignInRequest{Name: all.GetSignIns()[0].GetName()}); err != nil {
			t.Fatal(err)
		}
		for conn, token := range map[*websocket.Conn]string{tried: tryOut.GetAccessToken(), subscribed: ofApp.GetAccessToken()} {
			code, reason := closed(t, conn)
			word, ref, _ := strings.Cut(reason, " ref=")
			if code != 4001 || word != "REVOKED" {
				t.Errorf("after the sign-in, the session is closed with %d %q, want 4001 REVOKED", code, reason)
			}
			if r := admin.record(t, ref); !strings.HasPrefix(r.GetDetail(), "sign-in ended") {
				t.Errorf("its record says %q, want that the sign-in ended", r.GetDetail())
			}
			path, want := x.path, http.StatusNotFound
			if conn == subscribed {
				path, want = public.path, http.StatusUnauthorized
			}
			if got := s.refused(t, s.WS+path, token); got != want {
				t.Errorf("after the sign-in, its token is answered %d, want %d", got, want)
			}
		}

		wharf = s.signIn(t, "wharf", password)
		eventually(t, func() error {
			list, err := wharf.usage.ListUsage(wharf.ctx(t), &usagev1.ListUsageRequest{
				Filter:  fmt.Sprintf(`application = "applications/try-out" AND version = %q`, x.version.GetName()),
				GroupBy: []string{"application"},
			})
			if u := list.GetUsage(); err != nil || len(u) != 1 || u[0].GetInbound().GetMessages() != 1 || u[0].GetApplicationDisplayName() != "try-out" {
				return errors.Join(err, fmt.Errorf("the usage of what was tried out is %v, want one message", list))
			}
			return nil
		})
		s.tryOutByCommand(t, password, x, app)
	})
}

// tryOutByCommand does the same with the command line.
func (s *Stack) tryOutByCommand(t *testing.T, password string, x, app *product) {
	t.Helper()
	sh := s.newShell(t)
	if _, stderr, code := sh.try(t, password+"\n", "login", "-u", "wharf"); code != 0 {
		t.Fatalf("login = %d, %q", code, stderr)
	}
	if stdout, stderr, _ := sh.try(t, "tried\n", "connect", "Draft/1.0.0", "--try-out"); stdout != "tried\n" {
		t.Errorf("connect --try-out = %q, %q, want an echo", stdout, stderr)
	}
	token := strings.TrimSpace(sh.run(t, "token", app.app.GetDisplayName(), "--api", "Open/1.0.0", "--as-user"))
	if stdout, stderr, _ := sh.try(t, token+"\nechoed\n", "connect", s.WS+"/open/1.0.0", "--token", "-"); stdout != "echoed\n" {
		t.Errorf("connect with a token --as-user = %q, %q, want an echo", stdout, stderr)
	}
	for _, args := range [][]string{
		{"connect", s.WS + x.path, "--try-out"}, {"connect", "Draft/1.0.0", "--try-out", "--app", "Wharf's"},
		{"token", "Wharf's", "--as-user"}, {"token", "Wharf's", "--as-user", "--api", "Open/1.0.0", "--revoke", "-"},
	} {
		if _, stderr, code := sh.try(t, "", args...); code != 2 {
			t.Errorf("tidegate %q = %d, %q, want a mistake in the command line", args, code, stderr)
		}
	}
	if _, stderr, code := sh.try(t, "", "token", "Wharf's", "--api", "Draft/1.0.0", "--as-user"); code != 1 || !strings.Contains(stderr, "is not published") {
		t.Errorf("token for a version that is not published = %d, %q, want a refusal", code, stderr)
	}
}
