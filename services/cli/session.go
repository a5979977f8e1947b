package cli

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// sessionCmds are the commands about live sessions.
type sessionCmds struct {
	List  sessionListCmd  `cmd:"" help:"List live sessions."`
	Count sessionCountCmd `cmd:"" help:"Count live sessions by what they are of."`
	Get   sessionGetCmd   `cmd:"" help:"Show a live session, its plans and what limits did to it."`
	Renew sessionRenewCmd `cmd:"" help:"Give a live session another token, on the same socket."`
	Close sessionCloseCmd `cmd:"" help:"Close a live session, or many, with 4010."`
}

// allGateways names all gateways (AIP-159).
const allGateways = "gateways/-"

// sessionListCmd lists sessions.
type sessionListCmd struct {
	App string `placeholder:"APP" help:"Show only those of this application."`
	API string `name:"api" placeholder:"VERSION" help:"Show only those of this version, such as EchoWebSocket/1.0.0."`
	Key string `placeholder:"KEY" help:"Show only those of this API key: its name, applications/…/apiKeys/…, or with --app what it is called."`

	OAuthClient string `name:"oauth-client" placeholder:"CLIENT" help:"Show only those of this OAuth client: its name, applications/…/oauthClients/…, or with --app its stage, production or sandbox."`
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
	byKey, err := cl.keyFilter(ctx, c.App, c.Key)
	if err != nil {
		return err
	}
	byClient, err := cl.oauthClientFilter(ctx, c.App, c.OAuthClient)
	if err != nil {
		return err
	}
	all := &gatewayv1.ListSessionsResponse{}
	if all.Sessions, all.Unreachable, err = cl.listSessions(ctx, join(only, byKey, byClient)); err != nil {
		return err
	}
	all.TotalSize = int32(len(all.GetSessions()))
	slices.Sort(all.GetUnreachable())
	all.Unreachable = slices.Compact(all.GetUnreachable())
	s.noteUnreachable(all.GetUnreachable(), "its sessions are not shown")
	if s.whole() {
		return s.printWhole(all)
	}
	label := cl.labels()
	titles, rows := []string{"VERSION", "APPLICATION", "CLIENT", "SINCE", "IN", "OUT", "NAME"}, [][]string(nil)
	var held []string
	for _, live := range all.GetSessions() {
		rows = append(rows, []string{
			label.version(ctx, live.GetVersion()), label.application(ctx, live.GetApplication()), live.GetClientAddress(),
			when(live.GetStartTime()), messages(live.GetInbound()), messages(live.GetOutbound()), live.GetName(),
		})
		words := effectOf(live.GetLimits()...).words()
		if live.GetPausedSinceTime() != nil {
			words = list(some([]string{"paused now", words}))
		}
		held = append(held, words)
	}
	return s.printTable(withHeld(titles, rows, held))
}

// sessionCountCmd counts sessions.
type sessionCountCmd struct {
	By  string `enum:"version,application,subscription,oauth_client,api_key,gateway" default:"version" placeholder:"WHAT" help:"What to count by: version (the default), application, subscription, oauth_client, api_key or gateway."`
	App string `placeholder:"APP" help:"Count only those of this application."`
	API string `name:"api" placeholder:"VERSION" help:"Count only those of this version, such as EchoWebSocket/1.0.0."`
}

// Run counts the sessions.
func (c *sessionCountCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	only, err := cl.trafficFilter(ctx, c.App, c.API)
	if err != nil {
		return err
	}
	counted, err := cl.sessions.CountSessions(ctx, &gatewayv1.CountSessionsRequest{
		Parent: allGateways, GroupBy: c.By, Filter: only, ReturnPartialSuccess: true,
	})
	if err != nil {
		return err
	}
	s.noteUnreachable(counted.GetUnreachable(), "its sessions are not counted")
	if s.whole() {
		return s.printWhole(counted)
	}
	label := cl.labels()
	called := map[string]func(context.Context, string) string{"version": label.version, "application": label.application}[c.By]
	if called == nil {
		called = func(_ context.Context, name string) string { return path.Base(name) }
	}
	var rows [][]string
	for _, of := range counted.GetCounts() {
		rows = append(rows, []string{called(ctx, of.GetName()), strconv.FormatInt(of.GetSessions(), 10), of.GetName()})
	}
	return s.printTable([]string{strings.ToUpper(c.By), "SESSIONS", "NAME"}, rows)
}

// withHeld adds to a table the column of what limits did, where they did anything.
func withHeld(titles []string, rows [][]string, held []string) ([]string, [][]string) {
	if len(some(held)) == 0 {
		return titles, rows
	}
	for i := range rows {
		rows[i] = append(rows[i], held[i])
	}
	return append(titles, "LIMITS"), rows
}

// sessionGetCmd shows a session.
type sessionGetCmd struct {
	Session string `arg:"" help:"The session's name, gateways/…/sessions/…, or its ref."`
}

// Run shows the session.
func (c *sessionGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	live, err := cl.sessions.GetSession(ctx, &gatewayv1.GetSessionRequest{Name: sessionName(c.Session)})
	if absent(err) {
		return unknown("SESSION", "live session", c.Session, "session list")
	}
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(live)
	}
	label := cl.labels()
	fields := [][2]string{
		{"Session", live.GetName()}, {"Version", label.version(ctx, live.GetVersion())}, {"Application", label.application(ctx, live.GetApplication())},
		{"Owner", label.user(ctx, live.GetUser())}, {"Client", live.GetClientAddress()}, {"Began", when(live.GetStartTime())},
		{"OAuth client", live.GetOauthClient()}, {"API key", live.GetApiKey()}, {"Credential expires", when(live.GetExpireTime())}, {"Grant", live.GetGrant()}, {"Renewed", renewals(live)}, {"Sub-protocol", live.GetSubprotocol()},
		{"In", amount(live.GetInbound())}, {"Out", amount(live.GetOutbound())},
		{"Plan", label.plan(ctx, live.GetPlan())}, {"Application's plan", label.plan(ctx, live.GetApplicationPlan())},
		{"Traffic plan", label.plan(ctx, live.GetTrafficPlan())}, {"Paused since", when(live.GetPausedSinceTime())},
	}
	return s.printFields(append(fields, heldFields(ctx, label, live.GetLimits())...)...)
}

// renewable is a live session or a record.
type renewable interface {
	GetRenewals() int32
	GetRenewTime() *timestamppb.Timestamp
}

// renewals says how often a session's credential was renewed; empty for never.
func renewals(of renewable) string {
	switch n := of.GetRenewals(); n {
	case 0:
		return ""
	case 1:
		return "once, at " + when(of.GetRenewTime())
	default:
		return fmt.Sprintf("%d times, last at %s", n, when(of.GetRenewTime()))
	}
}

// sessionName is the resource name of a session that is given by it, or by its ref.
func sessionName(text string) string {
	if strings.Contains(text, "/") {
		return text
	}
	return allGateways + "/sessions/" + text
}

// heldFields say what limits did, one in each line.
func heldFields(ctx context.Context, label *labels, limits []*usagev1.LimitUsage) [][2]string {
	var fields [][2]string
	for _, l := range limits {
		if words := effectOf(l).words(); words != "" {
			fields = append(fields, [2]string{"Limit", fmt.Sprintf("%s, %s: %s", word(l.GetPlace(), "PLAN_PLACE_"), label.limit(ctx, l), words)})
		}
	}
	return fields
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
	return plural(t.GetMessages(), "message") + ", " + plural(t.GetPayloadBytes(), "byte")
}

// plural is how many there are of what is called so.
func plural(n uint64, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.FormatUint(n, 10) + " " + what
}

// sessionCloseCmd closes sessions.
type sessionCloseCmd struct {
	Session string `arg:"" optional:"" help:"The session's name, gateways/…/sessions/…, or its ref."`
	App     string `placeholder:"APP" help:"Instead of one session, close all of this application."`
	API     string `name:"api" placeholder:"VERSION" help:"Instead of one session, close all of this version, such as EchoWebSocket/1.0.0."`
	Address string `placeholder:"ADDRESS" help:"Instead of one session, close all of clients at this address, or in this network, such as 192.0.2.0/24."`
	Filter  string `placeholder:"TERMS" help:"Instead of one session, close all that fit, such as 'user = \"users/…\"': on api, version, application, subscription, user, oauth_client, secret, grant, api_key, plan and client_address."`

	yesFlag `embed:""`
}

// Run closes the session, or those that fit all the flags.
func (c *sessionCloseCmd) Run(ctx context.Context, s *shell) error {
	if many := c.App != "" || c.API != "" || c.Address != "" || c.Filter != ""; many == (c.Session != "") {
		return usagef("SESSION, or one or more of --app, --api, --address and --filter: one of the two is needed")
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	if c.Session == "" {
		return c.closeMany(ctx, s, cl)
	}
	name := sessionName(c.Session)
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

// closeMany closes the sessions that fit all the flags.
func (c *sessionCloseCmd) closeMany(ctx context.Context, s *shell, cl *client) error {
	only, err := cl.trafficFilter(ctx, c.App, c.API)
	if err != nil {
		return err
	}
	does := "Closes the live sessions that fit"
	if c.Address == "" {
		does = "Closes " + cl.liveSessions(ctx, both(only, c.Filter))
	}
	if err := s.confirm(ctx, c.Yes, does, func() []string { return nil }); err != nil {
		return err
	}
	done, err := cl.sessions.CloseSessions(ctx, &gatewayv1.CloseSessionsRequest{
		Parent: allGateways, ClientAddress: c.Address, Filter: both(only, c.Filter),
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(done)
	}
	return s.printFields(closedFields(done)...)
}

// both joins filters: what fits fits each.
func both(filters ...string) string { return strings.Join(some(filters), " AND ") }
