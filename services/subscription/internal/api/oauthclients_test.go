package api_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

func TestOAuthClients(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		app := w.application(w.ann, "Chat").GetName()
		made := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		if !strings.HasPrefix(made.GetClientId(), "tgci_") || !strings.HasPrefix(made.secret.GetSecret(), "tgcs_") {
			t.Errorf("CreateOAuthClient() = %v with %v, want tgci_… and tgcs_…", made.OAuthClient, made.secret)
		}
		got, err := w.apps.GetOAuthClient(w.ann, &subscriptionv1.GetOAuthClientRequest{Name: made.GetName()})
		if err != nil || !proto.Equal(got, made.OAuthClient) {
			t.Errorf("GetOAuthClient() = %v, %v, want %v", got, err, made.OAuthClient)
		}
		w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_SANDBOX)
		list, err := w.apps.ListOAuthClients(w.ann, &subscriptionv1.ListOAuthClientsRequest{Parent: app, PageSize: 1})
		if err != nil || len(list.GetOauthClients()) != 1 || list.GetNextPageToken() == "" {
			t.Errorf("ListOAuthClients() = %v, %v", list, err)
		}
		list, err = w.apps.ListOAuthClients(w.ann, &subscriptionv1.ListOAuthClientsRequest{
			Parent: app, PageSize: 1, PageToken: list.GetNextPageToken(),
		})
		if err != nil || len(list.GetOauthClients()) != 1 || list.GetOauthClients()[0].GetStage() != catalogv1.Stage_STAGE_SANDBOX ||
			list.GetNextPageToken() != "" {
			t.Errorf("ListOAuthClients(second page) = %v, %v", list, err)
		}
		w.publish(v1)
		w.subscribe(w.ann, app, v1)
		raw := w.token(made)
		_, err = w.apps.DeleteOAuthClient(w.ann, &subscriptionv1.DeleteOAuthClientRequest{Name: made.GetName(), Etag: made.GetEtag()})
		w.must(err)
		if got := w.verify(raw, v1).GetDenial().GetReason(); got != backplanev1.Denial_REASON_REVOKED {
			t.Errorf("token of a deleted OAuth client: %v, want REVOKED", got)
		}
		_, err = w.oauth.IssueToken(t.Context(), issue(made))
		refused(t, "IssueToken(deleted OAuth client)", err, codes.Unauthenticated, unknownClient)
	})
}

func issue(c *oauthClient) *oauth2v1.IssueTokenRequest {
	return &oauth2v1.IssueTokenRequest{GrantType: "client_credentials", ClientCredentials: credentials(c)}
}

// TestRotateSecret replaces a secret without a moment in which none works, and
// without ending what was issued with the old one.
func TestRotateSecret(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		app := w.application(w.ann, "Chat").GetName()
		w.subscribe(w.ann, app, v1)
		old := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		raw := w.token(old)
		w.add(time.Second)
		next := &oauthClient{OAuthClient: old.OAuthClient, secret: w.secret(w.ann, old.GetName(), nil)}
		if next.secret.GetSecret() == old.secret.GetSecret() {
			t.Fatal("two secrets are the same")
		}
		w.token(old)
		w.token(next)
		list, err := w.apps.ListOAuthClientSecrets(w.ann, &subscriptionv1.ListOAuthClientSecretsRequest{Parent: old.GetName(), PageSize: 1})
		if err != nil || len(list.GetOauthClientSecrets()) != 1 || list.GetNextPageToken() == "" {
			t.Errorf("ListOAuthClientSecrets() = %v, %v", list, err)
		}
		more, err := w.apps.ListOAuthClientSecrets(w.ann, &subscriptionv1.ListOAuthClientSecretsRequest{
			Parent: old.GetName(), PageSize: 1, PageToken: list.GetNextPageToken(),
		})
		if err != nil || len(more.GetOauthClientSecrets()) != 1 || more.GetNextPageToken() != "" {
			t.Errorf("ListOAuthClientSecrets(second page) = %v, %v", more, err)
		}
		for i, shown := range append(list.GetOauthClientSecrets(), more.GetOauthClientSecrets()...) {
			want := proto.CloneOf([]*oauthClient{old, next}[i].secret)
			want.Secret = ""
			got, err := w.apps.GetOAuthClientSecret(w.ann, &subscriptionv1.GetOAuthClientSecretRequest{Name: want.GetName()})
			if err != nil || !proto.Equal(got, want) || !proto.Equal(shown, want) {
				t.Errorf("GetOAuthClientSecret() = %v, %v, listed %v, want %v", got, err, shown, want)
			}
		}
		_, err = w.apps.DeleteOAuthClientSecret(w.ann, &subscriptionv1.DeleteOAuthClientSecretRequest{Name: old.secret.GetName()})
		w.must(err)
		_, err = w.oauth.IssueToken(t.Context(), issue(old))
		refused(t, "IssueToken(deleted secret)", err, codes.Unauthenticated, unknownClient)
		w.token(next)
		if w.verify(raw, v1).GetGrant() == nil {
			t.Error("a token that was issued with a deleted secret is refused")
		}
	})
}

func TestSecretExpires(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		app := w.application(w.ann, "Chat").GetName()
		w.subscribe(w.ann, app, v1)
		c := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		end := timestamppb.New(w.now().Add(time.Minute))
		c.secret = w.secret(w.ann, c.GetName(), end)
		if !proto.Equal(c.secret.GetExpireTime(), end) {
			t.Errorf("expire_time = %v, want %v", c.secret.GetExpireTime(), end)
		}
		w.add(time.Minute - time.Microsecond)
		raw := w.token(c)
		w.add(time.Microsecond)
		_, err := w.oauth.IssueToken(t.Context(), issue(c))
		refused(t, "IssueToken(expired secret)", err, codes.Unauthenticated, unknownClient)
		if w.verify(raw, v1).GetGrant() == nil {
			t.Error("a token that was issued with a secret that has expired since is refused")
		}
	})
}
