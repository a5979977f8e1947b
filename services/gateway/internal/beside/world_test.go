package beside

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/backendidentity"
	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/handshake"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/gateway/internal/relay"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle/throttletest"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
	"github.com/tidegatehq/tidegate/services/kit/apikey"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// grants is a Granter: each token has a grant.
type grants map[string]*grant.Grant

func (g grants) Verify(_ context.Context, c credential.Credential, _ string) (*grant.Grant, grant.Position, error) {
	if known, ok := g[c.Value]; ok {
		return known, 7, nil
	}
	return nil, 0, grant.ErrUnauthenticated
}

func (g grants) Confirm(_ context.Context, s grant.Session, _ grant.Position) error { return s.Err() }

// meter keeps what it is told.
type meter struct {
	mu      sync.Mutex
	used    ending.Totals
	limits  []ending.LimitCount
	info    session.Info
	records []session.Record
}

func (m *meter) Used(info *session.Info, used []ending.Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.info = *info
	for i := range used {
		m.used.Add(&used[i].Totals)
		m.limits = ending.AddLimits(m.limits, used[i].Limits)
	}
}

func (m *meter) Answered(r session.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records = append(m.records, r)
}

// world is a server behind a listener, with real sockets.
type world struct {
	t        testing.TB
	server   *Server
	routes   *routes.Current
	deny     *deny.Current
	grants   grants
	sessions *session.Registry
	throttle *throttle.Controller
	ledger   *throttletest.Ledger
	relay    *relay.Engine
	listener *listener.Listener
	meter    *meter
	refused  *noted
	signed   signed
	notReady error
	dialled  []net.Conn // by the test
	stop     func()
}

// signed is an Identities that signs nothing.
type signed struct {
	mu    sync.Mutex
	err   error
	asked []backendidentity.Claims
}

// fail has signing fail.
func (s *signed) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// was returns what was to be signed.
func (s *signed) was() []backendidentity.Claims {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *signed) Sign(_ context.Context, c backendidentity.Claims) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, c)
	return "e30.e30.c2ln", s.err
}

// noted are the refusals.
type noted struct {
	mu  sync.Mutex
	all []refusal.Refusal
}

// Refused implements refusal.Sink.
func (n *noted) Refused(f *refusal.Refusal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, *f)
}

func newWorld(t testing.TB, edit func(*Config, *listener.Config)) *world {
	t.Helper()
	newGrant := func(name string, stage grant.Stage, expires time.Time) *grant.Grant {
		return &grant.Grant{Name: "grants/" + name, Application: "applications/" + name, Plan: "plans/gold", RestsOn: []string{"grants/" + name, "applications/" + name}, Stage: stage, Expires: expires}
	}
	w := &world{
		t: t, routes: new(routes.Current), deny: new(deny.Current), meter: &meter{}, refused: &noted{}, relay: relay.NewEngine(relay.Default()),
		grants: grants{
			"good": newGrant("good", grant.Production, time.Now().Add(time.Hour)), "other": newGrant("other", grant.Production, time.Time{}), "sandbox": newGrant("sandbox", grant.Sandbox, time.Time{}),
		},
		sessions: session.NewRegistry(nil, func(session.Record) {}),
	}
	w.sessions.Judge(w.deny)
	w.ledger = &throttletest.Ledger{Ends: w.relay.Now() + int64(time.Hour)}
	log := slog.New(slog.DiscardHandler)
	w.throttle = throttle.New(throttle.Config{
		Engine: w.relay, Ledger: w.ledger, MaxMessage: 1 << 20, Log: log,
		Fetch: func(context.Context, string) (*catalogv1.Plan, error) { return nil, errors.New("no such plan") },
	})
	w.throttle.SetPlans([]*catalogv1.Plan{{Name: "plans/gold"}}, nil)
	ucfg := upstream.Default()
	ucfg.AllowLoopback, ucfg.Timeout = true, 2*time.Second
	dialer, err := upstream.New(ucfg)
	if err != nil {
		t.Fatal(err)
	}
	m := metrics.New(prometheus.NewRegistry())
	refused := refusal.New(m, w.refused, log)
	cfg, lcfg := Default(), listener.Default()
	lcfg.Addr, lcfg.TLSAddr, lcfg.CertDir, lcfg.MaxRate = "127.0.0.1:0", "127.0.0.1:0", t.TempDir(), 0
	if edit != nil {
		edit(&cfg, &lcfg)
	}
	// One address has half of the listener's slots: a test that takes all places of requests has
	// some left.
	handshakes := handshake.New(handshake.Dependencies{
		Identities: &w.signed, Routes: w.routes, Deny: w.deny, Grants: w.grants, Ours: credential.NewRecognizer("https://issuer.test", apikey.Declared()), Dialer: dialer, Sessions: w.sessions,
		Relay: w.relay, Throttle: w.throttle, Refused: refused, Metrics: m, Log: log, EndpointTimeout: time.Second,
		MaxRequests: lcfg.MaxHandshakes / 4, MaxPerVersion: lcfg.MaxHandshakes / 8,
	})
	w.server = New(cfg, Dependencies{
		Handshakes: handshakes, Routes: w.routes, Dialer: dialer, Metrics: m, Meter: w.meter, Minute: w.relay.Minute, Ready: func() error { return w.notReady }, Log: log,
	})
	lcfg.Beside = w.server.Handle
	if w.listener, err = listener.Open(lcfg, handshakes, func() error { return nil }, refused, log); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.listener.Run(ctx) })
	running.Go(func() { _ = w.server.Run(ctx) })
	w.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(w.end)
	return w
}

// end stops everything and checks that nothing is left.
func (w *world) end() {
	w.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.sessions.Drain(ctx, 0); err != nil {
		w.t.Errorf("Drain = %v", err)
	}
	w.relay.Wait()
	w.throttle.Close()
	eventually(w.t, "all connections to backends are closed", func() bool { return w.server.Connections() == 0 })
	if n, g := w.server.InFlight(), w.sessions.Gauges(); n != 0 || g != (session.Gauges{}) || w.listener.InProgress() != 0 || w.listener.Connections() != 0 {
		w.t.Errorf("at the end: %d requests, sessions %+v, %d and %d connections, want none", n, g, w.listener.InProgress(), w.listener.Connections())
	}
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come about that %s", what)
		}
	}
}

// stageOf returns a stage of these URLs.
func stageOf(t testing.TB, urls ...string) *routes.Stage {
	t.Helper()
	var endpoints []*routes.Endpoint
	for _, url := range urls {
		e, err := routes.ParseEndpoint(url)
		if err != nil {
			t.Fatal(err)
		}
		endpoints = append(endpoints, e)
	}
	return routes.NewStage(balance.Default(), endpoints...)
}

// route is a version at /echo/1.0.0 whose HTTP goes to these URLs.
func (w *world) route(urls ...string) *routes.Route {
	oauth2 := []credential.Scheme{{Type: credential.OAuth2, Places: credential.OAuth2Places()}}
	return &routes.Route{
		Name: "apis/echo/versions/1", API: "apis/echo", Context: "/echo", Segment: "1.0.0", Default: true, Published: true,
		Endpoints: routes.Endpoints{Production: stageOf(w.t, "ws://127.0.0.1:1")}, Schemes: oauth2,
		HTTP: &routes.HTTP{Endpoints: routes.Endpoints{Production: stageOf(w.t, urls...)}, Schemes: oauth2},
	}
}

// serve serves routes.
func (w *world) serve(list ...*routes.Route) {
	w.t.Helper()
	table, err := w.routes.Load().With(routes.Changes{Put: list})
	if err != nil {
		w.t.Fatal(err)
	}
	versions := map[string]throttle.Version{}
	for _, r := range list {
		versions[r.Name] = r.Limits
	}
	w.throttle.SetVersions(versions, nil)
	w.routes.Swap(table)
}

// open is a route whose HTTP asks for no credential.
func open(r *routes.Route) *routes.Route {
	r.HTTP.Schemes = []credential.Scheme{{Type: credential.None}}
	return r
}

// backend is an HTTP server of a test's.
func backend(t testing.TB, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s.URL
}

// echo answers with the body, and what it got in headers.
func echo(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("X-Method", r.Method)
	rw.Header().Set("X-Target", r.RequestURI)
	rw.Header().Set("X-Host", r.Host)
	for name, lines := range r.Header {
		rw.Header().Set("Got-"+name, strings.Join(lines, "|"))
	}
	body, _ := io.ReadAll(r.Body)
	_, _ = rw.Write(body)
}

// client is a connection to the listener.
type clientConn struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
}

func (w *world) dial() *clientConn {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	w.t.Cleanup(func() { _ = conn.Close() })
	w.dialled = append(w.dialled, conn)
	return &clientConn{Conn: conn, t: w.t, br: bufio.NewReader(conn)}
}

func (c *clientConn) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer is an answer with its whole body.
type answer struct {
	*http.Response
	text              string
	Code, Detail, Ref string // of a problem
}

// receive reads an answer to a method.
func (c *clientConn) receive(method string) answer {
	c.t.Helper()
	resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("read the answer: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("read the body: %v after %q", err, body)
	}
	_ = resp.Body.Close()
	a := answer{Response: resp, text: string(body)}
	if resp.Header.Get("Content-Type") == "application/problem+json" && method != http.MethodHead {
		var p struct{ Code, Detail, Ref string }
		if err := json.Unmarshal(body, &p); err != nil {
			c.t.Errorf("the problem is %q: %v", body, err)
		}
		a.Code, a.Detail, a.Ref = p.Code, p.Detail, p.Ref
	}
	return a
}

// ends wants the connection to end without another byte.
func (c *clientConn) ends() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.br); err != nil || len(rest) > 0 {
		c.t.Errorf("the connection went on with %q, %v, want its end", rest, err)
	}
}

// ask sends one request and returns the answer.
func (c *clientConn) ask(method, target, more string) answer {
	c.t.Helper()
	c.send(method + " " + target + " HTTP/1.1\r\nHost: api.example\r\n" + more)
	return c.receive(method)
}

const good = "Authorization: Bearer good\r\n"

// CloseWriteOf ends what the client sends.
func (c *clientConn) CloseWriteOf() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// rest returns what comes up to the end of the connection, however it ends.
func (c *clientConn) rest() string {
	all, _ := io.ReadAll(c.br)
	return string(all)
}
