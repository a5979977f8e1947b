package devportal

import (
	"strings"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// keysView has an application's OAuth clients and their secrets.
type keysView struct {
	*application
	Clients []clientView
	// Missing are the stages that have no OAuth client.
	Missing []stageView
	// Endpoint is where they ask for tokens.
	Endpoint ui.Copy
	// RequestID is that of what the forms make.
	RequestID string
}

// clientView is an OAuth client.
type clientView struct {
	Stage string
	ID    ui.Copy
	// Base is the address of its pages.
	Base    string
	Secrets []secretRow
}

// secretRow is a secret without its value.
type secretRow struct {
	*subscriptionv1.OAuthClientSecret
	// Delete and Revoke lead to the pages that ask first.
	Delete, Revoke string
}

// stageView is a stage, and the word for it.
type stageView struct {
	Value, Text string
}

// stages are those that an OAuth client can be for.
func stages() []catalogv1.Stage {
	return []catalogv1.Stage{catalogv1.Stage_STAGE_PRODUCTION, catalogv1.Stage_STAGE_SANDBOX}
}

// stageWord is the word for a stage.
func stageWord(s catalogv1.Stage) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "STAGE_"))
}

// tokenEndpoint is where programs ask for tokens: the portal, as the viewer reaches it.
func tokenEndpoint(r *ui.Request) ui.Copy {
	return ui.Copy{ID: "token-endpoint", What: "the token endpoint", Value: "https://" + r.Host + "/oauth2/token"}
}

// keys shows an application's OAuth clients: at most one for each stage, so that the
// calls for their secrets are at most as many.
func (p *pages) keys() ui.Route {
	t := ui.Parse[keysView](files, "templates/keys.html")
	return ui.Page("/devportal/applications/{application}/keys", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		list, err := p.Applications.ListOAuthClients(r.Context(), &subscriptionv1.ListOAuthClientsRequest{Parent: a.GetName()})
		if err != nil {
			return nil, err
		}
		v := keysView{application: a, Endpoint: tokenEndpoint(r), RequestID: uuid.NewString()}
		there := map[catalogv1.Stage]bool{}
		for _, c := range list.GetOauthClients() {
			there[c.GetStage()] = true
			word := stageWord(c.GetStage())
			one := clientView{
				Stage: word, Base: a.Base + "/keys/" + ui.ID(c.GetName()),
				ID: ui.Copy{ID: "client-" + word, What: "the client_id for " + word, Value: c.GetClientId()},
			}
			secrets, err := p.Applications.ListOAuthClientSecrets(r.Context(), &subscriptionv1.ListOAuthClientSecretsRequest{Parent: c.GetName()})
			if err != nil {
				return nil, err
			}
			for _, s := range secrets.GetOauthClientSecrets() {
				one.Secrets = append(one.Secrets, secretRow{s, one.Base + "/secrets/" + ui.ID(s.GetName()) + "/delete", one.Base + "/secrets/" + ui.ID(s.GetName()) + "/revoke"})
			}
			v.Clients = append(v.Clients, one)
		}
		for _, s := range stages() {
			if !there[s] {
				v.Missing = append(v.Missing, stageView{s.String(), stageWord(s)})
			}
		}
		return t.Page(a.head("Keys"), v), nil
	})
}

// secretView is a secret that is shown once.
type secretView struct {
	*application
	Stage string
	// ClientID and Endpoint are what it goes with.
	ClientID, Endpoint ui.Copy
	// Secret is empty where the form was sent before.
	Secret ui.Copy
}

// newSecret makes a secret, with an OAuth client for the stage where there is none, and
// shows it.
func (p *pages) newSecret() ui.Route {
	t := ui.Parse[secretView](files, "templates/secret.html")
	return ui.Route{
		Method: "POST", Pattern: "/devportal/applications/{application}/keys/new", Roles: developers(), Template: t,
		Handler: func(r *ui.Request) (ui.Answer, error) {
			a, err := p.application(r)
			if err != nil {
				return nil, err
			}
			form := ui.NewForm(r, ui.Field{Name: "stage"}, ui.Field{Name: "request_id"})
			client, err := p.oauthClient(r.Context(), form, &madeView{Application: a.Application})
			if err != nil {
				return nil, err
			}
			secret, err := p.Applications.CreateOAuthClientSecret(r.Context(), &subscriptionv1.CreateOAuthClientSecretRequest{
				Parent: client.GetName(), OauthClientSecret: &subscriptionv1.OAuthClientSecret{}, RequestId: part(form, "secret", client.GetName()),
			})
			if fault.Is(err, codes.FailedPrecondition) {
				return ui.Redirect{To: a.Base + "/keys", Notice: ui.Notice{Kind: "warn", Text: "Not made: " + status.Convert(err).Message()}}, nil
			}
			if err != nil {
				return nil, err
			}
			h := a.below("A new secret", "New secret")
			h.Secret = true
			h.Crumbs = append(h.Crumbs, ui.Link{Text: "Keys", To: a.Base + "/keys"})
			return t.Page(h, secretView{
				application: a, Stage: stageWord(client.GetStage()), Endpoint: tokenEndpoint(r),
				ClientID: ui.Copy{ID: "client-id", What: "the client_id", Value: client.GetClientId()},
				Secret:   ui.Copy{ID: "secret", What: "the secret", Value: secret.GetSecret()},
			}), nil
		},
	}
}

// deleteSecret deletes a secret, after a page that says what ends.
func (p *pages) deleteSecret() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/devportal/applications/{application}/keys/{client}/secrets/{secret}/delete", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		s, err := p.Applications.GetOAuthClientSecret(r.Context(), &subscriptionv1.GetOAuthClientSecretRequest{
			Name: a.GetName() + "/oauthClients/" + r.PathValue("client") + "/secrets/" + r.PathValue("secret"),
		})
		if err != nil {
			return nil, ui.Absent(err)
		}
		if r.Submitted() {
			if _, err := p.Applications.DeleteOAuthClientSecret(r.Context(), &subscriptionv1.DeleteOAuthClientSecretRequest{Name: s.GetName()}); err != nil {
				return nil, err
			}
			return ui.Done(a.Base+"/keys", "The secret is deleted."), nil
		}
		h := a.below("Delete the secret?", "Delete a secret")
		h.Crumbs = append(h.Crumbs, ui.Link{Text: "Keys", To: a.Base + "/keys"})
		return t.Page(h, confirmView{ui.Confirm{
			Text: []string{
				"It was made on " + ui.Date(s.GetCreateTime()) + ". Programs that use it get no access token any more.",
				"Tokens that they have stay good until they expire: revoke the secret to end these, too.",
			},
			Button: "Delete it", Keep: "Keep it", To: a.Base + "/keys/" + r.PathValue("client") + "/secrets/" + r.PathValue("secret") + "/delete", Back: a.Base + "/keys",
		}}), nil
	})
}

// clientOf reads the OAuth client that a request's path names, and how many live sessions are
// under its tokens: -1 where that is not known.
func (p *pages) clientOf(r *ui.Request, a *application) (*subscriptionv1.OAuthClient, int64, error) {
	list, err := p.Applications.ListOAuthClients(r.Context(), &subscriptionv1.ListOAuthClientsRequest{Parent: a.GetName()})
	if err != nil {
		return nil, 0, err
	}
	for _, c := range list.GetOauthClients() {
		if ui.ID(c.GetName()) != r.PathValue("client") {
			continue
		}
		sessions, err := p.AllLiveSessions(r, `oauth_client = "`+c.GetName()+`"`)
		return c, sessions, err
	}
	return nil, 0, fault.NotFound("the application has no such OAuth client")
}

// deleteClient deletes an OAuth client, after a page that says what ends.
func (p *pages) deleteClient() ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage("/devportal/applications/{application}/keys/{client}/delete", developers(), t, func(r *ui.Request) (ui.Answer, error) {
		a, err := p.application(r)
		if err != nil {
			return nil, err
		}
		client, sessions, err := p.clientOf(r, a)
		if err != nil {
			return nil, err
		}
		if r.Submitted() {
			if _, err := p.Applications.DeleteOAuthClient(r.Context(), &subscriptionv1.DeleteOAuthClientRequest{Name: client.GetName(), Etag: r.PostForm.Get("etag")}); err != nil {
				return nil, err
			}
			return ui.Done(a.Base+"/keys", "The OAuth client is deleted."), nil
		}
		h := a.below("Delete the OAuth client?", "Delete an OAuth client")
		h.Crumbs = append(h.Crumbs, ui.Link{Text: "Keys", To: a.Base + "/keys"})
		h.Badges = []ui.Badge{{Kind: "tag", Text: stageWord(client.GetStage())}}
		return t.Page(h, confirmView{ui.Confirm{
			Text:     []string{"Its secrets are deleted with it, and its access tokens are refused. Sessions under them end within a second with code 4001."},
			Sessions: sessions, Button: "Delete it", Keep: "Keep it", To: a.Base + "/keys/" + r.PathValue("client") + "/delete", Back: a.Base + "/keys",
			Fields: []*ui.Field{{Name: "etag", Kind: "hidden", Value: client.GetEtag()}},
		}}), nil
	})
}
