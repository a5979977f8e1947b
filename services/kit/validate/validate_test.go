package validate_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/validate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// routes accepts every request.
type routes struct {
	backplanev1.UnimplementedRouteServiceServer
}

func (routes) GetRoute(context.Context, *backplanev1.GetRouteRequest) (*backplanev1.Route, error) {
	return &backplanev1.Route{}, nil
}

func (routes) WatchRoutes(stream backplanev1.RouteService_WatchRoutesServer) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

func serve(t *testing.T) backplanev1.RouteServiceClient {
	t.Helper()
	lis := memnet.Listen("catalog")
	rule := identity.Rule{Services: []string{identity.Gateway}}
	cfg := grpcserver.Default("", "")
	cfg.InternalListener = lis
	srv := grpcserver.New(cfg, slog.New(slog.DiscardHandler), grpcserver.Auth{Rules: identity.Rules{
		backplanev1.RouteService_GetRoute_FullMethodName:    rule,
		backplanev1.RouteService_FetchPlan_FullMethodName:   rule,
		backplanev1.RouteService_WatchRoutes_FullMethodName: rule,
	}}, validate.Option())
	backplanev1.RegisterRouteServiceServer(srv.Internal(), routes{})
	conn, err := lis.Dial(identity.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() {
		conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return backplanev1.NewRouteServiceClient(conn)
}

// violation checks that err names one field of a request.
func violation(t *testing.T, err error, field string) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != codes.InvalidArgument || !strings.HasPrefix(s.Message(), field+": ") {
		t.Errorf("error = %v, want INVALID_ARGUMENT of %s", err, field)
		return
	}
	bad, ok := s.Details()[0].(*errdetails.BadRequest)
	if !ok || bad.GetFieldViolations()[0].GetField() != field || bad.GetFieldViolations()[0].GetDescription() == "" {
		t.Errorf("details = %v, want a violation of %s", s.Details(), field)
	}
}

func TestCallsAreChecked(t *testing.T) {
	c := serve(t)
	_, err := c.GetRoute(t.Context(), &backplanev1.GetRouteRequest{Name: "x"})
	violation(t, err, "name")
	if got, want := status.Convert(err).Message(), "name: must be apis/{api}/versions/{version}"; got != want {
		t.Errorf("a bad name = %q, want %q", got, want)
	}
	if _, err := c.GetRoute(t.Context(), &backplanev1.GetRouteRequest{Name: "apis/a/versions/b"}); err != nil {
		t.Errorf("a good call: %v", err)
	}
}

func TestStreamsAreChecked(t *testing.T) {
	c := serve(t)
	stream, err := c.WatchRoutes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good := &backplanev1.Hello{Instance: "g", Kind: "gateway"}
	bad := &backplanev1.Hello{Instance: "g", Kind: "gateway", Features: []string{"x", ""}}
	for _, h := range []*backplanev1.Hello{good, bad} {
		if err := stream.Send(&backplanev1.WatchRoutesRequest{Body: &backplanev1.WatchRoutesRequest_Hello{Hello: h}}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = stream.Recv()
	violation(t, err, "hello.features[1]")
}

func TestMessage(t *testing.T) {
	err := validate.Message(&backplanev1.Hello{Instance: "G", Kind: "x"})
	if !fault.Is(err, codes.InvalidArgument) || !strings.Contains(err.Error(), "instance: ") || !strings.Contains(err.Error(), "; kind: ") {
		t.Errorf("Message = %v, want violations of instance and kind", err)
	}
	if err := validate.Message(&backplanev1.Hello{Instance: "g", Kind: "gateway"}); err != nil {
		t.Errorf("Message = %v, want nil", err)
	}
}

// TestViolationsAreBounded sends a request with many violations.
func TestViolationsAreBounded(t *testing.T) {
	for name, wrong := range map[string]string{"rules": "", "NUL": "a\x00"} {
		features := make([]string, 200)
		for i := range features {
			features[i] = wrong
		}
		err := validate.Message(&backplanev1.Hello{Instance: "g", Kind: "gateway", Features: features})
		if n := strings.Count(err.Error(), ";") + 1; n != 20 || !fault.Is(err, codes.InvalidArgument) {
			t.Errorf("%s: %d violations of 200 reported, want 20: %v", name, n, err)
		}
	}
}
