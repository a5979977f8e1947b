package portal_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// TestNodeReferee lets npm's oauth4webapi, a strict client, judge the OAuth2
// endpoints in front of tokens as the subscription service signs them.
func TestNodeReferee(t *testing.T) {
	node := needNode(t)
	s := start(t)
	tokens := newIssuer(t, s.url, "key:with/odd %chars", "secret+with&odd=chars%é")
	tokens.install(s.backend)
	cmd := exec.CommandContext(t.Context(), node, "referee.mjs")
	cmd.Dir = filepath.Join("testdata", "node")
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+s.ca.File, "ISSUER="+s.url, "CLIENT_ID="+tokens.id, "CLIENT_SECRET="+tokens.secret)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "ok\n" {
		t.Errorf("oauth4webapi: %v\n%s", err, out)
	}
}

// needNode returns Node, or skips the test; where TIDEGATE_REQUIRE_NODE is 1 it
// fails instead.
func needNode(t *testing.T) string {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("TIDEGATE_REQUIRE_NODE") == "1" {
		missing = t.Fatalf
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("node is not installed")
	}
	if _, err := os.Stat(filepath.Join("testdata", "node", "node_modules", "oauth4webapi")); err != nil {
		missing("oauth4webapi is not installed: run npm ci --prefix services/portal/testdata/node")
	}
	return node
}

// issuer issues tokens of one client, RFC 9068, as the subscription service
// does.
type issuer struct {
	url, id, secret string
	key             *ecdsa.PrivateKey
	kid             string
	signer          jose.Signer

	mu      sync.Mutex
	revoked map[string]bool
}

// accessClaims are the claims of an application's token.
type accessClaims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

func newIssuer(t *testing.T, url, id, secret string) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	thumb, err := (&jose.JSONWebKey{Key: &key.PublicKey}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	kid := base64.RawURLEncoding.EncodeToString(thumb)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{url: url, id: id, secret: secret, key: key, kid: kid, signer: signer, revoked: map[string]bool{}}
}

// install makes b answer as the issuer.
func (i *issuer) install(b *backend) {
	b.on(oauth2v1.OAuth2Service_GetJsonWebKeySet_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		key, err := identity.JSONWebKey(i.kid, &i.key.PublicKey)
		if err != nil {
			return nil, err
		}
		return &oauth2v1.JsonWebKeySet{Issuer: i.url, Keys: []*oauth2v1.JsonWebKey{key}}, nil
	})
	b.on(oauth2v1.OAuth2Service_IssueToken_FullMethodName, func(_ context.Context, m proto.Message) (proto.Message, error) {
		req, _ := m.(*oauth2v1.IssueTokenRequest)
		if err := i.check(req.GetClientCredentials()); err != nil {
			return nil, err
		}
		if req.GetScope() != "default" {
			return nil, fault.WithReason(fault.Invalid("scope", "is not known"), "INVALID_SCOPE")
		}
		return i.issue()
	})
	b.on(oauth2v1.OAuth2Service_RevokeToken_FullMethodName, func(_ context.Context, m proto.Message) (proto.Message, error) {
		req, _ := m.(*oauth2v1.RevokeTokenRequest)
		i.mu.Lock()
		defer i.mu.Unlock()
		i.revoked[req.GetToken()] = true
		return &emptypb.Empty{}, i.check(req.GetClientCredentials())
	})
	b.on(oauth2v1.OAuth2Service_IntrospectToken_FullMethodName, func(_ context.Context, m proto.Message) (proto.Message, error) {
		req, _ := m.(*oauth2v1.IntrospectTokenRequest)
		if err := i.check(req.GetClientCredentials()); err != nil {
			return nil, err
		}
		return i.introspect(req.GetToken())
	})
}

func (i *issuer) check(c *oauth2v1.ClientCredentials) error {
	if c.GetClientId() != i.id || c.GetClientSecret() != i.secret {
		return fault.WithReason(fault.Unauthenticated("the client is not known, or its secret is wrong"), "INVALID_CLIENT")
	}
	return nil
}

func (i *issuer) issue() (proto.Message, error) {
	now := time.Now()
	token, err := jwt.Signed(i.signer).Claims(accessClaims{
		Claims: jwt.Claims{
			Issuer: i.url, Subject: i.id, Audience: jwt.Audience{i.url + "/gateway"}, ID: rand.Text(),
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Hour)),
		},
		ClientID: i.id, Scope: "default",
	}).Serialize()
	if err != nil {
		return nil, err
	}
	return &oauth2v1.IssueTokenResponse{AccessToken: token, TokenType: "Bearer", ExpiresIn: 3600, Scope: "default"}, nil
}

func (i *issuer) introspect(token string) (proto.Message, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || i.revoked[token] {
		return &oauth2v1.IntrospectTokenResponse{}, nil //nolint:nilerr // what is no token is not active
	}
	var c accessClaims
	if err := parsed.Claims(&i.key.PublicKey, &c); err != nil {
		return nil, err
	}
	return &oauth2v1.IntrospectTokenResponse{
		Active: true, Scope: c.Scope, ClientId: c.ClientID, Subject: c.Subject, Audience: c.Audience, Issuer: c.Issuer, TokenId: c.ID,
		ExpireTime: timestamppb.New(c.Expiry.Time()), IssueTime: timestamppb.New(c.IssuedAt.Time()),
	}, nil
}
