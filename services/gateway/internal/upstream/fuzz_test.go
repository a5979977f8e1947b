package upstream

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// FuzzAnswer checks that no answer of a backend makes the handshake panic, and that
// every answer that it accepts is a 101 with the right Sec-WebSocket-Accept and with
// nothing that was not offered.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 101 X\r\n" + lines + "Sec-WebSocket-Accept: ACCEPT\r\n\r\nabc",
		"HTTP/1.1 100 X\r\n\r\nHTTP/1.1 101 X\r\n" + lines + "Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Protocol: a\r\n\r\n",
		"HTTP/1.1 403 X\r\n\r\n", "HTTP/1.1 101 X\nUpgrade:websocket\nConnection:upgrade\nSec-WebSocket-Accept:ACCEPT\nSet-Cookie:a\n\n",
	} {
		f.Add([]byte(s))
	}
	d, err := New(Default())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		conn := &script{answer: string(answer)}
		b, err := d.handshake(conn, &Request{Endpoint: &routes.Endpoint{Host: "h"}, Protocols: []string{"a", "b"}, Host: "h"})
		if err != nil {
			return
		}
		sent := conn.sent.String()
		_, key, _ := strings.Cut(sent, "Sec-WebSocket-Key: ")
		proof := head.AcceptKey(key[:24])
		if !strings.Contains(conn.answered, proof) || !strings.Contains(conn.answered, "101") || !strings.Contains(conn.answered, string(b.Buffered)) {
			t.Fatalf("agree accepted %q: %+v", conn.answered, b)
		}
		for _, h := range b.Header {
			if !head.IsToken(h.Name) || strings.ContainsAny(h.Value, "\r\n\x00") || strings.HasPrefix(strings.ToLower(h.Name), "sec-websocket-") {
				t.Fatalf("agree passes %q on from %q", h, conn.answered)
			}
		}
		if b.Protocol != "" && b.Protocol != "a" && b.Protocol != "b" {
			t.Fatalf("agree took the protocol %q from %q", b.Protocol, conn.answered)
		}
	})
}

// script is a connection with a prepared answer, completed with the right
// Sec-WebSocket-Accept.
type script struct {
	net.Conn
	answer, answered string
	sent             strings.Builder
	rest             io.Reader
}

func (s *script) Write(p []byte) (int, error) { return s.sent.Write(p) }

func (s *script) Read(p []byte) (int, error) {
	if s.rest == nil {
		_, key, _ := strings.Cut(s.sent.String(), "Sec-WebSocket-Key: ")
		s.answered = strings.ReplaceAll(s.answer, "ACCEPT", head.AcceptKey(key[:24]))
		s.rest = strings.NewReader(s.answered)
	}
	return s.rest.Read(p)
}
