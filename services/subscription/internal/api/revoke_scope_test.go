package api_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogtest"
)

// revoked revokes something by its name, and returns whether there was something to revoke.
func (w *world) revoked(ctx context.Context, name, application string) bool {
	w.t.Helper()
	resp, err := w.revoke.Revoke(ctx, &subscriptionv1.RevokeRequest{Name: name, Application: application})
	w.must(err)
	return resp.GetChange() != ""
}

// TestRevokedAtAVersionStays revokes what an application has at a version, with and without the
// need of a subscription. Neither to end the subscription nor to subscribe anew makes it good
// again; what is issued later is good.
func TestRevokedAtAVersionStays(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		free := catalogtest.Route(v2, w.bobName, true, gold, silver)
		free.Subscriptionless = true
		w.hear(catalogtest.Route(v1, w.bobName, true, gold, silver), free)
		app := w.application(w.ann, "Chat").GetName()
		client := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		for _, version := range []string{v1, v2} {
			sub := w.subscribe(w.ann, app, version)
			raw, key := w.token(client), w.apiKey(w.ann, app, nil)
			grants := []*backplanev1.Grant{w.verify(raw, version).GetGrant(), w.verifyKey(key.GetKey(), version).GetGrant()}
			refused := func(when string) {
				t.Helper()
				if token, key := w.verify(raw, version).GetDenial(), w.verifyKey(key.GetKey(), version).GetDenial(); token.GetReason() != backplanev1.Denial_REASON_REVOKED || key.GetReason() != backplanev1.Denial_REASON_REVOKED {
					t.Errorf("%s, %s: the token is refused as %v, the key as %v, want both REVOKED", when, version, token, key)
				}
				if state := w.read(grants[0]); state.GetGrant() != nil {
					t.Errorf("%s, %s: the grant of the token is read again as %v", when, version, state)
				}
				if state := w.readKey(grants[1]); state.GetGrant() != nil {
					t.Errorf("%s, %s: the grant of the key is read again as %v", when, version, state)
				}
			}
			w.revoked(w.ann, sub.GetName(), "")
			if names := w.lastEvent().GetNames(); len(names) != 2 || names[1] != app+"@"+version {
				t.Errorf("gateways hear of %v, want the subscription, and the application at the version", names)
			}
			refused("when it is revoked")
			_, err := w.subs.DeleteSubscription(w.ann, &subscriptionv1.DeleteSubscriptionRequest{Name: sub.GetName()})
			w.must(err)
			if version == v2 { // where there is no subscription, what is refused first is that
				refused("when the subscription is gone")
				if w.verify(w.token(client), version).GetGrant() == nil {
					t.Error("a new token is not good without a subscription, where none is needed")
				}
			}
			w.subscribe(w.ann, app, version)
			refused("when the application subscribes anew")
			if w.verify(w.token(client), version).GetGrant() == nil || w.verifyKey(w.rotate(key.GetName(), 0), version).GetGrant() == nil {
				t.Errorf("a new token or a new value of the key is not good at %s", version)
			}
		}
		// Nothing is left of it when the application is.
		_, err := w.apps.DeleteApplication(w.ann, &subscriptionv1.DeleteApplicationRequest{Name: app})
		w.must(err)
		if n := w.count(`SELECT count(*) FROM revoked_at_version`); n != 0 {
			t.Errorf("%d rows are left when the application is gone", n)
		}
	})
}

// exec runs a statement.
func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	_, err := w.db.ExecContext(w.t.Context(), query, args...)
	w.must(err)
}

// count returns what a query counts.
func (w *world) count(query string) (n int) {
	w.t.Helper()
	w.must(w.db.QueryRowContext(w.t.Context(), query).Scan(&n))
	return n
}

// TestRevokeSecretThatIsGone revokes a secret that was deleted, and one that has expired and
// was forgotten: the tokens that were issued for it are refused. Somebody else's secret is not
// revoked by its id, whatever OAuth client it is said to be of.
func TestRevokeSecretThatIsGone(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		app, his := w.application(w.ann, "Chat").GetName(), w.application(w.bob, "His").GetName()
		w.subscribe(w.ann, app, v1)
		client := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		foreign := w.oauthClient(w.bob, his, catalogv1.Stage_STAGE_PRODUCTION)
		kept := w.token(client)
		keptGrant := w.verify(kept, v1).GetGrant()

		deleted := &oauthClient{OAuthClient: client.OAuthClient, secret: w.secret(w.ann, client.GetName(), nil)}
		expired := &oauthClient{OAuthClient: client.OAuthClient, secret: w.secret(w.ann, client.GetName(), timestamppb.New(w.now().Add(time.Minute)))}
		tokens := map[*oauthClient]string{deleted: w.token(deleted), expired: w.token(expired)}
		_, err := w.apps.DeleteOAuthClientSecret(w.ann, &subscriptionv1.DeleteOAuthClientSecretRequest{Name: deleted.secret.GetName()})
		w.must(err)
		w.add(2 * time.Minute)
		w.exec(`DELETE FROM oauth_client_secret WHERE expires_at > 0`) // as Purge does in an hour
		for what, c := range map[string]*oauthClient{"deleted": deleted, "expired": expired} {
			raw := tokens[c]
			grant := w.verify(raw, v1).GetGrant()
			if grant == nil {
				t.Fatalf("%s: its token is not good before it is revoked", what)
			}
			id := c.secret.GetName()[len(client.GetName()+"/secrets/"):]
			if !w.revoked(w.bob, foreign.GetName()+"/secrets/"+id, "") || !w.good(raw, v1, grant) {
				t.Errorf("%s: another user revokes the secret by naming it below an OAuth client of his", what)
			}
			_, err := w.revoke.Revoke(w.bob, &subscriptionv1.RevokeRequest{Name: c.secret.GetName()})
			refused(t, what+", by another user", err, codes.NotFound, c.secret.GetName()+" not found")
			if !w.revoked(w.ann, c.secret.GetName(), "") || w.good(raw, v1, grant) {
				t.Errorf("%s: its token is good when it is revoked", what)
			}
			if e := w.lastEvent(); e.GetCause() != backplanev1.GrantEvent_CAUSE_REVOKED || e.GetNames()[0] != grant.GetSecret() {
				t.Errorf("%s: gateways hear %v, want what the grant says: %s", what, e, grant.GetSecret())
			}
			if w.revoked(w.ann, c.secret.GetName(), "") {
				t.Errorf("%s: it is revoked once more", what)
			}
		}
		if !w.good(kept, v1, keptGrant) {
			t.Error("a token of another secret is refused")
		}
	})
}

// TestRevokeTryOutByName revokes a try-out token by the name of its grant: the user who got it
// may, an administrator may, and somebody else who knows the name changes nothing for it.
func TestRevokeTryOutByName(t *testing.T) {
	const tryOut = "applications/try-out"
	onBoth(t, func(t *testing.T, w *world) {
		w.must(w.store.SaveGateways(t.Context(), []string{"wss://gateway.test"}))
		w.catalog.Put(w.production(v1, false))
		bob, _, _ := w.signedIn("bob", w.bobName)
		for _, tt := range []struct {
			as          context.Context
			application string
			user        string // that gateways hear of
		}{{bob, tryOut, w.bobName}, {w.root, tryOut, ""}, {w.root, "", ""}} {
			issued, err := w.issue.IssueTryOutToken(bob, &subscriptionv1.IssueTryOutTokenRequest{Version: v1})
			w.must(err)
			raw := issued.GetAccessToken()
			grant := w.verify(raw, v1).GetGrant()
			w.revoked(w.ann, grant.GetName(), tryOut)
			if e := w.lastEvent(); !w.good(raw, v1, grant) || e.GetUser() != w.annName || e.GetApplication() != tryOut {
				t.Errorf("somebody else revokes the token, or gateways hear %v, want that it is about %s", e, w.annName)
			}
			if !w.revoked(tt.as, grant.GetName(), tt.application) || w.good(raw, v1, grant) {
				t.Errorf("the token is good when it is revoked, of %q", tt.application)
			}
			if e := w.lastEvent(); e.GetUser() != tt.user || e.GetApplication() != tt.application {
				t.Errorf("gateways hear %v, want the application %q and the user %q", e, tt.application, tt.user)
			}
			if w.revoked(tt.as, grant.GetName(), tt.application) {
				t.Errorf("it is revoked once more, of %q", tt.application)
			}
		}
	})
}

// TestNamedRevocationsAreBounded revokes more by names than one may: the answer says what to
// do, nothing is written, others are not concerned, and doing it makes room.
func TestNamedRevocationsAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		app, his := w.application(w.ann, "Chat").GetName(), w.application(w.bob, "His").GetName()
		w.subscribe(w.ann, app, v1)
		client := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		raw := w.token(client)
		grant := w.verify(raw, v1).GetGrant()
		w.must(w.db.InTx(t.Context(), func(tx *sqldb.Tx) error {
			for _, namedFor := range []string{app[len("applications/"):], w.annName[len("users/"):]} {
				for n := range 999 {
					if _, err := tx.ExecContext(t.Context(), `INSERT INTO revocation (id, expires_at, named_for) VALUES ($1, $2, $3)`,
						fmt.Sprint(n, "@", namedFor), w.now().Add(time.Hour).UnixMicro(), namedFor); err != nil {
						return err
					}
				}
			}
			return nil
		}))
		const full = "1000 tokens and secrets are revoked by their names, as many as may be: "
		for _, tt := range []struct{ last, name, application, remedy string }{
			{grant.GetName(), "grants/b", app, "revoke the application, which revokes all of them, or a token by its value"},
			{"", client.GetName() + "/secrets/b", "", "revoke the application, which revokes all of them, or a token by its value"},
			{"grants/a", "grants/b", "applications/try-out", "revoke a token by its value, or end the sign-in"},
		} {
			if tt.last != "" && !w.revoked(w.ann, tt.last, tt.application) {
				t.Errorf("the last of %s is not revoked", tt.application)
			}
			before := w.dump()
			_, err := w.revoke.Revoke(w.ann, &subscriptionv1.RevokeRequest{Name: tt.name, Application: tt.application})
			refused(t, "one too many", err, codes.FailedPrecondition, full+tt.remedy)
			if tt.last != "" && w.revoked(w.ann, tt.last, tt.application) {
				t.Errorf("what is revoked is revoked once more, of %s", tt.application)
			}
			if w.dump() != before {
				t.Errorf("a refused revocation of %s has written something", tt.name)
			}
		}
		if !w.revoked(w.bob, "grants/b", his) {
			t.Error("what another application has revoked counts")
		}
		if !w.revoked(w.ann, client.secret.GetName()[:len(client.GetName())], "") || !w.revoked(w.ann, app, "") || w.good(raw, v1, grant) {
			t.Error("a token that was revoked by its name is good when the application is revoked")
		}
		if !w.revoked(w.ann, "grants/b", app) {
			t.Error("there is no room when the application is revoked")
		}
		w.add(2 * time.Hour)
		if !w.revoked(w.as(w.annName, "subscriber"), "grants/b", "applications/try-out") {
			t.Error("what has expired counts")
		}
	})
}
