package subscription

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api"
	"github.com/tidegatehq/tidegate/services/subscription/internal/password"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// Recover makes a user of the database at url an administrator who can sign in with
// this password, and ends the user's sign-ins. It is for when no administrator can
// sign in any more. The service may run meanwhile, and learns of the change as of
// those of its other replicas.
func Recover(ctx context.Context, url, username, chosen string) error {
	rules, err := password.NewRules()
	if err != nil {
		return err
	}
	if err := rules.Check(chosen, username); err != nil {
		return fmt.Errorf("--password: the password %w", err)
	}
	if err := sqldb.CheckSchema(ctx, url, store.Schema()); err != nil {
		return err
	}
	db, err := sqldb.Open(ctx, url)
	if err != nil {
		return err
	}
	defer db.Close()
	made, err := sqldb.HasTable(ctx, db, "users")
	if err != nil {
		return err
	}
	if !made {
		return errors.New("the database has no users yet: the first start of the server makes an administrator")
	}
	slot, err := token.NewPasswords(token.DefaultWaiting()).Acquire(ctx, token.Place{})
	if err != nil {
		return err
	}
	hash := slot.Hash(chosen)
	slot.Release()
	changes := change.NewLog(identity.Subscription, db, slog.New(slog.DiscardHandler), time.Now, 0)
	changes.Describe(api.Resource)
	if err := store.New(db, changes, time.Now).Recover(ctx, username, hash); err != nil {
		return fmt.Errorf("no administrator was recovered: %w", err)
	}
	return nil
}
