package browsertest

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/tidegatehq/tidegate/services/e2e/browser"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// TestPayloads loads each page once that shows what attackers have stored. Nothing of it
// runs or is asked for, and the browser has nothing to refuse: it complains of nothing.
func TestPayloads(t *testing.T) {
	t.Parallel()
	world(t)
	s := shared.hostile
	shared.stored.Do(func() { s.Hostile(t) })
	b := s.Browser(t)
	b.SignIn("admin", s.Password)
	tab := shared.chromium.Tab(t, s.Portal)
	tab.SignIn("admin", s.Password)
	paths := b.Crawl(1, "/publisher", "/devportal", "/admin", "/account", "/admin/records")
	if len(paths) < 40 {
		t.Errorf("there are the pages %q, want more", paths)
	}
	for _, path := range paths {
		tab.Open(path)
		got := browser.Read[struct {
			Ran, Shown bool
			Title      string
		}](tab, `({ ran: "`+webtest.Mark+`" in window, shown: document.documentElement.textContent.includes("`+webtest.Mark+`"), title: document.title })`)
		if got.Ran || got.Title == "" {
			t.Errorf("%s: a payload ran, or there is no page: %+v", path, got)
		}
	}
}

// TestFramed shows the portal in a frame of another page, which the browser refuses.
func TestFramed(t *testing.T) {
	t.Parallel()
	w := world(t)
	evil := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(rw, `<!doctype html><link rel="icon" href="data:,"><title>Win</title><iframe src="`+w.Portal+`/signin"></iframe>`)
	}))
	t.Cleanup(evil.Close)
	tab := shared.chromium.Tab(t, evil.URL, w.Portal)
	tab.Open("/")
	tab.Complains("frame")
	if n := browser.Read[int](tab, `(() => { try { return frames[0].document ? 1 : 0 } catch { return -1 } })()`); n != -1 {
		t.Errorf("the frame has a document that the page reads: %d", n)
	}
}

// TestCookieIsNotStolen has a page of ours speak to a backend that wants the cookie of the
// sign-in: it asks for what came with the handshake, sets a cookie of the same name, and
// sends a page that would read it. The cookie reaches nobody, and is what it was.
func TestCookieIsNotStolen(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	heads := make(chan http.Header, 1)
	thief := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		heads <- r.Header.Clone()
		rw.Header().Add("Set-Cookie", sessionCookie+"=stolen; Path=/; Secure; HttpOnly")
		rw.Header().Add("Set-Cookie", sessionCookie+"-theme=dark; Path=/; Secure")
		conn, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		_ = conn.Write(r.Context(), websocket.MessageText, []byte(`<img src=x onerror="document.title = document.cookie"><script>document.title = document.cookie</script>`))
		_, _, _ = conn.Read(r.Context())
	}))
	t.Cleanup(thief.Close)
	version := open(t, w, own("Thief"), thief.URL)
	tab.SignIn("admin", w.Password)
	before := tab.Cookies()
	if before[sessionCookie] == "" {
		t.Fatalf("after signing in the cookies are %v", before)
	}
	tab.Open("/devportal/" + version.GetName() + "/console")
	title := browser.Read[string](tab, "document.title")
	tab.Click("Connect")
	tab.Until(`document.querySelector("#c-rows .msg.in pre")?.textContent.startsWith("<img")`)
	for name, values := range <-heads {
		if text := strings.Join(values, " "); name == "Cookie" || strings.Contains(text, before[sessionCookie]) {
			t.Errorf("the backend gets %s: %q", name, text)
		}
	}
	if after := tab.Cookies(); !maps.Equal(after, before) {
		t.Errorf("the cookies are %v after the connection, want %v", after, before)
	}
	if got := browser.Read[string](tab, "document.title"); got != title {
		t.Errorf("what the backend has sent runs in the page: its title is %q", got)
	}
	if got := browser.Read[string](tab, "document.cookie"); strings.Contains(got, sessionCookie+"=") {
		t.Errorf("scripts of the page read %q", got)
	}
	tab.Open("/account") // still signed in
	tab.Has("Sign-ins")
}

// sessionCookie is the name of the cookie that has the sign-in.
const sessionCookie = "__Host-tidegate"
