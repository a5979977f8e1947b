package cli

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"google.golang.org/grpc/codes"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
)

// securityCmds are the commands about security events.
type securityCmds struct {
	List securityListCmd `cmd:"" help:"List the newest security events. Only administrators see them."`
}

// securityListCmd lists security events.
type securityListCmd struct {
	Event string `placeholder:"WORD" help:"Show only these, such as SIGN_IN_FAILED."`
	User  string `placeholder:"USERNAME" help:"Show only those that this user made, or that are about this user, by username or users/…."`
	From  string `placeholder:"ADDRESS" help:"Show only those from this IP address."`
	Limit int32  `default:"50" help:"How many to show, 1 to 1000."`

	timeFlags `embed:""`
}

// Run lists the events.
func (c *securityListCmd) Run(ctx context.Context, s *shell) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return usagef("--limit: %d is not between 1 and 1000", c.Limit)
	}
	if _, err := netip.ParseAddr(c.From); err != nil && c.From != "" {
		return usagef("--from: %q is no IP address, such as 192.0.2.7", c.From)
	}
	start, end, err := c.times()
	if err != nil {
		return err
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	list, err := cl.security.ListSecurityEvents(ctx, &identityv1.ListSecurityEventsRequest{
		PageSize: c.Limit, StartTime: start, EndTime: end,
		Filter: join(where("event", strings.ToUpper(c.Event)), where("user", c.User), where("client_address", c.From)),
	})
	if err != nil {
		return c.explain(err)
	}
	if s.whole() {
		return s.printWhole(list)
	}
	var rows [][]string
	for _, e := range list.GetSecurityEvents() {
		detail := e.GetDetail()
		if e.GetLeftOut() > 0 {
			detail = fmt.Sprintf("%d more in this second", e.GetLeftOut())
		}
		rows = append(rows, []string{
			when(e.GetTime()), e.GetEvent(), called(e.GetActorDisplayName(), e.GetActor()), e.GetClientAddress(), e.GetMethod(), subject(e), detail,
		})
	}
	return s.printTable([]string{"TIME", "EVENT", "BY", "FROM", "METHOD", "WHAT", "DETAIL"}, rows)
}

// explain says at the flag what the server says of the filter.
func (c *securityListCmd) explain(err error) error {
	st, ok := statusOf(err)
	if !ok {
		return err
	}
	about, ofEvent := strings.CutPrefix(st.Message(), "filter: no event ")
	switch {
	case st.Code() == codes.NotFound:
		return unknown("--user", "user", c.User, "user list")
	case st.Code() == codes.InvalidArgument && ofEvent:
		return usagef("--event: there is no event %s", about)
	}
	return err
}

// subject is what an event was done to: a user by the username.
func subject(e *identityv1.SecurityEvent) string {
	if e.GetSubject() == e.GetUser() {
		return called(e.GetUsername(), e.GetUser())
	}
	return e.GetSubject()
}
