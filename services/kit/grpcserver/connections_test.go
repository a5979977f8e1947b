package grpcserver_test

import (
	"net"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/connlimit"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
)

// TestUsersConnectionsAreBounded: a server that is given no limit hangs up on an address
// that opens too many connections for users.
func TestUsersConnectionsAreBounded(t *testing.T) {
	cfg := grpcserver.Default("127.0.0.1:0", "")
	cfg.Plaintext = true
	at := make(chan string, 1)
	cfg.Listening = func(a net.Addr) { at <- a.String() }
	stop := start(t, cfg, &routes{})
	addr := <-at
	var last net.Conn
	for range connlimit.Default().PerAddress + 1 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		last = conn
	}
	if err := last.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The server sends its settings at once to a connection that it serves.
	if n, err := last.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Error("a connection beyond those of one address is served")
	}
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
}
