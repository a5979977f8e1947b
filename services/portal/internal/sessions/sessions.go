// Package sessions serves SessionService and EndpointService for all gateways, and
// RevocationService, of which gateways say what it has closed: it calls
// those that a request is about, with the caller's token, and merges their answers. The
// gateways decide who may see and close what.
package sessions

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sessionorder"
	"github.com/tidegatehq/tidegate/services/portal/internal/gateways"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
)

// Directory finds gateways; gateways.Directory is one.
type Directory interface {
	All(ctx context.Context) ([]gateways.Gateway, error)
}

// Server serves SessionService.
type Server struct {
	gatewayv1.UnsafeSessionServiceServer
	directory Directory
}

var _ gatewayv1.SessionServiceServer = (*Server)(nil)

// New returns a server that calls the gateways of a directory.
func New(directory Directory) *Server { return &Server{directory: directory} }

// ListGateways lists the gateways, by name.
func (s *Server) ListGateways(ctx context.Context, req *gatewayv1.ListGatewaysRequest) (*gatewayv1.ListGatewaysResponse, error) {
	p, err := page.New[string](req)
	if err != nil {
		return nil, err
	}
	ctx = upstream.Forwarded(ctx)
	all, err := s.directory.All(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(g gateways.Gateway) bool { return g.Name.Gateway <= p.After })
	resp := &gatewayv1.ListGatewaysResponse{}
	if len(all) > p.Size {
		all = all[:p.Size]
		resp.NextPageToken = p.Token(all[p.Size-1].Name.Gateway)
	}
	answers := askAll(ctx, all, func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (*gatewayv1.Gateway, error) {
		return g.Sessions.GetGateway(ctx, &gatewayv1.GetGatewayRequest{Name: g.Name.String()}, opts...)
	})
	resp.Gateways, resp.Unreachable, err = collect(ctx, answers, req.GetReturnPartialSuccess())
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// GetGateway returns the state of a gateway.
func (s *Server) GetGateway(ctx context.Context, req *gatewayv1.GetGatewayRequest) (*gatewayv1.Gateway, error) {
	n, err := resourcename.ParseGateway("name", req.GetName())
	if err == nil && n.Gateway == resourcename.Any {
		err = fault.Invalid("name", "must be one gateway; all of them are listed")
	}
	if err != nil {
		return nil, err
	}
	return askOne(ctx, s, n, func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (*gatewayv1.Gateway, error) {
		return g.Sessions.GetGateway(ctx, req, opts...)
	})
}

// ListSessions lists the live sessions of one gateway or of all, oldest first.
func (s *Server) ListSessions(ctx context.Context, req *gatewayv1.ListSessionsRequest) (*gatewayv1.ListSessionsResponse, error) {
	n, err := resourcename.ParseGateway("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if n.Gateway == resourcename.Any {
		return s.listAll(ctx, req)
	}
	return askOne(ctx, s, n, func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (*gatewayv1.ListSessionsResponse, error) {
		return g.Sessions.ListSessions(ctx, req, opts...)
	})
}

// listAll merges the live sessions of all gateways.
func (s *Server) listAll(ctx context.Context, req *gatewayv1.ListSessionsRequest) (*gatewayv1.ListSessionsResponse, error) {
	p, err := page.New[sessionorder.Key](req)
	if err != nil {
		return nil, err
	}
	ctx = upstream.Forwarded(ctx)
	all, err := s.directory.All(ctx)
	if err != nil {
		return nil, err
	}
	answers := askAll(ctx, all, func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (*gatewayv1.ListSessionsResponse, error) {
		ask := &gatewayv1.ListSessionsRequest{Parent: g.Name.String(), Filter: req.GetFilter()}
		of, err := page.New[sessionorder.Key](ask)
		if err != nil {
			return nil, err
		}
		ask.PageSize, ask.PageToken = int32(p.Size), of.Token(p.After)
		return g.Sessions.ListSessions(ctx, ask, opts...)
	})
	pages, unreachable, err := collect(ctx, answers, req.GetReturnPartialSuccess())
	if err != nil {
		return nil, err
	}
	resp := merge(pages, p)
	resp.Unreachable = unreachable
	return resp, nil
}

// merge returns the oldest sessions of some pages.
func merge(pages []*gatewayv1.ListSessionsResponse, p page.Page[sessionorder.Key]) *gatewayv1.ListSessionsResponse {
	var all []*gatewayv1.Session
	more, total := false, int32(0)
	for _, resp := range pages {
		total += resp.GetTotalSize()
		all = append(all, resp.GetSessions()...)
		more = more || resp.GetNextPageToken() != ""
	}
	slices.SortFunc(all, func(a, b *gatewayv1.Session) int {
		return sessionorder.KeyOf(a).Compare(sessionorder.KeyOf(b))
	})
	resp := &gatewayv1.ListSessionsResponse{Sessions: all[:min(p.Size, len(all))], TotalSize: total}
	if more || len(all) > p.Size {
		last := resp.GetSessions()[len(resp.GetSessions())-1]
		resp.NextPageToken = p.Token(sessionorder.KeyOf(last))
	}
	return resp
}

// GetSession returns a live session.
func (s *Server) GetSession(ctx context.Context, req *gatewayv1.GetSessionRequest) (*gatewayv1.Session, error) {
	return find(ctx, s, req.GetName(), func(ctx context.Context, g gateways.Gateway, name string, opts ...grpc.CallOption) (*gatewayv1.Session, error) {
		return g.Sessions.GetSession(ctx, &gatewayv1.GetSessionRequest{Name: name}, opts...)
	})
}

// CloseSession closes a live session.
func (s *Server) CloseSession(ctx context.Context, req *gatewayv1.CloseSessionRequest) (*emptypb.Empty, error) {
	return find(ctx, s, req.GetName(), func(ctx context.Context, g gateways.Gateway, name string, opts ...grpc.CallOption) (*emptypb.Empty, error) {
		return g.Sessions.CloseSession(ctx, &gatewayv1.CloseSessionRequest{Name: name}, opts...)
	})
}

// find asks the gateway that a session's name has for the session, or all of them.
func find[R any](ctx context.Context, s *Server, name string, ask func(ctx context.Context, g gateways.Gateway, name string, opts ...grpc.CallOption) (R, error)) (R, error) {
	var none R
	n, err := resourcename.ParseSession("name", name)
	if err != nil {
		return none, err
	}
	onGateway := func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (R, error) {
		return ask(ctx, g, resourcename.Session{Gateway: g.Name.Gateway, Ref: n.Ref}.String(), opts...)
	}
	if n.Gateway != resourcename.Any {
		return askOne(ctx, s, resourcename.Gateway{Gateway: n.Gateway}, onGateway)
	}
	ctx = upstream.Forwarded(ctx)
	all, err := s.directory.All(ctx)
	if err != nil {
		return none, err
	}
	answers := askAll(ctx, all, onGateway)
	for _, a := range answers {
		if a.err == nil {
			return a.value, nil
		}
	}
	answers = slices.DeleteFunc(answers, func(a answer[R]) bool { return status.Code(a.err) == codes.NotFound })
	if _, _, err := collect(ctx, answers, false); err != nil {
		return none, err
	}
	return none, fault.NotFound("%s", n)
}
