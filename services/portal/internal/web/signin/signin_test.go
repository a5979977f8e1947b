package signin_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

const cookie = "__Host-tidegate"

// TestSignInAndOut looks at the cookie, and at what is left after signing out.
func TestSignInAndOut(t *testing.T) {
	s := webtest.Start(t)
	b := s.Browser(t)
	if p := b.Open("/publisher?q=x"); p.URL.Path != "/signin" || !strings.Contains(p.Text(), "admin-password") {
		t.Fatalf("/publisher leads to %s, want /signin, which says where the first password is:\n%s", p.URL, p.Text())
	}
	wrong := b.Submit("Sign in", "username", "admin", "password", "not the password")
	if wrong.Status != http.StatusUnprocessableEntity || !wrong.Has("That name and password do not go together.") || wrong.Value("username") != "admin" || wrong.Value("password") != "" {
		t.Fatalf("a wrong password: %d\n%s", wrong.Status, wrong.Body)
	}
	if p := b.Submit("Sign in", "username", "admin", "password", s.Password); p.URL.RequestURI() != "/publisher?q=x" {
		t.Fatalf("signing in leads to %s, want where it began", p.URL)
	}
	old := b.Cookie(cookie)
	if len(old) == 0 || len(old) > 3<<10 {
		t.Errorf("the cookie has %d bytes, want some and less than 3 KiB of the 4 that browsers take", len(old))
	}
	if p := b.Open("/"); p.URL.Path != "/publisher" {
		t.Errorf("/ leads to %s, want /publisher", p.URL)
	}
	if p := b.Submit("Sign out"); p.URL.Path != "/signin" || !p.Has("You are signed out.") {
		t.Errorf("signing out leads to %s\n%s", p.URL, p.Text())
	}
	if b.Cookie(cookie) != "" {
		t.Error("the cookie is still there")
	}
	b.SetCookie(cookie, old) // as a thief would
	if p := b.Open("/account"); p.URL.Path != "/signin" {
		t.Errorf("with the cookie of an ended sign-in, /account leads to %s\n%s", p.URL, p.Text())
	}
	b.SetCookie(cookie, old[:len(old)-2]+"AA")
	if p := b.Open("/account"); p.URL.Path != "/signin" {
		t.Errorf("with an altered cookie, /account leads to %s", p.URL)
	}
}

// TestCookieAttributes reads the header: the cookie is for this host, over TLS, and for no
// script and no other site.
func TestCookieAttributes(t *testing.T) {
	s := webtest.Start(t)
	b := s.Browser(t)
	b.Open("/signin")
	b.Stay()
	p := b.Submit("Sign in", "username", "admin", "password", s.Password)
	set := p.Header.Values("Set-Cookie")
	if p.Status != http.StatusSeeOther || len(set) != 2 {
		t.Fatalf("signing in = %d with the cookies %q, want 303 with the sign-in and the device", p.Status, set)
	}
	for _, c := range set {
		for _, want := range []string{"__Host-tidegate", "; Path=/", "; Max-Age=", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
			if !strings.Contains(c, want) {
				t.Errorf("the cookie %.30s… lacks %q", c, want)
			}
		}
		if strings.Contains(c, "Domain") {
			t.Errorf("the cookie %.30s… has a domain", c)
		}
	}
}

// TestReturn leads back to the portal's own pages only.
func TestReturn(t *testing.T) {
	s := webtest.Start(t)
	for _, to := range []string{"https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\tevil", "evil", ""} {
		b := s.Browser(t)
		b.Open("/signin?" + url.Values{"to": {to}}.Encode())
		if p := b.Submit("Sign in", "username", "admin", "password", s.Password); p.URL.Path != "/publisher" {
			t.Errorf("to=%q leads to %s, want the first portal", to, p.URL)
		}
	}
}

// TestEntriesSurvive sends a form whose sign-in has ended: after another sign-in of the
// same user its entries are there again, and after one of somebody else they are not.
func TestEntriesSurvive(t *testing.T) {
	s := webtest.Start(t)
	b := s.User(t, "cleo", ui.Creator)
	s.User(t, "eve", ui.Creator)
	b.Open("/publisher/apis/new")
	form := b.Page
	ctx := s.As(t, "cleo", webtest.UserPassword)
	signIns := identityv1.NewSignInServiceClient(s.Conn)
	list, err := signIns.ListSignIns(ctx, &identityv1.ListSignInsRequest{Parent: "users/me"})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list.GetSignIns() {
		if one.GetCurrent() {
			continue
		}
		var header metadata.MD
		if _, err := signIns.DeleteSignIn(ctx, &identityv1.DeleteSignInRequest{Name: one.GetName()}, grpc.Header(&header)); err != nil {
			t.Fatal(err)
		}
		s.Applied(t, ctx, header) // or the form makes half an API
	}
	ended := b.Cookie(cookie)
	for i, test := range []struct {
		user, cookie string
		kept         bool
	}{{"cleo", ended, true}, {"eve", ended, false}, {"cleo", "", true}} {
		user, kept := test.user, test.kept
		b.SetCookie(cookie, test.cookie)
		tab := b.Tab()
		tab.Page = form
		p := tab.Submit("Create", "name", "Typed at length "+strconv.Itoa(i), "context", "/typed/"+strconv.Itoa(i), "endpoint", "ws://typed.test")
		if p.Status != http.StatusUnauthorized || !p.Has("Your sign-in has ended") {
			t.Fatalf("the form is answered %d\n%s", p.Status, p.Text())
		}
		other := s.Browser(t) // the forms of one page must not share their cookies
		other.Page = p
		p = other.Submit("Sign in", "username", user, "password", webtest.UserPassword)
		if got := p.Value("name") == "Typed at length "+strconv.Itoa(i) && p.Value("context") == "/typed/"+strconv.Itoa(i) && p.H1() == "Design a New WebSocket API"; got != kept {
			t.Errorf("after %s has signed in, the entries are there: %v, want %v\n%s", user, got, kept, p.Text())
		}
		if kept {
			if i > 0 { // the form has made something, and now would make something else
				if p = other.Submit("Create"); !p.Has("was sent before") {
					t.Errorf("the form of what is there already leads to %s\n%s", p.URL, p.Text())
				}
			}
			if p = other.Submit("Create"); p.H1() != "Typed at length "+strconv.Itoa(i) {
				t.Errorf("the form sent again leads to %s\n%s", p.URL, p.Text())
			}
		}
	}
}

// TestTabs has several tabs refresh one sign-in: all of them stay signed in.
func TestTabs(t *testing.T) {
	s := webtest.Start(t, "-subscription.user-token-lifetime", "1m")
	b := s.Browser(t)
	b.SignIn("admin", s.Password) // its token ends so soon that every page refreshes it
	first := b.Cookie(cookie)
	var tabs sync.WaitGroup
	for range 8 {
		tab := b.Tab()
		tabs.Go(func() {
			if p := tab.Open("/account"); p.URL.Path != "/account" {
				t.Errorf("a tab is led to %s\n%s", p.URL, p.Text())
			}
		})
	}
	tabs.Wait()
	if b.Cookie(cookie) == first {
		t.Error("the sign-in was not refreshed")
	}
	b.SetCookie(cookie, first) // a tab that was slow
	if p := b.Open("/account"); p.URL.Path != "/account" {
		t.Errorf("a tab with the spent token is led to %s", p.URL)
	}
}

// TestRolesFollow has the pages of new roles without another sign-in.
func TestRolesFollow(t *testing.T) {
	s := webtest.Start(t)
	b := s.User(t, "sue", ui.Subscriber)
	if p := b.Open("/publisher"); p.Status != http.StatusForbidden {
		t.Fatalf("/publisher for a subscriber = %d", p.Status)
	}
	admin, users := s.As(t, "admin", s.Password), identityv1.NewUserServiceClient(s.Conn)
	list, err := users.ListUsers(admin, &identityv1.ListUsersRequest{Filter: `username = "sue"`})
	if err != nil || len(list.GetUsers()) != 1 {
		t.Fatal(list, err)
	}
	_, err = users.UpdateUser(admin, &identityv1.UpdateUserRequest{User: &identityv1.User{Name: list.GetUsers()[0].GetName(), Roles: []identityv1.User_Role{ui.Creator}}})
	if err != nil {
		t.Fatal(err)
	}
	if p := b.Open("/account"); p.Status != http.StatusOK || !p.Has("creator") {
		t.Fatalf("/account after new roles = %d\n%s", p.Status, p.Text())
	}
	if p := b.Open("/publisher"); p.Status != http.StatusOK {
		t.Errorf("/publisher for a creator = %d\n%s", p.Status, p.Text())
	}
}

// TestAccount changes the password and the theme, and ends another sign-in.
func TestAccount(t *testing.T) {
	s := webtest.Start(t)
	b := s.User(t, "cleo", ui.Creator)
	other := s.Browser(t)
	other.SignIn("cleo", webtest.UserPassword)
	b.Open("/account/password")
	if p := b.Submit("Change password", "current_password", "wrong", "new_password", "another long password"); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("with a wrong password = %d\n%s", p.Status, p.Text())
	}
	if p := b.Submit("Change password", "current_password", webtest.UserPassword, "new_password", "short"); p.Error("new_password") == "" || strings.Contains(p.Body, webtest.UserPassword) {
		t.Errorf("a short password is not refused at its field:\n%s", p.Text())
	}
	if p := b.Submit("Change password", "current_password", webtest.UserPassword, "new_password", "another long password"); p.URL.Path != "/account" || !p.Has("Your password is changed") {
		t.Errorf("a new password leads to %s\n%s", p.URL, p.Text())
	}
	if p := other.Open("/account"); p.URL.Path != "/signin" {
		t.Errorf("the other sign-in is led to %s, want that it has ended", p.URL)
	}
	b.Open("/account")
	b.Submit("Use it", "theme", "dark")
	if p := b.Open("/account"); !strings.Contains(p.Body, `data-theme="dark"`) {
		t.Error("the theme is not kept")
	}
}

// TestSignUp signs up where an administrator approves, where anybody may come in, and
// where nobody may.
func TestSignUp(t *testing.T) {
	t.Run("off", func(t *testing.T) {
		s := webtest.Start(t)
		b := s.Browser(t)
		if p := b.Open("/signin"); p.Has("Sign up") {
			t.Errorf("signing up is offered where nobody may:\n%s", p.Text())
		}
		if p := b.Open("/signup"); p.Status != http.StatusNotFound {
			t.Errorf("/signup = %d, want 404", p.Status)
		}
	})
	for policy, want := range map[string]string{"open": "You have signed up: sign in.", "approval": "You can sign in when an administrator has approved it."} {
		t.Run(policy, func(t *testing.T) {
			s := webtest.Start(t, "-subscription.sign-up", policy)
			b := s.Browser(t)
			b.Open("/signin")
			if p := b.Click("Sign up"); p.H1() != "Sign up" || p.Has("An administrator approves") != (policy == "approval") {
				t.Fatalf("the page of signing up:\n%s", p.Text())
			}
			p := b.Submit("Sign up", "username", "new comer", "password", "too short")
			if p.Status != http.StatusUnprocessableEntity || p.Value("username") != "new comer" || p.Value("password") != "" || p.Error("username")+p.Error("password") == "" {
				t.Fatalf("a wrong name and a short password: %d %q %q\n%s", p.Status, p.Error("username"), p.Error("password"), p.Text())
			}
			p = b.Submit("Sign up", "username", "newcomer", "password", "horse battery staple wrong")
			if p.URL.Path != "/signin" || !p.Has(want) {
				t.Fatalf("signing up leads to %s, want %q:\n%s", p.URL, want, p.Text())
			}
			p = b.Submit("Sign in", "username", "newcomer", "password", "horse battery staple wrong")
			if in := p.URL.Path != "/signin"; in != (policy == "open") {
				t.Errorf("signing in leads to %s:\n%s", p.URL, p.Text())
			}
			other := s.Browser(t)
			other.Open("/signup")
			if p := other.Submit("Sign up", "username", "NewComer", "password", "horse battery staple wrong"); p.Error("username") == "" && len(p.Notices()) == 0 {
				t.Errorf("a name that is taken is not refused:\n%s", p.Text())
			}
		})
	}
}
