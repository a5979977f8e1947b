package portal_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// CheckEndpoint finds each endpoint there.
func (n *node) CheckEndpoint(_ context.Context, req *gatewayv1.CheckEndpointRequest) (*gatewayv1.CheckEndpointResponse, error) {
	if len(req.GetSubprotocols()) > 1 {
		return nil, fault.Invalid("subprotocols", "are too many")
	}
	return &gatewayv1.CheckEndpointResponse{Checks: []*gatewayv1.EndpointCheck{{
		Gateway: "gateways/" + n.instance, Step: gatewayv1.EndpointCheck_STEP_DONE, Status: 101, Subprotocol: req.GetSubprotocols()[0],
	}}}, nil
}

// DescribeEndpoints knows of one endpoint of any version but bad ones.
func (n *node) DescribeEndpoints(_ context.Context, req *gatewayv1.DescribeEndpointsRequest) (*gatewayv1.DescribeEndpointsResponse, error) {
	if req.GetVersion() == "apis/other/versions/1" {
		return nil, fault.Denied("only its owner may see this")
	}
	return &gatewayv1.DescribeEndpointsResponse{Endpoints: []*gatewayv1.EndpointStatus{{
		Gateway: "gateways/" + n.instance, Stage: catalogv1.Stage_STAGE_PRODUCTION, Url: "ws://backend.example", State: gatewayv1.EndpointStatus_STATE_HEALTHY, Connections: 2,
	}}}, nil
}

// TestDescribeEndpoints asks the catalog whether the version is there for the caller, and
// then all gateways: their answers are in the order of their names, those that do not answer
// are named, and none is asked about a version that the caller may not see.
func TestDescribeEndpoints(t *testing.T) {
	s, nodes, conn := fleetConn(t, 3)
	client := gatewayv1.NewEndpointServiceClient(conn)
	nodes[1].hang = true
	s.gateways(nodes[2].watcher(), nodes[1].watcher(), nodes[0].watcher(), away(t, "g8"))
	s.on(catalogv1.CatalogService_GetVersion_FullMethodName, func(_ context.Context, m proto.Message) (proto.Message, error) {
		if c, _ := s.last(); !slices.Equal(c.metadata.Get("authorization"), []string{"Bearer token"}) {
			t.Errorf("the catalog was asked with %v, want the caller's token", c.metadata)
		}
		name := m.(*catalogv1.GetVersionRequest).GetName()
		if name == "apis/hidden/versions/1" {
			return nil, fault.NotFound("%s", name)
		}
		return &catalogv1.Version{Name: name}, nil
	})
	got := s.do(t, "GET", "/v1/apis/a/versions/1:describeEndpoints", "", "Authorization", "Bearer token")
	known := func(g string) string {
		return `{"gateway":"gateways/` + g + `","stage":"STAGE_PRODUCTION","url":"ws://backend.example","state":"STATE_HEALTHY","connections":"2","lastFailure":"","http":false}`
	}
	if want := `{"endpoints":[` + known("g1") + "," + known("g3") + `],"unreachable":["gateways/g2","gateways/g8"]}`; got.status != 200 || compact(t, got.body) != want {
		t.Errorf("GET :describeEndpoints = %d %s, want %s\n%s", got.status, got.body, want, s.log)
	}
	nodes[1].mu.Lock()
	nodes[1].hang = false
	nodes[1].mu.Unlock()
	describe := func(version string) error {
		_, err := client.DescribeEndpoints(t.Context(), &gatewayv1.DescribeEndpointsRequest{Version: version}, bearer())
		return err
	}
	wantError(t, "what gateways refuse", describe("apis/other/versions/1"), codes.PermissionDenied, "only its owner may see this")
	before := len(nodes[0].asked)
	wantError(t, "what the caller may not see", describe("apis/hidden/versions/1"), codes.NotFound, "apis/hidden/versions/1 not found")
	wantError(t, "no version's name", describe("apis/a"), codes.InvalidArgument, "version: must be apis/{api}/versions/{version}")
	if len(nodes[0].asked) != before {
		t.Errorf("a gateway was asked %q", nodes[0].asked[before:])
	}
}

// TestCheckEndpoint asks the catalog first, and then all gateways: those that do not answer
// in two seconds are named, and none is asked if the catalog refuses.
func TestCheckEndpoint(t *testing.T) {
	s, nodes, conn := fleetConn(t, 3)
	client := gatewayv1.NewEndpointServiceClient(conn)
	nodes[1].hang = true
	s.gateways(nodes[0].watcher(), nodes[1].watcher(), nodes[2].watcher(), away(t, "g9"))
	req := &gatewayv1.CheckEndpointRequest{Version: "apis/a/versions/1", Stage: catalogv1.Stage_STAGE_SANDBOX, Subprotocols: []string{"chat"}, Http: true}
	allow := func(_ context.Context, m proto.Message) (proto.Message, error) {
		want := &backplanev1.AllowEndpointCheckRequest{Version: "apis/a/versions/1", Stage: catalogv1.Stage_STAGE_SANDBOX, Http: true}
		if c, _ := s.last(); !proto.Equal(m, want) || !slices.Equal(c.metadata.Get("authorization"), []string{"Bearer token"}) {
			t.Errorf("the catalog was asked %v with %v, want %v with the caller's token", m, c.metadata, want)
		}
		return &backplanev1.AllowEndpointCheckResponse{}, nil
	}
	s.on(backplanev1.EndpointCheckService_AllowEndpointCheck_FullMethodName, allow)
	began := time.Now()
	got := s.do(t, "POST", "/v1/apis/a/versions/1:checkEndpoint", `{"stage": "STAGE_SANDBOX", "subprotocols": ["chat"], "http": true}`, "Authorization", "Bearer token", "Content-Type", "application/json")
	done := func(g string) string {
		return `{"gateway":"gateways/` + g + `","step":"STEP_DONE","error":"","status":101,"subprotocol":"chat","url":""}`
	}
	if want := `{"checks":[` + done("g1") + "," + done("g3") + `],"unreachable":["gateways/g2","gateways/g9"]}`; got.status != 200 || compact(t, got.body) != want {
		t.Errorf("POST :checkEndpoint = %d %s, want %s\n%s", got.status, got.body, want, s.log)
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it took %v, want that the gateway that hangs had 2 s", took)
	}
	nodes[1].mu.Lock()
	nodes[1].hang = false
	nodes[1].mu.Unlock()
	_, err := client.CheckEndpoint(t.Context(), &gatewayv1.CheckEndpointRequest{Version: req.GetVersion(), Stage: req.GetStage(), Subprotocols: []string{"a", "b"}, Http: true}, bearer())
	wantError(t, "what gateways refuse", err, codes.InvalidArgument, "subprotocols: are too many")
	before := len(nodes[0].asked)
	s.on(backplanev1.EndpointCheckService_AllowEndpointCheck_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return nil, fault.Exhausted("too many checks: 10 in a minute")
	})
	_, err = client.CheckEndpoint(t.Context(), req, bearer())
	wantError(t, "what the catalog refuses", err, codes.ResourceExhausted, "too many checks: 10 in a minute")
	if len(nodes[0].asked) != before {
		t.Errorf("a gateway was asked %q though the catalog refuses", nodes[0].asked[before:])
	}
}
