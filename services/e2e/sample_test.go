package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/cli"
)

// samplePath is where the gateway has the sample.
const samplePath = "/echowebsocket/1.0.0"

// bannerLine returns the line of the banner that begins like this, with the lines that
// it is continued on.
func bannerLine(t *testing.T, banner, start string) string {
	t.Helper()
	banner = strings.ReplaceAll(banner, "\\\n", "")
	m := regexp.MustCompile(`(?m)^  (` + regexp.QuoteMeta(start) + `.*)$`).FindStringSubmatch(banner)
	if m == nil {
		t.Fatalf("the banner has no line %q:\n%s", start, banner)
	}
	return m[1]
}

// stackOf returns the server that has printed a banner.
func stackOf(t *testing.T, banner, ca string) *Stack {
	t.Helper()
	m := regexp.MustCompile(`portal +(\S+) .*\n +WebSocket +(\S+), (\S+)\n +gRPC +(\S+)\n`).FindStringSubmatch(banner)
	if m == nil {
		t.Fatalf("the banner does not say where the server is:\n%s", banner)
	}
	return &Stack{Portal: m[1], WS: m[2], WSS: m[3], GRPC: m[4], CA: ca}
}

// sampleToken gets a token of the sample, as somebody who has not signed in.
func (s *Stack) sampleToken(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(s.newShell(t).run(t, "token", "EchoSample"))
}

// trySample talks to the sample by every way to it.
func (s *Stack) trySample(t *testing.T) {
	t.Helper()
	token := s.sampleToken(t)
	for _, base := range []string{s.WS, s.WSS} {
		for url, header := range map[string]string{base + samplePath: token, base + samplePath + "?access_token=" + token: ""} {
			conn := s.connect(t, url, header)
			echo(t, conn, websocket.MessageText, "hello")
			echo(t, conn, websocket.MessageBinary, "\x00\x01")
		}
	}
}

// banner returns what a server has printed for the user who started it.
func (s *server) banner() string {
	stdout, _ := s.output()
	return stdout
}

// TestSample pastes the lines that a first and a second start print: they work for
// somebody who has not signed in, and no token is printed.
func TestSample(t *testing.T) {
	t.Parallel()
	data := newData(t)
	s := start(t, data, quick()...)
	banner := s.banner()
	for _, word := range []string{s.Portal, s.WS, s.WSS, s.GRPC, filepath.Join(data, "admin-password"), filepath.Join(data, "ca.pem"), data + ", made now\n"} {
		if !strings.Contains(banner, word) {
			t.Errorf("the banner does not say %q:\n%s", word, banner)
		}
	}
	if strings.Contains(banner, "eyJ") {
		t.Errorf("the banner has a token in it:\n%s", banner)
	}
	pasteConnect(t, banner)
	s.trySample(t)
	token := s.sampleToken(t)
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
	if want := "Ctrl-C stops.\nStopping: live sessions have 100ms to end.\nTidegate has stopped.\n"; !strings.HasSuffix(s.banner(), want) {
		t.Errorf("at its end the server says\n%s\nwant\n%s", s.banner(), want)
	}

	again := start(t, data, quick()...)
	if want := data + ", found again\n"; !strings.Contains(again.banner(), want) {
		t.Errorf("the second banner does not say %q:\n%s", want, again.banner())
	}
	pasteConnect(t, again.banner())
	echo(t, again.connect(t, again.WS+samplePath, token), websocket.MessageText, "the first token")
	// Signed in, the same line works, though another command made no secret of the sample's.
	sh := again.newShell(t)
	sh.run(t, "login", "--password-file", again.PasswordFile)
	if stdout, stderr, code := sh.try(t, "signed in\n", "connect", "EchoWebSocket/1.0.0", "--app", "EchoSample"); stdout != "signed in\n" || code != 0 {
		t.Errorf("connect = %q, %q, %d, want an echo", stdout, stderr, code)
	}
	if _, stderr, code := sh.try(t, token, "token", "--revoke", "-"); code != 0 {
		t.Errorf("token --revoke = %q, %d", stderr, code)
	}
}

// pasteConnect runs the banner's line for the command line, as somebody who has never
// run it before.
func pasteConnect(t *testing.T, banner string) {
	t.Helper()
	line := bannerLine(t, banner, "tidegate connect EchoWebSocket/1.0.0 --app EchoSample")
	var stdout, stderr bytes.Buffer
	code := cli.Main(within(t), cli.Program{
		Args: strings.Fields(line)[1:], Env: []string{"TIDEGATE_HOME=" + t.TempDir()},
		Stdin: strings.NewReader("pasted\n"), Stdout: &stdout, Stderr: &stderr,
	})
	if code != 0 || stdout.String() != "pasted\n" {
		t.Errorf("%s = %q, %q, %d, want an echo", line, stdout.String(), stderr.String(), code)
	}
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
	later.trySample(t)
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
			"password changed", func(t *testing.T, p *user, _ string) { p.newPassword(t) }, "",
		},
		{
			"password changed and its file removed", func(t *testing.T, p *user, data string) {
				p.newPassword(t)
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
			if strings.HasPrefix(c.name, "password changed") {
				if strings.Contains(again.banner(), "login") {
					t.Errorf("the banner speaks of a password that was changed:\n%s", again.banner())
				}
				if _, log := again.output(); strings.Contains(log, "SIGN_IN_FAILED") {
					t.Errorf("the start has tried a password that was changed:\n%s", log)
				}
				// Nobody could lead the sample to the backend's new port; all else works.
				switch got := again.refused(t, again.WS+samplePath, again.sampleToken(t)); got {
				case 502, 101: // somebody else may have the old port by now
				default:
					t.Errorf("connect = %d, want 502", got)
				}
				return
			}
			pasteConnect(t, again.banner())
		})
	}
}

// newPassword changes the user's password.
func (p *user) newPassword(t *testing.T) {
	t.Helper()
	if _, err := p.users.ChangePassword(p.ctx(t), &identityv1.ChangePasswordRequest{
		Name: "users/me", CurrentPassword: p.stack.password(t), NewPassword: "another long password",
	}); err != nil {
		t.Fatal(err)
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
		missing(t, variable, "no packages of npm: run npm ci --prefix services/e2e/testdata/node")
	}
	return dir
}

// TestSampleWscat pastes the banner's line for wscat into a shell, where wscat is the
// real one and tidegate the real program.
func TestSampleWscat(t *testing.T) {
	t.Parallel()
	dir, bin := node(t), t.TempDir()
	buildTidegate(t, bin)
	s := start(t, newData(t), quick()...)
	line := bannerLine(t, s.banner(), "wscat ")
	// wscat sends the argument of -x, waits, and ends; it ends at once when its input
	// does.
	cmd := exec.CommandContext(within(t), "sh", "-c", line+" -x 'hello from wscat' -w 4")
	path := []string{filepath.Join(dir, "node_modules", ".bin"), bin, os.Getenv("PATH")}
	cmd.Env = append(os.Environ(), "PATH="+strings.Join(path, string(os.PathListSeparator)), "TIDEGATE_HOME="+t.TempDir())
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
}

// TestSampleBrowser runs the banner's lines for a browser's console in Node, with its
// names for the socket, the prompt and the console.
func TestSampleBrowser(t *testing.T) {
	t.Parallel()
	dir := node(t)
	s := start(t, newData(t), quick()...)
	_, after, _ := strings.Cut(s.banner(), "  w = new WebSocket(")
	line, _, _ := strings.Cut("w = new WebSocket("+after, "Ctrl-C")
	const around = `
		import WebSocket from 'ws';
		globalThis.WebSocket = WebSocket;
		globalThis.prompt = () => process.env.TOKEN;
		console.log = (message) => { process.stdout.write(message.data); w.close(); };
		(0, eval)(process.env.LINE);`
	cmd := exec.CommandContext(within(t), "node", "--input-type=module", "--eval", around)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TOKEN="+s.sampleToken(t), "LINE="+line)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "hello" {
		t.Errorf("%s: %v, %s, want hello", line, err, out)
	}
}

// TestSampleWs talks to the sample with Node's ws.
func TestSampleWs(t *testing.T) {
	t.Parallel()
	dir := node(t)
	s := start(t, newData(t), quick()...)
	token := s.sampleToken(t)
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
