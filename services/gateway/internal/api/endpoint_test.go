package api

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
)

// Check implements Backends: it finds what the fixture has, or waits for the end of ctx.
func (f *fixture) Check(ctx context.Context, r *upstream.Request) upstream.Check {
	if f.checking != nil {
		f.checking <- ctx
		<-ctx.Done()
		return f.found
	}
	f.checked = r
	return f.found
}

// CheckHTTP implements Backends, as Check.
func (f *fixture) CheckHTTP(_ context.Context, r *upstream.Request, path string) upstream.Check {
	f.checked, f.asked = r, "GET "+path
	return f.found
}

// TestCheckEndpoint has the version's owner and administrators check endpoints of both
// stages, and nobody else.
func TestCheckEndpoint(t *testing.T) {
	f := newFixture(t)
	f.found = upstream.Check{Step: upstream.Done, Status: 101, Protocol: "chat", Elapsed: time.Second}
	check := func(as grpc.CallOption, version string, stage catalogv1.Stage) (*gatewayv1.CheckEndpointResponse, error) {
		return f.endpoints.CheckEndpoint(t.Context(), &gatewayv1.CheckEndpointRequest{Version: version, Stage: stage, Subprotocols: []string{"chat", "v2"}}, as)
	}
	one := func(c *gatewayv1.EndpointCheck) *gatewayv1.CheckEndpointResponse {
		c.Gateway = "gateways/gateway-1"
		return &gatewayv1.CheckEndpointResponse{Checks: []*gatewayv1.EndpointCheck{c}}
	}
	done := func(stage string) *gatewayv1.CheckEndpointResponse {
		return one(&gatewayv1.EndpointCheck{
			Step: gatewayv1.EndpointCheck_STEP_DONE, Status: 101, Subprotocol: "chat", Elapsed: durationpb.New(time.Second), Url: "ws://" + stage + ".example",
		})
	}
	unknown := one(&gatewayv1.EndpointCheck{
		Step: gatewayv1.EndpointCheck_STEP_UNKNOWN_VERSION, Error: "the gateway does not have the version, or its endpoint, yet: try again in a second",
	})
	for _, tt := range []struct {
		who     string
		as      grpc.CallOption
		version string
		stage   catalogv1.Stage
		want    *gatewayv1.CheckEndpointResponse
		at      string // the backend
	}{
		{"ann", f.ann, v1, 0, done("production"), "production.example"},
		{"ann, production", f.ann, v1, catalogv1.Stage_STAGE_PRODUCTION, done("production"), "production.example"},
		{"ann, sandbox", f.ann, v1, catalogv1.Stage_STAGE_SANDBOX, done("sandbox"), "sandbox.example"},
		{"root", f.root, v1, 0, done("production"), "production.example"},
		{"bob, without an endpoint", f.bob, v2, 0, unknown, ""},
		{"root, a version that is not there", f.root, "apis/none/versions/1", 0, unknown, ""},
	} {
		f.checked = nil
		got, err := check(tt.as, tt.version, tt.stage)
		if diff := cmp.Diff(tt.want, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: %v (- want, + got):\n%s", tt.who, err, diff)
		}
		switch {
		case tt.at == "" && f.checked != nil:
			t.Errorf("%s: %s was dialled, want nothing", tt.who, f.checked.Endpoint.Host)
		case tt.at == "":
		case f.checked.Endpoint.Host != tt.at || strings.Join(f.checked.Protocols, " ") != "chat v2" || f.checked.Host != "client.example":
			t.Errorf("%s: dialled as %+v, want %s, with the host and the sub-protocols of a client", tt.who, f.checked, tt.at)
		}
	}
	for who, as := range map[string]grpc.CallOption{"bob": f.bob, "sue": f.sue} {
		_, err := check(as, v1, 0)
		wantStatus(t, "CheckEndpoint by "+who, err, codes.PermissionDenied, v1+": only its owner, or an administrator, may check its endpoints")
	}
	for _, tt := range []struct {
		req  *gatewayv1.CheckEndpointRequest
		want string
	}{
		{&gatewayv1.CheckEndpointRequest{Version: "apis/a"}, "version: must be apis/{api}/versions/{version}"},
		{&gatewayv1.CheckEndpointRequest{Version: v1, Stage: 7}, "stage: must be STAGE_PRODUCTION or STAGE_SANDBOX"},
		{&gatewayv1.CheckEndpointRequest{Version: v1, Subprotocols: strings.Split("abcdefghijk", "")}, "subprotocols: must be at most 10"},
		{&gatewayv1.CheckEndpointRequest{Version: v1, Subprotocols: []string{"a", "a"}}, "subprotocols: must not have the same value twice"},
		{&gatewayv1.CheckEndpointRequest{Version: v1, Subprotocols: []string{""}}, "subprotocols: must each be a token (RFC 9110) of at most 100 characters"},
		{&gatewayv1.CheckEndpointRequest{Version: v1, Subprotocols: []string{"a\r\nX-Evil: 1"}}, "subprotocols: must each be a token (RFC 9110) of at most 100 characters"},
		{&gatewayv1.CheckEndpointRequest{Version: v1, Subprotocols: []string{strings.Repeat("a", 101)}}, "subprotocols: must each be a token (RFC 9110) of at most 100 characters"},
	} {
		_, err := f.endpoints.CheckEndpoint(t.Context(), tt.req, f.ann)
		wantStatus(t, "CheckEndpoint", err, codes.InvalidArgument, tt.want)
	}
	_, err := f.endpoints.CheckEndpoint(t.Context(), &gatewayv1.CheckEndpointRequest{Version: v1})
	wantStatus(t, "CheckEndpoint by nobody", err, codes.Unauthenticated, "sign in first: the call carries no token")
}

// TestCheckHTTPEndpoint has endpoints of the HTTP beside the socket checked: by their health
// checks, or else at their own path.
func TestCheckHTTPEndpoint(t *testing.T) {
	f := newFixture(t)
	f.found = upstream.Check{Step: upstream.Answer, Status: 503, Error: "the backend answered 503", Elapsed: time.Second}
	want := &gatewayv1.CheckEndpointResponse{Checks: []*gatewayv1.EndpointCheck{{
		Gateway: parent, Step: gatewayv1.EndpointCheck_STEP_REQUEST, Status: 503, Error: "the backend answered 503", Elapsed: durationpb.New(time.Second), Url: "http://plain.example",
	}}}
	for _, of := range []*routes.HealthCheck{nil, {HTTPPath: "/healthz"}} {
		f.routes.Load().Get(v1).HTTP.Check = of
		got, err := f.endpoints.CheckEndpoint(t.Context(), &gatewayv1.CheckEndpointRequest{Version: v1, Http: true}, f.ann)
		if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("CheckEndpoint of HTTP: %v (- want, + got):\n%s", err, diff)
		}
		asked := "GET "
		if of != nil {
			asked += of.HTTPPath
		}
		if f.asked != asked || f.checked.Endpoint.Host != "plain.example" || f.checked.Host != "client.example" {
			t.Errorf("%q was asked of %+v, want %q of plain.example, with the host of a client", f.asked, f.checked, asked)
		}
	}
	for _, req := range []*gatewayv1.CheckEndpointRequest{
		{Version: v1, Http: true, Stage: catalogv1.Stage_STAGE_SANDBOX}, {Version: v2, Http: true},
	} {
		got, err := f.endpoints.CheckEndpoint(t.Context(), req, f.root)
		if err != nil || len(got.GetChecks()) != 1 || got.GetChecks()[0].GetStep() != gatewayv1.EndpointCheck_STEP_UNKNOWN_VERSION {
			t.Errorf("CheckEndpoint of %v = %v, %v, want that it is not there yet", req, got, err)
		}
	}
	_, err := f.endpoints.CheckEndpoint(t.Context(), &gatewayv1.CheckEndpointRequest{Version: v1, Http: true, Subprotocols: []string{"chat"}}, f.ann)
	wantStatus(t, "CheckEndpoint", err, codes.InvalidArgument, "subprotocols: must be empty with http: plain requests have none")
}

// TestDescribeEndpoints: the version's owner and administrators see what the gateway knows of
// the endpoints of both stages, and nobody else does.
func TestDescribeEndpoints(t *testing.T) {
	f := newFixture(t)
	describe := func(version string, opts ...grpc.CallOption) ([]*gatewayv1.EndpointStatus, error) {
		resp, err := f.endpoints.DescribeEndpoints(t.Context(), &gatewayv1.DescribeEndpointsRequest{Version: version}, opts...)
		return resp.GetEndpoints(), err
	}
	production := &gatewayv1.EndpointStatus{
		Gateway: parent, Stage: catalogv1.Stage_STAGE_PRODUCTION, Url: "ws://production.example", State: gatewayv1.EndpointStatus_STATE_HEALTHY,
	}
	sandbox := &gatewayv1.EndpointStatus{
		Gateway: parent, Stage: catalogv1.Stage_STAGE_SANDBOX, Url: "ws://sandbox.example", State: gatewayv1.EndpointStatus_STATE_HEALTHY, Connections: 1,
	}
	plain := &gatewayv1.EndpointStatus{
		Gateway: parent, Stage: catalogv1.Stage_STAGE_PRODUCTION, Url: "http://plain.example", State: gatewayv1.EndpointStatus_STATE_HEALTHY, Http: true,
	}
	route := f.routes.Load().Get(v1)
	lasting := balance.Default()
	lasting.First, lasting.Longest = time.Hour, time.Hour
	route.Production.Member(0).SetConfig(lasting)
	now := time.Now()
	busy := route.Sandbox.Turn()
	busy.Next(now)
	sees := func(who string, version string, as grpc.CallOption, want ...*gatewayv1.EndpointStatus) {
		t.Helper()
		got, err := describe(version, as)
		if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: %v (- want, + got):\n%s", who, err, diff)
		}
	}
	sees("ann", v1, f.ann, production, sandbox, plain)
	sees("root", v1, f.root, production, sandbox, plain)
	sees("bob, without an endpoint", v2, f.bob)
	sees("root, a version that is not there", "apis/none/versions/1", f.root)

	bad := route.Production.Turn()
	bad.Next(now)
	length := bad.Failed(now, "nothing listens")
	production.State, production.SinceTime = gatewayv1.EndpointStatus_STATE_SUSPENDED, timestamppb.New(now)
	production.SuspendedUntilTime = timestamppb.New(now.Add(length))
	production.LastFailure, production.LastFailureTime = "nothing listens", timestamppb.New(now)
	sees("ann, after a failure", v1, f.ann, production, sandbox, plain)

	for who, as := range map[string]grpc.CallOption{"bob": f.bob, "sue": f.sue} {
		_, err := describe(v1, as)
		wantStatus(t, "DescribeEndpoints by "+who, err, codes.PermissionDenied, v1+": only its owner, or an administrator, may see its endpoints")
	}
	_, err := describe("apis/a", f.ann)
	wantStatus(t, "DescribeEndpoints", err, codes.InvalidArgument, "version: must be apis/{api}/versions/{version}")
	_, err = describe(v1)
	wantStatus(t, "DescribeEndpoints by nobody", err, codes.Unauthenticated, "sign in first: the call carries no token")
}

// TestChecksAreBounded: four are made at once, the fifth waits for one of them, and each
// ends so long before its caller's time that its answer arrives.
func TestChecksAreBounded(t *testing.T) {
	f := newFixture(t)
	f.checking = make(chan context.Context, maxChecks)
	deadline := time.Now().Add(2 * answerTime)
	ctx, cancel := context.WithDeadline(t.Context(), deadline)
	defer cancel()
	failed := make(chan error, maxChecks+1)
	for range maxChecks + 1 {
		go func() {
			_, err := f.endpoints.CheckEndpoint(ctx, &gatewayv1.CheckEndpointRequest{Version: v1}, f.ann)
			failed <- err
		}()
	}
	for range maxChecks {
		// gRPC passes a deadline on as what is left of it, so here it is a little later.
		if end, ok := (<-f.checking).Deadline(); !ok || end.After(deadline.Add(-answerTime/2)) {
			t.Errorf("a check ends at %v, want well before %v", end, deadline)
		}
	}
	busy := 0
	for range maxChecks + 1 {
		if err := <-failed; err != nil {
			busy++
			wantStatus(t, "the fifth check", err, codes.Unavailable, "gateways/gateway-1 makes 4 checks already, try again")
		}
	}
	if busy > 1 || len(f.checking) > 1 {
		t.Errorf("%d checks were refused, want at most one", busy)
	}
}
