package handshake

import (
	"bufio"
	"bytes"
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
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// clients are the libraries that connect, echo one message and leave.
func clients() map[string]func(ctx context.Context, url string, h http.Header) (string, error) {
	insecure := &tls.Config{InsecureSkipVerify: true}
	return map[string]func(context.Context, string, http.Header) (string, error){
		"coder": func(ctx context.Context, url string, h http.Header) (string, error) {
			transport := &http.Transport{TLSClientConfig: insecure}
			defer transport.CloseIdleConnections()
			//nolint:bodyclose // the library says that it need not be closed
			conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: h, HTTPClient: &http.Client{Transport: transport}})
			if err != nil {
				return "", err
			}
			defer func() { _ = conn.CloseNow() }()
			if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
				return "", err
			}
			_, got, err := conn.Read(ctx)
			if err != nil {
				return "", err
			}
			return string(got), conn.Close(websocket.StatusNormalClosure, "")
		},
		"gorilla": func(ctx context.Context, url string, h http.Header) (string, error) {
			conn, resp, err := (&gorilla.Dialer{TLSClientConfig: insecure}).DialContext(ctx, url, h)
			if err != nil {
				return "", err
			}
			_ = resp.Body.Close()
			defer func() { _ = conn.Close() }()
			if err := conn.WriteMessage(gorilla.BinaryMessage, []byte("hello")); err != nil {
				return "", err
			}
			_, got, err := conn.ReadMessage()
			return string(got), err
		},
		"gobwas": func(ctx context.Context, url string, h http.Header) (string, error) {
			conn, br, _, err := ws.Dialer{TLSConfig: insecure, Header: ws.HandshakeHeaderHTTP(h)}.Dial(ctx, url)
			if err != nil {
				return "", err
			}
			defer func() { _ = conn.Close() }()
			if err := wsutil.WriteClientText(conn, []byte("hello")); err != nil {
				return "", err
			}
			var src io.ReadWriter = conn
			if br != nil {
				src = struct {
					io.Reader
					io.Writer
				}{br, conn}
			}
			got, err := wsutil.ReadServerText(src)
			return string(got), err
		},
	}
}

func TestClients(t *testing.T) {
	w := newWorld(t, nil)
	w.serve(newEcho(t, nil).url)
	bearer := http.Header{"Authorization": {"Bearer good"}}
	for name, talk := range clients() {
		for _, tt := range []struct {
			name, path string
			h          http.Header
		}{
			{"header", "/echo/1.0.0", bearer},
			{"query", "/echo/1.0.0?access_token=good", nil},
			{"default version", "/echo", bearer},
			{"rest of the path", "/echo/1.0.0/rooms/7", bearer},
		} {
			for _, base := range []string{"ws://" + w.listener.Addr().String(), "wss://" + w.listener.TLSAddr().String()} {
				t.Run(name+" "+tt.name+" "+base[:3], func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					defer cancel()
					if got, err := talk(ctx, base+tt.path, tt.h); err != nil || got != "hello" {
						t.Errorf("%s: echo = %q, %v, want hello", base+tt.path, got, err)
					}
				})
			}
		}
	}
}

// TestSession checks what the session knows about its handshake.
func TestSession(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, func(e *echo) { e.protocols = []string{"b"} })
	w.serve(backend.url, func(r *routes.Route) { r.MaxAge = time.Hour })
	conn := w.dial(false)
	w.send(conn, request("/echo/1.0.0", good+"Sec-WebSocket-Protocol: a, b\r\n")+textFrame("hello"))
	a := w.receive(conn)
	if a.StatusCode != 101 {
		t.Fatalf("answer = %d %s, want 101", a.StatusCode, a.Detail)
	}
	if _, err := a.br.ReadByte(); err != nil { // the echo: the session has begun
		t.Fatal(err)
	}
	live := w.sessions.RestingOn("grants/1")
	if len(live) != 1 {
		t.Fatalf("%d sessions rest on the grant, want 1", len(live))
	}
	info := live[0].Info()
	if info.Route.Version != "apis/echo/versions/1" || info.Grant.Name != "grants/1" || info.ClientAddr.String() != conn.LocalAddr().String() ||
		info.Subprotocol != "b" || info.Route.ChangeNumber != 3 || info.MaxAge != time.Hour || time.Until(info.Grant.Expires) < 50*time.Minute {
		t.Errorf("Info() = %+v, want what the handshake has found out", info)
	}
	if live[0].Started().IsZero() || live[0].Err() != nil {
		t.Errorf("Started() = %v, Err() = %v, want a live session", live[0].Started(), live[0].Err())
	}
	if asked := w.grants.asked; len(asked) != 1 || asked[0] != "good apis/echo/versions/1" {
		t.Errorf("the control plane was asked %q, want once", asked)
	}
}

func TestWhatTheBackendSees(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, nil)
	w.serve(backend.url + "/base?fixed=1")
	conn := w.dial(false)
	w.send(conn, request("/echo/1.0.0/rooms/a%20b?x=%2B%20&access_token=spare&y&x=2",
		good+"Cookie: c=1\r\nX-Tidegate-User: evil\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n"+
			"traceparent: 00-11111111111111111111111111111111-2222222222222222-01\r\ntracestate: a=b\r\n"+
			"Sec-WebSocket-Extensions: permessage-deflate\r\nOrigin: https://o.example\r\n"))
	if a := w.receive(conn); a.StatusCode != 101 {
		t.Fatalf("answer = %d %s, want 101", a.StatusCode, a.Detail)
	}
	r := <-backend.requests
	if want := "/base/rooms/a%20b?fixed=1&x=%2B%20&y&x=2"; r.RequestURI != want {
		t.Errorf("target = %q, want %q", r.RequestURI, want)
	}
	for name, want := range map[string]string{
		"Authorization": "", "X-Tidegate-User": "", "Sec-Websocket-Extensions": "",
		"Cookie": "c=1", "Origin": "https://o.example", "Tracestate": "a=b",
		"Traceparent":     "00-11111111111111111111111111111111-2222222222222222-01",
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "api.example",
		"Forwarded": `for=127.0.0.1;host="api.example";proto=http`,
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("header %s = %q, want %q", name, got, want)
		}
	}
	if "ws://"+r.Host != backend.url {
		t.Errorf("Host = %q, want the backend's", r.Host)
	}
}

func TestQueryHygiene(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, nil)
	w.serve(backend.url)
	for _, tt := range []struct{ in, want string }{
		{"?access_token=good&a=1&b=2", "/?a=1&b=2"},
		{"?a=1&access_token=good&b=2", "/?a=1&b=2"},
		{"?a=1&b=2&access_token=good", "/?a=1&b=2"},
		{"?access_token=good", "/"},
		{"?q=%2B%20%2F%3D&access_token=good&v&v=&q=1", "/?q=%2B%20%2F%3D&v&v=&q=1"},
		{"?access_token2=x&access_token=good", "/?access_token2=x"},
		{"?access%5ftoken=g%6fod&a", "/?a"},
	} {
		conn := w.dial(false)
		w.send(conn, request("/echo/1.0.0"+tt.in, ""))
		if a := w.receive(conn); a.StatusCode != 101 {
			t.Errorf("%s: %d %s, want 101", tt.in, a.StatusCode, a.Detail)
			continue
		}
		if r := <-backend.requests; r.RequestURI != tt.want {
			t.Errorf("%s: the backend was asked for %q, want %q", tt.in, r.RequestURI, tt.want)
		}
	}
}

func TestOpenAPI(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, nil)
	open := []credential.Scheme{{Type: credential.None}}
	w.serve(backend.url, func(r *routes.Route) { r.Schemes = open })
	if a := w.ask("/echo/1.0.0?access_token=whatever&a", "Authorization: Basic d2hhdDpldmVy\r\n"); a.StatusCode != 101 {
		t.Fatalf("answer = %d %s, want 101", a.StatusCode, a.Detail)
	}
	if r := <-backend.requests; r.RequestURI != "/?access_token=whatever&a" || r.Header.Get("Authorization") != "Basic d2hhdDpldmVy" {
		t.Errorf("the backend was sent %s and %v, want the credentials that are its own affair", r.RequestURI, r.Header)
	}
	if len(w.grants.asked) > 0 {
		t.Errorf("the control plane was asked %q, want nothing", w.grants.asked)
	}
	w.serve(backend.url, func(r *routes.Route) {
		r.Schemes = open
		r.Production, r.Sandbox = nil, r.Production
	})
	if a := w.ask("/echo/1.0.0", ""); a.StatusCode != 101 {
		t.Errorf("with a sandbox alone: %d %s, want 101", a.StatusCode, a.Detail)
	}
}

func TestEndpointByStage(t *testing.T) {
	w := newWorld(t, nil)
	production, sandbox := newEcho(t, nil), newEcho(t, nil)
	e, err := routes.ParseEndpoint(sandbox.url)
	if err != nil {
		t.Fatal(err)
	}
	w.serve(production.url, func(r *routes.Route) { r.Sandbox = routes.NewStage(balance.Default(), e) })
	for token, backend := range map[string]*echo{"good": production, "sandbox": sandbox} {
		conn := w.dial(false)
		w.send(conn, request("/echo/1.0.0", "Authorization: Bearer "+token+"\r\n"))
		if a := w.receive(conn); a.StatusCode != 101 {
			t.Errorf("%s: %d %s, want 101", token, a.StatusCode, a.Detail)
			continue
		}
		<-backend.requests
	}
}

func TestOrigin(t *testing.T) {
	w := newWorld(t, nil)
	w.serve(newEcho(t, nil).url, func(r *routes.Route) { r.Origins = origins(t, "https://ok.example", "https://*.ok.example") })
	for line, want := range map[string]int{
		"": 101, "Origin: https://ok.example\r\n": 101, "Origin: https://a.ok.example\r\n": 101, "Origin: https://evil.example\r\n": 403,
	} {
		if a := w.ask("/echo/1.0.0", good+line); a.StatusCode != want {
			t.Errorf("%q: %d, want %d", line, a.StatusCode, want)
		}
	}
}

// TestAnswer checks the head of the 101 that the client gets.
func TestAnswer(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, func(e *echo) {
		e.protocols = []string{"second"}
		e.header = http.Header{"Set-Cookie": {"a=1; Path=/", "b=2"}, "X-Mine": {"1"}, "Server": {"s"}}
	})
	w.serve(backend.url)
	for _, secure := range []bool{false, true} {
		for offer, chosen := range map[string]string{"": "", "Sec-WebSocket-Protocol: first, second\r\n": "second", "Sec-WebSocket-Protocol: other\r\n": ""} {
			conn := w.dial(secure)
			w.send(conn, request("/echo/1.0.0", good+offer))
			a := w.receive(conn)
			if a.StatusCode != 101 || a.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || a.Header.Get("Upgrade") != "websocket" ||
				a.Header.Get("Connection") != "Upgrade" || a.Header.Get("Sec-WebSocket-Protocol") != chosen || len(a.Header["Sec-Websocket-Protocol"]) > 1 {
				t.Errorf("%q: %d %v, want 101 with the sub-protocol %q", offer, a.StatusCode, a.Header, chosen)
			}
			if got := a.Header["Set-Cookie"]; !slices.Equal(got, []string{"a=1; Path=/", "b=2"}) || a.Header.Get("X-Mine") != "1" || a.Header.Get("Server") != "" {
				t.Errorf("%q: headers %v, want both cookies and what else is for the client", offer, a.Header)
			}
		}
	}
}

// TestBytesWithTheHandshake sends frames along with either head, and while the
// backend has not answered yet. All arrive, in order.
func TestBytesWithTheHandshake(t *testing.T) {
	for _, size := range []int{5, head.MaxBuffered - 100, 3 * head.MaxBuffered} {
		for _, secure := range []bool{false, true} {
			release := make(chan struct{})
			asked := make(chan struct{})
			url := accepting(t, func(conn net.Conn) {
				br := bufio.NewReader(conn)
				r, err := http.ReadRequest(br)
				if err != nil {
					return
				}
				close(asked)
				<-release
				var answer bytes.Buffer
				u := gorilla.Upgrader{}
				ws, err := u.Upgrade(&hijackable{conn: &buffering{Conn: conn, to: &answer}, br: br}, r, nil)
				if err != nil {
					t.Errorf("upgrade: %v", err)
					return
				}
				_ = ws.WriteMessage(gorilla.TextMessage, []byte("early"))
				_, _ = conn.Write(answer.Bytes())
				answer.Reset()
				for {
					kind, p, err := ws.ReadMessage()
					if err != nil || ws.WriteMessage(kind, p) != nil {
						return
					}
					_, _ = conn.Write(answer.Bytes())
					answer.Reset()
				}
			})
			w := newWorld(t, nil)
			w.handler.monitorDelay = 0
			w.serve(url)
			conn := w.dial(secure)
			first, second := strings.Repeat("1", size), strings.Repeat("2", size)
			w.send(conn, request("/echo/1.0.0", good)+textFrame(first))
			<-asked
			w.send(conn, textFrame(second))
			close(release)
			a := w.receive(conn)
			if a.StatusCode != 101 {
				t.Fatalf("size %d: %d %s, want 101", size, a.StatusCode, a.Detail)
			}
			for _, want := range []string{"early", first, second} {
				got, err := wsutil.ReadServerText(struct {
					io.Reader
					io.Writer
				}{a.br, conn})
				if err != nil || string(got) != want {
					t.Fatalf("size %d, tls=%t: read %.20q, %v, want %.20q", size, secure, got, err, want)
				}
			}
		}
	}
}

// buffering keeps what is written.
type buffering struct {
	net.Conn
	to *bytes.Buffer
}

func (b *buffering) Write(p []byte) (int, error) { return b.to.Write(p) }

func textFrame(text string) string {
	var b bytes.Buffer
	_ = ws.WriteFrame(&b, ws.MaskFrame(ws.NewTextFrame([]byte(text))))
	return b.String()
}

// TestAbsoluteTarget sends a request target in absolute form.
func TestAbsoluteTarget(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, nil)
	w.serve(backend.url)
	if a := w.ask("http://other.example/echo/1.0.0/x?a", good); a.StatusCode != 101 {
		t.Fatalf("answer = %d %s, want 101", a.StatusCode, a.Detail)
	}
	if r := <-backend.requests; r.RequestURI != "/x?a" || r.Header.Get("X-Forwarded-Host") != "other.example" {
		t.Errorf("the backend was asked for %s of %s, want /x?a of other.example", r.RequestURI, r.Header.Get("X-Forwarded-Host"))
	}
}
