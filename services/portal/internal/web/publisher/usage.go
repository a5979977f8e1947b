package publisher

import (
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
		if view.Sessions, err = p.liveSessions(r, v.Version.GetName()); err != nil {
			return nil, err
		}
		return t.Page(v.head("Usage"), view), nil
	})
}
