package browsertest

import (
	"fmt"
	"strings"
	"testing"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/e2e/browser"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// TestDoubleClick makes one API, with scripts and without.
func TestDoubleClick(t *testing.T) {
	t.Parallel()
	for name, scripts := range map[string]bool{"Twice": true, "TwicePlain": false} {
		name := own(name)
		tab, w := newTab(t)
		w.User(t, strings.ToLower(name), ui.Creator)
		if !scripts {
			tab.WithoutScripts()
		}
		tab.SignIn(strings.ToLower(name), webtest.UserPassword)
		tab.Open("/publisher/apis/new")
		fillIn(tab, w, name)
		tab.Next(func() { tab.DoubleClick("Create") })
		tab.Until(`document.querySelector("h1")?.textContent === "` + name + `"`)
		one(t, tab, name)
	}
}

// TestBack goes back to a form that was sent, and sends it again; and back to a page that
// has shown a secret, which it does not do twice.
func TestBack(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	username, api := own("returner"), own("Returned")
	w.User(t, username, ui.Creator, ui.Subscriber)
	tab.SignIn(username, webtest.UserPassword)
	tab.Open("/publisher/apis/new")
	fillIn(tab, w, api)
	tab.Follow("Create")
	tab.Has("/" + strings.ToLower(api) + "/1.0.0")
	tab.Back()
	tab.Until(`document.querySelector("h1")?.textContent === "Design a New WebSocket API"`)
	if tab.Entry("Name") == "" {
		fillIn(tab, w, api) // the browser has asked for the form anew
	}
	tab.Follow("Create")
	one(t, tab, api)

	tab.Open("/devportal/" + w.Offered + "/wizard")
	tab.Follow("Generate")
	secret := browser.Read[string](tab, `document.getElementById("secret").textContent`)
	if !strings.HasPrefix(secret, "tgcs_") {
		t.Fatalf("the secret is %q", secret)
	}
	tab.Follow("My application")
	tab.Back()
	if text := browser.Read[string](tab, "document.documentElement.textContent"); strings.Contains(text, secret) {
		t.Error("the secret is shown again")
	}
}

// fillIn fills in the form of a new API.
func fillIn(tab *browser.Tab, w *webtest.World, name string) {
	tab.Fill("Name", name)
	tab.Fill("Context", "/"+strings.ToLower(name))
	tab.Fill("Endpoint", w.Backend)
}

// one looks whether the user has one API of a name.
func one(t *testing.T, tab *browser.Tab, name string) {
	t.Helper()
	tab.Open("/publisher?q=" + name)
	if n := browser.Read[int](tab, fmt.Sprintf(`[...document.querySelectorAll("a.name")].filter((e) => e.textContent === %q).length`, name)); n != 1 {
		t.Errorf("there are %d APIs %s, want 1:\n%s", n, name, tab.Text())
	}
}

// TestEditorsInConflict has two users change one version at a time: who saves second sees
// what the first has stored, keeps the own entries, and may replace it.
func TestEditorsInConflict(t *testing.T) {
	t.Parallel()
	first, w := newTab(t)
	username := own("editor")
	w.User(t, username, ui.Creator, ui.Publisher)
	first.SignIn(username, webtest.UserPassword)
	first.Open("/publisher/apis/new")
	fillIn(first, w, own("Edited"))
	first.Follow("Create")
	lifecycle := first.Another(t) // opened before anything changes
	first.Follow("Endpoint")
	second, _ := newTab(t)
	second.SignIn("admin", w.Password)
	second.Open(first.Location())
	lifecycle.Open(strings.TrimSuffix(first.Location(), "/endpoint") + "/lifecycle")

	second.Fill("Production", "ws://second.test")
	second.Follow("Save")
	second.Has("is saved")
	first.Fill("Production", "ws://first.test")
	first.Fill("Sandbox", "ws://sandbox.test")
	first.Follow("Save")
	first.Has("Somebody else has changed this meanwhile")
	first.Has("Stored now: ws://second.test")
	if got := first.Entry("Production") + " " + first.Entry("Sandbox"); got != "ws://first.test ws://sandbox.test" {
		t.Errorf("the entries are %q after a conflict", got)
	}
	first.Follow("Save")
	first.Has("is saved")
	second.Open(second.Location())
	if got := second.Entry("Production"); got != "ws://first.test" {
		t.Errorf("the endpoint is %q, want what was saved last", got)
	}

	// A button on a page that is no longer true says so, and does nothing.
	lifecycle.Follow("Publish")
	lifecycle.Has("Not published: somebody else has changed it meanwhile.")
	lifecycle.Open(strings.TrimSuffix(first.Location(), "/endpoint") + "/lifecycle")
	if strings.Contains(lifecycle.Text(), "live session") {
		t.Errorf("the version is published:\n%s", lifecycle.Text())
	}
}

// TestKeyboard signs in and creates an API by keys alone, of which each shows where it is,
// and skips to the content.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	username, api := own("keyed"), own("Keyed")
	w.User(t, username, ui.Creator)
	tab.Open("/publisher")
	tab.Type(username + "\t" + webtest.UserPassword)
	tab.Next(func() { tab.Type("\r") })
	goTo(t, tab, "Create API")
	tab.Next(func() { tab.Type("\r") })
	tab.Type(api)
	for _, label := range []string{"Context", "Version", "Endpoint"} {
		goTo(t, tab, label)
		if label != "Version" {
			tab.Type(map[string]string{"Context": "/" + strings.ToLower(api), "Endpoint": w.Backend}[label])
		}
	}
	goTo(t, tab, "Gold")
	tab.Type(" ")
	goTo(t, tab, "Create")
	tab.Next(func() { tab.Type("\r") })
	tab.Has("/" + strings.ToLower(api) + "/1.0.0")
	tab.Has("Gold")

	// The first key on a page leads to the link that skips what all pages have.
	tab.Open("/publisher")
	goTo(t, tab, "Skip to content")
	tab.Type("\r")
	tab.Until(`document.activeElement.id === "main"`)
	tab.Type("\t")
	if !browser.Read[bool](tab, `document.getElementById("main").contains(document.activeElement)`) {
		t.Error("after the content was skipped to, the next key leaves it")
	}

	// Escape closes the menu and is back at it.
	goTo(t, tab, "Your account")
	tab.Type("\r")
	tab.Until(`document.querySelector("details.menu").open`)
	tab.Type("\x1b")
	tab.Until(`!document.querySelector("details.menu").open && document.activeElement.tagName === "SUMMARY"`)
}

// goTo presses Tab until the focus is on what has these words. All on the way shows that it
// has the focus.
func goTo(t *testing.T, tab *browser.Tab, words string) {
	t.Helper()
	var way []string
	for range 60 {
		tab.Type("\t")
		at := browser.Read[struct {
			Words string
			Shown bool
		}](tab, `(() => {
			const e = document.activeElement, s = getComputedStyle(e), l = e.labels?.[0];
			const text = (e) => [...e.childNodes].filter((n) => !n.classList?.contains("hint")).map((n) => n.textContent).join("");
			const shown = s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1 || e === document.body;
			return { words: text(l || e).replace(/\s+/g, " ").trim(), shown };
		})()`)
		way = append(way, at.Words)
		if !at.Shown {
			t.Errorf("%q at %s does not show that it has the focus", at.Words, tab.Location())
		}
		if at.Words == words || strings.HasSuffix(at.Words, words) && words == "Your account" {
			return
		}
	}
	t.Fatalf("no Tab leads to %q at %s: %q", words, tab.Location(), way)
}

// TestMore shows the rest of a list in its place.
func TestMore(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	username := own("many")
	w.User(t, username, ui.Subscriber)
	ctx := w.As(t, username, webtest.UserPassword)
	for i := range 51 {
		_, err := subscriptionv1.NewApplicationServiceClient(w.Conn).CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{
			Application: &subscriptionv1.Application{DisplayName: fmt.Sprintf("Application %d", i+1)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	tab.SignIn(username, webtest.UserPassword)
	tab.Open("/devportal/applications")
	const rows = `document.querySelectorAll("#rows > tr:not(.more)").length`
	tab.Until(rows + " === 50")
	before := browser.Read[float64](tab, "performance.timeOrigin")
	tab.Click("50 more")
	tab.Until(rows + " === 51")
	if browser.Read[float64](tab, "performance.timeOrigin") != before || browser.Read[bool](tab, `Boolean(document.querySelector(".more"))`) {
		t.Errorf("another page is shown, or there is still more at %s", tab.Location())
	}
}
