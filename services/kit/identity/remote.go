package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
)

// RemoteKeySet returns a source of Keys: what the subscription service answers.
func RemoteKeySet(client oauth2v1.OAuth2ServiceClient) func(context.Context) (KeySet, error) {
	return func(ctx context.Context) (KeySet, error) {
		answer, err := client.GetSigningKeys(ctx, &oauth2v1.GetSigningKeysRequest{})
		if err != nil {
			return KeySet{}, err
		}
		set := KeySet{Issuer: answer.GetIssuer(), Keys: map[string]*ecdsa.PublicKey{}}
		for _, k := range answer.GetKeys() {
			key, err := parseKey(k)
			if err != nil {
				return KeySet{}, fmt.Errorf("key %q: %w", k.GetKid(), err)
			}
			set.Keys[k.GetKid()] = key
		}
		return set, nil
	}
}

// parseKey returns the key after checking that it is a point of the curve.
func parseKey(k *oauth2v1.SigningKey) (*ecdsa.PublicKey, error) {
	const size = 32
	if len(k.GetX()) != size || len(k.GetY()) != size {
		return nil, fmt.Errorf("its coordinates have %d and %d bytes, not %d", len(k.GetX()), len(k.GetY()), size)
	}
	point := append([]byte{4}, k.GetX()...)
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(point, k.GetY()...))
}
