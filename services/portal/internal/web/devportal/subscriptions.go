package devportal

import (
	"net/url"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// subscriptionsView is the first page of an application.
type subscriptionsView struct {
	*application
	Rows []subscriptionRow
	More string
}

// subscriptionRow is a subscription in the list.
type subscriptionRow struct {
	// API and Version are what users call them; API is empty where the version is not
	// shown to the viewer any more.
	API, Version string
	// Path leads to the version's page, and is empty where it has none.
	Path  string
	Plan  string
	Badge ui.Badge
	// Base is the address of the subscription's pages.
	Base string
}

// subscriptionBadge says in which state a subscription is.
func subscriptionBadge(s *subscriptionv1.Subscription) ui.Badge {
	if s.GetState() == subscriptionv1.Subscription_STATE_BLOCKED {
		return ui.Badge{Kind: "danger", Text: "Blocked"}
	}
	return ui.Badge{Kind: "ok", Text: "Active"}
}

// subscribed shows an application with its subscriptions.
func (p *pages) subscribed() ui.Route {
	t := ui.Parse[subscriptionsView](files, "templates/subscriptions.html")
	return ui.Page("/devportal/applications/{application}", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		list, err := p.Subscriptions.ListSubscriptions(r.Context(), &subscriptionv1.ListSubscriptionsRequest{
			Filter: `application = "` + a.GetName() + `"`, PageToken: r.FormValue("page"),
		})
		if err != nil {
			return nil, err
		}
		v := subscriptionsView{application: a, More: r.Next(list.GetNextPageToken())}
		if v.Rows, err = p.subscriptionRows(r, a, list.GetSubscriptions()); err != nil {
			return nil, err
		}
		return t.Page(a.head("Subscriptions"), v), nil
	})
}

// subscriptionRows adds names to subscriptions, in three calls.
func (p *pages) subscriptionRows(r *ui.Request, a *application, list []*subscriptionv1.Subscription) ([]subscriptionRow, error) {
	if len(list) == 0 {
		return nil, nil
	}
	var versionNames, planNames []string
	for _, s := range list {
		versionNames = append(versionNames, s.GetVersion())
		if !slices.Contains(planNames, s.GetPlan()) {
			planNames = append(planNames, s.GetPlan())
		}
	}
	got, err := p.Catalog.BatchGetVersions(r.Context(), &catalogv1.BatchGetVersionsRequest{Parent: "apis/-", Names: versionNames, AllowMissing: true})
	if err != nil {
		return nil, err
	}
	offered, err := p.rows(r, got.GetVersions())
	if err != nil {
		return nil, err
	}
	titles, err := p.planTitles(r, planNames)
	if err != nil {
		return nil, err
	}
	byName := map[string]catalogueRow{}
	for _, row := range offered {
		byName[row.Version.GetName()] = row
	}
	var rows []subscriptionRow
	for _, s := range list {
		row := subscriptionRow{Plan: titles[s.GetPlan()], Badge: subscriptionBadge(s), Base: a.Base + "/" + s.GetName()}
		if o, ok := byName[s.GetVersion()]; ok {
			row.API, row.Version = o.API.GetDisplayName(), o.Version.GetVersion()
			if o.Version.GetState() == catalogv1.Version_STATE_PUBLISHED {
				row.Path = o.Path
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// planTitles are what users call plans, by name.
func (p *pages) planTitles(r *ui.Request, names []string) (map[string]string, error) {
	plans, err := p.plans(r.Context(), names)
	titles := map[string]string{}
	for _, plan := range plans {
		titles[plan.GetName()] = plan.GetDisplayName()
	}
	return titles, err
}

// subscription reads the subscription that a request's path names, which is one of the
// application's.
func (p *pages) subscription(r *ui.Request, a *application) (*subscriptionv1.Subscription, error) {
	s, err := p.Subscriptions.GetSubscription(r.Context(), &subscriptionv1.GetSubscriptionRequest{Name: "subscriptions/" + r.PathValue("subscription")})
	switch {
	case err != nil:
		return nil, ui.Absent(err)
	case s.GetApplication() != a.GetName():
		return nil, fault.NotFound("the application has no such subscription")
	}
	return s, nil
}

// versionTitle is what users call a version that the viewer is subscribed to.
func (p *pages) versionTitle(r *ui.Request, name string) (string, *catalogv1.Version, error) {
	got, err := p.Catalog.BatchGetVersions(r.Context(), &catalogv1.BatchGetVersionsRequest{Parent: "apis/-", Names: []string{name}, AllowMissing: true})
	if err != nil {
		return "", nil, err
	}
	apis, err := p.Catalog.BatchGetApis(r.Context(), &catalogv1.BatchGetApisRequest{Names: []string{apiOf(name)}, AllowMissing: true})
	if err != nil {
		return "", nil, err
	}
	for _, v := range got.GetVersions() {
		for _, api := range apis.GetApis() {
			return api.GetDisplayName() + " " + v.GetVersion(), v, nil
		}
	}
	return "a version that is not published", nil, nil
}

// planView is the form that changes a subscription's plan.
type planView struct {
	Form     *ui.Form
	To, Back string
}

// changePlan changes the plan of a subscription.
func (p *pages) changePlan() ui.Route {
	t := ui.Parse[planView](files, "templates/plan.html")
	return ui.FormPage("/devportal/applications/{application}/subscriptions/{subscription}/plan", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		s, err := p.subscription(r, a)
		if err != nil {
			return nil, err
		}
		title, version, err := p.versionTitle(r, s.GetVersion())
		if err != nil {
			return nil, err
		}
		form, err := p.planForm(r, s, version)
		if err != nil {
			return nil, err
		}
		if r.Submitted() && form.Complete() {
			_, err := p.Subscriptions.UpdateSubscription(r.Context(), &subscriptionv1.UpdateSubscriptionRequest{
				Subscription: &subscriptionv1.Subscription{Name: s.GetName(), Plan: form.Get("plan"), Etag: form.Get("etag")},
				UpdateMask:   &fieldmaskpb.FieldMask{Paths: []string{"plan"}},
			})
			if err == nil {
				return ui.Done(a.Base, "The plan of %s is changed. Live sessions go on under it.", title), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
			if form.Conflict {
				form.Compare(s.GetEtag(), url.Values{"plan": {s.GetPlan()}})
			}
		}
		h := a.below("Change the plan", "Plan")
		h.Badges, h.Status = []ui.Badge{{Kind: "tag", Text: title}}, form.Status()
		return t.Page(h, planView{Form: form, To: a.Base + "/" + s.GetName() + "/plan", Back: a.Base}), nil
	})
}

// planForm has the plans that the version offers, and the one that the subscription has.
func (p *pages) planForm(r *ui.Request, s *subscriptionv1.Subscription, v *catalogv1.Version) (*ui.Form, error) {
	names := slices.Clone(v.GetPlans())
	if !slices.Contains(names, s.GetPlan()) {
		names = append(names, s.GetPlan())
	}
	plans, err := p.plans(r.Context(), names)
	if err != nil {
		return nil, err
	}
	var options []ui.Option
	for _, one := range plans {
		options = append(options, ui.Option{Value: one.GetName(), Text: one.GetDisplayName(), Hint: strings.Join(ui.Promises(one), " · ")})
	}
	return ui.NewForm(r,
		ui.Field{Name: "plan", Label: "Plan", Kind: "radio", Required: true, Options: options, Value: s.GetPlan(), Paths: []string{"subscription.plan"}},
		ui.Field{Name: "etag", Kind: "hidden", Value: s.GetEtag()},
	), nil
}

// unsubscribe deletes a subscription, after a page that says what ends.
func (p *pages) unsubscribe() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/devportal/applications/{application}/subscriptions/{subscription}/unsubscribe", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		s, err := p.subscription(r, a)
		if err != nil {
			return nil, err
		}
		title, _, err := p.versionTitle(r, s.GetVersion())
		if err != nil {
			return nil, err
		}
		if r.Submitted() {
			if _, err := p.Subscriptions.DeleteSubscription(r.Context(), &subscriptionv1.DeleteSubscriptionRequest{Name: s.GetName(), Etag: r.PostForm.Get("etag")}); err != nil {
				return nil, err
			}
			return ui.Done(a.Base, "%s is no longer subscribed to %s.", a.GetDisplayName(), title), nil
		}
		sessions, err := p.AllLiveSessions(r, `subscription = "`+s.GetName()+`"`)
		if err != nil {
			return nil, err
		}
		return t.Page(a.below("Unsubscribe from "+title+"?", "Unsubscribe"), confirmView{ui.Confirm{
			Text:     []string{"The application may not use it any more. Sessions end within a second with code 4006."},
			Sessions: sessions, Button: "Unsubscribe", Keep: "Stay subscribed", To: a.Base + "/" + s.GetName() + "/unsubscribe", Back: a.Base,
			Fields: []*ui.Field{{Name: "etag", Kind: "hidden", Value: s.GetEtag()}},
		}}), nil
	})
}
