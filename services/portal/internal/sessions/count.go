package sessions

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sessionorder"
	"github.com/tidegatehq/tidegate/services/portal/internal/gateways"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
)

// CountSessions counts the live sessions of one gateway or of all.
func (s *Server) CountSessions(ctx context.Context, req *gatewayv1.CountSessionsRequest) (*gatewayv1.CountSessionsResponse, error) {
	n, err := resourcename.ParseGateway("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if n.Gateway == resourcename.Any {
		return s.countAll(ctx, req)
	}
	return askOne(ctx, s, n, func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (*gatewayv1.CountSessionsResponse, error) {
		return g.Sessions.CountSessions(ctx, req, opts...)
	})
}

// countAll adds up what all gateways count. Where one has more than fit into its answer,
// what it left out is missing from the sums: the greatest of these are asked for once
// more by their names.
func (s *Server) countAll(ctx context.Context, req *gatewayv1.CountSessionsRequest) (*gatewayv1.CountSessionsResponse, error) {
	ctx = upstream.Forwarded(ctx)
	all, err := s.directory.All(ctx)
	if err != nil {
		return nil, err
	}
	resp, leftOut, err := sum(ctx, all, req)
	if err != nil || !leftOut || len(all) == 1 {
		return resp, err
	}
	again := proto.CloneOf(req)
	for _, c := range resp.GetCounts() {
		again.Names = append(again.Names, c.GetName())
	}
	if resp, _, err = sum(ctx, all, again); err != nil {
		return nil, err
	}
	resp.Counts = slices.DeleteFunc(resp.GetCounts(), func(c *gatewayv1.SessionCount) bool { return c.GetSessions() == 0 })
	return resp, nil
}

// sum asks gateways and adds up their answers. leftOut says that one may have left
// counts out.
func sum(ctx context.Context, all []gateways.Gateway, req *gatewayv1.CountSessionsRequest) (resp *gatewayv1.CountSessionsResponse, leftOut bool, err error) {
	answers := askAll(ctx, all, func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (*gatewayv1.CountSessionsResponse, error) {
		ask := proto.CloneOf(req)
		ask.Parent, ask.ReturnPartialSuccess = g.Name.String(), false
		return g.Sessions.CountSessions(ctx, ask, opts...)
	})
	resp = &gatewayv1.CountSessionsResponse{}
	parts, unreachable, err := collect(ctx, answers, req.GetReturnPartialSuccess())
	if err != nil {
		return nil, false, err
	}
	counts := map[string]int64{}
	for _, name := range req.GetNames() {
		counts[name] = 0
	}
	for _, part := range parts {
		resp.Total += part.GetTotal()
		for _, c := range part.GetCounts() {
			counts[c.GetName()] += c.GetSessions()
		}
		leftOut = leftOut || len(req.GetNames()) == 0 && len(part.GetCounts()) == sessionorder.MaxCounts
	}
	resp.Counts, resp.Unreachable = sessionorder.Greatest(counts), unreachable
	return resp, leftOut, nil
}
