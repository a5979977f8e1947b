// Package api serves SessionService, a gateway's live sessions, for operators and for
// the owners of versions and applications, EndpointService, which tries backends for
// the owners of versions, and LiveSessionService for other services. viewer.go says who sees what, check.go checks
// requests, convert.go converts; package session keeps the sessions.
package api

import (
	"context"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/renewal"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sessionorder"
)

// Sessions are the live sessions. session.Registry implements it.
type Sessions interface {
	Get(ref string) *session.Session
	Each(fn func(*session.Session))
	Gauges() session.Gauges
}

// Gateway is what the API says about the gateway itself.
type Gateway struct {
	Instance, Build string
	Started         time.Time
	// Ready returns why the gateway takes no new sessions, or nil.
	Ready func() error
	// RoutesApplied and GrantsApplied return the number of the last change applied.
	RoutesApplied, GrantsApplied func() uint64
	// Closed waits until a change of the subscription service has been applied, and returns
	// how many sessions it has ended.
	Closed func(ctx context.Context, changeNumber uint64) (int, error)
	// Live renews the credentials of its sessions.
	Live *renewal.Local
}

// API serves SessionService and EndpointService.
type API struct {
	gatewayv1.UnsafeSessionServiceServer
	gatewayv1.UnsafeEndpointServiceServer

	gateway  Gateway
	sessions Sessions
	routes   *routes.Current
	security *securitylog.Log
	backends Backends
	checks   chan struct{} // taken by each check that is under way
}

var (
	_ gatewayv1.SessionServiceServer  = (*API)(nil)
	_ gatewayv1.EndpointServiceServer = (*API)(nil)
)

// New returns the API of a gateway. It takes the owners and endpoints of versions from
// routes, writes to security which sessions were closed, and has backends check endpoints.
func New(gateway Gateway, sessions Sessions, routes *routes.Current, security *securitylog.Log, backends Backends) *API {
	return &API{
		gateway: gateway, sessions: sessions, routes: routes, security: security, backends: backends, checks: make(chan struct{}, maxChecks),
	}
}

// Register adds the services to a server's two listeners: for users and for
// services.
func (a *API) Register(users, services grpc.ServiceRegistrar) {
	for _, r := range []grpc.ServiceRegistrar{users, services} {
		gatewayv1.RegisterSessionServiceServer(r, a)
		gatewayv1.RegisterEndpointServiceServer(r, a)
	}
	backplanev1.RegisterLiveSessionServiceServer(services, &live{gateway: a.gateway})
}

// Rules says who may call which method: any user. The handlers check which sessions
// a user may see, and whose endpoint is checked. Of LiveSessionService it is services only.
func Rules() identity.Rules {
	rules := identity.Rules{
		backplanev1.LiveSessionService_CountClosed_FullMethodName:            {Services: []string{identity.Portal}},
		backplanev1.LiveSessionService_RenewSession_FullMethodName:           {Services: []string{identity.Gateway}},
		backplanev1.LiveSessionService_FindSession_FullMethodName:            {Services: []string{identity.Gateway, identity.Portal}},
		backplanev1.LiveSessionService_ListCredentialSessions_FullMethodName: {Services: []string{identity.Gateway}},
	}
	for _, desc := range []grpc.ServiceDesc{gatewayv1.SessionService_ServiceDesc, gatewayv1.EndpointService_ServiceDesc} {
		for _, m := range desc.Methods {
			rules["/"+desc.ServiceName+"/"+m.MethodName] = identity.Rule{}
		}
	}
	return rules
}

// ListGateways refuses, because a gateway knows of no other.
func (a *API) ListGateways(context.Context, *gatewayv1.ListGatewaysRequest) (*gatewayv1.ListGatewaysResponse, error) {
	return nil, fault.Unimplemented("only the portal lists gateways: this is %s", a.name())
}

// GetGateway returns the gateway's own state.
func (a *API) GetGateway(_ context.Context, req *gatewayv1.GetGatewayRequest) (*gatewayv1.Gateway, error) {
	if err := a.checkGateway("name", req.GetName()); err != nil {
		return nil, err
	}
	return a.toGateway(), nil
}

// ListSessions lists the sessions that the caller may see, oldest first.
func (a *API) ListSessions(ctx context.Context, req *gatewayv1.ListSessionsRequest) (*gatewayv1.ListSessionsResponse, error) {
	if err := a.checkGateway("parent", req.GetParent()); err != nil {
		return nil, err
	}
	v := a.viewer(ctx)
	match, err := v.filter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	if err := checkToken(req.GetPageToken()); err != nil {
		return nil, err
	}
	p, err := page.New[sessionorder.Key](req)
	if err != nil {
		return nil, err
	}
	found, more, total := a.oldest(p.After, p.Size, match)
	resp := &gatewayv1.ListSessionsResponse{TotalSize: int32(min(total, math.MaxInt32))}
	for _, e := range found {
		resp.Sessions = append(resp.Sessions, a.toSession(e.session, v))
	}
	if more {
		resp.NextPageToken = p.Token(found[len(found)-1].key)
	}
	return resp, nil
}

// GetSession returns a session.
func (a *API) GetSession(ctx context.Context, req *gatewayv1.GetSessionRequest) (*gatewayv1.Session, error) {
	s, err := a.session(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	return a.toSession(s, a.viewer(ctx)), nil
}

// CloseSession closes a session with 4010.
func (a *API) CloseSession(ctx context.Context, req *gatewayv1.CloseSessionRequest) (*emptypb.Empty, error) {
	s, err := a.session(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	user := identity.From(ctx).User.Name
	if s.End(ending.New(ending.OperatorClose, "by "+user)) {
		a.security.Write(ctx, securitylog.Event{Kind: securitylog.SessionClosed, What: req.GetName()})
	}
	return &emptypb.Empty{}, nil
}

// session returns the session with this name, if the caller may see it.
func (a *API) session(ctx context.Context, name string) (*session.Session, error) {
	ref, err := a.checkSession(name)
	if err != nil {
		return nil, err
	}
	s := a.sessions.Get(ref)
	if s == nil || !a.viewer(ctx).sees(s) {
		return nil, fault.NotFound("%s", name)
	}
	return s, nil
}
