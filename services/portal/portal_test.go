package portal_test

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/portal"
)

// TestCheck reports every mistake of a configuration at once.
func TestCheck(t *testing.T) {
	tests := []struct {
		args []string
		want []string
	}{
		{[]string{"-tls-cert=c", "-tls-key=k", "-master-key-file=m"}, nil},
		{[]string{"-plaintext", "-master-key-file=m"}, nil},
		{[]string{"-plaintext", "-grpc=", "-ops=", "-master-key-file=m"}, nil},
		{nil, []string{"-tls-cert and -tls-key are needed, or -plaintext behind a proxy that adds TLS", "-master-key-file: a file is needed"}},
		{[]string{"-tls-cert=c"}, []string{"-tls-cert and -tls-key go together", "-master-key-file: a file is needed"}},
		{[]string{"-tls-cert=c", "-tls-key=k", "-plaintext"}, []string{"-plaintext and -tls-cert exclude each other", "-master-key-file: a file is needed"}},
		{[]string{"-plaintext", "-listen=9443", "-grpc=x", "-ops=y", "-drain=-1s", "-catalog=", "-subscription=10.0.0.1:1", "-gateway-cert=c"}, []string{
			`-listen: "9443" is not host:port`,
			`-grpc: "x" is not host:port`,
			"-master-key-file: a file is needed",
			"-drain: must not be negative",
			"-catalog: an address is needed",
			"-subscription: 10.0.0.1:1 is not on loopback, so -subscription-ca, -subscription-cert and -subscription-key are needed",
			"-gateway-cert and -gateway-key go together",
			"-gateway-cert needs -gateway-ca",
			`-ops: "y" is not host:port`,
		}},
	}
	for _, tt := range tests {
		cfg := portal.Default()
		fs := flag.NewFlagSet("portal", flag.ContinueOnError)
		cfg.Flags(fs, "")
		if err := fs.Parse(tt.args); err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := cfg.Check(); err != nil {
			got = strings.Split(err.Error(), "\n")
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("Check with %v = %q, want %q", tt.args, got, tt.want)
		}
	}
}

func TestOnlyDefaultMakesAConfig(t *testing.T) {
	err := new(portal.Config).Check()
	for _, want := range []string{`-listen: "" is not host:port`, "a connection to no service: it is made by Default", "HeadTimeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check of a Config that Default has not made = %v, want %q in it", err, want)
		}
	}
}

// TestProgram starts the program with mistakes: each is one line, and the exit
// code says which kind it is.
func TestProgram(t *testing.T) {
	taken := listen(t)
	defer taken.Close()
	busy, key := taken.Addr().String(), masterKey(t)
	tests := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-master-key-file=" + key, "-tls-cert=/no/cert", "-tls-key=/no/key", "-ops="}, 1, "portal: read TLS files: stat /no/cert: no such file or directory\n"},
		{[]string{"-master-key-file=" + key, "-plaintext", "-ops=", "-grpc=", "-listen=" + busy}, 1, "portal: -listen: " + busy + " is taken by another program; give another\n"},
		{[]string{"-master-key-file=" + key, "-plaintext", "-ops=", "-grpc=" + busy, "-listen=127.0.0.1:0"}, 1, "portal: -grpc: " + busy + " is taken by another program; give another\n"},
		{[]string{"-plaintext", "-master-key-file=k", "-unheard-of", "-drain=x"}, 2, "portal: unknown flag -unheard-of\nportal: -drain: invalid value \"x\": want a duration with its unit, such as 300ms, 10s, 5m or 24h\n"},
		{[]string{"-drain=x", "-listen=x", "-plaintext"}, 2, "portal: -drain: invalid value \"x\": want a duration with its unit, such as 300ms, 10s, 5m or 24h\nportal: -listen: \"x\" is not host:port\nportal: -master-key-file: a file is needed\n"},
		{[]string{"-listen=x"}, 2, "portal: -listen: \"x\" is not host:port\nportal: -tls-cert and -tls-key are needed, or -plaintext behind a proxy that adds TLS\nportal: -master-key-file: a file is needed\n"},
	}
	for _, tt := range tests {
		cfg := portal.Default()
		var out strings.Builder
		code := run.Exec(t.Context(), run.Program{Name: "portal", Args: append(tt.args, "-log-level=error"), Stdout: io.Discard, Stderr: &out},
			func(fs *flag.FlagSet) { cfg.Flags(fs, "") }, cfg.Check,
			func(ctx context.Context, log *slog.Logger) error { return portal.Run(ctx, cfg, log) })
		if code != tt.code || out.String() != tt.want {
			t.Errorf("portal %v = %d %q, want %d %q", tt.args, code, out.String(), tt.code, tt.want)
		}
	}
}

// TestFirstPage leads those who have not signed in to where they can.
func TestFirstPage(t *testing.T) {
	s := start(t)
	if got := s.do(t, "GET", "/", ""); got.status != 303 || got.header.Get("Location") != "/signin" {
		t.Errorf("GET / = %d, %v, want /signin", got.status, got.header)
	}
	if got := s.do(t, "GET", "/signin", ""); got.status != 200 || !strings.Contains(got.body, `href="/docs"`) {
		t.Errorf("GET /signin = %d %s, want a page that leads to /docs", got.status, got.body)
	}
}

// TestHeaders shows what every answer carries.
func TestHeaders(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/v1/apis", "/v1/nothing", "/openapi.json", "/oauth2/token", "/oauth2/jwks", "/nothing"} {
		got := s.do(t, "GET", path, "", "Origin", "https://example.com")
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Content-Security-Policy":      "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
			"Access-Control-Allow-Origin":  "", "Strict-Transport-Security": "",
		} {
			if have := got.header.Get(name); have != want {
				t.Errorf("GET %s: %s = %q, want %q", path, name, have, want)
			}
		}
		if got.proto != "HTTP/2.0" {
			t.Errorf("GET %s came by %s, want HTTP/2.0", path, got.proto)
		}
	}
}

// TestReady follows the services that the portal cannot do without.
func TestReady(t *testing.T) {
	s := start(t)
	ops := "http://" + s.config.Ops.Listener.Addr().String()
	s.getOps(t, ops+"/healthz", 200)
	s.on(catalogv1.CatalogService_ListApis_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return &catalogv1.ListApisResponse{}, nil
	})
	s.do(t, "GET", "/v1/apis", "")
	if body := s.getOps(t, ops+"/readyz", 200); body != "ok\n" {
		t.Errorf("readyz = %q, want ok", body)
	}
	metrics := s.getOps(t, ops+"/metrics", 200)
	if !strings.Contains(metrics, `tidegate_portal_requests_total{code="200",method="get",part="rest"} 1`) {
		t.Error("metrics do not count the request")
	}
	away := start(t, func(cfg *portal.Config) {
		cfg.Subscription = nowhere(t)
	})
	away.do(t, "GET", "/v1/apis", "")
	body := away.getOps(t, "http://"+away.config.Ops.Listener.Addr().String()+"/readyz", 503)
	if body != "not ready: the subscription service is not connected\n" {
		t.Errorf("readyz = %q, want that the subscription service is missing", body)
	}
}

func (s *site) getOps(t *testing.T, url string, want int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Errorf("GET %s = %d %s, %v, want %d", url, resp.StatusCode, body, err, want)
	}
	return string(body)
}

// TestCertificateChanges serves the new certificate as soon as it is there.
func TestCertificateChanges(t *testing.T) {
	s := start(t)
	name := func() string {
		t.Helper()
		conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: s.pool}}).DialContext(t.Context(), "tcp", s.config.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		secure, ok := conn.(*tls.Conn)
		if !ok {
			t.Fatal("the connection is not TLS")
		}
		return secure.ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	if got := name(); got != "portal" {
		t.Fatalf("the certificate's name = %q, want portal", got)
	}
	s.ca.IssueTo(t, certs.Files{Cert: s.config.TLSCert, Key: s.config.TLSKey}, "renewed", "localhost")
	later := time.Now().Add(time.Minute)
	for _, file := range []string{s.config.TLSCert, s.config.TLSKey} {
		if err := os.Chtimes(file, later, later); err != nil {
			t.Fatal(err)
		}
	}
	if got := name(); got != "renewed" {
		t.Errorf("the certificate's name = %q after the change, want renewed", got)
	}
	if err := os.WriteFile(s.config.TLSCert, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := name(); got != "renewed" {
		t.Errorf("the certificate's name = %q with a damaged file, want renewed", got)
	}
}

// TestPlaintext serves without TLS where it was told to.
func TestPlaintext(t *testing.T) {
	s := start(t, func(cfg *portal.Config) { cfg.TLSCert, cfg.TLSKey, cfg.Plaintext = "", "", true })
	s.url = strings.Replace(s.url, "https", "http", 1)
	if got := s.do(t, "GET", "/openapi.json", ""); got.status != 200 || got.proto != "HTTP/1.1" {
		t.Errorf("GET /openapi.json = %d by %s, want 200 by HTTP/1.1", got.status, got.proto)
	}
}

// TestDrain lets requests that run come to their end, by both doors.
func TestDrain(t *testing.T) {
	s := start(t)
	reached, release := make(chan struct{}, 2), make(chan struct{})
	s.on(identityv1.UserService_GetUser_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		reached <- struct{}{}
		<-release
		return &identityv1.User{Name: "users/p"}, nil
	})
	conn := s.dial(t)
	called, asked, stopped := make(chan error, 1), make(chan answer, 1), make(chan error, 1)
	go func() {
		_, err := identityv1.NewUserServiceClient(conn).GetUser(t.Context(), &identityv1.GetUserRequest{Name: "users/me"})
		called <- err
	}()
	go func() { asked <- s.do(t, "GET", "/v1/users/me", "") }()
	<-reached
	<-reached
	go func() { stopped <- s.stop() }()
	for { // both doors close before the requests end
		conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: s.pool}}).DialContext(t.Context(), "tcp", s.config.Listener.Addr().String())
		if err != nil {
			break
		}
		conn.Close()
	}
	close(release)
	if err := <-called; err != nil {
		t.Errorf("GetUser = %v, want its answer", err)
	}
	if got := <-asked; got.status != 200 {
		t.Errorf("GET /v1/users/me = %d %s, want its answer", got.status, got.body)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

// TestDrainEnds cuts requests off that take longer than the drain time.
func TestDrainEnds(t *testing.T) {
	s := start(t, func(cfg *portal.Config) { cfg.Drain = time.Millisecond })
	reached := make(chan struct{}, 2)
	s.on(identityv1.UserService_GetUser_FullMethodName, func(ctx context.Context, _ proto.Message) (proto.Message, error) {
		reached <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	conn := s.dial(t)
	called, asked := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := identityv1.NewUserServiceClient(conn).GetUser(t.Context(), &identityv1.GetUserRequest{Name: "users/me"})
		called <- err
	}()
	go func() {
		resp, err := s.client.Get(s.url + "/v1/users/me")
		if err == nil {
			resp.Body.Close()
		}
		asked <- err
	}()
	<-reached
	<-reached
	if err := s.stop(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if err := <-called; status.Code(err) != codes.Unavailable && status.Code(err) != codes.Canceled {
		t.Errorf("GetUser = %v, want that it was cut off", err)
	}
	if err := <-asked; err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("GET = %v, want that it was cut off", err)
	}
}
