package api

import (
	"context"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sessionorder"
)

// group is what sessions can be counted by.
type group struct {
	// of returns the name of what a session is of, or "".
	of func(a *API, s *session.Session) string
	// check returns why a name cannot be one of the group, or nil.
	check func(field, name string) error
}

// groups are the values of group_by.
var groups = map[string]group{
	"version": {
		of:    func(_ *API, s *session.Session) string { return s.Route().Version },
		check: func(field, name string) error { _, err := resourcename.ParseVersion(field, name); return err },
	},
	"application": {
		of:    func(_ *API, s *session.Session) string { return grantOf(s).Application },
		check: func(field, name string) error { _, err := resourcename.ParseApplication(field, name); return err },
	},
	"subscription": {
		of:    func(_ *API, s *session.Session) string { return grantOf(s).Subscription },
		check: func(field, name string) error { _, err := resourcename.ParseSubscription(field, name); return err },
	},
	"oauth_client": {
		of:    func(_ *API, s *session.Session) string { return grantOf(s).OAuthClient },
		check: func(field, name string) error { _, err := resourcename.ParseOAuthClient(field, name); return err },
	},
	"api_key": {
		of:    func(_ *API, s *session.Session) string { return grantOf(s).APIKey },
		check: func(field, name string) error { _, err := resourcename.ParseAPIKey(field, name); return err },
	},
	"gateway": {
		of:    func(a *API, _ *session.Session) string { return a.name().String() },
		check: func(field, name string) error { _, err := resourcename.ParseGateway(field, name); return err },
	},
}

// CountSessions counts the sessions that the caller sees, in one pass.
func (a *API) CountSessions(ctx context.Context, req *gatewayv1.CountSessionsRequest) (*gatewayv1.CountSessionsResponse, error) {
	if err := a.checkGateway("parent", req.GetParent()); err != nil {
		return nil, err
	}
	by, counts, err := checkCount(req)
	if err != nil {
		return nil, err
	}
	match, err := a.viewer(ctx).filter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	return a.count(match, by, counts), nil
}

// count counts the sessions that match accepts, of the names that counts has, or of all
// where it has none.
func (a *API) count(match func(*session.Session) bool, by group, counts map[string]int64) *gatewayv1.CountSessionsResponse {
	resp, all := &gatewayv1.CountSessionsResponse{}, len(counts) == 0
	a.sessions.Each(func(s *session.Session) {
		if s.Beside() || !match(s) {
			return
		}
		resp.Total++
		if name := by.of(a, s); name != "" {
			if _, asked := counts[name]; asked || all {
				counts[name]++
			}
		}
	})
	resp.Counts = sessionorder.Greatest(counts)
	return resp
}

// checkCount returns what to count by, and a count of 0 for each name that is asked for.
func checkCount(req *gatewayv1.CountSessionsRequest) (by group, counts map[string]int64, err error) {
	by, ok := groups[req.GetGroupBy()]
	if !ok {
		return by, nil, fault.Invalid("group_by", "must be version, application, subscription, oauth_client, api_key or gateway")
	}
	names := req.GetNames()
	if len(names) > sessionorder.MaxCounts {
		return by, nil, fault.Invalid("names", "must be at most %d", sessionorder.MaxCounts)
	}
	counts = make(map[string]int64, len(names))
	for _, name := range names {
		if err := by.check("names", name); err != nil {
			return by, nil, err
		}
		counts[name] = 0
	}
	if len(counts) < len(names) {
		return by, nil, fault.Invalid("names", "must not have the same value twice")
	}
	return by, counts, nil
}
