package run_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/run"
)

// secret is the value of a flag that may be one.
type secret string

func (s *secret) Set(text string) error { *s = secret(text); return nil }
func (s *secret) String() string {
	if s == nil {
		return ""
	}
	return string(*s)
}

func (s *secret) CheckPublic(text string) error {
	if strings.Contains(text, "@") {
		return errors.New("a password does not belong there")
	}
	return nil
}

// configured is a configuration with values of all kinds.
type configured struct {
	DB       secret
	Drain    time.Duration
	Sample   bool
	Ping     time.Duration
	Sessions int
	Hosts    string
	Instance string
}

func (c *configured) flags(fs *flag.FlagSet) {
	fs.Var(&c.DB, "db", "database `url`")
	fs.DurationVar(&c.Drain, "drain", time.Second, "how `long`")
	fs.BoolVar(&c.Sample, "no-sample", false, "without the sample")
	fs.DurationVar(&c.Ping, "gateway.ping", 30*time.Second, "how `long`")
	fs.IntVar(&c.Sessions, "gateway.max-sessions", 0, "a `number`")
	run.ListVar(fs, &c.Hosts, "ops-hosts", "localhost", "`names`")
	fs.StringVar(&c.Instance, "gateway.instance", "host-1", "`name`")
	fs.Lookup("gateway.instance").DefValue = "the machine's name"
}

// start runs the program prog with the configuration, and returns what it says.
func (c *configured) start(t *testing.T, p run.Program, check error) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	p.Name, p.Stdout, p.Stderr = "prog", &out, &err
	code = run.Exec(t.Context(), p, c.flags, func() error { return check }, func(context.Context, *slog.Logger) error {
		return run.Misconfigured(check)
	})
	return code, out.String(), err.String()
}

// write writes a configuration file and returns its path.
func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prog.yaml")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPrecedence gives values in the file, the environment and on the command line.
func TestPrecedence(t *testing.T) {
	path := write(t, `# a sample
drain: 2s
no-sample: true
gateway:
  ping: 3s
gateway.max-sessions: 0x10
ops-hosts: [a.example, b.example]
log-level: debug
`, 0o644)
	other := write(t, "ops-hosts: localhost,c.example\n", 0o644)
	for _, tt := range []struct {
		args, env []string
		want      configured
	}{
		{[]string{"-config", path}, nil, configured{"", 2 * time.Second, true, 3 * time.Second, 16, "a.example,b.example", "host-1"}},
		{[]string{"-config=" + path, "-drain", "4s"}, []string{"TIDEGATE_PROG_DRAIN=3s", "TIDEGATE_PROG_GATEWAY_PING=5s", "TIDEGATE_PROG_OPS_HOSTS="},
			configured{"", 4 * time.Second, true, 5 * time.Second, 16, "", "host-1"}},
		{nil, []string{"TIDEGATE_PROG_CONFIG=" + path, "TIDEGATE_PROG_NO_SAMPLE=false"}, configured{"", 2 * time.Second, false, 3 * time.Second, 16, "a.example,b.example", "host-1"}},
		{[]string{"-config", other}, []string{"TIDEGATE_PROG_CONFIG=" + path}, configured{"", time.Second, false, 30 * time.Second, 0, "localhost,c.example", "host-1"}},
		{[]string{"-config", ""}, []string{"TIDEGATE_PROG_CONFIG=" + path}, configured{"", time.Second, false, 30 * time.Second, 0, "localhost", "host-1"}},
	} {
		var c configured
		if code, _, stderr := c.start(t, run.Program{Args: tt.args, Env: tt.env}, nil); code != 0 || c != tt.want {
			t.Errorf("%q with %q = %d, %s%+v, want %+v", tt.args, tt.env, code, stderr, c, tt.want)
		}
	}
	for _, text := range []string{"", "# nothing\n", "---\n", "gateway: {}\n"} {
		var c configured
		if code, _, stderr := c.start(t, run.Program{Args: []string{"-config", write(t, text, 0o600)}}, nil); code != 0 {
			t.Errorf("the file %q is refused: %s", text, stderr)
		}
	}
}

// TestFileMistakes reads files with mistakes: all are reported, each with its line.
func TestFileMistakes(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"drian: 2s\n\nlog_level: debug\ngatway:\n  ping: 1s\ncolour: red\n", []string{
			"1: drian: unknown key; did you mean drain?", "3: log_level: unknown key; did you mean log-level?",
			"4: gatway: unknown key; did you mean gateway?", "6: colour: unknown key"}},
		{"gateway:\n  pingg: 1s\n  max-sessions: many\nping: 1s\ngateway.drain: 1s\n", []string{
			"2: gateway.pingg: unknown key; did you mean gateway.ping?", "4: ping: unknown key; did you mean gateway.ping?",
			"5: gateway.drain: unknown key; did you mean drain?", `3: gateway.max-sessions: invalid value "many": want a whole number`}},
		{"drain: soon\nno-sample: yes\nlog-level: loud\nlog-format: 1\n", []string{
			`1: drain: invalid value "soon": want a duration with its unit, such as 300ms, 10s, 5m or 24h`, `2: no-sample: invalid value "yes": want true or false`,
			`3: log-level: invalid value "loud": want debug, info, warn or error`, `4: log-format: invalid value "1": want text or json`}},
		{"drain: [1s]\nops-hosts: {a: b}\ngateway: 3\ngateway.ping:\n", []string{
			"1: drain: want one value", "2: ops-hosts: want a list", "3: gateway: want a map of flags, as log-level: debug",
			`4: gateway.ping: has no value; "" is the empty one`}},
		{"ops-hosts: [a, [b]]\ndrain: &x 1s\ngateway.ping: *x\n? [a]\n: 1\n", []string{
			"1: ops-hosts: each member of the list is one text without a comma", "3: gateway.ping: an alias is not followed; write the value", "4: a key is the name of a flag"}},
		{"drain: 1s\ndrain: 2s\ngateway.ping: 1s\ngateway: {ping: 2s}\n", []string{
			"2: drain: is set already in line 1", "4: gateway.ping: is set already in line 3"}},
		{"config: x\nversion: true\nprint-config: true\n", []string{
			"1: config: cannot be set in a file", "2: version: cannot be set in a file", "3: print-config: cannot be set in a file"}},
		{"drain: 1s\n---\ndrain: 2s\n", []string{"1: only one document may be in the file"}},
		{"- drain\n", []string{"1: want a map of flags, as log-level: debug"}},
		{"drain: 1s\n\tx: 1\n", []string{"2: not YAML: found a tab character that violates indentation"}},
		{"db: u@h\n", []string{"1: db: a password does not belong there"}},
	} {
		path := write(t, tt.text, 0o644)
		var c configured
		code, _, stderr := c.start(t, run.Program{Args: []string{"-config", path}}, nil)
		want := ""
		for _, line := range tt.want {
			want += "prog: " + path + ":" + line + "\n"
		}
		if code != 2 || stderr != want {
			t.Errorf("the file\n%s= %d\n%swant 2\n%s", tt.text, code, stderr, want)
		}
	}
}

// TestAllMistakesNameTheirSource makes mistakes in the file, the environment and on the
// command line, and one that only the program's check finds.
func TestAllMistakesNameTheirSource(t *testing.T) {
	path := write(t, "\ndrain: -1s\ngateway.ping: often\nsize: 1\n", 0o644)
	check := errors.Join(errors.New("-drain: must not be negative"), errors.New("-gateway.max-sessions: must not be negative"),
		errors.New("-gateway.instance: has spaces"), errors.New("-ops-hosts: is wrong by default"))
	var c configured
	code, _, stderr := c.start(t, run.Program{
		Args: []string{"-gateway.instance", "a b", "-gracce", "1s", "-no-sampel=true", "stray"},
		Env:  []string{"TIDEGATE_PROG_CONFIG=" + path, "TIDEGATE_PROG_GATEWAY_MAX_SESSIONS=-1", "TIDEGATE_PROG_DRIAN=1s"},
	}, check)
	want := strings.ReplaceAll(`prog: FILE:4: size: unknown key
prog: TIDEGATE_PROG_DRIAN: unknown variable; did you mean TIDEGATE_PROG_DRAIN?
prog: unknown flag -gracce
prog: unknown flag -no-sampel; did you mean -no-sample?
prog: unexpected argument "stray"
prog: FILE:3: gateway.ping: invalid value "often": want a duration with its unit, such as 300ms, 10s, 5m or 24h
prog: -drain: must not be negative (set in FILE:2)
prog: -gateway.max-sessions: must not be negative (set by TIDEGATE_PROG_GATEWAY_MAX_SESSIONS)
prog: -gateway.instance: has spaces
prog: -ops-hosts: is wrong by default
`, "FILE", path)
	if code != 2 || stderr != want {
		t.Errorf("Exec = %d\n%swant 2\n%s", code, stderr, want)
	}
	for _, p := range []run.Program{{Args: []string{"-config", path + ".not"}}, {Env: []string{"TIDEGATE_PROG_CONFIG=" + path + ".not"}}} {
		code, _, stderr := c.start(t, p, nil)
		if by := slices.Concat(p.Args, []string{"TIDEGATE_PROG_CONFIG"})[0]; code != 2 || !strings.HasPrefix(stderr, "prog: "+by+": open "+path+".not: no such file") {
			t.Errorf("a file that is not there = %d, %s, want 2 and %s", code, stderr, by)
		}
	}
}

// TestSecretInFile gives a secret in a file that only its owner can read.
func TestSecretInFile(t *testing.T) {
	var c configured
	path := write(t, "db: u@h\n", 0o640)
	if code, _, stderr := c.start(t, run.Program{Args: []string{"-config", path}}, nil); code != 0 || c.DB != "u@h" {
		t.Errorf("a secret in a file of mode 0640 = %d, %s, db %q", code, stderr, c.DB)
	}
	code, stdout, _ := c.start(t, run.Program{Args: []string{"-config", path, "-print-config"}}, nil)
	if code != 0 || strings.Contains(stdout, "u@h") || !strings.Contains(stdout, "# db: a secret, which is not shown ("+path+":1)\n") {
		t.Errorf("-print-config = %d\n%swant that db is left out", code, stdout)
	}
}

// TestPrintConfig prints a configuration and reads it again.
func TestPrintConfig(t *testing.T) {
	var c, again configured
	path := write(t, "drain: 2s\ngateway: {ping: 1m}\nops-hosts: [a, b.example]\n", 0o600)
	p := run.Program{Args: []string{"-print-config", "-gateway.max-sessions=3", "-config", path}, Env: []string{"TIDEGATE_PROG_NO_SAMPLE=1", "TIDEGATE_PROG_DB=9443"}}
	code, stdout, stderr := c.start(t, p, errors.New("-db: is wrong"))
	want := strings.ReplaceAll(fmt.Sprintf(`# The configuration of prog %s. -config takes it as a file.
db: "9443" # TIDEGATE_PROG_DB
drain: 2s # FILE:1
# gateway.instance: the machine's name (default)
gateway.max-sessions: 3 # -gateway.max-sessions
gateway.ping: 1m0s # FILE:2
log-format: text # default
log-level: info # default
no-sample: true # TIDEGATE_PROG_NO_SAMPLE
ops-hosts: [a, b.example] # FILE:3
`, run.Version()), "FILE", path)
	if code != 2 || stdout != want || stderr != "prog: -db: is wrong (set by TIDEGATE_PROG_DB)\n" {
		t.Errorf("-print-config = %d\n%s%swant 2\n%s", code, stdout, stderr, want)
	}
	printed := write(t, stdout, 0o600)
	if code, _, stderr := again.start(t, run.Program{Args: []string{"-config", printed}}, nil); code != 0 || again != c {
		t.Errorf("what -print-config prints = %d, %s%+v, want %+v", code, stderr, again, c)
	}
}

// TestHelp prints the help: by area, in lines that fit a terminal.
func TestHelp(t *testing.T) {
	flags := func(fs *flag.FlagSet) {
		fs.Duration("drain", time.Second, "how `long` sessions have to end after the program was asked to stop, which is never too long")
		for _, name := range []string{"grpc", "grpc-cert", "grpc-key", "ops", "ops-hosts"} {
			fs.String(name, "", "`text`")
		}
	}
	var out bytes.Buffer
	if code := run.Exec(t.Context(), run.Program{Name: "prog", Args: []string{"-x", "-help"}, Stdout: &out}, flags, nothing, nil); code != 0 {
		t.Errorf("-help = %d, want 0", code)
	}
	want := `
  -drain long
      how long sessions have to end after the program was asked to stop, which
      is never too long
      default 1s; TIDEGATE_PROG_DRAIN
  -log-format format
      log format: text or json
      default text; TIDEGATE_PROG_LOG_FORMAT
`
	if !strings.Contains(out.String(), want) {
		t.Errorf("-help prints\n%s\nwant in it\n%s", out.String(), want)
	}
	if want := "  -version\n      print the version and exit\n\n-grpc…\n\n  -grpc text\n      text\n      TIDEGATE_PROG_GRPC\n  -grpc-cert"; !strings.Contains(out.String(), want) {
		t.Errorf("-help prints\n%s\nwant in it\n%s", out.String(), want)
	}
	for line := range strings.Lines(out.String()) {
		if len([]rune(line)) > 81 {
			t.Errorf("-help prints a line that is too long: %s", line)
		}
	}
}

// TestVariables gives variables that are not the program's.
func TestVariables(t *testing.T) {
	links := strings.Fields(`TIDEGATE_PROG_SERVICE_HOST=10.0.0.1 TIDEGATE_PROG_SERVICE_PORT=9090 TIDEGATE_PROG_SERVICE_PORT_WSS=8099
		TIDEGATE_PROG_PORT=tcp://10.0.0.1:9090 TIDEGATE_PROG_PORT_9090_TCP=tcp://10.0.0.1:9090 TIDEGATE_PROG_PORT_9090_TCP_PROTO=tcp
		TIDEGATE_PROG_PORT_9090_TCP_PORT=9090 TIDEGATE_PROG_PORT_9090_TCP_ADDR=10.0.0.1 TIDEGATE_PROG_PORT_53_UDP_PROTO=udp
		TIDEGATE_PROG_EU_METRICS_SERVICE_HOST=fd00::1 TIDEGATE_PROG_EU_METRICS_PORT=tcp://[fd00::1]:9090`)
	for _, tt := range []struct {
		env  []string
		want string // "" where the program starts
	}{
		{links, ""},
		{[]string{"TIDEGATE_SERVER=a", "TIDEGATE_PROGRAM=x", "PATH=/", "TIDEGATE_PROG_SHARED=x"}, ""},
		{[]string{"TIDEGATE_PROG_PORT=9090"}, "prog: TIDEGATE_PROG_PORT: unknown variable\n"},
		{[]string{"TIDEGATE_PROG_SERVICE_HOST=soon"}, "prog: TIDEGATE_PROG_SERVICE_HOST: unknown variable\n"},
		{[]string{"TIDEGATE_PROG_GATEWAY_DRAIN=1s"}, "prog: TIDEGATE_PROG_GATEWAY_DRAIN: unknown variable; did you mean TIDEGATE_PROG_DRAIN?\n"},
		{[]string{"TIDEGATE_PROG_PING="}, "prog: TIDEGATE_PROG_PING: unknown variable; did you mean TIDEGATE_PROG_GATEWAY_PING?\n"},
		{[]string{"TIDEGATE_PROG_VERSION=1", "TIDEGATE_PROG_OPS_HOST=x"},
			"prog: TIDEGATE_PROG_OPS_HOST: unknown variable; did you mean TIDEGATE_PROG_OPS_HOSTS?\nprog: TIDEGATE_PROG_VERSION: unknown variable\n"},
	} {
		var c configured
		code, _, stderr := c.start(t, run.Program{Env: tt.env, OtherVariables: []string{"TIDEGATE_PROG_SHARED"}}, nil)
		if stderr != tt.want || (code == 0) != (tt.want == "") {
			t.Errorf("%q = %d, %q, want %q", tt.env, code, stderr, tt.want)
		}
	}
	for env, want := range map[string]string{
		"TIDEGATE_REQUIRE_NODE=1": "", "TIDEGATE_TEST_POSTGRES_URL=x": "", "TIDEGATE_SEED=1": "", "TIDEGATE_GATEWAY_PORT=tcp://10.0.0.1:9099": "",
		"TIDEGATE_SEEDS=1": "TIDEGATE_SEEDS: unknown variable", "TIDEGATE_GATEWAY_DRAIN=1s": "TIDEGATE_GATEWAY_DRAIN: unknown variable; did you mean TIDEGATE_DRAIN?",
	} {
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		new(configured).flags(fs)
		if err := run.Parse("tidegate", fs, nil, []string{env}); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("tidegate with %s = %v, want %q", env, err, want)
		}
	}
}
