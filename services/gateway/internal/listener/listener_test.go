package listener

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// catcher is a handler that hands on what it is given.
type catcher chan *Request

func (c catcher) Handle(_ context.Context, r *Request) {
	c <- r
}

type handlerFunc func(context.Context, *Request)

func (f handlerFunc) Handle(ctx context.Context, r *Request) { f(ctx, r) }

type served struct {
	*Listener
	stop func()
}

// serve runs a listener on loopback, plain and TLS, until the test ends.
func serve(t testing.TB, h Handler, edit func(*Config)) served {
	t.Helper()
	cfg := Config{Addr: "127.0.0.1:0", TLSAddr: "127.0.0.1:0", CertDir: t.TempDir()}
	if edit != nil {
		edit(&cfg)
	}
	ready := func() error { return nil }
	l, err := Open(cfg, h, ready, metrics.New(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	var stopped atomic.Bool
	stop := func() {
		if stopped.Swap(true) {
			return
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		if n := l.InProgress(); n != 0 {
			t.Errorf("InProgress() = %d after Run, want 0", n)
		}
	}
	t.Cleanup(stop)
	return served{l, stop}
}

func dial(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

func dialTLS(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	conn := tls.Client(dial(t, addr), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn
}

const (
	sound = "Host: h.example:9099\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" + key
	key   = "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n"
)

func send(t testing.TB, conn net.Conn, request string) {
	t.Helper()
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatalf("write %.60q: %v", request, err)
	}
}

type answer struct {
	*http.Response
	code, detail, ref, body string
}

// receive reads one answer and the end of the connection behind it.
func receive(t testing.TB, conn net.Conn, method string) answer {
	t.Helper()
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read the body: %v", err)
	}
	if rest, err := io.ReadAll(br); err != nil || len(rest) > 0 {
		t.Errorf("behind the answer: %q, %v, want the end", rest, err)
	}
	a := answer{Response: resp, body: string(body)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") && method != "HEAD" {
		var p struct {
			Status            int
			Code, Detail, Ref string
		}
		if err := json.Unmarshal(body, &p); err != nil || p.Status != resp.StatusCode {
			t.Errorf("body %q: %v, want the problem of status %d", body, err, resp.StatusCode)
		}
		a.code, a.detail, a.ref = p.Code, p.Detail, p.Ref
	}
	return a
}

func TestSoundRequests(t *testing.T) {
	caught := make(catcher)
	l := serve(t, caught, nil)
	tests := []struct {
		name, request     string
		path, query, host string
		protocols         []string
		ahead             string
	}{
		{"plain", "GET /a/b HTTP/1.1\r\n" + sound, "/a/b", "", "h.example:9099", nil, ""},
		{"query", "GET /a?b=%2F&c HTTP/1.1\r\n" + sound, "/a", "b=%2F&c", "h.example:9099", nil, ""},
		{"absolute", "GET http://other:1/a?b HTTP/1.1\r\n" + sound, "/a", "b", "other:1", nil, ""},
		{"absolute without path", "GET ws://other?b HTTP/1.1\r\n" + sound, "", "b", "other", nil, ""},
		{"absolute without anything", "GET ws://other HTTP/1.1\r\n" + sound, "/", "", "other", nil, ""},
		{"newer version", "GET /a HTTP/1.2\r\n" + sound, "/a", "", "h.example:9099", nil, ""},
		{
			"protocols", "GET /a HTTP/1.1\r\n" + sound + "Sec-WebSocket-Protocol: a, b.c\r\nSec-WebSocket-Protocol: d,\r\n",
			"/a", "", "h.example:9099", []string{"a", "b.c", "d"}, "",
		},
		{
			"any case, several lines",
			"GET /a HTTP/1.1\r\nhOST: h\r\nupgrade: foo, WebSocket\r\nCONNECTION: keep-alive\r\nconnection: x, uPGRADE\r\nsec-websocket-version: 13\r\n" + key,
			"/a", "", "h", nil, "",
		},
		{"empty body", "GET /a HTTP/1.1\r\nContent-Length: 0\r\n" + sound, "/a", "", "h.example:9099", nil, ""},
		{"bytes behind", "GET /a HTTP/1.1\r\n" + sound + "\r\n\x81\x85abcdhello", "/a", "", "h.example:9099", nil, "\x81\x85abcdhello"},
		{
			"longest target", "GET /" + strings.Repeat("a", maxTarget-1) + " HTTP/1.1\r\n" + sound,
			"/" + strings.Repeat("a", maxTarget-1), "", "h.example:9099", nil, "",
		},
	}
	for _, tt := range tests {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%t", tt.name, secure), func(t *testing.T) {
				var conn net.Conn
				if secure {
					conn = dialTLS(t, l.TLSAddr())
				} else {
					conn = dial(t, l.Addr())
				}
				request := tt.request
				if tt.ahead == "" {
					request += "\r\n"
				}
				send(t, conn, request)
				r := <-caught
				defer func() { _ = r.Conn.Close() }()
				if r.Path != tt.path || r.Query != tt.query || r.Host != tt.host || !slices.Equal(r.Protocols, tt.protocols) ||
					string(r.Ahead) != tt.ahead || r.Secure != secure || r.Key != "AAECAwQFBgcICQoLDA0ODw==" ||
					r.Remote.String() != conn.LocalAddr().String() {
					t.Errorf("got %+v, want %+v", r, tt)
				}
				if until := time.Until(r.Deadline); until > 10*time.Second || until < 5*time.Second {
					t.Errorf("the handshake has %v left, want some less than 10 s", until)
				}
			})
		}
	}
}

func TestRefusals(t *testing.T) {
	l := serve(t, handlerFunc(func(_ context.Context, r *Request) {
		t.Errorf("the handler was given %+v", r)
		_ = r.Conn.Close()
	}), nil)
	const get = "GET /a HTTP/1.1\r\n"
	without := func(line string) string {
		if !strings.Contains(sound, line) {
			t.Fatalf("%q is not in %q", line, sound)
		}
		return get + strings.ReplaceAll(sound, line, "")
	}
	tests := []struct {
		name, request string
		status        int
		code, detail  string
		header        map[string]string
	}{
		{"no Host", without("Host: h.example:9099\r\n"), 400, "BAD_REQUEST", "there must be exactly one Host header", nil},
		{"two Hosts", get + sound + "host: h\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"empty Host", get + strings.Replace(sound, "h.example:9099", "", 1), 400, "BAD_REQUEST", "the Host header is not a host", nil},
		{"quote in Host", get + strings.Replace(sound, "h.example", `h"x`, 1), 400, "BAD_REQUEST", "the Host header is not a host", nil},
		{"no Host beside an absolute target", "GET http://h/a HTTP/1.1\r\n" + strings.Replace(sound, "Host:", "X:", 1), 400, "BAD_REQUEST", "there must be exactly one Host header", nil},
		{"name that is no token", get + sound + "A B: c\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"space before the colon", get + sound + "A : c\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"continued line", get + sound + " more\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"line without colon", get + sound + "more\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"NUL in a value", get + sound + "A: \x00\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"bad escape in the path", "GET /%zz HTTP/1.1\r\n" + sound, 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"fragment", "GET /a?b#c HTTP/1.1\r\n" + sound, 400, "BAD_REQUEST", "the request target has a fragment", nil},
		{"no version", "GET /a\r\n" + sound, 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"HTTP/2", "GET /a HTTP/2.0\r\n" + sound, 400, "BAD_REQUEST", "the version of HTTP must be 1.1", nil},
		{"HTTP/2's preface", "PRI * HTTP/2.0\r\n", 400, "BAD_REQUEST", "the version of HTTP must be 1.1", nil},
		{"body", get + sound + "Content-Length: 3\r\n", 400, "BAD_REQUEST", "a handshake must not have a body", nil},
		{"chunked body", get + sound + "Transfer-Encoding: chunked\r\n", 400, "BAD_REQUEST", "a handshake must not have a body", nil},
		{"two lengths", get + sound + "Content-Length: 0\r\nContent-Length: 3\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"no key", without(key), 400, "BAD_REQUEST", "there must be exactly one Sec-WebSocket-Key header with 16 bytes in base64", nil},
		{"two keys", get + sound + key, 400, "BAD_REQUEST", "there must be exactly one Sec-WebSocket-Key header with 16 bytes in base64", nil},
		{"short key", without(key) + "Sec-WebSocket-Key: AAAA\r\n", 400, "BAD_REQUEST", "there must be exactly one Sec-WebSocket-Key header with 16 bytes in base64", nil},
		{"key of 17 bytes", without(key) + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n", 400, "BAD_REQUEST", "there must be exactly one Sec-WebSocket-Key header with 16 bytes in base64", nil},
		{"key not in base64", without(key) + "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n", 400, "BAD_REQUEST", "there must be exactly one Sec-WebSocket-Key header with 16 bytes in base64", nil},
		{"key with loose bits", without(key) + "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0OD1==\r\n", 400, "BAD_REQUEST", "there must be exactly one Sec-WebSocket-Key header with 16 bytes in base64", nil},
		{"protocol that is no token", get + sound + "Sec-WebSocket-Protocol: a b\r\n", 400, "BAD_REQUEST", "a name in Sec-WebSocket-Protocol is not a token", nil},
		{"protocol twice", get + sound + "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: a\r\n", 400, "BAD_REQUEST", "a name stands twice in Sec-WebSocket-Protocol", nil},
		{"two versions", get + sound + "Sec-WebSocket-Version: 8\r\n", 400, "BAD_REQUEST", "there must be exactly one Sec-WebSocket-Version header", nil},

		{"POST", "POST /a HTTP/1.1\r\n" + sound, 405, "METHOD_NOT_ALLOWED", "the method must be GET", map[string]string{"Allow": "GET"}},
		{"POST with a body", "POST /a HTTP/1.1\r\nContent-Length: 3\r\n" + sound, 405, "METHOD_NOT_ALLOWED", "the method must be GET", map[string]string{"Allow": "GET"}},
		{"method in lower case", "get /a HTTP/1.1\r\n" + sound, 405, "METHOD_NOT_ALLOWED", "the method must be GET", map[string]string{"Allow": "GET"}},
		{"CONNECT", "CONNECT h:1 HTTP/1.1\r\n" + sound, 405, "METHOD_NOT_ALLOWED", "the method must be GET", map[string]string{"Allow": "GET"}},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" + sound, 405, "METHOD_NOT_ALLOWED", "the method must be GET", map[string]string{"Allow": "GET"}},

		{"not an upgrade", get + "Host: h\r\n", 426, "UPGRADE_REQUIRED", "", map[string]string{"Sec-WebSocket-Version": "13", "Upgrade": "websocket"}},
		{"no Upgrade", without("Upgrade: websocket\r\n"), 426, "UPGRADE_REQUIRED", "", map[string]string{"Sec-WebSocket-Version": "13"}},
		{"no Connection", without("Connection: Upgrade\r\n"), 426, "UPGRADE_REQUIRED", "", map[string]string{"Sec-WebSocket-Version": "13"}},
		{"other Upgrade", without("Upgrade: websocket\r\n") + "Upgrade: h2c\r\n", 426, "UPGRADE_REQUIRED", "", map[string]string{"Sec-WebSocket-Version": "13"}},
		{"HTTP/1.0", "GET /a HTTP/1.0\r\n" + sound, 426, "UPGRADE_REQUIRED", "", map[string]string{"Sec-WebSocket-Version": "13"}},
		{"older version", without("Sec-WebSocket-Version: 13\r\n") + "Sec-WebSocket-Version: 8\r\n", 426, "UPGRADE_REQUIRED", "the Sec-WebSocket-Version must be 13", map[string]string{"Sec-WebSocket-Version": "13"}},
		{"several versions", without("Sec-WebSocket-Version: 13\r\n") + "Sec-WebSocket-Version: 13, 8\r\n", 426, "UPGRADE_REQUIRED", "the Sec-WebSocket-Version must be 13", map[string]string{"Sec-WebSocket-Version": "13"}},
		{"no WebSocket version", without("Sec-WebSocket-Version: 13\r\n"), 426, "UPGRADE_REQUIRED", "the Sec-WebSocket-Version must be 13", map[string]string{"Sec-WebSocket-Version": "13"}},

		{"target too long", "GET /" + strings.Repeat("a", maxTarget) + " HTTP/1.1\r\n" + sound, 414, "TARGET_TOO_LONG", "the request target has more than 8192 bytes", nil},
		{"target much too long", "GET /" + strings.Repeat("a", 3*maxTarget) + " HTTP/1.1\r\n" + sound, 414, "TARGET_TOO_LONG", "the request target has more than 8192 bytes", nil},
		{"head too large", get + sound + "A: " + strings.Repeat("a", 16<<10) + "\r\n", 431, "HEAD_TOO_LARGE", "the head of the request has more than 16384 bytes", nil},
		{"head of too many lines", get + sound + strings.Repeat("A: a\r\n", 4000), 431, "HEAD_TOO_LARGE", "the head of the request has more than 16384 bytes", nil},
		{"not HTTP", "\x16\x03\x01\x00\xff", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
	}
	for _, tt := range tests {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%t", tt.name, secure), func(t *testing.T) {
				t.Parallel()
				var conn net.Conn
				if secure {
					conn = dialTLS(t, l.TLSAddr())
				} else {
					conn = dial(t, l.Addr())
				}
				send(t, conn, tt.request+"\r\n")
				a := receive(t, conn, "GET")
				if a.StatusCode != tt.status || a.code != tt.code || tt.detail != "" && a.detail != tt.detail || !a.Close {
					t.Errorf("%.100q: %d %s %q, want %d %s %q", tt.request, a.StatusCode, a.code, a.detail, tt.status, tt.code, tt.detail)
				}
				for name, want := range tt.header {
					if got := a.Header.Get(name); got != want {
						t.Errorf("%.100q: header %s is %q, want %q", tt.request, name, got, want)
					}
				}
			})
		}
	}
}

func TestOwnEndpoints(t *testing.T) {
	var unready atomic.Pointer[error]
	cfg := Config{Addr: "127.0.0.1:0"}
	ready := func() error {
		if err := unready.Load(); err != nil {
			return *err
		}
		return nil
	}
	l, err := Open(cfg, make(catcher), ready, metrics.New(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- l.Run(t.Context()) }()
	defer func() {
		l.Close()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	}()
	ask := func(line, more string) answer {
		t.Helper()
		conn := dial(t, l.Addr())
		send(t, conn, line+"\r\n"+more+"\r\n")
		return receive(t, conn, strings.Fields(line)[0])
	}
	for line, want := range map[string]int{
		"GET /-/healthz HTTP/1.1": 200, "HEAD /-/healthz HTTP/1.1": 200, "GET /-/healthz?x HTTP/1.1": 200, "GET /-/healthz HTTP/1.0": 200,
		"GET /-/readyz HTTP/1.1": 200, "POST /-/readyz HTTP/1.1": 405, "GET /-/ HTTP/1.1": 404, "GET /-/other HTTP/1.1": 404,
		"GET /-/healthz/ HTTP/1.1": 404,
	} {
		if a := ask(line, "Host: h\r\n"); a.StatusCode != want || want == 200 && !strings.HasPrefix(line, "HEAD") && a.body != "ok\n" {
			t.Errorf("%s: %d %q, want %d", line, a.StatusCode, a.body, want)
		}
	}
	if a := ask("GET /-/healthz HTTP/1.0", ""); a.StatusCode != 200 {
		t.Errorf("HTTP/1.0 without Host: %d, want 200", a.StatusCode)
	}
	if a := ask("GET /-/readyz HTTP/1.1", sound); a.StatusCode != 200 {
		t.Errorf("an upgrade of /-/readyz: %d, want 200", a.StatusCode)
	}
	why := errors.New("the gateway is stopping")
	unready.Store(&why)
	if a := ask("GET /-/readyz HTTP/1.1", "Host: h\r\n"); a.StatusCode != 503 || a.code != "NOT_READY" || a.detail != why.Error() || a.Header.Get("Retry-After") != "1" {
		t.Errorf("not ready: %d %s %q, want 503 NOT_READY %q", a.StatusCode, a.code, a.detail, why)
	}
	if a := ask("GET /-/healthz HTTP/1.1", "Host: h\r\n"); a.StatusCode != 200 {
		t.Errorf("healthz while not ready: %d, want 200", a.StatusCode)
	}
}

func TestSlowHeadIsCutWithoutAnAnswer(t *testing.T) {
	l := serve(t, make(catcher), func(c *Config) { c.Timeout = 50 * time.Millisecond })
	for name, conn := range map[string]net.Conn{"plain": dial(t, l.Addr()), "TLS not begun": dial(t, l.TLSAddr())} {
		if name == "plain" {
			send(t, conn, "GET /a HTTP/1.1\r\nHost:")
		}
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("%s: %q, %v, want the end and nothing before it", name, got, err)
		}
	}
}

func TestPlainRequestToTLS(t *testing.T) {
	l := serve(t, make(catcher), nil)
	conn := dial(t, l.TLSAddr())
	send(t, conn, "GET /a HTTP/1.1\r\n"+sound+"\r\n")
	if a := receive(t, conn, "GET"); a.StatusCode != 400 || a.detail != "this address speaks TLS: use wss" {
		t.Errorf("answer = %d %q, want 400 and a hint", a.StatusCode, a.detail)
	}
}

func TestALPN(t *testing.T) {
	l := serve(t, make(catcher), nil)
	conn := dialTLS(t, l.TLSAddr()).(*tls.Conn)
	if got := conn.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("ALPN chose %q, want http/1.1", got)
	}
	for name, cfg := range map[string]*tls.Config{
		"HTTP/2 alone": {InsecureSkipVerify: true, NextProtos: []string{"h2"}},
		"TLS 1.1":      {InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
	} {
		if err := tls.Client(dial(t, l.TLSAddr()), cfg).Handshake(); err == nil {
			t.Errorf("%s: the TLS handshake succeeded, want an error", name)
		}
	}
}

func TestHandshakesAreBounded(t *testing.T) {
	caught := make(catcher)
	l := serve(t, caught, func(c *Config) { c.MaxHandshakes, c.TLSAddr = 1, "" })
	first := dial(t, l.Addr())
	send(t, first, "GET /first HTTP/1.1\r\n"+sound)
	second := dial(t, l.Addr())
	send(t, second, "GET /second HTTP/1.1\r\n"+sound+"\r\n")
	if n := l.InProgress(); n > 1 {
		t.Errorf("InProgress() = %d, want 1", n)
	}
	send(t, first, "\r\n")
	for _, want := range []string{"/first", "/second"} {
		r := <-caught
		if r.Path != want {
			t.Errorf("the handler was given %s, want %s", r.Path, want)
		}
		_ = r.Conn.Close()
	}
}

func TestStop(t *testing.T) {
	entered := make(chan *Request)
	l := serve(t, handlerFunc(func(ctx context.Context, r *Request) {
		entered <- r
		<-ctx.Done()
		_, _ = r.Conn.Write([]byte("refused"))
		_ = r.Conn.Close()
	}), nil)
	waiting := dial(t, l.Addr())
	send(t, waiting, "GET /a")
	busy := dial(t, l.Addr())
	send(t, busy, "GET /a HTTP/1.1\r\n"+sound+"\r\n")
	<-entered
	l.stop()
	if got, err := io.ReadAll(waiting); len(got) > 0 {
		t.Errorf("a client that had sent no head got %q, %v, want the end", got, err)
	}
	if got, err := io.ReadAll(busy); string(got) != "refused" {
		t.Errorf("a client within its handshake got %q, %v, want the refusal", got, err)
	}
	if conn, err := net.Dial("tcp", l.Addr().String()); err == nil {
		_ = conn.Close()
		t.Errorf("a client was accepted after the stop")
	}
}

func TestOpenRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Addr: taken.Addr().String(), TLSAddr: "127.0.0.1:0", CertDir: t.TempDir()}, "listen for clients: listen tcp"},
		{Config{TLSAddr: taken.Addr().String()}, "listen for clients: listen tcp"},
		{Config{}, "-ws and -wss are both empty"},
		{Config{Addr: "9099", TLSAddr: "host"}, "-ws: \"9099\" is not host:port\n-wss: \"host\" is not host:port"},
		{Config{Addr: "127.0.0.1:0", CertFile: "x"}, "-tls-cert and -tls-key go together"},
		{Config{CertFile: "x", Timeout: -1, MaxHandshakes: -1}, "go together\n-ws and -wss are both empty: nobody could connect\n-handshake-timeout: must not be negative\n-max-handshakes: must not be negative"},
		{Config{TLSAddr: "127.0.0.1:0", CertFile: "none.crt", KeyFile: "none.key"}, "read certificate: stat none.crt"},
	} {
		l, err := Open(tt.cfg, make(catcher), nil, metrics.New(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Open(%+v) = %v, want %q in it", tt.cfg, err, tt.want)
		}
	}
}
