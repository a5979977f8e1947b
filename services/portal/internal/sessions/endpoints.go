package sessions

import (
	"context"

	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/portal/internal/gateways"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
)

// Endpoints serves EndpointService for all gateways. The catalog decides who may have
// endpoints checked, and writes it down, and for whom a version is there.
type Endpoints struct {
	gatewayv1.UnsafeEndpointServiceServer
	directory Directory
	checks    backplanev1.EndpointCheckServiceClient
	versions  catalogv1.CatalogServiceClient
}

var _ gatewayv1.EndpointServiceServer = (*Endpoints)(nil)

// NewEndpoints returns a server that asks the catalog, and then the gateways of a directory.
func NewEndpoints(directory Directory, catalog grpc.ClientConnInterface) *Endpoints {
	return &Endpoints{
		directory: directory, checks: backplanev1.NewEndpointCheckServiceClient(catalog), versions: catalogv1.NewCatalogServiceClient(catalog),
	}
}

// CheckEndpoint has all gateways check an endpoint.
func (e *Endpoints) CheckEndpoint(ctx context.Context, req *gatewayv1.CheckEndpointRequest) (*gatewayv1.CheckEndpointResponse, error) {
	ctx = upstream.Forwarded(ctx)
	_, err := e.checks.AllowEndpointCheck(ctx, &backplanev1.AllowEndpointCheckRequest{Version: req.GetVersion(), Stage: req.GetStage(), Http: req.GetHttp()})
	if err != nil {
		return nil, fault.Forward(err)
	}
	all, err := e.directory.All(ctx)
	if err != nil {
		return nil, err
	}
	answers := askAll(ctx, all, func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (*gatewayv1.CheckEndpointResponse, error) {
		return g.Endpoints.CheckEndpoint(ctx, req, opts...)
	})
	parts, unreachable, err := collect(ctx, answers, true)
	if err != nil {
		return nil, err
	}
	resp := &gatewayv1.CheckEndpointResponse{Unreachable: unreachable}
	for _, part := range parts {
		resp.Checks = append(resp.Checks, part.GetChecks()...)
	}
	return resp, nil
}

// DescribeEndpoints returns what all gateways know of a version's endpoints. They decide who
// may ask; that a version which the caller may not see is there, nobody says.
func (e *Endpoints) DescribeEndpoints(ctx context.Context, req *gatewayv1.DescribeEndpointsRequest) (*gatewayv1.DescribeEndpointsResponse, error) {
	if _, err := resourcename.ParseVersion("version", req.GetVersion()); err != nil {
		return nil, err
	}
	ctx = upstream.Forwarded(ctx)
	if _, err := e.versions.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: req.GetVersion()}); err != nil {
		return nil, fault.Forward(err)
	}
	all, err := e.directory.All(ctx)
	if err != nil {
		return nil, err
	}
	answers := askAll(ctx, all, func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (*gatewayv1.DescribeEndpointsResponse, error) {
		return g.Endpoints.DescribeEndpoints(ctx, req, opts...)
	})
	parts, unreachable, err := collect(ctx, answers, true)
	if err != nil {
		return nil, err
	}
	resp := &gatewayv1.DescribeEndpointsResponse{Unreachable: unreachable}
	for _, part := range parts {
		resp.Endpoints = append(resp.Endpoints, part.GetEndpoints()...)
	}
	return resp, nil
}
