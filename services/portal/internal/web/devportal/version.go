package devportal

import (
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/snippet"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// versionView is what a developer is told about a version.
type versionView struct {
	*offer
	Addresses []ui.Copy
	Plans     []planRow
	Security  string
	Lines     []ui.Copy
	Snippets  snippet.View
	// Subscriptions are those of the viewer's applications.
	Subscriptions []*subscriptionv1.Subscription
	// MayGenerate says whether the viewer may have keys, and clients need them.
	MayGenerate bool
}

// planRow is a plan and what it promises.
type planRow struct {
	Title, Description, Price string
	Promises                  []string
}

// version shows a published version.
func (p *pages) version() ui.Route {
	t, programs := ui.Parse[versionView](files, "templates/version.html"), snippet.Parse()
	return ui.Page("/devportal/apis/{api}/versions/{version}", readers(), t, func(r *ui.Request) (ui.Answer, error) {
		o, err := p.offer(r)
		if err != nil {
			return nil, err
		}
		v := versionView{
			offer: o, Addresses: addressCopies(o.Version), Security: securityWords(o.Version), Lines: append(p.wscat(o.Version), p.curl(o.Version)...),
			Snippets:    programs.Of(o.Version, tokenEndpoint(r).Value, p.authority),
			MayGenerate: r.Viewer.May(developers()...) && !o.Open(),
		}
		for _, plan := range o.Plans {
			v.Plans = append(v.Plans, planRow{plan.GetDisplayName(), plan.GetDescription(), plan.GetPriceLabel(), ui.Promises(plan)})
		}
		if v.MayGenerate {
			if v.Subscriptions, err = p.subscriptions(r, o.Version.GetName()); err != nil {
				return nil, err
			}
		}
		h := ui.Head{Title: o.API.GetDisplayName(), Sub: o.API.GetDescription(), Crumbs: crumbs(), Badges: []ui.Badge{{Kind: "tag", Text: o.Version.GetVersion()}}}
		if text := o.Version.GetDescription(); text != "" {
			h.Sub = text
		}
		for _, tag := range o.Version.GetTags() {
			h.Badges = append(h.Badges, ui.Badge{Kind: "tag", Text: tag})
		}
		return t.Page(h, v), nil
	})
}

// subscriptions are those of the viewer's applications to a version.
func (p *pages) subscriptions(r *ui.Request, version string) ([]*subscriptionv1.Subscription, error) {
	list, err := p.Subscriptions.ListSubscriptions(r.Context(), &subscriptionv1.ListSubscriptionsRequest{
		PageSize: mostNames, Filter: `version = "` + version + `" AND application_owner = "users/me"`,
	})
	return list.GetSubscriptions(), err
}
