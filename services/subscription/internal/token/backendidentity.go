package token

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// BackendIdentityLifetime is how long a backend identity is valid: long enough for clocks
// that differ and a slow handshake, too short to be of use to whoever finds one.
const BackendIdentityLifetime = 5 * time.Minute

// BackendIdentity is what a backend is told about a client.
type BackendIdentity struct {
	// Version is whose backend it is for, a resource name: the claim aud.
	Version string
	// Application is the claim sub, a resource name; "" where the version asks for no
	// credential. Then all that follows is empty but Ref.
	Application string
	// OAuthClient or APIKey, and Subscription, are resource names, "" for none.
	OAuthClient, APIKey, Subscription string
	// Stage is production or sandbox.
	Stage string
	// Scopes are those of an access token.
	Scopes []string
	// Ref is that of the session; "" for what has none.
	Ref string
}

// identityClaims are the claims of a backend identity in addition to the registered ones.
type identityClaims struct {
	OAuthClient  string `json:"oauth_client,omitempty"`
	APIKey       string `json:"api_key,omitempty"`
	Subscription string `json:"subscription,omitempty"`
	Stage        string `json:"stage,omitempty"`
	Scope        string `json:"scope,omitempty"`
	Ref          string `json:"ref,omitempty"`
}

// BackendIdentities signs what backends are told about clients. Its keys are its own: who
// checks what they sign trusts no access token by that, and the other way round.
type BackendIdentities struct {
	url  string
	keys *Keys
	now  func() time.Time
}

// NewBackendIdentities returns the signer of an issuer, with keys for that alone.
func NewBackendIdentities(url string, keys *Keys, now func() time.Time) *BackendIdentities {
	return &BackendIdentities{url: url, keys: keys, now: now}
}

// Sign signs a backend identity, and returns when it expires.
func (b *BackendIdentities) Sign(of BackendIdentity) (raw string, expires time.Time, err error) {
	key, err := b.keys.active()
	if err != nil {
		return "", time.Time{}, err
	}
	issued := b.now().Truncate(time.Second)
	expires = issued.Add(BackendIdentityLifetime)
	raw, err = jwt.Signed(key.signers[identity.BackendIdentityType]).Claims(jwt.Claims{
		Issuer: b.url, Subject: of.Application, Audience: jwt.Audience{of.Version},
		Expiry: jwt.NewNumericDate(expires), IssuedAt: jwt.NewNumericDate(issued), ID: id.New(),
	}).Claims(identityClaims{
		OAuthClient: of.OAuthClient, APIKey: of.APIKey, Subscription: of.Subscription, Stage: of.Stage, Scope: strings.Join(of.Scopes, " "), Ref: of.Ref,
	}).Serialize()
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign a backend identity: %w", err)
	}
	return raw, expires, nil
}
