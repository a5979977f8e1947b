package token_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// words says in a word what each key does, oldest first.
func words(t *testing.T, keys *token.Keys) []string {
	t.Helper()
	states, err := keys.States(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := []string{}
	for _, s := range states {
		switch {
		case s.Signs:
			all = append(all, "signs")
		case s.Published:
			all = append(all, "published")
		default:
			all = append(all, "retired")
		}
	}
	return all
}

// TestRotateNow rotates before the time: the new key is in the JWK set of all replicas
// before it signs, tokens of the old one are good until they expire, and asking again
// meanwhile makes no other.
func TestRotateNow(t *testing.T) {
	testdb.Each(t, store.Schema(), func(t *testing.T, db *sqldb.DB) {
		c, master := newClock(), seal.New()
		st := newStore(db, c.now)
		a, b := newKeys(t, st, master, rotation(), c), newKeys(t, st, master, rotation(), c)
		rotate := func(keys *token.Keys, wantNumber int64, wantMade bool) {
			t.Helper()
			number, made, err := keys.RotateNow(t.Context())
			if err != nil || number != wantNumber || made != wantMade {
				t.Errorf("RotateNow() = %d, %v, %v, want %d, %v", number, made, err, wantNumber, wantMade)
			}
		}
		look := func(d time.Duration, want ...string) {
			t.Helper()
			c.add(d)
			for _, keys := range []*token.Keys{a, b} {
				if err := keys.Rotate(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if got := words(t, a); !slices.Equal(got, want) {
				t.Errorf("keys = %q, want %q", got, want)
			}
			if ofA, ofB := published(t, a), published(t, b); !slices.Equal(ofA, ofB) || len(ofA) != len(want) {
				t.Errorf("published are %q and %q, want the same %d", ofA, ofB, len(want))
			}
		}
		signs := func(want int) (raw string) {
			t.Helper()
			for _, keys := range []*token.Keys{a, b} {
				raw = issue(t, newIssuer(keys, c))
				if kid := header(t, raw).KeyID; kid != published(t, keys)[want] {
					t.Errorf("signed by %s, want key %d of %q", kid, want, published(t, keys))
				}
			}
			return raw
		}
		rotate(a, 2, true)
		rotate(b, 2, false)
		look(69*time.Second, "signs", "published")
		last := signs(0)
		look(time.Second, "retired", "signs")
		signs(1)
		look(time.Hour-2*time.Second, "retired", "signs")
		if _, err := newIssuer(b, c).ReadApplication(t.Context(), last); err != nil {
			t.Errorf("a token of before the rotation, a second before its end: %v", err)
		}
		look(6*time.Minute, "signs")
		// One that is due is overtaken by one that is asked for.
		look(23*time.Hour, "signs", "published")
		rotate(b, 4, true)
		look(70*time.Second, "retired", "retired", "signs")
		signs(2)
		look(10*time.Minute, "retired", "retired", "signs")
		signs(2)
	})
}

// TestRotateNowIsBounded asks for more keys than there may be.
func TestRotateNowIsBounded(t *testing.T) {
	c := newClock()
	keys := newKeys(t, newStore(testdb.SQLite(t, store.Schema()), c.now), seal.New(), rotation(), c)
	for range 19 {
		if _, made, err := keys.RotateNow(t.Context()); err != nil || !made {
			t.Fatalf("RotateNow() = %v, %v, want another key", made, err)
		}
		c.add(70 * time.Second)
	}
	if _, _, err := keys.RotateNow(t.Context()); !fault.Is(err, codes.ResourceExhausted) {
		t.Errorf("RotateNow() with 20 keys = %v, want RESOURCE_EXHAUSTED", err)
	}
	c.add(time.Hour + 5*time.Minute)
	if err := keys.Rotate(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, made, err := keys.RotateNow(t.Context()); err != nil || !made {
		t.Errorf("RotateNow() after old keys have gone = %v, %v, want another key", made, err)
	}
}
