package publisher

import (
	"net/url"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// subscriptionPath is the pattern of the pages of a subscription to a version.
const subscriptionPath = "/publisher/apis/{api}/versions/{version}/subscriptions/{subscription}"

// subscriptionsView is the list of a version's subscriptions.
type subscriptionsView struct {
	*version
	Filters *ui.Filters
	Rows    []subscriptionRow
	More    string
	Empty   ui.Empty
	// MayManage says whether the viewer may block, restore and move them.
	MayManage bool
}

// subscriptionRow is a subscription in the list.
type subscriptionRow struct {
	*subscriptionv1.Subscription
	// Title is what users call the plan.
	Title   string
	Badge   ui.Badge
	Blocked bool
	// Sessions are those that live now, -1 where that is not known.
	Sessions int64
	// Base is the address of the subscription's pages.
	Base string
}

// subscriptions lists who uses a version.
func (p *pages) subscriptions() ui.Route {
	t := ui.Parse[subscriptionsView](files, "templates/subscriptions.html")
	return ui.Page("/publisher/apis/{api}/versions/{version}/subscriptions", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		plans, err := p.planOptions(r.Context())
		if err != nil {
			return nil, err
		}
		view := subscriptionsView{version: v, Filters: subscriptionFilters(r, plans), MayManage: v.mayManage(r)}
		view.Empty = ui.Empty{Title: "No subscription yet", Text: "Developers subscribe their applications in the developer portal, once the version is published."}
		if view.Filters.Any() {
			view.Empty = ui.Empty{Title: "Nothing found", Text: "No subscription has all of this.", Action: &ui.Link{Text: "Show all", To: v.Base + "/subscriptions"}}
		}
		list, err := p.Subscriptions.ListSubscriptions(r.Context(), &subscriptionv1.ListSubscriptionsRequest{
			Filter: v.and(view.Filters.Terms("state", "plan")), PageToken: r.FormValue("page"),
		})
		if unused(err) != nil {
			if err := view.Filters.Explain(err); err != nil {
				return nil, err
			}
		}
		view.More = r.Next(list.GetNextPageToken())
		if view.Rows, err = p.subscriptionRows(r, v, list.GetSubscriptions(), plans); err != nil {
			return nil, err
		}
		h := v.head("Subscriptions")
		h.Status = view.Filters.Status()
		return t.Page(h, view), nil
	})
}

// subscriptionFilters restrict the list of subscriptions.
func subscriptionFilters(r *ui.Request, plans []ui.Option) *ui.Filters {
	states := []ui.Option{{Value: "", Text: "All"}, {Value: "ACTIVE", Text: "Active"}, {Value: "BLOCKED", Text: "Blocked"}}
	byPlan := []ui.Option{{Value: "", Text: "All"}}
	for _, o := range plans {
		byPlan = append(byPlan, ui.Option{Value: o.Value, Text: o.Text})
	}
	return ui.NewFilters(r,
		ui.Field{Name: "state", Label: "State", Kind: "select", Options: states, Paths: []string{"filter"}},
		ui.Field{Name: "plan", Label: "Plan", Kind: "select", Options: byPlan},
	)
}

// and restricts a list to the version, and by further terms.
func (v *version) and(terms string) string {
	filter := `version = "` + v.Version.GetName() + `"`
	if terms != "" {
		filter += " AND " + terms
	}
	return filter
}

// mayManage reports whether the viewer decides about the version's subscriptions.
func (v *version) mayManage(r *ui.Request) bool {
	return r.Viewer.May(ui.Admin) || r.Viewer.May(ui.Publisher) && v.API.GetOwner() == r.Viewer.Name
}

// subscriptionRows adds to subscriptions their plans and how many sessions live, in one
// call.
func (p *pages) subscriptionRows(r *ui.Request, v *version, list []*subscriptionv1.Subscription, plans []ui.Option) ([]subscriptionRow, error) {
	if len(list) == 0 {
		return nil, nil
	}
	titles, names := map[string]string{}, make([]string, len(list))
	for _, o := range plans {
		titles[o.Value] = o.Text
	}
	for i, s := range list {
		names[i] = s.GetName()
	}
	counts, err := p.LiveSessions(r, "subscription", names...)
	if err != nil {
		return nil, err
	}
	var rows []subscriptionRow
	for _, s := range list {
		rows = append(rows, subscriptionRow{
			Subscription: s, Title: titles[s.GetPlan()], Badge: subscriptionBadge(s), Blocked: s.GetState() == subscriptionv1.Subscription_STATE_BLOCKED,
			Sessions: counts(s.GetName()), Base: v.Base + "/" + s.GetName(),
		})
	}
	return rows, nil
}

// subscriptionBadge says in which state a subscription is.
func subscriptionBadge(s *subscriptionv1.Subscription) ui.Badge {
	if s.GetState() == subscriptionv1.Subscription_STATE_BLOCKED {
		return ui.Badge{Kind: "danger", Text: "Blocked"}
	}
	return ui.Badge{Kind: "ok", Text: "Active"}
}

// subscription reads the subscription that a request's path names, which is one to the
// version.
func (p *pages) subscription(r *ui.Request) (*version, *subscriptionv1.Subscription, error) {
	v, err := p.version(r)
	if err != nil {
		return nil, nil, err
	}
	s, err := p.Subscriptions.GetSubscription(r.Context(), &subscriptionv1.GetSubscriptionRequest{Name: "subscriptions/" + r.PathValue("subscription")})
	switch {
	case err != nil:
		return nil, nil, ui.Absent(err)
	case s.GetVersion() != v.Version.GetName():
		return nil, nil, fault.NotFound("the version has no such subscription")
	}
	return v, s, nil
}

// blockSubscription blocks a subscription, after a page that says what ends.
func (p *pages) blockSubscription() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage(subscriptionPath+"/block", []ui.Role{ui.Publisher}, t, func(r *ui.Request) (ui.Answer, error) {
		v, s, err := p.subscription(r)
		if err != nil {
			return nil, err
		}
		list := v.Base + "/subscriptions"
		if r.Submitted() {
			if _, err := p.Subscriptions.BlockSubscription(r.Context(), &subscriptionv1.BlockSubscriptionRequest{Name: s.GetName(), Etag: r.PostForm.Get("etag")}); err != nil {
				return nil, err
			}
			return ui.Done(list, "%s is blocked: it cannot use %s now.", s.GetApplicationDisplayName(), v.name()), nil
		}
		counts, err := p.LiveSessions(r, "subscription", s.GetName())
		if err != nil {
			return nil, err
		}
		return t.Page(v.below("Block "+s.GetApplicationDisplayName()+"?", "Block"), confirmView{Confirm: ui.Confirm{
			Text:     []string{"New connections of the application to " + v.name() + " are answered 403, and sessions end within a second with code 4006. Subscribing again does not lift it."},
			Sessions: counts(s.GetName()), Button: "Block", Keep: "Keep it active", To: v.Base + "/" + s.GetName() + "/block", Back: list,
			Fields: []*ui.Field{{Name: "etag", Kind: "hidden", Value: s.GetEtag()}},
		}}), nil
	})
}

// restoreSubscription lets a blocked subscription be used again.
func (p *pages) restoreSubscription() ui.Route {
	return ui.Action(subscriptionPath+"/restore", []ui.Role{ui.Publisher}, func(r *ui.Request) (ui.Answer, error) {
		v, s, err := p.subscription(r)
		if err != nil {
			return nil, err
		}
		if _, err := p.Subscriptions.RestoreSubscription(r.Context(), &subscriptionv1.RestoreSubscriptionRequest{Name: s.GetName(), Etag: r.PostForm.Get("etag")}); err != nil {
			return nil, err
		}
		return ui.Done(v.Base+"/subscriptions", "%s may use %s again.", s.GetApplicationDisplayName(), v.name()), nil
	})
}

// moveView is the form that moves a subscription to another plan.
type moveView struct {
	Form     *ui.Form
	To, Back string
}

// moveSubscription moves a subscription to any plan.
func (p *pages) moveSubscription() ui.Route {
	t := ui.Parse[moveView](files, "templates/move.html")
	return ui.FormPage(subscriptionPath+"/plan", []ui.Role{ui.Publisher}, t, func(r *ui.Request) (ui.Answer, error) {
		v, s, err := p.subscription(r)
		if err != nil {
			return nil, err
		}
		plans, err := p.planOptions(r.Context())
		if err != nil {
			return nil, err
		}
		form := ui.NewForm(r,
			ui.Field{Name: "plan", Label: "Plan", Kind: "radio", Required: true, Options: plans, Value: s.GetPlan(), Paths: []string{"subscription.plan"}},
			ui.Field{Name: "etag", Kind: "hidden", Value: s.GetEtag()},
		)
		if r.Submitted() && form.Complete() {
			_, err := p.Subscriptions.UpdateSubscription(r.Context(), &subscriptionv1.UpdateSubscriptionRequest{
				Subscription: &subscriptionv1.Subscription{Name: s.GetName(), Plan: form.Get("plan"), Etag: form.Get("etag")},
				UpdateMask:   &fieldmaskpb.FieldMask{Paths: []string{"plan"}},
			})
			if err == nil {
				return ui.Done(v.Base+"/subscriptions", "%s is moved. Its live sessions go on under the plan.", s.GetApplicationDisplayName()), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
			if form.Conflict {
				form.Compare(s.GetEtag(), url.Values{"plan": {s.GetPlan()}})
			}
		}
		h := v.below("Move "+s.GetApplicationDisplayName()+" to another plan", "Move")
		h.Status = form.Status()
		return t.Page(h, moveView{Form: form, To: v.Base + "/" + s.GetName() + "/plan", Back: v.Base + "/subscriptions"}), nil
	})
}
