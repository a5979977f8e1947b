package browsertest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

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
