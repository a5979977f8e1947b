package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// TestThrottle fails ten times at once, then once every thirty seconds.
func TestThrottle(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		lockout := store.Lockout{Each: 10, Name: 25, Pause: 30 * time.Second}
		from := func(place string) store.Attempt { return store.Attempt{Username: "aNN", From: place} }
		known := store.Attempt{Username: "ann", From: "device", Known: true}
		wait := func(a store.Attempt) time.Duration {
			t.Helper()
			d, _, err := b.SignInDelay(t.Context(), a, lockout)
			ok(t, err)
			return d
		}
		fail := func(a store.Attempt, times int) {
			t.Helper()
			for range times {
				ok(t, b.CountFailure(t.Context(), a, lockout))
			}
		}
		for i := range 10 {
			if d := wait(from("a")); d != 0 {
				t.Fatalf("wait after %d failures = %v, want none", i, d)
			}
			fail(from("a"), 1)
		}
		if d := wait(from("a")); d != 30*time.Second {
			t.Errorf("wait after 10 failures = %v, want 30s", d)
		}
		if a, b := wait(from("b")), wait(known); a != 0 || b != 0 {
			t.Errorf("another network waits %v, and a known device %v, want none", a, b)
		}
		b.add(29 * time.Second)
		if d := wait(from("a")); d != time.Second {
			t.Errorf("wait 29 s later = %v, want 1s", d)
		}
		b.add(time.Second)
		if d := wait(from("a")); d != 0 {
			t.Errorf("wait 30 s later = %v, want none", d)
		}
		fail(from("a"), 1)
		if d := wait(from("a")); d != 30*time.Second {
			t.Errorf("wait after the 11th = %v, want 30s", d)
		}
		if d := wait(store.Attempt{Username: "bob", From: "a"}); d != 0 {
			t.Errorf("another name waits %v", d)
		}
		// 10 of network a count for the name, 15 more make 25.
		fail(from("b"), 8)
		fail(from("c"), 7)
		if d := wait(from("d")); d != 30*time.Second {
			t.Errorf("wait of a network without failures = %v, want 30s: the name has too many", d)
		}
		if d := wait(known); d != 0 {
			t.Errorf("wait of a known device = %v, want none", d)
		}
		fail(known, 10)
		if d := wait(known); d != 30*time.Second {
			t.Errorf("wait of a known device after 10 failures of its own = %v, want 30s", d)
		}
		// A success forgives its place, an administrator all.
		for a, want := range map[store.Attempt]bool{from("a"): true, from("d"): false} {
			if _, failed, err := b.SignInDelay(t.Context(), a, lockout); failed != want || err != nil {
				t.Errorf("there are failures from %s to forget: %v, %v, want %v", a.From, failed, err, want)
			}
		}
		ok(t, b.ForgetFailures(t.Context(), from("a")))
		lockout.Name = 0
		if d := wait(from("a")); d != 0 {
			t.Errorf("wait after a success = %v, want none", d)
		}
		if n := b.count("sign_in_failure"); n != 4 {
			t.Errorf("failures of %d places are left, want those of b, c, the device and the name", n)
		}
		_, err := b.UnlockUser(t.Context(), b.admin, b.ann.User, allow[store.User])
		ok(t, err)
		if n := b.count("sign_in_failure"); n != 0 {
			t.Errorf("failures of %d places are left after an administrator's reset", n)
		}
		fail(from("a"), 1)
		b.add(time.Minute)
		ok(t, b.Purge(t.Context(), store.Retention{Records: time.Hour, Usage: time.Hour}))
		if n := b.count("sign_in_failure"); n != 0 {
			t.Errorf("%d rows are kept that say nothing", n)
		}
	})
}

// TestDevices remembers the last sixteen devices of a user, and no others'.
func TestDevices(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		for i := range 20 {
			b.add(time.Second)
			b.signInFrom(b.ann, "hash of ann", byte(i))
		}
		for i, want := range map[byte]bool{0: false, 3: false, 4: true, 19: true} {
			if got, err := b.KnownDevice(t.Context(), "ANN", []byte{i}); got != want || err != nil {
				t.Errorf("device %d is known: %v, %v, want %v", i, got, err, want)
			}
		}
		if got, err := b.KnownDevice(t.Context(), "bob", []byte{19}); got || err != nil {
			t.Errorf("a device of another user is known: %v, %v", got, err)
		}
		b.add(181 * 24 * time.Hour)
		ok(t, b.Purge(t.Context(), store.Retention{Records: time.Hour, Usage: time.Hour}))
		if n := b.count("device"); n != 0 {
			t.Errorf("%d devices are kept half a year later", n)
		}
		b.signInFrom(b.ann, "hash of ann", 1)
		ok(t, b.DeleteUser(t.Context(), b.admin, b.ann.User, allow[store.User]))
		if n := b.count("device"); n != 0 {
			t.Errorf("%d devices of a user who is gone", n)
		}
	})
}

// TestDevicesAreForgotten has a user out, or with another password: whoever knew the
// password of before does not pass as a known device. An own change of the password keeps
// the device that it is made from.
func TestDevicesAreForgotten(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		old := "hash of ann"
		change := func(old *string, hash, keep string) error {
			_, changed, err := b.ChangePassword(t.Context(), b.ann.User, old, hash, keep)
			if err == nil && !changed {
				err = errors.New("the password was not changed")
			}
			return err
		}
		for _, c := range []struct {
			what   string
			do     func(keep string) error
			before string // the hash of the password before
			keeps  bool
		}{
			{"an own change", func(keep string) error { return change(&old, "second", keep) }, old, true},
			{"a reset", func(string) error { return change(nil, "third", "") }, "second", false},
			{"recovering", func(string) error { return b.Recover(t.Context(), "ann", "fourth") }, "third", false},
			{"suspending", func(string) error {
				_, err := b.SuspendUser(t.Context(), b.admin, b.ann.User, allow[store.User])
				return err
			}, "fourth", false},
		} {
			b.signInFrom(b.ann, c.before, 1)
			keep := b.signInFrom(b.ann, c.before, 2)
			b.signInFrom(b.bob, "hash of bob", 3)
			ok(t, c.do(keep))
			for name, want := range map[string][]bool{"ann": {false, c.keeps, false}, "bob": {false, false, true}} {
				for i, want := range want {
					if known, err := b.KnownDevice(t.Context(), name, []byte{byte(i + 1)}); known != want || err != nil {
						t.Errorf("after %s: device %d of %s is known: %v, %v, want %v", c.what, i+1, name, known, err, want)
					}
				}
			}
		}
	})
}

// TestDisplacedSignInGivesNoAccess begins one sign-in too many: the access of the oldest
// ends with it, so that none is left that a change of the password cannot end.
func TestDisplacedSignInGivesNoAccess(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		bounded := last
		bounded.Alive = 1
		begin := func() (store.SignedIn, identity.User) {
			b.add(time.Second)
			in, _, err := b.CreateSignIn(t.Context(), b.ann.User, "hash of ann", store.Device{}, bounded)
			ok(t, err)
			return in, identity.User{Name: store.UserName(b.ann.User), SignIn: in.ID, AsOf: in.AsOf}
		}
		first, firsts := begin()
		second, seconds := begin()
		b.isOut("the token of the first", firsts, true)
		b.isOut("the token of the second", seconds, false)
		if diff := cmp.Diff([]string{store.SignInName(b.ann.User, first.ID)}, second.Displaced); diff != "" {
			t.Errorf("displaced (-want +got):\n%s", diff)
		}
		before := b.head()
		if again, _ := begin(); len(again.Displaced) != 1 || b.head() != before+1 {
			t.Errorf("the third displaces %v in %d changes, want one in one", again.Displaced, b.head()-before)
		}
	})
}

// TestSignInsAliveAreBounded signs in again and again: the sign-in that was refreshed
// longest ago ends, also when many begin at once.
func TestSignInsAliveAreBounded(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		bounded := last
		bounded.Alive = 3
		var all []store.SignedIn
		for i := range 3 {
			b.add(time.Second)
			in, _, err := b.CreateSignIn(t.Context(), b.ann.User, "hash of ann", store.Device{}, bounded)
			ok(t, err)
			if all = append(all, in); i == 2 {
				b.add(time.Second)
				_, _, err := b.RefreshSignIn(t.Context(), all[0].ID, 0, bounded)
				ok(t, err)
			}
		}
		_, _, err := b.CreateSignIn(t.Context(), b.ann.User, "hash of ann", store.Device{}, bounded)
		ok(t, err)
		if _, what, err := b.RefreshSignIn(t.Context(), all[1].ID, 0, bounded); what == store.Renewed || err != nil {
			t.Errorf("the sign-in refreshed longest ago = %v, %v, want ended", what, err)
		}
		if _, what, err := b.RefreshSignIn(t.Context(), all[0].ID, 1, bounded); what != store.Renewed || err != nil {
			t.Errorf("an older one that was refreshed = %v, %v, want renewed", what, err)
		}
		errs := make(chan error, 8)
		for range 8 {
			go func() {
				_, _, err := b.CreateSignIn(t.Context(), b.ann.User, "hash of ann", store.Device{}, bounded)
				errs <- err
			}()
		}
		for range 8 {
			ok(t, <-errs)
		}
		if n := b.count("sign_in"); n != 3 {
			t.Errorf("%d sign-ins are alive, want 3", n)
		}
	})
}

// last is how long the sign-ins of the tests last.
var last = store.Lasting{Idle: time.Hour, Most: 3 * time.Hour}

// signIn signs a user in, and returns the id of the sign-in.
func (b *bench) signIn(v identity.Viewer, password string) string {
	b.t.Helper()
	in, signedIn, err := b.CreateSignIn(b.t.Context(), v.User, password, store.Device{Address: "192.0.2.1"}, last)
	if err != nil || !signedIn {
		b.t.Fatal(signedIn, err)
	}
	return in.ID
}

// signInFrom does the same from a device.
func (b *bench) signInFrom(v identity.Viewer, password string, device byte) string {
	b.t.Helper()
	in, signedIn, err := b.CreateSignIn(b.t.Context(), v.User, password, store.Device{Hash: []byte{device}}, last)
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
	if what == store.Renewed && (in.ID != signIn || in.Who.ID != in.User || in.AsOf != b.latest()) {
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

// TestRefreshPage uses spent refresh tokens as tabs of a browser do that are late: for
// half a minute each is good for the newest, whichever was spent since.
func TestRefreshPage(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		signIn := b.signIn(b.ann, "hash of ann")
		page := func(what string, generation uint32, want store.Refreshed, wantNext uint32) {
			t.Helper()
			in, got, err := b.RefreshPageSignIn(t.Context(), signIn, generation, last)
			ok(t, err)
			if got != want || want == store.Renewed && in.Generation != wantNext {
				t.Errorf("%s: RefreshPageSignIn(generation %d) = %v, generation %d, want %v, %d", what, generation, got, in.Generation, want, wantNext)
			}
		}
		page("the first token", 0, store.Renewed, 1)
		b.add(10 * time.Second)
		page("its successor", 1, store.Renewed, 2)
		b.add(10 * time.Second)
		b.refreshes("by anybody", signIn, 2, store.Renewed, 3)
		b.add(10 * time.Second)
		for generation := range uint32(3) {
			page("spent within half a minute", generation, store.Renewed, 3)
		}
		b.refreshes("two back, by anybody", signIn, 1, store.Reused, 0)
		page("one that was not made yet", 4, store.Reused, 0)
		b.add(time.Microsecond)
		page("spent longer ago", 0, store.Reused, 0)
		page("spent within half a minute", 1, store.Renewed, 3)
		b.add(10 * time.Second)
		page("spent longer ago", 1, store.Reused, 0)
		page("spent within half a minute", 2, store.Renewed, 3)
		b.add(10 * time.Second)
		page("spent longer ago", 2, store.Reused, 0)
		page("the newest", 3, store.Renewed, 4)
		// Only so many are remembered, however quick a client is.
		for generation := uint32(4); generation < 40; generation++ {
			page("the newest", generation, store.Renewed, generation+1)
		}
		page("the 32nd back", 8, store.Renewed, 40)
		page("the 33rd back", 7, store.Reused, 0)
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
		token := identity.User{Name: store.UserName(b.ann.User), SignIn: signIn, AsOf: b.latest()}
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
			return identity.User{Name: store.UserName(v.User), SignIn: signIn, AsOf: b.latest()}
		}
		keeps, ends, bobs := token(b.ann, keep), token(b.ann, end), token(b.bob, bob)
		old, wrong := "hash of ann", "hash of bob"
		before := b.head()
		_, changed, err := b.ChangePassword(t.Context(), b.ann.User, &wrong, "new", keep)
		if err != nil || changed || b.head() != before {
			t.Errorf("ChangePassword(from another) = %v, %v, want no change", changed, err)
		}
		_, changed, err = b.ChangePassword(t.Context(), b.ann.User, &old, "new", keep)
		if err != nil || !changed || b.head() != before+1 {
			t.Errorf("ChangePassword() = %v, %v, want a change", changed, err)
		}
		if _, signedIn, err := b.CreateSignIn(t.Context(), b.ann.User, old, store.Device{}, last); signedIn || err != nil {
			t.Errorf("CreateSignIn(old password) = %v, %v, want refused", signedIn, err)
		}
		b.refreshes("the one that is kept", keep, 0, store.Renewed, 1)
		b.refreshes("the other one", end, 0, store.Over, 0)
		b.refreshes("another user's", bob, 0, store.Renewed, 1)
		b.isOut("a token of the one that is kept", keeps, false)
		b.isOut("a token of the other one", ends, true)
		if _, changed, err = b.ChangePassword(t.Context(), b.ann.User, nil, "newer", ""); err != nil || !changed {
			t.Errorf("ChangePassword(by an administrator) = %v, %v", changed, err)
		}
		b.refreshes("after an administrator's change", keep, 1, store.Over, 0)
		b.isOut("a token, after an administrator's change", keeps, true)
		b.isOut("another user's token", bobs, false)
		if _, changed, err = b.ChangePassword(t.Context(), "nobody", nil, "x", ""); err != nil || changed {
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
				_, _, err := b.ChangePassword(t.Context(), b.ann.User, nil, "new", "")
				return err
			}
			_, _, err := b.CreateSignIn(t.Context(), b.ann.User, "hash of ann", store.Device{}, last)
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
