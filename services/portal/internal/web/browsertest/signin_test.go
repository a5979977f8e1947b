package browsertest

import (
	"testing"

	"github.com/tidegatehq/tidegate/services/e2e/browser"
)

// TestTwoTabs has two tabs of a user go on at a time, where every request refreshes the
// sign-in: both stay signed in, by one sign-in, and what one of them ends, ends for both.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	world(t)
	one := shared.chromium.Tab(t, shared.hasty.Portal)
	one.SignIn("admin", shared.hasty.Password)
	other := one.Another(t)
	other.Open("/devportal")
	for _, words := range []string{"Publisher", "Developer portal", "Admin", "Publisher"} {
		one.Next(func() {
			other.Next(func() {
				one.Click(words)
				other.Click(words)
			})
		})
		for _, tab := range []*browser.Tab{one, other} {
			tab.Until(`document.querySelector(".nav [aria-current=page]")?.textContent === "` + words + `"`)
		}
	}
	one.Open("/account")
	if n := browser.Read[int](one, `document.querySelectorAll("form[action*='/sign-ins/']").length`); n > 1 {
		t.Errorf("there are %d other sign-ins, want none:\n%s", n, one.Text())
	}
	one.ClickOn(`document.querySelector(".who summary")`)
	one.Follow("Sign out")
	other.Follow("Publisher")
	if got := other.Location(); got != "/signin?to=%2Fpublisher" {
		t.Errorf("after signing out in one tab the other is at %s, want where one signs in", got)
	}
}
