package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
)

// TestFurtherAddresses: by which host and path a version is reached, and what its backend
// gets of them, on the wire.
func TestFurtherAddresses(t *testing.T) {
	w := newWorld(t)
	asked := make(chan string, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked <- r.Host + " " + r.URL.EscapedPath()
		rw.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(backend.Close)
	url := "ws" + strings.TrimPrefix(backend.URL, "http")
	at := strings.TrimPrefix(backend.URL, "http://")
	version := func(name, path string, list ...*catalogv1.FurtherAddress) {
		r := w.open()
		r.Name, r.Version = "apis/x/versions/"+name, name
		r.Endpoints.Production = endpoint(url + path)
		r.FurtherAddresses = list
		r.BackendOptions = &catalogv1.BackendOptions{Host: catalogv1.BackendOptions_HOST_CLIENT}
		w.plane.put(r)
	}
	version("1", "/one",
		&catalogv1.FurtherAddress{Prefix: "/app/socket"}, &catalogv1.FurtherAddress{Prefix: "/cable", KeepPrefix: true},
		&catalogv1.FurtherAddress{Prefix: "/http", Serves: catalogv1.FurtherAddress_SERVES_HTTP},
		&catalogv1.FurtherAddress{Host: "chat.example.com", Addresses: []string{"ws://chat.example.com/"}})
	version("2", "/two",
		&catalogv1.FurtherAddress{Prefix: "/app/socket/v3"},
		&catalogv1.FurtherAddress{Host: "chat.example.com", Prefix: "/nandbox/api", KeepPrefix: true, Addresses: []string{"ws://chat.example.com/nandbox/api"}},
		&catalogv1.FurtherAddress{Host: "*.apps.example.com", Prefix: "/x", Addresses: []string{"ws://*.apps.example.com/x"}})
	w.cfg.Listen.Proxies.Trusted = proxies.Networks{} // nobody: what proxies say of the host is not believed
	w.start()
	for _, tt := range []struct{ host, target, more, want string }{
		{"gw.example.com", "/x/1/a", "", at + " /one/a"}, // its normal address goes on
		{"gw.example.com", "/app/socket", "", at + " /one"},
		{"gw.example.com", "/app/socket/websocket?vsn=2", "", at + " /one/websocket"},
		{"gw.example.com", "/app/socket/v3/", "", at + " /two/"},
		{"gw.example.com", "/cable/a%20b", "", at + " /one/cable/a%20b"},
		{"gw.example.com", "/http/a", "", "404"},
		{"gw.example.com", "/nandbox/api", "", "404"},
		{"chat.example.com", "/", "", "chat.example.com /one"},
		{"CHAT.example.com:80", "/a", "", "CHAT.example.com:80 /one/a"},
		{"chat.example.com.", "/a", "", at + " /one/a"},
		{"chat.example.com", "/nandbox/api/a", "", "chat.example.com /two/nandbox/api/a"},
		{"chat.example.com", "/x/2/a", "", "chat.example.com /one/x/2/a"}, // nothing of the shared host
		{"a.apps.example.com", "/x/a", "", "a.apps.example.com /two/a"},
		{"a.apps.example.com", "/app/socket", "", "404"},
		{"a.b.apps.example.com", "/x/1", "", at + " /one"}, // two labels: the shared host
		{"chat.example.com.evil.example", "/x/1", "", at + " /one"},

		// Who says what the host is: the target in absolute form (RFC 9112 section 3.2.2), else
		// Host, and no header that anybody can send.
		{"gw.example.com", "http://chat.example.com/a", "", "chat.example.com /one/a"},
		{"chat.example.com", "http://gw.example.com/x/1", "", at + " /one"},
		{"gw.example.com", "/x/1", "X-Forwarded-Host: chat.example.com\r\nForwarded: host=chat.example.com\r\nX-Host: chat.example.com\r\n", at + " /one"},
		{"gw.example.com", "http://chat.example.com@gw.example.com/x/1", "", "400"},
		{"gw.example.com", "/x/1", "Host: chat.example.com\r\n", "400"},
		{"gw.example.com, chat.example.com", "/x/1", "", "400"},
		{"chat.example.com/x", "/", "", "400"},
		{"user@chat.example.com", "/", "", "400"},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.plain, "ws://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%sUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", tt.target, tt.host, tt.more)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s at %s: %v", tt.target, tt.host, err)
		}
		_, _ = resp.Body.Close(), conn.Close()
		got := fmt.Sprint(resp.StatusCode)
		select {
		case got = <-asked:
		default:
		}
		if got != tt.want {
			t.Errorf("%s at %q with %q leads to %q, want %q", tt.target, tt.host, tt.more, got, tt.want)
		}
	}
}

// TestTrustedProxyNamesTheHost: behind a trusted proxy the host is what that says.
func TestTrustedProxyNamesTheHost(t *testing.T) {
	w := newWorld(t)
	if err := w.cfg.Listen.Proxies.Trusted.Set("127.0.0.0/8"); err != nil {
		t.Fatal(err)
	}
	r := w.open()
	r.FurtherAddresses = []*catalogv1.FurtherAddress{{Host: "chat.example.com", Prefix: "/live"}}
	w.plane.put(r)
	w.start()
	for host, want := range map[string]int{"chat.example.com": 101, "Chat.example.com:443": 101, "other.example.com": 404} {
		w.answers(w.plain+"/live", http.Header{"X-Forwarded-For": {"203.0.113.7"}, "X-Forwarded-Host": {host}}, want)
	}
}

// TestCertificatesOfVirtualHosts: clients get the certificate of the name that they ask for,
// and by that alone reach nothing: the header Host decides. A certificate is replaced while
// sessions live, and one that is broken replaces nothing.
func TestCertificatesOfVirtualHosts(t *testing.T) {
	w := newWorld(t)
	ca, dir := certtest.NewCA(t), t.TempDir()
	pair := func(name string) certs.Files {
		return certs.Files{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
	}
	ca.IssueTo(t, pair("chat"), "chat.example.com")
	ca.IssueTo(t, pair("apps"), "*.apps.example.com")
	others := ca.Issue(t, "gw.example.com")
	address := strings.TrimPrefix(w.withTLS(), "wss://")
	w.cfg.Listen.CertFile, w.cfg.Listen.KeyFile, w.cfg.Listen.HostCertDir = others.Cert, others.Key, dir
	r := w.open()
	for _, host := range []string{"chat.example.com", "*.apps.example.com", "new.example.com"} {
		r.FurtherAddresses = append(r.FurtherAddresses, &catalogv1.FurtherAddress{Host: host, Prefix: "/live"})
	}
	w.plane.put(r)
	w.start()
	roots, err := certs.RootsWith(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	var last *x509.Certificate // that the last client was shown
	dial := func(url string, roots *x509.CertPool) (*websocket.Conn, error) {
		transport := &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, VerifyConnection: func(s tls.ConnectionState) error {
				last = s.PeerCertificates[0]
				return nil
			}},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, address)
			},
		}
		t.Cleanup(transport.CloseIdleConnections)
		//nolint:bodyclose // the library documents that the body of this response need not be closed
		c, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
		if err == nil {
			t.Cleanup(func() { _ = c.CloseNow() })
		}
		return c, err
	}
	live := map[string]*websocket.Conn{}
	for _, url := range []string{"wss://chat.example.com/live", "wss://one.apps.example.com/live/x", "wss://gw.example.com/x/open"} {
		c, err := dial(url, roots)
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		echoes(t, c, "hello")
		live[url] = c
	}
	if _, err := dial("wss://unknown.example.com/live", roots); err == nil || !strings.Contains(err.Error(), "certificate is valid for gw.example.com") {
		t.Errorf("a name that nobody has: %v, want the certificate for all others", err)
	}
	if _, err := dial("wss://a.b.apps.example.com/live", roots); err == nil || !strings.Contains(err.Error(), "certificate is valid for gw.example.com") {
		t.Errorf("two labels below a wildcard: %v, want the certificate for all others", err)
	}

	first := func() *x509.Certificate {
		if _, err := dial("wss://chat.example.com/live", roots); err != nil {
			t.Fatal(err)
		}
		return last
	}
	before := first()
	ca.IssueTo(t, pair("chat"), "chat.example.com")
	after := first()
	if before.SerialNumber.Cmp(after.SerialNumber) == 0 {
		t.Error("clients get the certificate of before")
	}
	if err := os.WriteFile(pair("chat").Key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := first(); got.SerialNumber.Cmp(after.SerialNumber) != 0 {
		t.Error("a broken key has replaced a certificate that works")
	}
	ca.IssueTo(t, pair("new"), "new.example.com")
	if _, err := dial("wss://new.example.com/live", roots); err != nil {
		t.Errorf("a virtual host that came while the gateway ran: %v", err)
	}
	for url, c := range live {
		echoes(t, c, "still there: "+url)
	}
}
