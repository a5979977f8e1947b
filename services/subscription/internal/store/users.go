package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// User is somebody who signs in.
type User struct {
	ID          string
	Username    string
	DisplayName string
	// Roles are words of package identity.
	Roles     []string
	CreatedAt time.Time
	UpdatedAt time.Time
	Etag      int64
}

// admin reports whether the user has the role.
func (p User) admin() bool { return slices.Contains(p.Roles, identity.RoleAdmin) }

func scanUser(r row, more ...any) (User, error) {
	var p User
	var roles string
	var created, updated int64
	err := r.Scan(append([]any{&p.ID, &p.Username, &p.DisplayName, &roles, &created, &updated, &p.Etag}, more...)...)
	p.Roles, p.CreatedAt, p.UpdatedAt = strings.Fields(roles), at(created), at(updated)
	return p, err
}

// CreateUser adds a user with the hash of a password, or "" for none.
func (s *Store) CreateUser(ctx context.Context, p User, password string) (User, error) {
	p.ID, p.Etag, p.CreatedAt = id.New(), 1, s.moment()
	p.UpdatedAt = p.CreatedAt
	err := s.write(ctx, "create user", func(tx *sqldb.Tx) (change.Record, error) {
		if err := insertUser(ctx, tx, p, password); err != nil {
			return change.Record{}, err
		}
		return change.Record{Resource: UserName(p.ID)}, nil
	})
	return p, err
}

func insertUser(ctx context.Context, tx *sqldb.Tx, p User, password string) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO users (id, username, username_fold, display_name, roles, admin, password, signed_in_at, created_at, updated_at, etag)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $10)`,
		p.ID, p.Username, fold(p.Username), p.DisplayName, strings.Join(p.Roles, " "), p.admin(), password,
		p.CreatedAt.UnixMicro(), p.UpdatedAt.UnixMicro(), p.Etag)
	if sqldb.IsUnique(err) {
		return errUsername(p.Username)
	}
	return err
}

func errUsername(name string) error { return fault.AlreadyExists("the username %q is taken", name) }

// User returns the user with this id, or fault.NotFound.
func (s *Store) User(ctx context.Context, id string) (User, error) {
	p, err := scanUser(s.db.QueryRowContext(ctx, `
		SELECT id, username, display_name, roles, created_at, updated_at, etag
		FROM users WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return User{}, errNoUser(id)
	}
	if err != nil {
		return User{}, fmt.Errorf("read user %q: %w", id, err)
	}
	return p, nil
}

func errNoUser(id string) error { return fault.NotFound("%s", UserName(id)) }

// Password returns the user with this username and the hash of their
// password, "" where they have none. Where there is no such user, known is
// false.
func (s *Store) Password(ctx context.Context, username string) (p User, hash string, known bool, err error) {
	p, err = scanUser(s.db.QueryRowContext(ctx, `
		SELECT id, username, display_name, roles, created_at, updated_at, etag, password
		FROM users WHERE username_fold = $1`, fold(username)), &hash)
	if errors.Is(err, sql.ErrNoRows) {
		return User{}, "", false, nil
	}
	if err != nil {
		return User{}, "", false, fmt.Errorf("read user by username: %w", err)
	}
	return p, hash, true, nil
}

// Users returns at most n users after a place, oldest first. The filter may
// have username.
func (s *Store) Users(ctx context.Context, filter map[string]string, after Place, n int) ([]User, error) {
	name := value(filter, "username")
	if text, ok := name.(string); ok {
		name = fold(text)
	}
	var out []User
	err := each(ctx, s.db, func(r row) error {
		p, err := scanUser(r)
		out = append(out, p)
		return err
	}, `
		SELECT id, username, display_name, roles, created_at, updated_at, etag
		FROM users
		WHERE (CAST($1 AS TEXT) IS NULL OR username_fold = $1) AND (created_at, id) > ($2, $3)
		ORDER BY created_at, id LIMIT $4`, name, after.Time, after.ID, n)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return out, nil
}

// lockAdmins makes changes that may take the last administrator away wait for
// each other.
func lockAdmins(ctx context.Context, tx *sqldb.Tx) error {
	_, err := tx.ExecContext(ctx, `UPDATE installation SET id = 1 WHERE id = 1`)
	return err
}

// keepAdmin refuses a change after which nobody is an administrator.
func keepAdmin(ctx context.Context, tx *sqldb.Tx) error {
	var left bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users WHERE admin)`).Scan(&left); err != nil {
		return err
	}
	if !left {
		return fault.WithReason(fault.Precondition("this is the last administrator"), "LAST_ADMINISTRATOR")
	}
	return nil
}

// UpdateUser lets edit change a user's username, display name and roles.
func (s *Store) UpdateUser(ctx context.Context, id, etag string, edit func(*User) error) (User, error) {
	var p User
	err := s.write(ctx, "update user", func(tx *sqldb.Tx) (change.Record, error) {
		if err := lockAdmins(ctx, tx); err != nil {
			return change.Record{}, err
		}
		var err error
		if p, err = s.touchUser(ctx, tx, id, etag); err != nil {
			return change.Record{}, err
		}
		if err := edit(&p); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE users SET username = $1, username_fold = $2, display_name = $3, roles = $4, admin = $5 WHERE id = $6`,
			p.Username, fold(p.Username), p.DisplayName, strings.Join(p.Roles, " "), p.admin(), p.ID)
		if sqldb.IsUnique(err) {
			return change.Record{}, errUsername(p.Username)
		}
		if err != nil {
			return change.Record{}, err
		}
		return change.Record{Resource: UserName(id)}, keepAdmin(ctx, tx)
	})
	return p, err
}

// touchUser locks a user's row for the transaction, checks the etag and
// moves it on.
func (s *Store) touchUser(ctx context.Context, tx *sqldb.Tx, id, etag string) (User, error) {
	p, err := scanUser(tx.QueryRowContext(ctx, `
		UPDATE users SET etag = etag + 1, updated_at = $1 WHERE id = $2
		RETURNING id, username, display_name, roles, created_at, updated_at, etag`, s.moment().UnixMicro(), id))
	if errors.Is(err, sql.ErrNoRows) {
		return User{}, errNoUser(id)
	}
	if err != nil {
		return User{}, err
	}
	return p, checkEtag(etag, p.Etag-1)
}

// DeleteUser removes a user with their applications, OAuth clients, subscriptions
// and sign-ins.
func (s *Store) DeleteUser(ctx context.Context, id, etag string) error {
	return s.write(ctx, "delete user", func(tx *sqldb.Tx) (change.Record, error) {
		if err := lockAdmins(ctx, tx); err != nil {
			return change.Record{}, err
		}
		if _, err := s.touchUser(ctx, tx, id, etag); err != nil {
			return change.Record{}, err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM users WHERE id = $1`, id); err != nil {
			return change.Record{}, err
		}
		name := UserName(id)
		return change.Record{Resource: name, Event: event(backplanev1.GrantEvent_CAUSE_USER_DELETED, name)}, keepAdmin(ctx, tx)
	})
}
