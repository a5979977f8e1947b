package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// usageCmd shows usage.
type usageCmd struct {
	App     string         `placeholder:"APP" help:"Show only that of this application."`
	API     []string       `name:"api" sep:"none" placeholder:"VERSION" help:"Show only that of this version, such as EchoWebSocket/1.0.0; can be repeated."`
	By      []string       `enum:"api,version,application,subscription,plan,all" placeholder:"WHAT" help:"What to sum by: api, version, application, subscription, plan, or all for one sum; can be repeated. Default: version and application."`
	Step    *time.Duration `placeholder:"DURATION" help:"Length of the spans of time: minutes that divide an hour, hours that divide a day, or days, such as 5m, 1h or 7d; 0 for the whole time in one. Default: 1h, and with --by or --top the whole time."`
	Top     int32          `placeholder:"N" help:"Show only the N that have the most of --order-by, 1 to 100."`
	OrderBy string         `enum:"messages,bytes,sessions,dropped,paused,refused,observed," default:"" placeholder:"WHAT" help:"What --top compares: messages (the default), bytes, sessions, dropped, paused, refused or observed."`
	Limits  bool           `help:"Show what each limit did, and when first and last, instead of the traffic."`

	timeFlags `embed:""`
}

// request returns what to ask for, without the filter.
func (c *usageCmd) request() (*usagev1.ListUsageRequest, error) {
	if c.Top < 0 || c.Top > 100 {
		return nil, usagef("--top: %d is not between 1 and 100", c.Top)
	}
	if len(c.API) > 100 {
		return nil, usagef("--api: is given %d times, and may be 100 times", len(c.API))
	}
	if c.OrderBy != "" && c.Top == 0 {
		return nil, usagef("--order-by: is for --top")
	}
	by, step := c.By, time.Duration(0)
	switch {
	case c.Step != nil:
		step = *c.Step
	case len(by) == 0 && c.Top == 0:
		step = time.Hour
	}
	if len(by) == 0 {
		by = []string{"version", "application"}
	}
	if len(by) > 1 && slices.Contains(by, "all") {
		return nil, usagef("--by: all is one sum; give it alone")
	}
	start, end, err := c.times()
	if err != nil {
		return nil, err
	}
	req := &usagev1.ListUsageRequest{StartTime: start, EndTime: end, Top: c.Top, OrderBy: c.OrderBy, PageSize: pageSize}
	if by[0] != "all" {
		req.GroupBy = by
	}
	if step != 0 {
		req.Step = durationpb.New(step)
	}
	return req, nil
}

// restrict asks only for what --app and --api name. One version is in the filter, by which
// the server says that there is no such thing.
func (c *usageCmd) restrict(ctx context.Context, cl *client, req *usagev1.ListUsageRequest) (err error) {
	one := ""
	if len(c.API) == 1 {
		one = c.API[0]
	}
	if req.Filter, err = cl.pastFilter(ctx, c.App, one); err != nil || len(c.API) < 2 {
		return err
	}
	for _, text := range c.API {
		version, err := cl.pastVersion(ctx, text)
		if err != nil {
			return err
		}
		if !slices.Contains(req.GetVersions(), version) {
			req.Versions = append(req.Versions, version)
		}
	}
	return nil
}

// Run lists the usage.
func (c *usageCmd) Run(ctx context.Context, s *shell) error {
	req, err := c.request()
	if err != nil {
		return err
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	if err := c.restrict(ctx, cl, req); err != nil {
		return err
	}
	list := &usagev1.ListUsageResponse{}
	err = everyPage(func(token string) (string, error) {
		req.PageToken = token
		page, err := cl.usage.ListUsage(ctx, req)
		list.Usage = append(list.Usage, page.GetUsage()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	t := &usageTable{by: req.GetGroupBy(), stepped: req.GetStep() != nil, label: cl.labels()}
	switch {
	case s.whole():
		return s.printWhole(list)
	case s.global.Output == formatCSV && c.Limits:
		return s.printCSV(t.limitsCSV(ctx, list.GetUsage()))
	case s.global.Output == formatCSV:
		return s.printCSV(t.csv(ctx, list.GetUsage()))
	case c.Limits:
		return s.printTable(t.limits(ctx, list.GetUsage()))
	}
	return s.printTable(t.rows(ctx, list.GetUsage()))
}

// usageTable makes tables of usage.
type usageTable struct {
	by      []string
	stepped bool
	label   *labels
}

// groups are what usage may be summed by, and the titles of the columns.
var groups = []struct{ by, title string }{
	{"api", "API"}, {"version", "VERSION"}, {"application", "APPLICATION"}, {"subscription", "SUBSCRIPTION"}, {"plan", "PLAN"},
}

// group returns what a row is for, in words and by name.
func (t *usageTable) group(ctx context.Context, by string, u *usagev1.Usage) (label, name string) {
	switch by {
	case "api":
		return cmp.Or(u.GetApiDisplayName(), t.label.api(ctx, u.GetApi())), u.GetApi()
	case "version":
		return t.label.version(ctx, u.GetVersion()), u.GetVersion()
	case "application":
		return t.label.application(ctx, u.GetApplication()), u.GetApplication()
	case "plan":
		return cmp.Or(u.GetPlanDisplayName(), t.label.plan(ctx, u.GetPlan())), u.GetPlan()
	}
	return u.GetSubscription(), u.GetSubscription()
}

// heads returns the titles and cells that say what rows are for.
func (t *usageTable) heads(ctx context.Context, usage []*usagev1.Usage) (titles []string, cells [][]string) {
	if t.stepped {
		titles = append(titles, "START")
	}
	for _, g := range groups {
		if slices.Contains(t.by, g.by) {
			titles = append(titles, g.title)
		}
	}
	for _, u := range usage {
		t.label.learn(u)
		var row []string
		if t.stepped {
			row = append(row, when(u.GetStartTime()))
		}
		for _, g := range groups {
			if slices.Contains(t.by, g.by) {
				label, _ := t.group(ctx, g.by, u)
				row = append(row, label)
			}
		}
		cells = append(cells, row)
	}
	return titles, cells
}

// rows is the table of traffic. What limits did has a column where any did something.
func (t *usageTable) rows(ctx context.Context, usage []*usagev1.Usage) ([]string, [][]string) {
	titles, rows := t.heads(ctx, usage)
	titles = append(titles, "SESSIONS", "IN", "OUT")
	effects := make([]effect, len(usage))
	for i, u := range usage {
		rows[i] = append(rows[i], strconv.FormatUint(u.GetSessions(), 10), amount(u.GetInbound()), amount(u.GetOutbound()))
		effects[i] = effectOf(u.GetLimits()...)
		effects[i].refused = 0
		for _, r := range u.GetRefusedHandshakes() { // by limits, and for other reasons
			effects[i].refused += r.GetCount()
		}
	}
	return withEffects(titles, rows, effects)
}

// limits is the table of what each limit did.
func (t *usageTable) limits(ctx context.Context, usage []*usagev1.Usage) ([]string, [][]string) {
	titles, heads := t.heads(ctx, usage)
	titles = append(titles, "PLACE", "LIMIT", "FIRST", "LAST")
	var rows [][]string
	var effects []effect
	for i, u := range usage {
		for _, l := range u.GetLimits() {
			rows = append(rows, append(slices.Clone(heads[i]), word(l.GetPlace(), "PLAN_PLACE_"), t.label.limit(ctx, l),
				when(l.GetFirstTime()), when(l.GetLastTime())))
			effects = append(effects, effectOf(l))
		}
	}
	return withEffects(titles, rows, effects)
}

// csv is the traffic with the same columns whatever is asked for.
func (t *usageTable) csv(ctx context.Context, usage []*usagev1.Usage) ([]string, [][]string) {
	titles, rows := t.csvHeads(ctx, usage)
	titles = append(titles, "sessions", "messages_in", "bytes_in", "messages_out", "bytes_out",
		"dropped_messages", "pauses", "paused_seconds", "closed_sessions", "refused_handshakes", "observed_hits")
	for i, u := range usage {
		e := effectOf(u.GetLimits()...)
		e.refused = 0
		for _, r := range u.GetRefusedHandshakes() {
			e.refused += r.GetCount()
		}
		rows[i] = append(rows[i], counts(u.GetSessions(), u.GetInbound().GetMessages(), u.GetInbound().GetPayloadBytes(),
			u.GetOutbound().GetMessages(), u.GetOutbound().GetPayloadBytes())...)
		rows[i] = append(rows[i], e.csv()...)
	}
	return titles, rows
}

// limitsCSV is what each limit did, with the same columns whatever is asked for.
func (t *usageTable) limitsCSV(ctx context.Context, usage []*usagev1.Usage) ([]string, [][]string) {
	titles, heads := t.csvHeads(ctx, usage)
	titles = append(titles, "place", "limit_plan", "limit", "first_time", "last_time",
		"dropped_messages", "pauses", "paused_seconds", "closed_sessions", "refused_handshakes", "observed_hits")
	var rows [][]string
	for i, u := range usage {
		for _, l := range u.GetLimits() {
			row := append(slices.Clone(heads[i]), word(l.GetPlace(), "PLAN_PLACE_"), l.GetPlan(), l.GetLimit(), instant(l.GetFirstTime()), instant(l.GetLastTime()))
			rows = append(rows, append(row, effectOf(l).csv()...))
		}
	}
	return titles, rows
}

// csvHeads returns the titles and cells that say what rows are for, of all that usage may
// be summed by.
func (t *usageTable) csvHeads(ctx context.Context, usage []*usagev1.Usage) (titles []string, cells [][]string) {
	titles = []string{"start_time"}
	for _, g := range groups {
		titles = append(titles, g.by, g.by+"_name")
	}
	for _, u := range usage {
		t.label.learn(u)
		row := []string{instant(u.GetStartTime())}
		for _, g := range groups {
			label, name := "", ""
			if slices.Contains(t.by, g.by) {
				label, name = t.group(ctx, g.by, u)
			}
			row = append(row, label, name)
		}
		cells = append(cells, row)
	}
	return titles, cells
}

// instant is a time for programs; empty for none.
func instant(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339)
}

// counts are numbers as text.
func counts(numbers ...uint64) []string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.FormatUint(n, 10)
	}
	return texts
}

// effect is what limits did together.
type effect struct {
	dropped, pauses, closed, refused, observed uint64

	paused time.Duration
}

// effectOf adds up what limits did.
func effectOf(limits ...*usagev1.LimitUsage) effect {
	var e effect
	for _, l := range limits {
		e.dropped += l.GetDroppedMessages()
		e.pauses += l.GetPauses()
		e.paused += time.Duration(l.GetPausedMilliseconds()) * time.Millisecond
		e.closed += l.GetClosedSessions()
		e.refused += l.GetRefusedHandshakes()
		e.observed += l.GetObservedHits()
	}
	return e
}

// csv is an effect in the order of the columns.
func (e effect) csv() []string {
	texts := counts(e.dropped, e.pauses, 0, e.closed, e.refused, e.observed)
	texts[2] = strconv.FormatFloat(e.paused.Seconds(), 'f', 3, 64)
	return texts
}

// pausedWords says how often and how long something was paused; empty for never.
func (e effect) pausedWords() string {
	if e.pauses == 0 && e.paused == 0 {
		return ""
	}
	return plural(e.pauses, "time") + ", " + e.paused.Round(time.Millisecond).String()
}

// words are all that limits did; empty for nothing.
func (e effect) words() string {
	var parts []string
	add := func(n uint64, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	if paused := e.pausedWords(); paused != "" {
		parts = append(parts, "paused "+strings.Replace(paused, ",", " for", 1))
	}
	add(e.dropped, "dropped")
	add(e.closed, "closed")
	add(e.refused, "refused")
	add(e.observed, "observed")
	return list(parts)
}

// withEffects adds to a table a column for each kind of effect that any row has.
func withEffects(titles []string, rows [][]string, effects []effect) ([]string, [][]string) {
	plain := func(n uint64) string { return strconv.FormatUint(n, 10) }
	for _, column := range []struct {
		title string
		there func(effect) bool
		text  func(effect) string
	}{
		{"DROPPED", func(e effect) bool { return e.dropped > 0 }, func(e effect) string { return plain(e.dropped) }},
		{"PAUSED", func(e effect) bool { return e.pausedWords() != "" }, effect.pausedWords},
		{"CLOSED", func(e effect) bool { return e.closed > 0 }, func(e effect) string { return plain(e.closed) }},
		{"REFUSED", func(e effect) bool { return e.refused > 0 }, func(e effect) string { return plain(e.refused) }},
		{"OBSERVED", func(e effect) bool { return e.observed > 0 }, func(e effect) string { return plain(e.observed) }},
	} {
		if !slices.ContainsFunc(effects, column.there) {
			continue
		}
		titles = append(titles, column.title)
		for i, e := range effects {
			rows[i] = append(rows[i], column.text(e))
		}
	}
	return titles, rows
}
