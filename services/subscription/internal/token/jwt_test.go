package token_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

func header(t *testing.T, raw string) jose.Header {
	t.Helper()
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Headers[0]
}

// part decodes one part of a token.
func part(t *testing.T, raw string, n int) map[string]any {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[n])
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestApplicationTokenIsOfRFC9068 reads a token as a stranger would.
func TestApplicationTokenIsOfRFC9068(t *testing.T) {
	c := newClock()
	keys := newKeys(t, newStore(testdb.SQLite(t, store.Schema()), c.now), seal.New(), rotation(), c)
	raw, made, err := newIssuer(keys, c).SignApplication(token.ApplicationClaims{ClientID: "tgci_X", Scopes: []string{"default", "more"}})
	if err != nil {
		t.Fatal(err)
	}
	wantHead := map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": published(t, keys)[0]}
	if diff := cmp.Diff(wantHead, part(t, raw, 0)); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	now := float64(c.now().Unix())
	wantBody := map[string]any{
		"iss": issuerURL, "sub": "tgci_X", "aud": issuerURL + "/gateway", "client_id": "tgci_X",
		"iat": now, "exp": now + 3600, "jti": made.ID, "scope": "default more",
	}
	if diff := cmp.Diff(wantBody, part(t, raw, 1)); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

// TestTokenIsNarrowedToItsAudience: the audience is the address, and nothing but one
// address or all gateways is an audience of an application's token.
func TestTokenIsNarrowedToItsAudience(t *testing.T) {
	c := newClock()
	keys := newKeys(t, newStore(testdb.SQLite(t, store.Schema()), c.now), seal.New(), rotation(), c)
	issuer := newIssuer(keys, c)
	for resource, good := range map[string]bool{
		"": true, "wss://gw.test/echo": true, "ws://gw.test/echo/1.0.0": true,
		"https://gw.test/echo": false, issuerURL + "/control": false, "urn:x": false,
	} {
		raw, made, err := issuer.SignApplication(token.ApplicationClaims{ClientID: "tgci_X", Scopes: []string{"default"}, Resource: resource})
		if err != nil {
			t.Fatal(err)
		}
		want := resource
		if want == "" {
			want = issuerURL + "/gateway"
		}
		if got := part(t, raw, 1)["aud"]; got != want || issuer.AudienceOf(made) != want {
			t.Errorf("%q: aud = %v, AudienceOf = %q, want %q", resource, got, issuer.AudienceOf(made), want)
		}
		read, err := issuer.ReadApplication(t.Context(), raw)
		if good && (err != nil || read.Resource != resource) || !good && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%q: ReadApplication() = %+v, %v, want it good: %v", resource, read, err, good)
		}
	}
}

func TestUserTokenClaims(t *testing.T) {
	c := newClock()
	keys := newKeys(t, newStore(testdb.SQLite(t, store.Schema()), c.now), seal.New(), rotation(), c)
	raw, _, err := newIssuer(keys, c).SignUser(identity.User{Name: "users/p", Username: "pia", Roles: []string{"admin"}, SignIn: "s", AsOf: moment.Moment{Change: 7, Time: 9}}, c.now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	got := part(t, raw, 1)
	now := float64(c.now().Unix())
	want := map[string]any{
		"iss": issuerURL, "sub": "users/p", "aud": issuerURL + "/control", "iat": now, "exp": now + 900,
		"jti": got["jti"], "preferred_username": "pia", "roles": []any{"admin"}, "sid": "s", "tidegate_change": 7.0, "tidegate_change_time": 9.0,
	}
	if diff := cmp.Diff(want, got); diff != "" || got["jti"] == "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if typ := part(t, raw, 0)["typ"]; typ != "tidegate-user+jwt" {
		t.Errorf("typ = %v, want tidegate-user+jwt", typ)
	}
}

// TestUserTokenEndsWithItsSignIn signs a token shortly before the sign-in ends.
func TestUserTokenEndsWithItsSignIn(t *testing.T) {
	c := newClock()
	keys := newKeys(t, newStore(testdb.SQLite(t, store.Schema()), c.now), seal.New(), rotation(), c)
	ends := c.now().Add(time.Minute)
	raw, expires, err := newIssuer(keys, c).SignUser(identity.User{Name: "users/p"}, ends)
	if err != nil || !expires.Equal(ends) || part(t, raw, 1)["exp"] != float64(ends.Unix()) {
		t.Errorf("SignUser() = %v, %v, %v, want a token until %v", part(t, raw, 1), expires, err, ends)
	}
}

// TestReadApplication reads tokens that are bad in every way.
func TestReadApplication(t *testing.T) {
	c := newClock()
	master := seal.New()
	st := newStore(testdb.SQLite(t, store.Schema()), c.now)
	keys := newKeys(t, st, master, rotation(), c)
	issuer := newIssuer(keys, c)
	good := issue(t, issuer)
	parts := strings.Split(good, ".")
	foreignKeys := newKeys(t, newStore(testdb.SQLite(t, store.Schema()), c.now), seal.New(), rotation(), c)
	lives := token.Lifetimes{Application: time.Hour, User: time.Minute}
	elsewhere := token.NewIssuer("https://elsewhere.test", keys, lives, c.now)
	user, _, err := issuer.SignUser(identity.User{Name: "users/p"}, c.now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`))
	hmac := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"at+jwt","kid":"` + published(t, keys)[0] + `"}`))
	body := part(t, good, 1)
	body["client_id"] = "tgci_OTHER"
	changed, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"empty":             "",
		"all zero UUID":     "00000000-0000-0000-0000-000000000000",
		"not a JWT":         "a.b.c",
		"two parts":         parts[0] + "." + parts[1],
		"no signature":      parts[0] + "." + parts[1] + ".",
		"alg none":          none + "." + parts[1] + ".",
		"alg HS256":         hmac + "." + parts[1] + "." + parts[2],
		"changed claims":    parts[0] + "." + base64.RawURLEncoding.EncodeToString(changed) + "." + parts[2],
		"another's key":     issue(t, newIssuer(foreignKeys, c)),
		"another issuer":    issue(t, elsewhere),
		"a user's token":    user,
		"too long":          good + strings.Repeat("A", 9000),
		"JSON form":         `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"with space around": " " + good,
	} {
		if got, err := issuer.ReadApplication(t.Context(), raw); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: ReadApplication() = %v, %v, want ErrInvalid", name, got, err)
		}
	}
	got, err := issuer.ReadApplication(t.Context(), good)
	if err != nil || got.ClientID != "tgci_TEST" || !slices.Equal(got.Scopes, []string{"default"}) {
		t.Errorf("ReadApplication(good) = %v, %v", got, err)
	}
	c.add(time.Hour - time.Second)
	if _, err := issuer.ReadApplication(t.Context(), good); err != nil {
		t.Errorf("ReadApplication(a second before its end) = %v, want it good", err)
	}
	c.add(time.Second)
	if got, err := issuer.ReadApplication(t.Context(), good); !errors.Is(err, token.ErrExpired) || got.ClientID != "tgci_TEST" {
		t.Errorf("ReadApplication(at its end) = %v, %v, want ErrExpired and what it said", got, err)
	}
}
