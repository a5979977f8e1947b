package admin

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// plansPath is the address of the list of plans.
const plansPath = "/admin/plans"

// planPath is the address of a plan, plans/{plan}.
func planPath(name string) string { return "/admin/" + name }

// plansView is the list of plans.
type plansView struct {
	Filters *ui.Filters
	Rows    []planRow
	More    string
	Empty   ui.Empty
}

// planRow is a plan in the list.
type planRow struct {
	*catalogv1.Plan
	Path string
	// Promises are what its limits let pass.
	Promises []string
}

// plans lists plans.
func (p *pages) plans() ui.Route {
	t := ui.Parse[plansView](files, "templates/plans.html")
	return ui.Page(plansPath, roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v := plansView{Filters: ui.NewFilters(r, ui.Field{Name: "query", Label: "Name", Kind: "search", Max: 100, Paths: []string{"query"}})}
		v.Empty = ui.Empty{Title: "No plan", Text: "A plan says what its subscribers may do: how many messages, how many connections at once.", Action: &ui.Link{Text: "Add plan", To: plansPath + "/new"}}
		if v.Filters.Any() {
			v.Empty = ui.Empty{Title: "No plan found", Text: "No plan has this in its name.", Action: &ui.Link{Text: "Show all plans", To: plansPath}}
		}
		list, err := p.Catalog.ListPlans(r.Context(), &catalogv1.ListPlansRequest{Query: v.Filters.Get("query"), OrderBy: "display_name", PageToken: r.FormValue("page")})
		if err != nil {
			if err := v.Filters.Explain(err); err != nil {
				return nil, err
			}
		}
		for _, plan := range list.GetPlans() {
			v.Rows = append(v.Rows, planRow{plan, planPath(plan.GetName()), ui.Promises(plan)})
		}
		v.More = r.Next(list.GetNextPageToken())
		h := head("Plans", "Plans", "What versions can be offered under, and what an application or a version may do in all.")
		h.Status = v.Filters.Status()
		return t.Page(h, v), nil
	})
}

// plan reads the plan that a request's path names.
func (p *pages) getPlan(r *ui.Request) (*catalogv1.Plan, error) {
	plan, err := p.Catalog.GetPlan(r.Context(), &catalogv1.GetPlanRequest{Name: "plans/" + r.PathValue("plan")})
	return plan, ui.Absent(err)
}

// planCrumbs lead to the list of plans, and to one.
func planCrumbs(plans ...*catalogv1.Plan) []ui.Link {
	crumbs := []ui.Link{{Text: "Plans", To: plansPath}}
	for _, plan := range plans {
		crumbs = append(crumbs, ui.Link{Text: plan.GetDisplayName(), To: planPath(plan.GetName())})
	}
	return crumbs
}

// planUse is what a change of a plan touches.
type planUse struct {
	// Users are what has the plan, in words; Known says whether that is known now.
	Users []string
	Known bool
	// Sessions are those that live under it, -1 where that is not known.
	Sessions int64
}

// use asks what a change of a plan would touch, in two calls.
func (p *pages) use(r *ui.Request, plan *catalogv1.Plan) (planUse, error) {
	use, err := p.Catalog.GetPlanUse(r.Context(), &catalogv1.GetPlanUseRequest{Name: plan.GetName()})
	if err != nil && !ui.Away(err) {
		return planUse{}, err
	}
	u := planUse{Known: err == nil}
	for _, one := range []struct {
		count     int64
		one, many string
	}{
		{use.GetVersions(), "version that offers it", "versions that offer it"},
		{use.GetTrafficVersions(), "version that has it for all its traffic", "versions that have it for all their traffic"},
		{use.GetSubscriptionlessVersions(), "version that needs no subscription", "versions that need no subscription"},
		{use.GetSubscriptions(), "subscription", "subscriptions"},
		{use.GetApplications(), "application", "applications"},
	} {
		if one.count > 0 {
			u.Users = append(u.Users, ui.Plural(one.count, one.one, one.many))
		}
	}
	u.Sessions, err = p.AllLiveSessions(r, `plan = "`+plan.GetName()+`"`)
	return u, err
}

// Words say what a change touches.
func (u planUse) Words() string {
	users := "Nothing has the plan"
	switch {
	case !u.Known:
		users = "What has the plan is not known now"
	case len(u.Users) > 0:
		users = "The plan is that of " + strings.Join(u.Users, ", ")
	}
	switch {
	case u.Sessions < 0:
		return users + ". How many live sessions are under it is not known now; what changes holds for them within a second."
	case u.Sessions == 0:
		return users + ". No live session is under it."
	case u.Sessions == 1:
		return users + ". 1 live session is under it: what changes holds for it within a second."
	}
	return users + ". " + ui.Number(u.Sessions) + " live sessions are under it: what changes holds for them within a second."
}

// planView is one plan.
type planView struct {
	*catalogv1.Plan
	Path   string
	Use    planUse
	Limits []planLimit
	// Kinds are the limits that can be added.
	Kinds []ui.Link
	// Attributes are those of the installation's own, by name.
	Attributes []ui.Fact
	Commercial bool
}

// planLimit is a limit of a plan.
type planLimit struct{ Name, Promise, Path string }

// plan shows a plan, and what has it.
func (p *pages) plan() ui.Route {
	t := ui.Parse[planView](files, "templates/plan.html")
	return ui.Page(plansPath+"/{plan}", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		plan, err := p.getPlan(r)
		if err != nil {
			return nil, err
		}
		v := planView{Plan: plan, Path: planPath(plan.GetName()), Commercial: plan.GetBilling() == catalogv1.Plan_BILLING_COMMERCIAL}
		if v.Use, err = p.use(r, plan); err != nil {
			return nil, err
		}
		for _, l := range plan.GetLimits() {
			v.Limits = append(v.Limits, planLimit{l.GetName(), ui.Promise(l), limitPath(plan, l)})
		}
		for _, k := range limitKinds() {
			v.Kinds = append(v.Kinds, ui.Link{Text: k.title, To: v.Path + "/add-limit?kind=" + k.name})
		}
		for _, name := range slices.Sorted(maps.Keys(plan.GetAttributes())) {
			v.Attributes = append(v.Attributes, ui.Fact{Name: name, Value: plan.GetAttributes()[name]})
		}
		return t.Page(ui.Head{Title: plan.GetDisplayName(), Sub: plan.GetDescription(), Crumbs: planCrumbs()}, v), nil
	})
}

// planFields are the entries of a plan besides its limits.
func planFields(plan *catalogv1.Plan) []ui.Field {
	var attributes []string
	for _, name := range slices.Sorted(maps.Keys(plan.GetAttributes())) {
		attributes = append(attributes, name+"="+plan.GetAttributes()[name])
	}
	billing := ""
	if plan.GetBilling() == catalogv1.Plan_BILLING_COMMERCIAL {
		billing = "COMMERCIAL"
	}
	return []ui.Field{
		{Name: "display_name", Label: "Name", Required: true, Max: 100, Value: plan.GetDisplayName(), Paths: []string{"plan.display_name"}},
		{Name: "description", Label: "Description", Kind: "textarea", Max: 4096, Value: plan.GetDescription(), Hint: "What the plan is for.", Paths: []string{"plan.description"}},
		{Name: "billing", Label: "Billing", Kind: "radio", Value: billing, Options: []ui.Option{{Value: "", Text: "Free"}, {Value: "COMMERCIAL", Text: "Commercial"}}, Hint: "shown only: nothing is charged", Paths: []string{"plan.billing"}},
		{Name: "price_label", Label: "Price", Max: 100, Value: plan.GetPriceLabel(), Placeholder: "10 EUR a month", Hint: "For users to read.", Paths: []string{"plan.price_label"}},
		{Name: "attributes", Label: "Attributes", Kind: "textarea", Code: true, Value: strings.Join(attributes, "\n"), Placeholder: "region=eu", Hint: "For users to read: NAME=VALUE, one on a line, at most 20.", Paths: []string{"plan.attributes"}},
	}
}

// enteredPlan is the plan that a form has. What is wrong with an entry is said there.
func enteredPlan(form *ui.Form) *catalogv1.Plan {
	plan := &catalogv1.Plan{DisplayName: form.Get("display_name"), Description: form.Get("description"), PriceLabel: form.Get("price_label"), Attributes: map[string]string{}}
	if form.Get("billing") == "COMMERCIAL" {
		plan.Billing = catalogv1.Plan_BILLING_COMMERCIAL
	}
	for i, line := range form.Lines("attributes") {
		name, value, ok := strings.Cut(line, "=")
		if name, value = strings.TrimSpace(name), strings.TrimSpace(value); !ok {
			form.Wrong("attributes", fmt.Sprintf("line %d: must be NAME=VALUE", i+1))
		} else if _, twice := plan.Attributes[name]; twice {
			form.Wrong("attributes", fmt.Sprintf("line %d: %s is there twice", i+1, name))
		}
		plan.Attributes[name] = value
	}
	return plan
}

// newPlan adds a plan, without limits yet.
func (p *pages) newPlan() ui.Route {
	t := ui.Parse[formView](files, "templates/form.html")
	return ui.FormPage(plansPath+"/new", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		form := ui.NewForm(r, append(planFields(nil), ui.RequestID())...)
		if r.Submitted() && form.Complete() {
			if plan := enteredPlan(form); form.Good() {
				plan, err := p.Catalog.CreatePlan(r.Context(), &catalogv1.CreatePlanRequest{Plan: plan, RequestId: form.Get("request_id")})
				if err == nil {
					return ui.Done(planPath(plan.GetName()), "%s is added. It bounds nothing until it has a limit.", plan.GetDisplayName()), nil
				}
				if err := form.Explain(err); err != nil {
					return nil, err
				}
			}
		}
		return t.Page(ui.Head{Title: "Add plan", Status: form.Status(), Crumbs: planCrumbs()},
			formView{Form: form, Button: "Add plan", To: plansPath + "/new", Back: plansPath}), nil
	})
}

// editPlan changes a plan besides its limits.
func (p *pages) editPlan() ui.Route {
	t := ui.Parse[formView](files, "templates/form.html")
	return ui.FormPage(plansPath+"/{plan}/edit", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		plan, err := p.getPlan(r)
		if err != nil {
			return nil, err
		}
		fields := append(planFields(plan), ui.Field{Name: "etag", Kind: "hidden", Value: plan.GetEtag()})
		form, path := ui.NewForm(r, fields...), planPath(plan.GetName())
		if r.Submitted() && form.Complete() {
			if next := enteredPlan(form); form.Good() {
				next.Name, next.Etag = plan.GetName(), form.Get("etag")
				_, err := p.Catalog.UpdatePlan(r.Context(), &catalogv1.UpdatePlanRequest{
					Plan: next, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name", "description", "billing", "price_label", "attributes"}},
				})
				if err == nil {
					return ui.Done(path, "%s is changed.", form.Get("display_name")), nil
				}
				if err := form.Explain(err); err != nil {
					return nil, err
				}
			}
			if form.Conflict {
				form.Compare(plan.GetEtag(), ui.Stored(fields))
			}
		}
		return t.Page(ui.Head{Title: "Change " + plan.GetDisplayName(), Here: "Change", Status: form.Status(), Crumbs: planCrumbs(plan)},
			formView{Form: form, Text: []string{"This touches nobody's traffic."}, Button: "Save", To: path + "/edit", Back: path}), nil
	})
}

// deletePlan deletes a plan that nothing has, after a page that says what has it.
func (p *pages) deletePlan() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage(plansPath+"/{plan}/delete", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		plan, err := p.getPlan(r)
		if err != nil {
			return nil, err
		}
		path := planPath(plan.GetName())
		if r.Submitted() {
			_, err := p.Catalog.DeletePlan(r.Context(), &catalogv1.DeletePlanRequest{Name: plan.GetName(), Etag: r.PostForm.Get("etag")})
			switch {
			case err == nil:
				return ui.Done(plansPath, "%s is deleted.", plan.GetDisplayName()), nil
			case fault.Is(err, codes.FailedPrecondition):
				return ui.Redirect{To: path, Notice: ui.Notice{Kind: "warn", Text: "Not deleted: " + ui.Said(err) + "."}}, nil
			}
			return nil, err
		}
		use, err := p.use(r, plan)
		switch {
		case err != nil:
			return nil, err
		case len(use.Users) > 0:
			return ui.Redirect{To: path, Notice: ui.Notice{Kind: "warn", Text: "Not deleted: take it first from " + strings.Join(use.Users, ", ") + "."}}, nil
		}
		return t.Page(ui.Head{Title: "Delete " + plan.GetDisplayName() + "?", Here: "Delete", Crumbs: planCrumbs(plan)}, confirmView{Confirm: ui.Confirm{
			Text: []string{"Nothing has the plan. That cannot be undone; usage under it stays."}, Sessions: use.Sessions, Button: "Delete", Keep: "Keep it",
			To: path + "/delete", Back: path, Fields: []*ui.Field{{Name: "etag", Kind: "hidden", Value: plan.GetEtag()}},
		}}), nil
	})
}

// limitPath is the address of a limit of a plan.
func limitPath(plan *catalogv1.Plan, l *catalogv1.Limit) string {
	return planPath(plan.GetName()) + "/limits/" + url.PathEscape(l.GetName())
}
