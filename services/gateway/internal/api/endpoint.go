package api

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// Bounds of checks of endpoints.
const (
	maxChecks       = 4 // at once
	maxSubprotocols = 10
	maxSubprotocol  = 100
	// checkTime is how long a check may take; the portal waits for 2 seconds.
	checkTime = 1800 * time.Millisecond
	// answerTime is what is left of the caller's time for the answer to arrive.
	answerTime = 200 * time.Millisecond
)

// Backends checks endpoints. upstream.Dialer implements it.
type Backends interface {
	Check(ctx context.Context, r *upstream.Request) upstream.Check
	CheckHTTP(ctx context.Context, r *upstream.Request, path string) upstream.Check
}

// CheckEndpoint connects to each endpoint of a stage for the version's owner, or an administrator.
func (a *API) CheckEndpoint(ctx context.Context, req *gatewayv1.CheckEndpointRequest) (*gatewayv1.CheckEndpointResponse, error) {
	if err := checkCheck(req); err != nil {
		return nil, err
	}
	v := a.viewer(ctx)
	route := v.table.Get(req.GetVersion())
	if route != nil && !v.isVersionOwner(req.GetVersion()) {
		return nil, fault.Denied("%s: only its owner, or an administrator, may check its endpoints", req.GetVersion())
	}
	ctx, cancel := context.WithDeadline(ctx, untilWhen(ctx))
	defer cancel()
	select {
	case a.checks <- struct{}{}:
		defer func() { <-a.checks }()
	case <-ctx.Done():
		return nil, fault.Unavailable("%s makes %d checks already, try again", a.name(), maxChecks)
	}
	of := checkedOf(route, req.GetHttp())
	var stage *routes.Stage
	if of != nil {
		stage = stageOf(of, req.GetStage())
	}
	if stage == nil {
		return &gatewayv1.CheckEndpointResponse{Checks: []*gatewayv1.EndpointCheck{{
			Gateway: a.name().String(), Step: gatewayv1.EndpointCheck_STEP_UNKNOWN_VERSION,
			Error: "the gateway does not have the version, or its endpoint, yet: try again in a second",
		}}}, nil
	}
	checks := make([]*gatewayv1.EndpointCheck, len(stage.Endpoints))
	var wg sync.WaitGroup
	for i, e := range stage.Endpoints {
		checks[i] = &gatewayv1.EndpointCheck{Gateway: a.name().String(), Url: e.URL()}
		wg.Go(func() {
			setCheck(checks[i], a.check(ctx, of, a.asClient(ctx, route, e, req.GetSubprotocols()), req.GetHttp()))
		})
	}
	wg.Wait()
	return &gatewayv1.CheckEndpointResponse{Checks: checks}, nil
}

// checkedOf returns the endpoints of a route that are checked, nil if it does not have them.
func checkedOf(route *routes.Route, http bool) *routes.Endpoints {
	switch {
	case route == nil, http && route.HTTP == nil:
		return nil
	case http:
		return &route.HTTP.Endpoints
	}
	return &route.Endpoints
}

// check checks one endpoint: by a handshake, or where it is for HTTP by a GET of the path of its
// health checks, or else of its own.
func (a *API) check(ctx context.Context, of *routes.Endpoints, r *upstream.Request, http bool) upstream.Check {
	switch {
	case !http:
		return a.backends.Check(ctx, r)
	case of.Check != nil:
		return a.backends.CheckHTTP(ctx, r, of.Check.HTTPPath)
	}
	return a.backends.CheckHTTP(ctx, r, "")
}

// untilWhen returns when a check ends, so that its answer arrives in the caller's time.
func untilWhen(ctx context.Context) time.Time {
	until := time.Now().Add(checkTime)
	if end, ok := ctx.Deadline(); ok && end.Add(-answerTime).Before(until) {
		return end.Add(-answerTime)
	}
	return until
}

// checkCheck returns why an endpoint cannot be checked so, or nil.
func checkCheck(req *gatewayv1.CheckEndpointRequest) error {
	if _, err := resourcename.ParseVersion("version", req.GetVersion()); err != nil {
		return err
	}
	if _, ok := catalogv1.Stage_name[int32(req.GetStage())]; !ok {
		return fault.Invalid("stage", "must be STAGE_PRODUCTION or STAGE_SANDBOX")
	}
	offered := req.GetSubprotocols()
	if req.GetHttp() && len(offered) > 0 {
		return fault.Invalid("subprotocols", "must be empty with http: plain requests have none")
	}
	if len(offered) > maxSubprotocols {
		return fault.Invalid("subprotocols", "must be at most %d", maxSubprotocols)
	}
	for i, p := range offered {
		switch {
		case len(p) > maxSubprotocol || !head.IsToken(p):
			return fault.Invalid("subprotocols", "must each be a token (RFC 9110) of at most %d characters", maxSubprotocol)
		case slices.Contains(offered[:i], p):
			return fault.Invalid("subprotocols", "must not have the same value twice")
		}
	}
	return nil
}

// DescribeEndpoints returns what the gateway knows of a version's endpoints, for the
// version's owner, or an administrator.
func (a *API) DescribeEndpoints(ctx context.Context, req *gatewayv1.DescribeEndpointsRequest) (*gatewayv1.DescribeEndpointsResponse, error) {
	if _, err := resourcename.ParseVersion("version", req.GetVersion()); err != nil {
		return nil, err
	}
	v := a.viewer(ctx)
	route := v.table.Get(req.GetVersion())
	if route != nil && !v.isVersionOwner(req.GetVersion()) {
		return nil, fault.Denied("%s: only its owner, or an administrator, may see its endpoints", req.GetVersion())
	}
	resp := &gatewayv1.DescribeEndpointsResponse{}
	if route == nil {
		return resp, nil
	}
	route.EachEndpoints(func(of *routes.Endpoints) {
		for _, name := range []catalogv1.Stage{catalogv1.Stage_STAGE_PRODUCTION, catalogv1.Stage_STAGE_SANDBOX} {
			stage := stageOf(of, name)
			if stage == nil {
				continue
			}
			for i, e := range stage.Endpoints {
				s := stage.Member(i).Status(time.Now())
				resp.Endpoints = append(resp.Endpoints, &gatewayv1.EndpointStatus{
					Gateway: a.name().String(), Stage: name, Url: e.URL(), Http: of != &route.Endpoints,
					State:     gatewayv1.EndpointStatus_State(s.State) + 1, // the numbers follow on that of no state
					SinceTime: stamp(s.Since), SuspendedUntilTime: stamp(s.Until), Connections: int64(s.Connections),
					LastFailure: s.LastFailure, LastFailureTime: stamp(s.LastFailed),
				})
			}
		}
	})
	return resp, nil
}

// stageOf returns the endpoints of a stage, nil if there are none.
func stageOf(of *routes.Endpoints, stage catalogv1.Stage) *routes.Stage {
	if stage == catalogv1.Stage_STAGE_SANDBOX {
		return of.Sandbox
	}
	return of.Production
}

// asClient is the handshake as a client's that has come straight to an address that the
// installation advertises, with no path, query or origin of its own.
func (a *API) asClient(ctx context.Context, route *routes.Route, e *routes.Endpoint, subprotocols []string) *upstream.Request {
	host := e.Host
	if hosts := route.Backends.ClientHosts; len(hosts) > 0 {
		host = hosts[0]
	}
	return &upstream.Request{
		Endpoint: e, Backends: route.Backends, Header: http.Header{}, Protocols: subprotocols, Host: host, Secure: true,
		Way:          proxies.Chain{Addrs: []netip.AddrPort{netip.AddrPortFrom(clientaddr.From(ctx), 0)}},
		Installation: a.routes.Installation(),
	}
}

// setCheck says what became of a check.
func setCheck(to *gatewayv1.EndpointCheck, c upstream.Check) {
	// The numbers follow on those of a version that is not known.
	to.Step = gatewayv1.EndpointCheck_STEP_UNKNOWN_VERSION + gatewayv1.EndpointCheck_Step(c.Step)
	to.Error, to.Status, to.Subprotocol = c.Error, int32(c.Status), c.Protocol
	to.Elapsed = durationpb.New(c.Elapsed)
}
