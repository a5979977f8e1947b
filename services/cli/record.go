package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// recordCmds are the commands about records of ended sessions and refused handshakes.
type recordCmds struct {
	List recordListCmd `cmd:"" help:"List the newest records."`
	Get  recordGetCmd  `cmd:"" help:"Show the record of an ended session by the ref in its close reason, or of a refused handshake by the ref in the answer."`
}

// recordListCmd lists records.
type recordListCmd struct {
	App     string `placeholder:"APP" help:"Show only those of this application."`
	API     string `name:"api" placeholder:"VERSION" help:"Show only those of this version, such as EchoWebSocket/1.0.0."`
	Key     string `placeholder:"KEY" help:"Show only those of this API key: its name, applications/…/apiKeys/…, or with --app what it is called."`
	Reason  string `name:"end-reason" placeholder:"WORD" help:"Show only those with this end reason, such as REVOKED."`
	Refused bool   `help:"Show only refused handshakes."`
	Limit   int32  `default:"50" help:"How many to show, 1 to 1000."`

	timeFlags `embed:""`
}

// Run lists the records.
func (c *recordListCmd) Run(ctx context.Context, s *shell) error {
	if err := c.checkReason(); err != nil {
		return err
	}
	if c.Limit < 1 || c.Limit > 1000 {
		return usagef("--limit: %d is not between 1 and 1000", c.Limit)
	}
	start, end, err := c.times()
	if err != nil {
		return err
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	only, err := cl.pastFilter(ctx, c.App, c.API)
	if err != nil {
		return err
	}
	byKey, err := cl.keyFilter(ctx, c.App, c.Key)
	if err != nil {
		return err
	}
	only = join(only, byKey)
	if c.Reason != "" {
		only = join(only, filter("end_reason", c.Reason))
	}
	if c.Refused {
		only = join(only, filter("refused", "true"))
	}
	list, err := cl.usage.ListSessionRecords(ctx, &usagev1.ListSessionRecordsRequest{
		PageSize: c.Limit, Filter: only, StartTime: start, EndTime: end,
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(list)
	}
	label := cl.labels()
	titles, rows := []string{"ENDED", "VERSION", "APPLICATION", "BY", "REASON", "CODE", "IN", "OUT", "REF"}, [][]string(nil)
	var held []string
	for _, r := range list.GetSessionRecords() {
		label.learn(r)
		rows = append(rows, []string{
			when(r.GetEndTime()), called(label.version(ctx, r.GetVersion()), r.GetApiDisplayName()), label.application(ctx, r.GetApplication()),
			word(r.GetEndedBy(), "PARTY_"), reason(r), code(max(r.GetCloseCodeToClient(), r.GetStatus())), messages(r.GetInbound()), messages(r.GetOutbound()),
			strings.TrimPrefix(r.GetName(), "sessionRecords/"),
		})
		held = append(held, effectOf(r.GetLimits()...).words())
	}
	return s.printTable(withHeld(titles, rows, held))
}

// checkReason makes the reason a word of the server's, in any case, or a number that
// is newer than this program.
func (c *recordListCmd) checkReason() error {
	c.Reason = strings.ToUpper(c.Reason)
	known := usagev1.EndReason_value["END_REASON_"+c.Reason] != 0
	if n, err := strconv.ParseInt(c.Reason, 10, 32); (err != nil || n <= 0) && !known && c.Reason != "" {
		return usagef("--end-reason: there is no end reason %s; there are %s", c.Reason, strings.Join(reasonWords(), ", "))
	}
	return nil
}

// reasonWords returns the words of the end reasons that this program knows, in the
// order of their numbers.
func reasonWords() (words []string) {
	values := usagev1.EndReason(0).Descriptor().Values()
	for i := range values.Len() {
		if v := values.Get(i); v.Number() != 0 {
			words = append(words, strings.TrimPrefix(string(v.Name()), "END_REASON_"))
		}
	}
	return words
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
		return failed(codes.NotFound, "REF: there is no record %q that you may see; one is there a few seconds after the end; list them with: tidegate record list", c.Ref)
	}
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(r)
	}
	label := cl.labels()
	label.learn(r)
	if r.GetCode() != "" {
		return s.printRefusal(ctx, r, label)
	}
	fields := [][2]string{
		{"Ref", strings.TrimPrefix(r.GetName(), "sessionRecords/")}, {"Session", r.GetSession()},
		{"Version", label.version(ctx, r.GetVersion())}, {"Application", label.application(ctx, r.GetApplication())},
		{"Plan", label.plan(ctx, r.GetPlan())}, {"Client", r.GetClientAddress()}, {"Began", when(r.GetStartTime())}, {"Ended", when(r.GetEndTime())},
		{"Ended by", word(r.GetEndedBy(), "PARTY_")}, {"Reason", reason(r)}, {"Detail", r.GetDetail()},
		{"Code from client", code(r.GetCloseCodeFromClient())}, {"Code to client", code(r.GetCloseCodeToClient())},
		{"Code from backend", code(r.GetCloseCodeFromBackend())}, {"Code to backend", code(r.GetCloseCodeToBackend())},
		{"In", amount(r.GetInbound())}, {"Out", amount(r.GetOutbound())},
		{"Left out", leftOut(r)}, {"Renewed", renewals(r)},
	}
	return s.printFields(append(append(fields, keyOf(r)...), recordLimits(ctx, label, r)...)...)
}

// printRefusal shows the record of a refused handshake.
func (s *shell) printRefusal(ctx context.Context, r *usagev1.SessionRecord, label *labels) error {
	fields := [][2]string{
		{"Ref", strings.TrimPrefix(r.GetName(), "sessionRecords/")}, {"Gateway", r.GetSession()},
		{"API", called(r.GetApiDisplayName(), r.GetApi())}, {"Version", label.version(ctx, r.GetVersion())}, {"Application", label.application(ctx, r.GetApplication())},
		{"Client", r.GetClientAddress()}, {"Host", r.GetHost()}, {"Path", r.GetPath()}, {"User-Agent", r.GetUserAgent()},
		{"Refused", when(r.GetEndTime())}, {"Refused by", word(r.GetEndedBy(), "PARTY_")},
		{"Status", code(r.GetStatus())}, {"Code", r.GetCode()}, {"Detail", r.GetDetail()},
		{"Left out", leftOut(r)},
	}
	return s.printFields(append(append(fields, keyOf(r)...), recordLimits(ctx, label, r)...)...)
}

// keyOf is the API key that was shown, where one was.
func keyOf(r *usagev1.SessionRecord) [][2]string {
	if r.GetApiKey() == "" {
		return nil
	}
	return [][2]string{{"API key", r.GetApiKey()}}
}

// recordLimits say which limit ended a session or refused a handshake, where one did, and
// what all limits did.
func recordLimits(ctx context.Context, label *labels, r *usagev1.SessionRecord) [][2]string {
	held, l := heldFields(ctx, label, r.GetLimits()), r.GetDecidingLimit()
	if l == nil {
		return held
	}
	text := word(l.GetPlace(), "PLAN_PLACE_") + ", " + label.limit(ctx, l)
	if l.GetDetail() != "" {
		text += ": " + l.GetDetail()
	}
	return append([][2]string{{"Decided by", text}}, held...)
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
