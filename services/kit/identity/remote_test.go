package identity_test

import (
	"context"
	"crypto/ecdsa"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// remote is a subscription service.
type remote struct {
	oauth2v1.OAuth2ServiceClient
	keys []*oauth2v1.JsonWebKey
	err  error
}

func (r *remote) GetJsonWebKeySet(context.Context, *oauth2v1.GetJsonWebKeySetRequest, ...grpc.CallOption) (*oauth2v1.JsonWebKeySet, error) {
	if r.err != nil {
		return nil, r.err
	}
	return &oauth2v1.JsonWebKeySet{Issuer: issuer, Keys: r.keys}, nil
}

func signingKey(t *testing.T, kid string, key *ecdsa.PublicKey) *oauth2v1.JsonWebKey {
	t.Helper()
	k, err := identity.JSONWebKey(kid, key)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRemoteKeySet(t *testing.T) {
	k := newKeyring(t, "k1", "k2")
	one, two := &k.keys["k1"].PublicKey, &k.keys["k2"].PublicKey
	r := &remote{keys: []*oauth2v1.JsonWebKey{
		signingKey(t, "k1", one),
		{Kid: "rsa", Kty: "RSA", Use: "sig", Alg: "RS256", N: "AQAB", E: "AQAB"},
		{Kid: "other curve", Kty: "EC", Use: "sig", Alg: "ES384", Crv: "P-384", X: "AQ", Y: "AQ"},
		{Kid: "to encrypt with", Kty: "EC", Use: "enc", Alg: "ECDH-ES", Crv: "P-256", X: "AQ", Y: "AQ"},
		{Kid: "of a later release", Kty: "AKP", Alg: "ML-DSA-44"},
		signingKey(t, "k2", two),
	}}
	set, err := identity.RemoteKeySet(r)(t.Context())
	if err != nil || set.Issuer != issuer || len(set.Keys) != 2 || !one.Equal(set.Keys["k1"]) || !two.Equal(set.Keys["k2"]) {
		t.Errorf("RemoteKeySet = %v, %v, want %s with both keys that it knows", set, err, issuer)
	}
	r.err = status.Error(codes.Unavailable, "down")
	if _, err := identity.RemoteKeySet(r)(t.Context()); !fault.Is(err, codes.Unavailable) {
		t.Errorf("RemoteKeySet = %v, want the service's error", err)
	}
}

func TestBadKeyIsRefused(t *testing.T) {
	good := signingKey(t, "k1", &newKeyring(t, "k1").keys["k1"].PublicKey)
	for name, spoil := range map[string]func(*oauth2v1.JsonWebKey){
		"short":         func(k *oauth2v1.JsonWebKey) { k.X = k.GetX()[4:] },
		"not base64url": func(k *oauth2v1.JsonWebKey) { k.Y = "+" + k.GetY()[1:] },
		"off the curve": func(k *oauth2v1.JsonWebKey) { k.Y = k.GetX() },
	} {
		bad := proto.CloneOf(good)
		spoil(bad)
		if _, err := identity.RemoteKeySet(&remote{keys: []*oauth2v1.JsonWebKey{bad}})(t.Context()); err == nil {
			t.Errorf("RemoteKeySet with a key that is %s = nil error, want a refusal", name)
		}
	}
}
