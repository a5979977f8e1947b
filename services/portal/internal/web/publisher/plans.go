package publisher

import (
	"net/url"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// plansView is the form of a version's plans.
type plansView struct {
	*version
	Form *ui.Form
	// MayLimit says whether the viewer may choose the plan of all traffic.
	MayLimit bool
}

// offered shows and changes the plans that a version offers, and that of its traffic.
func (p *pages) offered() ui.Route {
	t := ui.Parse[plansView](files, "templates/plans.html")
	return ui.FormPage("/publisher/apis/{api}/versions/{version}/plans", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		plans, err := p.planOptions(r.Context())
		if err != nil {
			return nil, err
		}
		form := plansForm(r, v, plans)
		if r.Submitted() {
			_, err := p.Catalog.UpdateVersion(r.Context(), plansUpdate(v, form, r.Viewer.May(ui.Publisher)))
			if err == nil {
				return ui.Done(v.Base+"/plans", "The plans of %s are saved. Subscriptions keep theirs.", v.name()), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
			if form.Conflict {
				form.Compare(v.Version.GetEtag(), url.Values{"plans": v.Version.GetPlans(), "traffic_plan": {v.Version.GetTrafficPlan()}})
			}
		}
		h := v.head("Plans")
		h.Status = form.Status()
		return t.Page(h, plansView{version: v, Form: form, MayLimit: r.Viewer.May(ui.Publisher)}), nil
	})
}

// plansForm has the plans that there are.
func plansForm(r *ui.Request, v *version, plans []ui.Option) *ui.Form {
	traffic := []ui.Option{{Value: "", Text: "None"}}
	for _, o := range plans {
		traffic = append(traffic, ui.Option{Value: o.Value, Text: o.Text})
	}
	return ui.NewForm(r,
		ui.Field{Name: "plans", Label: "Business plans", Kind: "choices", Options: plans, Values: v.Version.GetPlans(),
			Hint: "what subscribers can choose from", Paths: []string{"version.plans"}},
		ui.Field{Name: "traffic_plan", Label: "Traffic plan", Kind: "select", Options: traffic, Value: v.Version.GetTrafficPlan(),
			Hint: "Its limits hold for all the version's traffic together, also that of live sessions.", Paths: []string{"version.traffic_plan"}},
		ui.Field{Name: "etag", Kind: "hidden", Value: v.Version.GetEtag()},
	)
}

// plansUpdate asks for what the form has. The traffic plan is in it only for those who
// may change that, and where it is another one.
func plansUpdate(v *version, form *ui.Form, mayLimit bool) *catalogv1.UpdateVersionRequest {
	req := &catalogv1.UpdateVersionRequest{
		Version: &catalogv1.Version{
			Name: v.Version.GetName(), Etag: form.Get("etag"), Plans: form.All("plans"), TrafficPlan: form.Get("traffic_plan"),
		},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"plans"}},
	}
	if mayLimit && form.Get("traffic_plan") != v.Version.GetTrafficPlan() {
		req.UpdateMask.Paths = append(req.UpdateMask.Paths, "traffic_plan")
	}
	return req
}
