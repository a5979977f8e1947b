package listener

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

// FuzzHead checks that no bytes make the reader panic, and that every request that
// it accepts is well-formed.
func FuzzHead(f *testing.F) {
	for _, in := range []string{
		"GET /a HTTP/1.1\r\n" + sound + "\r\n",
		"GET http://h/a?b HTTP/1.1\r\n" + sound + "Sec-WebSocket-Protocol: a, b\r\n\r\nabc",
		"GET ws://h HTTP/1.1\r\n" + sound + "Connection: x\r\nContent-Length: 0\r\n\r\n",
		"POST /-/healthz HTTP/1.0\r\n\r\n",
		"GET /a HTTP/1.1\nhost:h\nupgrade:websocket\nconnection:upgrade\nsec-websocket-version:13\n" + key + "\n",
	} {
		f.Add([]byte(in))
	}
	l := &Listener{cfg: Default(), heads: head.NewPool(head.DefaultMax)}
	f.Fuzz(func(t *testing.T, in []byte) {
		reader := l.heads.Get()
		defer l.heads.Put(reader)
		raw, buffered, err := reader.ReadRequest(bytes.NewReader(in), maxLine)
		if err != nil {
			return
		}
		h, err := reader.Request(raw)
		if err != nil {
			return
		}
		var r Request
		if refusal := l.check(&r, raw, buffered, h); refusal != nil {
			if refusal.Status < 400 || refusal.Status > 499 || refusal.Code == 0 || refusal.Detail == "" {
				t.Fatalf("check(%q) = %+v, want a 4xx", in, refusal)
			}
			return
		}
		if strings.HasPrefix(r.Path, "/-/") {
			return
		}
		lower := strings.ToLower(string(raw))
		switch {
		case !strings.HasPrefix(string(raw), "GET "), h.Method != http.MethodGet,
			strings.Count("\n"+lower, "\nhost:") != 1, strings.Count("\n"+lower, "\nsec-websocket-key:") != 1,
			strings.Contains(lower, "\ntransfer-encoding:"), len(r.Key) != 24,
			len(r.Path)+len(r.Query) > maxTarget, strings.ContainsAny(r.Path+r.Query+r.Host, " \r\n\t\x00#"),
			!bytes.Equal(r.Buffered, buffered), len(buffered) > head.MaxBuffered:
			t.Fatalf("check(%q) accepted it: %+v", in, r)
		}
	})
}
