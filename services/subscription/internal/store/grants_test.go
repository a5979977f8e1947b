package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

func TestStand(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.publish("o", v1, v2)
		app := b.application(b.ann, "a")
		k := b.key(b.ann, app.ID, store.Sandbox)
		s := b.subscribe(b.ann, app.ID, v1)
		grant := store.Grant{User: b.ann.User, Application: app.ID, Key: k.ID, KeyType: store.Sandbox, Subscription: s.ID, Plan: gold}
		unsubscribed := store.Grant{User: b.ann.User, Application: app.ID, Key: k.ID, KeyType: store.Sandbox}
		expires := b.now().Add(time.Hour)
		ok(t, b.Revoke(t.Context(), k, "revoked", expires))
		head := b.head()
		for _, tt := range []struct {
			name, token, consumerKey, version string
			want                              store.Standing
		}{
			{"good", "t", k.ConsumerKey, v1, store.Standing{Known: true, Subscribed: true, Grant: grant, AsOf: head}},
			{"not subscribed", "t", k.ConsumerKey, v2, store.Standing{Known: true, Grant: unsubscribed, AsOf: head}},
			{"unknown version", "t", k.ConsumerKey, "apis/x/versions/y", store.Standing{Known: true, Grant: unsubscribed, AsOf: head}},
			{"revoked", "revoked", k.ConsumerKey, v1, store.Standing{Revoked: true, Known: true, Subscribed: true, Grant: grant, AsOf: head}},
			{"no such key", "t", "none", v1, store.Standing{AsOf: head}},
		} {
			got, err := b.Stand(t.Context(), tt.token, tt.consumerKey, tt.version)
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%s: Stand() = %v (-want +got):\n%s", tt.name, err, diff)
			}
		}
	})
}

func TestRevokeOnce(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		app := b.application(b.ann, "a")
		k := b.key(b.ann, app.ID, store.Production)
		before := b.head()
		for _, err := range race(func(int) error { return b.Revoke(t.Context(), k, "t1", b.now().Add(time.Hour)) }) {
			ok(t, err)
		}
		if diff := cmp.Diff([]string{"TOKEN_REVOKED grants/t1"}, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		revoked, err := b.Revoked(t.Context(), "t1")
		if !revoked || err != nil {
			t.Errorf("Revoked() = %v, %v", revoked, err)
		}
		keep := store.Keep{Records: time.Hour, Usage: time.Hour}
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

// TestGrants ends grants in every way and asks why.
func TestGrants(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		const v3 = "apis/a/versions/v3"
		b.publish("o", v1, v2, v3)
		carol := store.Viewer{User: b.user("carol", "subscriber")}
		app, gone, hers := b.application(b.ann, "a"), b.application(b.ann, "gone"), b.application(carol, "hers")
		k, deleted := b.key(b.ann, app.ID, store.Production), b.key(b.ann, app.ID, store.Sandbox)
		goneKey, hersKey := b.key(b.ann, gone.ID, store.Production), b.key(carol, hers.ID, store.Production)
		s := b.subscribe(b.ann, app.ID, v1)
		s2 := b.subscribe(b.ann, app.ID, v2)
		b.subscribe(b.ann, app.ID, v3)
		b.subscribe(b.ann, gone.ID, v1)
		b.subscribe(carol, hers.ID, v1)

		ok(t, b.DeleteKey(t.Context(), b.ann, app.ID, deleted.ID, ""))
		ok(t, b.DeleteApplication(t.Context(), b.ann, gone.ID, ""))
		ok(t, b.DeleteUser(t.Context(), carol.User, ""))
		ok(t, b.DeleteSubscription(t.Context(), b.ann, s2.ID, ""))
		b.catalog(store.CatalogChange{Removed: []string{v3}})
		later := b.now().Add(time.Minute)
		ok(t, b.Revoke(t.Context(), k, "revoked", later))

		query := func(token, app, key, version string, expires time.Time) store.GrantQuery {
			return store.GrantQuery{TokenID: token, Application: app, Key: key, Version: version, ExpiresAt: expires}
		}
		states, asOf, err := b.Grants(t.Context(), []store.GrantQuery{
			query("t", app.ID, k.ID, v1, later),
			query("t", app.ID, k.ID, v1, b.now()),
			query("revoked", app.ID, k.ID, v1, later),
			query("t", app.ID, deleted.ID, v1, later),
			query("t", gone.ID, goneKey.ID, v1, later),
			query("t", hers.ID, hersKey.ID, v1, later),
			query("t", app.ID, k.ID, v2, later),
			query("t", app.ID, k.ID, v3, later),
		})
		ok(t, err)
		want := []store.GrantState{
			{Grant: store.Grant{User: b.ann.User, Application: app.ID, Key: k.ID, KeyType: store.Production, Subscription: s.ID, Plan: gold}},
			{Ended: backplanev1.GrantEvent_CAUSE_EXPIRED}, {Ended: backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED}, {Ended: backplanev1.GrantEvent_CAUSE_KEY_DELETED}, {Ended: backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED},
			{Ended: backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED}, {Ended: backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_DELETED}, {Ended: backplanev1.GrantEvent_CAUSE_VERSION_DELETED},
		}
		if diff := cmp.Diff(want, states); diff != "" || asOf != b.head() {
			t.Errorf("Grants() as of %d (-want +got):\n%s", asOf, diff)
		}
	})
}
