package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// command is one command line that a test gives.
type command struct {
	dir   string // of the sign-in
	env   []string
	stdin io.Reader
	ctx   context.Context // nil is the test's
}

// run runs the command and returns what it printed and its exit code.
func (c command) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	stdin := c.stdin
	if stdin == nil {
		stdin = strings.NewReader("")
	}
	ctx := c.ctx
	if ctx == nil {
		ctx = t.Context()
	}
	code = Main(ctx, Program{
		Args: args, Env: append([]string{"TIDEGATE_HOME=" + c.dir}, c.env...), Stdin: stdin, Stdout: &out, Stderr: &err,
		Serve:   func(_ context.Context, args []string) int { out.WriteString(strings.Join(args, "|")); return 7 },
		Version: "v1.2.3",
	})
	return out.String(), err.String(), code
}

// TestUsage gives command lines that are wrong before any server is asked.
func TestUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		stderr string
		code   int
	}{
		{[]string{"frobnicate"}, "tidegate: unexpected argument frobnicate", 2},
		{[]string{"--nonsense"}, "tidegate: unknown flag --nonsense", 2},
		{[]string{"api", "list", "--outptu", "json"}, "tidegate: api list: unknown flag --outptu, did you mean \"--output\"?", 2},
		{[]string{"api", "list", "-o", "xml"}, `tidegate: api list: --output: "xml" is none of table, json, yaml, csv`, 2},
		{[]string{"api", "list", "--timeout", "soon"}, `tidegate: api list: --timeout: "soon" is not a duration such as 30s, 12h or 7d`, 2},
		{[]string{"api", "create"}, `tidegate: api create: NAME: missing; see tidegate api create --help`, 2},
		{[]string{"api", "create", "Echo"}, "tidegate: api create: --endpoint: a backend is needed, as --endpoint ws://localhost:8080 (or --sandbox-endpoint)", 2},
		{[]string{"api", "create", "Echo", "more", "--endpoint", "ws://h"}, "tidegate: api create: unexpected argument more", 2},
		{[]string{"api", "publish"}, `tidegate: api publish: VERSION: missing; see tidegate api publish --help`, 2},
		{[]string{"api", "version", "list", "--state", "lost"}, `tidegate: api version list: --state: "lost" is none of created, published`, 2},
		{[]string{"subscribe", "App"}, `tidegate: subscribe: VERSION: missing; see tidegate subscribe --help`, 2},
		{[]string{"subscribe"}, `tidegate: subscribe: APP and VERSION: missing; see tidegate subscribe --help`, 2},
		{[]string{"completion", "csh"}, `tidegate: completion: SHELL: "csh" is none of bash, zsh, fish`, 2},
		{[]string{"token"}, "tidegate: token: give an application, or --client-id and --secret", 2},
		{[]string{"token", "App", "--client-id", "k", "--secret-file", secret}, "tidegate: token: give an application, or --client-id and --secret", 2},
		{[]string{"token", "--client-id", "k"}, "tidegate: token: --client-id and --secret (or --secret-file) go together", 2},
		{[]string{"token", "--client-id", "k", "--secret", "s", "--secret-file", "f"}, "tidegate: token: --secret and --secret-file: give one of them", 2},
		{[]string{"token", "--client-id", "k", "--secret-file", filepath.Join(dir, "none")}, "tidegate: token: --secret-file: open " + filepath.Join(dir, "none") + ": no such file or directory", 1},
		{[]string{"token", "--client-id", "k", "--secret", "@" + secret, "--portal", "http://localhost"}, `tidegate: token: --portal: "http://localhost" is not an https:// URL`, 2},
		{[]string{"token", "--client-id", "k", "--secret", "s3cret"}, "tidegate: token: --secret: a secret does not belong on the command line, where every user of this machine can read it: give it in TIDEGATE_CLIENT_SECRET, as @FILE, or - for standard input", 2},
		{[]string{"token", "App", "--revoke", "s3cret"}, "tidegate: token: --revoke: a secret does not belong on the command line, where every user of this machine can read it: give it as @FILE, or - for standard input", 2},
		{[]string{"token", "App", "--revoke", "-"}, "tidegate: token: --revoke: standard input is empty", 1},
		{[]string{"token", "--client-id", "k", "--secret", "@" + filepath.Join(dir, "none")}, "tidegate: token: --secret: open " + filepath.Join(dir, "none") + ": no such file or directory", 1},
		{[]string{"connect", "ws://localhost/x", "--token", "s3cret"}, "tidegate: connect: --token: a secret does not belong on the command line, where every user of this machine can read it: give it in TIDEGATE_TOKEN, as @FILE, or - for standard input", 2},
		{[]string{"connect", "ws://localhost/x", "-H", "authorization: Basic s3cret"}, "tidegate: connect: --header: authorization does not belong on the command line, where every user of this machine can read it: give a file with it, as @FILE", 2},
		{[]string{"connect", "ws://localhost/x?access_token=s3cret"}, "tidegate: connect: ADDRESS: a token does not belong on the command line, where every user of this machine can read it: give --token and --query", 2},
		{[]string{"record", "list", "--limit", "0"}, "tidegate: record list: --limit: 0 is not between 1 and 1000", 2},
		{[]string{"record", "list", "--limit", "many"}, `tidegate: record list: --limit: expected a valid 32 bit int but got "many"`, 2},
		{[]string{"user", "create", "bob"}, "tidegate: user create: missing flags: --role=ROLE,...", 2},
		{[]string{"user", "create", "bob", "--role", "king"}, `tidegate: user create: --role: "king" is not admin, creator, publisher or subscriber`, 2},
		{[]string{"connect", "ws://localhost/x", "--query", "--place", "cookie:a"}, `tidegate: connect: --query and --place: give one of them`, 2},
		{[]string{"connect", "ws://localhost/x", "--place", "body"}, `tidegate: connect: --place: "body": must be header:NAME, query:NAME, query:NAME:base64, cookie:NAME, subprotocol or first-message`, 2},
		{[]string{"connect", "http://localhost/x"}, `tidegate: connect: ADDRESS: "http://localhost/x" is not a ws:// or wss:// URL`, 2},
		{[]string{"connect", "ws:///x"}, `tidegate: connect: ADDRESS: "ws:///x" is not a ws:// or wss:// URL`, 2},
		{[]string{"connect", "ws://localhost/x", "-H", "novalue"}, `tidegate: connect: --header: "novalue" is not NAME:VALUE`, 2},
		{[]string{"connect", "ws://localhost/x", "--token", "t", "--app", "a"}, "tidegate: connect: --token and --app: give one of them", 2},
		{[]string{"certs"}, `tidegate: certs: DIR: missing; see tidegate certs --help`, 2},
		{[]string{"certs", dir, "--days", "0"}, "tidegate: certs: --days: 0 is not between 1 and 3650", 2},
		{[]string{"whoami", "--server", "localhost"}, `tidegate: whoami: --server: "localhost" is not host:port, such as localhost:9090`, 2},
		{[]string{"whoami", "--ca", filepath.Join(dir, "none")}, "tidegate: whoami: --ca: open " + filepath.Join(dir, "none") + ": no such file or directory", 1},
		{[]string{"whoami"}, "tidegate: whoami: not signed in to localhost:9090; sign in with: tidegate login", 1},
		{[]string{"login"}, "tidegate: login: no password was given: standard input is empty; use --password-file", 1},
		{[]string{"login", "--password-file", filepath.Join(dir, "none")}, "tidegate: login: --password-file: open " + filepath.Join(dir, "none") + ": no such file or directory", 1},
		{[]string{"login", "--password-file", os.DevNull}, "tidegate: login: --password-file: /dev/null is empty", 1},
	} {
		stdout, stderr, code := command{dir: dir}.run(t, c.args...)
		if stderr != c.stderr+"\n" || code != c.code || stdout != "" {
			t.Errorf("tidegate %q:\n stdout %q\n stderr %q, code %d\n want   %q, code %d", c.args, stdout, stderr, code, c.stderr+"\n", c.code)
		}
	}
}

// TestServe gives everything after serve to the server, and its exit code back.
func TestServe(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := command{dir: t.TempDir()}.run(t, "serve", "-data", "x", "--no-sample", "-h")
	if stdout != "-data|x|--no-sample|-h" || stderr != "" || code != 7 {
		t.Errorf("serve = %q, %q, %d, want its flags and 7", stdout, stderr, code)
	}
}

// TestServeElsewhere is told where the server does run.
func TestServeElsewhere(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	code := Main(t.Context(), Program{Args: []string{"serve", "-data", "x"}, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr})
	want := "tidegate: serve: the server needs Linux or macOS, and this is " + runtime.GOOS + "; every other command works here\n"
	if code != 1 || stderr.String() != want || stdout.Len() > 0 {
		t.Errorf("serve = %d, %q, %q, want 1, %q", code, stdout.String(), stderr.String(), want)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for args, want := range map[string][]string{
		"--help":              {"serve", "login", "api version create", "oauth-client create", "oauth-client secret create", "connect", "certs", "--server=HOST:PORT", "$TIDEGATE_CA"},
		"oauth-client --help": {"consumer key and consumer secret"},
		"api create --help":   {"--context=PATH", "--[no-]default", "--publish", "--plan=PLAN"},
		"help api create":     {"--context=PATH"},
		"help":                {"serve"},
		"":                    {"Usage: tidegate <command>", "serve"},
		"api":                 {"Usage: tidegate api <command>", "api create", "api version create"},
		"api version":         {"api version create"},
		"change":              {"Usage: tidegate change <command>", "change list"},
		"plan":                {"plan create", "plan list", "plan get", "plan update", "plan delete"},
		"deny":                {"deny create", "deny list", "deny get", "deny update", "deny delete"},
		"quota":               {"quota list", "quota reset", "quota add", "quota events"},
		"plan create --help":  {"--rate=UNIT=AMOUNT/TIME", "--quota=UNIT=AMOUNT/WINDOW", "-f, --file=FILE"},
		"usage --help":        {"--by=WHAT", "--order-by=WHAT", "--limits"},
		"api list --help":     {"--state=STATE"},
		"version":             {"tidegate v1.2.3\n"},
		"--version":           {"tidegate v1.2.3\n"},
	} {
		stdout, stderr, code := command{dir: t.TempDir()}.run(t, strings.Fields(args)...)
		for _, w := range want {
			if !strings.Contains(stdout, w) {
				t.Errorf("tidegate %s does not say %q:\n%s", args, w, stdout)
			}
		}
		if stderr != "" || code != 0 {
			t.Errorf("tidegate %s: stderr %q, code %d, want none and 0", args, stderr, code)
		}
	}
}

func TestCerts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "certs")
	c := command{dir: t.TempDir()}
	stdout, stderr, code := c.run(t, "certs", dir, "--master-key", "--host", "example.com")
	if code != 0 || stderr != "" || strings.Count(stdout, "\n") != 11 {
		t.Fatalf("certs = %q, %q, %d, want 11 files", stdout, stderr, code)
	}
	for path := range strings.Lines(stdout) {
		info, err := os.Stat(strings.TrimSpace(path))
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 0600", path, info, err)
		}
	}
	if _, stderr, code := c.run(t, "certs", dir); code != 1 || stderr != "tidegate: certs: DIR: write "+dir+"/ca.pem: file already exists; nothing was written\n" {
		t.Errorf("certs again = %q, %d, want a refusal", stderr, code)
	}
	if _, stderr, code := c.run(t, "certs", dir, "--master-key", "--if-missing"); code != 0 || stderr != "All files are in "+dir+".\n" {
		t.Errorf("certs --if-missing = %q, %d, want 0", stderr, code)
	}
	if err := os.Remove(filepath.Join(dir, "ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	if _, _, code := c.run(t, "certs", dir, "--master-key", "--if-missing"); code != 1 {
		t.Errorf("certs --if-missing with one file gone = %d, want 1", code)
	}
	if _, stderr, code := c.run(t, "certs", "/dev/null/certs"); code != 1 || stderr != "tidegate: certs: DIR: make the folder: mkdir /dev/null: not a directory\n" {
		t.Errorf("certs below a file = %q, %d, want a refusal", stderr, code)
	}
}

// TestSecrets gives a token and a secret in each way but on the command line.
func TestSecrets(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("Authorization: Bearer from a file\nX-Test: two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := newEcho(t) + "/x"
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("filed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		args  []string
		env   []string
		stdin string
		want  string
	}{
		{"environment", nil, []string{"TIDEGATE_TOKEN=env"}, "", "/x auth=Bearer env x=\n"},
		{"file", []string{"--token", "@" + token}, nil, "", "/x auth=Bearer filed x=\n"},
		{"file before environment", []string{"--token", "@" + token}, []string{"TIDEGATE_TOKEN=env"}, "", "/x auth=Bearer filed x=\n"},
		{"standard input", []string{"--token", "-"}, nil, "typed\n", "/x auth=Bearer typed x=\n"},
		{"an API key of the environment", []string{"--query"}, []string{"TIDEGATE_API_KEY=a+b"}, "", "/x?apikey=a%2Bb auth= x=\n"},
		{"an API key in a file", []string{"--query", "--key", "@" + token}, nil, "", "/x?apikey=filed auth= x=\n"},
		{"headers in a file", []string{"-H", "@" + file}, nil, "", "/x auth=Bearer from a file x=two\n"},
	} {
		cmd := command{dir: t.TempDir(), env: c.env, stdin: strings.NewReader(c.stdin)}
		stdout, stderr, code := cmd.run(t, append([]string{"connect", address}, c.args...)...)
		if stdout != c.want || code != 0 {
			t.Errorf("%s: %q, %q, %d, want %q", c.name, stdout, stderr, code, c.want)
		}
	}
}
