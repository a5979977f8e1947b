package publisher

import (
	"encoding/csv"
	"strconv"
	"strings"
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

// usageRow is the usage of one application, or of one step of the time.
type usageRow struct {
	Application, User                        string
	Sessions, Sent, Received, Bytes, Refused int64
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
			return usageFile(v, span, steps.GetUsage())
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
			view.Rows = append(view.Rows, usageOf(u))
		}
		if view.Sessions, err = p.liveSessions(r, v.Version.GetName()); err != nil {
			return nil, err
		}
		return t.Page(v.head("Usage"), view), nil
	})
}

// usageOf returns usage as tables show it.
func usageOf(u *usagev1.Usage) usageRow {
	row := usageRow{
		Application: u.GetApplicationDisplayName(), User: u.GetUsername(), Sessions: int64(u.GetSessions()),
		Sent: int64(u.GetInbound().GetMessages()), Received: int64(u.GetOutbound().GetMessages()),
		Bytes: int64(u.GetInbound().GetPayloadBytes() + u.GetOutbound().GetPayloadBytes()),
	}
	for _, refused := range u.GetRefusedHandshakes() {
		row.Refused += int64(refused.GetCount())
	}
	return row
}

// usageFile is the usage in steps of time as a file. A step without usage has no row.
func usageFile(v *version, span ui.TimeSpan, usage []*usagev1.Usage) (ui.Answer, error) {
	var out strings.Builder
	w := csv.NewWriter(&out)
	rows := [][]string{{"start_time", "sessions", "messages_from_clients", "messages_from_backends", "payload_bytes", "refused_handshakes"}}
	for _, u := range usage {
		row, cells := usageOf(u), []string{u.GetStartTime().AsTime().UTC().Format(time.RFC3339)}
		for _, n := range []int64{row.Sessions, row.Sent, row.Received, row.Bytes, row.Refused} {
			cells = append(cells, strconv.FormatInt(n, 10))
		}
		rows = append(rows, cells)
	}
	if err := w.WriteAll(rows); err != nil {
		return nil, err
	}
	return ui.File{Name: "usage-" + v.Version.GetVersion() + "-" + span.Name + ".csv", Type: "text/csv; charset=utf-8", Body: []byte(out.String())}, nil
}
