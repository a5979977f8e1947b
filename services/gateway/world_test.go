package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
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
	w.cfg = Default()
	w.cfg.Instance, w.cfg.Data, w.cfg.MasterKey = "gateway-1", t.TempDir(), seal.New()
	w.cfg.Metering.Every, w.cfg.Drain = 50*time.Millisecond, 100*time.Millisecond
	w.cfg.Listen.Addr, w.cfg.Listen.TLSAddr, w.cfg.GRPC.Addr, w.cfg.GRPC.InternalAddr, w.cfg.Ops.Addr = "", "", "", "", ""
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
	w.served.Add(1) // before the client can know
	c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		w.t.Errorf("backend: %v", err)
		return
	}
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

func (w *world) route(version string) *backplanev1.Route {
	return &backplanev1.Route{
		Name: "apis/x/versions/" + version, Api: "apis/x", DisplayName: "X", Owner: "users/pat", Context: "/x", Version: version,
		State:     catalogv1.Version_STATE_PUBLISHED,
		Endpoints: &catalogv1.Endpoints{Production: endpoint("ws" + strings.TrimPrefix(w.backend.URL, "http"))},
	}
}

// open is a version that asks for no credential.
func (w *world) open() *backplanev1.Route {
	r := w.route("open")
	r.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}}
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
	followed := w.plane.grants.acked()
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
	if w.plane.isThere() {
		eventually(w.t, "the gateway follows the grants", func() bool { return w.plane.grants.acked() > followed })
	}
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
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			err = w.cfg.Listen.Proxies.Greet(conn)
		}
		return conn, err
	}}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// eventually waits for something that takes a moment.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
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

// closes wants a close with a code. TestListenersEnd shows how soon one comes.
func closes(t *testing.T, c *websocket.Conn, code websocket.StatusCode, word string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, _, err := c.Read(ctx)
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code || !strings.HasPrefix(closed.Reason, word+" ref=") {
		t.Errorf("read = %v, want a close %d %s", err, code, word)
	}
}

// sessions is the gateway's API as an administrator sees it.
func (w *world) sessions() (gatewayv1.SessionServiceClient, context.Context) {
	w.t.Helper()
	conn, err := w.grpc.Dial("portal")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return gatewayv1.NewSessionServiceClient(conn), outgoing(w.t.Context(), w.plane.signer.Token("root", "admin"))
}

// endpoint is a stage with one endpoint.
func endpoint(url string) []*catalogv1.Endpoint {
	return []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: url}}}
}
