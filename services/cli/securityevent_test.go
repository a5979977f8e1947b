package cli

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
)

// securityLog has an event, the count of those that were left out, and remembers what it was
// asked for.
type securityLog struct {
	identityv1.UnimplementedSecurityEventServiceServer
	filter string
}

func (l *securityLog) ListSecurityEvents(_ context.Context, req *identityv1.ListSecurityEventsRequest) (*identityv1.ListSecurityEventsResponse, error) {
	if l.filter = req.GetFilter(); strings.Contains(l.filter, "nobody") {
		return nil, status.Error(codes.NotFound, `user "nobody" not found`)
	}
	if strings.Contains(l.filter, "BORED") {
		return nil, status.Error(codes.InvalidArgument, `filter: no event "BORED": there are SIGNED_IN`)
	}
	return &identityv1.ListSecurityEventsResponse{SecurityEvents: []*identityv1.SecurityEvent{
		{Event: "SIGN_IN_FAILED", LeftOut: 4990},
		{
			Event: "ROLES_CHANGED", Actor: "users/a", ActorDisplayName: "admin", ClientAddress: "192.0.2.7", Method: "UpdateUser",
			Subject: "users/b", User: "users/b", Username: "robin", Detail: "from creator to publisher",
		},
	}}, nil
}

// The security log is listed with the usernames of those in it.
func TestSecurityEvents(t *testing.T) {
	t.Parallel()
	l := &securityLog{}
	c := newFakeServer(t, func(srv *grpc.Server) { identityv1.RegisterSecurityEventServiceServer(srv, l) }).signIn(t)
	stdout, stderr, code := c.run(t, "security-event", "list", "--event", "roles_changed", "--user", "robin", "--from", "192.0.2.7")
	if want := `event = "ROLES_CHANGED" AND user = "robin" AND client_address = "192.0.2.7"`; l.filter != want {
		t.Errorf("the filter is %s, want %s", l.filter, want)
	}
	got := strings.Join(strings.Fields(stdout), " ")
	for _, want := range []string{"TIME EVENT BY FROM METHOD WHAT DETAIL", "SIGN_IN_FAILED - - - - 4990 more in this second", "ROLES_CHANGED admin 192.0.2.7 UpdateUser robin from creator to publisher"} {
		if !strings.Contains(got, want) || code != 0 {
			t.Errorf("security-event list = %q, %q, %d, want %q", stdout, stderr, code, want)
		}
	}
	for args, want := range map[string]string{
		"--user nobody": `--user: there is no user "nobody" that you may see; list them with: tidegate user list`,
		"--event bored": `--event: there is no event "BORED": there are SIGNED_IN`,
		"--from here":   `--from: "here" is no IP address, such as 192.0.2.7`,
		"--limit 0":     "--limit: 0 is not between 1 and 1000",
		"--since soon":  `--since: "soon" is neither`,
	} {
		if _, stderr, code := c.run(t, append([]string{"security-event", "list"}, strings.Fields(args)...)...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("security-event list %s = %q, %d, want %q", args, stderr, code, want)
		}
	}
}
