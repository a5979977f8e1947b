package inprocess_test

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/inprocess"
)

// server answers with what it was asked for and by whom.
type server struct {
	gatewayv1.UnimplementedSessionServiceServer
}

// GetGateway answers with the name and the token; the name "none" is not there.
func (server) GetGateway(ctx context.Context, req *gatewayv1.GetGatewayRequest) (*gatewayv1.Gateway, error) {
	if req.GetName() == "none" {
		return nil, fault.NotFound("gateway")
	}
	return &gatewayv1.Gateway{Name: req.GetName() + metadata.ValueFromIncomingContext(ctx, "authorization")[0]}, nil
}

// TestCall calls a server of this process with a token, and one that is not there.
func TestCall(t *testing.T) {
	conn := inprocess.New()
	gatewayv1.RegisterSessionServiceServer(conn, server{})
	client := gatewayv1.NewSessionServiceClient(conn)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", " by ann")
	got, err := client.GetGateway(ctx, &gatewayv1.GetGatewayRequest{Name: "x1"})
	if err != nil || got.GetName() != "x1 by ann" {
		t.Errorf("GetGateway = %v, %v", got, err)
	}
	if _, err := client.GetGateway(ctx, &gatewayv1.GetGatewayRequest{Name: "none"}); !fault.Is(err, codes.NotFound) {
		t.Errorf("GetGateway of none = %v, want NotFound", err)
	}
	if err := inprocess.New().Invoke(ctx, gatewayv1.SessionService_GetGateway_FullMethodName, &gatewayv1.GetGatewayRequest{}, &gatewayv1.Gateway{}); !fault.Is(err, codes.Unimplemented) {
		t.Errorf("a method that is not served = %v, want Unimplemented", err)
	}
}
