package devportal

import (
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// revokeAll revokes what an application has until now, after a page that says what ends.
func (p *pages) revokeAll() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/devportal/applications/{application}/revoke", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		if r.Submitted() {
			done, err := p.Revocations.Revoke(r.Context(), &subscriptionv1.RevokeRequest{Name: a.GetName()})
			if err != nil {
				return nil, err
			}
			return ui.Closed(a.Base+"/sessions", "The credentials are revoked.", done), nil
		}
		sessions, err := p.AllLiveSessions(r, `application = "`+a.GetName()+`"`)
		if err != nil {
			return nil, err
		}
		h := a.below("Revoke all credentials?", "Revoke")
		h.Crumbs = append(h.Crumbs, ui.Link{Text: "Sessions", To: a.Base + "/sessions"})
		return t.Page(h, confirmView{ui.Confirm{
			Text: []string{
				"All access tokens and values of API keys that the application has until now are refused. Sessions under them end at once with code 4001.",
				"Its OAuth clients, their secrets and its subscriptions stay: programs get new tokens. API keys need a new value.",
			},
			Sessions: sessions, Button: "Revoke them", Keep: "Keep them", To: a.Base + "/revoke", Back: a.Base + "/sessions",
		}}), nil
	})
}
