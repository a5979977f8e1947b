package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/tidegatehq/tidegate/services/kit/change"
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
			ID: id.New(), Username: AdministratorName, DisplayName: "Administrator",
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
