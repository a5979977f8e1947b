package token_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

func TestPassword(t *testing.T) {
	slot, err := token.NewPasswords().Acquire(t.Context())
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

// TestHashSlots holds both slots, lets 64 wait and sees the next refused.
func TestHashSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := token.NewPasswords()
		first, err1 := p.Acquire(t.Context())
		second, err2 := p.Acquire(t.Context())
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		got, gone := 0, 0
		for range 64 {
			go func() {
				slot, err := p.Acquire(ctx)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					gone++
					return
				}
				got++
				slot.Release()
			}()
		}
		synctest.Wait()
		if got != 0 {
			t.Errorf("%d got a slot while two hash, want none", got)
		}
		if _, err := p.Acquire(t.Context()); !fault.Is(err, codes.ResourceExhausted) || fault.Reason(err) != "TOO_MANY_SIGN_INS" {
			t.Errorf("Acquire() of the 65th who waits = %v, want RESOURCE_EXHAUSTED, TOO_MANY_SIGN_INS", err)
		}
		cancel()
		synctest.Wait()
		if gone != 64 {
			t.Errorf("%d of 64 left with their context", gone)
		}
		first.Release()
		second.Release()
		for range 3 {
			slot, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatalf("Acquire() after all ended: %v", err)
			}
			slot.Release()
		}
	})
}
