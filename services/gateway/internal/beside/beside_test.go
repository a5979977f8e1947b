package beside

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// TestRequestsAreForwarded sends requests of all forms over one connection: method, target,
// headers and body reach the backend as they must, and the answer its client.
func TestRequestsAreForwarded(t *testing.T) {
	w := newWorld(t, nil)
	w.serve(w.route(backend(t, echo) + "/base?own=1"))
	c := w.dial()
	a := c.ask("GET", "/echo/1.0.0/a%2Db/c?x=1&access_token=&own=2", good+"Accept: text/x\r\nX-Tidegate-Application: forged\r\nX_tidegate_user: forged\r\nConnection: x-hop\r\nX-Hop: 1\r\nTe: trailers\r\nKeep-Alive: 5\r\n\r\n")
	if a.StatusCode != 200 || a.Close || a.Header.Get("X-Method") != "GET" || a.Header.Get("X-Target") != "/base/a%2Db/c?own=1&x=1" || a.Header.Get("Got-Accept") != "text/x" {
		t.Errorf("GET: %s %v", a.Status, a.Header)
	}
	for _, name := range []string{"Authorization", "X-Tidegate-Application", "X_tidegate_user", "X-Hop", "Te", "Keep-Alive", "Connection", "User-Agent", "Accept-Encoding"} {
		if got := a.Header.Get("Got-" + name); got != "" {
			t.Errorf("the backend got %s: %s", name, got)
		}
	}
	if got := a.Header.Get("Got-X-Forwarded-For"); got != "127.0.0.1" {
		t.Errorf("the backend got X-Forwarded-For %q", got)
	}
	if len(a.Header.Get("X-Tidegate-Ref")) < 16 {
		t.Errorf("the answer has no ref: %v", a.Header)
	}
	if a := c.ask("POST", "/echo/1.0.0", good+"Content-Length: 5\r\n\r\nhello"); a.StatusCode != 200 || a.text != "hello" || a.Header.Get("X-Method") != "POST" {
		t.Errorf("POST: %s %q", a.Status, a.text)
	}
	if a := c.ask("PUT", "/echo/1.0.0/p", good+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"); a.StatusCode != 200 || a.text != "hello world" {
		t.Errorf("PUT in chunks: %s %q", a.Status, a.text)
	}
	if a := c.ask("HEAD", "/echo/1.0.0/p", good+"\r\n"); a.StatusCode != 200 || a.Header.Get("X-Method") != "HEAD" {
		t.Errorf("HEAD: %s %v", a.Status, a.Header)
	}
	if a := c.ask("DELETE", "/echo/1.0.0/p", good+"\r\n"); a.StatusCode != 200 || a.Header.Get("X-Method") != "DELETE" {
		t.Errorf("DELETE: %s", a.Status)
	}
	c.send("POST /echo/1.0.0 HTTP/1.1\r\nHost: h\r\n" + good + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	if line, err := c.br.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("the client that waits for 100 gets %q, %v", line, err)
	}
	_, _ = c.br.ReadString('\n')
	c.send("hello")
	if a := c.receive("POST"); a.StatusCode != 200 || a.text != "hello" || a.Header.Get("Got-Expect") != "" {
		t.Errorf("POST after 100: %s %q", a.Status, a.text)
	}
	if a := c.ask("GET", "/echo/1.0.0", good+"Connection: close\r\n\r\n"); !a.Close {
		t.Error("the connection is not closed for a client that wants it")
	}
	c.ends()
	old := w.dial()
	old.send("GET /echo/1.0.0 HTTP/1.0\r\n" + good + "\r\n")
	if a := old.receive("GET"); a.StatusCode != 200 || !a.Close {
		t.Errorf("HTTP/1.0: %s, close %t", a.Status, a.Close)
	}
	old.ends()
	w.stop()
	w.meter.mu.Lock()
	defer w.meter.mu.Unlock()
	if got := w.meter.used.FromClient; got.Messages != 8 || got.Payload != 21 || got.Wire < 800 {
		t.Errorf("usage from the client is %+v, want 8 messages with 21 bytes", got)
	}
	if got := w.meter.used.FromBackend; got.Messages != 0 || got.Payload != 21 || got.Wire < 800 {
		t.Errorf("usage from the backend is %+v, want 21 bytes", got)
	}
	if n := len(w.meter.records); n != 8 {
		t.Fatalf("%d records, want 8", n)
	}
	if r := w.meter.records[1]; r.Plain.Method != "POST" || r.Plain.Status != 200 || r.Plain.Path != "/echo/1.0.0" || r.Ending.Reason != ending.Answered || r.Totals.FromClient.Payload != 5 || r.Grant == nil {
		t.Errorf("the record is %+v of %+v", r, r.Plain)
	}
}

// TestEachRequestIsJudgedAnew sends to other hosts, versions and with other credentials on one
// connection.
func TestEachRequestIsJudgedAnew(t *testing.T) {
	w := newWorld(t, nil)
	first, second := w.route(backend(t, echo)+"/one"), w.route(backend(t, echo)+"/two")
	second.Name, second.Segment, second.Default = "apis/echo/versions/2", "2.0.0", false
	second.HTTP.Sandbox = stageOf(t, backend(t, echo)+"/sandbox")
	second.Further = []routes.Address{{Host: "two.example"}}
	socket := w.route(backend(t, echo))
	socket.Name, socket.Segment, socket.Default, socket.HTTP = "apis/echo/versions/3", "3.0.0", false, nil
	w.serve(first, second, socket)
	c := w.dial()
	for _, tt := range []struct{ target, more, want string }{
		{"/echo/1.0.0", "Authorization: Bearer good\r\n", "200 /one"},
		{"/echo/2.0.0/x", "Authorization: Bearer other\r\n", "200 /two/x"},
		{"/echo/2.0.0/x", "Authorization: Bearer sandbox\r\n", "200 /sandbox/x"},
		{"/echo?access_token=good", "", "200 /one"},
	} {
		a := c.ask("GET", tt.target, tt.more+"\r\n")
		if got := fmt.Sprint(a.StatusCode, " ", a.Header.Get("X-Target")); got != tt.want {
			t.Errorf("%s with %q: %s, want %s", tt.target, tt.more, got, tt.want)
		}
	}
	c.send("GET /x HTTP/1.1\r\nHost: two.example\r\n" + good + "\r\n")
	if a := c.receive("GET"); a.StatusCode != 200 || a.Header.Get("X-Target") != "/two/x" {
		t.Errorf("at another host: %s %s", a.Status, a.Header.Get("X-Target"))
	}
	for _, tt := range []struct {
		method, target, more, code string
		status                     int
	}{
		{"GET", "/echo/1.0.0", "", "CREDENTIAL_MISSING", 401},
		{"GET", "/echo/1.0.0", "Authorization: Bearer bad\r\n", "CREDENTIAL_INVALID", 401},
		{"GET", "/echo/1.0.0", "Authorization: Bearer sandbox\r\n", "NO_ENDPOINT", 403},
		{"GET", "/echo/9.0.0", good, "NOT_FOUND", 404},
		{"GET", "/nothing", good, "NOT_FOUND", 404},
		{"GET", "/echo/1.0.0/../2.0.0", good, "BAD_PATH", 400},
		{"OPTIONS", "*", good, "BAD_PATH", 400},
		{"GET", "/echo/3.0.0", good, "UPGRADE_REQUIRED", 426},
		{"POST", "/echo/3.0.0", good, "METHOD_NOT_ALLOWED", 405},
		{"TRACE", "/echo/1.0.0", good, "METHOD_NOT_ALLOWED", 405},
		{"GET", "/echo/1.0.0", good + "Upgrade: h2c\r\nConnection: Upgrade\r\n", "UPGRADE_REQUIRED", 426},
		{"GET", "/echo/1.0.0", good + "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "UPGRADE_REQUIRED", 426},
	} {
		c := w.dial()
		if a := c.ask("GET", "/echo/1.0.0", good+"\r\n"); a.StatusCode != 200 {
			t.Fatalf("the first request: %s", a.Status)
		}
		a := c.ask(tt.method, tt.target, tt.more+"\r\n")
		if a.StatusCode != tt.status || a.Code != tt.code || len(a.Ref) < 16 || !a.Close || strings.Contains(a.text, "good") {
			t.Errorf("%s %s with %q: %s %s, want %d %s and the end", tt.method, tt.target, tt.more, a.Status, a.text, tt.status, tt.code)
		}
		c.ends()
	}
	c = w.dial()
	c.send("CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n")
	if a := c.receive("POST"); a.StatusCode != 405 {
		t.Errorf("CONNECT: %s", a.Status)
	}
}

// TestPipelined sends requests without waiting for answers, with bodies and without: each is
// answered, in order.
func TestPipelined(t *testing.T) {
	w := newWorld(t, nil)
	w.serve(open(w.route(backend(t, echo))))
	c := w.dial()
	var all strings.Builder
	const n = 30
	for i := range n {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&all, "GET /echo/1.0.0/%d HTTP/1.1\r\nHost: h\r\n\r\n", i)
		case 1:
			fmt.Fprintf(&all, "POST /echo/1.0.0/%d HTTP/1.1\r\nHost: h\r\nContent-Length: 300\r\n\r\n%s", i, strings.Repeat("x", 300))
		default:
			fmt.Fprintf(&all, "POST /echo/1.0.0/%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n12c\r\n%s\r\n0\r\n\r\n", i, strings.Repeat("y", 300))
		}
	}
	go c.send(all.String())
	for i := range n {
		a := c.receive("POST")
		if want := fmt.Sprintf("/%d", i); a.StatusCode != 200 || a.Header.Get("X-Target") != want || i%3 > 0 && len(a.text) != 300 {
			t.Fatalf("answer %d is %s %s with %d bytes", i, a.Status, a.Header.Get("X-Target"), len(a.text))
		}
	}
}

// TestCredentialOfHTTPAlone has schemes for plain requests that the socket does not have.
func TestCredentialOfHTTPAlone(t *testing.T) {
	w := newWorld(t, nil)
	r := w.route(backend(t, echo))
	r.HTTP.Schemes = []credential.Scheme{{Type: credential.OAuth2, Places: []credential.Place{credential.InHeader("X-Key", credential.Raw)}}}
	w.serve(r)
	c := w.dial()
	if a := c.ask("GET", "/echo/1.0.0", "X-Key: good\r\n\r\n"); a.StatusCode != http.StatusOK || a.Header.Get("Got-X-Key") != "" {
		t.Errorf("at the place of HTTP: %s, and the backend got %q", a.Status, a.Header.Get("Got-X-Key"))
	}
	if a := c.ask("GET", "/echo/1.0.0", good+"\r\n"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("at the place of the socket: %s", a.Status)
	}
}

// TestPlainRequestsHaveNoFirstMessage: what has no credential is refused, also where a client of
// the socket would send one later; and a ticket, which opens a session, is none.
func TestPlainRequestsHaveNoFirstMessage(t *testing.T) {
	w := newWorld(t, nil)
	r := w.route(backend(t, echo))
	r.HTTP.Schemes = []credential.Scheme{{Type: credential.OAuth2, Places: append(credential.OAuth2Places(), credential.InTicket(), credential.Place{Part: credential.FirstMessage, Message: &credential.Message{}})}}
	w.serve(r)
	for what, target := range map[string]string{"without a credential": "/echo/1.0.0", "with a ticket": "/echo/1.0.0?ticket=good"} {
		if a := w.dial().ask("GET", target, "\r\n"); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s, want 401", what, a.Status)
		}
	}
	if a := w.dial().ask("GET", "/echo/1.0.0", good+"\r\n"); a.StatusCode != http.StatusOK {
		t.Errorf("with a token: %s", a.Status)
	}
}
