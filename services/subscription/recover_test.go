package subscription

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// TestRecover recovers a user who has lost all: the role, the password and the right to
// come in. It works on both engines, beside a service that has the database open, and
// leaves a change.
func TestRecover(t *testing.T) {
	for engine, url := range map[string]func() string{
		"sqlite":   func() string { return "sqlite:" + filepath.Join(t.TempDir(), "s.db") },
		"postgres": func() string { return testdb.PostgresURL(t) },
	} {
		t.Run(engine, func(t *testing.T) { testRecover(t, url()) })
	}
}

func testRecover(t *testing.T, url string) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const password = "a password to come back with"
	if err := Recover(ctx, url, "ann", password); err == nil || !strings.Contains(err.Error(), "the database has no users yet") {
		t.Errorf("Recover() of an empty database = %v", err)
	}
	db, err := sqldb.OpenSchema(ctx, url, store.Schema())
	must(err)
	defer db.Close()
	changes := change.NewLog(identity.Subscription, db, slog.New(slog.DiscardHandler), time.Now, 0)
	st := store.New(db, changes, time.Now)
	must(st.Install(ctx, store.Installation{Issuer: "https://x.test", Canary: []byte{1}, RefreshKey: []byte{1}}, "hash"))
	ann, _, err := st.CreateUser(ctx, requestid.Request{}, store.User{Username: "ann", Roles: []string{"subscriber"}}, "hash")
	must(err)
	in, _, err := st.CreateSignIn(ctx, ann.ID, "hash", store.Device{}, store.Lasting{Idle: time.Hour, Most: time.Hour})
	must(err)
	all := identity.Viewer{All: true}
	_, err = st.SuspendUser(ctx, all, ann.ID, func(store.User) error { return nil })
	must(err)
	attempt := store.Attempt{Username: "ann", From: "192.0.2.1/32"}
	lockout := store.Lockout{Each: 10, Name: 10, Pause: 30 * time.Second}
	for range 20 {
		must(st.CountFailure(ctx, attempt, lockout))
	}
	before, err := st.Head(ctx)
	must(err)

	must(Recover(ctx, url, "Ann", password))

	got, hash, _, err := st.Password(ctx, "ann")
	must(err)
	slot, err := token.NewPasswords(token.DefaultWaiting()).Acquire(ctx, token.Place{})
	must(err)
	defer slot.Release()
	if strings.Join(got.Roles, " ") != "subscriber admin" || got.State != store.UserActive || !slot.Matches(hash, password) {
		t.Errorf("recovered: %v, want an active administrator with the new password", got)
	}
	if wait, _, err := st.SignInDelay(ctx, attempt, lockout); wait != 0 || err != nil {
		t.Errorf("the next sign-in must wait %v, %v", wait, err)
	}
	if ended, err := st.Ended(ctx, identity.User{Name: store.UserName(ann.ID), SignIn: in.ID, AsOf: moment.Moment{Change: before}}); !ended || err != nil {
		t.Errorf("a token from before: ended = %v, %v", ended, err)
	}
	audit, err := changes.Get(ctx, before+1)
	must(err)
	if audit.GetActor() != "services/subscription" || audit.GetAction() != "RecoverAdministrator" || audit.GetResource() != store.UserName(ann.ID) {
		t.Errorf("change = %v, want the recovery", audit)
	}
	if err := Recover(context.Background(), url, "ann", "short"); err == nil || !strings.Contains(err.Error(), "12") {
		t.Errorf("Recover() with a short password = %v, want it refused", err)
	}
}
