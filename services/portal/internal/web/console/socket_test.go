package console

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// patience is how long a test waits for what must happen. Only failures use it up.
const patience = 30 * time.Second

// services answer for the ones that the console calls.
type services struct {
	catalogv1.CatalogServiceClient
	identityv1.UserServiceClient
	address string
	version *catalogv1.Version // its security and origins; nil: none are said
	ended   atomic.Bool
}

// GetVersion returns a version at the address.
func (s *services) GetVersion(context.Context, *catalogv1.GetVersionRequest, ...grpc.CallOption) (*catalogv1.Version, error) {
	return &catalogv1.Version{
		Name: "apis/a/versions/v", Addresses: []string{s.address}, Security: s.version.GetSecurity(), AllowedOrigins: s.version.GetAllowedOrigins(),
	}, nil
}

// GetUser refuses a sign-in that has ended.
func (s *services) GetUser(context.Context, *identityv1.GetUserRequest, ...grpc.CallOption) (*identityv1.User, error) {
	if s.ended.Load() {
		return nil, fault.Unauthenticated("the sign-in has ended")
	}
	return &identityv1.User{}, nil
}

// user is the address of the page's browser.
const user = "203.0.113.7"

// world is a console before a gateway of the test.
type world struct {
	*services
	t      *testing.T
	portal *httptest.Server
	stop   context.CancelFunc
	done   chan error // what Run returned

	console *Console
	ahead   atomic.Int64 // how far the console's clock is, in seconds
	roots   atomic.Pointer[x509.CertPool]
}

// newWorld starts a console. gateway serves what the console dials.
func newWorld(t *testing.T, gateway http.HandlerFunc) *world {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
	backend := httptest.NewServer(gateway)
	t.Cleanup(backend.Close)
	w := &world{t: t, services: &services{address: "ws" + strings.TrimPrefix(backend.URL, "http") + "/echo/1"}, done: make(chan error, 1)}
	c := New(Config{Services: &ui.Services{Catalog: w.services, Users: w.services}, Key: seal.New(), Roots: w.roots.Load, Log: slog.New(slog.DiscardHandler), Now: func() time.Time {
		return time.Now().Add(time.Duration(w.ahead.Load()) * time.Second)
	}})
	w.console = c
	claims, err := json.Marshal(map[string]any{"sub": "users/ann", "sid": "one", "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	viewer := &ui.Viewer{Name: "users/ann", Token: "e30." + base64.RawURLEncoding.EncodeToString(claims) + ".none"}
	w.portal = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r = r.WithContext(clientaddr.With(r.Context(), netip.MustParseAddr(user)))
		req := &ui.Request{Request: r, Viewer: viewer}
		answer, err := c.socket(req)
		take, ok := answer.(ui.Takeover)
		switch {
		case err != nil:
			http.Error(rw, err.Error(), http.StatusForbidden)
		case !ok:
			rw.WriteHeader(http.StatusSeeOther)
		default:
			if err := take(rw, req); err != nil {
				t.Error(err)
			}
		}
	}))
	t.Cleanup(w.portal.Close)
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	go func() { w.done <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-w.done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	return w
}

// page opens a socket as the portal's page does, and sends the first command if there is
// one.
func (w *world) page(open *command) *websocket.Conn {
	w.t.Helper()
	conn, status, err := w.dial("https://" + strings.TrimPrefix(w.portal.URL, "http://"))
	for deadline := time.Now().Add(patience); err != nil; { // those before may be ending still
		if status != http.StatusTooManyRequests || time.Now().After(deadline) {
			w.t.Fatalf("open the socket: %v, %d", err, status)
		}
		conn, status, err = w.dial("https://" + strings.TrimPrefix(w.portal.URL, "http://"))
	}
	if open != nil {
		send(w.t, conn, open)
	}
	return conn
}

// dial opens a socket for a page of an origin. It returns the status of the answer, too.
func (w *world) dial(origin string) (*websocket.Conn, int, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, w.portal.URL, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}}) //nolint:bodyclose // Dial has closed it
	if err == nil {
		conn.SetReadLimit(-1)
		w.t.Cleanup(func() { _ = conn.CloseNow() })
	}
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	return conn, status, err
}

func send(t *testing.T, conn *websocket.Conn, c *command) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := wsjson.Write(ctx, conn, c); err != nil {
		t.Fatalf("send %s: %v", c.Type, err)
	}
}

// next returns the next event that is none of those to skip.
func next(t *testing.T, conn *websocket.Conn, skip ...string) event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		var e event
		if err := wsjson.Read(ctx, conn, &e); err != nil {
			t.Fatalf("the next event: %v", err)
		}
		if !strings.Contains(" "+strings.Join(skip, " ")+" ", " "+e.Type+" ") {
			return e
		}
	}
}

// accept answers handshakes, with the sub-protocol two.
func accept(t *testing.T, serve func(context.Context, *websocket.Conn)) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"two"}})
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		defer func() { _ = conn.CloseNow() }()
		conn.SetReadLimit(-1)
		serve(r.Context(), conn)
	}
}

func echo(ctx context.Context, conn *websocket.Conn) {
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil || conn.Write(ctx, kind, data) != nil {
			return
		}
	}
}

// TestConversation opens, sends all kinds of messages, and closes with a code.
func TestConversation(t *testing.T) {
	closed, heads := make(chan error, 1), make(chan *http.Request, 1)
	serve := accept(t, func(ctx context.Context, conn *websocket.Conn) {
		for {
			kind, data, err := conn.Read(ctx)
			if err != nil {
				closed <- err
				return
			}
			if conn.Write(ctx, kind, data) != nil {
				return
			}
		}
	})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		heads <- r.Clone(context.WithoutCancel(r.Context()))
		serve(rw, r)
	})
	page := w.page(&command{
		Type: "open", Path: "/berths/7", Query: "a=b", Protocols: []string{"one", "two"}, Token: "secret",
		Headers: [][2]string{
			{"X-Mine", "yes"}, {"Origin", "https://app.example.com"}, {"Cookie", "a=b"}, {"X-Forwarded-For", "192.0.2.1"}, {"X_Tidegate_User", "me"},
			{"Connection", "X-Named"}, {"X-Named", "1"}, {"Host", "elsewhere.test"}, {"Forwarded", "for=192.0.2.1"}, {"Te", "gzip"},
		},
	})
	if e := next(t, page); e.Type != "opened" || e.Protocol != "two" {
		t.Fatalf("the first event = %+v, want opened with sub-protocol two", e)
	}
	head := <-heads
	want := map[string]string{"X-Forwarded-For": user, "X-Forwarded-Proto": "ws", "X-Mine": "yes", "Origin": "https://app.example.com", "Authorization": "Bearer secret", "Sec-Websocket-Protocol": "one, two"}
	for name, value := range want {
		if got := strings.Join(head.Header.Values(name), " and "); got != value {
			t.Errorf("%s = %q at the gateway, want %q", name, got, value)
		}
	}
	for _, name := range []string{"Cookie", "X_Tidegate_User", "X-Named", "Forwarded", "Te"} {
		if got := head.Header.Values(name); got != nil {
			t.Errorf("%s = %q at the gateway, want none", name, got)
		}
	}
	if head.URL.RequestURI() != "/echo/1/berths/7?a=b" || head.Host == "elsewhere.test" {
		t.Errorf("the gateway was asked for %s of %s", head.URL, head.Host)
	}

	send(t, page, &command{Type: "text", Text: "hello"})
	if e := next(t, page, "taken"); e.Type != "text" || e.Text != "hello" {
		t.Errorf("the echo of a text = %+v", e)
	}
	send(t, page, &command{Type: "binary", Data: []byte{0, 255}})
	if e := next(t, page, "taken"); e.Type != "binary" || string(e.Data) != "\x00\xff" {
		t.Errorf("the echo of bytes = %+v", e)
	}
	send(t, page, &command{Type: "ping", Data: []byte("p")})
	if e := next(t, page, "taken"); e.Type != "pong" || string(e.Data) != "p" {
		t.Errorf("the answer to a ping = %+v", e)
	}
	send(t, page, &command{Type: "close", Code: 3001, Reason: "done"})
	e := next(t, page, "taken")
	if e.Type != "closed" || e.Code != 3001 || e.Reason != "done" || *e.Sent != (count{2, 7}) || *e.Received != (count{2, 7}) {
		t.Errorf("the last event = %+v, %v, %v, want closed with 3001 done, two messages each way", e, e.Sent, e.Received)
	}
	if err := <-closed; websocket.CloseStatus(err) != 3001 {
		t.Errorf("the gateway got %v, want a close with 3001", err)
	}
}

// TestAuthorities connects over TLS where the certificate's authority is trusted, which may
// be from now on.
func TestAuthorities(t *testing.T) {
	gateway := httptest.NewUnstartedServer(accept(t, echo))
	gateway.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	gateway.StartTLS()
	w := newWorld(t, nil)
	t.Cleanup(gateway.Close)
	w.address = "wss" + strings.TrimPrefix(gateway.URL, "https")
	if e := next(t, w.page(&command{Type: "open"})); e.Type != "failed" || !strings.Contains(e.Text, "certificate signed by unknown authority") {
		t.Errorf("an authority that is not trusted: %+v", e)
	}
	roots := x509.NewCertPool()
	roots.AddCert(gateway.Certificate())
	w.roots.Store(roots)
	if e := next(t, w.page(&command{Type: "open"})); e.Type != "opened" {
		t.Errorf("an authority that is trusted: %+v", e)
	}
}

// TestRenewal: a socket outlives the token that it was opened with by renewals for those that
// come after it in the sign-in, and not by another sign-in's.
func TestRenewal(t *testing.T) {
	w := newWorld(t, accept(t, echo))
	page := w.page(&command{Type: "open"})
	next(t, page) // opened
	renew := func(signIn string, hours int) {
		t.Helper()
		renewal, err := w.console.renewal(access{Token: "next", SignIn: signIn, Expires: time.Now().Add(time.Duration(hours) * time.Hour).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		send(t, page, &command{Type: "renew", Renewal: renewal})
		send(t, page, &command{Type: "text", Text: "taken by now"})
		if e := next(t, page, "taken"); e.Type != "text" {
			t.Fatalf("after a renewal the event = %+v, want the echo", e)
		}
	}
	for hour := 1; hour <= 2; hour++ {
		w.ahead.Store(int64(hour)*3600 - 30)
		if e := next(t, page, "taken"); e.Type != "renew" {
			t.Fatalf("30 s before the end of token %d the event = %+v, want renew", hour, e)
		}
		if hour == 1 {
			renew("users/ann/one", 2)
		}
	}
	renew("users/ann/another", 3)
	send(t, page, &command{Type: "renew", Renewal: "none"})
	w.ahead.Store(2 * 3600)
	if e := next(t, page, "taken"); e.Type != "closed" || e.Code != codeRefused {
		t.Errorf("at the end of the token the event = %+v, want closed with %d", e, codeRefused)
	}
}

// TestGatewayCloses tells the code and the reason.
func TestGatewayCloses(t *testing.T) {
	w := newWorld(t, accept(t, func(_ context.Context, conn *websocket.Conn) {
		_ = conn.Close(4010, "CLOSED ref=abc")
	}))
	page := w.page(&command{Type: "open"})
	if e := next(t, page, "opened"); e.Type != "closed" || e.Code != 4010 || e.Reason != "CLOSED ref=abc" {
		t.Errorf("the last event = %+v, want closed with 4010 CLOSED ref=abc", e)
	}
}

// TestRefused tells the status, the body and the ref of a refusal, and why a gateway was
// not reached or not asked.
func TestRefused(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(rw, `{"title":"no","ref":"xyz"}`)
	})
	if e := next(t, w.page(&command{Type: "open"})); e.Type != "refused" || e.Status != 401 || e.Ref != "xyz" || !strings.Contains(e.Body, "title") {
		t.Errorf("a refusal = %+v", e)
	}
	for _, wrong := range []command{
		{Path: "//elsewhere.test/"}, {Path: "/../../other"}, {Path: "/%2e%2e/other"}, {Path: "@elsewhere.test"}, {Path: "/a?b"}, {Query: "a=%zz"},
		{Headers: [][2]string{{"A B", "c"}}}, {Headers: [][2]string{{"A", "b\r\nC: d"}}}, {Protocols: []string{"a b"}}, {Query: strings.Repeat("a", mostHead+1)},
	} {
		wrong.Type = "open"
		if e := next(t, w.page(&wrong)); e.Type != "failed" && wrong.Path != "//elsewhere.test/" || e.Type == "opened" {
			t.Errorf("open with %+v = %+v, want failed", wrong, e)
		}
	}
	w.address = "ws://127.0.0.1:1/echo"
	if e := next(t, w.page(&command{Type: "open"})); e.Type != "failed" || e.Text == "" {
		t.Errorf("a gateway that is not there = %+v", e)
	}
}

// TestWhoMayOpen refuses foreign origins, and more than four sockets of a sign-in.
func TestWhoMayOpen(t *testing.T) {
	w := newWorld(t, accept(t, echo))
	host := strings.TrimPrefix(w.portal.URL, "http://")
	for _, origin := range []string{"", "null", "http://" + host, "https://" + host + ".test", "https://elsewhere.test", "https://" + host + "/"} {
		if _, status, err := w.dial(origin); err == nil || status != http.StatusForbidden {
			t.Errorf("a socket of %q = %d, %v, want 403", origin, status, err)
		}
	}
	var pages []*websocket.Conn
	for range mostSockets {
		pages = append(pages, w.page(nil))
	}
	if _, status, err := w.dial("https://" + host); err == nil || status != http.StatusTooManyRequests {
		t.Errorf("one more socket = %d, %v, want 429", status, err)
	}
	send(t, pages[0], &command{Type: "close"})
	if e := next(t, pages[0]); e.Type != "closed" {
		t.Errorf("close before open = %+v", e)
	}
	if _, _, err := pages[0].Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("after that the page reads %v", err)
	}
	w.page(nil) // in the place of the one that has ended
}

// TestSignInEnds ends the sockets of a sign-in when the services refuse its token, and all
// when the portal stops.
func TestSignInEnds(t *testing.T) {
	w := newWorld(t, accept(t, echo))
	page := w.page(&command{Type: "open"})
	next(t, page)
	w.ended.Store(true)
	if e := next(t, page); e.Type != "closed" || e.Code != codeRefused {
		t.Errorf("after the sign-in has ended = %+v, want closed with %d", e, codeRefused)
	}
	if _, _, err := page.Read(t.Context()); websocket.CloseStatus(err) != codeRefused {
		t.Errorf("then the page reads %v, want a close with %d", err, codeRefused)
	}
	w.ended.Store(false)
	page = w.page(&command{Type: "open"})
	next(t, page)
	w.stop()
	if e := next(t, page); e.Type != "closed" || e.Code != codeAway {
		t.Errorf("after the portal has stopped = %+v, want closed with %d", e, codeAway)
	}
}

// TestFloodIsBounded has a page send without end to a gateway that takes nothing: it is
// not read further, and all ends when it goes.
func TestFloodIsBounded(t *testing.T) {
	over := make(chan struct{})
	w := newWorld(t, accept(t, func(context.Context, *websocket.Conn) { <-over }))
	t.Cleanup(func() { close(over) })
	page := w.page(&command{Type: "open"})
	next(t, page)
	text, err := json.Marshal(command{Type: "text", Text: strings.Repeat("x", mostMessage/2)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // all this time nothing is taken
	defer cancel()
	const most = 64 << 20 // what the kernel's buffers and the portal have room for is less
	n := 0
	for ; n < most && page.Write(ctx, websocket.MessageText, text) == nil; n += len(text) {
	}
	if n >= most {
		t.Errorf("%d bytes were taken for a gateway that takes nothing", n)
	}
}

// TestDisconnectInAFlood has a page send as fast as what is under way is taken, and
// disconnect in the middle: the rest is not sent, and the count is of what was.
func TestDisconnectInAFlood(t *testing.T) {
	got := make(chan int64, 1)
	w := newWorld(t, accept(t, func(ctx context.Context, conn *websocket.Conn) {
		var n int64
		for {
			_, _, err := conn.Read(ctx)
			if err != nil {
				got <- n
				return
			}
			n++
		}
	}))
	page := w.page(&command{Type: "open"})
	next(t, page)
	const all, underWay = 10_000, 128
	asked, taken := int64(0), int64(0)
	for taken < all/2 {
		for ; asked < all && asked-taken < underWay; asked++ {
			send(t, page, &command{Type: "text", Text: "hello"})
		}
		taken = next(t, page).Sent.Messages
	}
	send(t, page, &command{Type: "close", Code: 1000})
	e := next(t, page, "taken")
	if n := <-got; e.Type != "closed" || e.Code != 1000 || e.Sent.Messages >= all || e.Sent.Messages != n || e.Sent.Messages > asked {
		t.Errorf("the last event = %+v with %+v, want closed with the %d messages that the gateway got, fewer than %d", e, e.Sent, n, all)
	}
}

// TestChecked refuses frames that RFC 6455 does not have before gws sees them.
func TestChecked(t *testing.T) {
	for name, frame := range map[string]string{
		"a length with its highest bit": "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
		"no mask":                       "\x81\x01a",
		"a reserved opcode":             "\x83\x80\x00\x00\x00\x00",
		"a long control frame":          "\x89\xfe\x00\x7e\x00\x00\x00\x00",
		"a stray continuation":          "\x80\x81\x00\x00\x00\x00a",
		"one after good ones":           "\x81\x81\x00\x00\x00\x00a\x89\x81\x00\x00\x00\x00b\x8b\x80\x00\x00\x00\x00\xc1\x80\x00\x00\x00\x00",
	} {
		c := newChecked(nil, true)
		var err error
		for i := 0; i < len(frame) && err == nil; i++ {
			err = c.check([]byte{frame[i]})
		}
		if err == nil || newChecked(nil, true).check([]byte(frame)) == nil {
			t.Errorf("%s is taken", name)
		}
	}
	good := "HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n\x81\x01a\x89\x01b\x01\x01a\x80\x01b\x88\x02\x03\xe8"
	if err := newChecked(nil, false).check([]byte(good)); err != nil {
		t.Errorf("a good answer: %v", err)
	}
	c := newChecked(nil, false)
	for i := range len(good) {
		if err := c.check([]byte{good[i]}); err != nil {
			t.Fatalf("byte %d of a good answer: %v", i, err)
		}
	}
	if err := newChecked(nil, false).check([]byte("HTTP/1.1 401 Unauthorized\r\n\r\n\xff\xff\xff")); err != nil {
		t.Errorf("the body of a refusal: %v", err)
	}
}
