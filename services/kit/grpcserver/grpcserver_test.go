package grpcserver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	reflectiongrpc "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// routes answers with the caller's service as name.
type routes struct {
	backplanev1.UnimplementedRouteServiceServer
	hold chan struct{} // where it is not nil, a call waits for it
	held chan struct{}
}

func (r *routes) GetRoute(ctx context.Context, req *backplanev1.GetRouteRequest) (*backplanev1.Route, error) {
	if req.GetName() == "panic" {
		panic("secret")
	}
	if r.hold != nil {
		close(r.held)
		<-r.hold
	}
	return &backplanev1.Route{Name: identity.From(ctx).Service}, nil
}

var auth = grpcserver.Auth{Rules: identity.Rules{
	backplanev1.RouteService_GetRoute_FullMethodName:    {Open: true},
	backplanev1.RouteService_FetchPlan_FullMethodName:   {Open: true},
	backplanev1.RouteService_WatchRoutes_FullMethodName: {Services: []string{identity.Gateway}},
}}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// on returns the configuration of a server on listeners, either of which may be
// nil.
func on(users, internal net.Listener) grpcserver.Config {
	cfg := grpcserver.Default("", "")
	cfg.Listener, cfg.InternalListener = users, internal
	return cfg
}

// start runs a server with routes on both faces; stop ends it and returns what
// Run returned.
func start(t *testing.T, cfg grpcserver.Config, r *routes, opts ...grpcserver.Option) (stop func() error) {
	t.Helper()
	srv := grpcserver.New(cfg, quiet(), auth, opts...)
	backplanev1.RegisterRouteServiceServer(srv.Public(), r)
	backplanev1.RegisterRouteServiceServer(srv.Internal(), r)
	return run(t, srv)
}

// run runs a server; stop ends it and returns what Run returned.
func run(t *testing.T, srv *grpcserver.Server) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	return stop
}

// startTCP runs a server with routes on ports of its own choice and returns the
// addresses of its faces.
func startTCP(t *testing.T, cfg grpcserver.Config) (users, services string) {
	t.Helper()
	cfg.Addr, cfg.InternalAddr = "127.0.0.1:0", "127.0.0.1:0"
	log := &served{addrs: make(chan [2]string, 2)}
	srv := grpcserver.New(cfg, slog.New(log), auth)
	backplanev1.RegisterRouteServiceServer(srv.Public(), &routes{})
	backplanev1.RegisterRouteServiceServer(srv.Internal(), &routes{})
	run(t, srv)
	addrs := map[string]string{}
	for range 2 {
		a := <-log.addrs
		addrs[a[0]] = a[1]
	}
	return addrs["users"], addrs["services"]
}

// served is a log that hears which addresses are served.
type served struct {
	slog.Handler
	addrs chan [2]string // for whom, and where
}

// Enabled admits what is said when a server starts.
func (s *served) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle takes one record.
func (s *served) Handle(_ context.Context, r slog.Record) error {
	attrs := map[string]string{}
	r.Attrs(func(a slog.Attr) bool {
		attrs[a.Key] = a.Value.String()
		return true
	})
	if r.Message == "gRPC served" {
		s.addrs <- [2]string{attrs["for"], attrs["address"]}
	}
	return nil
}

func dial(t *testing.T, cfg grpcclient.Config) *grpc.ClientConn {
	t.Helper()
	conn, err := cfg.Dial()
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// memory returns a listener and a connection to it.
func memory(t *testing.T, caller string) (*memnet.Listener, *grpc.ClientConn) {
	t.Helper()
	lis := memnet.Listen("test")
	conn, err := lis.Dial(caller)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return lis, conn
}

// who asks the server which service it sees.
func who(t *testing.T, conn *grpc.ClientConn) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := backplanev1.NewRouteServiceClient(conn).GetRoute(ctx, &backplanev1.GetRouteRequest{}, grpc.WaitForReady(true))
	return r.GetName(), err
}

func TestCallersOverTLS(t *testing.T) {
	ca, other := certtest.NewCA(t), certtest.NewCA(t)
	own := ca.Issue(t, "catalog", "localhost")
	cfg := grpcserver.Default("", "")
	cfg.TLSCert, cfg.TLSKey, cfg.TLSClientCA = own.Cert, own.Key, ca.File
	front, back := startTCP(t, cfg)
	gateway, nameless, stranger := ca.Issue(t, "gateway", "catalog"), ca.Issue(t), other.Issue(t, "gateway")
	users := grpcclient.Default("catalog", front)
	users.CA = ca.File
	if got, err := who(t, dial(t, users)); got != "" || err != nil {
		t.Errorf("on the users' face: %q, %v, want no service", got, err)
	}
	users.Cert, users.Key = gateway.Cert, gateway.Key
	if got, err := who(t, dial(t, users)); got != "" || err != nil {
		t.Errorf("on the users' face with a certificate: %q, %v, want no service", got, err)
	}
	for _, tt := range []struct {
		name, cert, key string
		want            string
		code            codes.Code
	}{
		{"gateway", gateway.Cert, gateway.Key, "gateway", codes.OK},
		{"a certificate without a name", nameless.Cert, nameless.Key, "", codes.OK},
		{"another authority", stranger.Cert, stranger.Key, "", codes.Unavailable},
		{"no certificate", "", "", "", codes.Unavailable},
	} {
		service := grpcclient.Default("catalog", back)
		service.CA, service.Cert, service.Key = ca.File, tt.cert, tt.key
		conn := dial(t, service)
		got, err := backplanev1.NewRouteServiceClient(conn).GetRoute(t.Context(), &backplanev1.GetRouteRequest{})
		if got.GetName() != tt.want || status.Code(err) != tt.code {
			t.Errorf("%s: %q, %v, want %q, %v", tt.name, got.GetName(), err, tt.want, tt.code)
		}
	}
	plain := dial(t, grpcclient.Default("catalog", back))
	if _, err := backplanev1.NewRouteServiceClient(plain).GetRoute(t.Context(), &backplanev1.GetRouteRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("plaintext on a TLS face: %v, want UNAVAILABLE", err)
	}
}

func TestCallersInPlaintext(t *testing.T) {
	front, back := startTCP(t, grpcserver.Default("", ""))
	if got, err := who(t, dial(t, grpcclient.Default("catalog", front))); got != "" || err != nil {
		t.Errorf("users' face: %q, %v, want no service", got, err)
	}
	if got, err := who(t, dial(t, grpcclient.Default("catalog", back))); got != identity.AnyService || err != nil {
		t.Errorf("services' face: %q, %v, want %q", got, err, identity.AnyService)
	}
}

func TestCallersInMemory(t *testing.T) {
	users, user := memory(t, "gateway")
	internal, service := memory(t, "gateway")
	start(t, on(users, internal), &routes{})
	if got, err := who(t, user); got != "" || err != nil {
		t.Errorf("users' face: %q, %v, want no service", got, err)
	}
	if got, err := who(t, service); got != "gateway" || err != nil {
		t.Errorf("services' face: %q, %v, want gateway", got, err)
	}
	stream, err := backplanev1.NewRouteServiceClient(user).WatchRoutes(t.Context())
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a service's method on the users' face: %v, want PERMISSION_DENIED", err)
	}
}

func TestPanicAndSize(t *testing.T) {
	lis, conn := memory(t, "gateway")
	start(t, on(nil, lis), &routes{})
	c := backplanev1.NewRouteServiceClient(conn)
	if _, err := c.GetRoute(t.Context(), &backplanev1.GetRouteRequest{Name: "panic"}); status.Code(err) != codes.Internal || strings.Contains(err.Error(), "secret") {
		t.Errorf("a call that panics: %v, want INTERNAL without the cause", err)
	}
	if _, err := c.GetRoute(t.Context(), &backplanev1.GetRouteRequest{Name: strings.Repeat("x", memnet.MaxMessage)}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message above the bound: %v, want RESOURCE_EXHAUSTED", err)
	}
	if got, err := who(t, conn); got != "gateway" || err != nil {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}

func TestRunRefusesMethodsWithoutARule(t *testing.T) {
	lis, _ := memory(t, "")
	srv := grpcserver.New(on(lis, nil), quiet(), grpcserver.Auth{})
	backplanev1.RegisterRouteServiceServer(srv.Public(), &routes{})
	err := srv.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), backplanev1.RouteService_FetchPlan_FullMethodName+", "+backplanev1.RouteService_GetRoute_FullMethodName+", "+backplanev1.RouteService_WatchRoutes_FullMethodName) {
		t.Errorf("Run = %v, want the methods without a rule", err)
	}
}

func TestRunReportsATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, cfg := range []grpcserver.Config{
		grpcserver.Default(taken.Addr().String(), ""),
		grpcserver.Default("127.0.0.1:0", taken.Addr().String()),
	} {
		err := grpcserver.New(cfg, quiet(), grpcserver.Auth{}).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "is taken by another program") {
			t.Errorf("Run(%+v) = %v, want is taken by another program", cfg, err)
		}
	}
}

func TestRunReportsBadFiles(t *testing.T) {
	cfg := grpcserver.Default("127.0.0.1:0", "")
	cfg.TLSCert, cfg.TLSKey = "/nowhere", "/nowhere"
	err := grpcserver.New(cfg, quiet(), grpcserver.Auth{}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("Run = %v, want the name of the file", err)
	}
}

// TestHealth asks for the server, for each service that is registered, and for one that
// is not; nothing of it is logged.
func TestHealth(t *testing.T) {
	var buf bytes.Buffer
	log := slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}))
	lis, conn := memory(t, "")
	srv := grpcserver.New(on(lis, nil), log, auth)
	backplanev1.RegisterRouteServiceServer(srv.Public(), &routes{})
	stop := run(t, srv)
	client := healthgrpc.NewHealthClient(conn)
	for _, name := range []string{"", "tidegate.backplane.v1.RouteService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} {
		h, err := client.Check(t.Context(), &healthgrpc.HealthCheckRequest{Service: name})
		if err != nil || h.GetStatus() != healthgrpc.HealthCheckResponse_SERVING {
			t.Errorf("health of %q = %v, %v, want SERVING", name, h, err)
		}
	}
	for _, name := range []string{"tidegate.catalog.v1.CatalogService", "RouteService", "tidegate.backplane.v1.RouteService/GetRoute"} {
		if _, err := client.Check(t.Context(), &healthgrpc.HealthCheckRequest{Service: name}); status.Code(err) != codes.NotFound {
			t.Errorf("health of %q: %v, want NOT_FOUND", name, err)
		}
		w, err := client.Watch(t.Context(), &healthgrpc.HealthCheckRequest{Service: name})
		if err != nil {
			t.Fatal(err)
		}
		if h, err := w.Recv(); err != nil || h.GetStatus() != healthgrpc.HealthCheckResponse_SERVICE_UNKNOWN {
			t.Errorf("watch of %q = %v, %v, want SERVICE_UNKNOWN", name, h, err)
		}
	}
	all, err := client.List(t.Context(), &healthgrpc.HealthListRequest{})
	if got := all.GetStatuses()["tidegate.backplane.v1.RouteService"]; err != nil || got.GetStatus() != healthgrpc.HealthCheckResponse_SERVING || len(all.GetStatuses()) != 5 {
		t.Errorf("list = %v, %v, want all SERVING: the server, two reflections, health and routes", all, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(buf.String(), "health") || strings.Contains(buf.String(), "call") {
		t.Errorf("log = %s, want no line for a probe", buf.String())
	}
}

func TestReflection(t *testing.T) {
	lis, conn := memory(t, "")
	start(t, on(lis, nil), &routes{})
	stream, err := reflectiongrpc.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&reflectiongrpc.ServerReflectionRequest{MessageRequest: &reflectiongrpc.ServerReflectionRequest_ListServices{}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := stream.Recv()
	var names []string
	for _, s := range r.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	if err != nil || !strings.Contains(strings.Join(names, " "), "tidegate.backplane.v1.RouteService") {
		t.Errorf("reflection = %q, %v, want the route service", names, err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("end of reflection = %v", err)
	}
}

func TestMetricsAreShared(t *testing.T) {
	reg := prometheus.NewRegistry()
	for range 2 {
		lis, conn := memory(t, "gateway")
		start(t, on(nil, lis), &routes{}, grpcserver.WithMetrics(reg))
		if _, err := who(t, conn); err != nil {
			t.Fatal(err)
		}
	}
	want := `
		# HELP grpc_server_started_total Total number of RPCs started on the server.
		# TYPE grpc_server_started_total counter
		grpc_server_started_total{grpc_method="GetRoute",grpc_service="tidegate.backplane.v1.RouteService",grpc_type="unary"} 2
	`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "grpc_server_started_total"); err != nil {
		t.Error(err)
	}
}

func TestCallsAreLogged(t *testing.T) {
	var buf bytes.Buffer
	log := slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}))
	lis, conn := memory(t, "gateway")
	srv := grpcserver.New(on(nil, lis), log, auth)
	backplanev1.RegisterRouteServiceServer(srv.Internal(), &routes{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()
	if _, err := who(t, conn); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"level=DEBUG", "msg=call", "method=" + backplanev1.RouteService_GetRoute_FullMethodName, "code=OK", "peer=memnet:gateway>test"} {
		if !strings.Contains(buf.String(), want) {
			t.Errorf("log = %q, want %q in it", buf.String(), want)
		}
	}
}

// A method that is not served is refused with a reason, on both faces, also when it has
// a rule because the other face serves it.
func TestNoMethod(t *testing.T) {
	lis, conn := memory(t, "")
	srv := grpcserver.New(on(lis, nil), quiet(), auth)
	backplanev1.RegisterRouteServiceServer(srv.Internal(), &routes{})
	run(t, srv)
	for _, method := range []string{"/a.B/Other", backplanev1.RouteService_GetRoute_FullMethodName} {
		err := conn.Invoke(t.Context(), method, &backplanev1.GetRouteRequest{}, &backplanev1.Route{})
		if want := `there is no method "` + method + `" here`; status.Convert(err).Message() != want || fault.Reason(err) != "UNIMPLEMENTED" {
			t.Errorf("%s: %v with reason %q, want %q and UNIMPLEMENTED", method, err, fault.Reason(err), want)
		}
	}
}

// A handler of unknown services forwards only methods that have a rule.
func TestUnknownServices(t *testing.T) {
	lis, conn := memory(t, "")
	forwarded := auth
	forwarded.Rules = identity.Rules{"/a.B/Known": {Open: true}}
	srv := grpcserver.New(on(lis, nil), quiet(), forwarded, grpcserver.WithReflected(grpc.NewServer()), grpcserver.WithUsersOptions(
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return status.Error(codes.DataLoss, "x") })))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()
	for method, want := range map[string]codes.Code{"/a.B/Known": codes.Internal, "/a.B/Other": codes.Unimplemented} {
		err := conn.Invoke(t.Context(), method, &backplanev1.GetRouteRequest{}, &backplanev1.Route{})
		if status.Code(err) != want || fault.Reason(err) == "" {
			t.Errorf("%s: %v with reason %q, want %v and a reason", method, err, fault.Reason(err), want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
}
