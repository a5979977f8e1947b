package sessions

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tidegatehq/tidegate/gen"
	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/portal/internal/gateways"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
)

// closePatience is how long a gateway has to say that it has closed sessions.
const closePatience = time.Second

// closings are what gateways have closed.
type closings struct {
	sessions int64
	gateways int32
	silent   []string
}

// add adds what a gateway has closed. A gateway that did not answer is silent.
func (c *closings) add(from resourcename.Gateway, sessions int64, err error) error {
	switch status.Code(err) {
	case codes.OK:
	case codes.Unavailable:
		c.silent = append(c.silent, from.String())
		return nil
	default:
		return fault.Forward(err)
	}
	if sessions > 0 {
		c.sessions += sessions
		c.gateways++
	}
	return nil
}

// CloseSessions closes live sessions on one gateway or on all.
func (s *Server) CloseSessions(ctx context.Context, req *gatewayv1.CloseSessionsRequest) (*gatewayv1.CloseSessionsResponse, error) {
	began := time.Now()
	n, err := resourcename.ParseGateway("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	ctx = upstream.Forwarded(ctx)
	all, err := s.directory.All(ctx)
	if err != nil {
		return nil, err
	}
	if n.Gateway != resourcename.Any {
		if all = only(all, n); len(all) == 0 {
			return nil, fault.NotFound("%s", n)
		}
	}
	answers := askAllWithin(ctx, closePatience, all, func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (*gatewayv1.CloseSessionsResponse, error) {
		return g.Sessions.CloseSessions(ctx, &gatewayv1.CloseSessionsRequest{
			Parent: g.Name.String(), Version: req.GetVersion(), ClientAddress: req.GetClientAddress(), Filter: req.GetFilter(),
		}, opts...)
	})
	var sum closings
	for _, a := range answers {
		if err := sum.add(a.from, a.value.GetClosedSessions(), a.err); err != nil {
			return nil, err
		}
	}
	return &gatewayv1.CloseSessionsResponse{
		ClosedSessions: sum.sessions, Gateways: sum.gateways, Duration: durationpb.New(time.Since(began)), SilentGateways: sum.silent,
	}, nil
}

// only returns the gateway with a name, nothing where there is none.
func only(all []gateways.Gateway, name resourcename.Gateway) []gateways.Gateway {
	for _, g := range all {
		if g.Name == name {
			return []gateways.Gateway{g}
		}
	}
	return nil
}

// Revocations serves RevocationService: the subscription service revokes, and the gateways say
// what they have closed.
type Revocations struct {
	subscriptionv1.UnsafeRevocationServiceServer
	directory    Directory
	subscription subscriptionv1.RevocationServiceClient
}

var _ subscriptionv1.RevocationServiceServer = (*Revocations)(nil)

// NewRevocations returns a server that calls the subscription service, and then the gateways of
// a directory.
func NewRevocations(directory Directory, subscription grpc.ClientConnInterface) *Revocations {
	return &Revocations{directory: directory, subscription: subscriptionv1.NewRevocationServiceClient(subscription)}
}

// Revoke revokes credentials, and says which sessions that has closed. What is revoked is
// revoked, whether the gateways are heard or not.
func (r *Revocations) Revoke(ctx context.Context, req *subscriptionv1.RevokeRequest) (*subscriptionv1.RevokeResponse, error) {
	began := time.Now()
	out := upstream.Forwarded(ctx)
	resp, err := r.subscription.Revoke(out, req)
	if err != nil {
		return nil, fault.Forward(err)
	}
	if resp.GetChange() != "" {
		setChange(ctx, resp.GetChange())
		sum := r.closed(out, resp.GetChange())
		resp.ClosedSessions, resp.Gateways, resp.SilentGateways = sum.sessions, sum.gateways, sum.silent
	}
	resp.Duration = durationpb.New(time.Since(began))
	return resp, nil
}

// setChange puts the name of the change into the header of the answer, as the service does.
func setChange(ctx context.Context, name string) {
	if grpc.ServerTransportStreamFromContext(ctx) != nil {
		_ = grpc.SetHeader(ctx, metadata.Pairs(gen.ChangeHeader, name)) // fails only when the header has been sent
	}
}

// closed asks the gateways what a change has closed. Where it is not known which gateways
// there are, gateways/- is silent.
func (r *Revocations) closed(ctx context.Context, name string) (sum closings) {
	ctx, cancel := context.WithTimeout(ctx, closePatience)
	defer cancel()
	all, err := r.directory.All(ctx)
	change, parseErr := resourcename.ParseChange("change", name)
	if err != nil || parseErr != nil {
		return closings{silent: []string{resourcename.Gateway{Gateway: resourcename.Any}.String()}}
	}
	answers := askAllWithin(ctx, closePatience, all, func(ctx context.Context, g gateways.Gateway, opts ...grpc.CallOption) (*backplanev1.CountClosedResponse, error) {
		return g.Live.CountClosed(ctx, &backplanev1.CountClosedRequest{ChangeNumber: change.Number}, opts...)
	})
	for _, a := range answers {
		if sum.add(a.from, a.value.GetClosedSessions(), a.err) != nil {
			sum.silent = append(sum.silent, a.from.String()) // a gateway of an older release
		}
	}
	return sum
}
