package admin

import (
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// applicationsPath is the address of the list of applications.
const applicationsPath = "/admin/applications"

// applicationsView is the list of applications.
type applicationsView struct {
	Filters *ui.Filters
	Rows    []applicationRow
	More    string
	Empty   ui.Empty
}

// applicationRow is an application in the list.
type applicationRow struct {
	*subscriptionv1.Application
	// Title is what users call its plan, empty for none.
	Title string
	// Sessions are those that live now, -1 where that is not known; List has them.
	Sessions int64
	List     string
	// OfOwner is the address of the owner, ToPlan that of the form of the plan.
	OfOwner, ToPlan string
}

// applications lists applications of all users.
func (p *pages) applications() ui.Route {
	t := ui.Parse[applicationsView](files, "templates/applications.html")
	return ui.Page(applicationsPath, roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v := applicationsView{Filters: ui.NewFilters(r,
			ui.Field{Name: "query", Label: "Name", Kind: "search", Max: 100, Paths: []string{"query"}},
			ui.Field{Name: "owner", Label: "Owner", Code: true, Placeholder: "users/…"},
		)}
		v.Empty = ui.Empty{Title: "No application yet", Text: "Developers add their applications in the developer portal."}
		if v.Filters.Any() {
			v.Empty = ui.Empty{Title: "No application found", Text: "No application has all of this.", Action: &ui.Link{Text: "Show all applications", To: applicationsPath}}
		}
		list, err := p.Applications.ListApplications(r.Context(), &subscriptionv1.ListApplicationsRequest{
			Filter: v.Filters.Terms("owner"), Query: v.Filters.Get("query"), OrderBy: "display_name", PageToken: r.FormValue("page"),
		})
		if err != nil {
			if err := v.Filters.Explain(err); err != nil {
				return nil, err
			}
		}
		if v.Rows, err = p.applicationRows(r, list.GetApplications()); err != nil {
			return nil, err
		}
		v.More = r.Next(list.GetNextPageToken())
		h := head("Applications", "Applications", "What developers connect with. A plan of an application bounds all its traffic together, to whatever versions.")
		h.Status = v.Filters.Status()
		return t.Page(h, v), nil
	})
}

// applicationRows adds plans and live sessions, in two calls.
func (p *pages) applicationRows(r *ui.Request, list []*subscriptionv1.Application) ([]applicationRow, error) {
	var names, plans []string
	for _, a := range list {
		names, plans = append(names, a.GetName()), append(plans, a.GetPlan())
	}
	titles, err := p.PlanNames(r, plans...)
	if err != nil {
		return nil, err
	}
	counts, err := p.LiveSessions(r, "application", names...)
	if err != nil {
		return nil, err
	}
	var rows []applicationRow
	for _, a := range list {
		rows = append(rows, applicationRow{
			Application: a, Title: titles[a.GetPlan()], Sessions: counts(a.GetName()), List: ui.Filtered(sessionsPath, "application", a.GetName()),
			OfOwner: userPath(a.GetOwner()), ToPlan: "/admin/" + a.GetName() + "/plan",
		})
	}
	return rows, nil
}

// applicationPlan gives an application a plan, or takes it.
func (p *pages) applicationPlan() ui.Route {
	t := ui.Parse[formView](files, "templates/form.html")
	return ui.FormPage(applicationsPath+"/{application}/plan", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.Applications.GetApplication(r.Context(), &subscriptionv1.GetApplicationRequest{Name: "applications/" + r.PathValue("application")})
		if err != nil {
			return nil, ui.Absent(err)
		}
		plans, err := p.Catalog.ListPlans(r.Context(), &catalogv1.ListPlansRequest{PageSize: 1000, OrderBy: "display_name"})
		if err != nil {
			return nil, err
		}
		options := []ui.Option{{Value: "", Text: "None", Hint: "only the plans of its subscriptions hold"}}
		for _, plan := range plans.GetPlans() {
			options = append(options, ui.Option{Value: plan.GetName(), Text: plan.GetDisplayName(), Hint: ui.Brief(plan.GetDescription())})
		}
		fields := []ui.Field{
			{Name: "plan", Label: "Plan", Kind: "radio", Options: options, Value: a.GetPlan(), Paths: []string{"application.plan"}},
			{Name: "etag", Kind: "hidden", Value: a.GetEtag()},
		}
		form := ui.NewForm(r, fields...)
		if r.Submitted() {
			_, err := p.Applications.UpdateApplication(r.Context(), &subscriptionv1.UpdateApplicationRequest{
				Application: &subscriptionv1.Application{Name: a.GetName(), Etag: form.Get("etag"), Plan: form.Get("plan")}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"plan"}},
			})
			if err == nil {
				return ui.Done(applicationsPath, "The plan of %s is changed. Its live sessions go on under it.", a.GetDisplayName()), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
			if form.Conflict {
				form.Compare(a.GetEtag(), ui.Stored(fields))
			}
		}
		counts, err := p.LiveSessions(r, "application", a.GetName())
		if err != nil {
			return nil, err
		}
		text := "How many live sessions the application has is not known now; the plan holds for them within a second."
		if n := counts(a.GetName()); n >= 0 {
			text = "The application has " + ui.Plural(n, "live session") + ", for which the plan holds within a second. No session ends by it."
		}
		return t.Page(ui.Head{Title: "Plan of " + a.GetDisplayName(), Here: "Plan", Status: form.Status(), Crumbs: []ui.Link{{Text: "Applications", To: applicationsPath}}},
			formView{Form: form, Text: []string{text}, Button: "Save", To: "/admin/" + a.GetName() + "/plan", Back: applicationsPath}), nil
	})
}
