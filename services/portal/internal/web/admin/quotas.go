package admin

import (
	"net/url"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// quotasPath is the address of the list of quotas.
const quotasPath = "/admin/quotas"

// quotasView is the list of quotas of which something was used.
type quotasView struct {
	Filters *ui.Filters
	Rows    []quotaRow
	More    string
	Empty   ui.Empty
}

// quotaRow is what was used of a quota.
type quotaRow struct {
	*usagev1.QuotaUse
	// Of says whose it is, Plan what users call the plan.
	Of, Plan string
	// Amount, Used, Left and the rest are in words; Added and Overdraft are empty for none.
	Promise, Used, Left, Added, Overdraft string
	// Percent is how much was used, at most 100.
	Percent int64
	Path    string
}

// quotas lists quotas.
func (p *pages) quotas() ui.Route {
	t := ui.Parse[quotasView](files, "templates/quotas.html")
	return ui.Page(quotasPath, roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v := quotasView{Filters: ui.NewFilters(r,
			ui.Field{Name: "application", Label: "Application", Code: true, Placeholder: "applications/…"},
			ui.Field{Name: "version", Label: "Version", Code: true, Placeholder: "apis/…/versions/…"},
			ui.Field{Name: "unit", Label: "Of", Kind: "select", Options: append([]ui.Option{{Value: "", Text: "All"}}, unitOptions("MESSAGES", "BYTES", "SESSIONS")...)},
			ui.Field{Name: "window", Label: "Per", Kind: "select", Options: append([]ui.Option{{Value: "", Text: "All"}}, unitOptions("MINUTE", "HOUR", "DAY", "WEEK", "MONTH")...)},
		)}
		v.Empty = ui.Empty{Title: "No quota in use", Text: "A quota of a plan is here once something was used of it in its present window."}
		if v.Filters.Any() {
			v.Empty = ui.Empty{Title: "No quota found", Text: "No quota that something was used of has all of this.", Action: &ui.Link{Text: "Show all quotas", To: quotasPath}}
		}
		list, err := p.Quotas.ListQuotaUses(r.Context(), &usagev1.ListQuotaUsesRequest{Filter: v.Filters.Terms("application", "version", "unit", "window"), PageToken: r.FormValue("page")})
		if err != nil {
			if err := v.Filters.Explain(err); err != nil {
				return nil, err
			}
		}
		if v.Rows, err = p.quotaRows(r, list.GetQuotaUses()); err != nil {
			return nil, err
		}
		v.More = r.Next(list.GetNextPageToken())
		h := head("Quotas", "Quotas", "What is left of quotas in their present windows. Times are in UTC.")
		h.Status = v.Filters.Status()
		return t.Page(h, v), nil
	})
}

// quotaRows adds what users call the plans, in one call.
func (p *pages) quotaRows(r *ui.Request, uses []*usagev1.QuotaUse) ([]quotaRow, error) {
	var names []string
	for _, use := range uses {
		names = append(names, use.GetPlan())
	}
	plans, err := p.PlanNames(r, names...)
	if err != nil {
		return nil, err
	}
	var rows []quotaRow
	for _, use := range uses {
		rows = append(rows, newQuotaRow(use, plans[use.GetPlan()]))
	}
	return rows, nil
}

// newQuotaRow returns a quota as pages show it.
func newQuotaRow(use *usagev1.QuotaUse, plan string) quotaRow {
	words := func(n int64) string {
		if n == 0 {
			return ""
		}
		return ui.Amount(n, use.GetUnit())
	}
	row := quotaRow{
		QuotaUse: use, Plan: plan, Used: ui.Amount(use.GetUsed(), use.GetUnit()), Left: ui.Amount(use.GetLeft(), use.GetUnit()), Added: words(use.GetAdded()), Overdraft: words(use.GetOverdraft()),
		Promise: strings.Split(ui.Promise(&catalogv1.Limit{Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{Unit: use.GetUnit(), Amount: use.GetAmount(), Window: use.GetWindow()}}}), ";")[0],
	}
	var of []string
	if use.GetApplication() != "" {
		of = append(of, use.GetApplicationDisplayName()+" of "+use.GetUsername())
	}
	if use.GetVersion() != "" {
		of = append(of, use.GetApiDisplayName()+" "+use.GetVersionString())
	}
	row.Of = strings.Join(of, " at ")
	if use.GetAmount() > 0 {
		row.Percent = min(int64(float64(use.GetUsed())*100/float64(use.GetAmount())), 100)
	}
	q := url.Values{"application": {use.GetApplication()}, "version": {use.GetVersion()}}
	row.Path = quotasPath + "/" + url.PathEscape(ui.ID(use.GetName())) + "?" + q.Encode()
	return row
}

// quotaView is one quota, and what changes it.
type quotaView struct {
	quotaRow
	Form *ui.Form
	// To is the address of the form.
	To string
}

// quota shows a quota, adds to it, or resets it. Its address names whose it is, too.
func (p *pages) quota() ui.Route {
	t := ui.Parse[quotaView](files, "templates/quota.html")
	return ui.FormPage(quotasPath+"/{quota}", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		use, err := p.getQuota(r)
		if err != nil {
			return nil, err
		}
		rows, err := p.quotaRows(r, []*usagev1.QuotaUse{use})
		if err != nil {
			return nil, err
		}
		form := ui.NewForm(r, ui.Field{Name: "amount", Label: "How many more", Required: true, Max: 30, Hint: "In the present window. A number; of bytes a size such as 1 GiB.", Paths: []string{"amount"}})
		if r.Submitted() && r.PostForm.Get("do") == "reset" {
			if _, err := p.Quotas.ResetQuota(r.Context(), &usagev1.ResetQuotaRequest{Name: use.GetName()}); err != nil {
				return nil, err
			}
			return ui.Done(rows[0].Path, "The quota is reset: as much as its amount may pass again."), nil
		}
		if r.Submitted() && form.Complete() {
			if n := amount(form, "amount", use.GetUnit()); form.Good() {
				_, err := p.Quotas.AddQuota(r.Context(), &usagev1.AddQuotaRequest{Name: use.GetName(), Amount: n})
				if err == nil {
					return ui.Done(rows[0].Path, "%s more may pass in the present window.", ui.Amount(n, use.GetUnit())), nil
				}
				if err := form.Explain(err); err != nil {
					return nil, err
				}
			}
		}
		return t.Page(ui.Head{Title: "Quota of " + rows[0].Of, Here: "Quota", Status: form.Status(), Crumbs: []ui.Link{{Text: "Quotas", To: quotasPath}}},
			quotaView{quotaRow: rows[0], Form: form, To: rows[0].Path}), nil
	})
}

// getQuota reads the quota that a request's path names: it is among those of the
// application and version that the query names.
func (p *pages) getQuota(r *ui.Request) (*usagev1.QuotaUse, error) {
	q := r.URL.Query()
	of := ui.Filters{Form: ui.Form{Fields: []*ui.Field{{Name: "application", Value: q.Get("application")}, {Name: "version", Value: q.Get("version")}}}}
	list, err := p.Quotas.ListQuotaUses(r.Context(), &usagev1.ListQuotaUsesRequest{Filter: of.Terms("application", "version"), PageSize: 1000})
	if err != nil {
		return nil, ui.Absent(err)
	}
	for _, use := range list.GetQuotaUses() {
		if ui.ID(use.GetName()) == r.PathValue("quota") {
			return use, nil
		}
	}
	return nil, fault.NotFound("nothing was used of this quota in its present window, or it is none")
}
