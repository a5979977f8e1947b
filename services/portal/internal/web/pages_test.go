package web_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jba/templatecheck"

	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// TestTemplates finds fields in templates that their views do not have, in branches too
// that no test runs.
func TestTemplates(t *testing.T) {
	for _, route := range web.Routes() {
		if route.Template == nil {
			continue
		}
		parsed, data := route.Template.Parsed()
		if err := templatecheck.CheckHTML(parsed, data); err != nil {
			t.Errorf("%s: %v", route.Pattern, err)
		}
	}
}

// budget has the greatest sizes of what browsers load, compressed.
const (
	mostHTML, mostCSS, mostScripts, mostIcons = 15 << 10, 8 << 10, 20 << 10, 3 << 10
)

// compressed is how long a text is as gzip sends it.
func compressed(t *testing.T, text string) int {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Len()
}

// TestEveryPageForEveryRole walks the table of pages: each is there for its roles, of what
// is theirs, refused to others, and leads those who have not signed in to the page where they
// can. What every page must have is looked for in each.
func TestEveryPageForEveryRole(t *testing.T) {
	w := webtest.NewWorld(t, webtest.Start(t, "-subscription.sign-up", "open"))
	for _, route := range web.Routes() {
		if !strings.Contains(route.Method, http.MethodGet) || route.Public {
			continue
		}
		if p := w.Browser(t).Open(w.Path(route.Pattern)); p.URL.Path != "/signin" {
			t.Errorf("%s without a sign-in leads to %s, want /signin", route.Pattern, p.URL)
		}
	}
	ada := w.User(t, "ada", ui.Admin)
	walk(t, w, ui.Admin, ada)
	sue := w.User(t, "sue", ui.Subscriber)
	walk(t, w.ApplicationOf(t, "sue"), ui.Subscriber, sue)
	for username, role := range map[string]ui.Role{"cleo": ui.Creator, "pia": ui.Publisher} {
		b := w.User(t, username, role)
		w.Give(t, username)
		walk(t, w, role, b)
	}
}

// walk opens each page as somebody with a role, whose everything in the world is that such
// users can have.
func walk(t *testing.T, w *webtest.World, role ui.Role, b *webtest.Browser) {
	t.Helper()
	for _, route := range web.Routes() {
		if !strings.Contains(route.Method, http.MethodGet) || route.Template == nil && len(route.Roles) == 0 {
			continue
		}
		want := http.StatusOK
		if !route.Public && len(route.Roles) > 0 && role != ui.Admin && !slices.Contains(route.Roles, role) {
			want = http.StatusForbidden
		}
		p := b.Open(w.Path(route.Pattern))
		if p.Status != want {
			t.Errorf("%s for %s = %d, want %d:\n%s", p.URL.Path, ui.RoleName(role), p.Status, want, p.Text())
		}
		checkPage(t, b, p)
	}
}

// checkPage looks for what every page has.
func checkPage(t *testing.T, b *webtest.Browser, p *webtest.Page) {
	t.Helper()
	if p.Title() == "" || !strings.HasSuffix(p.Title(), "Tidegate") || p.H1() == "" || !strings.Contains(p.Body, `<html lang="en"`) {
		t.Errorf("%s has title %q and h1 %q, want both, and its language", p.URL, p.Title(), p.H1())
	}
	if n := compressed(t, p.Body); n > mostHTML {
		t.Errorf("%s has %d bytes compressed, want at most %d", p.URL, n, mostHTML)
	}
	for _, name := range []string{"src", "href", "action"} {
		for _, to := range p.Attributes(name) {
			if !strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "#") || strings.HasPrefix(to, "//") {
				t.Errorf("%s has %s=%q, want a path of the portal", p.URL, name, to)
			}
		}
	}
	if got := p.Attributes("style"); got != nil {
		t.Errorf("%s has style attributes %q, which its policy refuses", p.URL, got)
	}
	policy := p.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy of %s is %q, want %q in it", p.URL, policy, part)
		}
	}
	if got := p.Header.Get("Referrer-Policy"); got != "same-origin" {
		t.Errorf("Referrer-Policy of %s = %q, want same-origin", p.URL, got)
	}
	// A link that is shown leads somewhere.
	for text, to := range p.Links() {
		if path, _, _ := strings.Cut(to, "#"); path != "" && path != "/docs" {
			if got := b.Tab().Open(path); got.Status != http.StatusOK {
				t.Errorf("%s has a link %q to %s, which answers %d", p.URL, text, to, got.Status)
			}
		}
	}
}

// TestFormsOfOtherSites sends each form as another site's page would.
func TestFormsOfOtherSites(t *testing.T) {
	w := webtest.NewWorld(t, webtest.Start(t))
	b := w.Browser(t)
	b.SignIn("admin", w.Password)
	cookie := b.Cookie("__Host-tidegate")
	for _, route := range web.Routes() {
		if !strings.Contains(route.Method, http.MethodPost) {
			continue
		}
		for name, headers := range map[string][]string{
			"Sec-Fetch-Site": {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
			"same site":      {"Sec-Fetch-Site", "same-site", "Origin", "https://localhost:1"},
			"Origin":         {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
			"no origin":      {"Sec-Fetch-Site", "cross-site", "Origin", "null"},
		} {
			p := b.Do(http.MethodPost, w.Path(route.Pattern), url.Values{"do": {"publish"}}, headers...)
			if p.Status != http.StatusForbidden || !p.Has("another site") || p.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s by %s = %d %s, want 403", route.Pattern, name, p.Status, p.Text())
			}
		}
	}
	if b.Cookie("__Host-tidegate") != cookie || b.Open("/account").Status != http.StatusOK {
		t.Error("the sign-in is not what it was")
	}
}

// TestAssets keeps what browsers load within its budget, and has them keep it.
func TestAssets(t *testing.T) {
	w := webtest.NewWorld(t, webtest.Start(t))
	b := w.Browser(t)
	p := b.Open("/signin")
	scripts := 0
	for _, path := range append(p.Attributes("src"), p.Attributes("href")...) {
		if !strings.HasPrefix(path, "/assets/") {
			continue
		}
		path, _, _ = strings.Cut(path, "#")
		a := b.Do(http.MethodGet, path, nil, "Accept-Encoding", "gzip")
		most := map[string]int{"css": mostCSS, "js": mostScripts, "svg": mostIcons}[path[strings.LastIndexByte(path, '.')+1:]]
		if a.Status != http.StatusOK || len(a.Body) > most || a.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s = %d with %d bytes, %v, want at most %d, compressed and immutable", path, a.Status, len(a.Body), a.Header, most)
		}
		if strings.HasSuffix(path, ".js") {
			scripts += len(a.Body)
		}
	}
	if scripts == 0 || scripts > mostScripts {
		t.Errorf("all scripts have %d bytes, want at most %d", scripts, mostScripts)
	}
}

// TestNoSuchPage says so to browsers in a page, and to programs as everywhere.
func TestNoSuchPage(t *testing.T) {
	w := webtest.NewWorld(t, webtest.Start(t))
	b := w.Browser(t)
	if p := b.Open("/nothing"); p.Status != http.StatusNotFound || p.H1() != "No such page" {
		t.Errorf("a browser gets %d %q", p.Status, p.H1())
	}
	if p := b.Do(http.MethodGet, "/nothing", nil, "Accept", "*/*"); p.Status != http.StatusNotFound || p.Header.Get("Content-Type") != "application/json" {
		t.Errorf("a program gets %d %s", p.Status, p.Header.Get("Content-Type"))
	}
	b.SignIn("admin", w.Password)
	if p := b.Open("/publisher/apis/none/versions/none"); p.Status != http.StatusNotFound || p.H1() != "Not found" {
		t.Errorf("a version that is not there is %d %q", p.Status, p.H1())
	}
}
