package handshake

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// sockets returns how many sockets the process has open.
func sockets(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("open files cannot be counted here: %v", err)
	}
	n := 0
	for _, f := range list {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && len(to) > 7 && to[:7] == "socket:" {
			n++
		}
	}
	return n
}

// TestNothingLeaks fails handshakes in every way, many at once, and looks whether
// each gave back what it took. Goroutines are TestMain's to look for.
func TestNothingLeaks(t *testing.T) {
	before := sockets(t)
	t.Run("handshakes", func(t *testing.T) {
		w := newWorld(t, nil)
		revoked := accepting(t, func(conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				w.sessions.EndWhere(session.Revoked(""), "grants/1")
				_, _ = io.Copy(io.Discard, conn)
			}
		})
		backends := []string{revoked, saying(t, "HTTP/1.1 403 X\r\n\r\n"), accepting(t, func(net.Conn) {}), newEcho(t, nil).url, "ws://127.0.0.1:1"}
		ways := []func(conn net.Conn){
			func(conn net.Conn) {
				w.send(conn, request("/echo/1.0.0", "Authorization: Bearer bad\r\n"))
				readAll(conn)
			},
			func(conn net.Conn) { w.send(conn, request("/none", good)); readAll(conn) },
			func(conn net.Conn) { w.send(conn, "GET /echo"); _ = conn.Close() },
			func(conn net.Conn) { w.send(conn, request("/echo/1.0.0", good)); _ = conn.Close() },
			func(conn net.Conn) { w.send(conn, request("/echo/1.0.0", good)); readSome(conn) },
		}
		for _, backend := range backends {
			w.serve(backend)
			var wg sync.WaitGroup
			for i := range 40 * len(ways) {
				conn := w.dial(i%2 == 0)
				wg.Go(func() { ways[i%len(ways)](conn); _ = conn.Close() })
			}
			wg.Wait()
		}
		w.stop()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if err := w.sessions.Drain(ctx, 0); err != nil {
			t.Errorf("Drain = %v", err)
		}
	})
	if after := sockets(t); after != before {
		t.Errorf("%d sockets are open, there were %d before", after, before)
	}
}

func readAll(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func readSome(conn net.Conn) { _, _ = conn.Read(make([]byte, 4096)) }
