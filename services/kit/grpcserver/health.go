package grpcserver

import (
	"context"
	"strings"
	"sync"

	"google.golang.org/grpc"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// healthServer says SERVING of the server and of each of its services until the
// server stops. Then its watches end, which those of the library's health.Server
// never do: a graceful stop would wait for them.
type healthServer struct {
	healthgrpc.UnsafeHealthServer
	stopping <-chan struct{}
	// services has the names of the services, and "" for the server as a whole.
	services func() map[string]bool
}

var _ healthgrpc.HealthServer = healthServer{}

// newHealth returns the health of the services of p, which are all there when the first
// call comes.
func newHealth(stopping <-chan struct{}, p reflection.ServiceInfoProvider) healthServer {
	return healthServer{stopping: stopping, services: sync.OnceValue(func() map[string]bool {
		names := map[string]bool{"": true}
		for name := range p.GetServiceInfo() {
			names[name] = true
		}
		return names
	})}
}

func (h healthServer) status(service string) healthgrpc.HealthCheckResponse_ServingStatus {
	if !h.services()[service] {
		return healthgrpc.HealthCheckResponse_SERVICE_UNKNOWN
	}
	select {
	case <-h.stopping:
		return healthgrpc.HealthCheckResponse_NOT_SERVING
	default:
		return healthgrpc.HealthCheckResponse_SERVING
	}
}

// Check returns the status of the server or of a service.
func (h healthServer) Check(_ context.Context, req *healthgrpc.HealthCheckRequest) (*healthgrpc.HealthCheckResponse, error) {
	status := h.status(req.GetService())
	if status == healthgrpc.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, fault.NotFound("service %.200q", req.GetService())
	}
	return &healthgrpc.HealthCheckResponse{Status: status}, nil
}

// List returns the statuses of the server and of all services.
func (h healthServer) List(context.Context, *healthgrpc.HealthListRequest) (*healthgrpc.HealthListResponse, error) {
	all := map[string]*healthgrpc.HealthCheckResponse{}
	for name := range h.services() {
		all[name] = &healthgrpc.HealthCheckResponse{Status: h.status(name)}
	}
	return &healthgrpc.HealthListResponse{Statuses: all}, nil
}

// Watch sends the status now, and once more when the server stops.
func (h healthServer) Watch(req *healthgrpc.HealthCheckRequest, stream healthgrpc.Health_WatchServer) error {
	last := h.status(req.GetService())
	if err := stream.Send(&healthgrpc.HealthCheckResponse{Status: last}); err != nil {
		return err
	}
	select {
	case <-stream.Context().Done():
		return stream.Context().Err()
	case <-h.stopping:
	}
	if status := h.status(req.GetService()); status != last {
		if err := stream.Send(&healthgrpc.HealthCheckResponse{Status: status}); err != nil {
			return err
		}
	}
	return errStopping()
}

func errStopping() error { return fault.Unavailable("the server is stopping") }

// endReflection ends streams of reflection when the server stops. Clients keep
// them open, and a graceful stop would wait for them.
func (s *Server) endReflection(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if !strings.HasPrefix(info.FullMethod, "/grpc.reflection.") {
		return next(srv, ss)
	}
	return fault.Forward(next(srv, &endingStream{ServerStream: ss, stopping: s.stopping}))
}

// endingStream is a stream that receives nothing more once the server stops.
type endingStream struct {
	grpc.ServerStream
	stopping <-chan struct{}
}

// RecvMsg receives the next message.
func (e *endingStream) RecvMsg(m any) error {
	got := make(chan error, 1)
	go func() { got <- e.ServerStream.RecvMsg(m) }() // ends with the stream at the latest
	select {
	case err := <-got:
		return err
	case <-e.stopping:
		return errStopping()
	}
}
