package devportal

import (
	"strings"

	"google.golang.org/grpc/codes"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// revocation is what a page asks before something of an application's is revoked.
type revocation struct {
	// name is that of what is revoked, title what the page asks, done what is said then.
	name, title, done string
	// text has what happens, in sentences.
	text []string
	// sessions is how many end with it, or negative where that is not known.
	sessions int64
	// from is the page that it is asked from.
	from ui.Link
}

// revokes is a page that asks before it revokes what of returns, and says then which sessions
// that has closed.
func (p *pages) revokes(pattern string, of func(r *ui.Request, a *application) (revocation, error)) ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/devportal/applications/{application}"+pattern, developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		what, err := of(r, a)
		if err != nil {
			return nil, err
		}
		if r.Submitted() {
			done, err := p.Revocations.Revoke(r.Context(), &subscriptionv1.RevokeRequest{Name: what.name})
			if err != nil {
				return nil, err
			}
			return ui.Closed(what.from.To, what.done, done), nil
		}
		h := a.below(what.title, "Revoke")
		if what.from.Text != "" {
			h.Crumbs = append(h.Crumbs, what.from)
		}
		return t.Page(h, confirmView{ui.Confirm{
			Text: what.text, Sessions: what.sessions, Button: "Revoke them", Keep: "Keep them", To: r.URL.Path, Back: what.from.To,
		}}), nil
	})
}

// revokeAll revokes what an application has until now.
func (p *pages) revokeAll() ui.Route {
	return p.revokes("/revoke", func(r *ui.Request, a *application) (revocation, error) {
		sessions, err := p.AllLiveSessions(r, `application = "`+a.GetName()+`"`)
		return revocation{
			name: a.GetName(), title: "Revoke all credentials?", done: "The credentials are revoked.",
			text: []string{
				"All access tokens and values of API keys that the application has until now are refused. Sessions under them end at once with code 4001.",
				"Its OAuth clients, their secrets and its subscriptions stay: programs get new tokens. API keys need a new value.",
			},
			sessions: sessions, from: ui.Link{Text: "Sessions", To: a.Base + "/sessions"},
		}, err
	})
}

// revokeSubscription revokes what an application has until now where a subscription is.
func (p *pages) revokeSubscription() ui.Route {
	return p.revokes("/subscriptions/{subscription}/revoke", func(r *ui.Request, a *application) (revocation, error) {
		s, err := p.subscription(r, a)
		if err != nil {
			return revocation{}, err
		}
		title, _, err := p.versionTitle(r, s.GetVersion())
		if err != nil {
			return revocation{}, err
		}
		sessions, err := p.AllLiveSessions(r, `subscription = "`+s.GetName()+`"`)
		return revocation{
			name: s.GetName(), title: "Revoke the credentials at " + title + "?", done: "The credentials are revoked at " + title + ".",
			text: []string{
				"All access tokens and values of API keys that the application has until now are refused there, and nowhere else. Sessions end at once with code 4001.",
				"The application stays subscribed: programs get new tokens. API keys need a new value.",
			},
			sessions: sessions, from: ui.Link{To: a.Base},
		}, err
	})
}

// revokeClient revokes the tokens that an OAuth client has got until now.
func (p *pages) revokeClient() ui.Route {
	return p.revokes("/keys/{client}/revoke", func(r *ui.Request, a *application) (revocation, error) {
		client, sessions, err := p.clientOf(r, a)
		return revocation{
			name: client.GetName(), title: "Revoke the tokens for " + stageWord(client.GetStage()) + "?", done: "The tokens are revoked.",
			text: []string{
				"All access tokens that the OAuth client has got until now are refused. Sessions under them end at once with code 4001.",
				"Its secrets stay: programs get new tokens.",
			},
			sessions: sessions, from: ui.Link{Text: "Keys", To: a.Base + "/keys"},
		}, err
	})
}

// revokeSecret deletes a secret and revokes the tokens that were issued for it.
func (p *pages) revokeSecret() ui.Route {
	return p.revokes("/keys/{client}/secrets/{secret}/revoke", func(r *ui.Request, a *application) (revocation, error) {
		client, _, err := p.clientOf(r, a)
		if err != nil {
			return revocation{}, err
		}
		list, err := p.Applications.ListOAuthClientSecrets(r.Context(), &subscriptionv1.ListOAuthClientSecretsRequest{Parent: client.GetName()})
		if err != nil {
			return revocation{}, err
		}
		for _, s := range list.GetOauthClientSecrets() {
			if ui.ID(s.GetName()) != r.PathValue("secret") {
				continue
			}
			sessions, err := p.AllLiveSessions(r, `secret = "`+s.GetName()+`"`)
			return revocation{
				name: s.GetName(), title: "Revoke the secret and its tokens?", done: "The secret is revoked.",
				text: []string{
					"It was made on " + ui.Date(s.GetCreateTime()) + ". It is deleted, and all access tokens that programs have got with it are refused. Sessions under them end at once with code 4001.",
				},
				sessions: sessions, from: ui.Link{Text: "Keys", To: a.Base + "/keys"},
			}, err
		}
		return revocation{}, fault.NotFound("the OAuth client has no such secret")
	})
}

// tokenView is the form for a token.
type tokenView struct {
	*application
	Form *ui.Form
}

// revokeToken revokes an access token of the application by its value, which is not shown
// again, or a token or a secret by its name: a secret may be gone, and its tokens not.
func (p *pages) revokeToken() ui.Route {
	t := ui.Parse[tokenView](files, "templates/revoke-token.html")
	return ui.FormPage("/devportal/applications/{application}/revoke-token", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		form := ui.NewForm(r, ui.Field{
			Name: "token", Label: "Access token", Kind: "password", Max: 8192, Hint: "Its value, as programs send it; of this application or another of yours. It is not stored.", Paths: []string{"token"},
		}, ui.Field{
			Name: "name", Label: "Or a name", Code: true, Max: 400, Placeholder: "grants/…",
			Hint: "Of a token of this application, as records have it, or of a secret that was deleted: its tokens live on.", Paths: []string{"name", "application"},
		})
		if r.Submitted() {
			done, err := p.revokeGiven(r, a, form)
			if err != nil {
				return nil, err
			}
			if done != nil {
				return ui.Closed(a.Base+"/sessions", "The token is revoked.", done), nil
			}
		}
		h := a.below("Revoke one token", "Revoke a token")
		h.Crumbs, h.Status = append(h.Crumbs, ui.Link{Text: "Sessions", To: a.Base + "/sessions"}), form.Status()
		return t.Page(h, tokenView{a, form}), nil
	})
}

// revokeGiven revokes what a form has: a token's value, or a name. What is wrong with it is
// said there, and nothing is returned.
func (p *pages) revokeGiven(r *ui.Request, a *application, f *ui.Form) (*subscriptionv1.RevokeResponse, error) {
	req := &subscriptionv1.RevokeRequest{Token: strings.TrimSpace(f.Get("token")), Name: strings.TrimSpace(f.Get("name"))}
	switch {
	case (req.GetToken() == "") == (req.GetName() == ""):
		f.Wrong("token", "is needed, or a name: one of the two")
		return nil, nil
	case strings.HasPrefix(req.GetName(), "grants/"):
		req.Application = a.GetName()
	case req.GetName() != "" && !strings.Contains(req.GetName(), "/secrets/"):
		f.Wrong("name", "must be that of a token, grants/…, or of a secret, applications/…/oauthClients/…/secrets/…")
		return nil, nil
	}
	done, err := p.Revocations.Revoke(r.Context(), req)
	switch {
	case err == nil:
		return done, nil
	case fault.Is(err, codes.NotFound) && req.GetName() != "":
		f.Wrong("name", "is of no application of yours")
	case fault.Is(err, codes.NotFound):
		f.Wrong("token", "is of no application of yours")
	default:
		return nil, f.Explain(err)
	}
	return nil, nil
}
