package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// checker is a server whose gateways check endpoints.
type checker struct {
	catalogv1.UnimplementedCatalogServiceServer
	gatewayv1.UnimplementedEndpointServiceServer
	asked     *gatewayv1.CheckEndpointRequest
	answer    *gatewayv1.CheckEndpointResponse
	described string // the version
	known     *gatewayv1.DescribeEndpointsResponse
}

func (c *checker) GetVersion(_ context.Context, req *catalogv1.GetVersionRequest) (*catalogv1.Version, error) {
	return &catalogv1.Version{Name: req.GetName()}, nil
}

func (c *checker) CheckEndpoint(_ context.Context, req *gatewayv1.CheckEndpointRequest) (*gatewayv1.CheckEndpointResponse, error) {
	c.asked = req
	return c.answer, nil
}

func (c *checker) DescribeEndpoints(_ context.Context, req *gatewayv1.DescribeEndpointsRequest) (*gatewayv1.DescribeEndpointsResponse, error) {
	c.described = req.GetVersion()
	return c.known, nil
}

// TestEndpoints prints what each gateway knows, and names those that do not answer.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	at := timestamppb.New(time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC))
	s := &checker{known: &gatewayv1.DescribeEndpointsResponse{
		Endpoints: []*gatewayv1.EndpointStatus{
			{Gateway: "gateways/g1", Stage: catalogv1.Stage_STAGE_PRODUCTION, Url: "ws://a.example", State: gatewayv1.EndpointStatus_STATE_HEALTHY, Connections: 7},
			{Gateway: "gateways/g1", Stage: catalogv1.Stage_STAGE_SANDBOX, Url: "ws://b.example", State: gatewayv1.EndpointStatus_STATE_ON_TRIAL, SinceTime: at},
			{Gateway: "gateways/g1", Stage: catalogv1.Stage_STAGE_PRODUCTION, Url: "http://c.example", State: gatewayv1.EndpointStatus_STATE_HEALTHY, Connections: 2, Http: true},
			{Gateway: "gateways/g2", Stage: catalogv1.Stage_STAGE_PRODUCTION, Url: "ws://a.example", State: gatewayv1.EndpointStatus_STATE_SUSPENDED,
				SinceTime: at, SuspendedUntilTime: at, LastFailure: "nothing listens", LastFailureTime: at},
		},
		Unreachable: []string{"gateways/g9"},
	}}
	c := newFakeServer(t, func(srv *grpc.Server) {
		catalogv1.RegisterCatalogServiceServer(srv, s)
		gatewayv1.RegisterEndpointServiceServer(srv, s)
	}).signIn(t)
	stdout, stderr, code := c.run(t, "api", "endpoints", "apis/a/versions/1")
	want := "GATEWAY FOR STAGE ENDPOINT STATE SINCE UNTIL CONNECTIONS LAST FAILURE " +
		"g1 socket production ws://a.example healthy - - 7 - " +
		"g1 socket sandbox ws://b.example on trial " + when(at) + " - 0 - " +
		"g1 HTTP production http://c.example healthy - - 2 - " +
		"g2 socket production ws://a.example suspended " + when(at) + " " + when(at) + " 0 " + when(at) + ": nothing listens"
	if got := strings.Join(strings.Fields(stdout), " "); got != want || code != 0 || s.described != "apis/a/versions/1" {
		t.Errorf("api endpoints = %q, %d, want %q of %s", got, code, want, s.described)
	}
	if !strings.Contains(stderr, "gateways/g9 cannot be reached, what it knows of the endpoints is not shown") {
		t.Errorf("stderr = %q, want the gateway that is away", stderr)
	}
	stdout, _, code = c.run(t, "api", "endpoints", "apis/a/versions/1", "-o", "json")
	if code != 0 || !strings.Contains(stdout, `"lastFailure": "nothing listens"`) || !strings.Contains(stdout, `"gateways/g9"`) {
		t.Errorf("as JSON: %d\n%s", code, stdout)
	}
}

// TestCheckHTTPEndpoint has endpoints for plain requests checked.
func TestCheckHTTPEndpoint(t *testing.T) {
	t.Parallel()
	s := &checker{answer: &gatewayv1.CheckEndpointResponse{Checks: []*gatewayv1.EndpointCheck{{
		Gateway: "gateways/g1", Url: "http://backend.example", Step: gatewayv1.EndpointCheck_STEP_REQUEST, Status: 503, Error: "busy", Elapsed: durationpb.New(time.Millisecond),
	}}}}
	c := newFakeServer(t, func(srv *grpc.Server) {
		catalogv1.RegisterCatalogServiceServer(srv, s)
		gatewayv1.RegisterEndpointServiceServer(srv, s)
	}).signIn(t)
	stdout, _, code := c.run(t, "api", "version", "check", "apis/a/versions/1", "--http")
	if code != 1 || !strings.Contains(strings.Join(strings.Fields(stdout), " "), "g1 http://backend.example request 503 - 1ms busy") || !s.asked.GetHttp() || s.asked.GetStage() != catalogv1.Stage_STAGE_PRODUCTION {
		t.Errorf("api version check --http = %q, %d, asked %v", stdout, code, s.asked)
	}
	_, stderr, code := c.run(t, "api", "version", "check", "apis/a/versions/1", "--http", "--subprotocol", "chat")
	if code != 2 || !strings.Contains(stderr, "--subprotocol: is only for the socket: leave it or --http away") {
		t.Errorf("with both: %q, %d", stderr, code)
	}
}

// TestCheckEndpoint prints what each gateway found, and fails unless all of them reach the
// endpoint.
func TestCheckEndpoint(t *testing.T) {
	t.Parallel()
	s := &checker{}
	c := newFakeServer(t, func(srv *grpc.Server) {
		catalogv1.RegisterCatalogServiceServer(srv, s)
		gatewayv1.RegisterEndpointServiceServer(srv, s)
	}).signIn(t)
	done := &gatewayv1.EndpointCheck{
		Gateway: "gateways/g1", Url: "ws://backend.example", Step: gatewayv1.EndpointCheck_STEP_DONE, Status: 101, Subprotocol: "chat", Elapsed: durationpb.New(12340 * time.Microsecond),
	}
	refused := &gatewayv1.EndpointCheck{
		Gateway: "gateways/g2", Url: "ws://backend.example", Step: gatewayv1.EndpointCheck_STEP_CONNECT, Error: "nothing listens", Elapsed: durationpb.New(time.Millisecond),
	}
	for _, tt := range []struct {
		answer *gatewayv1.CheckEndpointResponse
		code   int
		rows   string
		stderr string
	}{
		{&gatewayv1.CheckEndpointResponse{Checks: []*gatewayv1.EndpointCheck{done}}, 0, "g1 ws://backend.example done 101 chat 12.3ms -", ""},
		{&gatewayv1.CheckEndpointResponse{Checks: []*gatewayv1.EndpointCheck{done, refused}}, 1, "g1 ws://backend.example done 101 chat 12.3ms - g2 ws://backend.example connect - - 1ms nothing listens", ""},
		{&gatewayv1.CheckEndpointResponse{Checks: []*gatewayv1.EndpointCheck{done}, Unreachable: []string{"gateways/g9"}}, 1, "g1 ws://backend.example done 101 chat 12.3ms -", "gateways/g9 cannot be reached, what it reaches is not known"},
		{&gatewayv1.CheckEndpointResponse{}, 1, "", ""},
	} {
		s.answer = tt.answer
		stdout, stderr, code := c.run(t, "api", "version", "check", "apis/a/versions/1", "--sandbox", "--subprotocol", "chat", "--subprotocol", "v2")
		want := strings.TrimSpace("GATEWAY ENDPOINT STEP STATUS SUB-PROTOCOL TOOK ERROR " + tt.rows)
		if got := strings.Join(strings.Fields(stdout), " "); code != tt.code || got != want || !strings.Contains(stderr, tt.stderr) || (stderr != "") != (tt.stderr != "") {
			t.Errorf("api version check = %q, %q, %d, want %q, %q, %d", got, stderr, code, want, tt.stderr, tt.code)
		}
		if s.asked.GetVersion() != "apis/a/versions/1" || s.asked.GetStage() != catalogv1.Stage_STAGE_SANDBOX || strings.Join(s.asked.GetSubprotocols(), " ") != "chat v2" {
			t.Errorf("the server was asked %v", s.asked)
		}
	}
}
