// Package identitytest issues users' tokens in tests, as the subscription service
// does otherwise.
package identitytest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// issuer is the issuer of all test tokens.
const issuer = "https://issuer.test"

// Signer signs tokens with a key of its own, and serves it as OAuth2Service does
// (GetJsonWebKeySet alone).
type Signer struct {
	oauth2v1.UnimplementedOAuth2ServiceServer

	t   testing.TB
	kid string
	key *ecdsa.PrivateKey
}

var _ oauth2v1.OAuth2ServiceServer = (*Signer)(nil)

// New returns a signer.
func New(t testing.TB) *Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("make signing key: %v", err)
	}
	thumb, err := (&jose.JSONWebKey{Key: &key.PublicKey}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatalf("name signing key: %v", err)
	}
	return &Signer{t: t, kid: base64.RawURLEncoding.EncodeToString(thumb), key: key}
}

// Verifier returns a verifier of the signer's tokens.
func (s *Signer) Verifier() *identity.Verifier {
	set := identity.KeySet{Issuer: issuer, Keys: map[string]*ecdsa.PublicKey{s.kid: &s.key.PublicKey}}
	return identity.NewVerifier(identity.NewKeys(func(context.Context) (identity.KeySet, error) { return set, nil }, time.Now), nil, time.Now)
}

// Token returns a token of users/{id}, whose username is the id too, that is valid for 15 minutes.
func (s *Signer) Token(id string, roles ...string) string {
	s.t.Helper()
	now := time.Now()
	return s.Sign(identity.UserType, identity.UserClaims{
		Claims: jwt.Claims{
			Issuer:   issuer,
			Subject:  "users/" + id,
			Audience: jwt.Audience{identity.ControlAudience(issuer)},
			IssuedAt: jwt.NewNumericDate(now),
			Expiry:   jwt.NewNumericDate(now.Add(15 * time.Minute)),
			ID:       rand.Text(),
		},
		Username: id, Roles: roles,
	})
}

// Sign returns a token of any type with any claims.
func (s *Signer) Sign(typ jose.ContentType, claims any) string {
	s.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.key, KeyID: s.kid},
	}, (&jose.SignerOptions{}).WithType(typ))
	if err != nil {
		s.t.Fatalf("make signer: %v", err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		s.t.Fatalf("sign token: %v", err)
	}
	return token
}

// GetJsonWebKeySet returns the signer's public key as the subscription service
// does.
func (s *Signer) GetJsonWebKeySet(context.Context, *oauth2v1.GetJsonWebKeySetRequest) (*oauth2v1.JsonWebKeySet, error) {
	key, err := identity.JSONWebKey(s.kid, &s.key.PublicKey)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &oauth2v1.JsonWebKeySet{Issuer: issuer, Keys: []*oauth2v1.JsonWebKey{key}}, nil
}

// Bearer sends a user's token with a call.
func Bearer(token string) grpc.CallOption {
	return grpc.PerRPCCredentials(bearer(token))
}

type bearer string

// GetRequestMetadata returns the metadata that carries the token.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity returns false: tests use memory and loopback.
func (b bearer) RequireTransportSecurity() bool { return false }
