package token_test

import (
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/madesecret"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

func TestSecret(t *testing.T) {
	secret, hash := token.New(madesecret.ClientSecret)
	if len(secret) != len("tgcs_")+43+6 || !strings.HasPrefix(secret, "tgcs_") {
		t.Errorf("New() = %q, want tgcs_, 43 characters and a checksum of 6", secret)
	}
	got, ok := token.Hash(madesecret.ClientSecret, secret)
	if !ok || !token.Same(got, hash) {
		t.Errorf("Hash(%q) = %x, %v, want %x", secret, got, ok, hash)
	}
	other, otherHash := token.New(madesecret.ClientSecret)
	if other == secret || token.Same(otherHash, hash) {
		t.Errorf("two secrets are the same: %q", secret)
	}
}

func TestHashRefusesWhatCannotBeASecret(t *testing.T) {
	secret, _ := token.New(madesecret.ClientSecret)
	refresh, _ := token.New(madesecret.RefreshToken)
	for _, text := range []string{
		"", "tgcs_", refresh, secret + "A", secret[1:], strings.ToUpper(secret),
		"tgrt_" + strings.TrimPrefix(secret, "tgcs_"), secret[:len(secret)-1] + "!",
	} {
		if _, ok := token.Hash(madesecret.ClientSecret, text); ok {
			t.Errorf("Hash(%q) takes it for a client secret", text)
		}
	}
}

func TestClientIDsDiffer(t *testing.T) {
	a, b := token.NewClientID(), token.NewClientID()
	if a == b || !strings.HasPrefix(a, "tgci_") {
		t.Errorf("NewClientID() = %q and %q, want two that differ and begin with tgci_", a, b)
	}
}
