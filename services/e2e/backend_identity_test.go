package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestBackendIdentity has a backend check who its client is, by the JWK set for that, as
// docs/gateway.md says. No door of the installation takes what it gets for a credential, nor an
// access token that the key for it has signed.
func TestBackendIdentity(t *testing.T) {
	t.Parallel()
	data := newData(t)
	s := start(t, data, append(quick(), "-no-sample")...)
	p, client := s.admin(t), s.http(t)
	backend, requests := heardBackend(t)
	x := p.publish(t, "Told", backend)
	var header metadata.MD
	v, err := p.catalog.UpdateVersion(p.ctx(t), &catalogv1.UpdateVersionRequest{
		Version:    &catalogv1.Version{Name: x.version.GetName(), BackendOptions: &catalogv1.BackendOptions{Identity: catalogv1.BackendOptions_IDENTITY_JWT}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"backend_options.identity"}},
	}, grpc.Header(&header))
	p.moved(t, v, header, err)
	token := p.accessToken(t, x)
	s.knock(t, s.WS+x.path, http.Header{"Authorization": {"Bearer " + token}, "X-Tidegate-Identity": {"forged"}})
	r := <-requests
	told := r.Header.Get("X-Tidegate-Identity")
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Tidegate-") && name != "X-Tidegate-Identity" || name == "Authorization" {
			t.Errorf("the backend gets %s, too", name)
		}
	}

	resp, err := client.Get(s.Portal + "/oauth2/identity-jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(body(t, resp)), &set); err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(told, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatalf("%q: %v", told, err)
	}
	var claims jwt.Claims
	var more map[string]any
	if err := parsed.Claims(set, &claims, &more); err != nil {
		t.Fatalf("%q: %v", told, err)
	}
	if err := claims.Validate(jwt.Expected{Issuer: s.Portal, AnyAudience: jwt.Audience{x.version.GetName()}, Time: time.Now()}); err != nil {
		t.Errorf("the claims %v: %v", more, err)
	}
	if claims.Subject != x.app.GetName() || more["oauth_client"] != x.oauthClient.GetName() || more["subscription"] != x.subscription.GetName() ||
		more["stage"] != "production" || more["scope"] != "default" || more["ref"] == "" || parsed.Headers[0].ExtraHeaders["typ"] != "tidegate-identity+jwt" {
		t.Errorf("the backend is told %v, want who %s is", more, x.app.GetName())
	}

	own, tokens := keyIn(t, data, "identity"), signingKey(t, data)
	identity, access := newForger(t, own, told), newForger(t, tokens, token)
	for name, credential := range map[string]string{
		"as it is":                           told,
		"for the gateways":                   identity.sign(t, own, identity.header, with(identity.claims, "aud", access.claims["aud"])),
		"by the key of tokens":               identity.sign(t, tokens, with(identity.header, "kid", access.header["kid"]), with(identity.claims, "aud", access.claims["aud"])),
		"as a token, by the key of this":     access.sign(t, own, with(access.header, "kid", identity.header["kid"]), access.claims),
		"a token of the type of this":        access.sign(t, tokens, with(access.header, "typ", "tidegate-identity+jwt"), access.claims),
		"of the type of a user's, by itself": identity.sign(t, own, with(identity.header, "typ", "tidegate-user+jwt"), identity.claims),
	} {
		for door, got := range s.doors(t, client, p, x, credential) {
			if got != "refused" {
				t.Errorf("%s: %s at the door of %s", name, got, door)
			}
		}
	}
}
