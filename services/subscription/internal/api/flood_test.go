package api_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// A flood of sign-ins, by one address that guesses a password and by all networks of a
// /48 with names that it makes up, refuses nobody else: who signs in from elsewhere, from
// a known device, and who is signed in is answered. Operators hear of the flood.
func TestFloodOfSignIns(t *testing.T) {
	w := onSQLite(t)
	const flood, line, networks, users = 60, 16, 256, 5
	known, err := w.signInAt("192.0.2.1", "admin", adminPassword, "")
	w.must(err)
	w.password(w.annName, "correct horse battery")
	busy := make([]*token.HashSlot, 2)
	for i := range busy {
		busy[i], err = w.passwords.Acquire(t.Context(), token.Place{})
		w.must(err)
	}
	flooded, served := make(chan error, flood+networks), make(chan error, 3*users)
	for range flood {
		go func() {
			_, err := w.signInAt("198.51.100.1", "admin", "a guess", "")
			flooded <- err
		}()
	}
	for range flood - line { // no slot is free, so only one line can wait
		refused(t, "the flood", <-flooded, codes.ResourceExhausted, "too many sign-ins are under way; try again")
	}
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	for i := range networks {
		go func() {
			_, err := w.portal.signIns.SignIn(at(ctx, fmt.Sprintf("2001:db8:0:%x::1", i)),
				&identityv1.SignInRequest{Username: fmt.Sprint("nobody", i), Password: "a guess"})
			flooded <- err
		}()
	}
	for range networks / 4 { // strangers leave a quarter of the places free
		refused(t, "the flood", <-flooded, codes.ResourceExhausted, "too many sign-ins are under way; try again")
	}
	for i := range users {
		go func() {
			_, err := w.signInAt(fmt.Sprintf("203.0.%d.1", i), "ann", "correct horse battery", "")
			served <- err
		}()
		go func() {
			_, err := w.signInAt("192.0.2.1", "admin", adminPassword, known.GetDeviceKey())
			served <- err
		}()
		go func() { served <- w.me(known.GetAccessToken()) }()
	}
	for _, slot := range busy {
		slot.Release()
	}
	for range 3 * users {
		if err := <-served; err != nil {
			t.Errorf("beside the flood: %v", err)
		}
	}
	hangUp() // who still waits need not be served
	for range line + networks - networks/4 {
		if <-flooded == nil {
			t.Error("a guess signs in")
		}
	}
	if log := strings.Join(w.events(), "\n"); !strings.Contains(log, `what=admin why="too many sign-ins are under way; try again"`) {
		t.Errorf("no security event of a sign-in that was refused because too many wait:\n%s", log)
	}
}
