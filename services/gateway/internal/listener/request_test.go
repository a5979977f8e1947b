package listener

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

func TestSoundRequests(t *testing.T) {
	caught := make(catcher)
	l := serve(t, caught, nil)
	tests := []struct {
		name, request     string
		path, query, host string
		protocols         []string
		buffered          string
	}{
		{"plain", "GET /a/b HTTP/1.1\r\n" + sound, "/a/b", "", "h.example:9099", nil, ""},
		{"query", "GET /a?b=%2F&c HTTP/1.1\r\n" + sound, "/a", "b=%2F&c", "h.example:9099", nil, ""},
		{"absolute", "GET http://other:1/a?b HTTP/1.1\r\n" + sound, "/a", "b", "other:1", nil, ""},
		{"absolute without path", "GET ws://other?b HTTP/1.1\r\n" + sound, "", "b", "other", nil, ""},
		{"absolute without anything", "GET ws://other HTTP/1.1\r\n" + sound, "/", "", "other", nil, ""},
		{"newer version", "GET /a HTTP/1.2\r\n" + sound, "/a", "", "h.example:9099", nil, ""},
		{
			"protocols", "GET /a HTTP/1.1\r\n" + sound + "Sec-WebSocket-Protocol: a, b.c\r\nSec-WebSocket-Protocol: d,\r\n",
			"/a", "", "h.example:9099", []string{"a", "b.c", "d"}, "",
		},
		{
			"any case, several lines",
			"GET /a HTTP/1.1\r\nhOST: h\r\nupgrade: foo, WebSocket\r\nCONNECTION: keep-alive\r\nconnection: x, uPGRADE\r\nsec-websocket-version: 13\r\n" + key,
			"/a", "", "h", nil, "",
		},
		{"empty body", "GET /a HTTP/1.1\r\nContent-Length: 0\r\n" + sound, "/a", "", "h.example:9099", nil, ""},
		{"bytes behind", "GET /a HTTP/1.1\r\n" + sound + "\r\n\x81\x85abcdhello", "/a", "", "h.example:9099", nil, "\x81\x85abcdhello"},
		{
			"longest target", "GET /" + strings.Repeat("a", maxTarget-1) + " HTTP/1.1\r\n" + sound,
			"/" + strings.Repeat("a", maxTarget-1), "", "h.example:9099", nil, "",
		},
	}
	for _, tt := range tests {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%t", tt.name, secure), func(t *testing.T) {
				var conn net.Conn
				if secure {
					conn = dialTLS(t, l.TLSAddr())
				} else {
					conn = dial(t, l.Addr())
				}
				request := tt.request
				if tt.buffered == "" {
					request += "\r\n"
				}
				send(t, conn, request)
				r := <-caught
				defer func() { _ = r.Conn.Close() }()
				if r.Path != tt.path || r.Query != tt.query || r.Host != tt.host || !slices.Equal(r.Protocols, tt.protocols) ||
					string(r.Buffered) != tt.buffered || r.Secure != secure || r.Key != "AAECAwQFBgcICQoLDA0ODw==" ||
					r.Remote.String() != conn.LocalAddr().String() {
					t.Errorf("got %+v, want %+v", r, tt)
				}
				if until := time.Until(r.Deadline); until > 10*time.Second || until < 5*time.Second {
					t.Errorf("the handshake has %v left, want a little less than 10 s", until)
				}
			})
		}
	}
}

// TestHeadsThatRealClientsSendAreTaken: what is not quite as the RFCs want it, but
// clear.
func TestHeadsThatRealClientsSendAreTaken(t *testing.T) {
	caught := make(catcher)
	l := serve(t, caught, nil)
	const loose = "AAECAwQFBgcICQoLDA0OD1=="
	for name, request := range map[string]string{
		"an empty line first":         "\r\nGET /a HTTP/1.1\r\n" + sound,
		"a key with loose bits":       "GET /a HTTP/1.1\r\n" + strings.Replace(sound, key, "Sec-WebSocket-Key: "+loose+"\r\n", 1),
		"a scheme in capital letters": "GET WS://other/a HTTP/1.1\r\n" + sound,
		"a head of 32 KiB":            sized("GET /a HTTP/1.1\r\n"+sound, head.DefaultMax-2),
		"empty protocols":             "GET /a HTTP/1.1\r\n" + sound + "Sec-WebSocket-Protocol:\r\n",
	} {
		conn := dial(t, l.Addr())
		send(t, conn, request+"\r\n")
		select {
		case r := <-caught:
			if r.Path != "/a" || len(r.Protocols) > 0 || name == "a key with loose bits" && r.Key != loose {
				t.Errorf("%s: got %+v, want the path /a", name, r)
			}
			_ = r.Conn.Close()
		case <-time.After(10 * time.Second):
			t.Errorf("%s: not taken", name)
		}
	}
}

// sized lengthens a request by a header to n bytes.
func sized(request string, n int) string {
	return request + "A: " + strings.Repeat("a", n-len(request)-len("A: \r\n")) + "\r\n"
}

// TestTheBoundOfTheHeadIsAFlag: and nothing of that flag makes a target longer.
func TestTheBoundOfTheHeadIsAFlag(t *testing.T) {
	caught := make(catcher, 1)
	l := serve(t, caught, func(c *Config) { c.MaxHead = 64 << 10 })
	conn := dial(t, l.Addr())
	send(t, conn, sized("GET /a HTTP/1.1\r\n"+sound, 64<<10-2)+"\r\n")
	_ = (<-caught).Conn.Close()
	conn = dial(t, l.Addr())
	send(t, conn, sized("GET /a HTTP/1.1\r\n"+sound, 64<<10-1)+"\r\n")
	if a := receive(t, conn, "GET"); a.StatusCode != 431 || !strings.Contains(a.detail, "65536") {
		t.Errorf("a head of 64 KiB and a byte: %d %q, want 431 and the bound", a.StatusCode, a.detail)
	}
	for _, n := range []int{0, -1, 4095, 1<<20 + 1} {
		cfg := Default()
		cfg.MaxHead = n
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), "-max-head: must be 4096 to 1048576 bytes") {
			t.Errorf("Check with MaxHead %d = %v, want the bounds", n, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	l := serve(t, handlerFunc(func(_ context.Context, r *Request) {
		t.Errorf("the handler was given %+v", r)
		_ = r.Conn.Close()
	}), nil)
	const get = "GET /a HTTP/1.1\r\n"
	without := func(line string) string {
		if !strings.Contains(sound, line) {
			t.Fatalf("%q is not in %q", line, sound)
		}
		return get + strings.ReplaceAll(sound, line, "")
	}
	tests := []struct {
		name, request string
		status        int
		code, detail  string
		header        map[string]string
	}{
		{"no Host", without("Host: h.example:9099\r\n"), 400, "BAD_REQUEST", "there must be exactly one Host header", nil},
		{"two Hosts", get + sound + "host: h\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"empty Host", get + strings.Replace(sound, "h.example:9099", "", 1), 400, "BAD_REQUEST", "the Host header is not a host", nil},
		{"quote in Host", get + strings.Replace(sound, "h.example", `h"x`, 1), 400, "BAD_REQUEST", "the Host header is not a host", nil},
		{"no Host beside an absolute target", "GET http://h/a HTTP/1.1\r\n" + strings.Replace(sound, "Host:", "X:", 1), 400, "BAD_REQUEST", "there must be exactly one Host header", nil},
		{"name that is no token", get + sound + "A B: c\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"space before the colon", get + sound + "A : c\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"continued line", get + sound + " more\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"line without colon", get + sound + "more\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"bare CR in a value", get + sound + "A: b\rX-Forwarded-For: c\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"blank line that is none", get + sound + " \r\nHost: h\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"line feed in the target", "GET /a\nb HTTP/1.1\r\n" + sound, 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"NUL in a value", get + sound + "A: \x00\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"bad escape in the path", "GET /%zz HTTP/1.1\r\n" + sound, 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"fragment", "GET /a?b#c HTTP/1.1\r\n" + sound, 400, "BAD_REQUEST", "the request target has a fragment", nil},
		{"no version", "GET /a\r\n" + sound, 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"HTTP/2", "GET /a HTTP/2.0\r\n" + sound, 400, "BAD_REQUEST", "the version of HTTP must be 1.1", nil},
		{"HTTP/2's preface", "PRI * HTTP/2.0\r\n", 400, "BAD_REQUEST", "the version of HTTP must be 1.1", nil},
		{"body", get + sound + "Content-Length: 3\r\n", 400, "BAD_REQUEST", "a handshake must not have a body", nil},
		{"chunked and a length", get + sound + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400, "BAD_REQUEST", "a handshake must not have a body", nil},
		{"unknown encoding of a body", get + sound + "Transfer-Encoding: x, chunked\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"chunked body", get + sound + "Transfer-Encoding: chunked\r\n", 400, "BAD_REQUEST", "a handshake must not have a body", nil},
		{"two lengths", get + sound + "Content-Length: 0\r\nContent-Length: 3\r\n", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
		{"no key", without(key), 400, "BAD_REQUEST", "there must be exactly one Sec-WebSocket-Key header with 16 bytes in base64", nil},
		{"two keys", get + sound + key, 400, "BAD_REQUEST", "there must be exactly one Sec-WebSocket-Key header with 16 bytes in base64", nil},
		{"short key", without(key) + "Sec-WebSocket-Key: AAAA\r\n", 400, "BAD_REQUEST", "there must be exactly one Sec-WebSocket-Key header with 16 bytes in base64", nil},
		{"key of 17 bytes", without(key) + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n", 400, "BAD_REQUEST", "there must be exactly one Sec-WebSocket-Key header with 16 bytes in base64", nil},
		{"key not in base64", without(key) + "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n", 400, "BAD_REQUEST", "there must be exactly one Sec-WebSocket-Key header with 16 bytes in base64", nil},
		{"protocol that is no token", get + sound + "Sec-WebSocket-Protocol: a b\r\n", 400, "BAD_REQUEST", "a name in Sec-WebSocket-Protocol is not a token", nil},
		{"protocol twice", get + sound + "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: a\r\n", 400, "BAD_REQUEST", "a name appears twice in Sec-WebSocket-Protocol", nil},
		{"two versions", get + sound + "Sec-WebSocket-Version: 8\r\n", 400, "BAD_REQUEST", "there must be exactly one Sec-WebSocket-Version header", nil},

		{"POST", "POST /a HTTP/1.1\r\n" + sound, 405, "METHOD_NOT_ALLOWED", "the method must be GET", map[string]string{"Allow": "GET"}},
		{"POST with a body", "POST /a HTTP/1.1\r\nContent-Length: 3\r\n" + sound, 405, "METHOD_NOT_ALLOWED", "the method must be GET", map[string]string{"Allow": "GET"}},
		{"method in lower case", "get /a HTTP/1.1\r\n" + sound, 405, "METHOD_NOT_ALLOWED", "the method must be GET", map[string]string{"Allow": "GET"}},
		{"CONNECT", "CONNECT h:1 HTTP/1.1\r\n" + sound, 405, "METHOD_NOT_ALLOWED", "the method must be GET", map[string]string{"Allow": "GET"}},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" + sound, 405, "METHOD_NOT_ALLOWED", "the method must be GET", map[string]string{"Allow": "GET"}},

		{"not an upgrade", get + "Host: h\r\n", 426, "UPGRADE_REQUIRED", "", map[string]string{"Sec-WebSocket-Version": "13", "Upgrade": "websocket"}},
		{"no Upgrade", without("Upgrade: websocket\r\n"), 426, "UPGRADE_REQUIRED", "", map[string]string{"Sec-WebSocket-Version": "13"}},
		{"no Connection", without("Connection: Upgrade\r\n"), 426, "UPGRADE_REQUIRED", "", map[string]string{"Sec-WebSocket-Version": "13"}},
		{"other Upgrade", without("Upgrade: websocket\r\n") + "Upgrade: h2c\r\n", 426, "UPGRADE_REQUIRED", "", map[string]string{"Sec-WebSocket-Version": "13"}},
		{"HTTP/1.0", "GET /a HTTP/1.0\r\n" + sound, 426, "UPGRADE_REQUIRED", "", map[string]string{"Sec-WebSocket-Version": "13"}},
		{"older version", without("Sec-WebSocket-Version: 13\r\n") + "Sec-WebSocket-Version: 8\r\n", 426, "UPGRADE_REQUIRED", "the Sec-WebSocket-Version must be 13", map[string]string{"Sec-WebSocket-Version": "13"}},
		{"several versions", without("Sec-WebSocket-Version: 13\r\n") + "Sec-WebSocket-Version: 13, 8\r\n", 426, "UPGRADE_REQUIRED", "the Sec-WebSocket-Version must be 13", map[string]string{"Sec-WebSocket-Version": "13"}},
		{"no WebSocket version", without("Sec-WebSocket-Version: 13\r\n"), 426, "UPGRADE_REQUIRED", "the Sec-WebSocket-Version must be 13", map[string]string{"Sec-WebSocket-Version": "13"}},

		{"target too long", "GET /" + strings.Repeat("a", maxTarget) + " HTTP/1.1\r\n" + sound, 414, "TARGET_TOO_LONG", "the request target has more than 8192 bytes", nil},
		{"target much too long", "GET /" + strings.Repeat("a", 3*maxTarget) + " HTTP/1.1\r\n" + sound, 414, "TARGET_TOO_LONG", "the request target has more than 8192 bytes", nil},
		{"head too large", get + sound + "A: " + strings.Repeat("a", head.DefaultMax) + "\r\n", 431, "HEAD_TOO_LARGE", "the head of the request has more than 32768 bytes", nil},
		{"head of too many lines", get + sound + strings.Repeat("A: a\r\n", 8000), 431, "HEAD_TOO_LARGE", "the head of the request has more than 32768 bytes", nil},
		{"not HTTP", "\x16\x03\x01\x00\xff", 400, "BAD_REQUEST", "the head of the request is malformed", nil},
	}
	for _, tt := range tests {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%t", tt.name, secure), func(t *testing.T) {
				t.Parallel()
				var conn net.Conn
				if secure {
					conn = dialTLS(t, l.TLSAddr())
				} else {
					conn = dial(t, l.Addr())
				}
				send(t, conn, tt.request+"\r\n")
				a := receive(t, conn, "GET")
				if a.StatusCode != tt.status || a.code != tt.code || tt.detail != "" && a.detail != tt.detail || !a.Close {
					t.Errorf("%.100q: %d %s %q, want %d %s %q", tt.request, a.StatusCode, a.code, a.detail, tt.status, tt.code, tt.detail)
				}
				for name, want := range tt.header {
					if got := a.Header.Get(name); got != want {
						t.Errorf("%.100q: header %s is %q, want %q", tt.request, name, got, want)
					}
				}
			})
		}
	}
}
