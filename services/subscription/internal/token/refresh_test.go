package token_test

import (
	"encoding/base64"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/madesecret"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// TestRefreshTokenIsMadeAgain makes the same token twice, and reads it.
func TestRefreshTokenIsMadeAgain(t *testing.T) {
	key, signIn := token.NewRefreshKey(), id.New()
	for _, generation := range []uint32{0, 1, 1<<32 - 1} {
		made := token.NewRefreshTokens(key).Make(signIn, generation)
		if again := token.NewRefreshTokens(key).Make(signIn, generation); again != made || !madesecret.Recognized(made) {
			t.Errorf("Make(%d) = %s and %s, want the same, in the form of made secrets", generation, made, again)
		}
		gotSignIn, gotGeneration, ok := token.NewRefreshTokens(key).Read(made)
		if gotSignIn != signIn || gotGeneration != generation || !ok {
			t.Errorf("Read(%s) = %s, %d, %v, want %s, %d", made, gotSignIn, gotGeneration, ok, signIn, generation)
		}
	}
}

// TestMadeUpRefreshTokenIsRefused refuses tokens that were not made with the key. Read
// has no database, so none is asked.
func TestMadeUpRefreshTokenIsRefused(t *testing.T) {
	tokens, signIn := token.NewRefreshTokens(token.NewRefreshKey()), id.New()
	good := tokens.Make(signIn, 3)
	body, _ := madesecret.Body(madesecret.RefreshToken, good)
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	remade := func(raw []byte) string {
		return madesecret.Make(madesecret.RefreshToken, base64.RawURLEncoding.EncodeToString(raw))
	}
	mistyped := []byte(good)
	mistyped[20] = map[bool]byte{true: 'B', false: 'A'}[good[20] == 'A']
	bad := map[string]string{
		"nothing":             "",
		"another key's":       token.NewRefreshTokens(token.NewRefreshKey()).Make(signIn, 3),
		"an OAuth client's":   madesecret.Make(madesecret.ClientSecret, body),
		"mistyped":            string(mistyped),
		"a shorter one":       remade(raw[:len(raw)-1]),
		"a longer one":        remade(append(raw, 0)),
		"one that is no text": madesecret.Make(madesecret.RefreshToken, body[:len(body)-3]),
	}
	for i := range raw {
		changed := []byte(string(raw))
		changed[i] ^= 1
		bad["changed at "+string(rune('a'+i))] = remade(changed)
	}
	for name, secret := range bad {
		if got, _, ok := tokens.Read(secret); ok {
			t.Errorf("%s: Read(%q) = %s, want it refused", name, secret, got)
		}
	}
}
