package token_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

func TestSecret(t *testing.T) {
	secret, hash := token.New(token.ClientSecret)
	if len(secret) != len("tgcs_")+43+6 || !strings.HasPrefix(secret, "tgcs_") {
		t.Errorf("New() = %q, want tgcs_, 43 characters and a checksum of 6", secret)
	}
	got, ok := token.Hash(token.ClientSecret, secret)
	if !ok || !token.Same(got, hash) {
		t.Errorf("Hash(%q) = %x, %v, want %x", secret, got, ok, hash)
	}
	other, otherHash := token.New(token.ClientSecret)
	if other == secret || token.Same(otherHash, hash) {
		t.Errorf("two secrets are the same: %q", secret)
	}
}

func TestHashRefusesWhatCannotBeASecret(t *testing.T) {
	secret, _ := token.New(token.ClientSecret)
	refresh, _ := token.New(token.RefreshToken)
	for _, text := range []string{
		"", "tgcs_", refresh, secret + "A", secret[1:], strings.ToUpper(secret),
		"tgrt_" + strings.TrimPrefix(secret, "tgcs_"), secret[:len(secret)-1] + "!",
	} {
		if _, ok := token.Hash(token.ClientSecret, text); ok {
			t.Errorf("Hash(%q) takes it for a client secret", text)
		}
	}
}

// TestAnyMistypedCharacterIsNoticed changes one character of a secret.
func TestAnyMistypedCharacterIsNoticed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret, _ := token.New(token.RefreshToken)
		at := rapid.IntRange(0, len(secret)-1).Draw(t, "at")
		with := byte(rapid.IntRange(33, 126).Draw(t, "with"))
		if secret[at] == with {
			t.Skip("the same character")
		}
		wrong := secret[:at] + string(with) + secret[at+1:]
		if _, ok := token.Hash(token.RefreshToken, wrong); ok {
			t.Errorf("Hash(%q) = ok, made of %q", wrong, secret)
		}
	})
}

func TestClientIDsDiffer(t *testing.T) {
	a, b := token.NewClientID(), token.NewClientID()
	if a == b || !strings.HasPrefix(a, "tgci_") {
		t.Errorf("NewClientID() = %q and %q, want two that differ and begin with tgci_", a, b)
	}
}
