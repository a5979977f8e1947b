package handshake

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// BenchmarkHandshake measures a whole handshake on loopback and the end of its
// session, with the shares of the client and the backend.
func BenchmarkHandshake(b *testing.B) {
	b.Run("token", func(b *testing.B) { benchmarkHandshake(b, func(*world) string { return good }) })
	// A key is not dearer than a token: its look-up is by hash, too.
	b.Run("API key", func(b *testing.B) {
		benchmarkHandshake(b, func(w *world) string { return "apikey: " + w.key(nil) + "\r\n" })
	})
}

func benchmarkHandshake(b *testing.B, credential func(*world) string) {
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
	url := accepting(b, func(conn net.Conn) {
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		_, key, _ := strings.Cut(string(buf[:n]), "Sec-WebSocket-Key: ")
		_, _ = io.WriteString(conn, answer+head.AcceptKey(key[:24])+"\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
	})
	w := newWorld(b, nil)
	w.serve(url, func(r *routes.Route) { r.Schemes = tokened })
	ask := request("/echo/1.0.0", credential(w)+"User-Agent: bench\r\nAccept-Encoding: gzip\r\n")
	buf := make([]byte, 4096)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		conn, err := net.Dial("tcp", w.listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.WriteString(conn, ask); err != nil {
			b.Fatal(err)
		}
		if n, err := conn.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 101") {
			b.Fatalf("answer = %q, %v", buf[:n], err)
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
}

// BenchmarkRefusal measures a handshake that is refused, with the share of the client.
func BenchmarkRefusal(b *testing.B) {
	w := newWorld(b, nil)
	w.serve("ws://127.0.0.1:1")
	ask := request("/echo/1.0.0", "User-Agent: bench\r\nAccept-Encoding: gzip\r\n")
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		conn, err := net.Dial("tcp", w.listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.WriteString(conn, ask); err != nil {
			b.Fatal(err)
		}
		if n, err := conn.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 401") {
			b.Fatalf("answer = %q, %v", buf[:n], err)
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
}
