package devportal

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
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
}

// usageRow is the usage of one version.
type usageRow struct {
	API, Version                      string
	Sessions, Sent, Received, Refused int64
	Bytes                             int64
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

// span is a time that usage is shown for, in steps.
type span struct {
	name, text string
	all, step  time.Duration
	// label is the form of times below the chart.
	label string
}

func spans() []span {
	return []span{
		{"1h", "1 hour", time.Hour, time.Minute, "15:04"},
		{"24h", "24 hours", 24 * time.Hour, 30 * time.Minute, "15:04"},
		{"7d", "7 days", 7 * 24 * time.Hour, 6 * time.Hour, "2 Jan"},
		{"30d", "30 days", 30 * 24 * time.Hour, 24 * time.Hour, "2 Jan"},
	}
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
		v, shown := usageView{application: a}, spans()[1]
		for _, s := range spans() {
			if r.FormValue("span") == s.name {
				shown = s
			}
		}
		for _, s := range spans() {
			v.Spans = append(v.Spans, ui.Tab{Text: s.text, To: a.Base + "/usage?span=" + s.name, Current: s == shown})
		}
		filter := `application = "` + a.GetName() + `"`
		// The newest step is the one that goes on now.
		start := time.Now().Add(-shown.all).Truncate(shown.step).Add(shown.step)
		if err := p.chart(r, filter, start, shown, &v); err != nil {
			return nil, err
		}
		if err := p.byVersion(r, filter, start, &v); err != nil {
			return nil, err
		}
		if err := p.quotas(r, filter, &v); err != nil {
			return nil, err
		}
		if v.Sessions, err = p.sessions(r, "application", a.GetName()); err != nil {
			return nil, err
		}
		return t.Page(a.head("Usage"), v), nil
	})
}

// chart draws messages over time.
func (p *pages) chart(r *ui.Request, filter string, start time.Time, s span, v *usageView) error {
	list, err := p.Usage.ListUsage(r.Context(), &usagev1.ListUsageRequest{
		Filter: filter, StartTime: timestamppb.New(start), Step: durationpb.New(s.step), PageSize: 1000,
	})
	if err != nil {
		return err
	}
	n := int(s.all / s.step)
	c := ui.Chart{ID: "messages", Title: "Messages in the last " + s.text, First: make([]int64, n), Second: make([]int64, n)}
	for i := range n {
		c.Labels = append(c.Labels, start.Add(time.Duration(i)*s.step).UTC().Format(s.label))
	}
	for _, u := range list.GetUsage() {
		if i := int(u.GetStartTime().AsTime().Sub(start) / s.step); i >= 0 && i < n {
			c.First[i], c.Second[i] = int64(u.GetInbound().GetMessages()), int64(u.GetOutbound().GetMessages())
			v.Sent, v.Received = v.Sent+c.First[i], v.Received+c.Second[i]
		}
	}
	c.Desc = fmt.Sprintf("%s from clients and %s from backends, in steps of %s.", ui.Plural(v.Sent, "message"), ui.Plural(v.Received, "message"), ui.Span(s.step))
	v.Chart = c
	return nil
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
		row := usageRow{
			API: u.GetApiDisplayName(), Version: u.GetVersionString(), Sessions: int64(u.GetSessions()),
			Sent: int64(u.GetInbound().GetMessages()), Received: int64(u.GetOutbound().GetMessages()),
			Bytes: int64(u.GetInbound().GetPayloadBytes() + u.GetOutbound().GetPayloadBytes()),
		}
		for _, refused := range u.GetRefusedHandshakes() {
			row.Refused += int64(refused.GetCount())
		}
		v.Rows = append(v.Rows, row)
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
