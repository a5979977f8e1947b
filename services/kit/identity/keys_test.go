package identity_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

var errAway = errors.New("the issuer is away")

func TestKeysAreReadOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyring(t, "k1")
		k.answer(nil, time.Second)
		keys := identity.NewKeys(k.read, time.Now)
		if got := keys.Issuer(); got != "" {
			t.Errorf("Issuer() before the first key = %q, want none", got)
		}
		find := func() {
			if key, err := keys.Key(t.Context(), "k1"); err != nil || !key.Equal(&k.keys["k1"].PublicKey) {
				t.Errorf("Key(k1) = %v, %v, want the key", key, err)
			}
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(find)
		}
		wg.Wait()
		if n := k.count(); n != 1 {
			t.Errorf("100 callers read the keys %d times, want once", n)
		}
		if got := keys.Issuer(); got != issuer {
			t.Errorf("Issuer() = %q, want %q", got, issuer)
		}
		for range 10 {
			time.Sleep(30 * time.Second)
			find()
		}
		if n := k.count(); n != 5 {
			t.Errorf("keys in use for 5 minutes were read %d times, want 5", n)
		}
	})
}

func TestKeyThatIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyring(t, "k1")
		v := newVerifier(k)
		text := func() string { return k.sign(t, "k1", nil) }
		if _, err := v.Verify(t.Context(), text()); err != nil {
			t.Fatal(err)
		}
		last := k.sign(t, "k1", func(x *token) { x.claims.Expiry = jwt.NewNumericDate(time.Now().Add(time.Hour)) })
		time.Sleep(6 * time.Minute)
		k.answer(errAway, 0)
		if _, err := v.Verify(t.Context(), text()); err != nil {
			t.Errorf("Verify while keys cannot be read = %v, want the known key to be used", err)
		}
		k.answer(nil, 0)
		k.remove("k1")
		time.Sleep(time.Minute)
		p, err := v.Verify(t.Context(), last)
		refused(t, "withdrawn", p, err, "the token is signed with an unknown key")
	})
}

func TestUnknownKeyIsReadOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyring(t, "k1")
		keys := identity.NewKeys(k.read, time.Now)
		for range 10 {
			if _, err := keys.Key(t.Context(), "new"); !errors.Is(err, identity.ErrUnknownKey) {
				t.Errorf("Key(new) = %v, want %v", err, identity.ErrUnknownKey)
			}
		}
		if n := k.count(); n != 1 {
			t.Errorf("10 calls read the keys %d times, want once", n)
		}
		k.add(t, "new")
		time.Sleep(time.Second)
		if _, err := keys.Key(t.Context(), "new"); err != nil {
			t.Errorf("Key(new) a second later = %v, want the new key", err)
		}
	})
}

// A flood of tokens with made-up kids, from many callers at once, is refused at
// the cost of one reading a second. Good tokens pass at their first try: with a
// known key, and with one that was published, as issuers do, before it signed.
func TestFloodOfMadeUpKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyring(t, "k1")
		v := newVerifier(k)
		good := func(kid string) {
			t.Helper()
			begin := time.Now()
			if _, err := v.Verify(t.Context(), k.sign(t, kid, nil)); err != nil {
				t.Errorf("Verify of a token of %s = %v, want nil", kid, err)
			}
			if took := time.Since(begin); took != 0 {
				t.Errorf("Verify of a token of %s took %v, want no waiting for a reading", kid, took)
			}
		}
		good("k1")
		k.answer(nil, 100*time.Millisecond) // from now on a reading takes time
		k.count()
		const callers, seconds = 20, 20
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					kid := fmt.Sprintf("made-up-%d-%d", i, n)
					p, err := v.Verify(t.Context(), k.sign(t, "k1", func(x *token) { x.kid = kid }))
					refused(t, kid, p, err, "the token is signed with an unknown key")
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		for second := range seconds {
			good("k1")
			if second > 1 {
				good(fmt.Sprint("published-", second-2))
			}
			k.add(t, fmt.Sprint("published-", second))
			time.Sleep(time.Second)
		}
		cancel()
		wg.Wait()
		if n := k.count(); n > seconds || n < seconds/2 {
			t.Errorf("%d callers for %d s read the keys %d times, want about once a second", callers, seconds, n)
		}
	})
}

// During an outage the flood costs one reading a second too, and known keys
// are not held up, however long a reading hangs.
func TestFloodDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyring(t, "k1")
		keys := identity.NewKeys(k.read, time.Now)
		if _, err := keys.Key(t.Context(), "k1"); err != nil {
			t.Fatal(err)
		}
		k.answer(errAway, 0)
		time.Sleep(time.Minute)
		k.count()
		for range 100 {
			if _, err := keys.Key(t.Context(), "made-up"); !errors.Is(err, errAway) {
				t.Errorf("Key(made-up) = %v, want %v", err, errAway)
			}
			if _, err := keys.Key(t.Context(), "k1"); err != nil {
				t.Errorf("Key(k1) = %v, want the last known key", err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if n := k.count(); n != 5 {
			t.Errorf("5 s of an outage took %d readings, want 5", n)
		}
		k.answer(nil, time.Hour) // hangs until its deadline
		for range 100 {
			begin := time.Now()
			if _, err := keys.Key(t.Context(), "k1"); err != nil || time.Since(begin) != 0 {
				t.Errorf("Key(k1) = %v after %v, want the last known key at once", err, time.Since(begin))
			}
			time.Sleep(50 * time.Millisecond)
		}
		k.answer(nil, 0)
		time.Sleep(4 * time.Second)
		if _, err := keys.Key(t.Context(), "made-up"); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("Key(made-up) after the outage = %v, want %v", err, identity.ErrUnknownKey)
		}
	})
}

func TestKeysThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyring(t, "k1")
		k.answer(errAway, 0)
		v := newVerifier(k)
		for range 10 {
			if _, err := v.Verify(t.Context(), k.sign(t, "k1", nil)); !fault.Is(err, codes.Unavailable) {
				t.Errorf("Verify = %v, want UNAVAILABLE", err)
			}
		}
		if n := k.count(); n != 1 {
			t.Errorf("10 calls read the keys %d times, want once", n)
		}
		k.answer(nil, 0)
		time.Sleep(time.Second)
		if _, err := v.Verify(t.Context(), k.sign(t, "k1", nil)); err != nil {
			t.Errorf("Verify a second later: %v", err)
		}
	})
}

func TestCallerLeavesEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyring(t, "k1")
		k.answer(nil, time.Second)
		keys := identity.NewKeys(k.read, time.Now)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := keys.Key(ctx, "k1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Key with a short deadline = %v, want the deadline", err)
		}
		// The reading that the first caller began serves the second.
		if _, err := keys.Key(t.Context(), "k1"); err != nil {
			t.Errorf("Key(k1) = %v", err)
		}
		if n := k.count(); n != 1 {
			t.Errorf("read the keys %d times, want once", n)
		}
	})
}

// What hangs is given up after 3 s.
func TestReadingThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := identity.NewKeys(func(ctx context.Context) (identity.KeySet, error) {
			<-ctx.Done()
			return identity.KeySet{Keys: map[string]*ecdsa.PublicKey{}}, ctx.Err()
		}, time.Now)
		begin := time.Now()
		if _, err := keys.Key(t.Context(), "k1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Key = %v, want %v", err, context.DeadlineExceeded)
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("Key took %v, want 3s", took)
		}
	})
}
