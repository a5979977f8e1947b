package api_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogtest"
)

// good reports whether a token is good for a version, also for a gateway that reads the grant
// again which it once got.
func (w *world) good(raw, version string, grant *backplanev1.Grant) bool {
	w.t.Helper()
	got := w.verify(raw, version)
	if got.GetGrant() == nil && got.GetDenial().GetReason() != backplanev1.Denial_REASON_REVOKED {
		w.t.Errorf("the token is refused as %s, want REVOKED", got.GetDenial().GetReason())
	}
	if again := w.read(grant); (again.GetGrant() != nil) != (got.GetGrant() != nil) {
		w.t.Errorf("the grant is read again as %v, verified as %v", again, got)
	}
	return got.GetGrant() != nil
}

// TestRevoke revokes credentials by every name, and shows which tokens are good after that:
// those of other names, and those that are issued later.
func TestRevoke(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1, v2)
		heard := w.hears()
		app := w.application(w.ann, "Chat").GetName()
		one := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		other := &oauthClient{OAuthClient: one.OAuthClient, secret: w.secret(w.ann, one.GetName(), nil)}
		sandbox := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_SANDBOX)
		sub := w.subscribe(w.ann, app, v1)
		w.subscribe(w.ann, app, v2)
		for _, tt := range []struct {
			name string // what is revoked; empty is the token of one
			as   context.Context
			app  string
			dead []string // of one, other, sandbox and one at v2
			gone bool     // the secret, so one issues no more
		}{
			{"", w.ann, "", []string{"one", "one at v2"}, false},
			{"grant", w.root, "", []string{"one", "one at v2"}, false},
			{"grant", w.ann, app, []string{"one", "one at v2"}, false},
			{sub.GetName(), w.ann, "", []string{"one", "other", "sandbox"}, false},
			{one.GetName(), w.ann, "", []string{"one", "other", "one at v2"}, false},
			{app, w.root, "", []string{"one", "other", "sandbox", "one at v2"}, false},
			{one.secret.GetName(), w.ann, "", []string{"one", "one at v2"}, true},
		} {
			at := map[string]string{"one": v1, "other": v1, "sandbox": v1, "one at v2": v2}
			issue := func() map[string]string {
				mine := w.token(one)
				return map[string]string{"one": mine, "other": w.token(other), "sandbox": w.token(sandbox), "one at v2": mine}
			}
			tokens, grants := issue(), map[string]*backplanev1.Grant{}
			for who, raw := range tokens {
				if grants[who] = w.verify(raw, at[who]).GetGrant(); grants[who] == nil {
					t.Fatalf("%s is not good before %q is revoked", who, tt.name)
				}
			}
			req := &subscriptionv1.RevokeRequest{Name: tt.name, Application: tt.app}
			switch want := grants["one"].GetName(); tt.name {
			case "":
				req.Token, tt.name = tokens["one"], want
			case "grant":
				req.Name, tt.name = want, want
			}
			resp, err := w.revoke.Revoke(tt.as, req)
			w.must(err)
			if resp.GetName() != tt.name || resp.GetChange() != fmt.Sprint("services/subscription/changes/", w.head()) {
				t.Errorf("Revoke(%v) = %v, want the name and the newest change", req, resp)
			}
			if event := heard(); !strings.Contains(event, "REVOKED ["+tt.name) {
				t.Errorf("gateways hear %q of the revocation of %s", event, tt.name)
			}
			for who, raw := range tokens {
				if good := w.good(raw, at[who], grants[who]); good == slices.Contains(tt.dead, who) {
					t.Errorf("after %s is revoked, the token of %s is good: %v", tt.name, who, good)
				}
			}
			if tt.gone {
				_, err := w.oauth.IssueToken(t.Context(), &oauth2v1.IssueTokenRequest{GrantType: "client_credentials", ClientCredentials: credentials(one)})
				refused(t, "a token for a revoked secret", err, codes.Unauthenticated, unknownClient)
				continue
			}
			for who, raw := range issue() {
				if w.verify(raw, at[who]).GetGrant() == nil {
					t.Errorf("after %s is revoked, a new token of %s is not good", tt.name, who)
				}
			}
		}
	})
}

// TestRevokeTwice revokes what is revoked, and what has expired: there is nothing left to do.
func TestRevokeTwice(t *testing.T) {
	w := onSQLite(t)
	w.publish(v1)
	app := w.application(w.ann, "Chat").GetName()
	c := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
	raw := w.token(c)
	for i, change := range []bool{true, false} {
		resp, err := w.revoke.Revoke(w.ann, &subscriptionv1.RevokeRequest{Token: raw})
		w.must(err)
		if (resp.GetChange() != "") != change || resp.GetName() == "" {
			t.Errorf("Revoke, time %d, = %v, want a change: %v", i+1, resp, change)
		}
	}
	raw = w.token(c)
	w.add(2 * time.Hour)
	before := w.dump()
	resp, err := w.revoke.Revoke(w.as(w.annName, "subscriber"), &subscriptionv1.RevokeRequest{Token: raw})
	w.must(err)
	if resp.GetChange() != "" || w.dump() != before {
		t.Errorf("Revoke(expired) = %v, want nothing to be written", resp)
	}
}

// TestRevokeTryOut revokes a try-out token by its value, as the user who got it.
func TestRevokeTryOut(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.must(w.store.SaveGateways(t.Context(), []string{"wss://gateway.test"}))
		w.catalog.Put(w.production(v1, false))
		bob, _, _ := w.signedIn("bob", w.bobName)
		issued, err := w.issue.IssueTryOutToken(bob, &subscriptionv1.IssueTryOutTokenRequest{Version: v1})
		w.must(err)
		grant := w.verify(issued.GetAccessToken(), v1).GetGrant()
		_, err = w.revoke.Revoke(w.ann, &subscriptionv1.RevokeRequest{Token: issued.GetAccessToken()})
		refused(t, "somebody else", err, codes.NotFound, grant.GetName()+" not found")
		_, err = w.revoke.Revoke(bob, &subscriptionv1.RevokeRequest{Token: issued.GetAccessToken()})
		w.must(err)
		if w.good(issued.GetAccessToken(), v1, grant) {
			t.Error("a revoked try-out token is good")
		}
	})
}

// TestRevokeForeign gives the name of another's token, with an application of one's own: the
// other's token is good, and gateways are told whose alone is not.
func TestRevokeForeign(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		hers, his := w.application(w.ann, "Hers").GetName(), w.application(w.bob, "His").GetName()
		w.subscribe(w.ann, hers, v1)
		raw := w.token(w.oauthClient(w.ann, hers, catalogv1.Stage_STAGE_PRODUCTION))
		grant := w.verify(raw, v1).GetGrant()
		_, err := w.revoke.Revoke(w.bob, &subscriptionv1.RevokeRequest{Name: grant.GetName(), Application: his})
		w.must(err)
		if !w.good(raw, v1, grant) {
			t.Error("the owner of another application has revoked a token by its name")
		}
	})
}

// TestRevokeRefused revokes what does not exist, or is somebody else's: nothing is written.
func TestRevokeRefused(t *testing.T) {
	w := onSQLite(t)
	w.catalog.Put(catalogtest.Route(v1, w.bobName, true, gold))
	app := w.application(w.ann, "Chat").GetName()
	c := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
	sub := w.subscribe(w.ann, app, v1)
	raw := w.token(c)
	grant := w.verify(raw, v1).GetGrant().GetName()
	const which = "must be grants/{grant}, applications/{application}, the name of an OAuth client, a secret or an API key below it, or subscriptions/{subscription}"
	before := w.dump()
	for _, tt := range []struct {
		name string
		as   context.Context
		req  *subscriptionv1.RevokeRequest
		code codes.Code
		text string
	}{
		{"nothing", w.ann, &subscriptionv1.RevokeRequest{}, codes.InvalidArgument, "token: must be set, or name: one of them"},
		{"both", w.ann, &subscriptionv1.RevokeRequest{Token: raw, Name: app}, codes.InvalidArgument, "token: must be set, or name: one of them"},
		{"no token", w.ann, &subscriptionv1.RevokeRequest{Token: "x"}, codes.InvalidArgument, "token: must be an access token of this installation for gateways"},
		{"a user's token", w.ann, &subscriptionv1.RevokeRequest{Token: w.userToken(w.annName)}, codes.InvalidArgument, "token: must be an access token of this installation for gateways"},
		{"another's token", w.bob, &subscriptionv1.RevokeRequest{Token: raw}, codes.NotFound, grant + " not found"},
		{"another's application", w.bob, &subscriptionv1.RevokeRequest{Name: app}, codes.NotFound, app + " not found"},
		{"another's OAuth client", w.bob, &subscriptionv1.RevokeRequest{Name: c.GetName()}, codes.NotFound, c.GetName() + " not found"},
		{"another's secret", w.bob, &subscriptionv1.RevokeRequest{Name: c.secret.GetName()}, codes.NotFound, c.secret.GetName() + " not found"},
		{"as the version's owner", w.bob, &subscriptionv1.RevokeRequest{Name: sub.GetName()}, codes.PermissionDenied, "only its owner and administrators may do this"},
		{"a token by its name alone", w.ann, &subscriptionv1.RevokeRequest{Name: grant}, codes.InvalidArgument, "application: must be the application that the token was issued to"},
		{"a token of another's application", w.bob, &subscriptionv1.RevokeRequest{Name: grant, Application: app}, codes.NotFound, app + " not found"},
		{"an application for an application", w.ann, &subscriptionv1.RevokeRequest{Name: app, Application: app}, codes.InvalidArgument, "application: goes with the name of a token only, grants/…"},
		{"a version", w.root, &subscriptionv1.RevokeRequest{Name: v1}, codes.InvalidArgument, "name: " + which},
		{"something below an application", w.root, &subscriptionv1.RevokeRequest{Name: app + "/things/1"}, codes.InvalidArgument, "name: " + which},
		{"a bad name", w.root, &subscriptionv1.RevokeRequest{Name: "applications/"}, codes.InvalidArgument, `name: must be applications/{application}`},
	} {
		_, err := w.revoke.Revoke(tt.as, tt.req)
		refused(t, tt.name, err, tt.code, tt.text)
	}
	if after := w.dump(); after != before {
		t.Errorf("a refused revocation has written something:\n%s\nwas\n%s", after, before)
	}
}

// TestRevokeAPIKeys revokes what an application has, and its values of API keys with it: a
// value that is issued later is good. A key that is revoked itself is gone.
func TestRevokeAPIKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1, v2)
		app := w.application(w.ann, "Chat").GetName()
		sub := w.subscribe(w.ann, app, v1)
		w.subscribe(w.ann, app, v2)
		key := w.apiKey(w.ann, app, nil)
		value := key.GetKey()
		for _, name := range []string{sub.GetName(), app} {
			grant := w.verifyKey(value, v1).GetGrant()
			if _, err := w.revoke.Revoke(w.ann, &subscriptionv1.RevokeRequest{Name: name}); err != nil || grant == nil {
				t.Fatalf("Revoke(%s) = %v; the grant before it: %v", name, err, grant)
			}
			if got := w.verifyKey(value, v1).GetDenial().GetReason(); got != backplanev1.Denial_REASON_REVOKED {
				t.Errorf("after %s is revoked, the key is refused as %v, want REVOKED", name, got)
			}
			if good := w.verifyKey(value, v2).GetGrant() != nil; good != (name == sub.GetName()) {
				t.Errorf("after %s is revoked, the key is good at another version: %v", name, good)
			}
			if state := w.readKey(grant); state.GetEnded() != backplanev1.GrantEvent_CAUSE_REVOKED {
				t.Errorf("after %s is revoked, the grant is read again as %v", name, state)
			}
			value = w.rotate(key.GetName(), time.Hour)
			later := w.verifyKey(value, v1).GetGrant()
			if later == nil || w.readKey(later).GetGrant().GetIssuedChangeNumber() != later.GetIssuedChangeNumber() {
				t.Errorf("after %s is revoked, a new value has the grant %v", name, later)
			}
		}
		// A grant's name is that of one value.
		for what, tt := range map[string]struct {
			as          context.Context
			application string
		}{"its owner": {w.ann, app}, "an administrator": {w.root, ""}} {
			gone := w.rotate(key.GetName(), 0)
			grant := w.verifyKey(gone, v1).GetGrant()
			stays := w.rotate(key.GetName(), time.Hour)
			if _, err := w.revoke.Revoke(tt.as, &subscriptionv1.RevokeRequest{Name: grant.GetName(), Application: tt.application}); err != nil {
				t.Fatalf("Revoke(%s) by %s = %v", grant.GetName(), what, err)
			}
			if got := w.verifyKey(gone, v1).GetDenial().GetReason(); got != backplanev1.Denial_REASON_INVALID || w.verifyKey(stays, v1).GetGrant() == nil {
				t.Errorf("after its grant is revoked by %s, a value is refused as %v, want INVALID, and another one good", what, got)
			}
			if state := w.readKey(grant); state.GetGrant() != nil {
				t.Errorf("after its grant is revoked by %s, it is read again as %v", what, state)
			}
			value = stays
		}
		_, err := w.revoke.Revoke(w.bob, &subscriptionv1.RevokeRequest{Name: key.GetName()})
		refused(t, "another's key", err, codes.NotFound, key.GetName()+" not found")
		resp, err := w.revoke.Revoke(w.ann, &subscriptionv1.RevokeRequest{Name: key.GetName()})
		w.must(err)
		if resp.GetChange() == "" || w.verifyKey(value, v1).GetDenial().GetReason() != backplanev1.Denial_REASON_INVALID {
			t.Errorf("Revoke(%s) = %v, want the key to be gone", key.GetName(), resp)
		}
	})
}

// readKey reads the grant of an API key again, as a gateway does.
func (w *world) readKey(g *backplanev1.Grant) *backplanev1.GrantState {
	w.t.Helper()
	resp, err := w.gateway.tokens.BatchGetGrants(w.t.Context(), &backplanev1.BatchGetGrantsRequest{Grants: []*backplanev1.GrantQuery{{
		Name: g.GetName(), ApiKey: g.GetApiKey(), Version: g.GetVersion(), Subscription: g.GetSubscription(),
	}}})
	w.must(err)
	return resp.GetGrants()[0]
}
