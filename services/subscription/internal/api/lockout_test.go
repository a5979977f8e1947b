package api_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// at returns a context of a call that the portal passes on from an address.
func at(ctx context.Context, address string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, clientaddr.Metadata, address)
}

// signInAt signs in from an address, with the key of a device or "".
func (w *world) signInAt(address, username, password, deviceKey string) (*identityv1.SignInResponse, error) {
	return w.portal.signIns.SignIn(at(w.t.Context(), address), &identityv1.SignInRequest{
		Username: username, Password: password, DeviceKey: deviceKey,
	})
}

// lock fails from four networks as often as a name may.
func (w *world) lock(t *testing.T, name string) {
	t.Helper()
	for i := range 25 {
		_, err := w.signInAt(fmt.Sprintf("198.51.%d.1", i%4), name, "a guess", "")
		refused(t, fmt.Sprint("guess ", i), err, codes.Unauthenticated, wrongPassword)
	}
}

const locked = "too many failed sign-ins for this name; try again in 30s"

// A guesser is locked out, and not the user. All addresses of an IPv6 /64 are one.
func TestGuesserIsLockedOutAlone(t *testing.T) {
	w := onSQLite(t)
	for i := range 10 {
		_, err := w.signInAt(fmt.Sprintf("2001:db8::%x", i+1), "admin", "a guess", "")
		refused(t, "a guess", err, codes.Unauthenticated, wrongPassword)
	}
	_, err := w.signInAt("2001:db8::ffff", "admin", adminPassword, "")
	refused(t, "the same /64", err, codes.ResourceExhausted, locked)
	if _, err := w.signInAt("2001:db8:0:1::1", "admin", adminPassword, ""); err != nil {
		t.Errorf("SignIn from another network = %v", err)
	}
	_, err = w.signInAt("2001:db8::1", "admin", adminPassword, "")
	refused(t, "the guesser after the user's sign-in", err, codes.ResourceExhausted, locked)
}

// Guesses from many networks lock a name, made up or not. A device that its user has
// signed in from passes, and who is signed in changes the password; nobody else's key
// helps.
func TestKnownDeviceAndSignedInUserPassTheLock(t *testing.T) {
	w := onSQLite(t)
	in, err := w.signInAt("192.0.2.1", "admin", adminPassword, "")
	w.must(err)
	if in.GetDeviceKey() == "" {
		t.Fatal("a sign-in returns no device key")
	}
	for _, name := range []string{"admin", "nobody"} {
		w.lock(t, name)
		_, err = w.signInAt("192.0.2.1", name, adminPassword, "")
		refused(t, name+" from a network without failures", err, codes.ResourceExhausted, locked)
	}
	_, err = w.signInAt("192.0.2.1", "nobody", adminPassword, in.GetDeviceKey())
	refused(t, "another name with the key", err, codes.ResourceExhausted, locked)
	_, err = w.signInAt("192.0.2.1", "admin", adminPassword, in.GetDeviceKey()+"x")
	refused(t, "a made-up key", err, codes.ResourceExhausted, locked)
	again, err := w.signInAt("203.0.113.9", "admin", adminPassword, in.GetDeviceKey())
	if err != nil || again.GetDeviceKey() != in.GetDeviceKey() {
		t.Errorf("SignIn of a known device = %v, want it to keep its key", err)
	}
	change := func(current, next string) error {
		_, err := w.portal.users.ChangePassword(at(bearer(t.Context(), again.GetAccessToken()), "203.0.113.9"),
			&identityv1.ChangePasswordRequest{Name: "users/me", CurrentPassword: current, NewPassword: next})
		return err
	}
	for range 10 {
		refused(t, "a wrong current password", change("a guess", "correct horse battery"), codes.InvalidArgument, "current_password: is wrong")
	}
	refused(t, "too many wrong ones", change(adminPassword, "correct horse battery"), codes.ResourceExhausted, locked)
	w.add(30 * time.Second)
	w.must(change(adminPassword, "correct horse battery"))
	for range 10 {
		_, err = w.signInAt("203.0.113.9", "admin", "a guess", in.GetDeviceKey())
		refused(t, "a guess of a known device", err, codes.Unauthenticated, wrongPassword)
	}
	_, err = w.signInAt("203.0.113.9", "admin", "correct horse battery", in.GetDeviceKey())
	refused(t, "a known device that guesses", err, codes.ResourceExhausted, locked)
}

// An administrator lifts the lock: by unlocking, and by a new password.
func TestAdministratorLiftsTheLock(t *testing.T) {
	w := onSQLite(t)
	const first, second = "correct horse battery", "staple battery horse"
	w.password(w.annName, first)
	w.lock(t, "ann")
	_, err := w.signInAt("192.0.2.1", "ann", first, "")
	refused(t, "while it is locked", err, codes.ResourceExhausted, locked)
	_, err = w.users.UnlockUser(w.bob, &identityv1.UnlockUserRequest{Name: "users/me"})
	refused(t, "UnlockUser by the user", err, codes.PermissionDenied, "this needs the role admin")
	_, err = w.users.UnlockUser(w.root, &identityv1.UnlockUserRequest{Name: w.annName})
	w.must(err)
	if _, err := w.signInAt("192.0.2.1", "ann", first, ""); err != nil {
		t.Errorf("SignIn of an unlocked user = %v", err)
	}
	w.lock(t, "ann")
	w.password(w.annName, second)
	if _, err := w.signInAt("198.51.0.1", "ann", second, ""); err != nil {
		t.Errorf("SignIn with a password that an administrator has set = %v", err)
	}
}

// Failed sign-ins that the database does not count yet, because others write, keep nobody
// from having a password checked.
func TestNoPasswordWaitsForTheDatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		errs, begun := make(chan error, 2), make(chan struct{}, 2)
		w.must(w.db.InTx(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.ExecContext(t.Context(), `INSERT INTO sign_in_failure (username_fold, place, penalty_until) VALUES ('admin', '', 1)`)
			if err != nil {
				return err
			}
			for i := range 2 {
				go func() {
					begun <- struct{}{}
					_, err := w.signInAt(fmt.Sprintf("198.51.%d.1", i), "admin", "a guess", "")
					errs <- err
				}()
				<-begun
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // a slot that is kept would be waited for for ever
			defer cancel()
			for range 4 { // longer than the two take to hash
				slots := []*token.HashSlot{}
				for range 2 {
					slot, err := w.passwords.Acquire(ctx, token.Place{})
					if err != nil {
						return err
					}
					slot.Hash("another password")
					slots = append(slots, slot)
				}
				for _, slot := range slots {
					slot.Release()
				}
			}
			return nil
		}))
		for range 2 {
			refused(t, "a guess", <-errs, codes.Unauthenticated, wrongPassword)
		}
	})
}
