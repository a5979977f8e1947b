package cli

import (
	"context"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// confirmDenial asks whether to deny whom a rule matches, and says how many live sessions
// that closes.
func (s *shell) confirmDenial(ctx context.Context, cl *client, yes bool, r *catalogv1.DenyRule) error {
	return s.confirm(ctx, yes, "Denies "+denied(ctx, cl.labels(), r), func() []string { return []string{cl.deniedSessions(ctx, r)} })
}

// denied says what a rule denies to whom, as "Ferry/2.0.0 to clients at 203.0.113.0/24".
func denied(ctx context.Context, label *labels, r *catalogv1.DenyRule) string {
	what, whom := "every API", ""
	if r.GetApi() != "" {
		what = "the API " + label.api(ctx, r.GetApi())
	}
	if len(r.GetVersions()) > 0 {
		var all []string
		for _, name := range r.GetVersions() {
			all = append(all, label.version(ctx, name))
		}
		what = list(all)
	}
	if name := r.GetApplication(); name != "" {
		whom = "the application " + label.application(ctx, name)
	}
	switch at := r.GetClientAddress(); {
	case at != "" && whom != "":
		whom += " at " + at
	case at != "":
		whom = "clients at " + at
	case whom == "" && r.GetSubscription() == "":
		whom = "everybody"
	}
	if sub := r.GetSubscription(); sub != "" {
		whom = list(some([]string{whom, "the subscription " + sub}))
	}
	return what + " to " + whom
}

// deniedSessions is how many live sessions a rule matches now, in words; empty for none.
// Who may make the rule sees them all.
func (c *client) deniedSessions(ctx context.Context, r *catalogv1.DenyRule) string {
	counted, err := c.sessions.CountSessions(ctx, &gatewayv1.CountSessionsRequest{
		Parent: allGateways, GroupBy: "version", Names: r.GetVersions(), ReturnPartialSuccess: true,
		Filter: join(where("api", r.GetApi()), where("application", r.GetApplication()), where("subscription", r.GetSubscription()), where("client_address", r.GetClientAddress())),
	})
	if err != nil || len(counted.GetUnreachable()) > 0 {
		return "the live sessions that it matches"
	}
	n := counted.GetTotal()
	if len(r.GetVersions()) > 0 {
		n = 0 // the total is of other versions too
		for _, of := range counted.GetCounts() {
			n += of.GetSessions()
		}
	}
	return number(int(n), nil, "live session", "live sessions")
}
