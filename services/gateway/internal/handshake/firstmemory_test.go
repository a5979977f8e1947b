//go:build !race

package handshake

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/firstmessage"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
)

// TestMemoryBeforeTheFirstMessage bounds what a client costs that was answered 101 and has
// not shown a credential: one that says nothing, and one that says as much as it may before
// its message is whole. docs/bounds.md has the figures. The clients are in the same process,
// and counted too.
func TestMemoryBeforeTheFirstMessage(t *testing.T) {
	const clients = 500
	// As many fragments of a message as the reader takes, and the most of a last one.
	var greatest bytes.Buffer
	left := firstmessage.MaxMessage - 1
	for i := range 100 {
		op, n := ws.OpContinuation, 100
		if i == 0 {
			op = ws.OpText
		}
		left -= n
		greatest.WriteString(masked(ws.NewFrame(op, false, make([]byte, n))))
	}
	last := masked(ws.NewFrame(ws.OpContinuation, true, make([]byte, left)))
	greatest.WriteString(last[:len(last)-1])
	for _, tt := range []struct {
		name, sends string
		passOn      bool
		most        int64 // bytes
	}{
		{"silent", "", false, 24 << 10}, {"a message that is not whole", greatest.String(), false, 40 << 10},
		{"a message that is passed on", greatest.String(), true, 56 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(c *listener.Config) { c.MaxHandshakes = 2 * clients })
			w.handler.first = newUnauthenticated(FirstConfig{Timeout: time.Minute, Handshake: time.Minute})
			w.serve(newEcho(t, nil).url, firstMessage(credential.Message{PassOn: tt.passOn}))
			answer := make([]byte, 4<<10)
			open := func() net.Conn {
				conn := w.dial(false)
				w.send(conn, request("/echo/1.0.0", ""))
				n := 0
				for !strings.HasSuffix(string(answer[:n]), "\r\n\r\n") {
					more, err := conn.Read(answer[n:])
					if n += more; err != nil {
						t.Fatal(err)
					}
				}
				if !strings.HasPrefix(string(answer), "HTTP/1.1 101 ") {
					t.Fatalf("answer = %q", answer[:n])
				}
				if _, err := io.WriteString(conn, tt.sends); err != nil {
					t.Fatal(err)
				}
				return conn
			}
			_ = open().Close() // what there is once
			before := memory()
			var all []net.Conn
			for range clients {
				all = append(all, open())
			}
			read := func() (n int64) { return (memory() - before) / clients }
			got := read()
			eventually(t, "all that was sent is read", func() bool { last := got; got = read(); return got <= last })
			t.Logf("a client costs %d bytes", got)
			if got > tt.most {
				t.Errorf("a client costs %d bytes, want at most %d", got, tt.most)
			}
			for _, conn := range all {
				_ = conn.Close()
			}
		})
	}
}

// memory returns the bytes of all that is reachable, and of stacks.
func memory() int64 {
	runtime.GC()
	runtime.GC() // what the first one left to be swept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
