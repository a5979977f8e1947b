package devportal_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// revocations ends the session of a token in each way that pages have for one thing of an
// application's: the token itself, a subscription, an OAuth client, a secret. Each page says how
// many sessions end, and how many have; another user's page is not there.
func revocations(t *testing.T, w *world) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v := w.Publish(t, w.admin(t), "Lagoon", echo(t), func(*catalogv1.Version) {})
	b, others := w.User(t, "ines", ui.Subscriber), w.User(t, "jo", ui.Subscriber)
	as := w.As(t, "ines", webtest.UserPassword)
	tokens, apps := subscriptionv1.NewTokenServiceClient(w.Conn), subscriptionv1.NewApplicationServiceClient(w.Conn)
	first := w.Token(t, as, "Floats", v)
	list, err := apps.ListApplications(as, &subscriptionv1.ListApplicationsRequest{})
	if err != nil || len(list.GetApplications()) != 1 {
		t.Fatalf("ListApplications = %v, %v", list, err)
	}
	app := list.GetApplications()[0].GetName()
	base := "/devportal/" + app
	another := func() string {
		issued, err := tokens.IssueApplicationToken(as, &subscriptionv1.IssueApplicationTokenRequest{Application: app, Version: v.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		return issued.GetAccessToken()
	}
	connected := func(token string) *websocket.Conn {
		conn, status := w.Dial(t, w.WSS+"/lagoon/"+v.GetVersion(), "Authorization", "Bearer "+token)
		if conn == nil {
			t.Fatalf("a good token is answered %d", status)
		}
		return conn
	}
	revoked := func(what string, conn *websocket.Conn, token string) {
		t.Helper()
		if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != 4001 {
			t.Errorf("%s: the client reads %v, want the code 4001", what, err)
		}
		if conn, status := w.Dial(t, w.WSS+"/lagoon/"+v.GetVersion(), "Authorization", "Bearer "+token); conn != nil || status != http.StatusUnauthorized {
			t.Errorf("%s: the token is answered %d then, want 401", what, status)
		}
	}
	const closed = "1 session on 1 gateway closed in"

	// One token, by its value; another goes on.
	one, kept := connected(first), another()
	two := connected(kept)
	b.Open(base + "/sessions")
	b.Click("Revoke one token")
	for _, bad := range []string{"", "garbage"} {
		if p := b.Submit("Revoke it", "token", bad); p.Status != http.StatusUnprocessableEntity || p.Error("token") == "" {
			t.Errorf("the token %q: %d\n%s", bad, p.Status, p.Text())
		}
	}
	for _, bad := range []string{"applications/x", "grants/", app + "/oauthClients/x/secrets/y"} {
		if p := b.Submit("Revoke it", "token", "", "name", bad); p.Status != http.StatusUnprocessableEntity || p.Error("name") == "" {
			t.Errorf("the name %q: %d\n%s", bad, p.Status, p.Text())
		}
	}
	if p := b.Submit("Revoke it", "token", first, "name", "grants/x"); p.Status != http.StatusUnprocessableEntity || !p.Has("one of the two") {
		t.Errorf("a token and a name: %d\n%s", p.Status, p.Text())
	}
	b.Open(base + "/revoke-token")
	other := others.Do(http.MethodPost, base+"/revoke-token", url.Values{"token": {first}})
	if other.Status != http.StatusNotFound {
		t.Errorf("another user's page of tokens = %d", other.Status)
	}
	if p := b.Submit("Revoke it", "token", " "+first+" "); p.URL.Path != base+"/sessions" || !p.Has("The token is revoked. "+closed) || strings.Contains(p.Body, first) {
		t.Errorf("Revoke it leads to %s\n%s", p.URL, p.Text())
	}
	revoked("a token", one, first)

	// The subscription: it stays, and new tokens are good.
	b.Open(base)
	if p := b.Click("Revoke the credentials at Lagoon " + v.GetVersion()); !p.Has("1 live session ends with it") {
		t.Errorf("Revoke at a subscription asks:\n%s", p.Text())
	}
	path := b.Page.URL.Path
	if p := others.Open(path); p.Status != http.StatusNotFound {
		t.Errorf("another user's subscription = %d", p.Status)
	}
	if p := b.Submit("Revoke them"); p.URL.Path != base || !p.Has("The credentials are revoked at Lagoon "+v.GetVersion()+". "+closed) {
		t.Errorf("Revoke them leads to %s\n%s", p.URL, p.Text())
	}
	revoked("a subscription", two, kept)

	// The OAuth client: it stays, with its secrets. Its sessions are counted apart from those of
	// another one, and those of a secret from those of the other secrets.
	b.Open(base + "/keys")
	b.Submit("Create for sandbox")
	b.Open(base + "/keys")
	sandbox := b.Page.URL.Path
	for text, to := range b.Page.Links() {
		if strings.HasPrefix(text, "Revoke tokens for sandbox") {
			sandbox = to
		}
	}
	token := another()
	three := connected(token)
	if p := b.Open(sandbox); p.Status != http.StatusOK || !p.Has("There are no live sessions that would end") {
		t.Errorf("Revoke the tokens of an OAuth client without sessions asks:\n%s", p.Text())
	}
	b.Open(strings.TrimSuffix(sandbox, "/revoke") + "/delete")
	b.Submit("Delete it")
	b.Open(base + "/keys")
	if p := b.Click("Revoke tokens for production"); !p.Has("1 live session ends with it") {
		t.Errorf("Revoke an OAuth client's tokens asks:\n%s", p.Text())
	}
	if p := others.Open(b.Page.URL.Path); p.Status != http.StatusNotFound {
		t.Errorf("another user's OAuth client = %d", p.Status)
	}
	if p := b.Submit("Revoke them"); p.URL.Path != base+"/keys" || !p.Has("The tokens are revoked. "+closed) {
		t.Errorf("Revoke them leads to %s\n%s", p.URL, p.Text())
	}
	revoked("an OAuth client", three, token)

	// A secret goes, with the tokens that programs have got with it.
	b.Open(base + "/keys")
	p := b.Submit("New secret for production")
	token = w.granted(t, p.Copied("the client_id"), p.Copied("the secret"))
	four := connected(token)
	last := another()
	fifth := connected(last) // of the same OAuth client, and of no secret

	// A secret that was deleted: its tokens live on until it is revoked by its name.
	lostSecret, err := apps.CreateOAuthClientSecret(as, &subscriptionv1.CreateOAuthClientSecretRequest{Parent: clientOf(as, t, apps, app), OauthClientSecret: &subscriptionv1.OAuthClientSecret{}})
	if err != nil {
		t.Fatal(err)
	}
	orphan := w.granted(t, p.Copied("the client_id"), lostSecret.GetSecret())
	if _, err := apps.DeleteOAuthClientSecret(as, &subscriptionv1.DeleteOAuthClientSecretRequest{Name: lostSecret.GetName()}); err != nil {
		t.Fatal(err)
	}
	sixth := connected(orphan)
	b.Open(base + "/revoke-token")
	if p := b.Submit("Revoke it", "name", lostSecret.GetName()); p.URL.Path != base+"/sessions" || !p.Has("The token is revoked. "+closed) {
		t.Errorf("Revoke it, of a secret that is gone, leads to %s\n%s", p.URL, p.Text())
	}
	revoked("a secret that is gone", sixth, orphan)
	b.Open(base + "/keys")
	for text, to := range b.Page.Links() {
		if strings.HasPrefix(text, "Revoke the secret of") {
			b.Open(to)
		}
	}
	if p := b.Page; !p.Has("Revoke the secret and its tokens?") || !p.Has("1 live session ends with it") {
		t.Errorf("Revoke a secret asks:\n%s", p.Text())
	}
	if p := others.Open(b.Page.URL.Path); p.Status != http.StatusNotFound {
		t.Errorf("another user's secret = %d", p.Status)
	}
	gone := b.Page.URL.Path
	if p := b.Submit("Revoke them"); p.URL.Path != base+"/keys" || !p.Has("The secret is revoked. "+closed) || !p.Has("It has no secret") {
		t.Errorf("Revoke them leads to %s\n%s", p.URL, p.Text())
	}
	revoked("a secret", four, token)

	// A token by the name of its grant.
	live, err := gatewayv1.NewSessionServiceClient(w.Conn).ListSessions(as, &gatewayv1.ListSessionsRequest{Parent: "gateways/-", Filter: `application = "` + app + `"`})
	if err != nil || len(live.GetSessions()) != 1 {
		t.Fatalf("ListSessions = %v, %v, want the last one", live, err)
	}
	b.Open(base + "/revoke-token")
	if p := b.Submit("Revoke it", "name", live.GetSessions()[0].GetGrant()); p.URL.Path != base+"/sessions" || !p.Has("The token is revoked. "+closed) {
		t.Errorf("Revoke it, of a token's name, leads to %s\n%s", p.URL, p.Text())
	}
	revoked("a token's name", fifth, last)
	if p := b.Open(gone); p.Status != http.StatusNotFound {
		t.Errorf("a secret that is revoked = %d", p.Status)
	}
}

// clientOf returns the one OAuth client of an application.
func clientOf(ctx context.Context, t *testing.T, apps subscriptionv1.ApplicationServiceClient, app string) string {
	t.Helper()
	list, err := apps.ListOAuthClients(ctx, &subscriptionv1.ListOAuthClientsRequest{Parent: app})
	if err != nil || len(list.GetOauthClients()) != 1 {
		t.Fatalf("ListOAuthClients = %v, %v, want one", list, err)
	}
	return list.GetOauthClients()[0].GetName()
}

// granted gets an access token as a program does.
func (w *world) granted(t *testing.T, id, secret string) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Portal+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.HTTP(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Token == "" {
		t.Fatalf("the token endpoint answers %s, %v", resp.Status, err)
	}
	return answer.Token
}
