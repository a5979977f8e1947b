package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// quotaCmds are the commands about quotas.
type quotaCmds struct {
	List   quotaListCmd   `cmd:"" help:"List what was used of quotas in their present windows, and what is left."`
	Reset  quotaResetCmd  `cmd:"" help:"Set what was used of a quota in its present window to zero."`
	Add    quotaAddCmd    `cmd:"" help:"Add to a quota in its present window."`
	Events quotaEventsCmd `cmd:"" help:"List when quotas came to 80 and to 100 % of their amount, the newest first."`
}

// quotaFlags choose quotas.
type quotaFlags struct {
	App    string `placeholder:"APP" help:"Only those of this application."`
	API    string `name:"api" placeholder:"VERSION" help:"Only those of this version, such as EchoWebSocket/1.0.0."`
	Unit   string `enum:"messages,bytes,sessions," default:"" placeholder:"UNIT" help:"Only those of this unit: messages, bytes or sessions."`
	Window string `enum:"minute,hour,day,week,month," default:"" placeholder:"WINDOW" help:"Only those of this window: minute, hour, day, week or month."`
}

// find returns the quotas that the flags choose.
func (f *quotaFlags) find(ctx context.Context, cl *client) ([]*usagev1.QuotaUse, error) {
	only, err := cl.pastFilter(ctx, f.App, f.API)
	if err != nil {
		return nil, err
	}
	only = join(only, where("unit", strings.ToUpper(f.Unit)), where("window", strings.ToUpper(f.Window)))
	var all []*usagev1.QuotaUse
	err = everyPage(func(token string) (string, error) {
		page, err := cl.quotas.ListQuotaUses(ctx, &usagev1.ListQuotaUsesRequest{Filter: only, PageSize: pageSize, PageToken: token})
		all = append(all, page.GetQuotaUses()...)
		return page.GetNextPageToken(), err
	})
	return all, err
}

// quotaListCmd lists quotas.
type quotaListCmd struct {
	quotaFlags `embed:""`
}

// Run lists the quotas.
func (c *quotaListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	list := &usagev1.ListQuotaUsesResponse{}
	if list.QuotaUses, err = c.find(ctx, cl); err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(list)
	}
	label := cl.labels()
	var rows [][]string
	if s.global.Output == formatCSV {
		for _, q := range list.GetQuotaUses() {
			rows = append(rows, quotaCSV(ctx, label, q))
		}
		return s.printCSV(quotaTitles(), rows)
	}
	for _, q := range list.GetQuotaUses() {
		label.learn(q)
		rows = append(rows, []string{
			label.version(ctx, q.GetVersion()), label.application(ctx, q.GetApplication()), quotaWords(q), strconv.FormatInt(q.GetUsed(), 10),
			strconv.FormatInt(q.GetLeft(), 10), when(q.GetResetTime()), label.limit(ctx, q), q.GetName(),
		})
	}
	return s.printTable([]string{"VERSION", "APPLICATION", "QUOTA", "USED", "LEFT", "RESETS", "LIMIT", "NAME"}, rows)
}

// quotaWords is a quota in words, as "5000 messages a day, 100 added".
func quotaWords(q *usagev1.QuotaUse) string {
	text := amountWords(q.GetAmount()-q.GetAdded(), q.GetUnit()) + " " + article(word(q.GetWindow(), "WINDOW_"))
	if q.GetAdded() != 0 {
		text += fmt.Sprintf(", %d added", q.GetAdded())
	}
	if q.GetOverdraft() != 0 {
		text += fmt.Sprintf(", %d overdrawn", q.GetOverdraft())
	}
	if q.GetObserve() {
		text += " (observe)"
	}
	return text
}

// quotaTitles are the columns of a quota in CSV.
func quotaTitles() []string {
	return []string{
		"quota_use_name", "place", "version", "version_name", "application", "application_name", "username", "plan", "limit", "unit", "window",
		"start_time", "reset_time", "amount", "used", "left", "overdraft", "added", "observe",
	}
}

// quotaCSV is a quota in CSV.
func quotaCSV(ctx context.Context, label *labels, q *usagev1.QuotaUse) []string {
	label.learn(q)
	row := []string{
		q.GetName(), word(q.GetPlace(), "PLAN_PLACE_"), label.version(ctx, q.GetVersion()), q.GetVersion(), label.application(ctx, q.GetApplication()), q.GetApplication(),
		q.GetUsername(), q.GetPlan(), q.GetLimit(), word(q.GetUnit(), "UNIT_"), word(q.GetWindow(), "WINDOW_"),
		instant(q.GetStartTime()), instant(q.GetResetTime()),
	}
	for _, n := range []int64{q.GetAmount(), q.GetUsed(), q.GetLeft(), q.GetOverdraft(), q.GetAdded()} {
		row = append(row, strconv.FormatInt(n, 10))
	}
	return append(row, strconv.FormatBool(q.GetObserve()))
}

// quotaArg names one quota, by its name or by flags that choose no other.
type quotaArg struct {
	Quota      string `arg:"" optional:"" help:"The quota's name, quotaUses/…. Instead of it, --app, --api, --unit and --window may choose one."`
	quotaFlags `embed:""`
}

// name returns the name of the quota.
func (c *quotaArg) one(ctx context.Context, cl *client) (*usagev1.QuotaUse, error) {
	if c.Quota == "" && c.quotaFlags == (quotaFlags{}) {
		return nil, usagef("QUOTA: give quotaUses/…, or --app, --api, --unit or --window to choose one; list them with: tidegate quota list")
	}
	if c.Quota != "" && c.quotaFlags != (quotaFlags{}) {
		return nil, usagef("QUOTA: give its name, or flags that choose one")
	}
	found, err := c.find(ctx, cl)
	if err != nil {
		return nil, err
	}
	if c.Quota != "" {
		found = slices.DeleteFunc(found, func(q *usagev1.QuotaUse) bool { return q.GetName() != c.Quota })
	}
	switch {
	case len(found) == 0 && c.Quota != "":
		return nil, unknown("QUOTA", "quota", c.Quota, "quota list")
	case len(found) == 0:
		return nil, failed(codes.NotFound, "there is no such quota of which anything was used; list them with: tidegate quota list")
	case len(found) > 1:
		names := make([]string, len(found))
		for i, q := range found {
			names[i] = q.GetName()
		}
		return nil, failed(codes.InvalidArgument, "QUOTA: %d quotas are chosen: give one of %s", len(found), strings.Join(names, ", "))
	}
	return found[0], nil
}

// quotaResetCmd resets a quota.
type quotaResetCmd struct {
	quotaArg `embed:""`
}

// Run resets the quota.
func (c *quotaResetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	q, err := c.one(ctx, cl)
	if err != nil {
		return err
	}
	if q, err = cl.quotas.ResetQuota(ctx, &usagev1.ResetQuotaRequest{Name: q.GetName()}); err != nil {
		return err
	}
	return s.showQuota(ctx, cl, q, "Reset")
}

// quotaAddCmd adds to a quota.
type quotaAddCmd struct {
	Amount   string `arg:"" help:"How much more may be used, as 1000, or 10MiB of a quota of bytes."`
	quotaArg `embed:""`
}

// Run adds to the quota.
func (c *quotaAddCmd) Run(ctx context.Context, s *shell) error {
	if _, err := amountOf(c.Amount, catalogv1.Unit_UNIT_BYTES); err != nil {
		return usagef("AMOUNT: %v", err)
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	q, err := c.one(ctx, cl)
	if err != nil {
		return err
	}
	n, err := amountOf(c.Amount, q.GetUnit())
	if err != nil {
		return usagef("AMOUNT: %v", err)
	}
	if q, err = cl.quotas.AddQuota(ctx, &usagev1.AddQuotaRequest{Name: q.GetName(), Amount: n}); err != nil {
		return err
	}
	return s.showQuota(ctx, cl, q, "Added to")
}

// showQuota prints a quota after what was done to it.
func (s *shell) showQuota(ctx context.Context, cl *client, q *usagev1.QuotaUse, done string) error {
	if s.whole() {
		return s.printWhole(q)
	}
	label := cl.labels()
	label.learn(q)
	return s.printFields([2]string{done, q.GetName()}, [2]string{"Version", label.version(ctx, q.GetVersion())},
		[2]string{"Application", label.application(ctx, q.GetApplication())}, [2]string{"Quota", quotaWords(q)},
		[2]string{"Used", strconv.FormatInt(q.GetUsed(), 10)}, [2]string{"Left", strconv.FormatInt(q.GetLeft(), 10)}, [2]string{"Resets", when(q.GetResetTime())})
}

// quotaEventsCmd lists events of quotas.
type quotaEventsCmd struct {
	App   string `placeholder:"APP" help:"Show only those of this application."`
	API   string `name:"api" placeholder:"VERSION" help:"Show only those of this version, such as EchoWebSocket/1.0.0."`
	Limit int32  `default:"50" help:"How many to show, 1 to 1000."`

	timeFlags `embed:""`
}

// Run lists the events.
func (c *quotaEventsCmd) Run(ctx context.Context, s *shell) error {
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
	events, err := cl.quotas.ListQuotaEvents(ctx, &usagev1.ListQuotaEventsRequest{PageSize: c.Limit, Filter: only, StartTime: start, EndTime: end})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(events)
	}
	label := cl.labels()
	var rows [][]string
	for _, e := range events.GetQuotaEvents() {
		q, percent := e.GetQuotaUse(), strconv.Itoa(int(e.GetPercent()))
		if s.global.Output == formatCSV {
			rows = append(rows, append([]string{instant(e.GetTime()), percent}, quotaCSV(ctx, label, q)...))
			continue
		}
		label.learn(q)
		rows = append(rows, []string{
			when(e.GetTime()), percent + " %", label.version(ctx, q.GetVersion()), label.application(ctx, q.GetApplication()), quotaWords(q),
			strconv.FormatInt(q.GetUsed(), 10), label.limit(ctx, q),
		})
	}
	if s.global.Output == formatCSV {
		return s.printCSV(append([]string{"time", "percent"}, quotaTitles()...), rows)
	}
	return s.printTable([]string{"TIME", "USED", "VERSION", "APPLICATION", "QUOTA", "AMOUNT", "LIMIT"}, rows)
}
