package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

func TestTokenState(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		const v3, v4 = "apis/a/versions/v3", "apis/a/versions/v4"
		b.publish("o", v1, v2)
		b.catalog(store.CatalogChange{
			Versions: []store.Version{subscriptionless(v3, true), subscriptionless(v4, true)}, Plans: []store.Plan{{Name: silver}},
		})
		app := b.application(b.ann, "a")
		c := b.oauthClient(b.ann, app.ID, store.Sandbox)
		s := b.subscribe(b.ann, app.ID, v1)
		s4 := b.subscribe(b.ann, app.ID, v4)
		_, err := b.BlockSubscription(t.Context(), b.admin, s4.ID, allow[store.Subscription])
		ok(t, err)
		b.givePlan(app.ID, silver)
		unsubscribed := store.Grant{User: b.ann.User, Application: app.ID, OAuthClient: c.Name.OAuthClient, Stage: store.Sandbox, ApplicationPlan: silver}
		grant, free, blocked := unsubscribed, unsubscribed, unsubscribed
		grant.Subscription, grant.Plan = s.ID, gold
		free.Plan = store.SubscriptionlessPlan
		blocked.Subscription, blocked.Plan = s4.ID, gold
		expires := b.now().Add(time.Hour)
		ok(t, b.Revoke(t.Context(), c, "revoked", expires))
		head := b.head()
		for _, tt := range []struct {
			name, token, clientID, version string
			want                           store.TokenState
		}{
			{"good", "t", c.ClientID, v1, store.TokenState{Known: true, Subscribed: true, Grant: grant, AsOf: head}},
			{"no subscription needed", "t", c.ClientID, v3, store.TokenState{Known: true, Subscribed: true, Grant: free, AsOf: head}},
			{"blocked", "t", c.ClientID, v4, store.TokenState{Known: true, Subscribed: true, Blocked: true, Grant: blocked, AsOf: head}},
			{"not subscribed", "t", c.ClientID, v2, store.TokenState{Known: true, Grant: unsubscribed, AsOf: head}},
			{"unknown version", "t", c.ClientID, "apis/x/versions/y", store.TokenState{Known: true, Grant: unsubscribed, AsOf: head}},
			{"revoked", "revoked", c.ClientID, v1, store.TokenState{Revoked: true, Known: true, Subscribed: true, Grant: grant, AsOf: head}},
			{"no such client_id", "t", "none", v1, store.TokenState{AsOf: head}},
		} {
			got, err := b.TokenState(t.Context(), store.Token{ID: tt.token, ClientID: tt.clientID}, tt.version)
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%s: TokenState() = %v (-want +got):\n%s", tt.name, err, diff)
			}
		}
	})
}

// TestSecretsRevokedByEarlierBuilds stay revoked: those wrote the id of the secret alone.
func TestSecretsRevokedByEarlierBuilds(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		const v1 = "apis/a/versions/v1"
		b.publish("o", v1)
		app := b.application(b.ann, "Chat")
		c := b.oauthClient(b.ann, app.ID, 1)
		b.subscribe(b.ann, app.ID, v1)
		_, err := b.db.ExecContext(t.Context(), `INSERT INTO revocation (id, expires_at) VALUES ('old', $1)`, b.now().Add(time.Hour).UnixMicro())
		ok(t, err)
		for secret, want := range map[string]bool{"old": true, "other": false, "": false} {
			st, err := b.TokenState(t.Context(), store.Token{ID: "t1", ClientID: c.ClientID, Secret: secret, Issued: b.latest()}, v1)
			if err != nil || !st.Known || st.Revoked != want {
				t.Errorf("a token of the secret %q = %+v, %v, want revoked: %v", secret, st, err, want)
			}
		}
	})
}

func TestRevokeOnce(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		app := b.application(b.ann, "a")
		c := b.oauthClient(b.ann, app.ID, store.Production)
		before := b.head()
		for _, err := range race(func(int) error { return b.Revoke(t.Context(), c, "t1", b.now().Add(time.Hour)) }) {
			ok(t, err)
		}
		if diff := cmp.Diff([]string{"TOKEN_REVOKED grants/t1"}, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		st, err := b.TokenState(t.Context(), store.Token{ID: "t1", ClientID: c.ClientID}, v1)
		if !st.Revoked || err != nil {
			t.Errorf("TokenState() = %+v, %v, want it revoked", st, err)
		}
		keep := store.Retention{Records: time.Hour, Usage: time.Hour}
		b.add(2*time.Hour - time.Second)
		ok(t, b.Purge(t.Context(), keep))
		if b.count("revocation") != 1 {
			t.Error("a revocation is purged while its token may be taken for good")
		}
		b.add(2 * time.Second)
		ok(t, b.Purge(t.Context(), keep))
		if b.count("revocation") != 0 {
			t.Error("a revocation is kept for ever")
		}
	})
}

// TestGrants ends grants in every way and asks why they ended.
func TestGrants(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		const v3 = "apis/a/versions/v3"
		const v4, v5, v6 = "apis/a/versions/v4", "apis/a/versions/v5", "apis/a/versions/v6"
		b.publish("o", v1, v2, v3, v5)
		b.catalog(store.CatalogChange{Versions: []store.Version{subscriptionless(v4, true), subscriptionless(v6, true)}})
		carol := identity.Viewer{User: b.user("carol", "subscriber")}
		app, gone, hers := b.application(b.ann, "a"), b.application(b.ann, "gone"), b.application(carol, "hers")
		c, deleted := b.oauthClient(b.ann, app.ID, store.Production), b.oauthClient(b.ann, app.ID, store.Sandbox)
		goneClient, hersClient := b.oauthClient(b.ann, gone.ID, store.Production), b.oauthClient(carol, hers.ID, store.Production)
		s := b.subscribe(b.ann, app.ID, v1)
		s2 := b.subscribe(b.ann, app.ID, v2)
		b.subscribe(b.ann, app.ID, v3)
		s5 := b.subscribe(b.ann, app.ID, v5)
		b.subscribe(b.ann, gone.ID, v1)
		b.subscribe(carol, hers.ID, v1)

		ok(t, b.DeleteOAuthClient(t.Context(), b.ann, deleted.Name, allow[store.OAuthClient]))
		ok(t, b.DeleteApplication(t.Context(), b.ann, gone.ID, allow[store.Application]))
		ok(t, b.DeleteUser(t.Context(), b.admin, carol.User, allow[store.User]))
		ok(t, b.DeleteSubscription(t.Context(), b.ann, s2.ID, allow[store.Subscription]))
		b.catalog(store.CatalogChange{Removed: []string{v3}})
		b.catalog(store.CatalogChange{Versions: []store.Version{subscriptionless(v6, false)}})
		_, err := b.BlockSubscription(t.Context(), b.admin, s5.ID, allow[store.Subscription])
		ok(t, err)
		later := b.now().Add(time.Minute)
		ok(t, b.Revoke(t.Context(), c, "revoked", later))

		query := func(token string, client resourcename.OAuthClient, version string, expires time.Time) store.GrantQuery {
			return store.GrantQuery{Token: store.Token{ID: token}, OAuthClient: client, Version: version, Subscribed: true, ExpiresAt: expires}
		}
		states, asOf, err := b.Grants(t.Context(), []store.GrantQuery{
			query("t", c.Name, v1, later),
			query("t", c.Name, v1, b.now()),
			query("revoked", c.Name, v1, later),
			query("t", deleted.Name, v1, later),
			query("t", goneClient.Name, v1, later),
			query("t", hersClient.Name, v1, later),
			query("t", c.Name, v2, later),
			query("t", c.Name, v3, later),
			query("t", c.Name, v4, later),
			query("t", c.Name, v5, later),
			{Token: store.Token{ID: "t"}, OAuthClient: c.Name, Version: v6, ExpiresAt: later},
		})
		ok(t, err)
		want := []store.GrantState{
			{Grant: store.Grant{User: b.ann.User, Application: app.ID, OAuthClient: c.Name.OAuthClient, Stage: store.Production, Subscription: s.ID, Plan: gold}},
			{Ended: backplanev1.GrantEvent_CAUSE_EXPIRED}, {Ended: backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED},
			{Ended: backplanev1.GrantEvent_CAUSE_OAUTH_CLIENT_DELETED}, {Ended: backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED},
			{Ended: backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED}, {Ended: backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_DELETED},
			{Ended: backplanev1.GrantEvent_CAUSE_VERSION_DELETED},
			{Grant: store.Grant{User: b.ann.User, Application: app.ID, OAuthClient: c.Name.OAuthClient, Stage: store.Production, Plan: store.SubscriptionlessPlan}},
			{Ended: backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_BLOCKED}, {Ended: backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_REQUIRED},
		}
		if diff := cmp.Diff(want, states); diff != "" || asOf != b.head() {
			t.Errorf("Grants() as of %d (-want +got):\n%s", asOf, diff)
		}
	})
}
