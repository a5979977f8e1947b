package api

import (
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// TestCloseSessions closes those that fit all that the request says and that the caller sees,
// and no others.
func TestCloseSessions(t *testing.T) {
	for _, tt := range []struct {
		name string
		as   func(*fixture) grpc.CallOption
		req  *gatewayv1.CloseSessionsRequest
		want []string
	}{
		{"of a version", root, &gatewayv1.CloseSessionsRequest{Version: v1}, []string{"a1", "a2"}},
		{"at an address", root, &gatewayv1.CloseSessionsRequest{ClientAddress: "192.0.2.1"}, []string{"a1", "a2", "b1"}},
		{"at an address as IPv6", root, &gatewayv1.CloseSessionsRequest{ClientAddress: "::ffff:192.0.2.1"}, []string{"a1", "a2", "b1"}},
		{"in a network", root, &gatewayv1.CloseSessionsRequest{ClientAddress: "192.0.2.0/30", Version: v2}, []string{"b1"}},
		{"in another network", root, &gatewayv1.CloseSessionsRequest{ClientAddress: "192.0.2.4/30"}, nil},
		{"by a filter", root, &gatewayv1.CloseSessionsRequest{Filter: `application = "applications/x"`}, []string{"a1", "b1"}},
		{"by a filter, of a version", root, &gatewayv1.CloseSessionsRequest{Filter: `application = "applications/x"`, Version: v1}, []string{"a1"}},
		{"as the owner of a version", func(f *fixture) grpc.CallOption { return f.ann }, &gatewayv1.CloseSessionsRequest{ClientAddress: "192.0.2.0/24"}, []string{"a1", "a2"}},
		{"as nobody's owner", func(f *fixture) grpc.CallOption { return f.tom }, &gatewayv1.CloseSessionsRequest{Version: v1}, nil},
	} {
		f := newFixture(t)
		sessions := map[string]*session.Session{"a1": f.add("a1", v1, "applications/x"), "a2": f.add("a2", v1, "applications/y"), "b1": f.add("b1", v2, "applications/x")}
		tt.req.Parent = parent
		for _, want := range []int{len(tt.want), 0} { // what is closed is not closed again
			resp, err := f.CloseSessions(t.Context(), tt.req, tt.as(f))
			if err != nil || resp.GetClosedSessions() != int64(want) || resp.GetGateways() != int32(min(want, 1)) || resp.GetDuration() == nil {
				t.Errorf("%s: CloseSessions() = %v, %v, want %d", tt.name, resp, err, want)
			}
		}
		for ref, s := range sessions {
			if closed := s.Err() != nil; closed != slices.Contains(tt.want, ref) {
				t.Errorf("%s: %s is closed: %v", tt.name, ref, closed)
			}
			s.Abandon()
		}
	}
}

func root(f *fixture) grpc.CallOption { return f.root }

func TestCloseSessionsRefused(t *testing.T) {
	f := newFixture(t)
	s := f.add("a1", v1, "applications/x")
	defer s.Abandon()
	for _, tt := range []struct {
		req  *gatewayv1.CloseSessionsRequest
		code codes.Code
		text string
	}{
		{&gatewayv1.CloseSessionsRequest{Parent: parent}, codes.InvalidArgument, "version: must be set, or client_address or filter: at least one of them says which sessions"},
		{&gatewayv1.CloseSessionsRequest{Parent: "gateways/-", Version: v1}, codes.InvalidArgument, "parent: must be gateways/gateway-1: only the portal answers for all gateways"},
		{&gatewayv1.CloseSessionsRequest{Parent: "gateways/other", Version: v1}, codes.NotFound, "gateways/other not found"},
		{&gatewayv1.CloseSessionsRequest{Parent: parent, Version: "1.0.0"}, codes.InvalidArgument, "version: must be apis/{api}/versions/{version}"},
		{&gatewayv1.CloseSessionsRequest{Parent: parent, ClientAddress: "example.com"}, codes.InvalidArgument, "client_address: must be an address, as 192.0.2.7 or 2001:db8::7, or a network without bits behind its prefix, as 192.0.2.0/24"},
		{&gatewayv1.CloseSessionsRequest{Parent: parent, ClientAddress: "192.0.2.7/24"}, codes.InvalidArgument, "client_address: must be an address, as 192.0.2.7 or 2001:db8::7, or a network without bits behind its prefix, as 192.0.2.0/24"},
		{&gatewayv1.CloseSessionsRequest{Parent: parent, Filter: "x"}, codes.InvalidArgument, `filter: must be field = "value", joined by AND`},
	} {
		_, err := f.CloseSessions(t.Context(), tt.req, f.root)
		if got := status.Convert(err); got.Code() != tt.code || got.Message() != tt.text {
			t.Errorf("CloseSessions(%v) = %v %q, want %v %q", tt.req, got.Code(), got.Message(), tt.code, tt.text)
		}
	}
	if s.Err() != nil {
		t.Error("a refused call has closed a session")
	}
}

// TestCountClosed answers the portal once a change is applied, and says so where it is not.
func TestCountClosed(t *testing.T) {
	f := newFixture(t)
	resp, err := f.live.CountClosed(t.Context(), &backplanev1.CountClosedRequest{ChangeNumber: 3})
	if err != nil || resp.GetClosedSessions() != 3 {
		t.Errorf("CountClosed() = %v, %v, want 3", resp, err)
	}
	if _, err := f.live.CountClosed(t.Context(), &backplanev1.CountClosedRequest{ChangeNumber: 9}); status.Code(err) != codes.Unavailable {
		t.Errorf("CountClosed(of a change that does not come) = %v, want UNAVAILABLE", err)
	}
}
