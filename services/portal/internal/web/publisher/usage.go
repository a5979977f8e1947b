package publisher

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// usageView is what passed through a version.
type usageView struct {
	*version
	Spans []ui.Tab
	Chart ui.Chart
	// Sent and Received are the messages of the whole time.
	Sent, Received int64
	Rows           []usageRow
	Limits         []limitRow
	// More says that there are more rows than are shown.
	More bool
	// Sessions are those that live now, -1 where that is not known.
	Sessions int64
	// CSV is the address of the chart's numbers as a file.
	CSV string
}

// usageRow is the usage of one application.
type usageRow struct {
	Application, User string
	ui.UsageRow
}

// mostUsers is how many applications the table has.
const mostUsers = 100

// usage shows what passed through a version.
func (p *pages) usage() ui.Route {
	t := ui.Parse[usageView](files, "templates/usage.html")
	return ui.Page("/publisher/apis/{api}/versions/{version}/usage", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		span, tabs := r.Span()
		start := span.Start(time.Now())
		steps, err := p.Usage.ListUsage(r.Context(), span.Request(v.and(""), start))
		if err := unused(err); err != nil {
			return nil, err
		}
		if r.FormValue("as") == "csv" {
			return span.File(v.Version.GetVersion(), steps.GetUsage())
		}
		view := usageView{version: v, Spans: tabs, CSV: v.Base + "/usage?span=" + span.Name + "&as=csv"}
		view.Chart, view.Sent, view.Received = span.Chart(steps.GetUsage(), start)
		users, err := p.Usage.ListUsage(r.Context(), &usagev1.ListUsageRequest{
			Filter: v.and(""), StartTime: timestamppb.New(start), GroupBy: []string{"application"}, PageSize: mostUsers,
		})
		if err := unused(err); err != nil {
			return nil, err
		}
		view.More = users.GetNextPageToken() != ""
		for _, u := range users.GetUsage() {
			view.Rows = append(view.Rows, usageRow{u.GetApplicationDisplayName(), u.GetUsername(), ui.NewUsageRow(u)})
		}
		if view.Limits, err = p.limitRows(r, users.GetUsage()); err != nil {
			return nil, err
		}
		if view.Sessions, err = p.liveSessions(r, v.Version.GetName()); err != nil {
			return nil, err
		}
		return t.Page(v.head("Usage"), view), nil
	})
}

// limitRow is what a limit did to an application in the time.
type limitRow struct {
	ui.LimitRow
	// Application and User are those whom it held back, or would have.
	Application, User string
}

// limitRows are what limits did, in one call: those first that would have held back most,
// were they not on observe.
func (p *pages) limitRows(r *ui.Request, usage []*usagev1.Usage) ([]limitRow, error) {
	var plans []string
	for _, u := range usage {
		for _, l := range u.GetLimits() {
			plans = append(plans, l.GetPlan())
		}
	}
	names, err := p.PlanNames(r, plans...)
	if err != nil {
		return nil, err
	}
	var rows []limitRow
	for _, u := range usage {
		for _, l := range ui.LimitRows(u.GetLimits(), names) {
			rows = append(rows, limitRow{l, u.GetApplicationDisplayName(), u.GetUsername()})
		}
	}
	slices.SortStableFunc(rows, func(a, b limitRow) int { return cmp.Compare(b.GetObservedHits(), a.GetObservedHits()) })
	return rows[:min(len(rows), mostUsers)], nil
}
