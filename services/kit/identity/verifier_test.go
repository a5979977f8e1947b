package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const issuer = "https://tide.example"

// keyring is a set of keys that counts how often it is read.
type keyring struct {
	mu    sync.Mutex
	keys  map[string]*ecdsa.PrivateKey
	reads int
	err   error
	slow  time.Duration
}

func newKeyring(t *testing.T, kids ...string) *keyring {
	t.Helper()
	k := &keyring{keys: map[string]*ecdsa.PrivateKey{}}
	for _, kid := range kids {
		k.add(t, kid)
	}
	return k
}

func (k *keyring) add(t *testing.T, kid string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[kid] = key
}

func (k *keyring) remove(kid string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, kid)
}

// answer sets how a reading ends and how long it takes.
func (k *keyring) answer(err error, slow time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err, k.slow = err, slow
}

// read is a source of identity.Keys.
func (k *keyring) read(ctx context.Context) (identity.KeySet, error) {
	k.mu.Lock()
	k.reads++
	slow := k.slow
	k.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return identity.KeySet{}, ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return identity.KeySet{}, k.err
	}
	set := identity.KeySet{Issuer: issuer, Keys: map[string]*ecdsa.PublicKey{}}
	for kid, key := range k.keys {
		set.Keys[kid] = &key.PublicKey
	}
	return set, nil
}

// count returns the number of readings since the last count.
func (k *keyring) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.reads
	k.reads = 0
	return n
}

// token is a user's token that a test changes before it is signed.
type token struct {
	kid, typ string
	claims   identity.UserClaims
	signer   *ecdsa.PrivateKey
}

// sign returns a token, good unless it was changed.
func (k *keyring) sign(t *testing.T, kid string, change func(*token)) string {
	t.Helper()
	now := time.Now()
	k.mu.Lock()
	tok := token{kid: kid, typ: identity.UserType, signer: k.keys[kid], claims: identity.UserClaims{
		Claims: jwt.Claims{
			Issuer: issuer, Subject: "users/ada", Audience: jwt.Audience{identity.ControlAudience(issuer)},
			Expiry: jwt.NewNumericDate(now.Add(15 * time.Minute)), IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now),
		},
		Roles: []string{identity.RoleCreator},
	}}
	k.mu.Unlock()
	if change != nil {
		change(&tok)
	}
	sig, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: tok.signer, KeyID: tok.kid}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(tok.typ)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(sig).Claims(tok.claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func newVerifier(k *keyring) *identity.Verifier {
	return identity.NewVerifier(identity.NewKeys(k.read, time.Now), nil, time.Now)
}

func TestVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyring(t, "k1", "k2")
		v := newVerifier(k)
		at := func(d time.Duration) *jwt.NumericDate { return jwt.NewNumericDate(time.Now().Add(d)) }
		for _, tt := range []struct {
			name   string
			change func(*token)
			want   string
		}{
			{"good", nil, ""},
			{"the other key", func(x *token) { x.kid, x.signer = "k2", k.keys["k2"] }, ""},
			{"just expired", func(x *token) { x.claims.Expiry = at(-4 * time.Second) }, ""},
			{"expired", func(x *token) { x.claims.Expiry = at(-6 * time.Second) }, "the token has expired"},
			{"almost valid", func(x *token) { x.claims.NotBefore = at(4 * time.Second) }, ""},
			{"not valid yet", func(x *token) { x.claims.NotBefore = at(6 * time.Second) }, "the token is not valid yet"},
			{"no expiry", func(x *token) { x.claims.Expiry = nil }, "the token lacks a claim"},
			{"other issuer", func(x *token) { x.claims.Issuer = "https://evil.example" }, "the token has another issuer"},
			{"no issuer", func(x *token) { x.claims.Issuer = "" }, "the token has another issuer"},
			{"other audience", func(x *token) { x.claims.Audience = jwt.Audience{identity.GatewayAudience(issuer)} }, "the token is for another audience"},
			{"no audience", func(x *token) { x.claims.Audience = nil }, "the token is for another audience"},
			{"no subject", func(x *token) { x.claims.Subject = "" }, "the token lacks a claim"},
			{"a subject that is no user", func(x *token) { x.claims.Subject = "applications/1" }, "the token lacks a claim"},
			{"application", func(x *token) { x.typ = identity.ApplicationType }, "an application's token is not accepted here: sign in as a user"},
			{"plain JWT", func(x *token) { x.typ = "JWT" }, "the token is not a user's access token"},
			{"wrong signature", func(x *token) { x.signer = k.keys["k2"] }, "the token's signature is wrong"},
			{"unknown key", func(x *token) { x.kid = "k9" }, "the token is signed with an unknown key"},
			{"no kid", func(x *token) { x.kid = "" }, "the token is signed with an unknown key"},
			{"long kid", func(x *token) { x.kid = strings.Repeat("k", 200) }, "the token is signed with an unknown key"},
		} {
			p, err := v.Verify(t.Context(), k.sign(t, "k1", tt.change))
			if tt.want == "" {
				if err != nil || p.Name != "users/ada" || !slices.Equal(p.Roles, []string{"creator"}) {
					t.Errorf("%s: Verify = %v, %v, want ada", tt.name, p, err)
				}
				continue
			}
			refused(t, tt.name, p, err, tt.want)
		}
	})
}

func refused(t *testing.T, name string, p identity.User, err error, want string) {
	t.Helper()
	if p.Name != "" || !fault.Is(err, codes.Unauthenticated) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%s: Verify = %v, %v, want UNAUTHENTICATED %q", name, p, err, want)
	}
}

func TestVerifyRefusesNonsense(t *testing.T) {
	k := newKeyring(t, "k1")
	v := newVerifier(k)
	good := k.sign(t, "k1", nil)
	parts := strings.Split(good, ".")
	none := "eyJhbGciOiJub25lIiwidHlwIjoidGlkZWdhdGUtcGVyc29uK2p3dCIsImtpZCI6ImsxIn0." + parts[1] + "."
	for _, text := range []string{"", "x", "a.b.c", none, parts[0] + "." + parts[1], good + ".x", "tgcs_abc"} {
		p, err := v.Verify(t.Context(), text)
		refused(t, text, p, err, "the token is not a user's access token")
	}
	p, err := v.Verify(t.Context(), parts[0]+"."+parts[1]+"."+strings.Repeat("A", 86))
	refused(t, "another signature", p, err, "the token's signature is wrong")
	p, err = v.Verify(t.Context(), strings.Repeat("x", 10_000))
	refused(t, "long", p, err, "the token is too long")
	p, err = (*identity.Verifier)(nil).Verify(t.Context(), good)
	refused(t, "no verifier", p, err, "tokens are not accepted here")
	_, err = v.Verify(t.Context(), k.sign(t, "k1", func(x *token) { x.claims.Expiry = jwt.NewNumericDate(time.Now().Add(-time.Hour)) }))
	if got := fault.Reason(err); got != "TOKEN_EXPIRED" {
		t.Errorf("reason of an expired token = %q, want TOKEN_EXPIRED", got)
	}
}

// An installation whose issuer is not fixed yet has no tokens.
func TestVerifyNeedsAnIssuer(t *testing.T) {
	k := newKeyring(t, "k1")
	v := identity.NewVerifier(identity.NewKeys(func(ctx context.Context) (identity.KeySet, error) {
		set, err := k.read(ctx)
		set.Issuer = ""
		return set, err
	}, time.Now), nil, time.Now)
	text := k.sign(t, "k1", func(x *token) {
		x.claims.Issuer, x.claims.Audience = "", jwt.Audience{identity.ControlAudience("")}
	})
	if p, err := v.Verify(t.Context(), text); !fault.Is(err, codes.Unauthenticated) {
		t.Errorf("Verify = %v, %v, want UNAUTHENTICATED", p, err)
	}
}
