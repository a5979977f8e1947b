package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"fmt"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
)

// coordinate is the size in bytes of a coordinate of a point on P-256.
const coordinate = 32

// JSONWebKey returns a key on P-256, which signs with ES256, as a member of a
// JWK set (RFC 7518 section 6.2.1).
func JSONWebKey(kid string, key *ecdsa.PublicKey) (*oauth2v1.JsonWebKey, error) {
	point, err := key.Bytes() // 4 for "uncompressed", then both coordinates
	if err != nil {
		return nil, fmt.Errorf("encode key %s: %w", kid, err)
	}
	return &oauth2v1.JsonWebKey{
		Kty: "EC", Crv: "P-256", Alg: "ES256", Use: "sig", Kid: kid,
		X: base64.RawURLEncoding.EncodeToString(point[1 : 1+coordinate]),
		Y: base64.RawURLEncoding.EncodeToString(point[1+coordinate:]),
	}, nil
}

// parseKey returns the key after checking that it is a point of the curve, and
// nil for a key that does not sign with ES256.
func parseKey(k *oauth2v1.JsonWebKey) (*ecdsa.PublicKey, error) {
	if k.GetKty() != "EC" || k.GetCrv() != "P-256" || k.GetAlg() != "ES256" || k.GetUse() != "sig" {
		return nil, nil
	}
	x, errX := base64.RawURLEncoding.DecodeString(k.GetX())
	y, errY := base64.RawURLEncoding.DecodeString(k.GetY())
	if errX != nil || errY != nil || len(x) != coordinate || len(y) != coordinate {
		return nil, fmt.Errorf("its coordinates must be %d bytes each, in base64url", coordinate)
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
}
