package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// sampleLine is a line of the banner that can be pasted.
var sampleLine = regexp.MustCompile(`(?m)^    wscat (-n )?-c (\S+|"[^"]+")( -H "Authorization: Bearer (\S+)")?$`)

// sampleLines returns the four lines of the banner that talk to the sample.
func sampleLines(t *testing.T, banner string) []string {
	t.Helper()
	lines := sampleLine.FindAllString(banner, -1)
	if len(lines) != 4 {
		t.Fatalf("the banner has %d lines to paste, want 4:\n%s", len(lines), banner)
	}
	return lines
}

// banner returns what a server has printed for the user who started it.
func (s *server) banner() string {
	stdout, _ := s.output()
	return stdout
}

// pasteGo does what a line does, with a client in Go.
func pasteGo(t *testing.T, s *Stack, line string) {
	t.Helper()
	m := sampleLine.FindStringSubmatch(line)
	conn := s.connect(t, trimQuotes(m[2]), m[4])
	echo(t, conn, websocket.MessageText, "hello")
	echo(t, conn, websocket.MessageBinary, "\x00\x01")
}

// TestSample pastes the lines that a first and a second start print.
func TestSample(t *testing.T) {
	t.Parallel()
	data := newData(t)
	s := start(t, data, quick()...)
	banner := s.banner()
	if want := "has made its data folder, " + data; !strings.Contains(banner, want) {
		t.Errorf("the first banner does not say %q:\n%s", want, banner)
	}
	lines := sampleLines(t, banner)
	path := "/echowebsocket/1.0.0"
	token := sampleLine.FindStringSubmatch(lines[0])[4]
	want := []string{
		fmt.Sprintf(`    wscat -c %s%s -H "Authorization: Bearer %s"`, s.WS, path, token),
		fmt.Sprintf(`    wscat -n -c %s%s -H "Authorization: Bearer %s"`, s.WSS, path, token),
		fmt.Sprintf(`    wscat -c "%s%s?access_token=%s"`, s.WS, path, token),
		fmt.Sprintf(`    wscat -n -c "%s%s?access_token=%s"`, s.WSS, path, token),
	}
	if !slices.Equal(lines, want) {
		t.Errorf("lines = %q, want %q", lines, want)
	}
	for _, line := range lines {
		pasteGo(t, s.Stack, line)
	}
	for _, word := range []string{s.Portal, s.WS, s.WSS, s.GRPC, filepath.Join(data, "admin-password"), filepath.Join(data, "ca.pem")} {
		if !strings.Contains(banner, word) {
			t.Errorf("the banner does not say %q:\n%s", word, banner)
		}
	}
	ends := regexp.MustCompile(`a token that ends at (\S+):`).FindStringSubmatch(banner)
	if ends == nil {
		t.Fatalf("the banner does not say when the token ends:\n%s", banner)
	}
	if at, err := time.Parse(time.RFC3339, ends[1]); err != nil || time.Until(at) > time.Hour || time.Until(at) < 50*time.Minute {
		t.Errorf("the token ends at %s, %v, want in an hour", ends[1], err)
	}
	p := s.admin(t)
	plans, err := p.catalog.ListVersions(p.ctx(t), &catalogv1.ListVersionsRequest{Parent: "apis/-"})
	if err != nil || len(plans.GetVersions()) != 1 || !slices.Equal(plans.GetVersions()[0].GetPlans(), []string{p.plan(t, "Gold"), p.plan(t, "Silver")}) {
		t.Errorf("versions = %v, %v, want one with Gold and Silver", plans, err)
	}
	echo(t, s.connect(t, s.WS+"/echowebsocket", token), websocket.MessageText, "the default version")
	s.stop()
	if code := s.wait(t); code != 0 {
		t.Errorf("the server ended with %d, want 0", code)
	}

	again := start(t, data, quick()...)
	if want := "found its data again in " + data; !strings.Contains(again.banner(), want) {
		t.Errorf("the second banner does not say %q:\n%s", want, again.banner())
	}
	for _, line := range sampleLines(t, again.banner()) {
		if strings.Contains(line, token) {
			t.Errorf("the second start prints the first one's token: %s", line)
		}
		pasteGo(t, again.Stack, line)
	}
	echo(t, again.connect(t, again.WS+path, token), websocket.MessageText, "the first token")
}

// TestFiles looks at what a start leaves in the data folder: nobody else can
// read it.
func TestFiles(t *testing.T) {
	t.Parallel()
	data := newData(t)
	s := start(t, data, quick()...)
	if info, err := os.Stat(data); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the data folder = %v, %v, want 0700", info.Mode(), err)
	}
	var kept map[string]any
	text, err := os.ReadFile(filepath.Join(data, "sample.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &kept); err != nil || kept["made"] != true {
		t.Errorf("sample.json = %s, %v, want a sample that was made", text, err)
	}
	eventually(t, func() error { // the gateway asks for it once it serves
		_, err := os.Stat(filepath.Join(data, "token-issuer"))
		return err
	})
	s.stop()
	s.wait(t)
	var names []string
	entries, err := os.ReadDir(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
		if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("mode of %s = %v, %v, want one for its owner only", e.Name(), info.Mode(), err)
		}
	}
	want := []string{
		"admin-password", "ca-key.pem", "ca.pem", "catalog.db", "issuer", "master-key", "routes",
		"sample.json", "server-key.pem", "server.pem", "subscription.db", "token-issuer",
	}
	if !slices.Equal(names, want) {
		t.Errorf("files = %q, want %q", names, want)
	}
}

// TestNoSample starts empty.
func TestNoSample(t *testing.T) {
	t.Parallel()
	data := newData(t)
	s := start(t, data, append(quick(), "-no-sample")...)
	p := s.admin(t)
	apis, err := p.catalog.ListApis(p.ctx(t), &catalogv1.ListApisRequest{})
	if err != nil || len(apis.GetApis()) != 0 {
		t.Errorf("ListApis = %v, %v, want none", apis, err)
	}
	if strings.Contains(s.banner(), "wscat") || strings.Contains(s.banner(), "sample") {
		t.Errorf("the banner speaks of a sample:\n%s", s.banner())
	}
	if _, err := os.Stat(filepath.Join(data, "sample.json")); !os.IsNotExist(err) {
		t.Errorf("sample.json: %v, want none", err)
	}
	s.stop()
	s.wait(t)
	// Wanted later, it is made then.
	later := start(t, data, quick()...)
	for _, line := range sampleLines(t, later.banner()) {
		pasteGo(t, later.Stack, line)
	}
}

// TestSampleChanged starts again after the user has changed the sample.
func TestSampleChanged(t *testing.T) {
	t.Parallel()
	backend := newBackend(t)
	for _, c := range []struct {
		name   string
		change func(t *testing.T, p *user, data string)
		want   string // in the banner; empty for lines that work
	}{
		{
			"sample.json removed", func(t *testing.T, _ *user, data string) {
				if err := os.Remove(filepath.Join(data, "sample.json")); err != nil {
					t.Fatal(err)
				}
			}, "",
		},
		{
			"half-made", func(t *testing.T, p *user, data string) {
				if err := os.WriteFile(filepath.Join(data, "sample.json"), []byte("{}"), 0o600); err != nil {
					t.Fatal(err)
				}
				list, err := p.subs.ListSubscriptions(p.ctx(t), &subscriptionv1.ListSubscriptionsRequest{})
				if err != nil || len(list.GetSubscriptions()) != 1 {
					t.Fatalf("ListSubscriptions = %v, %v", list, err)
				}
				if _, err := p.subs.DeleteSubscription(p.ctx(t), &subscriptionv1.DeleteSubscriptionRequest{Name: list.GetSubscriptions()[0].GetName()}); err != nil {
					t.Fatal(err)
				}
			}, "",
		},
		{
			"password changed", func(t *testing.T, p *user, data string) {
				if _, err := p.users.ChangePassword(p.ctx(t), &identityv1.ChangePasswordRequest{
					Name: "users/me", CurrentPassword: p.stack.password(t), NewPassword: "another long password",
				}); err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(filepath.Join(data, "admin-password")); err != nil {
					t.Fatal(err)
				}
			}, "",
		},
		{
			"its backend exchanged", func(t *testing.T, p *user, _ string) {
				v := p.onlyVersion(t)
				if _, err := p.catalog.UpdateVersion(p.ctx(t), &catalogv1.UpdateVersionRequest{Version: &catalogv1.Version{
					Name: v.GetName(), Endpoints: &catalogv1.Endpoints{Production: endpoint(backend)},
				}}); err != nil {
					t.Fatal(err)
				}
			}, "",
		},
		{
			"demoted", func(t *testing.T, p *user, _ string) {
				p.demote(t, p.onlyVersion(t).GetName())
			}, "There is no sample to try: it was changed or deleted since it was made; remove sample.json",
		},
		{
			"deleted", func(t *testing.T, p *user, _ string) {
				v := p.demote(t, p.onlyVersion(t).GetName())
				api, _, _ := strings.Cut(v.GetName(), "/versions/")
				if _, err := p.catalog.DeleteApi(p.ctx(t), &catalogv1.DeleteApiRequest{Name: api, Force: true}); err != nil {
					t.Fatal(err)
				}
			}, "There is no sample to try: it was changed or deleted since it was made; remove sample.json",
		},
		{
			"sample.json damaged", func(t *testing.T, _ *user, data string) {
				if err := os.WriteFile(filepath.Join(data, "sample.json"), []byte("{"), 0o600); err != nil {
					t.Fatal(err)
				}
			}, "There is no sample to try: sample.json is damaged; remove it",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			data := newData(t)
			s := start(t, data, quick()...)
			c.change(t, s.admin(t), data)
			s.stop()
			s.wait(t)
			again := start(t, data, quick()...)
			if c.want != "" {
				if !strings.Contains(again.banner(), c.want) || strings.Contains(again.banner(), "wscat") {
					t.Errorf("the banner does not say %q:\n%s", c.want, again.banner())
				}
				return
			}
			lines := sampleLines(t, again.banner())
			if c.name == "password changed" {
				// Nobody could lead the sample to the backend's new port; all else works.
				token := sampleLine.FindStringSubmatch(lines[0])[4]
				switch got := again.refused(t, again.WS+"/echowebsocket/1.0.0", token); got {
				case 502, 101: // somebody else may have the old port by now
				default:
					t.Errorf("connect = %d, want 502", got)
				}
				return
			}
			for _, line := range lines {
				pasteGo(t, again.Stack, line)
			}
		})
	}
}

// onlyVersion returns the only version that there is.
func (p *user) onlyVersion(t *testing.T) *catalogv1.Version {
	t.Helper()
	list, err := p.catalog.ListVersions(p.ctx(t), &catalogv1.ListVersionsRequest{Parent: "apis/-"})
	if err != nil || len(list.GetVersions()) != 1 {
		t.Fatalf("ListVersions = %v, %v, want one", list, err)
	}
	return list.GetVersions()[0]
}

// node returns the folder of the Node clients and a path that finds them, or
// skips the test.
func node(t *testing.T) (dir string) {
	t.Helper()
	const variable = "TIDEGATE_REQUIRE_NODE"
	if _, err := exec.LookPath("node"); err != nil {
		missing(t, variable, "no Node on the path")
	}
	dir, err := filepath.Abs("testdata/node")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".bin", "wscat")); err != nil {
		missing(t, variable, "no wscat: run npm ci in services/standalone/testdata/node")
	}
	return dir
}

// TestSampleWscat pastes the lines of the banner into a shell, where wscat is
// the real one.
func TestSampleWscat(t *testing.T) {
	t.Parallel()
	dir := node(t)
	s := start(t, newData(t), quick()...)
	for i, line := range sampleLines(t, s.banner()) {
		t.Run([]string{"ws", "wss", "ws, query", "wss, query"}[i], func(t *testing.T) {
			t.Parallel()
			// wscat sends the argument of -x, waits, and ends; it ends at once when
			// its input does.
			cmd := exec.CommandContext(within(t), "sh", "-c", strings.TrimSpace(line)+" -x 'hello from wscat' -w 4")
			cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "node_modules", ".bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil || !strings.Contains(out.String(), "hello from wscat") {
				t.Errorf("%s: %v\n%s", line, err, out.String())
			}
		})
	}
}

// TestSampleWs talks to the sample with Node's ws.
func TestSampleWs(t *testing.T) {
	t.Parallel()
	dir := node(t)
	s := start(t, newData(t), quick()...)
	token := sampleLine.FindStringSubmatch(sampleLines(t, s.banner())[0])[4]
	for _, base := range []string{s.WS, s.WSS} {
		cmd := exec.CommandContext(within(t), "node", "echo.mjs", base+"/echowebsocket/1.0.0", token)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+s.CA)
		out, err := cmd.CombinedOutput()
		want := "text hello\nbinary 00ff\nfragments one two three\nprotocol chat\nclosed 1000\n"
		if err != nil || string(out) != want {
			t.Errorf("node echo.mjs %s: %v\n%s\nwant\n%s", base, err, out, want)
		}
	}
}

// trimQuotes takes the quotes from an argument of a shell.
func trimQuotes(arg string) string { return strings.Trim(arg, `"`) }
