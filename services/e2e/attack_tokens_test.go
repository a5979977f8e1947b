package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// forger makes tokens from a good one. It has the key of the installation, so that
// each forgery is wrong in one thing only.
type forger struct {
	header, claims map[string]any
	key, foreign   *ecdsa.PrivateKey
}

// signingKey reads the key that a server signs tokens with from its data folder.
func signingKey(t *testing.T, data string) *ecdsa.PrivateKey {
	t.Helper()
	return keyIn(t, data, "signing")
}

// keyIn reads a key of a purpose from the data folder of a server.
func keyIn(t *testing.T, data, purpose string) *ecdsa.PrivateKey {
	t.Helper()
	master, err := seal.Load(filepath.Join(data, "master-key"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(data, "subscription.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var kid string
	var sealed []byte
	if err := db.QueryRowContext(t.Context(), `SELECT id, sealed FROM `+purpose+`_key`).Scan(&kid, &sealed); err != nil {
		t.Fatal(err)
	}
	plain, err := master.Open(sealed, []byte("subscription "+purpose+" key "+kid))
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PrivateKey)
}

// newForger takes a good token apart.
func newForger(t *testing.T, key *ecdsa.PrivateKey, good string) *forger {
	t.Helper()
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{key: key, foreign: foreign, header: map[string]any{}, claims: map[string]any{}}
	for i, part := range []*map[string]any{&f.header, &f.claims} {
		text, err := base64.RawURLEncoding.DecodeString(strings.Split(good, ".")[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, part); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func encode(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// with returns a copy of m with a member set, or without it where the value is nil.
func with(m map[string]any, name string, value any) map[string]any {
	m = maps.Clone(m)
	m[name] = value
	if value == nil {
		delete(m, name)
	}
	return m
}

// sign signs a token with ES256, whatever its header says.
func (f *forger) sign(t *testing.T, key *ecdsa.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	text := encode(t, header) + "." + encode(t, claims)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// good is a token that nothing is wrong with.
func (f *forger) good(t *testing.T) string { return f.sign(t, f.key, f.header, f.claims) }

// mac signs a token with HS256 and something that everybody knows.
func (f *forger) mac(t *testing.T, secret []byte) string {
	t.Helper()
	text := encode(t, with(f.header, "alg", "HS256")) + "." + encode(t, f.claims)
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// headers are forgeries by what the header says.
func (f *forger) headers(t *testing.T) map[string]string {
	t.Helper()
	h, c := f.header, f.claims
	forged := map[string]string{}
	body := encode(t, c)
	for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
		head := encode(t, with(h, "alg", alg))
		forged["alg "+alg+", no signature"] = head + "." + body + "."
		forged["alg "+alg+", two parts"] = head + "." + body
		forged["alg "+alg+", a signature"] = f.sign(t, f.key, with(h, "alg", alg), c)
	}
	for _, alg := range []string{"HS256", "ES384", "RS256", "PS256", "EdDSA", "es256"} {
		forged["alg "+alg] = f.sign(t, f.key, with(h, "alg", alg), c)
	}
	own, err := (&jose.JSONWebKey{Key: &f.foreign.PublicKey}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	ownKid := base64.RawURLEncoding.EncodeToString(own)
	jwk := jose.JSONWebKey{Key: &f.foreign.PublicKey, KeyID: ownKid, Algorithm: "ES256", Use: "sig"}
	foreign := with(h, "kid", ownKid)
	for name, header := range map[string]map[string]any{
		"another's key by our kid":         h,
		"another's key by its kid":         foreign,
		"another's key, no kid":            with(h, "kid", nil),
		"another's key, empty kid":         with(h, "kid", ""),
		"another's key in the header":      with(foreign, "jwk", jwk),
		"our kid, another's in the header": with(h, "jwk", jwk),
		"a URL of keys":                    with(foreign, "jku", "http://127.0.0.1:1/keys"),
		"a URL of a certificate":           with(foreign, "x5u", "http://127.0.0.1:1/cert"),
		"a certificate":                    with(foreign, "x5c", []string{"AAAA"}),
		"a kid that is a path":             with(h, "kid", "../../../../dev/null"),
		"a kid that is SQL":                with(h, "kid", "' OR '1'='1"),
		"a kid that is long":               with(h, "kid", strings.Repeat("k", 4000)),
	} {
		forged[name] = f.sign(t, f.foreign, header, c)
	}
	for name, header := range map[string]map[string]any{
		"no kid":                      with(h, "kid", nil),
		"a kid that is no text":       with(h, "kid", []string{fmt.Sprint(h["kid"])}),
		"a critical header":           with(with(h, "crit", []string{"exp"}), "exp", 1),
		"a payload that is not coded": with(with(h, "crit", []string{"b64"}), "b64", false),
		"no typ":                      with(h, "typ", nil),
		"typ JWT":                     with(h, "typ", "JWT"),
		"typ of nothing":              with(h, "typ", ""),
		"typ that is no text":         with(h, "typ", []any{h["typ"]}),
	} {
		forged[name] = f.sign(t, f.key, header, c)
	}
	return forged
}

// secrets are forgeries with HS256 and the public key as the secret.
func (f *forger) secrets(t *testing.T) map[string]string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&f.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	point, err := f.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(jose.JSONWebKey{Key: &f.key.PublicKey, KeyID: fmt.Sprint(f.header["kid"]), Algorithm: "ES256", Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	forged := map[string]string{}
	for name, secret := range map[string][]byte{
		"DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "point": point, "JWK": jwk,
		"kid": []byte(fmt.Sprint(f.header["kid"])), "nothing": nil,
	} {
		forged["HS256 with the public key: "+name] = f.mac(t, secret)
	}
	return forged
}

// claimed are forgeries by their claims, with the right signature. other is the
// audience of the other kind of tokens.
func (f *forger) claimed(t *testing.T, other string) map[string]string {
	t.Helper()
	now, c := time.Now().Unix(), f.claims
	issuer := fmt.Sprint(c["iss"])
	forged := map[string]string{}
	for name, claims := range map[string]map[string]any{
		"no issuer":              with(c, "iss", nil),
		"an issuer below ours":   with(c, "iss", issuer+"/"),
		"an issuer like ours":    with(c, "iss", issuer+".example"),
		"issuers":                with(c, "iss", []string{issuer}),
		"no audience":            with(c, "aud", nil),
		"the other audience":     with(c, "aud", other),
		"the issuer as audience": with(c, "aud", issuer),
		"audiences of others":    with(c, "aud", []string{other, "https://another.example"}),
		"expired":                with(c, "exp", now-60),
		"no expiry":              with(c, "exp", nil),
		"expired long ago":       with(c, "exp", -1),
		"an expiry in words":     with(c, "exp", "tomorrow"),
		"not valid yet":          with(c, "nbf", now+60),
		"no subject":             with(with(c, "sub", nil), "client_id", nil),
		"no claims":              {},
	} {
		forged[name] = f.sign(t, f.key, f.header, claims)
	}
	return forged
}

// texts are forgeries by what stands around the parts of a good token.
func (f *forger) texts(t *testing.T) map[string]string {
	t.Helper()
	good := f.good(t)
	parts := strings.Split(good, ".")
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal([]*big.Int{new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])})
	if err != nil {
		t.Fatal(err)
	}
	head := parts[0] + "." + parts[1] + "."
	n := elliptic.P256().Params().N.FillBytes(make([]byte, 32))
	return map[string]string{
		"a byte more":             good + "A",
		"a dot more":              good + ".",
		"a part more":             good + ".AAAA",
		"an equals sign more":     good + "=",
		"a tilde more":            good + "~",
		"a byte less":             good[:len(good)-1],
		"parts in another order":  parts[1] + "." + parts[0] + "." + parts[2],
		"five parts":              good + ".AAAA.AAAA",
		"no signature":            head,
		"a signature of zeros":    head + base64.RawURLEncoding.EncodeToString(make([]byte, 64)),
		"a signature of orders":   head + base64.RawURLEncoding.EncodeToString(append(n, n...)),
		"a signature in DER":      head + base64.RawURLEncoding.EncodeToString(der),
		"a signature and a byte":  head + base64.RawURLEncoding.EncodeToString(append(signature, 0)),
		"Bearer twice":            "Bearer " + good,
		"two tokens":              good + "," + good,
		"in JSON":                 `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"the claims of another's": parts[0] + "." + encode(t, with(f.claims, "jti", "another")) + "." + parts[2],
	}
}

// all are all forgeries.
func (f *forger) all(t *testing.T, other string) map[string]string {
	t.Helper()
	all := f.headers(t)
	for _, more := range []map[string]string{f.secrets(t), f.claimed(t, other), f.texts(t)} {
		maps.Copy(all, more)
	}
	return all
}

// TestForgedTokens shows tokens that are wrong in one thing to everything that
// takes tokens. They are made with the installation's own key, which is the most
// that a forger could have, and without it.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	data := newData(t)
	s := start(t, data, append(quick(), "-no-sample")...)
	p := s.admin(t)
	x := p.publish(t, "Forged", newBackend(t))
	application := p.accessToken(t, x)
	key, client := signingKey(t, data), s.http(t)
	users, applications := newForger(t, key, p.token), newForger(t, key, application)
	issuer := fmt.Sprint(users.claims["iss"])
	for name, good := range map[string]string{"users": users.good(t), "applications": applications.good(t)} {
		if got := s.doors(t, client, p, x, good); got[name] != "taken" {
			t.Fatalf("a good token of %s is %v", name, got)
		}
	}
	forged := map[string]string{"a user's token": p.token, "an application's token": application}
	for name, token := range users.all(t, identity.GatewayAudience(issuer)) {
		forged["user, "+name] = token
	}
	for name, token := range applications.all(t, identity.ControlAudience(issuer)) {
		forged["application, "+name] = token
	}
	for name, token := range forged {
		for door, got := range s.doors(t, client, p, x, token) {
			if own := map[string]string{"users": "a user's token", "applications": "an application's token"}; got != "refused" && own[door] != name {
				t.Errorf("%s: %s at the door of %s, want it refused: %s", name, got, door, token)
			}
		}
	}
}

// doors shows a token to all that take tokens: gRPC and REST, the gateway and
// introspection. What they say must agree.
func (s *server) doors(t *testing.T, client *http.Client, p *user, x *product, token string) map[string]string {
	t.Helper()
	as := *p
	as.token = token
	said := map[string]string{"users": "taken", "applications": "taken"}
	_, err := as.users.GetUser(as.ctx(t), &identityv1.GetUserRequest{Name: "users/me"})
	if status.Code(err) == codes.Unauthenticated {
		said["users"] = "refused"
	} else if err != nil {
		t.Errorf("GetUser with %.60q: %v, want UNAUTHENTICATED", token, err)
	}
	if got := s.getMe(t, client, token); (got == http.StatusUnauthorized) != (said["users"] == "refused") {
		t.Errorf("%.60q is %s over gRPC, and answered %d over REST", token, said["users"], got)
	}
	header, query := s.refused(t, s.WS+x.path, token), s.refused(t, s.WS+x.path+"?access_token="+url.QueryEscape(token), "")
	if header == http.StatusUnauthorized {
		said["applications"] = "refused"
	}
	introspected, err := p.oauth.IntrospectToken(within(t), &oauth2v1.IntrospectTokenRequest{Token: token, ClientCredentials: credentialsOf(x)})
	if err != nil || introspected.GetActive() != (said["applications"] == "taken") || header != query {
		t.Errorf("%.60q is answered %d in the header, %d in the query, and introspection says %v, %v", token, header, query, introspected, err)
	}
	return said
}

// getMe returns the status of GET /v1/users/me.
func (s *server) getMe(t *testing.T, client *http.Client, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), http.MethodGet, s.Portal+"/v1/users/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}
