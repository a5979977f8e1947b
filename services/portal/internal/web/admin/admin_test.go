package admin_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// TestAdmin goes through the pages on one server; its parts run at once.
func TestAdmin(t *testing.T) {
	s := webtest.Start(t, "-subscription.sign-up", "approval")
	for name, test := range map[string]func(*testing.T, *webtest.Tidegate){
		"system": system, "sign-ups": signUps, "list": userList, "user": oneUser, "conflict": conflict, "oneself": oneself,
		"sessions": sessions, "records": records, "changes": changes, "security": securityLog,
		"deny": deny, "plans": plans, "limits": limits, "quotas": quotas, "applications": applications,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// browser is one in which an administrator of the test's own has signed in: sign-ins of
// one user are not without number.
func browser(t *testing.T, s *webtest.Tidegate) *webtest.Browser {
	t.Helper()
	return s.User(t, "a-"+strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())), ui.Admin)
}

// want fails the test unless a page has the status and says all this.
func want(t *testing.T, p *webtest.Page, status int, texts ...string) {
	t.Helper()
	if p.Status != status {
		t.Fatalf("%s = %d, want %d:\n%s", p.URL, p.Status, status, p.Text())
	}
	for _, text := range texts {
		if !p.Has(text) {
			t.Fatalf("%s does not say %q:\n%s", p.URL, text, p.Text())
		}
	}
}

// system: the gateway is there with its state, and both services with who watches them.
func system(t *testing.T, s *webtest.Tidegate) {
	b := browser(t, s)
	p := b.Open("/admin")
	want(t, p, http.StatusOK, "Ready", "Service catalog", "Service subscription", "Connected", "last change")
	if p.H1() != "System" || p.Links()["Users"] != "/admin/users" {
		t.Errorf("/admin has h1 %q and links %v", p.H1(), p.Links())
	}
}

// signUp signs somebody up, who waits.
func signUp(t *testing.T, s *webtest.Tidegate, username string) *identityv1.User {
	t.Helper()
	u, err := identityv1.NewUserServiceClient(s.Conn).SignUp(t.Context(), &identityv1.SignUpRequest{Username: username, Password: webtest.UserPassword})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// signUps stand before all others; they are approved or refused.
func signUps(t *testing.T, s *webtest.Tidegate) {
	in, out := signUp(t, s, "wanted"), signUp(t, s, "unwanted")
	b := browser(t, s)
	want(t, b.Open("/admin"), http.StatusOK, "wait for approval")
	p := b.Click("look at them")
	if p.First("h2") != "Waiting for approval" {
		t.Errorf("who waits is not first:\n%s", p.Text())
	}
	want(t, b.Submit("Approve wanted"), http.StatusOK, "wanted is approved")
	if b.Page.URL.Path != "/admin/users" {
		t.Errorf("Approve in the list leads to %s", b.Page.URL)
	}
	s.Browser(t).SignIn("wanted", webtest.UserPassword)
	want(t, b.Click("Refuse unwanted"), http.StatusOK, "cannot be undone", "There are no live sessions that would end.")
	want(t, b.Submit("Delete"), http.StatusOK, "unwanted is deleted")
	want(t, b.Open("/admin/"+out.GetName()), http.StatusNotFound)
	want(t, b.Open("/admin/"+in.GetName()), http.StatusOK, "Active", "subscriber")
}

// userList is searched, filtered, ordered, and has pages.
func userList(t *testing.T, s *webtest.Tidegate) {
	b := browser(t, s)
	users, ctx := identityv1.NewUserServiceClient(s.Conn), s.As(t, "admin", s.Password)
	for i := range 51 {
		if _, err := users.CreateUser(ctx, &identityv1.CreateUserRequest{User: &identityv1.User{Username: fmt.Sprintf("crew-%02d", i), Roles: []ui.Role{ui.Creator}}}); err != nil {
			t.Fatal(err)
		}
	}
	b.Open("/admin/users")
	p := b.Submit("Search", "query", "CREW-", "order_by", "username")
	want(t, p, http.StatusOK, "crew-00", "crew-49")
	if p.Has("crew-50") || p.First("h2") != "" {
		t.Errorf("the first page has more than it should:\n%s", p.Text())
	}
	if p = b.Click("50 more"); !p.Has("crew-50") || p.Has("crew-49") {
		t.Errorf("the second page:\n%s", p.Text())
	}
	p = b.Open("/admin/users?query=crew-&order_by=username+desc&role=CREATOR&state=ACTIVE")
	if text := p.Text(); !p.Has("crew-50") || strings.Index(text, "crew-50") > strings.Index(text, "crew-49") || p.Value("role") != "CREATOR" {
		t.Errorf("from Z:\n%s", text)
	}
	want(t, b.Open("/admin/users?query=crew-&role=ADMIN"), http.StatusOK, "Nobody found")
	want(t, b.Open("/admin/users?state=ASLEEP"), http.StatusUnprocessableEntity, "No state")
	if p := b.Click("Show all users"); p.URL.RequestURI() != "/admin/users" {
		t.Errorf("Show all leads to %s", p.URL)
	}
}

// oneUser is added, changed, suspended, restored, unlocked, given a password and deleted.
func oneUser(t *testing.T, s *webtest.Tidegate) {
	b := browser(t, s)
	b.Open("/admin/users/new")
	p := b.Submit("Add user", "username", "")
	if p.Status != http.StatusUnprocessableEntity || p.Error("username") != "Is needed." || p.Error("roles") != "Is needed." {
		t.Fatalf("an empty form: %d %q %q\n%s", p.Status, p.Error("username"), p.Error("roles"), p.Text())
	}
	p = b.Submit("Add user", "username", "-dina", "roles", "CREATOR", "password", "short")
	if p.Error("username") == "" || p.Error("password") == "" || p.Value("username") != "-dina" || p.Value("password") != "" {
		t.Fatalf("what does not fit: %q %q\n%s", p.Error("username"), p.Error("password"), p.Text())
	}
	p = b.Submit("Add user", "username", "ADMIN", "password", "")
	if p.Status != http.StatusUnprocessableEntity || p.Error("username") == "" && len(p.Notices()) == 0 {
		t.Fatalf("a name that is taken: %d\n%s", p.Status, p.Text())
	}
	want(t, b.Submit("Add user", "username", "dina", "display_name", "Dina D.", "roles", "CREATOR", "roles", "SUBSCRIBER"), http.StatusOK,
		"dina is added", "Dina D.", "creator, subscriber", "not signed in anywhere", "Active")
	path := b.Page.URL.Path

	b.Click("Set password")
	if p = b.Submit("Set password", "new_password", "short"); p.Error("new_password") == "" {
		t.Fatalf("a short password:\n%s", p.Text())
	}
	want(t, b.Submit("Set password", "new_password", webtest.UserPassword), http.StatusOK, "dina has a new password")
	dina := s.Browser(t)
	dina.SignIn("dina", webtest.UserPassword)
	want(t, b.Open(path), http.StatusOK, "Last used", "127.0.0.1")
	for _, to := range b.Page.Forms() {
		if strings.Contains(to, "/sign-ins/") {
			want(t, b.Do(http.MethodPost, to, map[string][]string{}), http.StatusOK, "That sign-in has ended.", "not signed in anywhere")
		}
	}

	b.Click("Change")
	want(t, b.Submit("Save", "roles", "PUBLISHER", "display_name", ""), http.StatusOK, "dina is changed", "publisher")
	if b.Page.Has("creator") || b.Page.Has("Dina D.") {
		t.Errorf("after the change:\n%s", b.Page.Text())
	}
	want(t, b.Submit("Unlock"), http.StatusOK, "dina is unlocked")
	want(t, b.Click("Suspend"), http.StatusOK, "4006", "There are no live sessions that would end.")
	want(t, b.Submit("Suspend"), http.StatusOK, "dina is suspended", "Suspended")
	want(t, b.Submit("Restore"), http.StatusOK, "dina is restored", "Active")
	b.Click("Delete")
	want(t, b.Submit("Delete"), http.StatusOK, "dina is deleted")
	want(t, b.Open(path), http.StatusNotFound)
	want(t, b.Open("/admin/users/what!"), http.StatusNotFound)
}

// conflict: who saves what somebody else has changed sees both.
func conflict(t *testing.T, s *webtest.Tidegate) {
	b := browser(t, s)
	u, err := identityv1.NewUserServiceClient(s.Conn).CreateUser(s.As(t, "admin", s.Password), &identityv1.CreateUserRequest{
		User: &identityv1.User{Username: "cora", Roles: []ui.Role{ui.Creator}},
	})
	if err != nil {
		t.Fatal(err)
	}
	late := b.Tab()
	late.Open("/admin/" + u.GetName() + "/edit")
	b.Open("/admin/" + u.GetName() + "/edit")
	want(t, b.Submit("Save", "display_name", "Cora of the first"), http.StatusOK, "cora is changed")
	p := late.Submit("Save", "display_name", "Cora of the second")
	want(t, p, http.StatusConflict, "Somebody else has changed this meanwhile", "Cora of the first")
	if got := p.Value("display_name"); got != "Cora of the second" {
		t.Errorf("the entry is %q", got)
	}
	want(t, late.Submit("Save"), http.StatusOK, "Cora of the second")
}

// oneself: the pages say where a user is the viewer, whose password is changed where the
// current one is asked for.
func oneself(t *testing.T, s *webtest.Tidegate) {
	b := browser(t, s)
	p := b.Open("/admin/users/me")
	want(t, p, http.StatusOK, "This one")
	if p := b.Click("Set password"); p.URL.Path != "/account/password" {
		t.Errorf("one's own password is set at %s", p.URL)
	}
	b.Open("/admin/users/me/suspend")
	want(t, b.Page, http.StatusOK, "This user is you")
	want(t, b.Do(http.MethodPost, "/admin/users/me/suspend", map[string][]string{"etag": {"0"}}), http.StatusConflict, "Somebody else")
}
