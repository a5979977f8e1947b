package listener

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// catcher is a handler that passes its requests to the test.
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

// noted are the refusals that were noted, by ref.
var noted sync.Map

// sink is a refusal.Sink that keeps them all.
type sink struct{}

func (sink) Refused(f *refusal.Refusal) { noted.Store(f.Ref, f.Problem) }

func newRecorder() *refusal.Recorder {
	return refusal.New(metrics.New(prometheus.NewRegistry()), sink{}, slog.New(slog.DiscardHandler))
}

// serve runs a listener on loopback, plain and TLS, until the test ends.
func serve(t testing.TB, h Handler, edit func(*Config)) served {
	t.Helper()
	cfg := Default()
	cfg.Addr, cfg.TLSAddr, cfg.CertDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	if edit != nil {
		edit(&cfg)
	}
	ready := func() error { return nil }
	l, err := Open(cfg, h, ready, newRecorder(), slog.New(slog.DiscardHandler))
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

// dialFrom connects from an address of this machine.
func dialFrom(t testing.TB, from string, addr net.Addr) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", addr.String())
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

// patience is how long a test waits for what has to happen.
const patience = 10 * time.Second

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

// receive reads one answer, after which the connection must end.
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
		t.Errorf("after the answer: %q, %v, want EOF", rest, err)
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
		v, _ := noted.Load(a.ref)
		if p, ok := v.(*problem.Problem); a.ref != "" && (!ok || p.Status != a.StatusCode || p.Code.String() != a.code) {
			t.Errorf("of the answer %d %s with the ref %s nothing is noted but %v", a.StatusCode, a.code, a.ref, v)
		}
	}
	return a
}

func TestOwnEndpoints(t *testing.T) {
	var unready atomic.Pointer[error]
	cfg := Default()
	cfg.Addr, cfg.TLSAddr = "127.0.0.1:0", ""
	ready := func() error {
		if err := unready.Load(); err != nil {
			return *err
		}
		return nil
	}
	l, err := Open(cfg, make(catcher), ready, newRecorder(), slog.New(slog.DiscardHandler))
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
		if a := ask(line, "Host: h\r\n"); a.StatusCode != want || a.ref != "" || want == 200 && !strings.HasPrefix(line, "HEAD") && a.body != "ok\n" {
			t.Errorf("%s: %d %q, want %d, and no ref", line, a.StatusCode, a.body, want)
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
	l := serve(t, make(catcher), func(c *Config) { c.Timeout = time.Second })
	for name, conn := range map[string]net.Conn{"plain": dial(t, l.Addr()), "TLS not begun": dial(t, l.TLSAddr())} {
		if name == "plain" {
			send(t, conn, "GET /a HTTP/1.1\r\nHost:")
		}
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("%s: %q, %v, want EOF at once", name, got, err)
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

// TestHandshakesWithoutABound has a limit of 0, which is none.
func TestHandshakesWithoutABound(t *testing.T) {
	caught := make(catcher)
	l := serve(t, caught, func(c *Config) { c.MaxHandshakes = 0 })
	for range 3 {
		conn := dial(t, l.Addr())
		send(t, conn, "GET /x HTTP/1.1\r\n"+sound+"\r\n")
		r := <-caught
		_ = r.Conn.Close()
	}
}

// TestHandshakesAreBounded takes all slots. Further clients are refused, and the
// gateway still answers health checks.
func TestHandshakesAreBounded(t *testing.T) {
	caught := make(catcher)
	l := serve(t, caught, func(c *Config) { c.MaxHandshakes = 1 })
	first := dial(t, l.Addr())
	send(t, first, "GET /first HTTP/1.1\r\n"+sound)
	if !l.comesTo(1, patience) {
		t.Fatalf("InProgress() = %d, want 1", l.InProgress())
	}
	for _, connect := range []func() net.Conn{
		func() net.Conn { return dial(t, l.Addr()) }, func() net.Conn { return dialTLS(t, l.TLSAddr()) },
	} {
		conn := connect()
		send(t, conn, "GET /second HTTP/1.1\r\n"+sound+"\r\n")
		if a := receive(t, conn, "GET"); a.StatusCode != 503 || a.code != "BUSY" || a.Header.Get("Retry-After") != "1" {
			t.Errorf("beyond the bound: %d %s, want 503 BUSY", a.StatusCode, a.code)
		}
	}
	for _, path := range []string{"/-/healthz", "/-/readyz"} {
		conn := dial(t, l.Addr())
		send(t, conn, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n")
		if a := receive(t, conn, "GET"); a.StatusCode != 200 {
			t.Errorf("%s beyond the bound: %d, want 200", path, a.StatusCode)
		}
	}
	send(t, first, "\r\n")
	r := <-caught
	if r.Path != "/first" {
		t.Errorf("the handler was given %s, want /first", r.Path)
	}
	_ = r.Conn.Close()
}

// TestSpareSlotsAreBounded takes the spare slots too. Further clients wait for a
// free one.
func TestSpareSlotsAreBounded(t *testing.T) {
	l := serve(t, make(catcher), func(c *Config) { c.MaxHandshakes, c.TLSAddr = 1, "" })
	silent := l.takeAll(t)
	late := dial(t, l.Addr())
	send(t, late, "GET /-/healthz HTTP/1.1\r\nHost: h\r\n\r\n")
	_ = silent[len(silent)-1].Close()
	if a := receive(t, late, "GET"); a.StatusCode != 200 {
		t.Errorf("after a slot was freed: %d, want 200", a.StatusCode)
	}
}

// takeAll takes all slots of a listener that has one for handshakes. Clients in
// spare slots are cut after a while; if that happens too soon, new ones are opened.
func (l served) takeAll(t *testing.T) (silent []net.Conn) {
	t.Helper()
	// One address may have half of the spare slots.
	for begin := time.Now(); time.Since(begin) < 3*patience; silent = nil {
		for i := range 1 + l.cfg.Spare {
			silent = append(silent, dialFrom(t, []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}[i%3], l.Addr()))
		}
		if l.comesTo(len(silent), spareTimeout) {
			return silent
		}
		for _, conn := range silent {
			_ = conn.Close()
		}
		l.comesTo(0, patience)
	}
	t.Fatal("the slots were never taken all at once")
	return nil
}

// comesTo reports whether n handshakes are in progress within a time.
func (l served) comesTo(n int, within time.Duration) bool {
	for begin := time.Now(); l.InProgress() != n; runtime.Gosched() {
		if time.Since(begin) > within {
			return false
		}
	}
	return true
}

// TestPanicEndsOneHandshake has a handler panic. Its connection is closed, and its
// slot is free again.
func TestPanicEndsOneHandshake(t *testing.T) {
	l := serve(t, handlerFunc(func(_ context.Context, r *Request) {
		if r.Path == "/panic" {
			panic("on purpose")
		}
		_, _ = r.Conn.Write([]byte("fine"))
		_ = r.Conn.Close()
	}), nil)
	for path, want := range map[string]string{"/panic": "", "/other": "fine"} {
		conn := dial(t, l.Addr())
		send(t, conn, "GET "+path+" HTTP/1.1\r\n"+sound+"\r\n")
		if got, err := io.ReadAll(conn); string(got) != want || err != nil {
			t.Errorf("%s: read %q, %v, want %q", path, got, err, want)
		}
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
		t.Errorf("a client that had sent no head got %q, %v, want EOF", got, err)
	}
	if got, err := io.ReadAll(busy); string(got) != "refused" {
		t.Errorf("a client in its handshake got %q, %v, want the refusal", got, err)
	}
	if _, err := l.plain.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after the stop = %v, want %v", err, net.ErrClosed)
	}
}

func TestOpenRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, tt := range []struct {
		edit func(c *Config)
		want string
	}{
		{func(c *Config) { c.Addr, c.TLSAddr, c.CertDir = taken.Addr().String(), "127.0.0.1:0", t.TempDir() }, "-ws: " + taken.Addr().String() + " is taken by another program; give another"},
		{func(c *Config) { c.Addr, c.TLSAddr = "", taken.Addr().String() }, "-wss: " + taken.Addr().String() + " is taken by another program; give another"},
		{func(c *Config) { c.Addr, c.TLSAddr = "", "" }, "-ws and -wss are both empty"},
		{func(c *Config) { *c = Config{} }, "-ws and -wss are both empty: nobody could connect\n-handshake-timeout: must be more than 0, or silent clients would stay for ever\n-http-idle: must be more than 0, or silent clients would stay for ever\n-max-head: must be 4096 to 1048576 bytes"},
		{func(c *Config) { c.Addr, c.TLSAddr = "9099", "host" }, "-ws: \"9099\" is not host:port\n-wss: \"host\" is not host:port"},
		{func(c *Config) { c.CertFile = "x" }, "-tls-cert and -tls-key go together"},
		{
			func(c *Config) { *c = Config{CertFile: "x", Timeout: -1, MaxHandshakes: -1} },
			"go together\n-ws and -wss are both empty: nobody could connect\n-handshake-timeout: must be more than 0, or silent clients would stay for ever\n-http-idle: must be more than 0, or silent clients would stay for ever\n-max-head: must be 4096 to 1048576 bytes\n-max-handshakes: must not be negative",
		},
		{func(c *Config) { c.TLSAddr, c.CertFile, c.KeyFile = "127.0.0.1:0", "none.crt", "none.key" }, "read TLS files: stat none.crt"},
	} {
		cfg := Default()
		tt.edit(&cfg)
		l, err := Open(cfg, make(catcher), nil, newRecorder(), slog.New(slog.DiscardHandler))
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Open(%+v) = %v, want %q in it", cfg, err, tt.want)
		}
	}
}

// TestInside believes this process about its clients, and others no more than before: not
// even a proxy that would be believed with a PROXY header.
func TestInside(t *testing.T) {
	inside, got := memnet.Listen("inside"), make(catcher, 1)
	l := serve(t, got, func(c *Config) {
		c.Inside, c.Proxies.Protocol = inside, true
		if err := c.Proxies.Trusted.Set("127.0.0.1"); err != nil {
			t.Fatal(err)
		}
	})
	conn, err := inside.DialSocket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "GET /a HTTP/1.1\r\nX-Forwarded-For: 203.0.113.7\r\n"+sound+"\r\n"); err != nil {
		t.Fatal(err)
	}
	r := <-got
	_ = r.Conn.Close()
	if r.Remote.Addr().String() != "203.0.113.7" || len(r.Way.Addrs) != 2 || r.Secure {
		t.Errorf("the client is %v by %v, want 203.0.113.7 by this process", r.Remote, r.Way.Addrs)
	}
	other := dialFrom(t, "127.0.0.1", l.Addr())
	if _, err := io.WriteString(other, "GET /a HTTP/1.1\r\n"+sound+"\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(other); len(answer) > 0 {
		t.Errorf("a proxy without a PROXY header is answered %q, %v", answer, err)
	}
}
