package connlimit_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/connlimit"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
)

// echo serves echoes on a listener until the test ends.
func echo(t *testing.T, limit *connlimit.Limit) net.Listener {
	t.Helper()
	tcp, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lis := limit.Listener(tcp)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := lis.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("Accept: %v", err)
				}
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
				conn.Close() // counts once
			}()
		}
	}()
	t.Cleanup(func() { lis.Close(); <-done })
	return lis
}

// dial connects from an address of this machine.
func dial(t *testing.T, from string, lis net.Listener) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(t.Context(), "tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// works reports whether a connection is served.
func works(conn net.Conn) bool {
	var b [1]byte
	_, err := conn.Write([]byte("x"))
	if err == nil {
		_, err = io.ReadFull(conn, b[:])
	}
	return err == nil
}

// TestPerAddress: one address that keeps connections open gets as many as it may, and
// another gets in beside it.
func TestPerAddress(t *testing.T) {
	lis := echo(t, connlimit.New(connlimit.Config{Max: 100, PerAddress: 3}, nil))
	var first net.Conn
	for range 3 {
		if first = dial(t, "127.0.0.2", lis); !works(first) {
			t.Fatal("a connection within the share is not served")
		}
	}
	for range 10 {
		if works(dial(t, "127.0.0.2", lis)) {
			t.Fatal("a connection beyond the share is served")
		}
	}
	other := dial(t, "127.0.0.3", lis)
	if !works(other) {
		t.Error("another address is not served beside it")
	}
	first.Close()
	for begin := time.Now(); !works(dial(t, "127.0.0.2", lis)); {
		if time.Since(begin) > 10*time.Second {
			t.Fatal("after a connection was closed, the address is not served again")
		}
	}
}

// TestTrustedProxies stand for many clients.
func TestTrustedProxies(t *testing.T) {
	trusted := &proxies.Config{}
	if err := trusted.Trusted.Set("127.0.0.2"); err != nil {
		t.Fatal(err)
	}
	lis := echo(t, connlimit.New(connlimit.Config{Max: 100, PerAddress: 1}, trusted))
	for range 5 {
		if !works(dial(t, "127.0.0.2", lis)) {
			t.Fatal("a trusted proxy's connection is not served")
		}
	}
}

// TestClientsBehindProxyProtocol: what a client behind a trusted proxy has open counts for
// the client from the PROXY header on, even if nothing comes after it.
func TestClientsBehindProxyProtocol(t *testing.T) {
	trusted := &proxies.Config{Protocol: true}
	if err := trusted.Trusted.Set("127.0.0.2"); err != nil {
		t.Fatal(err)
	}
	lis := echo(t, connlimit.New(connlimit.Config{Max: 10, PerAddress: 3}, trusted))
	from := func(client string) net.Conn {
		conn := dial(t, "127.0.0.2", lis)
		if _, err := io.WriteString(conn, "PROXY TCP4 "+client+" 192.0.2.9 5000 443\r\n"); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	var silent []net.Conn
	for range 20 {
		silent = append(silent, from("192.0.2.1"))
	}
	if !works(from("192.0.2.2")) {
		t.Fatal("another client of the proxy is not served")
	}
	open := 0
	for _, conn := range silent {
		if works(conn) {
			open++
		}
	}
	if open > 3 {
		t.Errorf("a client has %d connections, want at most 3", open)
	}
	if !works(dial(t, "127.0.0.3", lis)) {
		t.Error("a client without a proxy is not served")
	}
}

// TestIdleListenerTakesNoRoom: of two listeners with room for one connection, each serves
// its client when the other has none.
func TestIdleListenerTakesNoRoom(t *testing.T) {
	limit := connlimit.New(connlimit.Config{Max: 1}, nil)
	for _, lis := range []net.Listener{echo(t, limit), echo(t, limit)} {
		conn := dial(t, "127.0.0.1", lis)
		if !works(conn) {
			t.Fatal("a listener's only client is not served")
		}
		conn.Close()
	}
}

// TestMax: connections beyond the bound wait until there is room.
func TestMax(t *testing.T) {
	lis := echo(t, connlimit.New(connlimit.Config{Max: 2}, nil))
	first := dial(t, "127.0.0.1", lis)
	if !works(first) || !works(dial(t, "127.0.0.1", lis)) {
		t.Fatal("connections within the bound are not served")
	}
	third := dial(t, "127.0.0.1", lis)
	if err := third.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if works(third) {
		t.Error("a connection beyond the bound is served")
	}
	first.Close()
	if err := third.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(third, make([]byte, 1)); err != nil {
		t.Errorf("after another was closed: %v, want that it is served", err)
	}
}

// TestCheck refuses negative bounds.
func TestCheck(t *testing.T) {
	for _, c := range []connlimit.Config{{Max: -1}, {PerAddress: -1}} {
		if c.Check() == nil {
			t.Errorf("Check(%+v) = nil", c)
		}
	}
	if c := connlimit.Default(); c.Check() != nil {
		t.Error("the default is refused")
	}
}
