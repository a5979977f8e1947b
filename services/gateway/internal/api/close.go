package api

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
)

// CloseSessions closes, with 4010, the sessions that the caller sees and that a request
// names.
func (a *API) CloseSessions(ctx context.Context, req *gatewayv1.CloseSessionsRequest) (*gatewayv1.CloseSessionsResponse, error) {
	began := time.Now()
	if err := a.checkGateway("parent", req.GetParent()); err != nil {
		return nil, err
	}
	match, err := a.viewer(ctx).closing(req)
	if err != nil {
		return nil, err
	}
	e := ending.New(ending.OperatorClose, "by "+identity.From(ctx).User.Name)
	n := 0
	a.sessions.Each(func(s *session.Session) {
		if match(s) && s.End(e) {
			n++
		}
	})
	resp := &gatewayv1.CloseSessionsResponse{ClosedSessions: int64(n)}
	if n > 0 {
		resp.Gateways = 1
		a.security.Write(ctx, securitylog.Event{Kind: securitylog.SessionClosed, What: a.name().String(), Why: closedBy(req, n)})
	}
	resp.Duration = durationpb.New(time.Since(began))
	return resp, nil
}

// closedBy says what a call has closed.
func closedBy(req *gatewayv1.CloseSessionsRequest, n int) string {
	words := []string{fmt.Sprintf("%d sessions", n)}
	for _, w := range [][2]string{{"of", req.GetVersion()}, {"at", req.GetClientAddress()}, {"where", req.GetFilter()}} {
		if w[1] != "" {
			words = append(words, w[0]+" "+w[1])
		}
	}
	return strings.Join(words, ", ")
}

// closing returns a function that reports whether the viewer sees a session that a request
// names.
func (v viewer) closing(req *gatewayv1.CloseSessionsRequest) (func(*session.Session) bool, error) {
	if req.GetVersion() == "" && req.GetClientAddress() == "" && req.GetFilter() == "" {
		return nil, fault.Invalid("version", "must be set, or client_address or filter: at least one of them says which sessions")
	}
	if req.GetVersion() != "" {
		if _, err := resourcename.ParseVersion("version", req.GetVersion()); err != nil {
			return nil, err
		}
	}
	match, err := v.filter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	network, err := networkOf(req.GetClientAddress())
	if err != nil {
		return nil, err
	}
	isThere := isAt(network)
	return func(s *session.Session) bool {
		if req.GetVersion() != "" && s.Route().Version != req.GetVersion() {
			return false
		}
		if network.IsValid() && !isThere(s, v) {
			return false
		}
		return match(s)
	}, nil
}

// networkOf reads an address or a network; empty is the zero value.
func networkOf(text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	network, err := netaddr.ParseNetwork(text)
	if err != nil {
		return netip.Prefix{}, fault.Invalid("client_address", "must be an address, as 192.0.2.7 or 2001:db8::7, or a network without bits behind its prefix, as 192.0.2.0/24")
	}
	return network, nil
}
