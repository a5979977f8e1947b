package portal_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/tidegatehq/tidegate/gen"
	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// CloseSessions closes all sessions that the gateway has, where it is asked for an address.
func (n *node) CloseSessions(_ context.Context, req *gatewayv1.CloseSessionsRequest) (*gatewayv1.CloseSessionsResponse, error) {
	if req.GetParent() != "gateways/"+n.instance || req.GetClientAddress() == "" {
		return nil, fault.Invalid("client_address", "must be set for %s", req.GetParent())
	}
	return &gatewayv1.CloseSessionsResponse{ClosedSessions: int64(len(n.sessions)), Gateways: 1}, nil
}

// CountClosed says that change 7 has closed all sessions; a gateway without any does not know.
func (l *liveNode) CountClosed(_ context.Context, req *backplanev1.CountClosedRequest) (*backplanev1.CountClosedResponse, error) {
	if req.GetChangeNumber() != 7 || len(l.node.sessions) == 0 {
		return nil, fault.Unavailable("the change is not applied")
	}
	return &backplanev1.CountClosedResponse{ClosedSessions: int64(len(l.node.sessions))}, nil
}

// TestRevoke revokes at the subscription service, asks all gateways what that has closed, and
// names those that do not say in a second.
func TestRevoke(t *testing.T) {
	s, nodes, conn := fleetConn(t, 4)
	client := subscriptionv1.NewRevocationServiceClient(conn)
	nodes[0].add(1, 2)
	nodes[1].add(3)
	nodes[1].hang = true
	nodes[3].add(4)
	s.gateways(nodes[0].watcher(), nodes[1].watcher(), nodes[2].watcher(), nodes[3].watcher())
	s.on(subscriptionv1.RevocationService_Revoke_FullMethodName, func(_ context.Context, m proto.Message) (proto.Message, error) {
		if got := m.(*subscriptionv1.RevokeRequest).GetName(); got != "applications/a" {
			return nil, fault.NotFound("%s", got)
		}
		return &subscriptionv1.RevokeResponse{Name: "applications/a", Change: "services/subscription/changes/7"}, nil
	})
	began := time.Now()
	var header metadata.MD
	resp, err := client.Revoke(t.Context(), &subscriptionv1.RevokeRequest{Name: "applications/a"}, bearer(), grpc.Header(&header))
	if err != nil {
		t.Fatal(err)
	}
	if took := resp.GetDuration().AsDuration(); took < time.Second || took > time.Since(began) {
		t.Errorf("it says that it took %v, want the second of the gateway that hangs", took)
	}
	resp.Duration = nil
	want := &subscriptionv1.RevokeResponse{
		Name: "applications/a", Change: "services/subscription/changes/7", ClosedSessions: 3, Gateways: 2, SilentGateways: []string{"gateways/g2", "gateways/g3"},
	}
	if !proto.Equal(resp, want) || !slices.Equal(header.Get(gen.ChangeHeader), []string{want.GetChange()}) {
		t.Errorf("Revoke() = %v with %v, want %v with the change", resp, header, want)
	}
	_, err = client.Revoke(t.Context(), &subscriptionv1.RevokeRequest{Name: "applications/b"}, bearer())
	wantError(t, "what the subscription service refuses", err, codes.NotFound, "applications/b not found")
}

// TestRevokeWithoutCatalog revokes while it is not known which gateways there are.
func TestRevokeWithoutCatalog(t *testing.T) {
	s, nodes, _ := fleetConn(t, 1)
	s.on(backplanev1.DirectoryService_ListGateways_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return nil, fault.Unavailable("the catalog is away")
	})
	s.on(subscriptionv1.RevocationService_Revoke_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return &subscriptionv1.RevokeResponse{Name: "grants/t", Change: "services/subscription/changes/7"}, nil
	})
	got := s.do(t, "POST", "/v1/credentials:revoke", `{"token": "x"}`, "Authorization", "Bearer token", "Content-Type", "application/json")
	if got.status != 200 || !strings.Contains(compact(t, got.body), `"silentGateways":["gateways/-"]`) || got.header.Get("Tidegate-Change") != "services/subscription/changes/7" {
		t.Errorf("POST /v1/credentials:revoke = %d %s %v, want that gateways/- is silent", got.status, got.body, got.header)
	}
	if len(nodes[0].asked) > 0 {
		t.Errorf("a gateway was asked %q", nodes[0].asked)
	}
}

// TestCloseSessions closes sessions on all gateways, or on one.
func TestCloseSessions(t *testing.T) {
	s, nodes, conn := fleetConn(t, 3)
	client := gatewayv1.NewSessionServiceClient(conn)
	nodes[0].add(1, 2)
	nodes[1].add(3)
	nodes[2].hang = true
	s.gateways(nodes[0].watcher(), nodes[1].watcher(), nodes[2].watcher())
	for _, tt := range []struct {
		parent string
		want   *gatewayv1.CloseSessionsResponse
	}{
		{"gateways/-", &gatewayv1.CloseSessionsResponse{ClosedSessions: 3, Gateways: 2, SilentGateways: []string{"gateways/g3"}}},
		{"gateways/g2", &gatewayv1.CloseSessionsResponse{ClosedSessions: 1, Gateways: 1}},
	} {
		resp, err := client.CloseSessions(t.Context(), &gatewayv1.CloseSessionsRequest{Parent: tt.parent, ClientAddress: "192.0.2.0/24"}, bearer())
		if err != nil {
			t.Fatal(err)
		}
		resp.Duration = nil
		if !proto.Equal(resp, tt.want) {
			t.Errorf("CloseSessions(%s) = %v, want %v", tt.parent, resp, tt.want)
		}
	}
	_, err := client.CloseSessions(t.Context(), &gatewayv1.CloseSessionsRequest{Parent: "gateways/g9", ClientAddress: "192.0.2.1"}, bearer())
	wantError(t, "of no gateway", err, codes.NotFound, "gateways/g9 not found")
	_, err = client.CloseSessions(t.Context(), &gatewayv1.CloseSessionsRequest{Parent: "gateways/-"}, bearer())
	wantError(t, "what gateways refuse", err, codes.InvalidArgument, "client_address: must be set for gateways/g1")
}
