package devportal

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// wizardView is the form of the key generation wizard, or what it made.
type wizardView struct {
	*offer
	// Form is nil once something was made.
	Form *ui.Form
	// Chooses says that there are applications to choose from.
	Chooses bool
	Made    *madeView
}

// madeView is what the wizard made or found.
type madeView struct {
	Application *subscriptionv1.Application
	// Plan is that of the subscription, empty where none is needed.
	Plan  string
	Stage string
	// Found are words for what was there already.
	Found []string
	// ClientID and Endpoint are what programs ask for tokens with.
	ClientID, Endpoint ui.Copy
	// Secret and Token are shown this once; Secret is nil where none was asked for, and
	// where the form was sent before, which Again says.
	Secret, Token *ui.Copy
	Again         bool
	// Key is an API key, in the place of all those where a version takes no tokens.
	Key *ui.Copy
	// Narrow says that the token is good for this version only, and ends with the sign-in.
	Narrow bool
	// Ends says when the token does.
	Ends string
	// Set puts the token into the variable of the Lines.
	Set   ui.Copy
	Lines []ui.Copy
}

// Offers reports whether there is a plan to choose.
func (v wizardView) Offers() bool { return len(v.Form.Field("plan").Options) > 0 }

// firstApplication is the name that the form has for the first application.
const firstApplication = "My application"

// wizard makes all that is needed to connect to a version, on one page: it takes up what
// the user has already.
func (p *pages) wizard() ui.Route {
	t := ui.Parse[wizardView](files, "templates/wizard.html")
	return ui.FormPage("/devportal/apis/{api}/versions/{version}/wizard", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		o, err := p.offer(r)
		if err != nil {
			return nil, err
		}
		if o.Open() {
			return ui.Redirect{To: o.Base, Notice: ui.Notice{Text: "Clients of " + o.Name() + " need no key."}}, nil
		}
		have, err := p.had(r, o)
		if err != nil {
			return nil, err
		}
		v := wizardView{offer: o, Form: wizardForm(r, o, have), Chooses: len(have.applications) > 0}
		if r.Submitted() && have.complete(v.Form, o) {
			made, err := p.generate(r, o, have, v.Form)
			if err == nil {
				v.Form, v.Made = nil, made
				return t.Page(wizardHead(o, ui.Head{Secret: true}), v), nil
			}
			if err := v.Form.Explain(err); err != nil {
				return nil, err
			}
		}
		return t.Page(wizardHead(o, ui.Head{Sub: "One form makes all that a program needs to connect.", Status: v.Form.Status()}), v), nil
	})
}

// wizardHead is that of the wizard's pages.
func wizardHead(o *offer, h ui.Head) ui.Head {
	h.Title, h.Badges = "Key generation wizard", []ui.Badge{{Kind: "tag", Text: o.Name()}}
	h.Crumbs = crumbs(ui.Link{Text: o.API.GetDisplayName(), To: o.Base})
	return h
}

// had is what a user has before the wizard makes more.
type had struct {
	applications  []*subscriptionv1.Application
	subscriptions []*subscriptionv1.Subscription
}

// had reads the user's applications, and their subscriptions to the version.
func (p *pages) had(r *ui.Request, o *offer) (*had, error) {
	list, err := p.Applications.ListApplications(r.Context(), &subscriptionv1.ListApplicationsRequest{
		PageSize: mostNames, Filter: `owner = "users/me"`, OrderBy: "display_name",
	})
	if err != nil {
		return nil, err
	}
	h := &had{applications: list.GetApplications()}
	h.subscriptions, err = p.subscriptions(r, o.Version.GetName())
	return h, err
}

// application returns the user's application of a name, or nil.
func (h *had) application(name string) *subscriptionv1.Application {
	i := slices.IndexFunc(h.applications, func(a *subscriptionv1.Application) bool { return a.GetName() == name })
	if i < 0 {
		return nil
	}
	return h.applications[i]
}

// subscription returns that of an application, or nil.
func (h *had) subscription(application string) *subscriptionv1.Subscription {
	i := slices.IndexFunc(h.subscriptions, func(s *subscriptionv1.Subscription) bool { return s.GetApplication() == application })
	if i < 0 {
		return nil
	}
	return h.subscriptions[i]
}

// wizardForm is the form, with what most will choose: the application that is subscribed,
// or that the address names, else a first one.
func wizardForm(r *ui.Request, o *offer, have *had) *ui.Form {
	application, plan, name := r.URL.Query().Get("application"), "", firstApplication
	if have.application(application) == nil {
		application = ""
		if len(have.subscriptions) > 0 {
			application = have.subscriptions[0].GetApplication()
		} else if len(have.applications) > 0 {
			application = have.applications[0].GetName()
		}
	}
	if application != "" {
		name = ""
	}
	applications := []ui.Option{{Text: "A new one"}}
	for _, a := range have.applications {
		applications = append(applications, ui.Option{Value: a.GetName(), Text: a.GetDisplayName()})
	}
	var plans []ui.Option
	if o.Version.GetSubscriptionless() {
		plans = append(plans, ui.Option{Text: "No subscription", Hint: "any application may connect"})
	}
	for i, one := range o.Plans {
		plans = append(plans, ui.Option{Value: one.GetName(), Text: one.GetDisplayName(), Hint: strings.Join(ui.Promises(one), " · ")})
		if i == 0 && !o.Version.GetSubscriptionless() {
			plan = one.GetName()
		}
	}
	if s := have.subscription(application); s != nil {
		plan = s.GetPlan()
	}
	return ui.NewForm(r,
		ui.Field{Name: "application", Label: "Application", Kind: "select", Options: applications, Value: application, Hint: "The program that will connect.", Paths: []string{"subscription.application", "parent"}},
		ui.Field{Name: "name", Label: "Name of the new application", Max: 100, Value: name, Paths: []string{"application.display_name"}},
		ui.Field{Name: "plan", Label: "Plan", Kind: "radio", Options: plans, Value: plan, Hint: "an application that is subscribed keeps the one it has", Paths: []string{"subscription.plan", "subscription"}},
		ui.Field{Name: "stage", Label: "Stage", Kind: "radio", Value: catalogv1.Stage_STAGE_PRODUCTION.String(), Paths: []string{"oauth_client.stage"}, Options: []ui.Option{
			{Value: catalogv1.Stage_STAGE_PRODUCTION.String(), Text: "Production"},
			{Value: catalogv1.Stage_STAGE_SANDBOX.String(), Text: "Sandbox", Hint: "leads to the backend for tests, where there is one"},
		}},
		ui.Field{
			Name: "secret", Label: "Make a new secret", Kind: "check", Value: "on",
			Hint: "Programs get access tokens with it. Without one there is a token for trials: for this version, for 15 minutes at most.",
		},
		ui.Field{Name: "request_id", Kind: "hidden", Value: uuid.NewString()},
	)
}

// complete reports whether the form says what is needed, and says at the fields what is
// missing.
func (h *had) complete(form *ui.Form, o *offer) bool {
	application := form.Get("application")
	switch {
	case application == "" && form.Get("name") == "":
		form.Wrong("name", "is needed for a new application")
	case application != "" && h.application(application) == nil:
		form.Wrong("application", "is none of yours; it may have been deleted")
	case application != "" && form.Get("name") != "":
		form.Wrong("name", "must be empty, or choose a new application above")
	}
	switch plan := form.Get("plan"); {
	case h.subscription(application) != nil:
	case plan == "" && !o.Version.GetSubscriptionless():
		form.Wrong("plan", "is needed")
	case plan != "" && !slices.Contains(o.Version.GetPlans(), plan):
		form.Wrong("plan", "is not offered any more; choose another")
	}
	if catalogv1.Stage_value[form.Get("stage")] == 0 {
		form.Wrong("stage", "is needed")
	}
	if uuid.Validate(form.Get("request_id")) != nil {
		form.Set("request_id", uuid.NewString())
	}
	return form.Complete()
}

// part is the request_id of one of the calls that a form's request_id stands for, by what
// the call makes: a form that is sent again makes none of it twice, and one that was
// changed meanwhile makes what is new in it.
func part(form *ui.Form, what ...string) string {
	whole, err := uuid.Parse(form.Get("request_id"))
	if err != nil {
		return ""
	}
	return uuid.NewSHA1(whole, []byte(strings.Join(what, "\n"))).String()
}

// generate makes what the user does not have yet, and a secret and a token.
func (p *pages) generate(r *ui.Request, o *offer, have *had, form *ui.Form) (*madeView, error) {
	ctx, m := r.Context(), &madeView{Stage: strings.ToLower(strings.TrimPrefix(form.Get("stage"), "STAGE_"))}
	var err error
	if m.Application = have.application(form.Get("application")); m.Application != nil {
		m.Found = append(m.Found, "the application")
	} else if m.Application, err = p.Applications.CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{
		Application: &subscriptionv1.Application{DisplayName: form.Get("name")}, RequestId: part(form, "application", form.Get("name")),
	}); err != nil {
		return nil, err
	}
	if err := p.subscribe(ctx, o, have, form, m); err != nil {
		return nil, err
	}
	m.Lines = append(p.wscat(o.Version), p.curl(o.Version)...)
	if o.KeysOnly() {
		return m, p.wizardKey(ctx, form, m)
	}
	client, err := p.oauthClient(ctx, form, m)
	if err != nil {
		return nil, err
	}
	m.ClientID = ui.Copy{ID: "client-id", What: "the client_id", Value: client.GetClientId()}
	m.Endpoint = tokenEndpoint(r)
	if form.Get("secret") == "" {
		return m, p.token(ctx, o, client, m)
	}
	secret, err := p.Applications.CreateOAuthClientSecret(ctx, &subscriptionv1.CreateOAuthClientSecretRequest{
		Parent: client.GetName(), OauthClientSecret: &subscriptionv1.OAuthClientSecret{}, RequestId: part(form, "secret", client.GetName()),
	})
	if err != nil {
		return nil, err
	}
	if secret.GetSecret() == "" { // the form was sent before, and the answer to that had it
		m.Again = true
		return m, p.token(ctx, o, client, m)
	}
	m.Secret = &ui.Copy{ID: "secret", What: "the secret", Value: secret.GetSecret()}
	token, err := p.OAuth2.IssueToken(ctx, &oauth2v1.IssueTokenRequest{
		GrantType:         "client_credentials",
		ClientCredentials: &oauth2v1.ClientCredentials{ClientId: client.GetClientId(), ClientSecret: secret.GetSecret()},
	})
	if err == nil {
		m.show(token.GetAccessToken(), time.Duration(token.GetExpiresIn())*time.Second)
	}
	return m, nil // the secret must reach the user, with or without a token
}

// wizardKey makes an API key, for a version that takes nothing else.
func (p *pages) wizardKey(ctx context.Context, form *ui.Form, m *madeView) error {
	k, err := p.APIKeys.CreateAPIKey(ctx, &subscriptionv1.CreateAPIKeyRequest{
		Parent:    m.Application.GetName(),
		ApiKey:    &subscriptionv1.APIKey{DisplayName: "wizard", Stage: catalogv1.Stage(catalogv1.Stage_value[form.Get("stage")])},
		RequestId: part(form, "api key", m.Application.GetName()),
	})
	if err != nil {
		return err
	}
	if k.GetKey() == "" { // the form was sent before, and the answer to that had it
		m.Again = true
		return nil
	}
	m.Key = &ui.Copy{ID: "api-key", What: "the API key", Value: k.GetKey()}
	m.Set = ui.Copy{ID: "set-token", What: "the line that sets TOKEN", Value: "TOKEN=" + k.GetKey()}
	return nil
}

// token issues a token without a secret.
func (p *pages) token(ctx context.Context, o *offer, client *subscriptionv1.OAuthClient, m *madeView) error {
	token, err := p.Tokens.IssueApplicationToken(ctx, &subscriptionv1.IssueApplicationTokenRequest{
		Application: m.Application.GetName(), Version: o.Version.GetName(), Stage: client.GetStage(),
	})
	if err == nil {
		m.Narrow = true
		m.show(token.GetAccessToken(), time.Until(token.GetExpireTime().AsTime()).Round(time.Second))
	}
	return err
}

// show adds a token, and how long it is good for.
func (m *madeView) show(token string, ends time.Duration) {
	m.Token = &ui.Copy{ID: "token", What: "the access token", Value: token, Wrap: true}
	m.Set = ui.Copy{ID: "set-token", What: "the line that sets TOKEN", Value: "TOKEN=" + token}
	m.Ends = ui.Age(ends)
}

// subscribe subscribes the application, unless it is or needs not be.
func (p *pages) subscribe(ctx context.Context, o *offer, have *had, form *ui.Form, m *madeView) error {
	plan := form.Get("plan")
	if s := have.subscription(m.Application.GetName()); s != nil {
		m.Found = append(m.Found, "the subscription")
		plan = s.GetPlan()
	} else if plan != "" {
		_, err := p.Subscriptions.CreateSubscription(ctx, &subscriptionv1.CreateSubscriptionRequest{
			Subscription: &subscriptionv1.Subscription{Application: m.Application.GetName(), Version: o.Version.GetName(), Plan: plan},
			RequestId:    part(form, "subscription", m.Application.GetName(), plan),
		})
		if err != nil && !fault.Is(err, codes.AlreadyExists) {
			return err
		}
	}
	for _, one := range o.Plans {
		if one.GetName() == plan {
			m.Plan = one.GetDisplayName()
		}
	}
	if m.Plan == "" && plan != "" {
		m.Plan = "a plan that is no longer offered"
	}
	return nil
}

// oauthClient returns the application's OAuth client for the stage, which it makes where
// there is none.
func (p *pages) oauthClient(ctx context.Context, form *ui.Form, m *madeView) (*subscriptionv1.OAuthClient, error) {
	list, err := p.Applications.ListOAuthClients(ctx, &subscriptionv1.ListOAuthClientsRequest{Parent: m.Application.GetName()})
	if err != nil {
		return nil, err
	}
	stage := catalogv1.Stage(catalogv1.Stage_value[form.Get("stage")])
	for _, c := range list.GetOauthClients() {
		if c.GetStage() == stage {
			m.Found = append(m.Found, "the OAuth client")
			return c, nil
		}
	}
	return p.Applications.CreateOAuthClient(ctx, &subscriptionv1.CreateOAuthClientRequest{
		Parent: m.Application.GetName(), OauthClient: &subscriptionv1.OAuthClient{Stage: stage}, RequestId: part(form, "client", m.Application.GetName(), stage.String()),
	})
}
