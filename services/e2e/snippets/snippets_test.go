// Package snippets runs the programs that pages show for a version.
package snippets

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"go/format"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/cli"
	"github.com/tidegatehq/tidegate/services/e2e/browser"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
)

// patience is how long a program may take. Only failures use it up.
const patience = time.Minute

// TestMain is the program tidegate where it is called so.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "tidegate" {
		os.Exit(cli.Main(context.Background(), cli.Program{Args: os.Args[1:], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	os.Exit(m.Run())
}

// Ways in which the stand-in ends a connection, besides a close.
const (
	cut    = "cut"    // without a close
	refuse = "refuse" // no handshake
	aged   = "aged"   // cut, an hour after it was opened
)

// standIn takes the place of a gateway at the addresses of versions, and ends each
// connection in the next of some ways.
type standIn struct {
	t    *testing.T
	wss  string
	cert func() (*tls.Certificate, error)
	// chromium starts the browser of the programs for pages, once.
	chromium func() (*browser.Chromium, error)
	// authority is the file with the certificate of who signed it.
	authority string

	mu       sync.Mutex
	versions map[string]*version // by the first part of the path
	pages    map[string]http.HandlerFunc
}

// version is what the stand-in has for one version.
type version struct {
	ends   []string
	tokens []string // those that were shown
	clock  string   // file with the seconds of the program's clock
}

// newStandIn starts a stand-in, whose certificate is to come.
func newStandIn(t *testing.T) *standIn {
	t.Helper()
	s := &standIn{t: t, versions: map[string]*version{}, pages: map[string]http.HandlerFunc{}}
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(s)
	_ = srv.Listener.Close()
	srv.Listener = lis
	srv.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cert() }}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, port, _ := net.SplitHostPort(lis.Addr().String())
	s.wss = "wss://localhost:" + port
	s.chromium = sync.OnceValues(func() (*browser.Chromium, error) {
		b, err := browser.Start(context.WithoutCancel(t.Context()), "localhost:"+port)
		if err == nil {
			t.Cleanup(b.Stop)
		}
		return b, err
	})
	return s
}

// ServeHTTP ends a connection in the next way.
func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	page := s.pages[r.URL.Path]
	s.mu.Unlock()
	if page != nil {
		page(w, r)
		return
	}
	name := strings.Split(r.URL.Path, "/")[1]
	token := r.URL.Query().Get("access_token") + r.URL.Query().Get("ticket")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = bearer
	}
	var offered []string
	if pair, ok := strings.CutPrefix(r.Header.Get("Sec-WebSocket-Protocol"), "bearer, "); ok {
		token, offered = pair, []string{"bearer"}
	}
	if encoded := r.URL.Query().Get("auth"); encoded != "" {
		text, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			s.t.Errorf("%s: %q is no base64: %v", name, encoded, err)
		}
		token = string(text)
	}
	s.mu.Lock()
	v := s.versions[name]
	if v == nil || len(v.ends) == 0 {
		s.mu.Unlock()
		s.t.Errorf("%s connects once too often", r.URL.Path)
		http.Error(w, "no more", http.StatusGone)
		return
	}
	end := v.ends[0]
	v.ends, v.tokens = v.ends[1:], append(v.tokens, token)
	at := len(v.tokens) - 1
	s.mu.Unlock()
	if end == refuse {
		http.Error(w, "no", http.StatusServiceUnavailable)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: offered})
	if err != nil {
		s.t.Errorf("%s: %v", name, err)
		return
	}
	defer func() { _ = conn.CloseNow() }()
	if strings.HasPrefix(name, "first") {
		_, message, err := conn.Read(r.Context())
		var first struct{ Method, Token string }
		if err == nil {
			err = json.Unmarshal(message, &first)
		}
		if err != nil || first.Method != "AUTH" {
			s.t.Errorf("%s sends first %q, %v", name, message, err)
		}
		s.mu.Lock()
		v.tokens[at] = first.Token
		s.mu.Unlock()
	}
	if name != "wscat" && name != "tidegate" { // a person would type there
		if _, message, err := conn.Read(r.Context()); err != nil || string(message) != "hello" {
			s.t.Errorf("%s sends %q, %v, want hello", name, message, err)
		}
	}
	if err := conn.Write(r.Context(), websocket.MessageText, []byte("welcome "+end)); err != nil {
		s.t.Errorf("%s: %v", name, err)
	}
	switch code, reason, _ := strings.Cut(end, " "); end {
	case cut:
	case aged:
		if err := os.WriteFile(v.clock, []byte("3601"), 0o600); err != nil {
			s.t.Error(err)
		}
	default:
		n, err := strconv.Atoi(code)
		if err != nil {
			s.t.Error(err)
		}
		_ = conn.Close(websocket.StatusCode(n), reason)
	}
}

// client returns one that trusts the authority of the stand-in's certificate.
func (s *standIn) client(t *testing.T) *http.Client {
	t.Helper()
	text, err := os.ReadFile(s.authority)
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatal(err, "no certificate of the authority")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// serve serves something else than a version.
func (s *standIn) serve(path string, page http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[path] = page
}

// expect sets how the connections to a version end.
func (s *standIn) expect(name, clock string, ends ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[name] = &version{ends: ends, clock: clock}
}

// had returns the tokens that were shown, and the ends that did not come.
func (s *standIn) had(name string) (tokens, left []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versions[name].tokens, s.versions[name].ends
}

// TestPrograms copies each program from the page of a version, runs it before a gateway
// that ends its connections one after the other, and compares how long it waits and which
// tokens it shows. The programs are run as they are shown; what they wait with, draw with and
// look at the time with is another thing in the files of testdata, and in Go, where that
// cannot be, the names of these are exchanged.
func TestPrograms(t *testing.T) {
	gateway := newStandIn(t)
	s := webtest.Start(t, "-catalog.gateway-urls", gateway.wss)
	gateway.authority = filepath.Join(s.Data, "ca.pem")
	gateway.cert = sync.OnceValues(func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(filepath.Join(s.Data, "server.pem"), filepath.Join(s.Data, "server-key.pem"))
		return &pair, err
	})
	b := s.User(t, "ann", identityv1.User_ROLE_SUBSCRIBER)
	for _, c := range []struct {
		name, file, what string
		run              func(*testing.T, *place) attempts
	}{
		{"browser", "browser.js", "the program for a web page", inPage},
		{"ticket", "browser.js", "the program for a web page", inPage}, // of a version that takes tickets
		{"pair", "browser.js", "the program for a web page", inPage},   // … a token as a sub-protocol alone
		{"first", "browser.js", "the program for a web page", inPage},  // … in the first message alone
		{"node", "node.mjs", "the program for Node", inNode},
		{"first-node", "node.mjs", "the program for Node", inNode},
		{"base64-node", "node.mjs", "the program for Node", inNode}, // … in base64 alone
		{"python", "client.py", "the program in Python", inPython},
		{"first-python", "client.py", "the program in Python", inPython},
		{"base64-python", "client.py", "the program in Python", inPython},
		{"go", "main.go", "the program in Go", inGo},
		{"first-go", "main.go", "the program in Go", inGo},
		{"base64-go", "main.go", "the program in Go", inGo},
		{"wscat", "wscat.bash", "the script with wscat", inShell},
		{"tidegate", "tidegate.bash", "the script with tidegate", inShell},
	} {
		p := newPlace(t, gateway, c.name, c.file)
		path := "/devportal/" + s.Publish(t, s.As(t, "admin", s.Password), c.name, "ws://backend.test", func(v *catalogv1.Version) {
			if places := placesOf(c.name); places != nil {
				v.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: places}}}}
			}
		}).GetName()
		page := b.Open(path)
		p.program, p.settings = page.Copied(c.what), page.Copied("the settings")
		if !strings.Contains(p.program, gateway.wss+"/"+c.name+"/1.0.0") {
			t.Fatalf("the page has no program for %s with its address:\n%s", c.name, p.program)
		}
		if shown := b.Open(path + "/console").Copied(c.what); shown != p.program {
			t.Errorf("beside the console is another program for %s:\n%s", c.name, shown)
		}
		b.Open(path + "/wizard")
		keys := b.Submit("Generate", "application", "", "name", "Program "+c.name)
		if !strings.HasPrefix(p.settings, "export CLIENT_ID=… CLIENT_SECRET=…\n") {
			t.Fatalf("the settings = %q", p.settings)
		}
		p.settings = strings.NewReplacer("ID=…", "ID="+keys.Copied("the client_id"), "SECRET=…", "SECRET="+keys.Copied("the secret")).Replace(p.settings)
		p.keys = url.Values{
			"grant_type": {"client_credentials"}, "client_id": {keys.Copied("the client_id")}, "client_secret": {keys.Copied("the secret")},
			"endpoint": {keys.Copied("the token endpoint")},
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p.write(t, c.file, p.program+"\n")
			run := c.run(t, p)
			comesBack(t, gateway, c.name, run)
			staysAway(t, run)
		})
	}
}

// placesOf are where the version of a program takes tokens; nil for the usual places.
func placesOf(name string) []*catalogv1.CredentialPlace {
	texts := map[string][]string{
		"ticket": {"query:access_token", "ticket"}, "pair": {"subprotocol"}, "first": {"first-message,at=/token,if=/method=AUTH"}, "base64": {"query:auth:base64"},
	}
	kind, _, _ := strings.Cut(name, "-")
	var places []*catalogv1.CredentialPlace
	for _, text := range texts[kind] {
		place, err := credentialplace.Parse(text)
		if err != nil {
			panic(err)
		}
		places = append(places, place)
	}
	return places
}

// attempts runs a program while its connections end in some ways, until it makes no
// further attempt to connect. It returns the waits between them, in milliseconds.
type attempts func(t *testing.T, ends ...string) []int

// place is a folder in which a program runs.
type place struct {
	gateway                            *standIn
	name, dir, file, program, settings string
	keys                               url.Values // what gets a token
	env                                []string
}

func newPlace(t *testing.T, gateway *standIn, name, file string) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{gateway: gateway, name: name, dir: dir, file: filepath.Join(dir, file)}
	p.env = []string{"HOME=" + dir, "TIDEGATE_HOME=" + dir, "WAITS=" + p.waitsFile(), "CLOCK=" + p.clock(), "PYTHONDONTWRITEBYTECODE=1"}
	for _, name := range []string{"TMPDIR", "GOCACHE", "GOFLAGS", "CGO_ENABLED"} {
		if value, ok := os.LookupEnv(name); ok {
			p.env = append(p.env, name+"="+value)
		}
	}
	return p
}

func (p *place) clock() string     { return filepath.Join(p.dir, "clock") }
func (p *place) waitsFile() string { return filepath.Join(p.dir, "waits") }

// write writes a file beside the program.
func (p *place) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

// shell runs the program by a line of bash that has its settings, with an input that stays
// open.
func (p *place) shell(line string, args ...string) attempts {
	return func(t *testing.T, ends ...string) []int {
		t.Helper()
		p.write(t, "clock", "1")
		p.write(t, "waits", "")
		p.gateway.expect(p.name, p.clock(), ends...)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "bash", append([]string{"-c", p.settings + "\n" + line, "bash"}, args...)...)
		cmd.Dir, cmd.Env, cmd.WaitDelay = p.dir, append(p.env, "PATH="+p.dir+":"+os.Getenv("PATH")), time.Second
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, p.program)
		}
		p.gateway.finished(t, p.name, string(out), ends)
		text, err := os.ReadFile(p.waitsFile())
		if err != nil {
			t.Fatal(err)
		}
		var waits []int
		for line := range strings.FieldsSeq(string(text)) {
			n, err := strconv.ParseFloat(line, 64)
			if err != nil {
				t.Fatal(err)
			}
			if inBash(p.name) { // sleep takes seconds
				n *= 1000
			}
			waits = append(waits, int(n+0.5))
		}
		return waits
	}
}

// inBash reports whether a program is a script of bash.
func inBash(name string) bool { return name == "wscat" || name == "tidegate" }

// finished checks that a program has shown a message of each connection, and made all.
func (s *standIn) finished(t *testing.T, name, out string, ends []string) {
	t.Helper()
	for _, end := range ends {
		if end != refuse && !strings.Contains(out, "welcome "+end) {
			t.Errorf("the message before %q is not shown:\n%s", end, out)
		}
	}
	if _, left := s.had(name); len(left) > 0 {
		t.Fatalf("the program has ended before %q:\n%s", left, out)
	}
}

// comesBack lets connections end in all ways after which there is another attempt, and
// at last in one after which there is none.
func comesBack(t *testing.T, gateway *standIn, name string, run attempts) {
	ends := []string{
		cut, refuse, "4001 EXPIRED ref=r", cut, cut, cut, cut, cut, "4003 THROTTLED ref=r retry=1500ms", "1012 DRAIN ref=r retry=250ms",
		aged, "4006 BLOCKED ref=r",
	}
	// Half of what is the most, but for the gateway's hints.
	want := []int{500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 1500, 250, 500}
	if name == "wscat" { // it takes half a second each time, and goes on as tidegate does
		ends, want = slices.Delete(ends, 3, 7), slices.Delete(want, 4, 8)
		want[3] = 4000
	}
	waits := run(t, ends...)
	if len(waits) != len(want) {
		t.Fatalf("waits = %v, want %d", waits, len(want))
	}
	distinct := map[int]bool{}
	for i, w := range waits {
		drawn := inBash(name) && ends[i] != "4003 THROTTLED ref=r retry=1500ms" && ends[i] != "1012 DRAIN ref=r retry=250ms"
		if drawn && (w < 0 || w >= 2*want[i]) || !drawn && w != want[i] {
			t.Errorf("after %q it waits for %d ms, want %d", ends[i], w, want[i])
		}
		distinct[w] = true
	}
	if len(distinct) < 5 {
		t.Errorf("waits = %v, which are not drawn anew", waits)
	}
	tokens, _ := gateway.had(name)
	for i, token := range tokens {
		switch {
		case token == "" && ends[i] == refuse && strings.HasPrefix(name, "first"): // it comes after the handshake
		case token == "":
			t.Errorf("connection %d shows no token", i)
		case name == "ticket":
			if slices.Contains(tokens[:i], token) {
				t.Errorf("connection %d shows a ticket that was shown before", i)
			}
		case i > 0 && (ends[i-1] == refuse || strings.HasPrefix(ends[i-1], "4001")) == (token == tokens[i-1]):
			t.Errorf("after %q the token is the same: %t", ends[i-1], token == tokens[i-1])
		}
	}
}

// staysAway where another connection has taken its place, and where all is done.
func staysAway(t *testing.T, run attempts) {
	for _, end := range []string{"4003 REPLACED ref=r", "1000 "} {
		if waits := run(t, end); len(waits) != 0 {
			t.Errorf("after %q it waits for %v, want an end", end, waits)
		}
	}
}

// missing skips a test, or fails it where the variable says that nothing may be missing.
func missing(t *testing.T, variable, what string) {
	t.Helper()
	if os.Getenv(variable) == "1" {
		t.Fatalf("%s, and %s=1", what, variable)
	}
	t.Skip(what)
}

// modules puts the packages of npm beside the program.
func (p *place) modules(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		missing(t, "TIDEGATE_REQUIRE_NODE", "no Node on the path")
	}
	dir, err := filepath.Abs("../testdata/node/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".bin", "wscat")); err != nil {
		missing(t, "TIDEGATE_REQUIRE_NODE", "no packages of npm: run npm ci --prefix services/e2e/testdata/node")
	}
	if err := os.Symlink(dir, filepath.Join(p.dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// beside puts a file of testdata beside the program.
func (p *place) beside(t *testing.T, name, as string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, as, string(text))
}

func inNode(t *testing.T, p *place) attempts {
	p.modules(t)
	p.beside(t, "prelude.mjs", "prelude.mjs")
	return p.shell(`exec node --import ./prelude.mjs "$1"`, p.file)
}

// inPage runs the program in a page of the developer's own server, which gets the tokens.
func inPage(t *testing.T, p *place) attempts {
	browser.Require(t)
	before, err := os.ReadFile("testdata/page.js")
	if err != nil {
		t.Fatal(err)
	}
	p.gateway.serve("/page/"+p.name, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "<!doctype html><html lang=en><title>Page</title><link rel=icon href=data:,><main></main><script>\n%s\n</script>", p.program)
	})
	p.gateway.serve("/ticket", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, rand.Text()) }) // a gateway would sell it
	client := p.gateway.client(t)
	p.gateway.serve("/token", func(w http.ResponseWriter, _ *http.Request) {
		answer, err := client.PostForm(p.keys.Get("endpoint"), p.keys)
		var token struct {
			Text string `json:"access_token"`
		}
		if err == nil {
			defer answer.Body.Close()
			err = json.NewDecoder(answer.Body).Decode(&token)
		}
		if err != nil {
			t.Errorf("ask for a token: %v", err)
		}
		fmt.Fprint(w, token.Text)
	})
	address := strings.TrimPrefix(p.gateway.wss, "wss://")
	chromium, err := p.gateway.chromium()
	if err != nil {
		t.Fatal(err)
	}
	tab := chromium.Tab(t, "https://"+address)
	tab.Before(string(before))
	return func(t *testing.T, ends ...string) []int {
		t.Helper()
		p.gateway.expect(p.name, p.clock(), ends...)
		tab.Open("/page/" + p.name)
		last := strings.TrimSpace("closed: " + ends[len(ends)-1])
		tab.Until(fmt.Sprintf("ran.lines.at(-1)?.trim() === %q", last))
		if slices.Contains(ends, refuse) {
			tab.Complains("503")
		}
		p.gateway.finished(t, p.name, browser.Read[string](tab, `ran.lines.join("\n")`), ends)
		return browser.Read[[]int](tab, "ran.waits")
	}
}

func inPython(t *testing.T, p *place) attempts {
	python := ""
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(t.Context(), name, "-c", "import websockets").Run() == nil {
			python = name
			break
		}
	}
	if python == "" {
		missing(t, "TIDEGATE_REQUIRE_PYTHON", "no Python with websockets: install python3-websockets")
	}
	p.beside(t, "beside.py", "beside.py")
	return p.shell(`exec "$1" beside.py "$2"`, python, p.file)
}

func inGo(t *testing.T, p *place) attempts {
	text := p.program + "\n"
	if formatted, err := format.Source([]byte(text)); err != nil || string(formatted) != text {
		t.Errorf("the program is not as gofmt writes it, %v:\n%s", err, formatted)
	}
	for from, to := range map[string]string{
		"time.Sleep(": "sleep(", "rand.N(": "half(", "time.Now()": "now()", "time.Since(opened)": "now().Sub(opened)", "\t\"math/rand/v2\"\n": "",
	} {
		if !strings.Contains(text, from) {
			t.Fatalf("the program has no %s", from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	p.write(t, "main.go", text)
	p.beside(t, "beside.go.txt", "beside.go")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(p.dir, "program"), p.file, filepath.Join(p.dir, "beside.go"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, text)
	}
	return p.shell("exec ./program")
}

// inShell runs a script with another sleep and date.
func inShell(t *testing.T, p *place) attempts {
	if _, err := exec.LookPath("script"); err != nil && strings.Contains(p.file, "wscat") {
		missing(t, "TIDEGATE_REQUIRE_SHELLS", "no program script on the path")
	}
	if strings.Contains(p.file, "wscat") {
		p.env = append(p.env, "NODE_PATH="+p.modules(t))
		if err := os.Symlink("node_modules/.bin/wscat", filepath.Join(p.dir, "wscat")); err != nil {
			t.Fatal(err)
		}
	} else {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(self, filepath.Join(p.dir, "tidegate")); err != nil {
			t.Fatal(err)
		}
	}
	p.write(t, "sleep", "#!/bin/sh\nprintf '%s\\n' \"$1\" >>\"$WAITS\"\n")
	p.write(t, "date", "#!/bin/sh\ncat \"$CLOCK\"\n")
	return p.shell(`. "$1"`, p.file)
}
