package api_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// TestSecretsStayInside does everything that involves a secret, correctly and
// incorrectly, and looks for the secrets in the log, in every error and in the
// database.
func TestSecretsStayInside(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		var errs strings.Builder
		note := func(err error) {
			if err != nil {
				errs.WriteString(err.Error() + "\n")
			}
		}
		w.publish(v1)
		app := w.application(w.ann, "Chat").GetName()
		client := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		w.subscribe(w.ann, app, v1)
		access := w.token(client)
		first, err := w.signIn("admin", adminPassword)
		w.must(err)
		second, err := w.refresh(first.GetRefreshToken())
		w.must(err)
		newPassword, wrongPassword := "a new password of hers", "the wrong password of hers"
		w.password(w.annName, newPassword)
		w.ann = w.as(w.annName, "subscriber")
		_, err = w.users.ChangePassword(w.ann, &identityv1.ChangePasswordRequest{
			Name: w.annName, CurrentPassword: wrongPassword, NewPassword: newPassword,
		})
		note(err)
		created := "the password of that user"
		_, err = w.users.CreateUser(w.root, &identityv1.CreateUserRequest{User: &identityv1.User{
			Username: "dave", Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR}}, Password: created})
		w.must(err)
		next := &oauthClient{OAuthClient: client.OAuthClient, secret: w.secret(w.ann, client.GetName(), nil)}
		_, err = w.apps.DeleteOAuthClientSecret(w.ann, &subscriptionv1.DeleteOAuthClientSecretRequest{Name: client.secret.GetName()})
		w.must(err)
		for _, c := range []*oauth2v1.ClientCredentials{credentials(client), credentials(next)} {
			_, err = w.oauth.IssueToken(t.Context(), &oauth2v1.IssueTokenRequest{GrantType: "password", ClientCredentials: c})
			note(err)
			_, err = w.oauth.RevokeToken(t.Context(), &oauth2v1.RevokeTokenRequest{Token: access, ClientCredentials: c})
			note(err)
			_, err = w.oauth.IntrospectToken(t.Context(), &oauth2v1.IntrospectTokenRequest{Token: access + "x", ClientCredentials: c})
			note(err)
		}
		w.verify(access, v1)
		w.verify(access+"x", v1)
		w.verify(next.secret.GetSecret(), v1)
		_, err = w.signIn("ann", wrongPassword)
		note(err)
		_, err = w.signIn("nobody", wrongPassword)
		note(err)
		w.add(time.Minute)
		_, err = w.refresh(first.GetRefreshToken())
		note(err)
		_, err = w.refresh(second.GetRefreshToken() + "x")
		note(err)
		_, err = w.users.GetUser(bearer(t.Context(), access), &identityv1.GetUserRequest{Name: "users/me"})
		note(err)
		_, err = w.users.GetUser(bearer(t.Context(), first.GetAccessToken()+"x"), &identityv1.GetUserRequest{Name: "users/me"})
		note(err)

		logs, dump := w.logs.String(), w.dump()
		if !strings.Contains(logs, "its refresh token was used twice") || !strings.Contains(logs, "/RevokeToken") || strings.Count(errs.String(), "\n") < 8 {
			t.Fatalf("the log or the errors miss what was done:\n%s\n%s", logs, errs.String())
		}
		for name, secret := range map[string]string{
			"access token": access, "signature of it": access[strings.LastIndex(access, ".")+1:],
			"first refresh token": first.GetRefreshToken(), "second refresh token": second.GetRefreshToken(),
			"user's token": first.GetAccessToken(), "second user's token": second.GetAccessToken(),
			"secret": client.secret.GetSecret(), "second secret": next.secret.GetSecret(),
			"first password": adminPassword, "new password": newPassword, "wrong password": wrongPassword, "dave's password": created,
		} {
			for place, text := range map[string]string{"log": logs, "errors": errs.String(), "database": dump} {
				if strings.Contains(text, secret) || strings.Contains(text, hex.EncodeToString([]byte(secret))) {
					t.Errorf("the %s is in the %s", name, place)
				}
			}
		}
		// Hashes do not leave the database either.
		_, hash, _, err := w.store.Password(t.Context(), "admin")
		w.must(err)
		if !strings.Contains(dump, hash) {
			t.Error("the dump does not show what is stored")
		}
		if strings.Contains(logs, hash) || strings.Contains(errs.String(), hash) {
			t.Error("a password's hash is in the log or in an error")
		}
	})
}
