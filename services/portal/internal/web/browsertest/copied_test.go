package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/e2e/browser"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// caught keeps what a page has put on the clipboard, which the tests' tabs share.
const caught = `(() => {
	const write = navigator.clipboard.writeText.bind(navigator.clipboard);
	window.caught = [];
	navigator.clipboard.writeText = async (text) => {
		await write(text);
		window.caught.push(text);
	};
})()`

// TestCopied clicks on every copy button that there is, and runs what each has copied.
func TestCopied(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	tab.Before(caught)
	username := own("copier")
	person := w.User(t, username, ui.Admin)
	tab.SignIn(username, webtest.UserPassword)

	// The wizard and the page of a new secret show what no other page does.
	version := "/devportal/" + w.Offered
	tab.Open(version + "/wizard")
	tab.Follow("Generate")
	made := copyAll(t, tab)
	set := made["the line that sets TOKEN"]
	runCopied(t, w, made, set)
	tab.Follow("My application")
	tab.Follow("Keys")
	keys := copyAll(t, tab)
	keys["the secret"] = made["the secret"]
	runCopied(t, w, keys, set)
	tab.Follow("New secret for production")
	runCopied(t, w, copyAll(t, tab), set)

	for path := range pages(w) {
		if len(person.Open(path).Attributes("data-copy")) == 0 || strings.HasSuffix(path, "/keys") {
			continue
		}
		tab.Open(path)
		runCopied(t, w, copyAll(t, tab), set)
	}
}

// copyAll clicks on the copy buttons of a page and returns what each has copied, by what it
// says that it copies.
func copyAll(t *testing.T, tab *browser.Tab) map[string]string {
	t.Helper()
	for _, summary := range browser.Read[[]string](tab, `[...document.querySelectorAll("main details:has([data-copy]) > summary")].map((e) => e.textContent)`) {
		tab.Click(summary)
	}
	buttons := browser.Read[[]string](tab, `[...document.querySelectorAll("[data-copy]")].map((e) => e.getAttribute("aria-label"))`)
	if len(buttons) == 0 {
		t.Errorf("%s has no copy button", tab.Location())
	}
	all := map[string]string{}
	for i, button := range buttons {
		tab.Click(button)
		tab.Until(fmt.Sprintf("caught.length === %d", i+1))
		text := browser.Read[string](tab, fmt.Sprintf("caught[%d]", i))
		what := strings.TrimPrefix(button, "Copy ")
		if _, again := all[what]; again || what == button {
			t.Errorf("%s has the button %q, want another name for each, as Copy the address", tab.Location(), button)
		}
		all[what] = text
	}
	tab.Until(`document.getElementById("said").textContent === "Copied."`)
	return all
}

// runCopied does what users do with what they have copied. set is a line that sets the
// variable TOKEN to a token that is good for the published version.
func runCopied(t *testing.T, w *webtest.World, copied map[string]string, set string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", set+"\nprintf %s \"$TOKEN\"").Output()
	if err != nil || len(out) == 0 {
		t.Fatalf("%s: %v", set, err)
	}
	token := string(out)
	for what, text := range copied {
		switch {
		case what == "the access token":
			connect(t, w, w.WSS+"/echo/2", text, http.StatusSwitchingProtocols)
		case what == "the line that sets TOKEN": // above
		case what == "the ws address", what == "the wss address":
			want := http.StatusSwitchingProtocols
			if strings.HasSuffix(text, "/1") {
				want = http.StatusNotFound // it is not published
			}
			connect(t, w, text, token, want)
		case strings.HasPrefix(what, "wscat line "):
			wscat(t, set, text)
		case strings.HasPrefix(what, "the client_id"), what == "the secret", what == "the token endpoint":
			if copied["the secret"] == "" {
				t.Errorf("%q is copied without a secret", what)
			}
		case what == "the settings", strings.HasPrefix(what, "the program"), strings.HasPrefix(what, "the script"):
			// Package e2e/snippets runs them.
			if text != strings.TrimSpace(text) || text == "" {
				t.Errorf("%s is %q", what, text)
			}
		default:
			t.Errorf("nothing runs %s: %q", what, text)
		}
	}
	if secret := copied["the secret"]; secret != "" {
		id := copied["the client_id"] + copied["the client_id for production"]
		connect(t, w, w.WSS+"/echo/2", fetchToken(t, w, copied["the token endpoint"], id, secret), http.StatusSwitchingProtocols)
	}
}

// connect opens a socket with a token.
func connect(t *testing.T, w *webtest.World, address, token string, want int) {
	t.Helper()
	if _, got := w.Dial(t, address, "Authorization", "Bearer "+token); got != want {
		t.Errorf("connect to %s = %d, want %d", address, got, want)
	}
}

// fetchToken asks the token endpoint as programs do.
func fetchToken(t *testing.T, w *webtest.World, endpoint, id, secret string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(id, secret)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.HTTP(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s = %d, %v", endpoint, resp.StatusCode, err)
	}
	return answer.AccessToken
}
