package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// AdministratorName is the username of the first administrator.
const AdministratorName = "admin"

// Installation is what the first start fixes.
type Installation struct {
	// Issuer is the URL that tokens are issued under.
	Issuer string
	// Canary is a known text, sealed with the master key.
	Canary []byte
	// RefreshKey is what refresh tokens are authenticated with, sealed.
	RefreshKey []byte
}

// Installation returns what the first start fixed; known is false before that.
func (s *Store) Installation(ctx context.Context) (i Installation, known bool, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT issuer, canary, refresh_key FROM installation WHERE id = 1`).
		Scan(&i.Issuer, &i.Canary, &i.RefreshKey)
	if errors.Is(err, sql.ErrNoRows) {
		return Installation{}, false, nil
	}
	if err != nil {
		return Installation{}, false, fmt.Errorf("read installation: %w", err)
	}
	return i, true, nil
}

// Install fixes the installation and adds its first administrator, with the hash of
// a password, unless another replica has just done so.
func (s *Store) Install(ctx context.Context, i Installation, password string) error {
	return s.log.Write(ctx, "install", func(tx *change.Tx) (change.Record, error) {
		first, err := sqldb.Changed(tx.ExecContext(ctx, `
			INSERT INTO installation (id, issuer, canary, refresh_key, created_at) VALUES (1, $1, $2, $3, $4)
			ON CONFLICT (id) DO NOTHING`,
			i.Issuer, i.Canary, i.RefreshKey, tx.Time.UnixMicro()))
		if err != nil || !first {
			return change.Record{Skip: true}, err
		}
		admin := User{
			ID: id.New(), Username: AdministratorName, DisplayName: "Administrator", State: UserActive,
			Roles: []string{identity.RoleAdmin}, CreatedAt: tx.Time, UpdatedAt: tx.Time, Etag: 1,
		}
		if err := insertUser(ctx, tx, admin, password); err != nil {
			return change.Record{}, err
		}
		return change.Record{Actor: "services/subscription", Action: "CreateUser", Resource: UserName(admin.ID), After: admin, Secrets: passwordOf(password)}, nil
	})
}

// Reseal replaces what is sealed.
func (s *Store) Reseal(ctx context.Context, canary, refreshKey []byte) error {
	_, err := s.db.ExecContext(ctx, `UPDATE installation SET canary = $1, refresh_key = $2 WHERE id = 1`, canary, refreshKey)
	if err != nil {
		return fmt.Errorf("seal what the first start fixed again: %w", err)
	}
	return nil
}

// Recover makes the user with this username an administrator who can sign in: it sets
// the hash of a new password, gives the role, restores the user, and ends the user's
// sign-ins and what failed sign-ins have held up. The service may run meanwhile; the
// change tells it.
func (s *Store) Recover(ctx context.Context, username, password string) error {
	return s.log.Write(ctx, "recover administrator", func(tx *change.Tx) (change.Record, error) {
		old, found, err := sqldb.One(ctx, tx, scanUser, selectUser+`WHERE username_fold = $1`, sqldb.Fold(username))
		if err != nil {
			return change.Record{}, fmt.Errorf("read user by username: %w", err)
		}
		if !found {
			return change.Record{}, noSuchUser(ctx, tx, username)
		}
		u := old
		if u.State = UserActive; !u.admin() {
			u.Roles = append(slices.Clip(u.Roles), identity.RoleAdmin)
		}
		u.Etag, u.UpdatedAt = old.Etag+1, tx.Time
		_, err = tx.ExecContext(ctx, `
			UPDATE users SET roles = $1, admin = TRUE, state = 1, password = $2, updated_at = $3, etag = $4 WHERE id = $5`,
			strings.Join(u.Roles, " "), password, u.UpdatedAt.UnixMicro(), u.Etag, u.ID)
		if err != nil {
			return change.Record{}, err
		}
		if err := endSignIns(ctx, tx, u.ID); err != nil {
			return change.Record{}, err
		}
		if err := forgetFailures(ctx, tx, u.ID); err != nil {
			return change.Record{}, err
		}
		name := UserName(u.ID)
		ended, err := endAccess(ctx, tx, name)
		return change.Record{
			Actor: "services/subscription", Action: "RecoverAdministrator", Resource: name,
			Before: old, After: u, Secrets: []string{passwordSecret},
			Event: event(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, name), Others: []proto.Message{ended},
		}, err
	})
}

// shownAdministrators is how many administrators noSuchUser names.
const shownAdministrators = 5

// noSuchUser says that nobody has a username, and who the administrators are.
func noSuchUser(ctx context.Context, tx *change.Tx, username string) error {
	names, err := sqldb.All(ctx, tx, scanID, `SELECT username FROM users WHERE admin ORDER BY created_at, id LIMIT $1`, shownAdministrators)
	if err != nil {
		return fmt.Errorf("read administrators: %w", err)
	}
	return fault.Precondition("there is no user %q; administrators are %s", username, strings.Join(names, ", "))
}
