package identity_test

import (
	"context"
	"crypto/ecdsa"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// remote is a subscription service.
type remote struct {
	oauth2v1.OAuth2ServiceClient
	keys []*oauth2v1.SigningKey
	err  error
}

func (r *remote) GetSigningKeys(context.Context, *oauth2v1.GetSigningKeysRequest, ...grpc.CallOption) (*oauth2v1.SigningKeys, error) {
	if r.err != nil {
		return nil, r.err
	}
	return &oauth2v1.SigningKeys{Issuer: issuer, Keys: r.keys}, nil
}

func signingKey(t *testing.T, kid string, key *ecdsa.PublicKey) *oauth2v1.SigningKey {
	t.Helper()
	point, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return &oauth2v1.SigningKey{Kid: kid, X: point[1:33], Y: point[33:]}
}

func TestRemoteKeySet(t *testing.T) {
	k := newKeyring(t, "k1", "k2")
	one, two := &k.keys["k1"].PublicKey, &k.keys["k2"].PublicKey
	r := &remote{keys: []*oauth2v1.SigningKey{signingKey(t, "k1", one), signingKey(t, "k2", two)}}
	set, err := identity.RemoteKeySet(r)(t.Context())
	if err != nil || set.Issuer != issuer || len(set.Keys) != 2 || !one.Equal(set.Keys["k1"]) || !two.Equal(set.Keys["k2"]) {
		t.Errorf("RemoteKeySet = %v, %v, want %s with both keys", set, err, issuer)
	}
	r.err = status.Error(codes.Unavailable, "down")
	if _, err := identity.RemoteKeySet(r)(t.Context()); !fault.Is(err, codes.Unavailable) {
		t.Errorf("RemoteKeySet = %v, want the service's error", err)
	}
}

func TestBadKeyIsRefused(t *testing.T) {
	one := signingKey(t, "k1", &newKeyring(t, "k1").keys["k1"].PublicKey)
	for _, bad := range []*oauth2v1.SigningKey{
		{Kid: "short", X: one.GetX()[1:], Y: one.GetY()},
		{Kid: "off the curve", X: one.GetX(), Y: one.GetX()},
	} {
		if _, err := identity.RemoteKeySet(&remote{keys: []*oauth2v1.SigningKey{bad}})(t.Context()); err == nil {
			t.Errorf("RemoteKeySet with a key that is %s = nil error, want a refusal", bad.GetKid())
		}
	}
}
