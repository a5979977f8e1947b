package madesecret_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegatehq/tidegate/services/kit/madesecret"
)

// body has every character that a body may have.
const body = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func TestSecretIsRecognized(t *testing.T) {
	for _, kind := range []madesecret.Kind{madesecret.ClientSecret, madesecret.RefreshToken, "tgzz_"} {
		for _, body := range []string{body[:16], body} {
			secret := madesecret.Make(kind, body)
			if got, ok := madesecret.Body(kind, secret); got != body || !ok {
				t.Errorf("Body(%q) = %q, %v, want %q", secret, got, ok, body)
			}
			if !madesecret.Recognized(secret) {
				t.Errorf("Recognized(%q) = false", secret)
			}
		}
	}
	if secret := madesecret.Make(madesecret.ClientSecret, body[:16]); len(secret) != madesecret.MinLength {
		t.Errorf("the shortest secret %q has %d characters, want MinLength, %d", secret, len(secret), madesecret.MinLength)
	}
}

// A secret that was stored or printed by an earlier build stays one.
func TestFormOfSecretsDoesNotChange(t *testing.T) {
	const want = "tgcs_abcdefghijklmnop37NVAU"
	if got := madesecret.Make(madesecret.ClientSecret, "abcdefghijklmnop"); got != want {
		t.Errorf("Make = %q, want %q", got, want)
	}
}

func TestWhatIsNoSecretIsNotRecognized(t *testing.T) {
	secret := madesecret.Make(madesecret.ClientSecret, body)
	for _, text := range []string{
		"", "tgcs_", secret[1:], secret + "A", strings.ToUpper(secret), "tgrt_" + strings.TrimPrefix(secret, "tgcs_"),
		madesecret.Make(madesecret.ClientSecret, body[:15]), madesecret.Make("xxcs_", body), madesecret.Make("tgCS_", body),
		madesecret.Make(madesecret.ClientSecret, body+"."), "tgci_" + body,
	} {
		if madesecret.Recognized(text) {
			t.Errorf("Recognized(%q) = true", text)
		}
	}
	if _, ok := madesecret.Body(madesecret.RefreshToken, secret); ok {
		t.Errorf("Body takes %q for a refresh token", secret)
	}
}

// TestAnyMistypedCharacterIsNoticed changes one character of a secret.
func TestAnyMistypedCharacterIsNoticed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := madesecret.Make(madesecret.RefreshToken, rapid.StringMatching("[A-Za-z0-9_-]{16,64}").Draw(t, "body"))
		at := rapid.IntRange(0, len(secret)-1).Draw(t, "at")
		with := byte(rapid.IntRange(33, 126).Draw(t, "with"))
		if secret[at] == with {
			t.Skip("the same character")
		}
		if wrong := secret[:at] + string(with) + secret[at+1:]; madesecret.Recognized(wrong) {
			t.Errorf("Recognized(%q) = true, made of %q", wrong, secret)
		}
	})
}
