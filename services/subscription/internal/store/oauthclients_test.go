package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

func TestOAuthClient(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		app, other := b.application(b.ann, "one"), b.application(b.ann, "two")
		made := b.oauthClient(b.ann, app.ID, store.Production)
		got, err := b.OAuthClient(t.Context(), b.ann, made.Name)
		if diff := cmp.Diff(made, got); err != nil || diff != "" {
			t.Errorf("OAuthClient() = %v (-made +got):\n%s", err, diff)
		}
		for _, tt := range []struct {
			name   string
			v      identity.Viewer
			client resourcename.OAuthClient
		}{
			{"of another user", b.bob, made.Name},
			{"of another application", b.ann, resourcename.OAuthClient{Application: other.ID, OAuthClient: made.Name.OAuthClient}},
			{"that is not there", b.ann, resourcename.OAuthClient{Application: app.ID, OAuthClient: "none"}},
		} {
			want := tt.client.String() + " not found"
			_, err := b.OAuthClient(t.Context(), tt.v, tt.client)
			refused(t, "OAuthClient "+tt.name, err, codes.NotFound, want)
			refused(t, "DeleteOAuthClient "+tt.name, b.DeleteOAuthClient(t.Context(), tt.v, tt.client, allow[store.OAuthClient]), codes.NotFound, want)
			_, _, err = b.CreateSecret(t.Context(), requestid.Request{}, tt.v, tt.client, time.Time{}, []byte("h"), allow[store.OAuthClient])
			refused(t, "CreateSecret "+tt.name, err, codes.NotFound, want)
		}
		_, err = b.CreateOAuthClient(t.Context(), requestid.Request{}, b.ann, store.OAuthClient{Name: resourcename.OAuthClient{Application: app.ID}, Stage: store.Production, ClientID: "x"}, allow[store.Application])
		refused(t, "CreateOAuthClient(second)", err, codes.AlreadyExists, "the application has an OAuth client for production already")
		_, err = b.CreateOAuthClient(t.Context(), requestid.Request{}, b.bob, store.OAuthClient{Name: resourcename.OAuthClient{Application: app.ID}, Stage: store.Sandbox, ClientID: "x"}, allow[store.Application])
		refused(t, "CreateOAuthClient(of another)", err, codes.NotFound, "not found")
		sandbox := b.oauthClient(b.admin, app.ID, store.Sandbox)
		for _, tt := range []struct {
			v    identity.Viewer
			want []store.OAuthClient
		}{{b.ann, []store.OAuthClient{made, sandbox}}, {b.bob, nil}} {
			if diff := cmp.Diff(tt.want, list(t, b.OAuthClients(t.Context(), tt.v, app.ID, sqldb.TimeKey{}))); diff != "" {
				t.Errorf("OAuthClients(%v) (-want +got):\n%s", tt.v, diff)
			}
		}

		b.secret(b.ann, made, "hash", time.Time{})
		before := b.head()
		refused(t, "DeleteOAuthClient(stale)", b.DeleteOAuthClient(t.Context(), b.ann, made.Name, func(c store.OAuthClient) error {
			return page.CheckEtag("8", c.Etag)
		}), codes.Aborted, "etag")
		ok(t, b.DeleteOAuthClient(t.Context(), b.ann, made.Name, allow[store.OAuthClient]))
		if n := b.count("oauth_client_secret"); n != 0 {
			t.Errorf("%d secrets of a deleted OAuth client stay", n)
		}
		want := []string{"OAUTH_CLIENT_DELETED " + made.Name.String()}
		if diff := cmp.Diff(want, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// hashes returns the hashes of the secrets that work, sorted.
func (b *bench) hashes(c store.OAuthClient) []string {
	b.t.Helper()
	got, hashes, err := b.ClientSecrets(b.t.Context(), c.ClientID)
	ok(b.t, err)
	var all []string
	for _, hash := range hashes {
		all = append(all, string(hash.Hash))
	}
	if len(all) > 0 && got != c {
		b.t.Errorf("ClientSecrets(%s) = %v, want %v", c.ClientID, got, c)
	}
	slices.Sort(all)
	return all
}

func TestSecret(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		app := b.application(b.ann, "one")
		c, other := b.oauthClient(b.ann, app.ID, store.Production), b.oauthClient(b.ann, app.ID, store.Sandbox)
		if got := b.hashes(c); got != nil {
			t.Errorf("a new OAuth client has the secrets %q", got)
		}
		before := b.head()
		first := b.secret(b.ann, c, "first", time.Time{})
		b.add(time.Second)
		second := b.secret(b.admin, c, "second", b.now().Add(time.Hour))
		b.secret(b.ann, other, "other", time.Time{})
		for _, want := range []store.Secret{first, second} {
			got, err := b.Secret(t.Context(), b.ann, want.Name)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("Secret() = %v (-want +got):\n%s", err, diff)
			}
		}
		for _, tt := range []struct {
			v    identity.Viewer
			want []store.Secret
		}{{b.ann, []store.Secret{first, second}}, {b.bob, nil}} {
			if diff := cmp.Diff(tt.want, list(t, b.Secrets(t.Context(), tt.v, c.Name, sqldb.TimeKey{}))); diff != "" {
				t.Errorf("Secrets(%v) (-want +got):\n%s", tt.v, diff)
			}
		}
		for _, tt := range []struct {
			name       string
			v          identity.Viewer
			client, id string
		}{
			{"of another user", b.bob, c.Name.OAuthClient, first.Name.Secret},
			{"of another OAuth client", b.ann, other.Name.OAuthClient, first.Name.Secret},
			{"that is not there", b.ann, c.Name.OAuthClient, "none"},
		} {
			name := resourcename.OAuthClientSecret{Application: app.ID, OAuthClient: tt.client, Secret: tt.id}
			want := name.String() + " not found"
			_, err := b.Secret(t.Context(), tt.v, name)
			refused(t, "Secret "+tt.name, err, codes.NotFound, want)
			refused(t, "DeleteSecret "+tt.name, b.DeleteSecret(t.Context(), tt.v, name), codes.NotFound, want)
		}
		if diff := cmp.Diff([]string{"first", "second"}, b.hashes(c)); diff != "" {
			t.Errorf("secrets that work (-want +got):\n%s", diff)
		}
		ok(t, b.DeleteSecret(t.Context(), b.ann, first.Name))
		if diff := cmp.Diff([]string{"second"}, b.hashes(c)); diff != "" {
			t.Errorf("secrets that work after the first was deleted (-want +got):\n%s", diff)
		}
		b.add(time.Hour)
		if got := b.hashes(c); got != nil {
			t.Errorf("secrets that work after their end: %q", got)
		}
		// No grant rests on a secret.
		events := b.events(before)
		if slices.ContainsFunc(events, func(e string) bool { return e[0] != '-' }) || len(events) != 4 {
			t.Errorf("events = %q, want 4 that void nothing", events)
		}
	})
}

// TestSecretsAreBounded creates more secrets than an OAuth client may have, all
// at once. Those that have ended do not count, and are purged.
func TestSecretsAreBounded(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		c := b.oauthClient(b.ann, b.application(b.ann, "one").ID, store.Production)
		create := func(expires time.Time) error {
			_, _, err := b.CreateSecret(t.Context(), requestid.Request{}, b.ann, c.Name, expires, []byte("h"), allow[store.OAuthClient])
			return err
		}
		ok(t, create(b.now().Add(time.Minute)))
		made := 1
		for _, err := range race(func(int) error { return create(time.Time{}) }) {
			if err == nil {
				made++
				continue
			}
			refused(t, "CreateSecret(too many)", err, codes.FailedPrecondition, "the OAuth client has 5 secrets, as many as it may have: delete one first")
		}
		if made != 5 {
			t.Errorf("%d secrets are made, want 5", made)
		}
		b.add(time.Minute)
		ok(t, create(b.now().Add(time.Minute)))
		refused(t, "CreateSecret(again too many)", create(time.Time{}), codes.FailedPrecondition, "5 secrets")
		keep := store.Retention{Records: time.Hour, Usage: time.Hour}
		b.add(2*time.Hour - time.Minute)
		ok(t, b.Purge(t.Context(), keep))
		if n := b.count("oauth_client_secret"); n != 4 {
			t.Errorf("%d secrets are left, want the 4 that do not end", n)
		}
	})
}
