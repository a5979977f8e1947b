package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestCookiesOfThePages: what a browser sends of the portal's cookies to a gateway on the
// same host reaches no backend. All other cookies, and a handshake without such a cookie,
// reach it byte for byte.
func TestCookiesOfThePages(t *testing.T) {
	w := newWorld(t)
	heads := make(chan string, 1)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = lis.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			var cookies []string
			in := bufio.NewReader(conn)
			for {
				line, err := in.ReadString('\n')
				if err != nil || line == "\r\n" {
					break
				}
				if strings.HasPrefix(line, "Cookie:") {
					cookies = append(cookies, line)
				}
			}
			heads <- strings.Join(cookies, "")
			_, _ = io.WriteString(conn, "HTTP/1.1 503 Not now\r\nContent-Length: 0\r\n\r\n")
			_ = conn.Close()
		}
	}()
	r := w.open()
	r.Endpoints.Production = endpoint("ws://" + lis.Addr().String())
	w.plane.put(r)
	w.start()
	const odd = `a="1; 2" ;  b = %00 ;;c;__Host-tide=x; My__Host-tidegate=y;=z; d=__Host-tidegate=e`
	for sent, want := range map[string]string{
		"":                                 "",
		odd:                                odd,
		"a=1":                              "a=1",
		"__Host-tidegate=sealed":           "",
		"a=1; __Host-tidegate=sealed; b=2": "a=1; b=2",
		"__Host-tidegate=sealed; " + odd:   odd,
		"__Host-tidegate-theme=dark; a=1; __host-TIDEGATE_x=y":   "a=1",
		" a=1;  b = 2;__Host-tidegate = sealed;c=3; tidegate=x ": "a=1;  b = 2;c=3",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.plain, "ws://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		line := ""
		if sent != "" {
			line = "Cookie: " + sent + "\r\n"
		}
		_, _ = fmt.Fprintf(conn, "GET /x/open HTTP/1.1\r\nHost: gateway.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", line)
		if want != "" {
			want = "Cookie: " + want + "\r\n"
		}
		if got := <-heads; got != want {
			t.Errorf("of %q the backend got %q, want %q", line, got, want)
		}
		_ = conn.Close()
	}
}
