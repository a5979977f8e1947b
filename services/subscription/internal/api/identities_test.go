package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
)

// keySet returns the public keys of a purpose, by their ids.
func (w *world) keySet(of oauth2v1.SigningKey_Purpose) map[string]any {
	w.t.Helper()
	set, err := w.oauth.GetJsonWebKeySet(w.t.Context(), &oauth2v1.GetJsonWebKeySetRequest{Purpose: of})
	w.must(err)
	keys := map[string]any{}
	for _, k := range set.GetKeys() {
		var key jose.JSONWebKey
		w.must(json.Unmarshal(fmt.Appendf(nil, `{"kty":%q,"crv":%q,"x":%q,"y":%q}`, k.GetKty(), k.GetCrv(), k.GetX(), k.GetY()), &key))
		keys[k.GetKid()] = key.Key
	}
	return keys
}

// TestBackendIdentities has a gateway ask for what a backend is told about a client: its
// claims are those of the client, its key is in a set of its own, and it is accepted as a
// credential nowhere.
func TestBackendIdentities(t *testing.T) {
	w := onSQLite(t)
	app := w.application(w.ann, "app")
	c := w.oauthClient(w.ann, app.GetName(), catalogv1.Stage_STAGE_PRODUCTION)
	version := "apis/a/versions/v"
	req := &backplanev1.SignBackendIdentityRequest{
		Version: version, Application: app.GetName(), OauthClient: c.GetName(), Subscription: "subscriptions/s", Stage: catalogv1.Stage_STAGE_SANDBOX,
		Scopes: []string{"read", "write"}, Ref: "REF",
	}
	signed, err := w.gateway.tokens.SignBackendIdentity(t.Context(), req)
	w.must(err)
	claims := func(raw string) (kid string, got map[string]any) {
		t.Helper()
		parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256})
		w.must(err)
		head := parsed.Headers[0]
		if typ := head.ExtraHeaders[jose.HeaderType]; typ != "tidegate-identity+jwt" {
			t.Errorf("typ = %v", typ)
		}
		w.must(parsed.Claims(w.keySet(oauth2v1.SigningKey_PURPOSE_BACKEND_IDENTITY)[head.KeyID], &got))
		if got["jti"] == "" || got["exp"].(float64)-got["iat"].(float64) != 300 || !signed.GetExpireTime().AsTime().Equal(w.now().Truncate(time.Second).Add(5*time.Minute)) {
			t.Errorf("claims = %v, expires %v, want an id, and 5 minutes", got, signed.GetExpireTime().AsTime())
		}
		delete(got, "jti")
		delete(got, "exp")
		delete(got, "iat")
		return head.KeyID, got
	}
	kid, got := claims(signed.GetToken())
	if diff := cmp.Diff(map[string]any{
		"iss": issuerURL, "aud": version, "sub": app.GetName(), "oauth_client": c.GetName(), "subscription": "subscriptions/s",
		"stage": "sandbox", "scope": "read write", "ref": "REF",
	}, got); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if tokens := w.keySet(oauth2v1.SigningKey_PURPOSE_UNSPECIFIED); tokens[kid] != nil || len(tokens) == 0 {
		t.Errorf("the keys of access tokens are %v, want others than %s", tokens, kid)
	}
	nobody, err := w.gateway.tokens.SignBackendIdentity(t.Context(), &backplanev1.SignBackendIdentityRequest{Version: version, Ref: "REF"})
	w.must(err)
	if _, got := claims(nobody.GetToken()); !cmp.Equal(got, map[string]any{"iss": issuerURL, "aud": version, "ref": "REF"}) {
		t.Errorf("of nobody it says %v", got)
	}
	_, err = w.gateway.tokens.SignBackendIdentity(t.Context(), &backplanev1.SignBackendIdentityRequest{Version: "other"})
	refused(t, "for no version", err, codes.InvalidArgument, "version: must be apis/{api}/versions/{version}")

	raw := signed.GetToken()
	for _, scheme := range []backplanev1.CredentialScheme{backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2, backplanev1.CredentialScheme_CREDENTIAL_SCHEME_API_KEY} {
		resp, err := w.gateway.tokens.VerifyCredential(t.Context(), &backplanev1.VerifyCredentialRequest{Credential: raw, Version: version, Scheme: scheme})
		w.must(err)
		if resp.GetDenial().GetReason() != backplanev1.Denial_REASON_INVALID {
			t.Errorf("as a credential of %s: %v, want that it is none", scheme, resp)
		}
	}
	in, err := w.oauth.IntrospectToken(t.Context(), &oauth2v1.IntrospectTokenRequest{Token: raw, ClientCredentials: credentials(c)})
	w.must(err)
	if in.GetActive() {
		t.Errorf("introspection says that it is active: %v", in)
	}
	keys := oauth2v1.NewSigningKeyServiceClient(w.conn)
	bearer := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+raw)
	_, err = keys.ListSigningKeys(bearer, &oauth2v1.ListSigningKeysRequest{})
	refused(t, "a call of a user", err, codes.Unauthenticated, "the token is not a user's access token")

	made, err := keys.RotateSigningKey(w.root, &oauth2v1.RotateSigningKeyRequest{Purpose: oauth2v1.SigningKey_PURPOSE_BACKEND_IDENTITY})
	w.must(err)
	if made.GetName() != "signingKeys/identity-2" || made.GetPurpose() != oauth2v1.SigningKey_PURPOSE_BACKEND_IDENTITY || len(w.keySet(made.GetPurpose())) != 2 || len(w.keySet(0)) != 1 {
		t.Errorf("RotateSigningKey = %v, want the second of its purpose", made)
	}
	found, err := keys.GetSigningKey(w.root, &oauth2v1.GetSigningKeyRequest{Name: made.GetName()})
	w.must(err)
	if !cmp.Equal(found.GetKid(), made.GetKid()) {
		t.Errorf("GetSigningKey = %v, want %v", found, made)
	}
	w.add(2 * time.Hour)
	later, err := w.gateway.tokens.SignBackendIdentity(t.Context(), req)
	w.must(err)
	parsed, err := jwt.ParseSigned(later.GetToken(), []jose.SignatureAlgorithm{jose.ES256})
	w.must(err)
	if got := parsed.Headers[0].KeyID; got != made.GetKid() {
		t.Errorf("after the rotation %s signs, want %s", got, made.GetKid())
	}
	if w.keySet(0)[made.GetKid()] != nil || !slices.Contains(w.events(), "event=KEY_ROTATED who="+w.rootName+" method=RotateSigningKey what=signingKeys/identity-2") {
		t.Errorf("security events = %q", w.events())
	}
}
