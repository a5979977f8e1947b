package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
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
		b.signIn(b.ann, "hash of ann")
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

// last is how long the sign-ins of the tests last.
var last = store.Lasting{Idle: time.Hour, Most: 3 * time.Hour}

// signIn signs a user in, and returns the id of the sign-in.
func (b *bench) signIn(v identity.Viewer, password string) string {
	b.t.Helper()
	in, signedIn, err := b.CreateSignIn(b.t.Context(), v.User, password, "192.0.2.1", last)
	if err != nil || !signedIn {
		b.t.Fatal(signedIn, err)
	}
	return in.ID
}

// refresh uses the refresh token of a generation and returns the outcome, and the
// generation of the next token.
func (b *bench) refresh(signIn string, generation uint32) (store.Refreshed, uint32) {
	b.t.Helper()
	in, what, err := b.RefreshSignIn(b.t.Context(), signIn, generation, last)
	ok(b.t, err)
	if what == store.Renewed && (in.ID != signIn || in.Who.ID != in.User || in.AsOf != b.head()) {
		b.t.Errorf("RefreshSignIn(%s) = %v, want the sign-in and its user, as of now", signIn, in)
	}
	return what, in.Generation
}

func (b *bench) refreshes(what, signIn string, generation uint32, want store.Refreshed, wantNext uint32) {
	b.t.Helper()
	got, next := b.refresh(signIn, generation)
	if got != want || want == store.Renewed && next != wantNext {
		b.t.Errorf("%s: RefreshSignIn(generation %d) = %v, generation %d, want %v, %d", what, generation, got, next, want, wantNext)
	}
}

// TestRefresh refreshes a sign-in: the answer that was lost is given again for half a
// minute, and any other use of a token that was used is told.
func TestRefresh(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		signIn := b.signIn(b.ann, "hash of ann")
		b.refreshes("the first token", signIn, 0, store.Renewed, 1)
		b.add(30 * time.Second)
		b.refreshes("the answer was lost", signIn, 0, store.Renewed, 1)
		b.refreshes("the next token", signIn, 1, store.Renewed, 2)
		b.refreshes("the one before the last", signIn, 0, store.Reused, 0)
		b.refreshes("one that was not made yet", signIn, 3, store.Reused, 0)
		b.add(30*time.Second + time.Microsecond)
		b.refreshes("half a minute later", signIn, 1, store.Reused, 0)
		b.refreshes("unknown", "none", 0, store.Over, 0)
		if n := b.count("sign_in"); n != 1 {
			t.Errorf("%d rows for a sign-in", n)
		}
	})
}

// TestSignInEndsByAge refreshes a sign-in in time until it ends for good.
func TestSignInEndsByAge(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		began := b.now()
		signIn, idle := b.signIn(b.ann, "hash of ann"), b.signIn(b.ann, "hash of ann")
		for generation := range uint32(3) {
			b.add(time.Hour - time.Microsecond)
			b.refreshes("in time", signIn, generation, store.Renewed, generation+1)
		}
		in, err := b.SignIn(t.Context(), b.ann, resourcename.SignIn{User: b.ann.User, SignIn: signIn})
		if err != nil || !in.ExpiresAt.Equal(began.Add(3*time.Hour)) {
			t.Errorf("SignIn() = %v, %v, want its end 3 h after its beginning", in, err)
		}
		b.refreshes("not refreshed in time", idle, 0, store.Over, 0)
		b.add(3 * time.Microsecond)
		b.refreshes("at its end", signIn, 3, store.Over, 0)
		if all := list(t, b.SignIns(t.Context(), b.ann.User, sqldb.TimeKey{})); len(all) != 0 {
			t.Errorf("SignIns() = %v, want none that has ended", all)
		}
		// The most that sign-ins last is lowered.
		signIn = b.signIn(b.ann, "hash of ann")
		b.add(30 * time.Minute)
		_, what, err := b.RefreshSignIn(t.Context(), signIn, 0, store.Lasting{Idle: time.Hour, Most: 10 * time.Minute})
		if what != store.Over || err != nil {
			t.Errorf("RefreshSignIn() of one that is too old now = %v, %v, want Over", what, err)
		}
	})
}

// TestRefreshRace uses one token 16 times at once, as tabs of a browser do: all get
// the same successor.
func TestRefreshRace(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		signIn := b.signIn(b.ann, "hash of ann")
		errs := race(func(int) error {
			in, what, err := b.RefreshSignIn(t.Context(), signIn, 0, last)
			if err == nil && (what != store.Renewed || in.Generation != 1) {
				err = fmt.Errorf("RefreshSignIn() = %v, generation %d, want Renewed, 1", what, in.Generation)
			}
			return err
		})
		ok(t, errors.Join(errs...))
	})
}

// TestEndSignIn ends a sign-in, once: others and its user's other one go on.
func TestEndSignIn(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		signIn, other := b.signIn(b.ann, "hash of ann"), b.signIn(b.ann, "hash of ann")
		token := identity.User{Name: store.UserName(b.ann.User), SignIn: signIn, AsOf: b.head()}
		before := b.head()
		user, err := b.SignOut(t.Context(), "nothing")
		if user != "" || err != nil {
			t.Errorf("SignOut(nothing) = %q, %v, want nobody", user, err)
		}
		ok(t, b.EndSignIn(t.Context(), "users/x", "nothing"))
		if b.head() != before {
			t.Error("ending what is not there is a change")
		}
		ok(t, b.EndSignIn(t.Context(), "users/x", signIn))
		ok(t, b.EndSignIn(t.Context(), "users/x", signIn))
		if b.head() != before+1 {
			t.Errorf("ending a sign-in twice makes %d changes, want 1", b.head()-before)
		}
		b.refreshes("after the end", signIn, 0, store.Over, 0)
		b.refreshes("the other one", other, 0, store.Renewed, 1)
		b.isOut("its token", token, true)
		token.SignIn = other
		b.isOut("a token of the other", token, false)
		if user, err = b.SignOut(t.Context(), other); user != b.ann.User || err != nil {
			t.Errorf("SignOut() = %q, %v, want its user", user, err)
		}
		b.isOut("a token of the other, signed out", token, true)
	})
}

// isOut checks whether the access that a token gave has ended.
func (b *bench) isOut(what string, u identity.User, want bool) {
	b.t.Helper()
	if got, err := b.Ended(b.t.Context(), u); got != want || err != nil {
		b.t.Errorf("%s: Ended = %v, %v, want %v", what, got, err, want)
	}
}

func TestChangePassword(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		keep, end, bob := b.signIn(b.ann, "hash of ann"), b.signIn(b.ann, "hash of ann"), b.signIn(b.bob, "hash of bob")
		token := func(v identity.Viewer, signIn string) identity.User {
			return identity.User{Name: store.UserName(v.User), SignIn: signIn, AsOf: b.head()}
		}
		keeps, ends, bobs := token(b.ann, keep), token(b.ann, end), token(b.bob, bob)
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
		if _, signedIn, err := b.CreateSignIn(t.Context(), b.ann.User, old, "", last); signedIn || err != nil {
			t.Errorf("CreateSignIn(old password) = %v, %v, want refused", signedIn, err)
		}
		b.refreshes("the one that is kept", keep, 0, store.Renewed, 1)
		b.refreshes("the other one", end, 0, store.Over, 0)
		b.refreshes("another user's", bob, 0, store.Renewed, 1)
		b.isOut("a token of the one that is kept", keeps, false)
		b.isOut("a token of the other one", ends, true)
		if changed, err = b.ChangePassword(t.Context(), b.ann.User, nil, "newer", ""); err != nil || !changed {
			t.Errorf("ChangePassword(by an administrator) = %v, %v", changed, err)
		}
		b.refreshes("after an administrator's change", keep, 1, store.Over, 0)
		b.isOut("a token, after an administrator's change", keeps, true)
		b.isOut("another user's token", bobs, false)
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
			_, _, err := b.CreateSignIn(t.Context(), b.ann.User, "hash of ann", "", last)
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
		b.signIn(b.ann, "hash of ann")
		keep := store.Retention{Records: time.Hour, Usage: time.Hour}
		b.add(2*time.Hour - time.Second)
		ok(t, b.Purge(t.Context(), keep))
		if b.count("sign_in") != 1 {
			t.Error("a sign-in is purged too early")
		}
		b.add(2 * time.Second)
		ok(t, b.Purge(t.Context(), keep))
		if b.count("sign_in") != 0 {
			t.Error("a sign-in that has ended is kept")
		}
	})
}
