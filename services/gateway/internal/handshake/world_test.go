package handshake

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
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/backendidentity"
	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
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

// grants is a Granter with fixed answers.
type grants struct {
	mu      sync.Mutex
	byToken map[string]*grant.Grant
	errs    map[string]error
	verify  func(ctx context.Context, token string) // called before each answer
	confirm func(s grant.Session) error
	asked   []string
}

func (g *grants) Verify(ctx context.Context, c credential.Credential, version string) (*grant.Grant, grant.Position, error) {
	token := c.Value
	if c.Type != credential.OAuth2 && c.Type != credential.APIKey {
		return nil, 0, fmt.Errorf("a credential of type %d", c.Type)
	}
	g.mu.Lock()
	hook := g.verify
	g.asked = append(g.asked, token+" "+version)
	g.mu.Unlock()
	if hook != nil {
		hook(ctx, token)
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, context.Cause(ctx)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.errs[token]; err != nil {
		return nil, 0, err
	}
	if known, ok := g.byToken[token]; ok {
		return known, 7, nil
	}
	return nil, 0, grant.ErrUnauthenticated
}

func (g *grants) Confirm(_ context.Context, s grant.Session, p grant.Position) error {
	if p != 7 {
		return errors.New("not the position that the grant came with")
	}
	if g.confirm != nil {
		return g.confirm(s)
	}
	return s.Err()
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

// world is a handler behind a listener, with real sockets.
type world struct {
	t        testing.TB
	handler  *Handler
	routes   *routes.Current
	deny     *deny.Current
	grants   *grants
	sessions *session.Registry
	relay    *relay.Engine
	dialer   *upstream.Dialer
	listener *listener.Listener
	stop     func()
	records  chan session.Record
	noted    *noted
	throttle *throttle.Controller
	ledger   *throttletest.Ledger
	plans    map[string]*catalogv1.Plan // that can be fetched
	signed   *signed
}

// noted are the refusals that were noted, by ref.
type noted struct{ sync.Map }

// Refused implements refusal.Sink.
func (n *noted) Refused(f *refusal.Refusal) { n.Store(f.Ref, *f) }

func newWorld(t testing.TB, edit func(*listener.Config)) *world {
	t.Helper()
	newGrant := func(stage grant.Stage, expires time.Time) *grant.Grant {
		return &grant.Grant{Name: "grants/1", RestsOn: []string{"grants/1", "applications/1"}, Stage: stage, Expires: expires}
	}
	w := &world{
		t: t, routes: new(routes.Current), deny: new(deny.Current),
		grants: &grants{
			byToken: map[string]*grant.Grant{
				"good":    newGrant(grant.Production, time.Now().Add(time.Hour)),
				"sandbox": newGrant(grant.Sandbox, time.Time{}),
				"untyped": newGrant(0, time.Time{}),
				"expired": newGrant(grant.Production, time.Now().Add(-time.Second)),
			},
			errs: map[string]error{
				"unsubscribed": grant.ErrNotSubscribed,
				"suspended":    grant.ErrSuspended,
				"blocked":      grant.ErrBlocked,
				"away":         grant.ErrUnavailable,
				"busy":         grant.ErrBusy,
				"broken":       errors.New("broken"),
			},
		},
		records: make(chan session.Record, 1000), relay: relay.NewEngine(relay.Default()), noted: &noted{},
	}
	w.sessions = session.NewRegistry(nil, func(r session.Record) {
		select {
		case w.records <- r:
		default: // a benchmark takes none out, and no session must wait for it
		}
	})
	w.dialer = newDialer(t, upstream.Default().Timeout)
	w.ledger, w.plans = &throttletest.Ledger{Ends: w.relay.Now() + int64(time.Hour)}, map[string]*catalogv1.Plan{}
	w.throttle = throttle.New(throttle.Config{
		SilentFor: 600 * time.Millisecond, AnswerWithin: 300 * time.Millisecond, Engine: w.relay, Ledger: w.ledger, MaxMessage: 1 << 20, Log: slog.New(slog.DiscardHandler),
		Fetch: func(_ context.Context, name string) (*catalogv1.Plan, error) {
			if p := w.plans[name]; p != nil {
				return p, nil
			}
			return nil, errors.New("no such plan")
		},
	})
	m, log := metrics.New(prometheus.NewRegistry()), slog.New(slog.DiscardHandler)
	refused := refusal.New(m, w.noted, log)
	w.signed = &signed{}
	w.handler = New(Dependencies{
		Identities: w.signed, Routes: w.routes, Deny: w.deny, Grants: w.grants, Ours: credential.NewRecognizer(issuer, apikey.Declared()), Dialer: w.dialer, Sessions: w.sessions, Relay: w.relay, Throttle: w.throttle, Refused: refused, Metrics: m, Log: log, EndpointTimeout: time.Second,
		First: FirstConfig{Timeout: 10 * time.Second, Handshake: 10 * time.Second, Max: 10, PerAddress: 8},
	})
	cfg := listener.Default()
	cfg.Addr, cfg.TLSAddr, cfg.CertDir, cfg.MaxRate = "127.0.0.1:0", "127.0.0.1:0", t.TempDir(), 0
	if edit != nil {
		edit(&cfg)
	}
	var err error
	if w.listener, err = listener.Open(cfg, w.handler, func() error { return nil }, refused, log); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.listener.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(w.end)
	return w
}

// newDialer returns a dialer with this timeout.
func newDialer(t testing.TB, timeout time.Duration) *upstream.Dialer {
	t.Helper()
	cfg := upstream.Default()
	cfg.AllowLoopback, cfg.Timeout = true, timeout
	d, err := upstream.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
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
	if taken := w.throttle.SeatsTaken(); len(taken) > 0 {
		w.t.Errorf("at the end there are sessions of the plans %v", taken)
	}
	if n, d, g := w.listener.InProgress(), w.dialer.Dials(), w.sessions.Gauges(); n != 0 || d != 0 || g != (session.Gauges{}) {
		w.t.Errorf("at the end: %d handshakes, %d dials, sessions %+v, want none", n, d, g)
	}
}

// issuer is the installation's issuer of tokens.
const issuer = "https://issuer.test"

// serve puts a route from /echo/1.0.0, and from /echo, to the endpoint into the
// table; more changes the route before that.
func (w *world) serve(endpoint string, more ...func(*routes.Route)) {
	w.t.Helper()
	w.serveAll([]string{endpoint}, more...)
}

// serveAll is as serve, with several endpoints.
func (w *world) serveAll(urls []string, more ...func(*routes.Route)) {
	w.t.Helper()
	var endpoints []*routes.Endpoint
	for _, url := range urls {
		e, err := routes.ParseEndpoint(url)
		if err != nil {
			w.t.Fatal(err)
		}
		endpoints = append(endpoints, e)
	}
	r := &routes.Route{
		Name: "apis/echo/versions/1", API: "apis/echo", Context: "/echo", Segment: "1.0.0", Default: true, Published: true,
		Endpoints: routes.Endpoints{Production: routes.NewStage(balance.Default(), endpoints...)}, Schemes: []credential.Scheme{{Type: credential.OAuth2, Places: credential.OAuth2Places()}}, ChangeNumber: 3,
	}
	for _, f := range more {
		f(r)
	}
	w.put(r)
}

func (w *world) put(list ...*routes.Route) {
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

func (w *world) dial(secure bool) net.Conn {
	w.t.Helper()
	addr := w.listener.Addr()
	if secure {
		addr = w.listener.TLSAddr()
	}
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		w.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// upgradeLines are the header lines of every handshake.
const upgradeLines = "Host: api.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

const good = "Authorization: Bearer good\r\n"

func request(target, more string) string {
	return "GET " + target + " HTTP/1.1\r\n" + upgradeLines + more + "\r\n"
}

func (w *world) send(conn net.Conn, s string) {
	w.t.Helper()
	if _, err := io.WriteString(conn, s); err != nil {
		w.t.Fatal(err)
	}
}

// answer is a response; if it is a problem, with its fields.
type answer struct {
	*http.Response
	Code, Detail, Ref string
	text              string // the body
	Limit             *problem.Limit
	br                *bufio.Reader
}

func (w *world) receive(conn net.Conn) answer {
	w.t.Helper()
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		w.t.Fatalf("read the answer: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{Response: resp, br: br}
	if a.StatusCode == http.StatusSwitchingProtocols {
		return a
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		w.t.Fatalf("read the body: %v", err)
	}
	var p struct {
		Type, Title, Detail, Code, Ref string
		Status                         int
		Limit                          *problem.Limit
	}
	if err := json.Unmarshal(body, &p); err != nil || a.Header.Get("Content-Type") != "application/problem+json" ||
		p.Status != a.StatusCode || p.Title != http.StatusText(p.Status) || p.Type != "about:blank" || len(p.Ref) < 16 || !a.Close {
		w.t.Errorf("body %q (%s): %v, want a problem of status %d", body, a.Header, err, a.StatusCode)
	}
	a.Code, a.Detail, a.Ref, a.Limit, a.text = p.Code, p.Detail, p.Ref, p.Limit, string(body)
	w.explained(a)
	if rest, err := io.ReadAll(a.br); err != nil || len(rest) > 0 {
		w.t.Errorf("after the refusal: %q, %v, want EOF", rest, err)
	}
	return a
}

// explained returns what was noted of a refusal, which must say what the answer says.
func (w *world) explained(a answer) refusal.Refusal {
	w.t.Helper()
	v, ok := w.noted.Load(a.Ref)
	f, _ := v.(refusal.Refusal)
	if !ok || f.Problem.Status != a.StatusCode || f.Problem.Code.String() != a.Code || f.Problem.Detail != a.Detail {
		w.t.Errorf("of the answer %d %s %q nothing is noted but %+v", a.StatusCode, a.Code, a.Detail, f)
	}
	return f
}

// ask sends one handshake and returns the answer.
func (w *world) ask(target, more string) answer {
	w.t.Helper()
	conn := w.dial(false)
	w.send(conn, request(target, more))
	return w.receive(conn)
}

// echo is a backend that returns every message, and keeps the requests.
type echo struct {
	url       string
	requests  chan *http.Request
	protocols []string
	header    http.Header
}

func newEcho(t testing.TB, edit func(*echo)) *echo {
	t.Helper()
	e := &echo{requests: make(chan *http.Request, 100)}
	if edit != nil {
		edit(e)
	}
	e.url = accepting(t, func(conn net.Conn) {
		br := bufio.NewReader(conn)
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		e.requests <- r
		u := websocket.Upgrader{Subprotocols: e.protocols, CheckOrigin: func(*http.Request) bool { return true }}
		ws, err := u.Upgrade(&hijackable{conn: conn, br: br}, r, e.header)
		if err != nil {
			t.Errorf("the backend's upgrade: %v", err)
			return
		}
		for {
			kind, p, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, p) != nil {
				return
			}
		}
	})
	return e
}

// hijackable is enough of a response writer for an upgrade.
type hijackable struct {
	http.ResponseWriter
	conn net.Conn
	br   *bufio.Reader
}

func (h *hijackable) Header() http.Header { return http.Header{} }

func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(h.br, bufio.NewWriter(h.conn)), nil
}

// accepting is a backend that calls treat for each of its connections.
func accepting(t testing.TB, treat func(net.Conn)) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				treat(conn)
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return "ws://" + ln.Addr().String()
}

// silent is a backend that reads a request and never answers. It signals when it
// has been asked, and when the connection has ended.
func silent(t testing.TB) (url string, asked, left chan struct{}) {
	t.Helper()
	asked, left = make(chan struct{}, 1), make(chan struct{}, 1)
	url = accepting(t, func(conn net.Conn) {
		br := bufio.NewReader(conn)
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		asked <- struct{}{}
		_, _ = io.Copy(io.Discard, br)
		left <- struct{}{}
	})
	return url, asked, left
}

// comes waits for a signal of a backend.
func comes(t testing.TB, what string, signal <-chan struct{}) {
	t.Helper()
	select {
	case <-signal:
	case <-time.After(10 * time.Second):
		t.Fatalf("timed out waiting: %s", what)
	}
}

// saying is a backend that gives every request the same answer.
func saying(t testing.TB, response string) string {
	t.Helper()
	return accepting(t, func(conn net.Conn) {
		br := bufio.NewReader(conn)
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		_, _ = io.WriteString(conn, response)
		_, _ = io.Copy(io.Discard, br)
	})
}
