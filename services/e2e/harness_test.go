package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/standalone"
)

// patience is how long a test waits for what must happen. It is long, for it
// is only ever used up by a failure.
const patience = 30 * time.Second

// Stack is a running Tidegate as its users reach it, whatever it is made of.
type Stack struct {
	// Portal is the URL of REST and OAuth2, GRPC the host:port of gRPC, WS and
	// WSS the URLs of the gateway.
	Portal, GRPC, WS, WSS string
	// CA is the PEM file of the authority that signed its certificates.
	CA string
	// PasswordFile has the password of the administrator.
	PasswordFile string
}

// starter starts a Tidegate that ends with the test.
type starter func(t *testing.T) *Stack

// eachEngine runs a test on a Tidegate on SQLite and on one on Postgres.
func eachEngine(t *testing.T, test func(t *testing.T, s *Stack)) {
	for name, start := range map[string]starter{"sqlite": onSQLite, "postgres": onPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

// within returns a context that ends when a test has waited long enough.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until look returns nil.
func eventually(t *testing.T, look func() error) {
	t.Helper()
	ctx := within(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := look()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after %v: %v", patience, err)
		}
	}
}

// server is a standalone server in this process.
type server struct {
	*Stack
	data   string
	sample string // URL of the sample's backend
	code   chan int

	mu             sync.Mutex
	stdout, stderr bytes.Buffer
	stop           context.CancelFunc
}

// lockedWriter writes under a server's lock.
type lockedWriter struct {
	s *server
	b *bytes.Buffer
}

// Write writes.
func (w lockedWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.b.Write(p)
}

// output returns what the server has printed and logged.
func (s *server) output() (stdout, stderr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stdout.String(), s.stderr.String()
}

// freePorts are flags that let the server choose its ports.
func freePorts() []string {
	return []string{"-https", "0", "-grpc", "0", "-ws", "0", "-wss", "0", "-ops", "", "-sample-listen", "127.0.0.1:0"}
}

// launch starts a server on the data folder with further flags, and does not
// wait for it.
func launch(t *testing.T, data string, ready func(standalone.Addresses), args ...string) *server {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s := &server{data: data, code: make(chan int, 1), stop: stop}
	p := run.Program{
		Name: "tidegate", Args: append(append([]string{"-data", data}, freePorts()...), args...),
		Stdout: lockedWriter{s, &s.stdout}, Stderr: lockedWriter{s, &s.stderr},
	}
	go func() { s.code <- standalone.Serve(ctx, p, standalone.Options{Program: "tidegate", Ready: ready}) }()
	return s
}

// start starts a server and waits until it serves. It ends with the test,
// where ending without success is a failure.
func start(t *testing.T, data string, args ...string) *server {
	t.Helper()
	ready := make(chan standalone.Addresses, 1)
	s := launch(t, data, func(a standalone.Addresses) { ready <- a }, args...)
	t.Cleanup(func() {
		s.stop()
		if code := s.wait(t); code != 0 {
			_, stderr := s.output()
			t.Errorf("the server ended with %d:\n%s", code, stderr)
		}
	})
	select {
	case at := <-ready:
		s.sample = at.Sample
		s.Stack = &Stack{
			Portal: at.Portal, GRPC: at.GRPC, WS: at.WS, WSS: at.WSS,
			CA: filepath.Join(data, "ca.pem"), PasswordFile: filepath.Join(data, "admin-password"),
		}
	case code := <-s.code:
		s.code <- code
		_, stderr := s.output()
		t.Fatalf("the server does not start, it ended with %d:\n%s", code, stderr)
	case <-time.After(2 * patience):
		_, stderr := s.output()
		t.Fatalf("the server is not ready:\n%s", stderr)
	}
	return s
}

// wait returns the exit code of a server that is ending.
func (s *server) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-s.code:
		s.code <- code
		return code
	case <-time.After(patience):
		_, stderr := s.output()
		t.Fatalf("the server does not end:\n%s", stderr)
		return -1
	}
}

// newData returns a path for a data folder that is not there yet.
func newData(t *testing.T) string { return filepath.Join(t.TempDir(), "tidegate-data") }

// quick are flags that make tests short: usage is reported at once.
func quick() []string { return []string{"-gateway.report-every", "50ms", "-drain", "100ms"} }

// onSQLite starts a Tidegate on embedded databases, without the sample.
func onSQLite(t *testing.T) *Stack {
	return start(t, newData(t), append(quick(), "-no-sample")...).Stack
}

// trust returns a TLS configuration that trusts the stack's authority.
func (s *Stack) trust(t *testing.T) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(s.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatalf("%s has no certificate", s.CA)
	}
	return &tls.Config{RootCAs: roots}
}

// http returns a client of REST and OAuth2.
func (s *Stack) http(t *testing.T) *http.Client {
	transport := &http.Transport{TLSClientConfig: s.trust(t)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// password returns the administrator's password.
func (s *Stack) password(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// connect opens a WebSocket to the gateway; a token goes into the header.
func (s *Stack) connect(t *testing.T, url, token string) *websocket.Conn {
	t.Helper()
	conn, status, err := s.tryConnect(t, url, token)
	if err != nil {
		t.Fatalf("connect to %s: %d, %v", url, status, err)
	}
	return conn
}

// tryConnect is connect for a handshake that may be refused; it returns the
// status of the answer too, or 0 where there was none.
func (s *Stack) tryConnect(t *testing.T, url, token string) (conn *websocket.Conn, status int, err error) {
	t.Helper()
	opts := &websocket.DialOptions{HTTPClient: s.http(t), HTTPHeader: http.Header{}}
	if token != "" {
		opts.HTTPHeader.Set("Authorization", "Bearer "+token)
	}
	conn, res, err := websocket.Dial(within(t), url, opts) //nolint:bodyclose // Dial has read the body
	if res != nil {
		status = res.StatusCode
	}
	if conn != nil {
		conn.SetReadLimit(1 << 20)
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, status, err
}

// refused returns the status of a handshake that must be refused.
func (s *Stack) refused(t *testing.T, url, token string) int {
	t.Helper()
	conn, status, err := s.tryConnect(t, url, token)
	if err == nil {
		_ = conn.CloseNow()
	}
	if status == 0 {
		t.Fatalf("connect to %s: %v, want a refusal", url, err)
	}
	return status
}

// echo sends a message and reads it back.
func echo(t *testing.T, conn *websocket.Conn, kind websocket.MessageType, text string) {
	t.Helper()
	if err := conn.Write(within(t), kind, []byte(text)); err != nil {
		t.Fatalf("send %.80q: %v", text, err)
	}
	gotKind, got, err := conn.Read(within(t))
	if err != nil || gotKind != kind || string(got) != text {
		t.Fatalf("echo of %v %.80q = %v %.80q, %v", kind, text, gotKind, got, err)
	}
}

// closed waits until the other side closes and returns its code and reason.
func closed(t *testing.T, conn *websocket.Conn) (int, string) {
	t.Helper()
	for {
		_, _, err := conn.Read(within(t))
		if err == nil {
			continue
		}
		var end websocket.CloseError
		if !errors.As(err, &end) {
			t.Fatalf("the connection ended without a close: %v", err)
		}
		return int(end.Code), end.Reason
	}
}

// newBackend starts an echo backend and returns its URL.
func newBackend(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		offered := strings.FieldsFunc(r.Header.Get("Sec-WebSocket-Protocol"), func(c rune) bool { return c == ',' || c == ' ' })
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: offered})
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		conn.SetReadLimit(1 << 20)
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

// occupied returns an address that somebody listens on.
func occupied(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lis.Close() })
	return lis.Addr().String()
}

// body returns the whole of an answer.
func body(t *testing.T, res *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
