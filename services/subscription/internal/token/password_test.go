package token_test

import (
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

func TestPassword(t *testing.T) {
	slot, err := token.NewPasswords(token.DefaultWaiting()).Acquire(t.Context(), token.Place{})
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Release()
	hash := slot.Hash("correct horse battery")
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("Hash() = %q, want argon2id with 19 MiB, t=2, p=1", hash)
	}
	if again := slot.Hash("correct horse battery"); again == hash {
		t.Errorf("two hashes of one password are the same: %q", hash)
	}
	for _, tt := range []struct {
		stored, password string
		want             bool
	}{
		{hash, "correct horse battery", true},
		{hash, "correct horse battery ", false},
		{hash, "", false},
		{"", "", false},
		{"", "correct horse battery", false},
		{"nonsense", "nonsense", false},
		{strings.Replace(hash, "t=2", "t=1", 1), "correct horse battery", false},
		{hash[:len(hash)-1], "correct horse battery", false},
		{"$argon2id$v=19$m=19456,t=2,p=1$!!$!!", "x", false},
	} {
		if got := slot.Matches(tt.stored, tt.password); got != tt.want {
			t.Errorf("Matches(%q, %q) = %v, want %v", tt.stored, tt.password, got, tt.want)
		}
	}
}
