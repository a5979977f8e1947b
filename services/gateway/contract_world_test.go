package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// withTLS gives the world, which is not started yet, a TLS listener. It returns
// its address as wss://….
func (w *world) withTLS() string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.cfg.Listen.TLSListener = l
	return "wss://" + l.Addr().String()
}

// trusting is an HTTP client that takes any certificate.
func trusting(t *testing.T) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// reply is the answer to a handshake.
type reply struct {
	status int
	header http.Header
	body   string
	ends   bool // the connection
}

// ask connects to a URL and returns the connection, nil when it was refused, and
// the answer.
func (w *world) ask(url string, h http.Header, protocols ...string) (*websocket.Conn, reply) {
	w.t.Helper()
	c, resp, err := websocket.Dial(w.t.Context(), url, &websocket.DialOptions{
		HTTPHeader: h, HTTPClient: trusting(w.t), Subprotocols: protocols,
	})
	if resp == nil {
		w.t.Fatalf("dial %s: %v", url, err)
	}
	r := reply{status: resp.StatusCode, header: resp.Header, ends: resp.Close}
	if err == nil {
		w.t.Cleanup(func() { _ = c.CloseNow() })
		return c, r
	}
	body, _ := io.ReadAll(resp.Body) // the library keeps its beginning
	_ = resp.Body.Close()
	r.body = string(body)
	return nil, r
}

// answers connects to a URL and wants a status.
func (w *world) answers(url string, h http.Header, want int) {
	w.t.Helper()
	c, resp := w.ask(url, h)
	if resp.status != want {
		w.t.Errorf("%s with %v: %d, want %d", url, h, resp.status, want)
	}
	if c != nil {
		echoes(w.t, c, "hello")
		_ = c.CloseNow()
	}
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// names are the names of the live sessions of an API, in order.
func (w *world) names(of string) []string {
	w.t.Helper()
	api, ctx := w.sessions()
	list, err := api.ListSessions(ctx, &gatewayv1.ListSessionsRequest{Parent: "gateways/gateway-1"})
	if err != nil {
		w.t.Fatalf("ListSessions = %v", err)
	}
	var names []string
	for _, s := range list.GetSessions() {
		if strings.HasPrefix(s.GetVersion(), of+"/") {
			names = append(names, s.GetName())
		}
	}
	slices.Sort(names)
	return names
}

// judge has the control plane's verdicts changed, before the world is started.
func (w *world) judge(change func(req *backplanev1.VerifyCredentialRequest, resp *backplanev1.VerifyCredentialResponse)) {
	w.t.Helper()
	conn, err := grpc.NewClient("passthrough:///plane", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return w.plane.dial(ctx) }),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, resp any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			err := next(ctx, method, req, resp, cc, opts...)
			if r, ok := resp.(*backplanev1.VerifyCredentialResponse); ok && err == nil {
				change(req.(*backplanev1.VerifyCredentialRequest), r)
			}
			return err
		}))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	w.cfg.Subscription.Conn = conn
}

// rawBackend is a backend that leaves each frame to the test.
type rawBackend struct {
	net.Listener
	ends chan *end
}

// newRawBackend listens until the test ends.
func newRawBackend(t *testing.T) *rawBackend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newRawBackendOn(t, l)
}

// newRawBackendOn takes connections of l until the test ends.
func newRawBackendOn(t *testing.T, l net.Listener) *rawBackend {
	t.Helper()
	b := &rawBackend{Listener: l, ends: make(chan *end, 16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := ws.Upgrade(conn); err != nil {
				_ = conn.Close()
				continue
			}
			b.ends <- &end{Conn: conn, in: bufio.NewReader(conn), t: t, name: "backend"}
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return b
}

// serve makes a version, without credentials, that leads to the backend.
func (b *rawBackend) serve(w *world, version string) {
	r := w.open()
	r.Name, r.Version = "apis/x/versions/"+version, version
	r.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws://" + b.Addr().String())}
	w.plane.put(r)
}

// end is the far end of a leg.
type end struct {
	net.Conn
	in   *bufio.Reader
	t    *testing.T
	name string
	mask bool
}

// pair connects to a URL that leads to a raw backend.
func (w *world) pair(b *rawBackend, url string, h http.Header) (client, backend *end) {
	w.t.Helper()
	d := ws.Dialer{TLSConfig: &tls.Config{InsecureSkipVerify: true}, Header: ws.HandshakeHeaderHTTP(h)}
	conn, br, _, err := d.Dial(w.t.Context(), url)
	if err != nil {
		w.t.Fatalf("dial %s: %v", url, err)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	client = &end{Conn: conn, in: br, t: w.t, name: "client", mask: true}
	backend = <-b.ends
	for _, e := range []*end{client, backend} {
		_ = e.SetDeadline(time.Now().Add(20 * time.Second))
		w.t.Cleanup(func() { _ = e.Close() })
	}
	return client, backend
}

// send sends a frame as the end's side does.
func (e *end) send(f ws.Frame) {
	e.t.Helper()
	if err := e.write(f); err != nil {
		e.t.Fatalf("%s: send: %v", e.name, err)
	}
}

func (e *end) write(f ws.Frame) error {
	if e.mask {
		f = ws.MaskFrame(f)
	}
	return ws.WriteFrame(e.Conn, f)
}

// next reads a frame, unmasked.
func (e *end) next() (ws.Frame, error) {
	h, err := ws.ReadHeader(e.in)
	if err != nil {
		return ws.Frame{}, err
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(e.in, f.Payload)
	if h.Masked {
		ws.Cipher(f.Payload, h.Mask, 0)
	}
	return f, err
}

// expect wants a frame with these bits and this payload.
func (e *end) expect(want ws.Frame) {
	e.t.Helper()
	f, err := e.next()
	if err != nil {
		e.t.Fatalf("%s: read: %v", e.name, err)
	}
	if f.Header.OpCode != want.Header.OpCode || f.Header.Fin != want.Header.Fin || string(f.Payload) != string(want.Payload) {
		e.t.Fatalf("%s: got opcode %d, fin %t, %d bytes, want %d, %t, %d bytes of the same content", e.name,
			f.Header.OpCode, f.Header.Fin, len(f.Payload), want.Header.OpCode, want.Header.Fin, len(want.Payload))
	}
}

// closed reads until the close frame or the end, and returns the code and the
// reason: 0 without a close, 1005 with one that is empty.
func (e *end) closed() (code int, reason string) {
	for {
		f, err := e.next()
		if err != nil {
			return 0, ""
		}
		if f.Header.OpCode != ws.OpClose {
			continue
		}
		if len(f.Payload) == 0 {
			return int(ws.StatusNoStatusRcvd), ""
		}
		c, r := ws.ParseCloseFrameData(f.Payload)
		return int(c), r
	}
}

// reset ends the connection as a crash does.
func (e *end) reset() {
	conn := e.Conn
	if c, ok := conn.(*tls.Conn); ok {
		conn = c.NetConn()
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// record waits for the record that a close's reason names.
func (w *world) record(reason string) *usagev1.SessionRecord {
	w.t.Helper()
	_, ref, _ := strings.Cut(reason, " ref=")
	ref, _, _ = strings.Cut(ref, " ")
	var found *usagev1.SessionRecord
	eventually(w.t, "there is a record of "+reason, func() bool {
		w.plane.mu.Lock()
		defer w.plane.mu.Unlock()
		for _, r := range w.plane.records {
			if ref != "" && strings.HasSuffix(r.GetName(), ref) {
				found = r
			}
		}
		return found != nil
	})
	return found
}

// settled waits until the gateway has applied all changes.
func (w *world) settled() {
	w.t.Helper()
	api, ctx := w.sessions()
	eventually(w.t, "all changes are applied", func() bool {
		g, err := api.GetGateway(ctx, &gatewayv1.GetGatewayRequest{Name: "gateways/" + w.cfg.Instance})
		return err == nil && g.GetRoutesAppliedChangeNumber() == w.plane.routes.number() && g.GetGrantsAppliedChangeNumber() == w.plane.grants.number()
	})
}
