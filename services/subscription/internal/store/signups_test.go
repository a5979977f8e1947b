package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// pending signs up a user who waits for approval.
func (b *bench) pending(username string) string {
	b.t.Helper()
	u, err := b.SignUp(b.t.Context(), store.User{Username: username, Roles: []string{"subscriber"}, State: store.UserPending}, "hash of "+username)
	ok(b.t, err)
	return u.ID
}

// TestPendingUser cannot sign in, counts for no administrator, and is let in by approval.
func TestPendingUser(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		id := b.pending("eve")
		in := func() bool {
			_, signedIn, err := b.CreateSignIn(t.Context(), id, "hash of eve", store.Device{}, last)
			ok(t, err)
			return signedIn
		}
		if in() {
			t.Error("a pending user signs in")
		}
		_, err := b.UpdateUser(t.Context(), b.admin, id, func(u store.User) (store.User, error) {
			u.Roles = []string{"admin"}
			return u, nil
		})
		ok(t, err)
		for u, err := range b.Users(t.Context(), store.UserFilter{}, false, sqldb.TimeKey{}) {
			ok(t, err)
			if slices.Contains(u.Roles, "admin") && u.ID != id && u.ID != b.admin.User {
				ok(t, b.DeleteUser(t.Context(), b.admin, u.ID, allow[store.User]))
			}
		}
		refused(t, "DeleteUser() of the last administrator who is not pending",
			b.DeleteUser(t.Context(), b.admin, b.admin.User, allow[store.User]), codes.FailedPrecondition, "last administrator")
		u, err := b.ApproveUser(t.Context(), b.admin, id, allow[store.User])
		if err != nil || u.State != store.UserActive || !in() {
			t.Errorf("ApproveUser() = %v, %v, want an active user who signs in", u, err)
		}
	})
}

// TestPendingUsersAreBounded has a thousand users wait, and 16 more sign up at once: of
// those the last place takes one.
func TestPendingUsersAreBounded(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ok(t, b.db.InTx(t.Context(), func(tx *sqldb.Tx) error {
			for i := range 999 {
				_, err := tx.ExecContext(t.Context(), `
					INSERT INTO users (id, username, username_fold, display_name, search, roles, admin, state, password, signed_in_at, created_at, updated_at, etag)
					VALUES ($1, $1, $1, '', $1, 'subscriber', FALSE, 3, '', 0, $2, $2, 1)`, fmt.Sprintf("waits%d", i), b.now().UnixMicro())
				if err != nil {
					return err
				}
			}
			return nil
		}))
		errs := race(func(i int) error {
			_, err := b.SignUp(t.Context(), store.User{Username: fmt.Sprintf("late%d", i), Roles: []string{"subscriber"}, State: store.UserPending}, "hash")
			return err
		})
		one(t, "SignUp()", errs, codes.ResourceExhausted)
		for _, err := range errs {
			if err != nil && fault.Reason(err) != fault.ReasonTooManySignUps {
				t.Errorf("SignUp() = %v, want the reason %s", err, fault.ReasonTooManySignUps)
			}
		}
		if n := b.count("users WHERE state = 3"); n != 1000 {
			t.Errorf("%d users wait, want 1000", n)
		}
	})
}

// TestPurgePending deletes those who were not approved in 30 days, each by a change of the
// service's own; others stay.
func TestPurgePending(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		first := b.pending("first")
		approved := b.pending("approved")
		_, err := b.ApproveUser(t.Context(), b.admin, approved, allow[store.User])
		ok(t, err)
		b.add(time.Microsecond)
		second := b.pending("second")
		purged := func(want ...string) {
			t.Helper()
			before := b.head()
			names, err := b.PurgePending(t.Context())
			if err != nil || !slices.Equal(names, want) || b.head() != before+uint64(len(want)) {
				t.Errorf("PurgePending() = %v, %v, %d changes, want %v, a change each", names, err, b.head()-before, want)
			}
		}
		b.add(30*24*time.Hour - time.Microsecond)
		purged()
		b.add(time.Microsecond)
		purged("users/" + first)
		b.add(time.Hour)
		purged("users/" + second)
		var actor, action string
		ok(t, b.db.QueryRowContext(t.Context(), `SELECT actor, action FROM change ORDER BY number DESC LIMIT 1`).Scan(&actor, &action))
		if actor != "services/subscription" || action != "DeleteUser" {
			t.Errorf("the change is by %s, %s, want services/subscription, DeleteUser", actor, action)
		}
		for _, id := range []string{approved, b.ann.User} {
			if _, err := b.User(t.Context(), b.admin, id); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestCountSignUp counts ten sign-ups of a place at once, whoever counts, and one each six
// minutes after that.
func TestCountSignUp(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		waits := make([]time.Duration, 16)
		for i, err := range race(func(i int) (err error) {
			waits[i], err = b.CountSignUp(t.Context(), "192.0.2.1/32")
			return err
		}) {
			ok(t, err)
			if waits[i] != 0 && waits[i] != 6*time.Minute {
				t.Errorf("wait = %v, want none or 6m", waits[i])
			}
		}
		if slices.Sort(waits); waits[9] != 0 || waits[10] == 0 {
			t.Errorf("waits = %v, want none for ten", waits)
		}
		for range 2 {
			b.add(6 * time.Minute)
			for _, want := range []time.Duration{0, 6 * time.Minute} {
				if wait, err := b.CountSignUp(t.Context(), "192.0.2.1/32"); wait != want || err != nil {
					t.Errorf("CountSignUp() = %v, %v, want %v", wait, err, want)
				}
			}
		}
		if wait, err := b.CountSignUp(t.Context(), "192.0.2.2/32"); wait != 0 || err != nil {
			t.Errorf("CountSignUp() of another = %v, %v, want none", wait, err)
		}
	})
}
