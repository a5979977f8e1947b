package proxies_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/tidegatehq/tidegate/services/kit/proxies"
)

// headers are PROXY headers that say that 198.51.100.7:5000 connected, by version.
func headers(t *testing.T) map[string]string {
	t.Helper()
	source := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 5000}
	v2, err := proxyproto.HeaderProxyFromAddrs(2, source, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 443}).Format()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"version 1": "PROXY TCP4 198.51.100.7 10.0.0.1 5000 443\r\n", "version 2": string(v2)}
}

// pair returns both ends of a connection on loopback.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	if client, err = net.Dial("tcp", lis.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = lis.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	if err := server.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// TestReadHeader reads a trusted proxy's header, and leaves what follows it.
func TestReadHeader(t *testing.T) {
	for name, header := range headers(t) {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t)
			if _, err := client.Write([]byte(header + "GET /")); err != nil {
				t.Fatal(err)
			}
			c := trusting(t, "127.0.0.0/8")
			c.Protocol = true
			conn, err := c.ReadHeader(server)
			if err != nil {
				t.Fatalf("ReadHeader: %v", err)
			}
			if got := conn.RemoteAddr().String(); got != "198.51.100.7:5000" {
				t.Errorf("RemoteAddr() = %s, want what the header says", got)
			}
			if _, err := client.Write([]byte(" HTTP/1.1")); err != nil {
				t.Fatal(err)
			}
			client.Close()
			if rest, err := io.ReadAll(conn); string(rest) != "GET / HTTP/1.1" || err != nil {
				t.Errorf("what follows = %q, %v, want it whole", rest, err)
			}
		})
	}
}

// TestReadHeaderOfNobody takes a health check's header for what it is: the proxy's own.
func TestReadHeaderOfNobody(t *testing.T) {
	client, server := pair(t)
	c := trusting(t, "127.0.0.1")
	c.Protocol = true
	if err := c.Greet(client); err != nil {
		t.Fatal(err)
	}
	conn, err := c.ReadHeader(server)
	if err != nil || conn.RemoteAddr().String() != client.LocalAddr().String() {
		t.Errorf("ReadHeader = %v, %v, want the proxy's own address", conn, err)
	}
}

// TestReadHeaderMissing refuses a trusted proxy's connection without a header.
func TestReadHeaderMissing(t *testing.T) {
	client, server := pair(t)
	if _, err := client.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	c := trusting(t, "127.0.0.1")
	c.Protocol = true
	if conn, err := c.ReadHeader(server); err == nil {
		t.Errorf("ReadHeader = %v, want an error", conn.RemoteAddr())
	}
}

// TestReadHeaderOfStrangers reads no header from elsewhere: there it is the client's
// word, and no HTTP.
func TestReadHeaderOfStrangers(t *testing.T) {
	client, server := pair(t)
	if _, err := client.Write([]byte("PROXY TCP4 198.51.100.7 10.0.0.1 5000 443\r\n")); err != nil {
		t.Fatal(err)
	}
	client.Close()
	c := trusting(t, "10.0.0.0/8")
	c.Protocol = true
	conn, err := c.ReadHeader(server)
	if err != nil || conn != server {
		t.Errorf("ReadHeader = %v, %v, want the connection as it is", conn, err)
	}
	if err := new(proxies.Config).Greet(client); err != nil {
		t.Errorf("Greet without the protocol = %v, want nothing sent", err)
	}
}
