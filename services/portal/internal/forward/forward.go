// Package forward forwards users' gRPC calls to the services that serve them, without
// decoding the messages. It forwards a fixed list of methods; the services decide who
// may do what, by the user's token. What the portal serves itself is registered at
// its gRPC server, and is only let through here.
package forward

import (
	"errors"
	"io"
	"slices"

	"google.golang.org/grpc"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/tidegatehq/tidegate/gen"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
)

// Service is a gRPC service and where its calls go.
type Service struct {
	Desc *grpc.ServiceDesc
	Conn grpc.ClientConnInterface
}

// Forwarder forwards the unary methods of its services.
type Forwarder struct {
	services []Service
	local    []*grpc.ServiceDesc
	methods  map[string]grpc.ClientConnInterface
}

// New returns a forwarder of services. Those of local are registered at the
// portal's server: their calls are let through to it.
func New(local []*grpc.ServiceDesc, services ...Service) *Forwarder {
	f := &Forwarder{services: services, local: local, methods: map[string]grpc.ClientConnInterface{}}
	for _, s := range services {
		for _, m := range s.Desc.Methods {
			f.methods[fullName(s.Desc, m.MethodName)] = s.Conn
		}
	}
	return f
}

// ownServices are those that the server answers itself.
func ownServices() []*grpc.ServiceDesc {
	return []*grpc.ServiceDesc{
		&healthgrpc.Health_ServiceDesc,
		&reflectionv1.ServerReflection_ServiceDesc,
		&reflectionv1alpha.ServerReflection_ServiceDesc,
	}
}

func fullName(desc *grpc.ServiceDesc, method string) string {
	return "/" + desc.ServiceName + "/" + method
}

// Options make a server forward calls.
func (f *Forwarder) Options() []grpcserver.Option {
	return []grpcserver.Option{
		grpcserver.WithReflected(f),
		grpcserver.WithUsersOptions(
			grpc.UnknownServiceHandler(f.handle),
			grpc.ForceServerCodecV2(codec{}),
		),
	}
}

// Rules allow everybody to call the methods: the services check the token.
func (f *Forwarder) Rules() identity.Rules {
	rules := identity.Rules{}
	for method := range f.methods {
		rules[method] = identity.Rule{Open: true}
	}
	for _, desc := range f.local {
		for _, m := range desc.Methods {
			rules[fullName(desc, m.MethodName)] = identity.Rule{Open: true}
		}
	}
	return rules
}

// GetServiceInfo lists what reflection shows.
func (f *Forwarder) GetServiceInfo() map[string]grpc.ServiceInfo {
	infos := map[string]grpc.ServiceInfo{}
	for _, s := range f.services {
		infos[s.Desc.ServiceName] = grpc.ServiceInfo{Metadata: s.Desc.Metadata}
	}
	for _, desc := range slices.Concat(f.local, ownServices()) {
		infos[desc.ServiceName] = grpc.ServiceInfo{Metadata: desc.Metadata}
	}
	return infos
}

// handle forwards one call and returns its answer.
func (f *Forwarder) handle(_ any, ss grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(ss)
	conn := f.methods[method]
	if conn == nil {
		return grpcserver.NoMethod(method)
	}
	var in, out frame
	if err := ss.RecvMsg(&in); errors.Is(err, io.EOF) {
		return fault.Invalid("", "the call carries no message")
	} else if err != nil {
		return err
	}
	var header, trailer metadata.MD
	err := conn.Invoke(upstream.Forwarded(ss.Context()), method, &in, &out,
		grpc.ForceCodecV2(codec{}), grpc.Header(&header), grpc.Trailer(&trailer))
	if err := ss.SetHeader(relayed(header)); err != nil {
		return fault.Forward(err)
	}
	ss.SetTrailer(relayed(trailer))
	if err != nil {
		return fault.Forward(err)
	}
	return ss.SendMsg(&out)
}

// relayed returns the metadata of an answer that the caller may see.
func relayed(md metadata.MD) metadata.MD {
	out := metadata.MD{}
	out.Append(gen.ChangeHeader, md.Get(gen.ChangeHeader)...)
	return out
}
