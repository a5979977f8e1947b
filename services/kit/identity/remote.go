package identity

import (
	"context"
	"crypto/ecdsa"
	"fmt"

	"google.golang.org/grpc"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
)

// RemoteKeySet returns a source of Keys: what the subscription service answers. While
// that is being connected, it waits as long as its context lasts. Keys of a kind that
// is not known here are skipped.
func RemoteKeySet(client oauth2v1.OAuth2ServiceClient) func(context.Context) (KeySet, error) {
	return func(ctx context.Context) (KeySet, error) {
		answer, err := client.GetJsonWebKeySet(ctx, &oauth2v1.GetJsonWebKeySetRequest{}, grpc.WaitForReady(true))
		if err != nil {
			return KeySet{}, err
		}
		set := KeySet{Issuer: answer.GetIssuer(), Keys: map[string]*ecdsa.PublicKey{}}
		for _, k := range answer.GetKeys() {
			key, err := parseKey(k)
			if err != nil {
				return KeySet{}, fmt.Errorf("key %q: %w", k.GetKid(), err)
			}
			if key != nil {
				set.Keys[k.GetKid()] = key
			}
		}
		return set, nil
	}
}
