package browsertest

import (
	"fmt"
	"testing"

	"github.com/tidegatehq/tidegate/services/e2e/browser"
)

// TestHiddenList asks for nothing while nobody looks at the page.
func TestHiddenList(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	tab.SignIn("admin", w.Password)
	tab.Open("/publisher/" + w.Unpublished + "/sessions")
	hide := func(hidden bool) {
		browser.Read[bool](tab, fmt.Sprintf(`delete (Object.defineProperty(document, "hidden", {configurable: true, value: %v})).refused`, hidden))
	}
	hide(true)
	browser.Read[bool](tab, `!addEventListener("htmx:before:request", (e) => document.refused = (document.refused ?? 0) + e.defaultPrevented)`)
	tab.Until("document.refused >= 1")
	asked := len(tab.Asked())
	tab.Until("document.refused >= 2")
	if got := len(tab.Asked()); got != asked {
		t.Errorf("a hidden page has asked %d times", got-asked)
	}
	hide(false)
	tab.Until("document.refused === 0") // the next one is let through
}
