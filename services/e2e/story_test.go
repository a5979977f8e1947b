package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/tidegatehq/tidegate/services/cli"
	"github.com/tidegatehq/tidegate/services/standalone"
)

// TestStory goes the way from nothing to an echo through the gateway, with each
// of the three tools that the README shows.
func TestStory(t *testing.T) {
	t.Parallel()
	examples := buildExamples(t)
	eachEngine(t, func(t *testing.T, s *Stack) { stories(t, s, examples) })
}

// stories tells all of them on one stack.
func stories(t *testing.T, s *Stack, examples string) {
	t.Run("command line", func(t *testing.T) {
		t.Parallel()
		storyCommandLine(t, s)
	})
	t.Run("curl", func(t *testing.T) {
		t.Parallel()
		storyCurl(t, s)
	})
	t.Run("go", func(t *testing.T) {
		t.Parallel()
		storyGo(t, s, examples)
	})
}

// shell gives commands to the command line, in this process.
type shell struct {
	stack  *Stack
	config string
}

// newShell returns a command line with a sign-in of its own.
func (s *Stack) newShell(t *testing.T) *shell { return &shell{stack: s, config: t.TempDir()} }

// try runs a command and returns what it printed and its exit code.
func (sh *shell) try(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	code = cli.Main(within(t), cli.Program{
		Args: args, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &err,
		Env: []string{
			"TIDEGATE_HOME=" + sh.config, "TIDEGATE_SERVER=" + sh.stack.GRPC, "TIDEGATE_CA=" + sh.stack.CA,
			"TIDEGATE_PORTAL=" + sh.stack.Portal,
		},
		Recover: func(ctx context.Context, r cli.Recovery) error {
			return standalone.Recover(ctx, standalone.Recovery(r))
		},
	})
	return out.String(), err.String(), code
}

// run runs a command that must succeed and returns what it printed.
func (sh *shell) run(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := sh.try(t, "", args...)
	if code != 0 {
		t.Fatalf("tidegate %s = %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// says runs a command that must succeed and print each of the words.
func (sh *shell) says(t *testing.T, words []string, args ...string) {
	t.Helper()
	stdout := sh.run(t, args...)
	for _, w := range words {
		if !strings.Contains(stdout, w) {
			t.Errorf("tidegate %s does not say %q:\n%s", strings.Join(args, " "), w, stdout)
		}
	}
}

// storyNarrowedTokens gets tokens of Phone for one address, which are good nowhere else.
func storyNarrowedTokens(t *testing.T, s *Stack, sh *shell) {
	for api, good := range map[string]bool{"Tide": true, "Tide/1.0.0": true, s.WSS + "/tide": true, "Ebb/2.1": false, s.WS + "/ebb/flow": false} {
		token := strings.TrimSpace(sh.run(t, "token", "Phone", "--api", api))
		stdout, stderr, code := sh.try(t, token+"\nnarrow\n", "connect", s.WS+"/tide/1.0.0", "--token", "-")
		if good && stdout != "narrow\n" || !good && !strings.Contains(stderr, "refused: 401 Unauthorized: ") {
			t.Errorf("connect with a token for %s = %q, %q, %d, want an echo: %v", api, stdout, stderr, code, good)
		}
	}
	for api, want := range map[string]string{
		"Nothing":              `--api: there is no version "Nothing"`,
		s.WS + "/tide/9.9.9":   "invalid_target: resource: must be an address as it is advertised",
		"wss://elsewhere/tide": "invalid_target: ",
	} {
		if _, stderr, code := sh.try(t, "", "token", "Phone", "--api", api); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("token --api %s = %q, %d, want %s", api, stderr, code, want)
		}
	}
}

func storyCommandLine(t *testing.T, s *Stack) {
	sh, backend := s.newShell(t), newBackend(t)
	sh.says(t, []string{"as admin (admin)"}, "login", "--password-file", s.PasswordFile)
	sh.says(t, []string{"admin", s.GRPC}, "whoami")
	sh.says(t, []string{"Gold", "Silver", "AsyncUnlimited", "5000 messages a minute"}, "plan", "list")
	sh.says(t, []string{"Created  Tide/1.0.0", "published", s.WS + "/tide/1.0.0", s.WSS + "/tide/1.0.0"},
		"api", "create", "Tide", "--endpoint", backend, "--plan", "Gold", "--plan", "Silver", "--publish")
	sh.says(t, []string{"created"}, "api", "create", "Ebb", "--context", "/ebb/flow", "--version", "2.1", "--endpoint", backend, "--plan", "Gold")
	sh.says(t, []string{"Published  Ebb/2.1"}, "api", "publish", "Ebb/2.1")
	sh.says(t, []string{"Tide", "/tide", "1.0.0 published", "Ebb", "2.1 published"}, "api", "list")
	sh.says(t, []string{"Tide", "1.0.0, published, default", s.WS + "/tide/1.0.0"}, "api", "get", "Tide")
	sh.says(t, []string{backend, "Gold, Silver"}, "api", "version", "get", "Tide")
	sh.says(t, []string{"Created  Phone"}, "app", "create", "Phone")
	sh.says(t, []string{"Phone", "Tide/1.0.0", "Gold"}, "subscribe", "Phone", "Tide/1.0.0", "--plan", "Gold")
	sh.says(t, []string{"Client id", "Secret", "production"}, "oauth-client", "create", "Phone")
	token := strings.TrimSpace(sh.run(t, "token", "Phone"))

	for _, address := range []string{s.WS + "/tide/1.0.0", s.WSS + "/tide/1.0.0", s.WS + "/tide"} {
		for _, how := range []string{"--query", "--no-query"} {
			args := []string{"connect", address, "--token", "-"}
			if how == "--query" {
				args = append(args, how)
			}
			stdout, stderr, code := sh.try(t, token+"\nhello\nthere\n", args...)
			if stdout != "hello\nthere\n" || code != 0 {
				t.Errorf("connect %s %s = %q, %q, %d, want an echo", address, how, stdout, stderr, code)
			}
		}
	}
	stdout, stderr, code := sh.try(t, "by name\n", "connect", "Tide/1.0.0", "--app", "Phone")
	if stdout != "by name\n" || code != 0 {
		t.Errorf("connect Tide/1.0.0 --app Phone = %q, %q, %d, want an echo", stdout, stderr, code)
	}
	_, stderr, code = sh.try(t, token, "connect", s.WS+"/ebb/flow/2.1", "--token", "-")
	if code != 1 || !strings.Contains(stderr, "refused: 403 Forbidden: ") {
		t.Errorf("connect without a subscription = %q, %d, want 403", stderr, code)
	}
	storyNarrowedTokens(t, s, sh)
	if _, stderr, code := sh.try(t, token, "token", "--revoke", "-"); code != 0 {
		t.Errorf("token --revoke = %d, %q", code, stderr)
	}
	eventually(t, func() error { // a cached judgement ends within a second
		_, stderr, code := sh.try(t, token, "connect", s.WS+"/tide/1.0.0", "--token", "-")
		if code != 1 || !strings.Contains(stderr, "refused: 401 Unauthorized: ") {
			return fmt.Errorf("connect with a revoked token = %q, %d, want 401", stderr, code)
		}
		return nil
	})
}

// curl calls the portal with the real curl.
type curl struct {
	stack *Stack
	token string
}

// call sends a request and returns its JSON answer.
func (c *curl) call(t *testing.T, method, path string, request any) map[string]any {
	t.Helper()
	args := []string{"-sS", "--fail-with-body", "--cacert", c.stack.CA, "-X", method, c.stack.Portal + path}
	if c.token != "" {
		args = append(args, "-H", "Authorization: Bearer "+c.token)
	}
	if request != nil {
		text, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, "-H", "Content-Type: application/json", "-d", string(text))
	}
	return c.run(t, args)
}

// run runs curl.
func (c *curl) run(t *testing.T, args []string) map[string]any {
	t.Helper()
	cmd := exec.CommandContext(within(t), "curl", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("curl %q: %v\n%s%s", args, err, out, stderr.String())
	}
	answer := map[string]any{}
	if len(out) > 0 {
		if err := json.Unmarshal(out, &answer); err != nil {
			t.Fatalf("curl %q answers %s: %v", args, out, err)
		}
	}
	return answer
}

// text returns a string of an answer.
func text(t *testing.T, answer map[string]any, field string) string {
	t.Helper()
	s, ok := answer[field].(string)
	if !ok || s == "" {
		t.Fatalf("the answer has no %s: %v", field, answer)
	}
	return s
}

func storyCurl(t *testing.T, s *Stack) {
	if _, err := exec.LookPath("curl"); err != nil {
		missing(t, "TIDEGATE_REQUIRE_CURL", "no curl on the path")
	}
	type object = map[string]any
	c, backend := &curl{stack: s}, newBackend(t)
	c.token = text(t, c.call(t, "POST", "/v1/users:signIn", object{"username": "admin", "password": s.password(t)}), "accessToken")
	plans, _ := c.call(t, "GET", "/v1/plans?filter=display_name%3D%22Silver%22", nil)["plans"].([]any)
	if len(plans) != 1 {
		t.Fatalf("plans = %v, want Silver", plans)
	}
	silver := text(t, plans[0].(object), "name")
	api := text(t, c.call(t, "POST", "/v1/apis", object{"displayName": "Surf", "context": "/surf"}), "name")
	version := c.call(t, "POST", "/v1/"+api+"/versions", object{
		"version": "1.0.0", "endpoints": object{"production": []object{{"url": backend}}}, "plans": []string{silver},
	})
	name := text(t, version, "name")
	if state := text(t, version, "state"); state != "STATE_CREATED" {
		t.Errorf("state = %s, want STATE_CREATED", state)
	}
	published := c.call(t, "POST", "/v1/"+name+":publish", object{})
	if state := text(t, published, "state"); state != "STATE_PUBLISHED" {
		t.Errorf("state = %s, want STATE_PUBLISHED", state)
	}
	app := text(t, c.call(t, "POST", "/v1/applications", object{"displayName": "Board"}), "name")
	c.call(t, "POST", "/v1/subscriptions", object{"application": app, "version": name, "plan": silver})
	client := c.call(t, "POST", "/v1/"+app+"/oauthClients", object{"stage": "STAGE_PRODUCTION"})
	secret := c.call(t, "POST", "/v1/"+text(t, client, "name")+"/secrets", object{})
	token := text(t, c.run(t, []string{
		"-sS", "--fail-with-body", "--cacert", s.CA, s.Portal + "/oauth2/token",
		"-u", text(t, client, "clientId") + ":" + text(t, secret, "secret"), "-d", "grant_type=client_credentials",
	}), "access_token")

	eventually(t, func() error { // nobody has waited until the gateway knows
		if status := s.refused(t, s.WS+"/surf/1.0.0", token); status != 101 {
			return fmt.Errorf("connect = %d, want 101", status)
		}
		return nil
	})
	echo(t, s.connect(t, s.WS+"/surf/1.0.0", token), websocket.MessageText, "from curl's token")
	echo(t, s.connect(t, s.WS+"/surf/1.0.0?access_token="+token, ""), websocket.MessageBinary, "\x00\xff")
}

// missing skips a test, or fails it where the variable says that nothing may be
// missing.
func missing(t *testing.T, variable, why string) {
	t.Helper()
	if os.Getenv(variable) == "1" {
		t.Fatalf("%s, and %s=1", why, variable)
	}
	t.Skip(why)
}
