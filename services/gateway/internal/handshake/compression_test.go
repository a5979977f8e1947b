package handshake

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// TestCompression: what a backend is offered of what a client offers, and what the client is
// answered of what the backend chose.
func TestCompression(t *testing.T) {
	w := newWorld(t, nil)
	const noContext = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	offered, answer := make(chan string, 1), ""
	url := accepting(t, func(conn net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		offered <- strings.Join(r.Header["Sec-Websocket-Extensions"], "|")
		lines := "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + head.AcceptKey(r.Header.Get("Sec-WebSocket-Key")) + "\r\n"
		if answer != "" {
			lines += "Sec-WebSocket-Extensions: " + answer + "\r\n"
		}
		_, _ = conn.Write([]byte(lines + "\r\n"))
		_, _ = conn.Read(make([]byte, 1))
	})
	allowed := func(r *routes.Route) { r.Deflate = true }
	for _, tt := range []struct {
		name           string
		route          []func(*routes.Route)
		offer, answer  string
		passed, chosen string
		status         int
		code           problem.Code
	}{
		{"not allowed", nil, "permessage-deflate", "", "", "", 101, 0},
		{"not allowed and chosen", nil, "permessage-deflate", noContext, "", "", 502, problem.BackendIncorrect},
		{"not allowed and malformed", nil, "permessage-deflate;", "", "", "", 101, 0},
		{"not offered", []func(*routes.Route){allowed}, "", "", "", "", 101, 0},
		{"agreed", []func(*routes.Route){allowed}, "permessage-deflate; client_max_window_bits, x-other", noContext + "; client_max_window_bits=12",
			noContext + "; client_max_window_bits", noContext + "; client_max_window_bits=12", 101, 0},
		{"the client's half is added", []func(*routes.Route){allowed}, "permessage-deflate", "permessage-deflate; server_no_context_takeover", noContext, noContext, 101, 0},
		{"declined", []func(*routes.Route){allowed}, "permessage-deflate", "", noContext, "", 101, 0},
		{"an offer that cannot be accepted", []func(*routes.Route){allowed}, "permessage-deflate; other", "", "", "", 101, 0},
		{"with context", []func(*routes.Route){allowed}, "permessage-deflate", "permessage-deflate", noContext, "", 502, problem.BackendIncorrect},
		{"another parameter", []func(*routes.Route){allowed}, "permessage-deflate", noContext + "; client_max_window_bits=10", noContext, "", 502, problem.BackendIncorrect},
		{"another extension", []func(*routes.Route){allowed}, "x-other", "x-other", "", "", 502, problem.BackendIncorrect},
		{"malformed", []func(*routes.Route){allowed}, "permessage-deflate;", "", "", "", 400, problem.BadRequest},
	} {
		answer = tt.answer
		w.serve(url, tt.route...)
		conn := w.dial(false)
		lines := good
		if tt.offer != "" {
			lines += "Sec-WebSocket-Extensions: " + tt.offer + "\r\n"
		}
		w.send(conn, request("/echo/1.0.0", lines))
		a := w.receive(conn)
		if a.StatusCode != tt.status || a.Header.Get("Sec-WebSocket-Extensions") != tt.chosen || tt.code != 0 && a.Code != tt.code.String() {
			t.Errorf("%s: the answer is %d %s with %q, want %d %s with %q", tt.name, a.StatusCode, a.Code, a.Header.Get("Sec-WebSocket-Extensions"), tt.status, tt.code, tt.chosen)
		}
		if tt.status == 400 {
			continue
		}
		if got := <-offered; got != tt.passed {
			t.Errorf("%s: the backend is offered %q, want %q", tt.name, got, tt.passed)
		}
		_ = conn.Close()
	}
}

// TestNoCompressionBeforeTheBackend: a client that is answered for its first message, before
// the backend is asked, has no extension.
func TestNoCompressionBeforeTheBackend(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, nil)
	w.serve(backend.url, firstMessage(method()), func(r *routes.Route) { r.Deflate = true })
	conn, a := w.opened(t, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
	if got := a.Header.Get("Sec-WebSocket-Extensions"); got != "" {
		t.Errorf("the client is answered %q, want no extension", got)
	}
	w.send(conn, masked(ws.NewTextFrame([]byte(`{"method":"TOKEN_AUTH","token":"good"}`))))
	if got := (<-backend.requests).Header.Get("Sec-WebSocket-Extensions"); got != "" {
		t.Errorf("the backend is offered %q, want nothing", got)
	}
}
