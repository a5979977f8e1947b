package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/auth"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/obs"
	"github.com/tidegatehq/tidegate/services/kit/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a gateway between a control plane and a backend that echoes.
type world struct {
	t       *testing.T
	plane   *plane
	backend *httptest.Server
	cfg     Config

	plain  string // ws://…
	grpc   *memnet.Listener
	stop   context.CancelFunc
	done   chan error
	served atomic.Int64 // sessions that the backend has taken
}

// newWorld makes a world whose gateway is not started.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, plane: newPlane(t)}
	w.backend = httptest.NewServer(http.HandlerFunc(w.echo))
	t.Cleanup(w.backend.Close)
	w.cfg = Config{
		Instance: "gateway-1", Data: t.TempDir(), MasterKey: seal.New(),
		Grants: auth.Config{}, ReportEvery: 50 * time.Millisecond, Drain: 100 * time.Millisecond,
	}
	w.cfg.Upstream.AllowLoopback = true
	w.cfg.Catalog.Conn, w.cfg.Subscription.Conn = w.plane.conn, w.plane.conn
	return w
}

// started returns a world whose gateway serves the versions 1 (with a token) and
// open (without).
func started(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.plane.put(w.route("1"))
	w.plane.put(w.open())
	w.start()
	return w
}

// echo is the backend.
func (w *world) echo(rw http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		w.t.Errorf("backend: %v", err)
		return
	}
	w.served.Add(1)
	for {
		kind, text, err := c.Read(context.Background())
		if err != nil {
			return
		}
		if err := c.Write(context.Background(), kind, text); err != nil {
			return
		}
	}
}

func (w *world) route(version string) *catalogv1.Route {
	return &catalogv1.Route{
		Name: "apis/x/versions/" + version, Api: "apis/x", DisplayName: "X", Owner: "people/pat", Context: "/x", Version: version,
		State:     catalogv1.Version_STATE_PUBLISHED,
		Endpoints: &catalogv1.Endpoints{Production: "ws" + strings.TrimPrefix(w.backend.URL, "http")},
	}
}

// open is a version that asks for no credential.
func (w *world) open() *catalogv1.Route {
	r := w.route("open")
	r.Security = &catalogv1.Security{Schemes: []catalogv1.Security_Scheme{catalogv1.Security_SCHEME_NONE}}
	return r
}

// start runs the gateway until the test ends or shut is called.
func (w *world) start() {
	w.t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := w.cfg
	cfg.Listen.Listener = plain
	w.grpc = memnet.Listen("gateway")
	cfg.GRPC.InternalListener = w.grpc
	ready := make(chan Addrs, 1)
	cfg.Ready = func(a Addrs) { ready <- a }
	ctx, stop := context.WithCancel(context.Background())
	w.stop, w.done = stop, make(chan error, 1)
	go func() { w.done <- Run(ctx, cfg, slog.New(slog.NewTextHandler(w.t.Output(), nil))) }()
	select {
	case a := <-ready:
		w.plain = "ws://" + a.Plain.String()
	case err := <-w.done:
		w.t.Fatalf("Run = %v", err)
	}
	w.t.Cleanup(func() {
		if err := w.shut(); err != nil {
			w.t.Errorf("Run = %v", err)
		}
	})
	eventually(w.t, "the gateway is ready or has no routes", func() bool {
		status := w.get("/-/readyz")
		return status == http.StatusOK || status == http.StatusServiceUnavailable && len(w.plane.versions) == 0
	})
}

// shut stops the gateway, if it runs, and returns what Run returned.
func (w *world) shut() error {
	if w.stop == nil {
		return nil
	}
	w.stop()
	w.stop = nil
	return <-w.done
}

// get asks for one of the gateway's own pages.
func (w *world) get(path string) int {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http"+strings.TrimPrefix(w.plain, "ws")+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// eventually waits for something that takes a moment.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come about that %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// dial connects; status is that of the answer.
func (w *world) dial(version, token string) (c *websocket.Conn, status int) {
	w.t.Helper()
	opts := &websocket.DialOptions{HTTPHeader: http.Header{}}
	if token != "" {
		opts.HTTPHeader.Set("Authorization", "Bearer "+token)
	}
	//nolint:bodyclose // the library documents that the body of this response need not be closed
	c, resp, err := websocket.Dial(w.t.Context(), w.plain+"/x/"+version, opts)
	if resp == nil {
		w.t.Fatalf("dial %s: %v", version, err)
	}
	if err != nil && resp.StatusCode == http.StatusSwitchingProtocols {
		w.t.Fatalf("dial %s: %v", version, err)
	}
	return c, resp.StatusCode
}

// connect connects or fails.
func (w *world) connect(version, token string) *websocket.Conn {
	w.t.Helper()
	c, status := w.dial(version, token)
	if status != http.StatusSwitchingProtocols {
		w.t.Fatalf("dial %s with %q = %d, want 101", version, token, status)
	}
	w.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// refused connects and wants a status.
func (w *world) refused(version, token string, want int) {
	w.t.Helper()
	c, status := w.dial(version, token)
	if status != want {
		w.t.Errorf("dial %s with %q = %d, want %d", version, token, status, want)
	}
	if c != nil {
		_ = c.CloseNow()
	}
}

// echoes says something and wants it back.
func echoes(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatalf("write: %v", err)
	}
	_, got, err := c.Read(t.Context())
	if err != nil || string(got) != text {
		t.Fatalf("read %q, %v, want %q", got, err, text)
	}
}

// closes wants a close with a code within a second or so of begin.
func closes(t *testing.T, c *websocket.Conn, begin time.Time, code websocket.StatusCode, word string) {
	t.Helper()
	_, _, err := c.Read(t.Context())
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code || !strings.HasPrefix(closed.Reason, word+" ref=") {
		t.Errorf("read = %v, want a close %d %s", err, code, word)
	}
	if took := time.Since(begin); took > limit {
		t.Errorf("the close came after %v, want %v at most", took, limit)
	}
}

// limit is how long an end may take, by the contract.
const limit = time.Second

// sessions is the gateway's API as a person sees it.
func (w *world) sessions(person string, roles ...string) (gatewayv1.SessionServiceClient, context.Context) {
	w.t.Helper()
	conn, err := w.grpc.Dial("portal")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return gatewayv1.NewSessionServiceClient(conn), outgoing(w.t.Context(), w.plane.signer.Token(person, roles...))
}

func TestSessionIsServedCountedAndShown(t *testing.T) {
	w := started(t)
	token := w.plane.issue("t1", "subscriptions/1", time.Hour)
	c := w.connect("1", token)
	for i := range 10 {
		echoes(t, c, fmt.Sprint("message ", i))
	}
	api, ctx := w.sessions("root", "admin")
	list, err := api.ListSessions(ctx, &gatewayv1.ListSessionsRequest{Parent: "gateways/-"})
	if err != nil || len(list.GetSessions()) != 1 {
		t.Fatalf("ListSessions = %v, %v, want one", list, err)
	}
	if s := list.GetSessions()[0]; s.GetPerson() != "people/sue" || s.GetInbound().GetMessages() != 10 || s.GetExpireTime() == nil {
		t.Errorf("the session is %v", s)
	}
	eventually(t, "the messages are reported", func() bool {
		sessions, in, out := w.plane.totals()
		return sessions == 1 && in == 10 && out == 10
	})
	begin := time.Now()
	if _, err := api.CloseSession(ctx, &gatewayv1.CloseSessionRequest{Name: list.GetSessions()[0].GetName()}); err != nil {
		t.Fatalf("CloseSession = %v", err)
	}
	closes(t, c, begin, 4010, "CLOSED")
	eventually(t, "the record is reported", func() bool { return slices.Equal(w.plane.causes(), []string{"CLOSED"}) })
	if g, err := api.GetGateway(ctx, &gatewayv1.GetGatewayRequest{Name: "gateways/gateway-1"}); err != nil || !g.GetReady() || g.GetRoutesApplied() != 2 {
		t.Errorf("GetGateway = %v, %v", g, err)
	}
	if w.plane.verified != 1 {
		t.Errorf("the credential was verified %d times, want once", w.plane.verified)
	}
}

func TestSessionsEndWithTheirGrants(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(p *plane)
		code websocket.StatusCode
		word string
	}{
		"token revoked": {func(p *plane) { p.touch(subscriptionv1.GrantEvent_CAUSE_TOKEN_REVOKED, "grants/t1") }, 4001, "REVOKED"},
		"key deleted":   {func(p *plane) { p.touch(subscriptionv1.GrantEvent_CAUSE_KEY_DELETED, "applications/a/keys/k") }, 4001, "REVOKED"},
		"subscription deleted": {func(p *plane) {
			p.touch(subscriptionv1.GrantEvent_CAUSE_SUBSCRIPTION_DELETED, "subscriptions/1")
		}, 4006, "BLOCKED"},
		"application deleted": {func(p *plane) { p.touch(subscriptionv1.GrantEvent_CAUSE_APPLICATION_DELETED, "applications/a") }, 4006, "BLOCKED"},
		"person deleted":      {func(p *plane) { p.touch(subscriptionv1.GrantEvent_CAUSE_PERSON_DELETED, "people/sue") }, 4006, "BLOCKED"},
		"version deleted":     {func(p *plane) { p.touch(subscriptionv1.GrantEvent_CAUSE_VERSION_DELETED, "apis/x/versions/1") }, 4006, "BLOCKED"},
		"something changed":   {func(p *plane) { p.touch(subscriptionv1.GrantEvent_CAUSE_UNSPECIFIED, "subscriptions/1") }, 4006, "BLOCKED"},
		"another history":     {func(p *plane) { p.grants.restart() }, 4006, "BLOCKED"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := started(t)
			c, other := w.connect("1", w.plane.issue("t1", "subscriptions/1", time.Hour)), w.connect("open", "")
			echoes(t, c, "before")
			w.plane.end(subscriptionv1.GrantEvent_CAUSE_SUBSCRIPTION_DELETED, func(string, *token) bool { return true })
			begin := time.Now()
			tt.end(w.plane)
			closes(t, c, begin, tt.code, tt.word)
			w.refused("1", "t1", http.StatusUnauthorized)
			echoes(t, other, "not concerned")
		})
	}
}

func TestChangesThatEndNothing(t *testing.T) {
	w := started(t)
	c := w.connect("1", w.plane.issue("t1", "subscriptions/1", time.Hour))
	w.plane.touch(subscriptionv1.GrantEvent_CAUSE_UNSPECIFIED, "subscriptions/1")
	w.plane.touch(subscriptionv1.GrantEvent_CAUSE_TOKEN_REVOKED, "grants/t2")
	w.plane.grants.restart()
	edited := w.route("1")
	edited.Endpoints.Production = "ws://127.0.0.1:1/elsewhere"
	w.plane.put(edited)
	w.plane.put(edited)
	w.plane.routes.restart()
	w.plane.put(w.route("2"))
	eventually(t, "a version after it all is served", func() bool {
		w.plane.issue("t3", "subscriptions/1", time.Hour)
		conn, status := w.dial("2", "t3")
		if conn != nil {
			_ = conn.CloseNow()
		}
		return status == http.StatusSwitchingProtocols
	})
	echoes(t, c, "still here")
	if got := w.served.Load(); got != 2 {
		t.Errorf("the backend has served %d sessions, want 2", got)
	}
}

func TestCredentialExpires(t *testing.T) {
	w := started(t)
	c := w.connect("1", w.plane.issue("t1", "subscriptions/1", 1500*time.Millisecond))
	expires := w.plane.tokens["t1"].expires
	echoes(t, c, "before")
	closes(t, c, expires, 4001, "EXPIRED")
	if early := time.Until(expires); early > 500*time.Millisecond {
		t.Errorf("the close came %v early", early)
	}
	w.refused("1", "t1", http.StatusUnauthorized)
}

func TestVersionDemotedOrRemoved(t *testing.T) {
	w := started(t)
	c, other := w.connect("1", w.plane.issue("t1", "subscriptions/1", time.Hour)), w.connect("open", "")
	down := w.route("1")
	down.State = catalogv1.Version_STATE_CREATED
	begin := time.Now()
	w.plane.put(down)
	closes(t, c, begin, 4006, "BLOCKED")
	w.refused("1", "t1", http.StatusNotFound)
	echoes(t, other, "not concerned")
	w.plane.put(w.route("1"))
	eventually(t, "the version is served again", func() bool {
		c, status := w.dial("1", "t1")
		if c != nil {
			_ = c.CloseNow()
		}
		return status == http.StatusSwitchingProtocols
	})
}

func TestFeatureThatIsMissing(t *testing.T) {
	w := started(t)
	r := w.open()
	r.Name, r.Version, r.Requires = "apis/x/versions/later", "later", []string{"time-travel"}
	w.plane.put(r)
	eventually(t, "the version is known", func() bool { _, status := w.dial("later", ""); return status != http.StatusNotFound })
	w.refused("later", "", http.StatusServiceUnavailable)
}

func TestControlPlaneAway(t *testing.T) {
	w := started(t)
	w.plane.issue("t1", "subscriptions/1", time.Hour)
	w.plane.issue("t2", "subscriptions/2", time.Hour)
	c := w.connect("1", "t1")
	echoes(t, c, "before")
	w.plane.away()
	echoes(t, c, "the session goes on")
	again := w.connect("1", "t1")
	echoes(t, again, "a cached grant is honoured")
	w.refused("1", "t2", http.StatusServiceUnavailable)
	w.connect("open", "")
	if status := w.get("/-/readyz"); status != http.StatusOK {
		t.Errorf("readyz = %d, want 200: the gateway has routes", status)
	}
	w.plane.end(subscriptionv1.GrantEvent_CAUSE_TOKEN_REVOKED, func(name string, _ *token) bool { return name == "t1" })
	w.plane.touch(subscriptionv1.GrantEvent_CAUSE_TOKEN_REVOKED, "grants/t1")
	w.plane.back()
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != 4001 {
		t.Errorf("after the control plane came back, read = %v, want the revocation that was missed", err)
	}
	eventually(t, "other tokens are verified again", func() bool {
		c, status := w.dial("1", "t2")
		if c != nil {
			_ = c.CloseNow()
		}
		return status == http.StatusSwitchingProtocols
	})
	eventually(t, "usage is reported", func() bool { _, in, _ := w.plane.totals(); return in == 3 })
}

func TestRestartFromDisk(t *testing.T) {
	w := started(t)
	w.plane.issue("t1", "subscriptions/1", time.Hour)
	w.connect("1", "t1")
	if err := w.shut(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	w.plane.away()
	w.start()
	echoes(t, w.connect("open", ""), "served from disk")
	w.refused("1", "t1", http.StatusServiceUnavailable)
	w.refused("nothing", "", http.StatusNotFound)
	w.plane.back()
	eventually(t, "tokens are verified again", func() bool {
		c, status := w.dial("1", "t1")
		if c != nil {
			_ = c.CloseNow()
		}
		return status == http.StatusSwitchingProtocols
	})
}

func TestRestartWithoutACopy(t *testing.T) {
	w := started(t)
	if err := w.shut(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	w.plane.away()
	w.cfg.MasterKey = seal.New()
	w.plane.versions = nil
	w.start()
	w.refused("open", "", http.StatusServiceUnavailable)
	if status := w.get("/-/healthz"); status != http.StatusOK {
		t.Errorf("healthz = %d, want 200", status)
	}
	if status := w.get("/-/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz = %d, want 503", status)
	}
}

func TestDrain(t *testing.T) {
	w := newWorld(t)
	w.cfg.ReportEvery = time.Hour // what is reported is reported at the stop
	w.cfg.Drain = 600 * time.Millisecond
	w.plane.put(w.route("1"))
	w.plane.put(w.open())
	w.start()
	w.plane.issue("t1", "subscriptions/1", time.Hour)
	var all []*websocket.Conn
	for i := range 6 {
		c := w.connect("1", "t1")
		echoes(t, c, fmt.Sprint("from ", i))
		all = append(all, c)
	}
	begin := time.Now()
	w.stop()
	ended := make(chan time.Duration, len(all))
	for _, c := range all {
		go func() {
			_, _, err := c.Read(t.Context())
			if websocket.CloseStatus(err) != websocket.StatusServiceRestart {
				t.Errorf("read = %v, want a close 1012", err)
			}
			ended <- time.Since(begin)
		}()
	}
	first := <-ended
	if status := w.get("/-/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz while draining = %d, want 503", status)
	}
	w.refused("open", "", http.StatusServiceUnavailable)
	var last time.Duration
	for range len(all) - 1 {
		last = <-ended
	}
	if last-first < 200*time.Millisecond {
		t.Errorf("the sessions ended between %v and %v, want them spread", first, last)
	}
	err := <-w.done
	w.stop = nil
	if err != nil {
		t.Errorf("Run = %v", err)
	}
	if got := w.plane.causes(); len(got) != 6 || !slices.Equal(slices.Compact(got), []string{"DRAIN"}) {
		t.Errorf("the records say %q, want DRAIN of all", got)
	}
	if sessions, in, out := w.plane.totals(); sessions != 6 || in != 6 || out != 6 {
		t.Errorf("reported %d sessions, %d and %d messages, want 6 of each", sessions, in, out)
	}
}

func TestStopSaysWhatItCouldNotReport(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the last report to be given up")
	}
	t.Parallel()
	w := started(t)
	c := w.connect("open", "")
	w.plane.away()
	echoes(t, c, "unreported")
	if err := w.shut(); err == nil || !strings.Contains(err.Error(), "report the last 1 rows of usage and 1 session records") {
		t.Errorf("Run = %v, want what was lost", err)
	}
}

func TestRunFailsWhenSomethingCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tt := range map[string]struct {
		spoil func(c *Config)
		want  string
	}{
		"listener taken":    {func(c *Config) { c.Listen.Addr = taken.Addr().String() }, "listen for clients"},
		"gRPC taken":        {func(c *Config) { c.GRPC.Addr = taken.Addr().String() }, "serve gRPC for people"},
		"operations taken":  {func(c *Config) { c.Ops = obs.Config{Addr: taken.Addr().String()} }, "serve operations"},
		"no master key":     {func(c *Config) { c.MasterKey, c.MasterKeyFile = nil, "/nonexistent/key" }, "read master key"},
		"no authority":      {func(c *Config) { c.Upstream.CAFile = "/nonexistent/ca" }, "read certificate authorities of backends"},
		"nothing to serve":  {func(c *Config) { c.Listen.Addr = "" }, "nobody could connect"},
		"folder impossible": {func(c *Config) { c.Data = "/dev/null/x" }, "make the folder of the routes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cfg := w.cfg
			cfg.Listen.Addr = "127.0.0.1:0"
			tt.spoil(&cfg)
			if err := Run(t.Context(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil))); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run = %v, want %q in it", err, tt.want)
			}
		})
	}
}
