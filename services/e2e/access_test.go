package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
)

// TestRoles lets users with different roles try each other's work.
func TestRoles(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	root := s.newShell(t)
	root.run(t, "login", "--password-file", s.PasswordFile)
	backend := newBackend(t)
	users := map[string]*shell{}
	for _, role := range []string{"creator", "publisher", "subscriber"} {
		const password = "everybody has a long password\n"
		if _, stderr, code := root.try(t, password, "user", "create", role, "--role", role); code != 0 {
			t.Fatalf("user create %s = %d, %q", role, code, stderr)
		}
		users[role] = s.newShell(t)
		if _, stderr, code := users[role].try(t, password, "login", "-u", role); code != 0 {
			t.Fatalf("login as %s = %d, %q", role, code, stderr)
		}
	}
	root.says(t, []string{"admin", "creator", "publisher", "subscriber"}, "user", "list")
	for _, c := range []struct {
		role string
		args []string
		want string // of the error, or empty
	}{
		{"subscriber", []string{"api", "create", "Mine", "--endpoint", backend, "--plan", "Gold"}, "needs the role"},
		{"creator", []string{"api", "create", "Mine", "--endpoint", backend, "--plan", "Gold"}, ""},
		{"creator", []string{"api", "publish", "Mine"}, "needs the role"},
		{"subscriber", []string{"api", "get", "Mine"}, `API: there is no API "Mine" that you may see`},
		{"publisher", []string{"api", "publish", "Mine"}, ""},
		{"publisher", []string{"api", "demote", "Mine"}, "only its owner and administrators may do this"},
		{"creator", []string{"api", "demote", "Mine"}, "needs the role"},
		{"creator", []string{"api", "version", "update", "Mine", "--endpoint", "ws://other"}, "needs the role publisher"},
		{"publisher", []string{"api", "transfer", "Mine", "publisher"}, "only its owner and administrators may do this"},
		{"creator", []string{"api", "transfer", "Mine", "nobody"}, `USERNAME: there is no user "nobody"`},
		{"creator", []string{"api", "transfer", "Mine", "publisher"}, ""},
		{"publisher", []string{"api", "demote", "Mine"}, ""},
		{"creator", []string{"api", "get", "Mine"}, `API: there is no API "Mine" that you may see`},
		{"publisher", []string{"api", "transfer", "Mine", "creator"}, ""},
		{"subscriber", []string{"user", "list"}, "needs the role"},
		{"creator", []string{"app", "create", "Mine"}, "needs the role"},
		{"subscriber", []string{"app", "create", "Mine"}, ""},
		{"creator", []string{"app", "get", "Mine"}, `APP: there is no application "Mine" that you may see`},
	} {
		_, stderr, code := users[c.role].try(t, "", c.args...)
		if want := min(len(c.want), 1); code != want || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: tidegate %q = %d, %q, want %d, %q", c.role, c.args, code, stderr, want, c.want)
		}
	}
	root.says(t, []string{"creator, publisher"}, "user", "roles", "creator", "--role", "creator", "--role", "publisher")
	// The token with the old roles is no longer accepted, so the command line gets one
	// with the new.
	users["creator"].says(t, []string{"Published"}, "api", "publish", "Mine")
	users["subscriber"].says(t, []string{"Subscribed"}, "subscribe", "Mine", "Mine/1.0.0")
	users["subscriber"].run(t, "oauth-client", "create", "Mine")

	if _, stderr, code := users["subscriber"].try(t, "everybody has a long password\neverybody has another one\n", "user", "password"); code != 0 {
		t.Errorf("user password = %d, %q", code, stderr)
	}
	if _, _, code := users["subscriber"].try(t, "everybody has another one\n", "login", "-u", "subscriber"); code != 0 {
		t.Errorf("login with the new password = %d", code)
	}

	// A sign-in on another machine is seen and ended; this one goes on.
	elsewhere := s.newShell(t)
	if _, _, code := elsewhere.try(t, "everybody has another one\n", "login", "-u", "subscriber"); code != 0 {
		t.Errorf("login elsewhere = %d", code)
	}
	elsewhere.says(t, []string{"this one"}, "sign-in", "list")
	root.says(t, []string{"ENDS"}, "sign-in", "list", "subscriber")
	users["subscriber"].says(t, []string{"Ended"}, "sign-in", "end", "--all")
	if _, stderr, code := elsewhere.try(t, "", "api", "list"); code != 1 || !strings.Contains(stderr, "the sign-in has ended") {
		t.Errorf("api list in a sign-in that was ended = %d, %q", code, stderr)
	}

	// Whoever is suspended is out, wherever it is tried, and their live sessions end.
	token := strings.TrimSpace(users["subscriber"].run(t, "token", "Mine"))
	conn := s.connect(t, s.WS+"/mine", token)
	echo(t, conn, websocket.MessageText, "here")
	root.says(t, []string{"suspended"}, "user", "suspend", "subscriber")
	if code, reason := closed(t, conn); code != 4006 {
		t.Errorf("closed with %d %q, want 4006", code, reason)
	}
	if got := s.refused(t, s.WS+"/mine", token); got != 403 {
		t.Errorf("a handshake for a suspended user is answered %d, want 403", got)
	}
	for _, args := range [][]string{{"api", "list"}, {"app", "list"}} {
		if _, stderr, code := users["subscriber"].try(t, "", args...); code != 1 || !strings.Contains(stderr, "the sign-in has ended") {
			t.Errorf("suspended: tidegate %q = %d, %q, want that the sign-in has ended", args, code, stderr)
		}
	}
	if _, stderr, code := users["subscriber"].try(t, "everybody has another one\n", "login", "-u", "subscriber"); code != 1 || !strings.Contains(stderr, "suspended") {
		t.Errorf("login while suspended = %d, %q, want the reason", code, stderr)
	}
	root.says(t, []string{"subscriber"}, "user", "restore", "subscriber")
	if _, stderr, code := users["subscriber"].try(t, "everybody has another one\n", "login", "-u", "subscriber"); code != 0 {
		t.Errorf("login after the restore = %d, %q", code, stderr)
	}

	// A user who is removed takes their live sessions along.
	stdout, stderr, code := users["subscriber"].try(t, "still here\n", "connect", s.WS+"/mine", "--app", "Mine")
	if code != 0 || stdout != "still here\n" {
		t.Errorf("connect = %q, %q, %d, want an echo", stdout, stderr, code)
	}
	conn = s.connect(t, s.WS+"/mine", token)
	echo(t, conn, websocket.MessageText, "here")
	root.says(t, []string{"Deleted  subscriber"}, "user", "delete", "subscriber")
	if code, reason := closed(t, conn); code != 4006 {
		t.Errorf("closed with %d %q, want 4006", code, reason)
	}
}

// TestHandshakes gives the gateway credentials and addresses that are wrong.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	p := s.admin(t)
	x := p.publish(t, "Door", newBackend(t))
	other := p.publish(t, "Other", newBackend(t))
	token, otherToken := p.accessToken(t, x), p.accessToken(t, other)
	for _, c := range []struct {
		name, url, token string
		want             int
	}{
		{"good", s.WS + x.path, token, 101},
		{"good, over TLS", s.WSS + x.path, token, 101},
		{"good, in the query", s.WS + x.path + "?a=1&access_token=" + token + "&b=2", "", 101},
		{"no credential", s.WS + x.path, "", 401},
		{"nonsense", s.WS + x.path, "nonsense", 401},
		{"changed", s.WS + x.path, token[:len(token)-4] + "AAAA", 401},
		{"a user's token", s.WS + x.path, p.token, 401},
		{"of an application that is not subscribed", s.WS + x.path, otherToken, 403},
		{"no such version", s.WS + "/door/9.9.9", token, 404},
		{"no such API", s.WS + "/nothing/1.0.0", token, 404},
		{"no default version", s.WS + "/door", token, 404},
		{"the header decides before the query", s.WS + x.path + "?access_token=" + token, "nonsense", 401},
	} {
		if got := s.refused(t, c.url, c.token); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	res, err := s.http(t).Get("http" + strings.TrimPrefix(s.WS, "ws") + x.path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusUpgradeRequired || !strings.Contains(body(t, res), `"status":426`) {
		t.Errorf("a plain GET is answered %d, want 426 with a problem document", res.StatusCode)
	}
	// The control plane refuses an application's token.
	as := *p
	as.token = token
	if _, err := as.users.GetUser(as.ctx(t), &identityv1.GetUserRequest{Name: "users/me"}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("GetUser with an application's token = %v, want UNAUTHENTICATED", err)
	}
}
