package sessions

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/ref"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/portal/internal/gateways"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
)

// RenewSession gives a live session another credential. One gateway at most gets that: the one
// that the name or the ref says, or that has been asked for the session before. What is wrong
// has one answer, wherever it is found out.
func (s *Server) RenewSession(ctx context.Context, req *gatewayv1.RenewSessionRequest) (*gatewayv1.RenewSessionResponse, error) {
	n, err := resourcename.ParseSession("name", req.GetName())
	if err != nil {
		return nil, err
	}
	ctx = upstream.Forwarded(ctx)
	all, err := s.directory.All(ctx)
	if err != nil {
		return nil, err
	}
	missing := fault.NotFound("%s that this credential can renew", n)
	holder, silent := s.holder(ctx, all, n)
	switch {
	case holder == nil && silent != nil:
		return nil, silent
	case holder == nil:
		return nil, missing
	}
	renew := question[*gatewayv1.RenewSessionResponse](func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (*gatewayv1.RenewSessionResponse, error) {
		name := resourcename.Session{Gateway: g.Name.Gateway, Ref: n.Ref}.String()
		return g.Sessions.RenewSession(ctx, &gatewayv1.RenewSessionRequest{Name: name, Credential: req.GetCredential()}, opts...)
	})
	resp, err := renew.ask(ctx, patience, *holder)
	switch {
	case status.Code(err) == codes.NotFound && silent != nil:
		return nil, silent // as of what a silent gateway may have
	case status.Code(err) == codes.NotFound:
		return nil, missing
	}
	return resp, fault.Forward(err)
}

// holder returns the gateway that a session is to be renewed at, nil for none. One that may
// have it answers as whoever has it would, so that nobody learns whether there is one. silent is
// why not all that may have it have answered, also where one has it.
func (s *Server) holder(ctx context.Context, all []gateways.Gateway, n resourcename.Session) (holder *gateways.Gateway, silent error) {
	tag, tagged := ref.TagOf(n.Ref)
	all = slices.DeleteFunc(all, func(g gateways.Gateway) bool {
		if n.Gateway != resourcename.Any {
			return g.Name.Gateway != n.Gateway
		}
		return !tagged || tag != ref.NoTag && g.Tag != tag
	})
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return &all[0], nil
	}
	answers := askAll(ctx, all, func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (*backplanev1.FindSessionResponse, error) {
		return g.Live.FindSession(ctx, &backplanev1.FindSessionRequest{Ref: n.Ref}, opts...)
	})
	for i, a := range answers {
		if a.value.GetFound() || holder == nil && a.err == nil {
			holder = &all[i]
		}
	}
	_, _, silent = collect(ctx, answers, false)
	return holder, silent
}
