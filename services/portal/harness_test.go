package portal_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/portal"
	"github.com/tidegatehq/tidegate/services/portal/openapitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call is a call that a service behind the portal has got.
type call struct {
	method   string
	request  proto.Message
	metadata metadata.MD
	deadline time.Time
}

// reply answers calls of one method.
type reply func(ctx context.Context, req proto.Message) (proto.Message, error)

// backend stands for all services behind the portal: it records every call and
// gives the answer that the test has set; without one it is UNIMPLEMENTED.
type backend struct {
	mu      sync.Mutex
	calls   []call
	replies map[string]reply
}

// on sets the answer to a method.
func (b *backend) on(method string, r reply) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replies[method] = r
}

// gateways sets the gateways that the catalog knows.
func (b *backend) gateways(all ...*changev1.Watcher) {
	b.on(backplanev1.DirectoryService_ListGateways_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return &backplanev1.ListGatewaysResponse{Gateways: all}, nil
	})
}

// last returns the newest call and how many there were.
func (b *backend) last() (call, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.calls) == 0 {
		return call{}, 0
	}
	return b.calls[len(b.calls)-1], len(b.calls)
}

func (b *backend) answer(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	deadline, _ := ctx.Deadline()
	message, _ := req.(proto.Message)
	b.mu.Lock()
	b.calls = append(b.calls, call{method: info.FullMethod, request: message, metadata: md, deadline: deadline})
	r := b.replies[info.FullMethod]
	b.mu.Unlock()
	if r == nil {
		return next(ctx, req)
	}
	return r(ctx, message)
}

// serve starts a gRPC server for the backend and returns a connection to it.
func (b *backend) serve(t *testing.T) *grpc.ClientConn {
	t.Helper()
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(fault.UnaryInterceptor(slog.New(slog.DiscardHandler), nil), b.answer))
	catalogv1.RegisterCatalogServiceServer(srv, catalogv1.UnimplementedCatalogServiceServer{})
	catalogv1.RegisterDenyRuleServiceServer(srv, catalogv1.UnimplementedDenyRuleServiceServer{})
	backplanev1.RegisterRouteServiceServer(srv, backplanev1.UnimplementedRouteServiceServer{})
	backplanev1.RegisterDirectoryServiceServer(srv, backplanev1.UnimplementedDirectoryServiceServer{})
	identityv1.RegisterSignInServiceServer(srv, identityv1.UnimplementedSignInServiceServer{})
	identityv1.RegisterUserServiceServer(srv, identityv1.UnimplementedUserServiceServer{})
	identityv1.RegisterSecurityEventServiceServer(srv, identityv1.UnimplementedSecurityEventServiceServer{})
	subscriptionv1.RegisterApplicationServiceServer(srv, subscriptionv1.UnimplementedApplicationServiceServer{})
	subscriptionv1.RegisterAPIKeyServiceServer(srv, subscriptionv1.UnimplementedAPIKeyServiceServer{})
	subscriptionv1.RegisterSubscriptionServiceServer(srv, subscriptionv1.UnimplementedSubscriptionServiceServer{})
	subscriptionv1.RegisterTokenServiceServer(srv, subscriptionv1.UnimplementedTokenServiceServer{})
	subscriptionv1.RegisterRevocationServiceServer(srv, subscriptionv1.UnimplementedRevocationServiceServer{})
	oauth2v1.RegisterOAuth2ServiceServer(srv, oauth2v1.UnimplementedOAuth2ServiceServer{})
	oauth2v1.RegisterSigningKeyServiceServer(srv, oauth2v1.UnimplementedSigningKeyServiceServer{})
	usagev1.RegisterUsageServiceServer(srv, usagev1.UnimplementedUsageServiceServer{})
	usagev1.RegisterQuotaServiceServer(srv, usagev1.UnimplementedQuotaServiceServer{})
	backplanev1.RegisterGrantServiceServer(srv, backplanev1.UnimplementedGrantServiceServer{})
	gatewayv1.RegisterEndpointServiceServer(srv, gatewayv1.UnimplementedEndpointServiceServer{})
	backplanev1.RegisterEndpointCheckServiceServer(srv, backplanev1.UnimplementedEndpointCheckServiceServer{})
	gatewayv1.RegisterSessionServiceServer(srv, gatewayv1.UnimplementedSessionServiceServer{})
	changev1.RegisterChangeServiceServer(srv, changev1.UnimplementedChangeServiceServer{})
	lis := memnet.Listen("services")
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	conn, err := lis.Dial("portal")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		srv.Stop()
		if err := <-served; err != nil {
			t.Errorf("services: %v", err)
		}
	})
	return conn
}

// site is a running portal.
type site struct {
	*backend
	url     string
	grpcURL string
	client  *http.Client
	pool    *x509.CertPool
	ca      *certtest.CA
	config  portal.Config
	log     *lockedLog
	stop    func() error
}

// start runs a portal in front of a backend; change may alter its configuration.
func start(t *testing.T, change ...func(*portal.Config)) *site {
	t.Helper()
	s := &site{backend: &backend{replies: map[string]reply{}}, log: &lockedLog{}, ca: certtest.NewCA(t), pool: x509.NewCertPool()}
	pem, err := os.ReadFile(s.ca.File)
	if err != nil {
		t.Fatal(err)
	}
	s.pool.AppendCertsFromPEM(pem)
	files := s.ca.Issue(t, "portal", "localhost")
	cfg := portal.Default()
	cfg.TLSCert, cfg.TLSKey, cfg.MasterKeyFile = files.Cert, files.Key, masterKey(t)
	cfg.Listener, cfg.GRPCListener, cfg.Ops.Listener = listen(t), listen(t), listen(t)
	conn := s.serve(t)
	cfg.Catalog.Conn, cfg.Subscription.Conn, cfg.Gateways.Conn = conn, conn, conn
	s.gateways(&changev1.Watcher{Instance: "x1", Connected: true})
	for _, c := range change {
		c(&cfg)
	}
	s.config = cfg
	s.url = "https://" + cfg.Listener.Addr().String()
	s.grpcURL = cfg.GRPCListener.Addr().String()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool}, ForceAttemptHTTP2: true}
	s.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	s.run(t)
	t.Cleanup(transport.CloseIdleConnections)
	return s
}

// run runs the portal until the test ends or stop is called.
func (s *site) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	go func() { done <- portal.Run(ctx, s.config, log) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		if err := s.stop(); err != nil {
			t.Errorf("portal: %v", err)
		}
	})
}

// dial connects to the portal's gRPC.
func (s *site) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(s.grpcURL, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: s.pool})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// answer is an HTTP answer that was read.
type answer struct {
	status int
	header http.Header
	body   string
	proto  string
}

// do sends a request, and compares the answer with the OpenAPI document; headers are
// names and values in turn.
func (s *site) do(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = bytes.NewReader([]byte(body))
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if err := openapitest.Answer(req, resp.StatusCode, resp.Header, got); err != nil {
		t.Error(err)
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: string(got), proto: resp.Proto}
}

// lockedLog is a log that is read while it is written.
type lockedLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write writes p.
func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns what was written.
func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// masterKey is a file with a new master key.
func masterKey(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master-key")
	if _, err := seal.Create(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// nowhere is a service that is away. It has a socket that is not there, because a
// port that was given back may be another process's in the next moment.
func nowhere(t *testing.T) grpcclient.Config {
	t.Helper()
	return grpcclient.Default("catalog", "unix:"+filepath.Join(t.TempDir(), "none"))
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return lis
}

// compact is a JSON text without spaces between its parts.
func compact(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(text)); err != nil {
		t.Fatalf("%q is no JSON: %v", text, err)
	}
	return out.String()
}
