package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is a server that answers each request with what the function returns.
// The connection stays open until the test or the peer ends it.
func backend(t testing.TB, answer func(key string, h *http.Request, raw string) string) *routes.Endpoint {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { speak(t, conn, answer) })
		}
	})
	return endpoint(t, "ws://"+ln.Addr().String()+"/base?k=v")
}

func speak(t testing.TB, conn net.Conn, answer func(string, *http.Request, string) string) {
	defer func() { _ = conn.Close() }()
	var kept strings.Builder
	h, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &kept)))
	if err != nil {
		if !errors.Is(err, io.EOF) {
			t.Errorf("the backend read %q: %v", kept.String(), err)
		}
		return
	}
	response := answer(h.Header.Get("Sec-WebSocket-Key"), h, kept.String())
	if _, err := io.WriteString(conn, response); err != nil {
		return
	}
	if !strings.HasPrefix(response, "close") && response != "" {
		_, _ = io.Copy(io.Discard, conn)
	}
}

func endpoint(t testing.TB, url string) *routes.Endpoint {
	t.Helper()
	e, err := routes.ParseEndpoint(url)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func dialer(t testing.TB, cfg Config) *Dialer {
	t.Helper()
	cfg.AllowLoopback = true
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := d.Dials(); n != 0 {
			t.Errorf("Dials() = %d at the end, want 0", n)
		}
	})
	return d
}

const lines = "Upgrade: websocket\r\nConnection: Upgrade\r\n"

func ok(key, more string) string {
	return "HTTP/1.1 101 Switching Protocols\r\n" + lines + "Sec-WebSocket-Accept: " + head.AcceptKey(key) + "\r\n" + more + "\r\n"
}

func TestAgreed(t *testing.T) {
	big := strings.Repeat("z", 3*head.MaxBuffered)
	tests := []struct {
		name, response string // of the response: what follows the Sec-WebSocket-Accept
		protocol       string
		header         []string
		buffered       string
	}{
		{"bare", "\r\n", "", nil, ""},
		{"protocol", "Sec-WebSocket-Protocol: b\r\n\r\n", "b", nil, ""},
		{"empty protocol", "Sec-WebSocket-Protocol:\r\n\r\n", "", nil, ""},
		{"empty extensions", "Sec-WebSocket-Extensions: ,\r\n\r\n", "", nil, ""},
		{"bytes behind", "\r\n\x81\x05hello", "", nil, "\x81\x05hello"},
		{"many bytes behind", "\r\n" + big, "", nil, big},
		{
			"cookies and others", "Set-Cookie: a=1; Path=/\r\nset-cookie: b=2\r\nX-Mine: 1\r\nConnection: X-Hop\r\nX-Hop: 1\r\nServer: s\r\nDate: d\r\n" +
				"Content-Type: text/plain\r\nContent-Length: 0\r\nKeep-Alive: 1\r\nAlt-Svc: h3\r\nNEL: {}\r\nReport-To: {}\r\nService-Worker-Allowed: /\r\nX-Tidegate-Ref: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
			"", []string{"Set-Cookie: a=1; Path=/", "Set-Cookie: b=2", "X-Mine: 1"}, "",
		},
		{
			"cookies of our pages", "Set-Cookie: __Host-tidegate=x; Path=/; Secure\r\nSet-Cookie: a=tidegate\r\nSet-Cookie: TIDEGATE-theme=x\r\n" +
				"Set-Cookie:  tidegate =x\r\nSet-Cookie: =__Host-tidegate=x\r\nSet-Cookie: = \ttidegate\r\nSet-Cookie: __secure-tidegate; b\r\n" +
				"set-cookie: __Host-Http-tidegate=x\r\nSet-Cookie: b=1; tidegate=2\r\nClear-Site-Data: \"cookies\"\r\n\r\n",
			"", []string{"Set-Cookie: a=tidegate", "Set-Cookie: b=1; tidegate=2"}, "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := backend(t, func(key string, _ *http.Request, _ string) string {
				return strings.TrimSuffix(ok(key, ""), "\r\n") + tt.response
			})
			b, err := dialer(t, Default()).Dial(t.Context(), &Request{Endpoint: e, Protocols: []string{"a", "b"}, Host: "h"})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = b.Conn.Close() }()
			var got []string
			for _, f := range b.Header {
				got = append(got, f.Name+": "+f.Value)
			}
			slices.Sort(got)
			rest := make([]byte, len(tt.buffered)-len(b.Buffered))
			if _, err := io.ReadFull(b.Conn, rest); err != nil {
				t.Errorf("read what was not kept: %v", err)
			}
			if b.Protocol != tt.protocol || !slices.Equal(got, tt.header) || string(b.Buffered)+string(rest) != tt.buffered || len(b.Buffered) > head.MaxBuffered {
				t.Errorf("Dial = %q, %q, %d bytes and %d more, want %q, %q, %d bytes", b.Protocol, got, len(b.Buffered), len(rest), tt.protocol, tt.header, len(tt.buffered))
			}
		})
	}
}

func TestInterimAnswersArePassedOver(t *testing.T) {
	e := backend(t, func(key string, _ *http.Request, _ string) string {
		return "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ok(key, "X-A: b\r\n") + "hello"
	})
	b, err := dialer(t, Default()).Dial(t.Context(), &Request{Endpoint: e, Host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Conn.Close() }()
	if string(b.Buffered) != "hello" || len(b.Header) != 1 {
		t.Errorf("Dial = %q, %v, want what the last answer says", b.Buffered, b.Header)
	}
}

func TestRefused(t *testing.T) {
	full := func(more string) func(string, *http.Request, string) string {
		return func(key string, _ *http.Request, _ string) string { return ok(key, more) }
	}
	text := func(s string) func(string, *http.Request, string) string {
		return func(key string, _ *http.Request, _ string) string {
			return strings.ReplaceAll(s, "ACCEPT", head.AcceptKey(key))
		}
	}
	const line = "HTTP/1.1 101 Switching Protocols\r\n"
	const proof = "Sec-WebSocket-Accept: ACCEPT\r\n"
	tests := []struct {
		name   string
		answer func(string, *http.Request, string) string
		kind   Kind
		status int
		detail string
	}{
		{"403", text("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!"), Refused, 403, "many backends do so for a Host or an Origin that they do not know, which the version's backend_options set"},
		{"200", text("HTTP/1.1 200 OK\r\n\r\n"), Refused, 200, "the backend answered 200 OK"},
		{"299", text("HTTP/1.1 299 Odd\r\n\r\n"), Refused, 299, "the backend answered 299"},
		{"302", text("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n"), Refused, 302, "the backend answered 302 Found"},
		{"HTTP/1.0", text("HTTP/1.0 101 OK\r\n" + lines + proof + "\r\n"), Incorrect, 0, "its version of HTTP is not 1.1"},
		{"no Upgrade", text(line + "Connection: Upgrade\r\n" + proof + "\r\n"), Incorrect, 0, "its Upgrade header is not websocket"},
		{"other Upgrade", text(line + "Upgrade: h2c\r\nConnection: Upgrade\r\n" + proof + "\r\n"), Incorrect, 0, "its Upgrade header is not websocket"},
		{"two Upgrades", full("Upgrade: websocket\r\n"), Incorrect, 0, "its Upgrade header is not websocket"},
		{"no Connection", text(line + "Upgrade: websocket\r\n" + proof + "\r\n"), Incorrect, 0, "its Connection header lacks Upgrade"},
		{"other Connection", text(line + "Upgrade: websocket\r\nConnection: close\r\n" + proof + "\r\n"), Incorrect, 0, "its Connection header lacks Upgrade"},
		{"no accept", text(line + lines + "\r\n"), Incorrect, 0, "its Sec-WebSocket-Accept does not belong to the key"},
		{"wrong accept", text(line + lines + "Sec-WebSocket-Accept: AAAA\r\n\r\n"), Incorrect, 0, "its Sec-WebSocket-Accept does not belong to the key"},
		{"two accepts", text(line + lines + proof + proof + "\r\n"), Incorrect, 0, "its Sec-WebSocket-Accept does not belong to the key"},
		{"extension", full("Sec-WebSocket-Extensions: permessage-deflate\r\n"), Incorrect, 0, "it has an extension that was not offered"},
		{"protocol not offered", full("Sec-WebSocket-Protocol: c\r\n"), Incorrect, 0, "it has a sub-protocol that was not offered"},
		{"protocol in another case", full("Sec-WebSocket-Protocol: A\r\n"), Incorrect, 0, "it has a sub-protocol that was not offered"},
		{"two protocols", full("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n"), Incorrect, 0, "it has a sub-protocol that was not offered"},
		{"list of protocols", full("Sec-WebSocket-Protocol: a, b\r\n"), Incorrect, 0, "it has a sub-protocol that was not offered"},
		{"head too large", full("X: " + strings.Repeat("x", head.DefaultMax) + "\r\n"), Incorrect, 0, "its head has more than 32768 bytes"},
		{"continued line", full("X: a\r\n b\r\n"), Incorrect, 0, "it is malformed"},
		{"name that is no token", full("X : a\r\n"), Incorrect, 0, "it is malformed"},
		{"line without colon", full("X\r\n"), Incorrect, 0, "it is malformed"},
		{"not HTTP", text("hello\r\n\r\n"), Incorrect, 0, "it is malformed"},
		{"not text", text("\x00\x01\r\n\r\n"), Incorrect, 0, "it is malformed"},
		{"interim without end", text(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20)), Incorrect, 0, "too many interim responses came before it"},
		{"cut at once", text(""), Broken, 0, "the backend closed the connection within the handshake"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := dialer(t, Default())
			b, err := d.Dial(t.Context(), &Request{Endpoint: backend(t, tt.answer), Protocols: []string{"a", "b"}, Host: "h"})
			var got *Error
			if !errors.As(err, &got) {
				t.Fatalf("Dial = %v, %v, want an *Error", b, err)
			}
			if got.Kind != tt.kind || got.Status != tt.status || !strings.HasSuffix(got.Detail(), tt.detail) {
				t.Errorf("Dial = kind %d, status %d, %q, want %d, %d, %q", got.Kind, got.Status, got.Detail(), tt.kind, tt.status, tt.detail)
			}
		})
	}
}

func TestConnectionFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }() // Accept is never called: the kernel connects
	noNames := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no name server here")
	}}
	for _, tt := range []struct {
		name, url string
		edit      func(*Dialer)
		kind      Kind
		detail    string
	}{
		{"nobody listens", "ws://127.0.0.1:1", nil, Unreachable, "the backend cannot be reached"},
		{"no such name", "ws://no-such-name.invalid", func(d *Dialer) { d.net.Resolver = noNames }, Unreachable, "the backend cannot be reached"},
		{"TLS in silence", "wss://" + ln.Addr().String(), func(d *Dialer) { d.timeout = 20 * time.Millisecond }, Timeout, "the backend did not answer in time"},
		{"link-local", "ws://169.254.169.254", nil, Forbidden, "the backend's address is not allowed here"},
		{"mapped link-local", "ws://[::ffff:169.254.169.254]", nil, Forbidden, "the backend's address is not allowed here"},
		{"unspecified", "ws://0.0.0.0:80", nil, Forbidden, "the backend's address is not allowed here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := dialer(t, Default())
			if tt.edit != nil {
				tt.edit(d)
			}
			_, err := d.Dial(t.Context(), &Request{Endpoint: endpoint(t, tt.url), Host: "h"})
			var got *Error
			if !errors.As(err, &got) || got.Kind != tt.kind || got.Detail() != tt.detail {
				t.Errorf("Dial(%s) = %v, want kind %d: %s", tt.url, err, tt.kind, tt.detail)
			}
		})
	}
	d, err := New(Default())
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Dial(t.Context(), &Request{Endpoint: endpoint(t, "ws://"+ln.Addr().String()), Host: "h"})
	var address *addressError
	if !errors.As(err, &address) || address.Kind != "loopback" {
		t.Errorf("Dial of loopback where it is not allowed = %v, want an *addressError", err)
	}
}

// TestCancel cancels a handshake: the connection to the backend is closed, and the
// error is the cause.
func TestCancel(t *testing.T) {
	asked, ended := make(chan struct{}), make(chan struct{})
	e := backend(t, func(string, *http.Request, string) string {
		close(asked)
		<-ended
		return ""
	})
	why := errors.New("called off")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-asked; cancel(why) }()
	_, err := dialer(t, Default()).Dial(ctx, &Request{Endpoint: e, Host: "h"})
	close(ended)
	if !errors.Is(err, why) {
		t.Errorf("Dial = %v, want %v", err, why)
	}
}

// wayOf returns the way of a request over these addresses.
func wayOf(addrs ...string) (way proxies.Chain) {
	for _, a := range addrs {
		way.Addrs = append(way.Addrs, netip.MustParseAddrPort(a))
	}
	return way
}

// TestHostAndOriginAsTheVersionSays: what the backend is asked with, and what the log
// says where it answers 403.
func TestHostAndOriginAsTheVersionSays(t *testing.T) {
	var got *http.Request
	refusing := func(_ string, h *http.Request, _ string) string { got = h; return "HTTP/1.1 403 Forbidden\r\n\r\n" }
	plain := backend(t, refusing)
	named := *plain
	named.Host = "backend.example"
	advertised := routes.Backends{ClientHosts: []string{"gw.example", "gw.example:8099", "[2001:db8::1]"}}
	for name, tt := range map[string]struct {
		backends     routes.Backends
		asked        string // for as Host
		secure       bool
		way          proxies.Chain
		origin       string // the client's
		host, wanted string
	}{
		"by default":                        {asked: "gw.example", origin: "https://page", host: "backend.example", wanted: "https://page"},
		"by default, without an origin":     {asked: "gw.example", host: "backend.example"},
		"the client's":                      {backends: advertised, asked: "GW.example:8099", secure: true, host: "GW.example:8099"},
		"the client's with the plain port":  {backends: advertised, asked: "gw.example:80", host: "gw.example:80"},
		"the client's with the secure port": {backends: advertised, asked: "gw.example:443", secure: true, host: "gw.example:443"},
		"the client's address":              {backends: advertised, asked: "[2001:db8::1]", host: "[2001:db8::1]"},
		"the client's, as a proxy says": {
			backends: advertised, asked: "10.0.0.1", way: proxies.Chain{Host: "gw.example:443", Proto: "https"}, host: "gw.example:443",
		},
		"the client's, which is not ours":   {backends: advertised, asked: "evil.example", host: "backend.example"},
		"the client's with another port":    {backends: advertised, asked: "gw.example:1234", host: "backend.example"},
		"the client's with the other port":  {backends: advertised, asked: "gw.example:443", host: "backend.example"},
		"fixed":                             {backends: routes.Backends{FixedHost: "fixed.example:1"}, asked: "gw.example", host: "fixed.example:1"},
		"no origin":                         {backends: routes.Backends{Origin: routes.NoOrigin}, origin: "https://page", host: "backend.example"},
		"the endpoint's origin":             {backends: routes.Backends{Origin: routes.EndpointOrigin}, origin: "https://page", host: "backend.example", wanted: "http://backend.example"},
		"the endpoint's origin for no page": {backends: routes.Backends{Origin: routes.EndpointOrigin}, host: "backend.example", wanted: "http://backend.example"},
		"fixed, and its origin": {
			backends: routes.Backends{FixedHost: "fixed.example", Origin: routes.EndpointOrigin}, origin: "null", host: "fixed.example", wanted: "http://fixed.example",
		},
	} {
		header := http.Header{}
		if tt.origin != "" {
			header.Set("Origin", tt.origin)
		}
		_, err := dialer(t, Default()).Dial(t.Context(), &Request{
			Endpoint: &named, Backends: tt.backends, Header: header, Host: tt.asked, Secure: tt.secure, Way: tt.way,
		})
		if got.Host != tt.host || strings.Join(got.Header["Origin"], "|") != tt.wanted {
			t.Errorf("%s: the backend was asked with the Host %q and the Origin %q, want %q and %q", name, got.Host, got.Header["Origin"], tt.host, tt.wanted)
		}
		if want := fmt.Sprintf("asked with the Host %q and the Origin %q: see the version's backend_options", tt.host, tt.wanted); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Dial = %v, want %q in it", name, err, want)
		}
	}
	named.TLS = true
	if got, want := named.OriginFor("h"), "https://h"; got != want {
		t.Errorf("OriginFor of an endpoint with TLS = %q, want %q", got, want)
	}
}

// TestRequestAsSent compares what a backend gets with what its client sent.
func TestRequestAsSent(t *testing.T) {
	var got *http.Request
	var raw string
	e := backend(t, func(key string, h *http.Request, s string) string { got, raw = h, s; return ok(key, "") })
	client := http.Header{
		"Cookie": {"a=1"}, "Origin": {"https://o"}, "Traceparent": {"00-1"}, "Tracestate": {"t=1"}, "User-Agent": {"ua"},
		"X-Many": {"1", "2"}, "Authorization": {"Basic x"}, "Empty": {""},

		"Connection": {"Upgrade, X-Listed", "x-also"}, "X-Listed": {"no"}, "X-Also": {"no"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Key": {"no"}, "Sec-Websocket-Extensions": {"permessage-deflate"}, "Sec-Websocket-Protocol": {"no"},
		"Sec-Websocket-Version": {"13"}, "Keep-Alive": {"no"}, "Te": {"no"}, "Trailer": {"no"}, "Proxy-Authorization": {"no"},
		"Content-Length": {"0"}, "Expect": {"100-continue"}, "Http2-Settings": {"no"},
		"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-Proto": {"no"}, "X-Forwarded-Host": {"no"}, "X-Forwarded-Port": {"1"},
		"Forwarded": {"for=6.6.6.6"}, "X-Tidegate-User": {"no"},
		"X_tidegate_user": {"no"}, "X-Tidegate_user": {"no"}, "X_forwarded_for": {"6.6.6.6"}, "Transfer_encoding": {"chunked"}, "X_own": {"yes"},
	}
	d := dialer(t, Default())
	b, err := d.Dial(t.Context(), &Request{
		Endpoint: e, Suffix: "/rooms/%20x", Query: "q=%2B&q&z", Header: client, Protocols: []string{"p1", "p2"},
		Way: wayOf("[2001:db8::7]:5"), Secure: true, Host: "api.example:8099",
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = b.Conn.Close()
	if want := "/base/rooms/%20x?k=v&q=%2B&q&z"; got.RequestURI != want {
		t.Errorf("target = %q, want %q", got.RequestURI, want)
	}
	want := http.Header{
		"Cookie": {"a=1"}, "Origin": {"https://o"}, "Traceparent": {"00-1"}, "Tracestate": {"t=1"}, "User-Agent": {"ua"},
		"X-Many": {"1", "2"}, "Authorization": {"Basic x"}, "Empty": {""}, "X_own": {"yes"},
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": got.Header["Sec-Websocket-Key"], "Sec-Websocket-Protocol": {"p1, p2"},
		"X-Forwarded-For": {"2001:db8::7"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"api.example:8099"},
		"Forwarded": {`for="[2001:db8::7]";host="api.example:8099";proto=https`},
	}
	if fmt.Sprint(got.Header) != fmt.Sprint(want) || got.Host != e.Host {
		t.Errorf("the backend was sent\n%s\nas %v, want %v", raw, got.Header, want)
	}
	b, err = d.Dial(t.Context(), &Request{Endpoint: e, Header: nil, Way: wayOf("192.0.2.1:7"), Host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	_ = b.Conn.Close()
	if f := got.Header.Get("Forwarded"); f != `for=192.0.2.1;host="h";proto=http` || got.Header.Get("X-Forwarded-Proto") != "http" {
		t.Errorf("Forwarded = %q, want the client and http", f)
	}
	if got.Header.Get("Sec-WebSocket-Protocol") != "" || len(got.Header) != 8 {
		t.Errorf("a client without headers gave %v", got.Header)
	}
	way := wayOf("192.0.2.1:0", "[2001:db8::8]:0", "10.0.0.1:443")
	way.Proto, way.Host = "https", "asked.example"
	if b, err = d.Dial(t.Context(), &Request{Endpoint: e, Header: client, Way: way, Host: "h"}); err != nil {
		t.Fatal(err)
	}
	_ = b.Conn.Close()
	for name, want := range map[string]string{
		"X-Forwarded-For": "192.0.2.1, 2001:db8::8, 10.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "asked.example",
		"Forwarded": `for=192.0.2.1;host="asked.example";proto=https, for="[2001:db8::8]", for=10.0.0.1;host="h";proto=http`,
	} {
		if values := got.Header[name]; len(values) != 1 || values[0] != want {
			t.Errorf("behind two trusted proxies %s = %q, want %s", name, values, want)
		}
	}
}

func TestTLSBackend(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		_, _ = io.WriteString(conn, ok(r.Header.Get("Sec-WebSocket-Key"), "")+"hello")
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	}))
	srv.Config.ErrorLog = nil
	srv.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	srv.StartTLS()
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	e := endpoint(t, strings.Replace(srv.URL, "https:", "wss:", 1))
	d := dialer(t, trusting(ca))
	for range 2 {
		b, err := d.Dial(t.Context(), &Request{Endpoint: e, Host: "h"})
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5-len(b.Buffered))
		if _, err := io.ReadFull(b.Conn, got); err != nil || string(b.Buffered)+string(got) != "hello" {
			t.Errorf("behind the head: %q%q, %v, want hello", b.Buffered, got, err)
		}
		_ = b.Conn.Close()
	}
	_, err := dialer(t, Default()).Dial(t.Context(), &Request{Endpoint: e, Host: "h"})
	var got *Error
	if !errors.As(err, &got) || got.Kind != Unreachable {
		t.Errorf("Dial with the system's authorities = %v, want Unreachable", err)
	}
}

// TestAuthoritiesAreReadAgain replaces the file of authorities under a dialer: what
// cannot be used leaves the authorities as they are.
func TestAuthoritiesAreReadAgain(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	good := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	_, pair, err := certs.NewAuthority("another", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write := func(text []byte) {
		if err := os.WriteFile(ca, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(pair.Cert)
	d := dialer(t, trusting(ca))
	e := endpoint(t, strings.Replace(srv.URL, "https:", "wss:", 1))
	trusted := func() bool {
		_, err := d.Dial(t.Context(), &Request{Endpoint: e, Host: "h"})
		var got *Error
		return errors.As(err, &got) && got.Kind == Refused // with a 404, over TLS
	}
	if trusted() {
		t.Error("the backend is trusted with another authority")
	}
	write(good)
	if err := d.Reload(); err != nil || !trusted() {
		t.Errorf("Reload = %v, want that the backend is trusted", err)
	}
	write([]byte("half"))
	if err := d.Reload(); err == nil || !trusted() {
		t.Errorf("Reload of half a file = %v, want an error, and the authorities of before", err)
	}
}

// TestOldTLSNeedsItsFlag dials backends that speak only TLS 1.1, or 1.2 with a suite
// without AEAD.
func TestOldTLSNeedsItsFlag(t *testing.T) {
	for name, old := range map[string]*tls.Config{
		"1.1":          {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"1.2 with CBC": {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}},
	} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Sec-WebSocket-Accept", head.AcceptKey(r.Header.Get("Sec-WebSocket-Key")))
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.WriteHeader(http.StatusSwitchingProtocols)
		}))
		srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		srv.TLS = old
		srv.StartTLS()
		defer srv.Close()
		ca := filepath.Join(t.TempDir(), "ca.pem")
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
		if err := os.WriteFile(ca, block, 0o600); err != nil {
			t.Fatal(err)
		}
		e := endpoint(t, strings.Replace(srv.URL, "https:", "wss:", 1))
		cfg := trusting(ca)
		if _, err := dialer(t, cfg).Dial(t.Context(), &Request{Endpoint: e, Host: "h"}); err == nil {
			t.Errorf("Dial of a backend with TLS %s = nil, want an error", name)
		}
		cfg.OldTLS = true
		b, err := dialer(t, cfg).Dial(t.Context(), &Request{Endpoint: e, Host: "h"})
		if err != nil {
			t.Errorf("Dial of a backend with TLS %s, with the flag = %v, want nil", name, err)
			continue
		}
		_ = b.Conn.Close()
	}
}

// trusting returns a configuration with an additional authority.
func trusting(file string) Config {
	cfg := Default()
	cfg.CAFile = file
	return cfg
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{}); err == nil || !strings.HasPrefix(err.Error(), "-dial-timeout: must be more than 0") {
		t.Errorf("New of a Config that Default has not made = %v, want the field", err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".none"} {
		if _, err := New(trusting(file)); err == nil || !strings.Contains(err.Error(), "read certificate authorities of backends") {
			t.Errorf("New(CAFile %s) = %v, want an error", file, err)
		}
	}
}
