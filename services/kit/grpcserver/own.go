package grpcserver

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// own are the services that every server has.
var own = []grpc.ServiceDesc{
	healthgrpc.Health_ServiceDesc,
	reflectionv1.ServerReflection_ServiceDesc,
	reflectionv1alpha.ServerReflection_ServiceDesc,
}

// isOwn reports whether a method is one of health or reflection.
func isOwn(method string) bool {
	for _, desc := range own {
		if strings.HasPrefix(method, "/"+desc.ServiceName+"/") {
			return true
		}
	}
	return false
}

// endOwn ends streams of health and reflection when the server stops. Callers
// keep them open for as long as there is a server, so a stop would wait for them
// until the drain time is over.
func (s *Server) endOwn(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if !isOwn(info.FullMethod) {
		return next(srv, ss)
	}
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	err := next(srv, &ownStream{ServerStream: ss, ctx: ctx})
	if s.stopping.Err() != nil {
		return fault.Unavailable("the server stops")
	}
	return fault.Forward(err)
}

// ownStream is a stream that ends with ctx too.
type ownStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the stream's context.
func (o *ownStream) Context() context.Context { return o.ctx }

// RecvMsg receives the next message.
func (o *ownStream) RecvMsg(m any) error {
	got := make(chan error, 1)
	go func() { got <- o.ServerStream.RecvMsg(m) }() // it ends with the stream
	select {
	case err := <-got:
		return err
	case <-o.ctx.Done():
		return o.ctx.Err()
	}
}

// ownHealth is a health server whose watchers hear that nothing is served any
// more before their streams end.
type ownHealth struct{ *health.Server }

// Watch sends the status now and whenever it changes.
func (h ownHealth) Watch(req *healthgrpc.HealthCheckRequest, stream healthgrpc.Health_WatchServer) error {
	told := &toldStream{Health_WatchServer: stream}
	err := h.Server.Watch(req, told)
	if told.last == healthgrpc.HealthCheckResponse_SERVING {
		// Where it is the watcher who has gone, nobody hears it.
		_ = stream.Send(&healthgrpc.HealthCheckResponse{Status: healthgrpc.HealthCheckResponse_NOT_SERVING})
	}
	return err
}

// toldStream knows what a watcher was told last.
type toldStream struct {
	healthgrpc.Health_WatchServer
	last healthgrpc.HealthCheckResponse_ServingStatus
}

// Send sends a status.
func (t *toldStream) Send(m *healthgrpc.HealthCheckResponse) error {
	t.last = m.GetStatus()
	return t.Health_WatchServer.Send(m)
}
