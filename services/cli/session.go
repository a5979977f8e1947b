package cli

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// sessionCmds are the commands about live sessions.
type sessionCmds struct {
	List  sessionListCmd  `cmd:"" help:"List live sessions."`
	Close sessionCloseCmd `cmd:"" help:"Close a live session, or many, with 4010."`
}

// allGateways names all gateways (AIP-159).
const allGateways = "gateways/-"

// sessionListCmd lists sessions.
type sessionListCmd struct {
	App string `placeholder:"APP" help:"Show only those of this application."`
	API string `name:"api" placeholder:"VERSION" help:"Show only those of this version, such as EchoWebSocket/1.0.0."`
}

// Run lists the sessions.
func (c *sessionListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	only, err := cl.trafficFilter(ctx, c.App, c.API)
	if err != nil {
		return err
	}
	list := &gatewayv1.ListSessionsResponse{}
	if list.Sessions, list.Unreachable, err = cl.listSessions(ctx, only); err != nil {
		return err
	}
	slices.Sort(list.GetUnreachable())
	list.Unreachable = slices.Compact(list.GetUnreachable())
	s.noteUnreachable(list.GetUnreachable(), "its sessions are not shown")
	if s.whole() {
		return s.printWhole(list)
	}
	label := cl.labels()
	var rows [][]string
	for _, live := range list.GetSessions() {
		rows = append(rows, []string{
			label.version(ctx, live.GetVersion()), label.application(ctx, live.GetApplication()), live.GetClientAddress(),
			when(live.GetStartTime()), messages(live.GetInbound()), messages(live.GetOutbound()), live.GetName(),
		})
	}
	return s.printTable([]string{"VERSION", "APPLICATION", "CLIENT", "SINCE", "IN", "OUT", "NAME"}, rows)
}

// noteUnreachable names the gateways that could not be reached, and says what is
// missing from the output.
func (s *shell) noteUnreachable(gateways []string, missing string) {
	for _, name := range gateways {
		s.warn("%s cannot be reached, %s", name, missing)
	}
}

// gatewayCmds are the commands about gateways.
type gatewayCmds struct {
	List gatewayListCmd `cmd:"" help:"List the gateways."`
	Get  gatewayGetCmd  `cmd:"" help:"Show a gateway."`
}

// gatewayListCmd lists gateways.
type gatewayListCmd struct{}

// Run lists the gateways.
func (c *gatewayListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	list := &gatewayv1.ListGatewaysResponse{}
	err = everyPage(func(token string) (string, error) {
		page, err := cl.sessions.ListGateways(ctx, &gatewayv1.ListGatewaysRequest{
			PageSize: pageSize, PageToken: token, ReturnPartialSuccess: true,
		})
		list.Gateways = append(list.Gateways, page.GetGateways()...)
		list.Unreachable = append(list.Unreachable, page.GetUnreachable()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	s.noteUnreachable(list.GetUnreachable(), "its state is not shown")
	if s.whole() {
		return s.printWhole(list)
	}
	var rows [][]string
	for _, g := range list.GetGateways() {
		rows = append(rows, []string{
			path.Base(g.GetName()), yes(g.GetReady()), strconv.FormatUint(g.GetSessions(), 10), when(g.GetStartTime()), g.GetBuild(), g.GetName(),
		})
	}
	return s.printTable([]string{"GATEWAY", "READY", "SESSIONS", "SINCE", "BUILD", "NAME"}, rows)
}

// counted is the traffic of one direction, of a session or in usage.
type counted interface {
	GetMessages() uint64
	GetPayloadBytes() uint64
}

// messages prints the messages of one direction.
func messages(t counted) string { return strconv.FormatUint(t.GetMessages(), 10) }

// amount prints the messages and bytes of one direction.
func amount(t counted) string {
	return fmt.Sprintf("%d messages, %d bytes", t.GetMessages(), t.GetPayloadBytes())
}

// sessionCloseCmd closes sessions.
type sessionCloseCmd struct {
	Session string `arg:"" optional:"" help:"The session's name, gateways/…/sessions/…, or its ref."`
	App     string `placeholder:"APP" help:"Instead of one session, close all of this application."`
	API     string `name:"api" placeholder:"VERSION" help:"Instead of one session, close all of this version, such as EchoWebSocket/1.0.0."`

	yesFlag `embed:""`
}

// Run closes the session, or those that the flags name.
func (c *sessionCloseCmd) Run(ctx context.Context, s *shell) error {
	if many := c.App != "" || c.API != ""; many == (c.Session != "") {
		return usagef("SESSION, or --app, --api or both: one of them is needed")
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	if c.Session == "" {
		return c.closeMany(ctx, s, cl)
	}
	name := c.Session
	if !strings.Contains(name, "/") {
		name = allGateways + "/sessions/" + name
	}
	if err := s.confirm(ctx, c.Yes, "Closes the session "+c.Session, func() []string { return nil }); err != nil {
		return err
	}
	_, err = cl.sessions.CloseSession(ctx, &gatewayv1.CloseSessionRequest{Name: name})
	if absent(err) {
		return unknown("SESSION", "live session", c.Session, "session list")
	}
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printValue(map[string]string{"closed": name})
	}
	return s.printFields([2]string{"Closed", name})
}

// closeMany closes the sessions of an application, of a version, or of one at the other.
func (c *sessionCloseCmd) closeMany(ctx context.Context, s *shell, cl *client) error {
	only, err := cl.trafficFilter(ctx, c.App, c.API)
	if err != nil {
		return err
	}
	live, unreachable, err := cl.listSessions(ctx, only)
	if err != nil {
		return err
	}
	s.noteUnreachable(unreachable, "its sessions are not closed")
	does := "Closes " + called(number(len(live), nil, "session", "sessions"), "no session")
	if err := s.confirm(ctx, c.Yes, does, func() []string { return nil }); err != nil {
		return err
	}
	closed := []string{}
	for _, session := range live {
		_, err := cl.sessions.CloseSession(ctx, &gatewayv1.CloseSessionRequest{Name: session.GetName()})
		if absent(err) {
			continue // it has ended by itself
		}
		if err != nil {
			return err
		}
		closed = append(closed, session.GetName())
	}
	if s.whole() {
		return s.printValue(map[string][]string{"closed": closed})
	}
	return s.printFields([2]string{"Closed", called(number(len(closed), nil, "session", "sessions"), "no session")})
}
