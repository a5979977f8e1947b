package token_test

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

const issuerURL = "https://tidegate.test"

func rotation() token.Rotation {
	return token.Rotation{Every: 24 * time.Hour, Lead: 10 * time.Minute, MaxLifetime: time.Hour}
}

func newKeys(t *testing.T, st *store.Store, master *seal.Key, r token.Rotation, c *clock) *token.Keys {
	t.Helper()
	keys := token.NewKeys(st, master, r, c.now, slog.New(slog.DiscardHandler))
	if err := keys.Start(t.Context()); err != nil {
		t.Fatalf("Start() = %v", err)
	}
	return keys
}

func newIssuer(keys *token.Keys, c *clock) *token.Issuer {
	return token.NewIssuer(issuerURL, keys, token.Lifetimes{Application: time.Hour, User: 15 * time.Minute}, c.now)
}

// published returns the ids of the keys in the JWK set.
func published(t *testing.T, keys *token.Keys) []string {
	t.Helper()
	var ids []string
	for _, k := range keys.Public() {
		ids = append(ids, k.ID)
	}
	return ids
}

func issue(t *testing.T, i *token.Issuer) string {
	t.Helper()
	raw, _, err := i.SignApplication(token.ApplicationClaims{ClientID: "tgci_TEST", Scopes: []string{"default"}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestRotation follows a key from its publication to its end: it is published
// before it signs, and stays until the last token that it signed has expired.
func TestRotation(t *testing.T) {
	testdb.Each(t, store.Schema(), func(t *testing.T, db *sqldb.DB) {
		c := newClock()
		keys := newKeys(t, newStore(db, c.now), seal.New(), rotation(), c)
		issuer := newIssuer(keys, c)
		look := func(d time.Duration) []string {
			t.Helper()
			c.add(d)
			if err := keys.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
			return published(t, keys)
		}
		first := look(0)
		if len(first) != 1 {
			t.Fatalf("published at the start = %v, want one key", first)
		}
		if kid := header(t, issue(t, issuer)).KeyID; kid != first[0] {
			t.Errorf("signed by %s at the start, want %s", kid, first[0])
		}
		if got := look(24*time.Hour - 10*time.Minute - time.Second); !slices.Equal(got, first) {
			t.Errorf("published before the lead = %v, want %v", got, first)
		}
		both := look(time.Second)
		if len(both) != 2 || both[0] != first[0] {
			t.Fatalf("published at the lead = %v, want %s and another", both, first[0])
		}
		if got := look(10*time.Minute - time.Second); !slices.Equal(got, both) {
			t.Errorf("published during the lead = %v, want %v", got, both)
		}
		last := issue(t, issuer)
		if kid := header(t, last).KeyID; kid != both[0] {
			t.Errorf("signed by %s during the lead, want the old %s", kid, both[0])
		}
		look(time.Second)
		if kid := header(t, issue(t, issuer)).KeyID; kid != both[1] {
			t.Errorf("signed by %s after the lead, want the new %s", kid, both[1])
		}
		look(time.Hour - 2*time.Second)
		if _, err := issuer.ReadApplication(t.Context(), last); err != nil {
			t.Errorf("last token of the old key: %v a second before its end, want it good", err)
		}
		if got := look(5 * time.Minute); !slices.Equal(got, both) {
			t.Errorf("published while clocks may differ = %v, want %v", got, both)
		}
		if got := look(2 * time.Second); !slices.Equal(got, both[1:]) {
			t.Errorf("published after the last token = %v, want %v", got, both[1:])
		}
	})
}

// TestLongerLifetimeKeepsKeys restarts with longer and then with shorter token
// lifetimes: keys are kept for the longest lifetime that they may have signed for.
func TestLongerLifetimeKeepsKeys(t *testing.T) {
	c := newClock()
	db := testdb.SQLite(t, store.Schema())
	st, master := newStore(db, c.now), seal.New()
	first := published(t, newKeys(t, st, master, rotation(), c))
	long := rotation()
	long.MaxLifetime = 100 * time.Hour
	newKeys(t, st, master, long, c)
	keys := newKeys(t, st, master, rotation(), c)
	c.add(24 * time.Hour)
	for range 2 {
		if err := keys.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.add(50 * time.Hour)
	}
	if got := published(t, keys); !slices.Contains(got, first[0]) {
		t.Errorf("published = %v, want %s among them: tokens of 100 h may be out", got, first[0])
	}
}

func TestNoRotation(t *testing.T) {
	c := newClock()
	r := rotation()
	r.Every = 0
	keys := newKeys(t, newStore(testdb.SQLite(t, store.Schema()), c.now), seal.New(), r, c)
	before := published(t, keys)
	c.add(10 * 365 * 24 * time.Hour)
	if err := keys.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := published(t, keys); !slices.Equal(got, before) {
		t.Errorf("published after ten years = %v, want %v", got, before)
	}
}

// TestReplicas starts and rotates 16 replicas at once: each step makes one key.
func TestReplicas(t *testing.T) {
	testdb.Each(t, store.Schema(), func(t *testing.T, db *sqldb.DB) {
		c, master := newClock(), seal.New()
		st := newStore(db, c.now)
		all := make([]*token.Keys, 16)
		atOnce(all, func(i int) {
			all[i] = token.NewKeys(st, master, rotation(), c.now, slog.New(slog.DiscardHandler))
			if err := all[i].Start(t.Context()); err != nil {
				t.Errorf("Start() = %v", err)
			}
		})
		for round := 1; round <= 3; round++ {
			for i, keys := range all {
				if got := published(t, keys); len(got) != min(round, 2) {
					t.Fatalf("round %d: replica %d publishes %v, want %d keys", round, i, got, min(round, 2))
				}
			}
			raw := issue(t, newIssuer(all[round], c))
			for i, keys := range all {
				if _, err := newIssuer(keys, c).ReadApplication(t.Context(), raw); err != nil {
					t.Errorf("round %d: replica %d does not know the token of another: %v", round, i, err)
				}
			}
			c.add(24 * time.Hour)
			for range 2 { // the second time drops
				atOnce(all, func(i int) {
					if err := all[i].Rotate(t.Context()); err != nil {
						t.Errorf("Rotate() = %v", err)
					}
				})
			}
		}
	})
}

func atOnce[T any](all []T, do func(i int)) {
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

// TestUnknownKeyIsReadOnceASecond asks for a key that another replica made.
func TestUnknownKeyIsReadOnceASecond(t *testing.T) {
	c, master := newClock(), seal.New()
	st := newStore(testdb.SQLite(t, store.Schema()), c.now)
	a, b := newKeys(t, st, master, rotation(), c), newKeys(t, st, master, rotation(), c)
	c.add(24 * time.Hour)
	if err := a.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	kid := published(t, a)[1]
	keysOfB := newIssuer(b, c).Keys()
	if _, err := keysOfB.Key(t.Context(), "made-up"); !errors.Is(err, identity.ErrUnknownKey) {
		t.Errorf("Key(made-up) = %v, want %v", err, identity.ErrUnknownKey)
	}
	key, err := keysOfB.Key(t.Context(), kid)
	if err != nil || key.Curve != elliptic.P256() {
		t.Errorf("Key(%s) = %v, %v, want the other replica's key", kid, key, err)
	}
}

// TestSealed looks for anything of a private key in the database, opens it with
// another master key, and moves it to a new one.
func TestSealed(t *testing.T) {
	c := newClock()
	st := newStore(testdb.SQLite(t, store.Schema()), c.now)
	path := filepath.Join(t.TempDir(), "master")
	master, err := seal.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	raw := issue(t, newIssuer(newKeys(t, st, master, rotation(), c), c))
	rows, err := st.SigningKeys(t.Context(), store.AccessTokens)
	if err != nil || len(rows) != 1 {
		t.Fatalf("SigningKeys() = %v, %v, want one", rows, err)
	}
	// An unsealed PKCS #8 key has the curve's object id in it.
	if bytes.Contains(rows[0].Sealed, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d}) {
		t.Errorf("the stored key is not sealed: %x", rows[0].Sealed)
	}
	other := token.NewKeys(st, seal.New(), rotation(), c.now, slog.New(slog.DiscardHandler))
	if err := other.Start(t.Context()); err == nil {
		t.Error("Start() with another master key = nil, want an error")
	}
	both := withNewKey(t, path)
	again, err := newKeys(t, st, both, rotation(), c).Reseal(t.Context())
	if err != nil || again != 1 {
		t.Errorf("Reseal() with a new master key = %d, %v, want 1", again, err)
	}
	moved, err := st.SigningKeys(t.Context(), store.AccessTokens)
	if err != nil || both.Stale(moved[0].Sealed) {
		t.Errorf("with a new master key the signing key is sealed with the old one (%v)", err)
	}
	if _, err := newIssuer(newKeys(t, st, both, rotation(), c), c).ReadApplication(t.Context(), raw); err != nil {
		t.Errorf("token from before the new master key: %v", err)
	}
}

// withNewKey puts a new key in front of those in a file.
func withNewKey(t *testing.T, path string) *seal.Key {
	t.Helper()
	fresh := filepath.Join(t.TempDir(), "fresh")
	if _, err := seal.Create(fresh); err != nil {
		t.Fatal(err)
	}
	var text []byte
	for _, p := range []string{fresh, path} {
		part, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := seal.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestRunRotates lets Run do what the other tests do by hand.
func TestRunRotates(t *testing.T) {
	c := newClock()
	r := token.Rotation{Every: time.Hour, Lead: 15 * time.Millisecond, MaxLifetime: time.Hour}
	keys := newKeys(t, newStore(testdb.SQLite(t, store.Schema()), c.now), seal.New(), r, c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- keys.Run(ctx) }()
	c.add(time.Hour)
	for len(published(t, keys)) < 2 {
		runtime.Gosched()
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
}

// TestVerifierTakesUserTokens checks users' tokens as every service does.
func TestVerifierTakesUserTokens(t *testing.T) {
	c := newClock()
	keys := newKeys(t, newStore(testdb.SQLite(t, store.Schema()), c.now), seal.New(), rotation(), c)
	issuer := newIssuer(keys, c)
	v := identity.NewVerifier(issuer.Keys(), nil, c.now)
	want := identity.User{Name: "users/p1", Username: "pia", Roles: []string{"creator", "publisher"}, SignIn: "signin-1", AsOf: moment.Moment{Change: 1 << 60, Time: 1 << 50}}
	raw, expires, err := issuer.SignUser(want, c.now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.Verify(t.Context(), raw)
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("Verify() = %v, %v, want %v", got, err, want)
	}
	if expires.Sub(c.now()) != 15*time.Minute {
		t.Errorf("expires %v after now, want 15m", expires.Sub(c.now()))
	}
	if _, err := v.Verify(t.Context(), issue(t, issuer)); !fault.Is(err, codes.Unauthenticated) {
		t.Errorf("Verify(application's token) = %v, want UNAUTHENTICATED", err)
	}
	c.add(15*time.Minute + 6*time.Second)
	if _, err := v.Verify(t.Context(), raw); fault.Reason(err) != "TOKEN_EXPIRED" {
		t.Errorf("Verify(after its end) = %v, want TOKEN_EXPIRED", err)
	}
}
