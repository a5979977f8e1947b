package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// issues has every kind of credential issued, used well and badly, renewed, rotated and
// revoked at the control plane, and shown to a gateway.
func (l *leakRun) issues() {
	l.t.Helper()
	x := l.admin.publish(l.t, "Issues", l.backend)
	p, ctx := l.admin, l.admin.ctx(l.t)
	must := func(err error) {
		l.t.Helper()
		if err != nil {
			l.t.Fatal(err)
		}
	}
	const password = "a horse that pulls batteries"
	l.secrets.Add("a password", password)
	l.secrets.Add("the administrator's password", l.password(l.t))
	_, err := p.users.CreateUser(ctx, &identityv1.CreateUserRequest{User: &identityv1.User{Username: "somebody", Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR}}, Password: password})
	must(err)
	in, err := p.signIns.SignIn(within(l.t), &identityv1.SignInRequest{Username: "somebody", Password: password})
	must(err)
	next, err := p.signIns.RefreshSignIn(within(l.t), &identityv1.RefreshSignInRequest{RefreshToken: in.GetRefreshToken()})
	must(err)
	_, err = p.signIns.RefreshSignIn(within(l.t), &identityv1.RefreshSignInRequest{RefreshToken: changed(next.GetRefreshToken())})
	l.wants("a changed refresh token", err)
	for _, guess := range []string{"another horse entirely", password + "!"} {
		l.secrets.Add("a wrong password", guess)
		_, err = p.signIns.SignIn(within(l.t), &identityv1.SignInRequest{Username: "somebody", Password: guess, DeviceKey: in.GetDeviceKey()})
		l.wants("a wrong password", err)
	}
	_, err = p.signIns.SignIn(within(l.t), &identityv1.SignInRequest{Username: marker, Password: password})
	l.wants("a username that is none", err)
	tryOut, err := p.tokens.IssueTryOutToken(ctx, &subscriptionv1.IssueTryOutTokenRequest{Version: x.version.GetName()})
	must(err)
	narrowed, err := p.oauth.IssueToken(within(l.t), &oauth2v1.IssueTokenRequest{GrantType: "client_credentials", ClientCredentials: credentialsOf(x), Resource: l.WS + "/issues"})
	must(err)
	key, err := p.keys.CreateAPIKey(ctx, &subscriptionv1.CreateAPIKeyRequest{Parent: x.app.GetName(), ApiKey: &subscriptionv1.APIKey{DisplayName: marker, Stage: catalogv1.Stage_STAGE_PRODUCTION}})
	must(err)
	rotated, err := p.keys.RotateAPIKey(ctx, &subscriptionv1.RotateAPIKeyRequest{Name: key.GetName()})
	must(err)
	good, revoked := p.accessToken(l.t, x), p.accessToken(l.t, x)
	all := map[string]string{
		"a user's token": in.GetAccessToken(), "a renewed user's token": next.GetAccessToken(), "a refresh token": in.GetRefreshToken(), "a later refresh token": next.GetRefreshToken(),
		"a device key": in.GetDeviceKey(), "a secret of a client": x.secret.GetSecret(), "a try-out token": tryOut.GetAccessToken(),
		"a narrowed token": narrowed.GetAccessToken(), "an API key": key.GetKey(), "a rotated API key": rotated.GetKey(), "an access token": good, "a token that is revoked": revoked,
		"the administrator's token": p.token,
	}
	for what, credential := range all {
		l.secrets.Add(what, credential)
		l.secrets.Add(what+", changed", changed(credential))
		for _, one := range []string{credential, changed(credential)} {
			l.shakes(x.path, func(h *shake) { h.header.Set("Authorization", "Bearer "+one) })
			l.shakes(x.path, func(h *shake) { h.query = append(h.query, "access_token="+url.QueryEscape(one)) })
			l.calls(one)
		}
		l.shakes(x.path, func(h *shake) { h.header.Set("X-Elsewhere", credential); h.header.Set("Authorization", "Bearer "+good) })
	}
	_, err = p.revocations.Revoke(ctx, &subscriptionv1.RevokeRequest{Token: revoked})
	must(err)
	_, err = p.oauth.RevokeToken(within(l.t), &oauth2v1.RevokeTokenRequest{Token: good, ClientCredentials: credentialsOf(x)})
	must(err)
	for _, token := range []string{good, revoked} {
		eventually(l.t, func() error { // gateways hear of it within a second
			if got := l.shakes(x.path, func(h *shake) { h.header.Set("Authorization", "Bearer "+token); h.ending = true }); got != 401 {
				return fmt.Errorf("a revoked token is answered %d, want 401", got)
			}
			return nil
		})
	}
	_, err = p.deny.CreateDenyRule(ctx, &catalogv1.CreateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{Api: x.api.GetName(), ClientAddress: "127.0.0.1", Reason: marker}})
	must(err)
	eventually(l.t, func() error {
		if got := l.shakes(x.path, func(h *shake) { h.header.Set("Authorization", "Bearer "+narrowed.GetAccessToken()); h.ending = true }); got != 403 {
			return fmt.Errorf("a denied client is answered %d, want 403", got)
		}
		return nil
	})
}

// wants wants a call refused, and notes what it was told.
func (l *leakRun) wants(what string, err error) {
	l.t.Helper()
	if err == nil {
		l.t.Errorf("%s is taken", what)
		return
	}
	l.notes("the services' answers", err.Error())
}

// calls shows a credential to the portal wherever one may be, and notes the answers.
func (l *leakRun) calls(credential string) {
	l.t.Helper()
	client := l.http(l.t)
	ask := func(method, target, body string, edit func(*http.Request)) {
		l.t.Helper()
		req, err := http.NewRequestWithContext(within(l.t), method, l.Portal+target, strings.NewReader(body))
		if err != nil {
			l.t.Fatal(err)
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		edit(req)
		res, err := client.Do(req)
		if err != nil {
			l.t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		if res.StatusCode >= 400 {
			l.notes("the portal's answers", fmt.Sprint(res.Header, string(text)))
		}
	}
	none := func(*http.Request) {}
	ask(http.MethodGet, "/v1/apis", "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+credential) })
	ask(http.MethodGet, "/v1/apis?access_token="+url.QueryEscape(credential), "", none)
	ask(http.MethodPost, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"nobody"}, "client_secret": {credential}}.Encode(), none)
	ask(http.MethodPost, "/oauth2/token", "grant_type=client_credentials", func(r *http.Request) { r.SetBasicAuth("nobody", credential) })
	ask(http.MethodPost, "/oauth2/revoke", url.Values{"token": {credential}, "client_id": {"nobody"}, "client_secret": {credential}}.Encode(), none)
	ask(http.MethodPost, "/oauth2/introspect", url.Values{"token": {credential}}.Encode(), func(r *http.Request) { r.SetBasicAuth("nobody", credential) })
	ask(http.MethodGet, "/publisher", "", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "__Host-tidegate", Value: credential}) })
}
