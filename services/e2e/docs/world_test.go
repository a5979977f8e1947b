package docs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/run"
)

// patience bounds every wait, and every script.
const patience = 2 * time.Minute

// binaries is the folder that built fills.
var binaries string

// built builds all programs once, as a reader does, and returns their folder.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tidegate-docs-")
	if err != nil {
		return "", err
	}
	binaries = dir
	cmd := exec.Command("make", "build", "BIN="+dir)
	cmd.Dir, cmd.Env = root, environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make build: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if binaries != "" {
		os.RemoveAll(binaries)
	}
	os.Exit(code)
}

// bin returns the folder of the programs.
func bin(t *testing.T) string {
	t.Helper()
	need(t, "make")
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// need skips a test where a program is missing that the documents use, or fails
// it where nothing may be missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if os.Getenv("TIDEGATE_REQUIRE_CURL") == "1" {
			t.Fatalf("no %s on the path, and TIDEGATE_REQUIRE_CURL=1", p)
		}
		t.Skipf("no %s on the path", p)
	}
}

// environ is this process's environment without what would lead a reader's
// commands elsewhere.
func environ(more ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(name, "TIDEGATE_"), name == "XDG_CONFIG_HOME":
			continue
		case strings.HasPrefix(name, "MAKE"), name == "MFLAGS", name == "RACE": // of the make that runs this test
			continue
		}
		env = append(env, kv)
	}
	return append(env, more...)
}

// place is where the blocks of documents are run: a folder, as that of a reader
// who has built Tidegate, and the addresses of what runs.
type place struct {
	dir string
	env []string
	// at has the true address of each that the documents name.
	at map[string]string
}

// newPlace returns a folder with the programs in .bin and the samples in deploy.
func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{dir: t.TempDir(), at: map[string]string{}}
	if err := os.Symlink(bin(t), filepath.Join(p.dir, ".bin")); err != nil {
		t.Fatal(err)
	}
	deploy := filepath.Join(p.dir, "deploy")
	if err := os.CopyFS(deploy, os.DirFS(filepath.Join(root, "deploy"))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(deploy, "secrets")); err != nil { // those of this tree's compose
		t.Fatal(err)
	}
	home := t.TempDir()
	p.env = []string{"HOME=" + home, "TIDEGATE_HOME=" + filepath.Join(home, "tidegate")}
	return p
}

// put puts the true addresses into a text, and said takes them out again.
func (p *place) put(text string) string { return p.replace(text, false) }

func (p *place) said(text string) string { return p.replace(text, true) }

func (p *place) replace(text string, back bool) string {
	from := map[string]string{}
	for named, real := range p.at {
		if back {
			named, real = real, named
		}
		from[named] = real
	}
	var pairs []string
	for _, old := range slices.Backward(slices.Sorted(maps.Keys(from))) { // the longer of two goes first
		pairs = append(pairs, old, from[old])
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// run runs blocks in one shell, one after another, and checks what they print.
func (p *place) run(t *testing.T, blocks []*block) {
	t.Helper()
	need(t, "bash", "curl")
	results := t.TempDir()
	path := func(i int, stream string) string { return filepath.Join(results, fmt.Sprintf("%d.%s", i, stream)) }
	var script strings.Builder
	for i, b := range blocks {
		fmt.Fprintf(&script, "{\n%s} >%s 2>%s\n", p.put(b.text), path(i, "out"), path(i, "err"))
	}
	file := filepath.Join(results, "script")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", file)
	cmd.Dir, cmd.Env = p.dir, environ(p.env...)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	group(t, cmd)
	failed := cmd.Run()
	for i, b := range blocks {
		out, err := os.ReadFile(path(i, "out"))
		if err != nil {
			break // the shell has ended before
		}
		stderr, _ := os.ReadFile(path(i, "err"))
		_, next := os.Stat(path(i+1, "out"))
		if last := i == len(blocks)-1 || next != nil; last && failed != nil {
			t.Fatalf("%s:%d: %v\n%s%s", b.file, b.line, failed, out, stderr)
		}
		if got := p.said(string(out)); b.prints != "" && !wanted(b.prints).MatchString(got) {
			t.Errorf("%s:%d prints\n%s\nwant\n%s", b.file, b.line, got, b.prints)
		}
	}
	if failed != nil && !t.Failed() {
		t.Fatalf("%s: %v", blocks[0].file, failed)
	}
}

// free are flags that let the server choose its ports.
func free(data string) []string {
	return []string{"-data", data, "-https", "0", "-grpc", "0", "-ws", "0", "-wss", "0", "-ops", "0", "-sample-listen", "127.0.0.1:0"}
}

// secondAddress finds the address of WebSocket over TLS in a banner.
func secondAddress(t *testing.T, banner string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^  WebSocket .*wss://(\S+)$`).FindStringSubmatch(banner)
	if m == nil {
		t.Fatalf("the banner has no address of WebSocket over TLS:\n%s", banner)
	}
	return m[1]
}

// address finds the address that a banner has behind a label, the first of several.
func address(t *testing.T, banner, label string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(label) + ` +(?:[a-z]+://)?([^\s,]+)(?:,? .*)?$`).FindStringSubmatch(banner)
	if m == nil {
		t.Fatalf("the banner has no %q:\n%s", label, banner)
	}
	return m[1]
}

// together starts the whole product in a place, as make run does, on ports of its
// own.
func together(t *testing.T) *place {
	t.Helper()
	p := newPlace(t)
	cmd := exec.Command(filepath.Join(bin(t), "tidegate"), append([]string{"serve", "-gateway.report-every", "100ms"}, free("tidegate-data")...)...)
	cmd.Dir, cmd.Env = p.dir, environ(p.env...)
	s := serve(t, cmd)
	banner := s.banner()
	defaults := Flags("tidegate")
	for flag, label := range map[string]string{
		"https": "portal", "grpc": "gRPC", "ws": "WebSocket",
	} {
		p.at["localhost:"+defaults.Lookup(flag).DefValue] = address(t, banner, label)
	}
	p.at["localhost:"+defaults.Lookup("wss").DefValue] = secondAddress(t, banner)
	ops := address(t, banner, "metrics")
	p.at["127.0.0.1:"+defaults.Lookup("ops").DefValue] = strings.Replace(ops, "localhost", "127.0.0.1", 1)
	p.env = append(p.env, "TIDEGATE_SERVER="+address(t, banner, "gRPC"))
	_, port, err := net.SplitHostPort(defaults.Lookup("sample-listen").DefValue)
	if err != nil {
		t.Fatal(err)
	}
	p.at["localhost:"+port] = sampleBackend(t, p)
	t.Cleanup(func() { s.stop(t) })
	return p
}

// sampleBackend asks where the backend of the sample is.
func sampleBackend(t *testing.T, p *place) string {
	t.Helper()
	env := environ(append(p.env, "TIDEGATE_HOME="+t.TempDir())...)
	ask := func(args ...string) []byte {
		cmd := exec.Command(filepath.Join(bin(t), "tidegate"), args...)
		cmd.Dir, cmd.Env = p.dir, env
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
		}
		return out
	}
	ask("login", "--password-file", "tidegate-data/admin-password")
	var version struct {
		Endpoints struct{ Production []struct{ URL string } }
	}
	if err := json.Unmarshal(ask("api", "version", "get", "EchoWebSocket/1.0.0", "--output", "json"), &version); err != nil {
		t.Fatal(err)
	}
	if len(version.Endpoints.Production) != 1 {
		t.Fatalf("endpoints = %+v, want one for production", version.Endpoints)
	}
	_, backend, _ := strings.Cut(version.Endpoints.Production[0].URL, "://")
	return strings.TrimSuffix(backend, "/")
}

// another returns a place like p with a sign-in of its own: the working folder of
// another document.
func (p *place) another(t *testing.T) *place {
	t.Helper()
	q := newPlace(t)
	q.at = p.at
	q.env = append(p.env[len(q.env):len(p.env):len(p.env)], q.env...)
	if err := os.Symlink(filepath.Join(p.dir, "tidegate-data"), filepath.Join(q.dir, "tidegate-data")); err != nil {
		t.Fatal(err)
	}
	return q
}

// givenPorts are those that freePort has returned: nobody listens there yet, and none is
// given twice.
var givenPorts sync.Map

// freePort returns an address that nobody listens on, below the range that
// outgoing connections use.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		if _, given := givenPorts.LoadOrStore(addr, true); given {
			continue
		}
		if lis, err := net.Listen("tcp", addr); err == nil {
			lis.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// alone returns a place for the four services by themselves: what the documents
// leave to defaults is led to free ports.
func alone(t *testing.T) *place {
	t.Helper()
	p := newPlace(t)
	for _, service := range Services() {
		flags := Flags(service)
		for _, name := range []string{"grpc", "grpc-internal", "listen", "ws", "wss", "ops", "catalog", "subscription", "gateway"} {
			f := flags.Lookup(name)
			if f == nil {
				continue
			}
			named := f.DefValue
			if name == "ops" { // each has the same default
				p.env = append(p.env, run.Variable(service, name)+"="+freePort(t))
				continue
			}
			if p.at[named] == "" {
				p.at[named] = freePort(t)
			}
			p.env = append(p.env, run.Variable(service, name)+"="+p.at[named])
		}
	}
	for named, addr := range p.at {
		p.at[strings.Replace(named, "127.0.0.1", "localhost", 1)] = strings.Replace(addr, "127.0.0.1", "localhost", 1)
	}
	for _, ops := range []string{"127.0.0.1:9092", "127.0.0.1:9093", "127.0.0.1:9094"} {
		p.at[ops] = freePort(t)
	}
	p.env = append(p.env, "TIDEGATE_SERVER="+p.at["localhost:9090"])
	return p
}
