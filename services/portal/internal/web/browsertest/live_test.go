package browsertest

import (
	"fmt"
	"testing"

	"github.com/tidegatehq/tidegate/services/e2e/browser"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// TestLiveList shows sessions that begin and end in its place, until it is stopped.
func TestLiveList(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	version := open(t, w, own("Watched"), w.Backend)
	tab.SignIn("admin", w.Password)
	tab.Open("/publisher/" + version.GetName() + "/sessions")
	tab.Has("No live session")
	before := browser.Read[float64](tab, "performance.timeOrigin")
	conn, _ := w.Dial(t, w.WSS+addressOf(version))
	const rows = `document.querySelectorAll("#live tbody tr").length`
	tab.Until(rows + " === 1")
	if conn != nil {
		_ = conn.CloseNow()
	}
	tab.Until(rows + " === 0")
	if browser.Read[float64](tab, "performance.timeOrigin") != before {
		t.Error("another page is shown")
	}
	tab.Follow("Pause")
	if browser.Read[bool](tab, `Boolean(document.querySelector("[hx-trigger]"))`) {
		t.Errorf("%s still asks:\n%s", tab.Location(), tab.Text())
	}
}

// TestTheme is chosen by a click and stays on all pages.
func TestTheme(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	username := own("looker")
	w.User(t, username, ui.Subscriber)
	tab.SignIn(username, webtest.UserPassword)
	background := func() string {
		return browser.Read[string](tab, "getComputedStyle(document.documentElement).backgroundColor")
	}
	colours := map[string]string{}
	for _, theme := range []string{"Dark", "Light"} {
		tab.Open("/account")
		tab.Click(theme)
		tab.Follow("Use it")
		tab.Open("/devportal")
		colours[background()] = theme
		if got := browser.Read[string](tab, "document.documentElement.dataset.theme"); got == "" {
			t.Errorf("the theme %s is not kept", theme)
		}
	}
	if len(colours) != 2 {
		t.Errorf("the themes look alike: %s", fmt.Sprint(colours))
	}
}
