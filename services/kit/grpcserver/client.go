package grpcserver

import (
	"context"
	"net/http"
	"net/netip"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
)

// clientUnary puts the client's address into the context of a call.
func (s *Server) clientUnary(internal bool) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		addr, err := s.client(ctx, internal)
		if err != nil {
			return nil, err
		}
		return next(clientaddr.With(ctx, addr), req)
	}
}

// clientStream does for streams what clientUnary does for calls.
func (s *Server) clientStream(internal bool) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		addr, err := s.client(ss.Context(), internal)
		if err != nil {
			return err
		}
		return next(srv, &clientStream{ServerStream: ss, ctx: clientaddr.With(ss.Context(), addr)})
	}
}

// clientStream is a stream whose context has the client's address.
type clientStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the context that has the client's address.
func (s *clientStream) Context() context.Context { return s.ctx }

// client returns the address of a call's client: on the services' face what the
// portal says, and the peer's if another calls; on the users' face what trusted
// proxies say.
func (s *Server) client(ctx context.Context, internal bool) (netip.Addr, error) {
	var from netip.AddrPort
	if p, ok := peer.FromContext(ctx); ok {
		from = proxies.AddrOf(p.Addr)
	}
	if internal {
		if caller := (identity.Caller{Service: identity.ServiceOf(ctx)}); caller.Is(identity.Portal) {
			if addr, ok := passedOn(ctx); ok {
				return addr, nil
			}
		}
		return from.Addr(), nil
	}
	chain, err := s.opts.proxies.Chain(from, http.Header{
		"X-Forwarded-For": metadata.ValueFromIncomingContext(ctx, "x-forwarded-for"),
		"Forwarded":       metadata.ValueFromIncomingContext(ctx, "forwarded"),
	})
	if err != nil {
		return netip.Addr{}, fault.Invalid("", "%s", err)
	}
	return chain.Client().Addr(), nil
}

// passedOn returns the address that a call of the portal carries.
func passedOn(ctx context.Context) (netip.Addr, bool) {
	values := metadata.ValueFromIncomingContext(ctx, clientaddr.Metadata)
	if len(values) != 1 {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(values[0])
	return addr, err == nil
}
