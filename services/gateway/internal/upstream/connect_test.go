package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
)

// read returns what is in a file.
func read(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rootsOf are the authorities in a file.
func rootsOf(t testing.TB, file string) (pool *x509.CertPool, list []*x509.Certificate) {
	t.Helper()
	block, _ := pem.Decode([]byte(read(t, file)))
	one, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(one)
	return pool, []*x509.Certificate{one}
}

// keyPair is a certificate with its key.
func keyPair(t testing.TB, files certs.Files) *tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

// accepting takes every handshake, and tells each.
func accepting(heard func(*http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard(r)
		w.Header().Set("Sec-WebSocket-Accept", head.AcceptKey(r.Header.Get("Sec-WebSocket-Key")))
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
	})
}

// secure is a backend with TLS and a certificate for these names; clients, if it is not nil,
// is the authority whose certificates it demands.
func secure(t testing.TB, h http.Handler, ca *certtest.CA, clients *certtest.CA, most uint16, names ...string) (addr string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{*keyPair(t, ca.Issue(t, names...))}, MaxVersion: most}
	if clients != nil {
		srv.TLS.ClientAuth = tls.RequireAndVerifyClientCert
		srv.TLS.ClientCAs, _ = rootsOf(t, clients.File)
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// to is an endpoint that is connected to so.
func to(t testing.TB, url string, c *routes.Connection) *routes.Endpoint {
	e := endpoint(t, url)
	e.Connection = c
	return e
}

// TestTLSOfAVersion speaks TLS with backends of an authority of their own that demand a
// certificate, under other names, and wants each failure in clear words.
func TestTLSOfAVersion(t *testing.T) {
	ca, clients, other := certtest.NewCA(t), certtest.NewCA(t), certtest.NewCA(t)
	own, _ := rootsOf(t, ca.File)
	theirs, _ := rootsOf(t, other.File)
	good, bad := keyPair(t, clients.Issue(t, "gateway")), keyPair(t, other.Issue(t, "gateway"))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var seen atomic.Int64
		count := accepting(func(r *http.Request) {
			if len(r.TLS.PeerCertificates) > 0 {
				seen.Add(1)
			}
		})
		demanding := "wss://" + secure(t, count, ca, clients, version, "inside.example")
		lenient := "wss://" + secure(t, accepting(func(*http.Request) {}), ca, nil, version, "inside.example")
		const wants = "the backend refused TLS: it may want a certificate, or another one, or speak a version or suites that the gateway does not"
		for _, tt := range []struct {
			name, url string
			is        *routes.Connection
			want      string
		}{
			{"no roots", lenient, nil, "the backend's certificate is of no authority that the gateway trusts"},
			{"another's roots", lenient, &routes.Connection{Roots: theirs}, "the backend's certificate is of none of the version's root certificates"},
			{"own roots", lenient, &routes.Connection{Roots: own}, ""},
			{"the name of the certificate", lenient, &routes.Connection{Roots: own, ServerName: "inside.example"}, ""},
			{"another name", lenient, &routes.Connection{Roots: own, ServerName: "outside.example"}, `the backend's certificate is not for "outside.example"`},
			{"no certificate", demanding, &routes.Connection{Roots: own}, wants},
			{"a certificate of others", demanding, &routes.Connection{Roots: own, Certificate: bad}, wants},
			{"a certificate", demanding, &routes.Connection{Roots: own, Certificate: good}, ""},
		} {
			if tt.is != nil {
				tt.is.Sessions = tls.NewLRUClientSessionCache(1)
			}
			d := dialer(t, Default())
			for range 2 { // the second one may resume what the first one has left
				got := d.Check(t.Context(), &Request{Endpoint: to(t, tt.url, tt.is), Host: "h"})
				if got.Error != tt.want || (got.Step == Done) != (tt.want == "") {
					t.Errorf("%s, %s: Check = step %d, %q, want %q", tls.VersionName(version), tt.name, got.Step, got.Error, tt.want)
				}
			}
		}
		if seen.Load() != 2 {
			t.Errorf("%s: the backend saw %d certificates, want 2", tls.VersionName(version), seen.Load())
		}
	}
}

// TestSessionsOfTLSAreOfOneConnection: what one connection has verified, or has shown a
// certificate for, is not resumed by another one to the same backend.
func TestSessionsOfTLSAreOfOneConnection(t *testing.T) {
	ca := certtest.NewCA(t)
	addr := "wss://" + secure(t, accepting(func(*http.Request) {}), ca, nil, tls.VersionTLS12)
	own, _ := rootsOf(t, ca.File)
	theirs, _ := rootsOf(t, certtest.NewCA(t).File)
	d := dialer(t, Default())
	trusts := func(pool *x509.CertPool) *routes.Connection {
		return &routes.Connection{Roots: pool, Sessions: tls.NewLRUClientSessionCache(1)}
	}
	if got := d.Check(t.Context(), &Request{Endpoint: to(t, addr, trusts(own)), Host: "h"}); got.Step != Done {
		t.Fatalf("Check = %+v, want that it is done", got)
	}
	for name, c := range map[string]*routes.Connection{"by default": nil, "with other roots": trusts(theirs)} {
		if got := d.Check(t.Context(), &Request{Endpoint: to(t, addr, c), Host: "h"}); got.Step != TLS {
			t.Errorf("%s: Check = %+v, want that TLS fails", name, got)
		}
	}
}

// connectProxy is a proxy that opens connections by CONNECT.
type connectProxy struct {
	addr   string
	user   string // user:password; empty: anybody
	answer string // instead of a connection; empty: none

	mu    sync.Mutex
	asked []string
	ln    net.Listener
	all   sync.WaitGroup
}

// newProxy starts a proxy, with TLS where cfg is not nil. edit may be nil.
func newProxy(t testing.TB, cfg *tls.Config, edit func(*connectProxy)) *connectProxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &connectProxy{addr: ln.Addr().String(), ln: ln}
	if edit != nil {
		edit(p)
	}
	if cfg != nil {
		p.ln = tls.NewListener(ln, cfg)
	}
	t.Cleanup(func() { _ = ln.Close(); p.all.Wait() })
	p.all.Go(func() {
		for {
			conn, err := p.ln.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.serve(conn) })
		}
	})
	return p
}

func (p *connectProxy) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.RequestURI)
	p.mu.Unlock()
	user := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}})
	if name, password, _ := user.BasicAuth(); p.user != "" && name+":"+password != p.user {
		_, _ = io.WriteString(conn, "HTTP/1.1 407 Who\r\nContent-Length: 6\r\n\r\ns3cret")
		return
	}
	if p.answer != "" {
		_, _ = io.WriteString(conn, strings.TrimPrefix(p.answer, "-"))
		_, _ = io.Copy(io.Discard, conn)
		return
	}
	far, err := net.Dial("tcp", r.RequestURI)
	if err != nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 502 No\r\n\r\n")
		return
	}
	defer func() { _ = far.Close() }()
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Yes\r\n\r\n")
	p.all.Go(func() { _, _ = io.Copy(far, in); _ = far.(*net.TCPConn).CloseWrite() })
	_, _ = io.Copy(conn, far)
}

// heard is what the proxy was asked for.
func (p *connectProxy) heard() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.asked, ", ")
}

// TestProxy goes through proxies, plain and with TLS, to backends that are plain and with TLS,
// for handshakes, checks and health checks alike.
func TestProxy(t *testing.T) {
	ca := certtest.NewCA(t)
	roots, authorities := rootsOf(t, ca.File)
	plain := httptest.NewServer(accepting(func(*http.Request) {}))
	defer plain.Close()
	overTLS := "wss://" + secure(t, accepting(func(*http.Request) {}), ca, nil, 0)
	for _, proxyTLS := range []bool{false, true} {
		for _, url := range []string{"ws" + strings.TrimPrefix(plain.URL, "http"), overTLS} {
			var cfg *tls.Config
			if proxyTLS {
				cfg = &tls.Config{Certificates: []tls.Certificate{*keyPair(t, ca.Issue(t))}}
			}
			p := newProxy(t, cfg, func(p *connectProxy) { p.user = "gate:way" })
			e := to(t, url, &routes.Connection{
				Roots: roots, Authorities: authorities, Sessions: tls.NewLRUClientSessionCache(1),
				Proxy: &routes.Proxy{TLS: proxyTLS, Name: "127.0.0.1", Addr: p.addr, Authorization: "Basic Z2F0ZTp3YXk="},
			})
			d := dialer(t, Default())
			b, err := d.Dial(t.Context(), &Request{Endpoint: e, Host: "h"})
			if err != nil {
				t.Errorf("Dial of %s, proxy with TLS %v: %v", url, proxyTLS, err)
				continue
			}
			_ = b.Conn.Close()
			if got := d.Check(t.Context(), &Request{Endpoint: e, Host: "h"}); got.Step != Done {
				t.Errorf("Check of %s, proxy with TLS %v = %+v", url, proxyTLS, got)
			}
			if why := d.CheckHealth(t.Context(), &Request{Endpoint: e, Host: "h"}, "/"); why != "the backend answered 101, not 2xx" {
				t.Errorf("CheckHealth of %s, proxy with TLS %v = %q", url, proxyTLS, why)
			}
			if want := strings.TrimSuffix(strings.Repeat("CONNECT "+e.Addr+", ", 3), ", "); p.heard() != want {
				t.Errorf("the proxy was asked for %q, want %q", p.heard(), want)
			}
		}
	}
}

// TestProxyFails ends at proxies in every way, in words that name no address and have nothing
// of the answer but its status.
func TestProxyFails(t *testing.T) {
	answering := func(text string) func(*connectProxy) { return func(p *connectProxy) { p.answer = text } }
	cfg := &tls.Config{Certificates: []tls.Certificate{*keyPair(t, certtest.NewCA(t).Issue(t))}}
	for _, tt := range []struct {
		name string
		tls  *tls.Config
		edit func(*connectProxy)
		kind Kind
		want string
	}{
		{"another user", nil, func(p *connectProxy) { p.user = "gate:way" }, Unreachable, "the proxy asks for another user or password"},
		{"a refusal", nil, answering("HTTP/1.1 403 s3cret\r\nX: s3cret\r\n\r\ns3cret"), Unreachable, "the proxy answered 403 to CONNECT"},
		{"a backend that is away", nil, nil, Unreachable, "the proxy answered 502 to CONNECT"},
		{"nonsense", nil, answering("s3cret\r\n\r\n"), Unreachable, "the proxy's answer is malformed"},
		{"more than the answer", nil, answering("HTTP/1.1 200 OK\r\n\r\ns3cret"), Unreachable, "the proxy sent more than its answer to CONNECT"},
		{"silence", nil, answering("-"), Timeout, "the proxy did not answer in time"},
		{"nobody listens", nil, func(p *connectProxy) { p.addr = "127.0.0.1:1" }, Unreachable, "the proxy cannot be reached"},
		{"an address that is not dialled", nil, func(p *connectProxy) { p.addr = "169.254.169.254:80" }, Forbidden, "the proxy's address is not allowed here"},
		{"TLS that is not trusted", cfg, nil, Unreachable, "TLS with the proxy failed"},
	} {
		p := newProxy(t, tt.tls, tt.edit)
		dialing := Default()
		if tt.kind == Timeout {
			dialing.Timeout = 50 * time.Millisecond
		}
		d := dialer(t, dialing)
		r := &Request{Endpoint: to(t, "ws://127.0.0.1:1/", &routes.Connection{Proxy: &routes.Proxy{TLS: tt.tls != nil, Name: "127.0.0.1", Addr: p.addr}}), Host: "h"}
		got := d.Check(t.Context(), r)
		if got.Step != Proxied || got.Error != tt.want {
			t.Errorf("%s: Check = step %d, %q, want %q", tt.name, got.Step, got.Error, tt.want)
		}
		_, err := d.Dial(t.Context(), r)
		if e, ok := err.(*Error); !ok || e.Kind != tt.kind || strings.Contains(e.Detail(), "proxy") || strings.Contains(e.Error(), "s3cret") { //nolint:errorlint // Dial returns it as it is
			t.Errorf("%s: Dial = %v, want the kind %d, and that clients hear of no proxy", tt.name, err, tt.kind)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := newProxy(t, nil, answering("-"))
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := dialer(t, Default()).Dial(ctx, &Request{Endpoint: to(t, "ws://127.0.0.1:1/", &routes.Connection{Proxy: &routes.Proxy{Addr: p.addr}}), Host: "h"})
	if err != context.Canceled { //nolint:errorlint // the cause is given as it is
		t.Errorf("Dial of who leaves = %v, want that it was cancelled", err)
	}
}
