package browsertest

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/e2e/browser"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web"
)

// TestAccessible has axe look at every page in both themes, and looks whether a page is
// wider than the window, of a phone or a large one. In the dark, names are as long as they
// may be.
func TestAccessible(t *testing.T) {
	t.Parallel()
	script := axe(t)
	for theme, named := range map[string]webtest.Names{"light": webtest.Plain, "dark": webtest.Long} {
		t.Run(theme, func(t *testing.T) {
			t.Parallel()
			tab, w := newTab(t)
			if named != webtest.Plain {
				w = longNames(t, w)
			}
			signUps := shared.chromium.Tab(t, shared.hostile.Portal) // in the world nobody signs up
			for _, tab := range []*browser.Tab{tab, signUps} {
				tab.SetCookie("__Host-tidegate-theme", theme)
				tab.Before(script)
			}
			examine(t, signUps, theme, "/signup")
			for _, path := range []string{"/signin", "/nothing"} {
				examine(t, tab, theme, path)
			}
			tab.SignIn("admin", w.Password)
			for path := range pages(w) {
				examine(t, tab, theme, path)
			}
		})
	}
}

// longNames returns the world whose names are as long as they may be.
func longNames(t *testing.T, w *webtest.World) *webtest.World {
	t.Helper()
	shared.long.Do(func() {
		var err error
		if shared.longer, err = webtest.Fill(context.Background(), w.Tidegate, webtest.Long); err != nil {
			t.Error(err)
		}
	})
	if shared.longer == nil {
		t.FailNow()
	}
	return shared.longer
}

// pages are the paths of all pages, with some that have nothing to show.
func pages(w *webtest.World) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, route := range web.Routes() {
			if strings.Contains(route.Method, http.MethodGet) && route.Template != nil && route.Pattern != "/signup" && !yield(w.Path(route.Pattern)) {
				return
			}
		}
		for _, path := range []string{"/nothing", "/publisher?q=nothing", "/publisher/apis/none", "/devportal?query=nothing", "/admin/records?end_reason=BORED"} {
			if !yield(path) {
				return
			}
		}
	}
}

// axe returns the script that finds what people with disabilities stumble over.
func axe(t *testing.T) string {
	t.Helper()
	script, err := os.ReadFile(filepath.Join(node(t), "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(script)
}

// examine looks at a page.
func examine(t *testing.T, tab *browser.Tab, theme, path string) {
	t.Helper()
	tab.Open(path)
	if got := browser.Read[string](tab, "document.documentElement.dataset.theme"); got != theme {
		t.Errorf("%s has the theme %q, want %s", path, got, theme)
	}
	absent := path == "/nothing" || path == "/publisher/apis/none"
	if status := browser.Read[int](tab, `performance.getEntriesByType("navigation")[0].responseStatus`); (status == http.StatusNotFound) != absent || status >= 500 {
		t.Errorf("%s is answered %d: what is looked at is not the page", path, status)
	}
	found := browser.Read[struct{ Looked, Found []string }](tab, `axe.run(document, { resultTypes: ["violations"], preload: false }).then((r) => ({
		looked: r.passes.map((p) => p.id),
		found: r.violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + v.help + "\n" + n.html + "\n" + n.failureSummary)) }))`)
	for _, text := range found.Found {
		t.Errorf("%s, %s: %s", path, theme, text)
	}
	if !slices.Contains(found.Looked, "color-contrast") || !slices.Contains(found.Looked, "page-has-heading-one") {
		t.Errorf("axe has not looked at the contrast or the headings of %s: %q", path, found.Looked)
	}
	if shown := browser.Read[[]string](tab, `[...document.querySelectorAll("[hidden]")].filter((e) => e.checkVisibility()).map((e) => e.outerHTML)`); len(shown) > 0 {
		t.Errorf("%s shows what is hidden: %q", path, shown)
	}
	for _, width := range []int64{390, 360, 1280} {
		tab.Size(width, 800)
		if wide := browser.Read[string](tab, fmt.Sprintf(`(() => {
			const root = document.documentElement;
			if (root.scrollWidth <= innerWidth && innerWidth === %d) return "";
			const out = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1);
			return root.scrollWidth + " of " + innerWidth + ": " + out.slice(-3).map((e) => e.outerHTML.slice(0, 150)).join(" | ");
		})()`, width)); wide != "" {
			t.Errorf("%s at %d is too wide: %s", path, width, wide)
		}
	}
}
