package devportal

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// usageView is what an application used, and what is left of its quotas.
type usageView struct {
	*application
	Spans []ui.Tab
	Chart ui.Chart
	// Sent and Received are the messages of the whole time.
	Sent, Received int64
	Rows           []usageRow
	Quotas         []quotaRow
	// More says that there are more rows or quotas than are shown.
	More bool
	// Sessions are those that live now, -1 where that is not known.
	Sessions int64
	// CSV is the address of the chart's numbers as a file.
	CSV string
}

// usageRow is the usage of one version.
type usageRow struct {
	API, Version string
	ui.UsageRow
}

// quotaRow is what is left of a quota.
type quotaRow struct {
	Of, Promise string
	// Percent is how much was used, at most 100.
	Percent    int64
	Used, Left string
	Resets     *timestamppb.Timestamp
	Observe    bool
}

// mostRows is how many rows a table of usage or quotas has.
const mostRows = 100

// usage shows what an application used.
func (p *pages) usage() ui.Route {
	t := ui.Parse[usageView](files, "templates/usage.html")
	return ui.Page("/devportal/applications/{application}/usage", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		span, tabs := r.Span()
		start, filter := span.Start(time.Now()), `application = "`+a.GetName()+`"`
		steps, err := p.Usage.ListUsage(r.Context(), span.Request(filter, start))
		if err != nil {
			return nil, err
		}
		if r.FormValue("as") == "csv" {
			return span.File(ui.ID(a.GetName()), steps.GetUsage())
		}
		v := usageView{application: a, Spans: tabs, CSV: a.Base + "/usage?span=" + span.Name + "&as=csv"}
		v.Chart, v.Sent, v.Received = span.Chart(steps.GetUsage(), start)
		if err := p.byVersion(r, filter, start, &v); err != nil {
			return nil, err
		}
		if err := p.quotas(r, filter, &v); err != nil {
			return nil, err
		}
		if v.Sessions, err = p.AllLiveSessions(r, `application = "`+a.GetName()+`"`); err != nil {
			return nil, err
		}
		return t.Page(a.head("Usage"), v), nil
	})
}

// byVersion adds the rows of the table beside the chart.
func (p *pages) byVersion(r *ui.Request, filter string, start time.Time, v *usageView) error {
	list, err := p.Usage.ListUsage(r.Context(), &usagev1.ListUsageRequest{
		Filter: filter, StartTime: timestamppb.New(start), GroupBy: []string{"version"}, PageSize: mostRows,
	})
	if err != nil {
		return err
	}
	v.More = list.GetNextPageToken() != ""
	for _, u := range list.GetUsage() {
		v.Rows = append(v.Rows, usageRow{u.GetApiDisplayName(), u.GetVersionString(), ui.NewUsageRow(u)})
	}
	return nil
}

// quotas adds what is left of the application's quotas.
func (p *pages) quotas(r *ui.Request, filter string, v *usageView) error {
	list, err := p.Quotas.ListQuotaUses(r.Context(), &usagev1.ListQuotaUsesRequest{Filter: filter, PageSize: mostRows})
	if err != nil {
		return err
	}
	v.More = v.More || list.GetNextPageToken() != ""
	for _, q := range list.GetQuotaUses() {
		row := quotaRow{
			Of:   "all its traffic",
			Used: ui.Amount(q.GetUsed(), q.GetUnit()), Left: ui.Amount(q.GetLeft(), q.GetUnit()), Resets: q.GetResetTime(), Observe: q.GetObserve(),
			Promise: strings.Split(ui.Promise(&catalogv1.Limit{Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{Unit: q.GetUnit(), Amount: q.GetAmount(), Window: q.GetWindow()}}}), ";")[0],
		}
		if q.GetVersion() != "" {
			row.Of = q.GetApiDisplayName() + " " + q.GetVersionString()
		}
		if q.GetAmount() > 0 {
			row.Percent = min(int64(float64(q.GetUsed())*100/float64(q.GetAmount())), 100)
		}
		v.Quotas = append(v.Quotas, row)
	}
	return nil
}
