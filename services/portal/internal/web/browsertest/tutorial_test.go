package browsertest

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/e2e/browser"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// TestTutorial goes the ways of the tutorial, the publisher's and then the developer's,
// from signing in to a message that comes back.
func TestTutorial(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	username, api := own("tutor"), own("EchoWebSocket")
	w.User(t, username, ui.Creator, ui.Publisher, ui.Subscriber)
	publish(tab, w.Backend, api, username)
	wizard(tab, api)
	tab.Follow("Developer portal")
	tab.Follow(api)
	tab.Follow("Try it in the console")
	tab.Click("Connect")
	tab.Has("Connected: 101")
	tab.Fill("Message to send", "hello")
	tab.Click("Send")
	tab.Until(`document.querySelector("#c-rows .msg.in pre")?.textContent === "hello"`)
	for _, id := range []string{"c-sent", "c-received"} {
		tab.Until(`document.getElementById("` + id + `").textContent === "1 message, 5 B"`)
	}
	tab.Click("Disconnect")
	tab.Has("Closed: 1000")
}

// TestTutorialWithoutScripts goes the same ways in a browser that runs no script, up to
// the wizard's result, whose lines then work in a shell.
func TestTutorialWithoutScripts(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	username, api := own("plain"), own("PlainWebSocket")
	w.User(t, username, ui.Creator, ui.Publisher, ui.Subscriber)
	tab.WithoutScripts()
	publish(tab, w.Backend, api, username)
	wizard(tab, api)
	if got := browser.Read[int](tab, `[...document.querySelectorAll("[data-copy]")].filter((e) => e.checkVisibility()).length`); got != 0 {
		t.Errorf("%d copy buttons are shown, which do nothing", got)
	}
	copied := browser.Read[[]string](tab, `[...document.querySelectorAll("[data-copy]")].map((e) => document.getElementById(e.dataset.copy).textContent)`)
	set, lines := "", []string{}
	for _, line := range copied {
		switch {
		case strings.HasPrefix(line, "TOKEN="):
			set = line
		case strings.HasPrefix(line, "wscat"):
			lines = append(lines, line)
		}
	}
	if len(lines) != 4 {
		t.Fatalf("the wizard shows the lines %q, want four of wscat", copied)
	}
	wscat(t, set, lines[0])
}

// publish goes the publisher's way, beginning without a sign-in.
func publish(tab *browser.Tab, backend, name, username string) {
	tab.Open("/publisher")
	tab.Fill("Username", username)
	tab.Fill("Password", webtest.UserPassword)
	tab.Follow("Sign in")
	tab.Follow("Create API")
	tab.Has("Design a New WebSocket API")
	tab.Fill("Name", name)
	tab.Fill("Context", "/"+strings.ToLower(name))
	tab.Fill("Version", "1.0.0")
	tab.Fill("Endpoint", backend)
	tab.Click("Gold")
	tab.Follow("Create")
	tab.Has("/" + strings.ToLower(name) + "/1.0.0")
	tab.Follow("Lifecycle")
	tab.Follow("Publish")
	tab.Has("is published")
}

// wizard goes the developer's way up to keys.
func wizard(tab *browser.Tab, name string) {
	tab.Open("/devportal")
	tab.Follow(name)
	tab.Follow("Key generation wizard")
	tab.Follow("Generate")
	tab.Has("Copy the secret now")
}

// wscat runs the line of a page that sets the variable, and then the one that connects,
// with a message that comes back.
func wscat(t *testing.T, set, line string) {
	t.Helper()
	programs, err := filepath.Abs(filepath.Join(node(t), ".bin"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", set+"\n"+line+" -x hello -w 60 2>&1\n")
	cmd.Env = append(os.Environ(), "PATH="+programs+string(os.PathListSeparator)+os.Getenv("PATH"))
	stdin, err1 := cmd.StdinPipe() // at its end wscat goes
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	said := ""
	for out := bufio.NewScanner(stdout); !strings.Contains(said, "hello") && out.Scan(); {
		said += out.Text() + "\n"
	}
	if !strings.Contains(said, "hello") {
		t.Errorf("%s\n%s\nsays %q, want hello", set, line, said)
	}
	_ = stdin.Close()
	_ = cmd.Wait() // it was interrupted
}
