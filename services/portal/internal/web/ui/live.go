package ui

import (
	"google.golang.org/grpc/codes"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Absent says of a name that cannot be one that nothing has it: names come from the
// addresses of pages.
func Absent(err error) error {
	if fault.Is(err, codes.InvalidArgument) {
		return fault.NotFound("what this address names was not found")
	}
	return err
}

// Away reports whether a service or a gateway did not answer.
func Away(err error) bool {
	return fault.Is(err, codes.Unavailable) || fault.Is(err, codes.DeadlineExceeded)
}

// LiveSessions counts live sessions by what they are of, such as "version", and returns
// what says how many there are of each name: -1 where a gateway does not answer.
func (s *Services) LiveSessions(r *Request, of string, names ...string) (func(name string) int64, error) {
	if len(names) == 0 {
		return func(string) int64 { return 0 }, nil
	}
	resp, err := s.countSessions(r, &gatewayv1.CountSessionsRequest{GroupBy: of, Names: names})
	if err != nil {
		return nil, err
	}
	known := map[string]int64{}
	for _, c := range resp.GetCounts() {
		known[c.GetName()] = c.GetSessions()
	}
	return func(name string) int64 {
		if len(resp.GetUnreachable()) > 0 {
			return -1
		}
		return known[name]
	}, nil
}

// AllLiveSessions counts the live sessions that a filter leaves, or returns -1 where a
// gateway does not answer.
func (s *Services) AllLiveSessions(r *Request, filter string) (int64, error) {
	resp, err := s.countSessions(r, &gatewayv1.CountSessionsRequest{GroupBy: "gateway", Filter: filter})
	if err != nil || len(resp.GetUnreachable()) > 0 {
		return -1, err
	}
	return resp.GetTotal(), nil
}

// countSessions asks all gateways. Where nobody knows which there are, all are unreachable.
func (s *Services) countSessions(r *Request, req *gatewayv1.CountSessionsRequest) (*gatewayv1.CountSessionsResponse, error) {
	req.Parent, req.ReturnPartialSuccess = "gateways/-", true
	resp, err := s.Sessions.CountSessions(r.Context(), req)
	if Away(err) {
		return &gatewayv1.CountSessionsResponse{Unreachable: []string{req.GetParent()}}, nil
	}
	return resp, err
}
