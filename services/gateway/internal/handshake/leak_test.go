package handshake

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
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

// TestNothingLeaks fails handshakes in every way, many at once, and checks that
// they gave back all sockets. TestMain checks the goroutines.
func TestNothingLeaks(t *testing.T) {
	before := sockets(t)
	t.Run("handshakes", func(t *testing.T) {
		w := newWorld(t, func(c *listener.Config) { c.Timeout = time.Hour })
		revoked := accepting(t, func(conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				w.sessions.EndAllOn(ending.New(ending.Revoked, ""), "grants/1")
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
		leaveInDial(t, w)
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

// leaveInDial has clients leave in every way while a silent backend keeps them
// waiting: its connections must end too.
func leaveInDial(t *testing.T, w *world) {
	var asked, left sync.Map // of chan struct{}, by the client
	w.serve(accepting(t, func(conn net.Conn) {
		br := bufio.NewReader(conn)
		r, err := http.ReadRequest(br)
		if err != nil {
			t.Errorf("the backend got no request: %v", err)
			return
		}
		close(channel(&asked, r.Header.Get("Client")))
		_, _ = io.Copy(io.Discard, br)
		close(channel(&left, r.Header.Get("Client")))
	}))
	ways := []func(conn net.Conn){
		func(conn net.Conn) { _ = conn.Close() },
		func(conn net.Conn) { w.send(conn, "some bytes"); _ = conn.Close() },
		func(conn net.Conn) { reset(conn) },
		func(conn net.Conn) { _ = conn.(interface{ CloseWrite() error }).CloseWrite(); readAll(conn) },
	}
	var wg sync.WaitGroup
	for i := range 60 * len(ways) {
		conn, name := w.dial(i/len(ways)%2 == 0), fmt.Sprint(i)
		wg.Go(func() {
			w.send(conn, request("/echo/1.0.0", good+"Client: "+name+"\r\n"))
			await(t, "the dial of client "+name, channel(&asked, name))
			ways[i%len(ways)](conn)
			await(t, "the end of the dial of client "+name, channel(&left, name))
			_ = conn.Close()
		})
	}
	wg.Wait()
}

// channel returns the channel of this name.
func channel(m *sync.Map, name string) chan struct{} {
	c, _ := m.LoadOrStore(name, make(chan struct{}))
	return c.(chan struct{})
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Errorf("%s did not come", what)
	}
}

// reset closes the connection with a reset.
func reset(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

func readAll(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func readSome(conn net.Conn) { _, _ = conn.Read(make([]byte, 4096)) }
