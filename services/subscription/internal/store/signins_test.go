package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// TestThrottle fails ten times at once, then once every thirty seconds.
func TestThrottle(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		wait := func() time.Duration {
			t.Helper()
			d, err := b.SignInDelay(t.Context(), "Ann")
			ok(t, err)
			return d
		}
		for i := range 10 {
			if d := wait(); d != 0 {
				t.Fatalf("wait after %d failures = %v, want none", i, d)
			}
			ok(t, b.CountFailure(t.Context(), "aNN"))
		}
		if d := wait(); d != 30*time.Second {
			t.Errorf("wait after 10 failures = %v, want 30s", d)
		}
		b.add(29 * time.Second)
		if d := wait(); d != time.Second {
			t.Errorf("wait 29 s later = %v, want 1s", d)
		}
		b.add(time.Second)
		if d := wait(); d != 0 {
			t.Errorf("wait 30 s later = %v, want none", d)
		}
		ok(t, b.CountFailure(t.Context(), "ann"))
		if d := wait(); d != 30*time.Second {
			t.Errorf("wait after the 11th = %v, want 30s", d)
		}
		if d, err := b.SignInDelay(t.Context(), "bob"); d != 0 || err != nil {
			t.Errorf("another name waits %v, %v", d, err)
		}
		// A sign-in clears the name.
		_, _, err := b.CreateSignIn(t.Context(), b.ann.User, "hash of ann", refresh(b, "x"))
		ok(t, err)
		if d := wait(); d != 0 {
			t.Errorf("wait after a sign-in = %v, want none", d)
		}
		ok(t, b.CountFailure(t.Context(), "ann"))
		b.add(time.Minute)
		ok(t, b.Purge(t.Context(), store.Retention{Records: time.Hour, Usage: time.Hour}))
		if n := b.count("sign_in_failure"); n != 0 {
			t.Errorf("%d names are kept that owe nothing", n)
		}
	})
}

func refresh(b *bench, hash string) store.RefreshToken {
	return store.RefreshToken{Hash: []byte(hash), ExpiresAt: b.now().Add(time.Hour)}
}

func (b *bench) signIn(v identity.Viewer, password, hash string) string {
	b.t.Helper()
	in, signedIn, err := b.CreateSignIn(b.t.Context(), v.User, password, refresh(b, hash))
	if err != nil || !signedIn {
		b.t.Fatal(signedIn, err)
	}
	return in.ID
}

// rotate spends a token and returns the outcome.
func (b *bench) rotate(hash, next string) store.Refreshed {
	b.t.Helper()
	in, what, err := b.RotateSignIn(b.t.Context(), []byte(hash), refresh(b, next))
	ok(b.t, err)
	if what == store.Rotated && (in.ID == "" || in.User.Username == "" || in.AsOf != b.head()) {
		b.t.Errorf("RotateSignIn(%s) = %v, want a sign-in and a user, as of now", hash, in)
	}
	return what
}

func TestRefresh(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.signIn(b.ann, "hash of ann", "r1")
		b.signIn(b.ann, "hash of ann", "other")
		for _, step := range []struct {
			hash, next string
			want       store.Refreshed
		}{
			{"nothing", "x", store.Unknown},
			{"r1", "r2", store.Rotated},
			{"r2", "r3", store.Rotated},
			{"r1", "x", store.Reused},  // ends the sign-in
			{"r3", "x", store.Unknown}, // which was its newest token
			{"r1", "x", store.Unknown},
			{"other", "other2", store.Rotated}, // another sign-in goes on
		} {
			if got := b.rotate(step.hash, step.next); got != step.want {
				t.Errorf("RotateSignIn(%s) = %v, want %v", step.hash, got, step.want)
			}
		}
		b.add(time.Hour)
		if got := b.rotate("other2", "x"); got != store.Unknown {
			t.Errorf("RotateSignIn(at its end) = %v, want Unknown", got)
		}
	})
}

// TestRefreshRace spends one token 16 times at once: one attempt gets the next
// token, and the others end the sign-in, because they are reuse.
func TestRefreshRace(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.signIn(b.ann, "hash of ann", "r")
		results := make([]store.Refreshed, 16)
		errs := race(func(i int) error {
			var err error
			_, results[i], err = b.RotateSignIn(t.Context(), []byte("r"), refresh(b, string(rune('a'+i))))
			return err
		})
		ok(t, errors.Join(errs...))
		n := map[store.Refreshed]int{}
		for _, r := range results {
			n[r]++
		}
		if n[store.Rotated] != 1 || n[store.Reused] < 1 {
			t.Errorf("rotated %d, reused %d, unknown %d; want 1, at least 1, the rest", n[store.Rotated], n[store.Reused], n[store.Unknown])
		}
		if b.count("sign_in") != 0 || b.count("refresh_token") != 0 {
			t.Errorf("the sign-in is still there")
		}
	})
}

func TestEndSignIn(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.signIn(b.ann, "hash of ann", "r1")
		b.rotate("r1", "r2")
		ok(t, b.EndSignIn(t.Context(), []byte("nothing")))
		ok(t, b.EndSignIn(t.Context(), []byte("r1"))) // a spent one ends it too
		if got := b.rotate("r2", "x"); got != store.Unknown {
			t.Errorf("RotateSignIn(after the end) = %v, want Unknown", got)
		}
	})
}

func TestChangePassword(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		keep := b.signIn(b.ann, "hash of ann", "keep")
		b.signIn(b.ann, "hash of ann", "end")
		b.signIn(b.bob, "hash of bob", "bob")
		old, wrong := "hash of ann", "hash of bob"
		before := b.head()
		changed, err := b.ChangePassword(t.Context(), b.ann.User, &wrong, "new", keep)
		if err != nil || changed || b.head() != before {
			t.Errorf("ChangePassword(from another) = %v, %v, want no change", changed, err)
		}
		changed, err = b.ChangePassword(t.Context(), b.ann.User, &old, "new", keep)
		if err != nil || !changed || b.head() != before+1 {
			t.Errorf("ChangePassword() = %v, %v, want a change", changed, err)
		}
		if _, signedIn, err := b.CreateSignIn(t.Context(), b.ann.User, old, refresh(b, "late")); signedIn || err != nil {
			t.Errorf("CreateSignIn(old password) = %v, %v, want refused", signedIn, err)
		}
		for hash, want := range map[string]store.Refreshed{"keep": store.Rotated, "end": store.Unknown, "bob": store.Rotated} {
			if got := b.rotate(hash, hash+"2"); got != want {
				t.Errorf("RotateSignIn(%s) = %v, want %v", hash, got, want)
			}
		}
		if changed, err = b.ChangePassword(t.Context(), b.ann.User, nil, "newer", ""); err != nil || !changed {
			t.Errorf("ChangePassword(by an administrator) = %v, %v", changed, err)
		}
		if got := b.rotate("keep2", "x"); got != store.Unknown {
			t.Errorf("RotateSignIn(keep2) = %v, want Unknown", got)
		}
		if changed, err = b.ChangePassword(t.Context(), "nobody", nil, "x", ""); err != nil || changed {
			t.Errorf("ChangePassword(nobody) = %v, %v, want false", changed, err)
		}
	})
}

// TestSignInAgainstChangePassword signs in with the old password while it is
// changed: no sign-in with the old password is left.
func TestSignInAgainstChangePassword(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		errs := race(func(i int) error {
			if i == 7 {
				_, err := b.ChangePassword(t.Context(), b.ann.User, nil, "new", "")
				return err
			}
			_, _, err := b.CreateSignIn(t.Context(), b.ann.User, "hash of ann", refresh(b, string(rune('a'+i))))
			return err
		})
		ok(t, errors.Join(errs...))
		if n := b.count("sign_in"); n != 0 {
			t.Errorf("%d sign-ins of the old password stay", n)
		}
	})
}

func TestPurgeSignIns(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.signIn(b.ann, "hash of ann", "r")
		keep := store.Retention{Records: time.Hour, Usage: time.Hour}
		b.add(2*time.Hour - time.Second)
		ok(t, b.Purge(t.Context(), keep))
		if b.count("sign_in") != 1 {
			t.Error("a sign-in is purged too early")
		}
		b.add(2 * time.Second)
		ok(t, b.Purge(t.Context(), keep))
		if b.count("sign_in")+b.count("refresh_token") != 0 {
			t.Error("a sign-in that has ended is kept")
		}
	})
}
