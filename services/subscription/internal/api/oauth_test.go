package api_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/oauthcode"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogtest"
)

const unknownClient = "the OAuth client is not known, or its secret is wrong"

// TestIssueToken issues a token and checks it with nothing but what
// GetJsonWebKeySet says.
func TestIssueToken(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		c := w.oauthClient(w.ann, w.application(w.ann, "Chat").GetName(), catalogv1.Stage_STAGE_PRODUCTION)
		before := w.dump()
		resp, err := w.oauth.IssueToken(t.Context(), &oauth2v1.IssueTokenRequest{
			GrantType: "client_credentials", ClientCredentials: credentials(c), Scope: "default",
		})
		w.must(err)
		if resp.GetTokenType() != "Bearer" || resp.GetExpiresIn() != 3600 || resp.GetScope() != "default" {
			t.Errorf("IssueToken() = %v", resp)
		}
		if after := w.dump(); after != before {
			t.Errorf("issuing a token has written something:\n%s\nwas\n%s", after, before)
		}
		keys, err := w.oauth.GetJsonWebKeySet(t.Context(), &oauth2v1.GetJsonWebKeySetRequest{})
		if err != nil || keys.GetIssuer() != issuerURL || len(keys.GetKeys()) != 1 {
			t.Fatalf("GetJsonWebKeySet() = %v, %v", keys, err)
		}
		// A JOSE library reads the key as the portal publishes it.
		text, err := protojson.Marshal(keys.GetKeys()[0])
		w.must(err)
		var public jose.JSONWebKey
		w.must(public.UnmarshalJSON(text))
		if public.Algorithm != "ES256" || public.Use != "sig" || !public.Valid() {
			t.Errorf("key = %s, want a valid one for ES256", text)
		}
		parsed, err := jwt.ParseSigned(resp.GetAccessToken(), []jose.SignatureAlgorithm{jose.ES256})
		w.must(err)
		var claims jwt.Claims
		w.must(parsed.Claims(public.Key, &claims))
		if parsed.Headers[0].KeyID != keys.GetKeys()[0].GetKid() {
			t.Errorf("kid = %q, want %q", parsed.Headers[0].KeyID, keys.GetKeys()[0].GetKid())
		}
		w.must(claims.ValidateWithLeeway(jwt.Expected{
			Issuer: issuerURL, Subject: c.GetClientId(), AnyAudience: jwt.Audience{issuerURL + "/gateway"}, Time: w.now(),
		}, 0))
	})
}

// TestNarrowedToken narrows tokens to addresses, and tries them at every version.
func TestNarrowedToken(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		other := catalogtest.Route("apis/b/versions/v1", w.bobName, true, gold)
		other.Context = "/echo/more"
		second := catalogtest.Route(v2, w.bobName, true, gold)
		second.Version = "2.0.0"
		w.catalog.Put(catalogtest.Route(v1, w.bobName, true, gold), second, other)
		w.must(w.store.SaveGateways(t.Context(), []string{"ws://gw.test:9099", "wss://gw.test/base"}))
		app := w.application(w.ann, "Chat").GetName()
		c := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		for _, version := range []string{v1, v2, other.GetName()} {
			w.subscribe(w.ann, app, version)
		}
		for resource, good := range map[string][]string{
			"":                              {v1, v2, other.GetName()},
			"wss://gw.test/base/echo":       {v1, v2},
			"wss://gw.test/base/echo/1.0.0": {v1},
			"ws://gw.test:9099/echo/2.0.0":  {v2},
			"ws://gw.test:9099/echo/more":   {other.GetName()},
		} {
			resp, err := w.oauth.IssueToken(t.Context(), &oauth2v1.IssueTokenRequest{
				GrantType: "client_credentials", ClientCredentials: credentials(c), Resource: resource,
			})
			w.must(err)
			for _, version := range []string{v1, v2, other.GetName()} {
				got := w.verify(resp.GetAccessToken(), version)
				if want := slices.Contains(good, version); want != (got.GetGrant() != nil) || !want && got.GetDenial().GetReason() != backplanev1.Denial_REASON_INVALID {
					t.Errorf("a token for %q at %s: %v, want a grant: %v", resource, version, got, want)
				}
			}
			described, err := w.oauth.IntrospectToken(t.Context(), &oauth2v1.IntrospectTokenRequest{Token: resp.GetAccessToken(), ClientCredentials: credentials(c)})
			if want := cmp.Or(resource, issuerURL+"/gateway"); err != nil || !described.GetActive() || !slices.Equal(described.GetAudience(), []string{want}) {
				t.Errorf("IntrospectToken(for %q) = %v, %v, want it active with that audience", resource, described, err)
			}
			if resource != "" {
				_, err = w.oauth.RevokeToken(t.Context(), &oauth2v1.RevokeTokenRequest{Token: resp.GetAccessToken(), ClientCredentials: credentials(c)})
				w.must(err)
				if got := w.verify(resp.GetAccessToken(), good[0]).GetDenial().GetReason(); got != backplanev1.Denial_REASON_REVOKED {
					t.Errorf("a revoked token for %q: %v, want REVOKED", resource, got)
				}
			}
		}
	})
}

func TestTokenRefusals(t *testing.T) {
	w := onSQLite(t)
	app := w.application(w.ann, "Chat").GetName()
	c := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
	other := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_SANDBOX)
	good := credentials(c)
	client := func(change func(*oauth2v1.ClientCredentials)) *oauth2v1.ClientCredentials {
		c := proto.CloneOf(good)
		change(c)
		return c
	}
	for _, tt := range []struct {
		name   string
		req    *oauth2v1.IssueTokenRequest
		code   codes.Code
		text   string
		reason string
	}{
		{"no grant type", &oauth2v1.IssueTokenRequest{ClientCredentials: good}, codes.InvalidArgument, "grant_type: is missing", "INVALID_REQUEST"},
		{"password grant", &oauth2v1.IssueTokenRequest{GrantType: "password", ClientCredentials: good},
			codes.InvalidArgument, "grant_type: must be client_credentials", "UNSUPPORTED_GRANT_TYPE"},
		{"no client", &oauth2v1.IssueTokenRequest{GrantType: "client_credentials"}, codes.Unauthenticated, unknownClient, "INVALID_CLIENT"},
		{"no secret", &oauth2v1.IssueTokenRequest{GrantType: "client_credentials",
			ClientCredentials: client(func(c *oauth2v1.ClientCredentials) { c.ClientSecret = "" })}, codes.Unauthenticated, unknownClient, "INVALID_CLIENT"},
		{"no id", &oauth2v1.IssueTokenRequest{GrantType: "client_credentials",
			ClientCredentials: client(func(c *oauth2v1.ClientCredentials) { c.ClientId = "" })}, codes.Unauthenticated, unknownClient, "INVALID_CLIENT"},
		{"mistyped secret", &oauth2v1.IssueTokenRequest{GrantType: "client_credentials",
			ClientCredentials: client(func(c *oauth2v1.ClientCredentials) { c.ClientSecret += "x" })}, codes.Unauthenticated, unknownClient, "INVALID_CLIENT"},
		{"another OAuth client's secret", &oauth2v1.IssueTokenRequest{GrantType: "client_credentials",
			ClientCredentials: client(func(c *oauth2v1.ClientCredentials) { c.ClientSecret = other.secret.GetSecret() })},
			codes.Unauthenticated, unknownClient, "INVALID_CLIENT"},
		{"unknown id", &oauth2v1.IssueTokenRequest{GrantType: "client_credentials",
			ClientCredentials: client(func(c *oauth2v1.ClientCredentials) { c.ClientId = "tgci_NONE" })}, codes.Unauthenticated, unknownClient, "INVALID_CLIENT"},
		{"a wrong client before its grant type", &oauth2v1.IssueTokenRequest{GrantType: "password"},
			codes.Unauthenticated, unknownClient, "INVALID_CLIENT"},
		{"a scope", &oauth2v1.IssueTokenRequest{GrantType: "client_credentials", ClientCredentials: good, Scope: "default admin"},
			codes.InvalidArgument, "scope: no API asks for a scope: leave it out or ask for default", "INVALID_SCOPE"},
		{"two spaces", &oauth2v1.IssueTokenRequest{GrantType: "client_credentials", ClientCredentials: good, Scope: "default  default"},
			codes.InvalidArgument, "scope: no API asks for a scope: leave it out or ask for default", "INVALID_SCOPE"},
		{"no address of ours", &oauth2v1.IssueTokenRequest{GrantType: "client_credentials", ClientCredentials: good, Resource: "wss://gw.test/echo"},
			codes.InvalidArgument, "resource: must be an address as it is advertised: of a published version, wss://HOST/CONTEXT/VERSION, or of its API, wss://HOST/CONTEXT", "INVALID_TARGET"},
	} {
		_, err := w.oauth.IssueToken(t.Context(), tt.req)
		refused(t, tt.name, err, tt.code, tt.text)
		if got := fault.Reason(err); got != tt.reason {
			t.Errorf("%s: reason %q, want %q", tt.name, got, tt.reason)
		}
	}
	_, err := w.oauth.RevokeToken(t.Context(), &oauth2v1.RevokeTokenRequest{ClientCredentials: good})
	refused(t, "RevokeToken(no token)", err, codes.InvalidArgument, "token: is missing")
	if fault.Reason(err) != "INVALID_REQUEST" {
		t.Errorf("reason %q, want INVALID_REQUEST", fault.Reason(err))
	}
	_, err = w.oauth.RevokeToken(t.Context(), &oauth2v1.RevokeTokenRequest{Token: "x"})
	refused(t, "RevokeToken(no client)", err, codes.Unauthenticated, unknownClient)
	_, err = w.oauth.IntrospectToken(t.Context(), &oauth2v1.IntrospectTokenRequest{Token: "x"})
	refused(t, "IntrospectToken(no client)", err, codes.Unauthenticated, unknownClient)
}

func TestRevokeAndIntrospect(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		app := w.application(w.ann, "Chat").GetName()
		c := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		other := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_SANDBOX)
		w.subscribe(w.ann, app, v1)
		raw, another := w.token(c), w.token(other)
		introspect := func(raw string) *oauth2v1.IntrospectTokenResponse {
			t.Helper()
			resp, err := w.oauth.IntrospectToken(t.Context(), &oauth2v1.IntrospectTokenRequest{Token: raw, ClientCredentials: credentials(c)})
			w.must(err)
			return resp
		}
		got := introspect(raw)
		if !got.GetActive() || got.GetClientId() != c.GetClientId() || got.GetSubject() != c.GetClientId() || got.GetScope() != "default" ||
			got.GetIssuer() != issuerURL || got.GetAudience()[0] != issuerURL+"/gateway" || got.GetTokenId() == "" ||
			!got.GetIssueTime().AsTime().Equal(w.now()) || !got.GetExpireTime().AsTime().Equal(w.now().Add(time.Hour)) {
			t.Errorf("IntrospectToken() = %v", got)
		}
		inactive := &oauth2v1.IntrospectTokenResponse{}
		for name, raw := range map[string]string{"another's": another, "nonsense": "nonsense"} {
			if got := introspect(raw); !proto.Equal(got, inactive) {
				t.Errorf("IntrospectToken(%s) = %v, want inactive and nothing else", name, got)
			}
		}
		revokeAs := func(c *oauthClient, raw string) error {
			_, err := w.oauth.RevokeToken(t.Context(), &oauth2v1.RevokeTokenRequest{Token: raw, ClientCredentials: credentials(c)})
			return err
		}
		revoke := func(raw string) {
			t.Helper()
			w.must(revokeAs(c, raw))
		}
		before := w.head()
		err := revokeAs(c, another)
		refused(t, "RevokeToken(another's)", err, codes.InvalidArgument, "token: was issued to another OAuth client")
		if got := oauthcode.Of(err); got != oauthcode.InvalidGrant {
			t.Errorf("the error code is %q, want %s", got, oauthcode.InvalidGrant)
		}
		revoke("nonsense")
		if w.head() != before || w.verify(another, v1).GetGrant() == nil {
			t.Error("revoking what is not one's own has had an effect")
		}
		revoke(raw)
		revoke(raw)
		if w.head() != before+1 {
			t.Errorf("%d changes for a token revoked twice, want 1", w.head()-before)
		}
		if got := introspect(raw); !proto.Equal(got, inactive) {
			t.Errorf("IntrospectToken(revoked) = %v, want inactive", got)
		}
		if got := w.verify(raw, v1).GetDenial().GetReason(); got != backplanev1.Denial_REASON_REVOKED {
			t.Errorf("VerifyCredential(revoked) = %v, want REVOKED", got)
		}
		changes, err := w.changes.ListChanges(w.root, &changev1.ListChangesRequest{Parent: "services/subscription", PageSize: 1})
		w.must(err)
		if made := changes.GetChanges()[0]; made.GetActor() != c.GetName() || made.GetAction() != "RevokeToken" || made.GetResource() != "grants/"+got.GetTokenId() {
			t.Errorf("change = %v, want the OAuth client's revocation", made)
		}
		w.must(revokeAs(other, raw)) // another's that has ended already
		late, lateOther := w.token(c), w.token(other)
		w.add(time.Hour)
		revoke(late)
		revoke(lateOther)
		if got := introspect(late); !proto.Equal(got, inactive) || w.head() != before+1 {
			t.Errorf("IntrospectToken(expired) = %v, want inactive, and revoking it without effect", got)
		}
	})
}
