package grpcserver

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// NoMethod is the fault of a call to a method that is not served.
func NoMethod(method string) error {
	return fault.Unimplemented("there is no method %.200q here", method)
}

// onlyServed refuses unknown methods before they are counted: a caller could invent any
// number of names. face returns the server, on which everything is registered when the
// first call comes. forwards says that it also serves all that have a rule.
func (s *Server) onlyServed(face func() *grpc.Server, forwards bool) grpc.ServerOption {
	served := sync.OnceValue(func() map[string]bool {
		all := map[string]bool{}
		for service, info := range face().GetServiceInfo() {
			for _, m := range info.Methods {
				all["/"+service+"/"+m.Name] = true
			}
		}
		for method := range s.rules {
			all[method] = all[method] || forwards
		}
		return all
	})
	return grpc.InTapHandle(func(ctx context.Context, call *tap.Info) (context.Context, error) {
		if !served()[call.FullMethodName] {
			return nil, NoMethod(call.FullMethodName)
		}
		return ctx, nil
	})
}
