package cli

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// sessionCmds are the commands about live sessions.
type sessionCmds struct {
	List  sessionListCmd  `cmd:"" help:"List live sessions."`
	Close sessionCloseCmd `cmd:"" help:"Close a live session with 4010."`
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
	err = everyPage(func(token string) (string, error) {
		page, err := cl.sessions.ListSessions(ctx, &gatewayv1.ListSessionsRequest{
			Parent: allGateways, Filter: only, PageSize: pageSize, PageToken: token, ReturnPartialSuccess: true,
		})
		list.Sessions = append(list.Sessions, page.GetSessions()...)
		list.Unreachable = append(list.Unreachable, page.GetUnreachable()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
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
		ready := "no"
		if g.GetReady() {
			ready = "yes"
		}
		rows = append(rows, []string{
			path.Base(g.GetName()), ready, strconv.FormatUint(g.GetSessions(), 10), when(g.GetStartTime()), g.GetBuild(), g.GetName(),
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

// traffic prints the messages and bytes of one direction.
func traffic(t counted) string {
	return fmt.Sprintf("%d messages, %d bytes", t.GetMessages(), t.GetPayloadBytes())
}

// sessionCloseCmd closes a session.
type sessionCloseCmd struct {
	Session string `arg:"" help:"The session's name, gateways/…/sessions/…, or its ref."`
}

// Run closes the session.
func (c *sessionCloseCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	name := c.Session
	if !strings.Contains(name, "/") {
		name = allGateways + "/sessions/" + name
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

// recordCmds are the commands about records of ended sessions and refused handshakes.
type recordCmds struct {
	List recordListCmd `cmd:"" help:"List the newest records."`
	Get  recordGetCmd  `cmd:"" help:"Show the record of an ended session by the ref in its close reason, or of a refused handshake by the ref in the answer."`
}

// recordListCmd lists records.
type recordListCmd struct {
	App     string `placeholder:"APP" help:"Show only those of this application."`
	API     string `name:"api" placeholder:"VERSION" help:"Show only those of this version, such as EchoWebSocket/1.0.0."`
	Reason  string `name:"end-reason" placeholder:"WORD" help:"Show only those with this end reason, such as REVOKED."`
	Refused bool   `help:"Show only refused handshakes."`
	Limit   int32  `default:"50" help:"How many to show, 1 to 1000."`
}

// Run lists the records.
func (c *recordListCmd) Run(ctx context.Context, s *shell) error {
	if err := c.checkReason(); err != nil {
		return err
	}
	if c.Limit < 1 || c.Limit > 1000 {
		return usagef("--limit: %d is not between 1 and 1000", c.Limit)
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	only, err := cl.trafficFilter(ctx, c.App, c.API)
	if err != nil {
		return err
	}
	if c.Reason != "" {
		only = join(only, filter("end_reason", c.Reason))
	}
	if c.Refused {
		only = join(only, filter("refused", "true"))
	}
	list, err := cl.usage.ListSessionRecords(ctx, &usagev1.ListSessionRecordsRequest{PageSize: c.Limit, Filter: only})
	if err != nil && !absent(err) {
		return err
	}
	if s.whole() {
		return s.printWhole(list)
	}
	label := cl.labels()
	var rows [][]string
	for _, r := range list.GetSessionRecords() {
		rows = append(rows, []string{
			when(r.GetEndTime()), label.version(ctx, r.GetVersion()), label.application(ctx, r.GetApplication()),
			word(r.GetEndedBy(), "PARTY_"), reason(r), code(max(r.GetCloseCodeToClient(), r.GetStatus())), messages(r.GetInbound()), messages(r.GetOutbound()),
			strings.TrimPrefix(r.GetName(), "sessionRecords/"),
		})
	}
	return s.printTable([]string{"ENDED", "VERSION", "APPLICATION", "BY", "REASON", "CODE", "IN", "OUT", "REF"}, rows)
}

// checkReason makes the reason a word of the server's, in any case, or a number that
// is newer than this program.
func (c *recordListCmd) checkReason() error {
	c.Reason = strings.ToUpper(c.Reason)
	_, known := usagev1.EndReason_value["END_REASON_"+c.Reason]
	if _, err := strconv.ParseInt(c.Reason, 10, 32); err != nil && !known && c.Reason != "" {
		return usagef("--end-reason: there is no end reason %s; use a word such as REVOKED", c.Reason)
	}
	return nil
}

// reason prints why a session ended: the word of its close reason, or a number
// that is newer than this program. Of a refused handshake it is the code.
func reason(r *usagev1.SessionRecord) string {
	if r.GetCode() != "" {
		return r.GetCode()
	}
	return strings.TrimPrefix(r.GetEndReason().String(), "END_REASON_")
}

// code prints a close code.
func code(n uint32) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}

// recordGetCmd shows a record.
type recordGetCmd struct {
	Ref string `arg:"" help:"The ref, or sessionRecords/…."`
}

// Run shows the record.
func (c *recordGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	name := "sessionRecords/" + strings.TrimPrefix(c.Ref, "sessionRecords/")
	r, err := cl.usage.GetSessionRecord(ctx, &usagev1.GetSessionRecordRequest{Name: name})
	if absent(err) && fault.Reason(err) != fault.ReasonRecordLeftOut {
		return unknown("REF", "record", c.Ref, "record list")
	}
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(r)
	}
	label := cl.labels()
	if r.GetCode() != "" {
		return s.printRefusal(ctx, r, label)
	}
	return s.printFields(
		[2]string{"Ref", strings.TrimPrefix(r.GetName(), "sessionRecords/")}, [2]string{"Session", r.GetSession()},
		[2]string{"Version", label.version(ctx, r.GetVersion())}, [2]string{"Application", label.application(ctx, r.GetApplication())},
		[2]string{"Client", r.GetClientAddress()}, [2]string{"Began", when(r.GetStartTime())}, [2]string{"Ended", when(r.GetEndTime())},
		[2]string{"Ended by", word(r.GetEndedBy(), "PARTY_")}, [2]string{"Reason", reason(r)}, [2]string{"Detail", r.GetDetail()},
		[2]string{"Code from client", code(r.GetCloseCodeFromClient())}, [2]string{"Code to client", code(r.GetCloseCodeToClient())},
		[2]string{"Code from backend", code(r.GetCloseCodeFromBackend())}, [2]string{"Code to backend", code(r.GetCloseCodeToBackend())},
		[2]string{"In", traffic(r.GetInbound())}, [2]string{"Out", traffic(r.GetOutbound())},
		[2]string{"Left out", leftOut(r)})
}

// printRefusal shows the record of a refused handshake.
func (s *shell) printRefusal(ctx context.Context, r *usagev1.SessionRecord, label *labels) error {
	return s.printFields(
		[2]string{"Ref", strings.TrimPrefix(r.GetName(), "sessionRecords/")}, [2]string{"Gateway", r.GetSession()},
		[2]string{"API", r.GetApi()}, [2]string{"Version", label.version(ctx, r.GetVersion())}, [2]string{"Application", label.application(ctx, r.GetApplication())},
		[2]string{"Client", r.GetClientAddress()}, [2]string{"Host", r.GetHost()}, [2]string{"Path", r.GetPath()}, [2]string{"User-Agent", r.GetUserAgent()},
		[2]string{"Refused", when(r.GetEndTime())}, [2]string{"Refused by", word(r.GetEndedBy(), "PARTY_")},
		[2]string{"Status", code(r.GetStatus())}, [2]string{"Code", r.GetCode()}, [2]string{"Detail", r.GetDetail()},
		[2]string{"Left out", leftOut(r)})
}

// leftOut says how many records of the same kind were not kept after this one.
func leftOut(r *usagev1.SessionRecord) string {
	switch {
	case r.GetLeftOut() == 0:
		return ""
	case r.GetCode() != "":
		return fmt.Sprintf("%d later refusals of this API with this code", r.GetLeftOut())
	default:
		return fmt.Sprintf("%d later records of this application", r.GetLeftOut())
	}
}

// usageCmd shows usage.
type usageCmd struct {
	App string `placeholder:"APP" help:"Show only that of this application."`
	API string `name:"api" placeholder:"VERSION" help:"Show only that of this version, such as EchoWebSocket/1.0.0."`
}

// Run lists the usage.
func (c *usageCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	only, err := cl.trafficFilter(ctx, c.App, c.API)
	if err != nil {
		return err
	}
	list := &usagev1.ListUsageResponse{}
	err = everyPage(func(token string) (string, error) {
		page, err := cl.usage.ListUsage(ctx, &usagev1.ListUsageRequest{Filter: only, PageSize: pageSize, PageToken: token})
		list.Usage = append(list.Usage, page.GetUsage()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(list)
	}
	label := cl.labels()
	var rows [][]string
	for _, u := range list.GetUsage() {
		rows = append(rows, []string{
			when(u.GetHour()), label.version(ctx, u.GetVersion()), label.application(ctx, u.GetApplication()),
			strconv.FormatUint(u.GetSessions(), 10), traffic(u.GetInbound()), traffic(u.GetOutbound()),
		})
	}
	return s.printTable([]string{"HOUR", "VERSION", "APPLICATION", "SESSIONS", "IN", "OUT"}, rows)
}
