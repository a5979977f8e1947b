package gateway

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/pires/go-proxyproto"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// through connects to url through a proxy that greets the gateway with a PROXY header
// of a version, and no header for version 0.
func (w *world) through(url string, version byte, h http.Header) (*websocket.Conn, int) {
	w.t.Helper()
	client := trusting(w.t)
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil || version == 0 {
			return conn, err
		}
		return conn, greet(conn, version)
	}
	//nolint:bodyclose // the library documents that the body of this response need not be closed
	c, resp, err := websocket.Dial(w.t.Context(), url, &websocket.DialOptions{HTTPHeader: h, HTTPClient: client})
	if resp == nil {
		return nil, 0
	}
	if err == nil {
		w.t.Cleanup(func() { _ = c.CloseNow() })
	}
	return c, resp.StatusCode
}

// greet sends a PROXY header of a version.
func greet(conn net.Conn, version byte) error {
	source := &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 5000}
	_, err := proxyproto.HeaderProxyFromAddrs(version, source, &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 443}).WriteTo(conn)
	return err
}

// clients returns the addresses of the live sessions' clients.
func (w *world) clients() (list []string) {
	w.t.Helper()
	c, ctx := w.sessions()
	resp, err := c.ListSessions(ctx, &gatewayv1.ListSessionsRequest{Parent: "gateways/gateway-1"})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range resp.GetSessions() {
		list = append(list, s.GetClientAddress())
	}
	return list
}

// TestProxyProtocol relays sessions that come through a proxy with a PROXY header of
// version 1 or 2, over ws and wss, and shows the client's address.
func TestProxyProtocol(t *testing.T) {
	w := newWorld(t)
	secure := w.withTLS()
	w.plane.put(w.open())
	w.cfg.Listen.Proxies.Protocol = true
	if err := w.cfg.Listen.Proxies.Trusted.Set("127.0.0.0/8"); err != nil {
		t.Fatal(err)
	}
	w.start()
	for _, version := range []byte{1, 2} {
		for _, base := range []string{w.plain, secure} {
			c, status := w.through(base+"/x/open", version, nil)
			if status != http.StatusSwitchingProtocols {
				t.Fatalf("version %d at %s: %d, want 101", version, base, status)
			}
			echoes(t, c, strings.Repeat("x", 30_000))
			if got := w.clients(); len(got) != 1 || got[0] != "[2001:db8::7]:5000" {
				t.Errorf("version %d at %s: clients = %v, want what the header says", version, base, got)
			}
			_ = c.CloseNow()
			eventually(t, "the session has ended", func() bool { return len(w.clients()) == 0 })
		}
	}
	if _, status := w.through(w.plain+"/x/open", 0, nil); status != 0 {
		t.Errorf("a trusted proxy without a header got %d, want its connection closed", status)
	}
}

// TestProxyProtocolOfStrangers is no HTTP: the client's own word does not count.
func TestProxyProtocolOfStrangers(t *testing.T) {
	w := newWorld(t)
	w.plane.put(w.open())
	w.cfg.Listen.Proxies.Protocol = true
	if err := w.cfg.Listen.Proxies.Trusted.Set("10.0.0.0/8"); err != nil {
		t.Fatal(err)
	}
	w.start()
	if _, status := w.through(w.plain+"/x/open", 0, nil); status != http.StatusSwitchingProtocols {
		t.Errorf("without a header: %d, want 101", status)
	}
	// What ends the head follows the text of version 1, and nothing that of version 2: the
	// answer comes before a client would have sent its request.
	for version, rest := range map[byte]string{1: "\r\n", 2: ""} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.plain, "ws://"))
		if err != nil {
			t.Fatal(err)
		}
		if err := greet(conn, version); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, rest); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("version %d from elsewhere: %v, %v, want 400", version, resp, err)
		}
		if err == nil {
			resp.Body.Close()
		}
		conn.Close()
	}
	if got := w.clients(); len(got) != 1 || !strings.HasPrefix(got[0], "127.0.0.1:") {
		t.Errorf("clients = %v, want who connects", got)
	}
}

// TestForwardedHeaders believes a trusted proxy's headers, and nobody else's.
func TestForwardedHeaders(t *testing.T) {
	for _, test := range []struct {
		networks string
		h        http.Header
		status   int
		want     string
	}{
		{"10.0.0.0/8", http.Header{"X-Forwarded-For": {"192.0.2.7"}, "Forwarded": {"for=192.0.2.7"}}, 101, "127.0.0.1:"},
		{"127.0.0.1", http.Header{"X-Forwarded-For": {"6.6.6.6, 192.0.2.7"}}, 101, "192.0.2.7"},
		{"127.0.0.1", http.Header{"Forwarded": {`for=6.6.6.6, for="192.0.2.7:99"`}}, 101, "192.0.2.7:99"},
		{"127.0.0.1", http.Header{"X-Forwarded-For": {"garbage"}}, 400, ""},
		{"127.0.0.1", http.Header{"X-Forwarded-For": {"192.0.2.7"}, "Forwarded": {"for=192.0.2.8"}}, 400, ""},
	} {
		w := newWorld(t)
		w.plane.put(w.open())
		if err := w.cfg.Listen.Proxies.Trusted.Set(test.networks); err != nil {
			t.Fatal(err)
		}
		w.start()
		if _, status := w.through(w.plain+"/x/open", 0, test.h); status != test.status {
			t.Errorf("trusting %s, %v: %d, want %d", test.networks, test.h, status, test.status)
		}
		if got := w.clients(); test.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], test.want)) {
			t.Errorf("trusting %s, %v: clients = %v, want %s", test.networks, test.h, got, test.want)
		}
	}
}
