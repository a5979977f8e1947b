package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/tidegatehq/tidegate/services/gateway/internal/descriptors"
)

// TestSessionsAreBounded: beyond the bound, a handshake is answered 503 before any
// 101, and once a session has ended the next one gets in.
func TestSessionsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.plane.put(w.open())
	w.cfg.MaxSessions = 2
	w.start()
	first := w.connect("open", "")
	echoes(t, first, "one")
	echoes(t, w.connect("open", ""), "two")
	served := w.served.Load()
	for range 3 {
		_, resp := w.ask(w.plain+"/x/open", nil)
		if resp.status != http.StatusServiceUnavailable || resp.header.Get("Retry-After") == "" || !strings.Contains(resp.body, "SESSIONS_FULL") {
			t.Errorf("a third session: %d %v %s, want 503 SESSIONS_FULL with Retry-After", resp.status, resp.header, resp.body)
		}
	}
	if got := w.served.Load(); got != served {
		t.Errorf("the backend was dialled for %d sessions that there is no room for", got-served)
	}
	_ = first.Close(websocket.StatusNormalClosure, "")
	eventually(t, "there is room again", func() bool { c, status := w.dial("open", ""); return c != nil && status == 101 })
}

// TestSessionsOfAnAddressAreBounded: an address that has its share is answered 429,
// and a client of a trusted proxy is another.
func TestSessionsOfAnAddressAreBounded(t *testing.T) {
	w := newWorld(t)
	w.plane.put(w.open())
	w.cfg.MaxSessionsPerAddress = 1
	if err := w.cfg.Listen.Proxies.Trusted.Set("127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	w.start()
	from := func(client string) http.Header { return http.Header{"X-Forwarded-For": {client}} }
	conn, resp := w.ask(w.plain+"/x/open", from("2001:db8::1"))
	if resp.status != 101 {
		t.Fatalf("the first session: %d, want 101", resp.status)
	}
	_, resp = w.ask(w.plain+"/x/open", from("2001:db8::2"))
	if resp.status != http.StatusTooManyRequests || resp.header.Get("Retry-After") == "" || !strings.Contains(resp.body, "ADDRESS_FULL") {
		t.Errorf("another one of the network: %d %s, want 429 ADDRESS_FULL with Retry-After", resp.status, resp.body)
	}
	for _, client := range []http.Header{from("192.0.2.1"), nil, nil} { // the proxy itself has no share
		if _, resp := w.ask(w.plain+"/x/open", client); resp.status != 101 {
			t.Errorf("%v: %d, want 101", client, resp.status)
		}
	}
	_ = conn.CloseNow()
	eventually(t, "the address has room again", func() bool {
		_, resp := w.ask(w.plain+"/x/open", from("2001:db8::2"))
		return resp.status == 101
	})
}

// TestMoreSessionsThanFiles: a gateway does not start with a bound that the limit of
// open files has no room for, and says which it needs.
func TestMoreSessionsThanFiles(t *testing.T) {
	w := newWorld(t)
	w.cfg.MaxSessions = 1 << 29
	w.cfg.Listen.Addr = "127.0.0.1:0"
	_, err := OpenFilesOfOthers(w.cfg)
	if err == nil || !strings.Contains(err.Error(), "-max-sessions: the limit of open files is ") || !strings.Contains(err.Error(), "at least 1073762") {
		t.Errorf("OpenFilesOfOthers = %v, want what is needed", err)
	}
	w.cfg.MaxSessions = 0
	if _, err := OpenFilesOfOthers(w.cfg); err != nil {
		t.Errorf("CheckOpenFiles with as many as fit = %v", err)
	}
}

// TestConnectionsToGRPC: users' connections to the gRPC of sessions take a quarter of what
// there is for everything but clients of WebSocket.
func TestConnectionsToGRPC(t *testing.T) {
	for rest, want := range map[int]int{40: 10, 3840: 960, 0: 4096} {
		if c := connectionsOf(descriptors.Shares{Else: rest}); c.Max != want {
			t.Errorf("with %d for everything else: at most %d connections, want %d", rest, c.Max, want)
		}
	}
}
