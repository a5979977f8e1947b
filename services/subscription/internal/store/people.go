package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Person is somebody who signs in.
type Person struct {
	ID          string
	Username    string
	DisplayName string
	// Roles are words of package identity.
	Roles     []string
	CreatedAt time.Time
	UpdatedAt time.Time
	Etag      int64
}

// admin reports whether the person has the role.
func (p Person) admin() bool { return slices.Contains(p.Roles, identity.RoleAdmin) }

func scanPerson(r row, more ...any) (Person, error) {
	var p Person
	var roles string
	var created, updated int64
	err := r.Scan(append([]any{&p.ID, &p.Username, &p.DisplayName, &roles, &created, &updated, &p.Etag}, more...)...)
	p.Roles, p.CreatedAt, p.UpdatedAt = strings.Fields(roles), at(created), at(updated)
	return p, err
}

// CreatePerson adds a person with the hash of a password, or "" for none.
func (s *Store) CreatePerson(ctx context.Context, p Person, password string) (Person, error) {
	p.ID, p.Etag, p.CreatedAt = id.New(), 1, s.moment()
	p.UpdatedAt = p.CreatedAt
	err := s.write(ctx, "create person", func(tx *sqldb.Tx) (change.Record, error) {
		if err := insertPerson(ctx, tx, p, password); err != nil {
			return change.Record{}, err
		}
		return change.Record{Resource: PersonName(p.ID)}, nil
	})
	return p, err
}

func insertPerson(ctx context.Context, tx *sqldb.Tx, p Person, password string) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO person (id, username, username_fold, display_name, roles, admin, password, signed_in_at, created_at, updated_at, etag)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $10)`,
		p.ID, p.Username, fold(p.Username), p.DisplayName, strings.Join(p.Roles, " "), p.admin(), password,
		p.CreatedAt.UnixMicro(), p.UpdatedAt.UnixMicro(), p.Etag)
	if sqldb.IsUnique(err) {
		return errUsername(p.Username)
	}
	return err
}

func errUsername(name string) error { return fault.AlreadyExists("the username %q is taken", name) }

// Person returns the person with this id, or fault.NotFound.
func (s *Store) Person(ctx context.Context, id string) (Person, error) {
	p, err := scanPerson(s.db.QueryRowContext(ctx, `
		SELECT id, username, display_name, roles, created_at, updated_at, etag
		FROM person WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Person{}, errNoPerson(id)
	}
	if err != nil {
		return Person{}, fmt.Errorf("read person %q: %w", id, err)
	}
	return p, nil
}

func errNoPerson(id string) error { return fault.NotFound("%s", PersonName(id)) }

// Password returns the person with this username and the hash of their
// password, "" where they have none. Where there is no such person, known is
// false.
func (s *Store) Password(ctx context.Context, username string) (p Person, hash string, known bool, err error) {
	p, err = scanPerson(s.db.QueryRowContext(ctx, `
		SELECT id, username, display_name, roles, created_at, updated_at, etag, password
		FROM person WHERE username_fold = $1`, fold(username)), &hash)
	if errors.Is(err, sql.ErrNoRows) {
		return Person{}, "", false, nil
	}
	if err != nil {
		return Person{}, "", false, fmt.Errorf("read person by username: %w", err)
	}
	return p, hash, true, nil
}

// People returns at most n people after a place, oldest first. The filter may
// have username.
func (s *Store) People(ctx context.Context, filter map[string]string, after Place, n int) ([]Person, error) {
	name := value(filter, "username")
	if text, ok := name.(string); ok {
		name = fold(text)
	}
	var out []Person
	err := each(ctx, s.db, func(r row) error {
		p, err := scanPerson(r)
		out = append(out, p)
		return err
	}, `
		SELECT id, username, display_name, roles, created_at, updated_at, etag
		FROM person
		WHERE (CAST($1 AS TEXT) IS NULL OR username_fold = $1) AND (created_at, id) > ($2, $3)
		ORDER BY created_at, id LIMIT $4`, name, after.Time, after.ID, n)
	if err != nil {
		return nil, fmt.Errorf("list people: %w", err)
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
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM person WHERE admin)`).Scan(&left); err != nil {
		return err
	}
	if !left {
		return fault.WithReason(fault.Precondition("this is the last administrator"), "LAST_ADMINISTRATOR")
	}
	return nil
}

// UpdatePerson lets edit change a person's username, display name and roles.
func (s *Store) UpdatePerson(ctx context.Context, id, etag string, edit func(*Person) error) (Person, error) {
	var p Person
	err := s.write(ctx, "update person", func(tx *sqldb.Tx) (change.Record, error) {
		if err := lockAdmins(ctx, tx); err != nil {
			return change.Record{}, err
		}
		var err error
		if p, err = s.touchPerson(ctx, tx, id, etag); err != nil {
			return change.Record{}, err
		}
		if err := edit(&p); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE person SET username = $1, username_fold = $2, display_name = $3, roles = $4, admin = $5 WHERE id = $6`,
			p.Username, fold(p.Username), p.DisplayName, strings.Join(p.Roles, " "), p.admin(), p.ID)
		if sqldb.IsUnique(err) {
			return change.Record{}, errUsername(p.Username)
		}
		if err != nil {
			return change.Record{}, err
		}
		return change.Record{Resource: PersonName(id)}, keepAdmin(ctx, tx)
	})
	return p, err
}

// touchPerson locks a person's row for the transaction, checks the etag and
// moves it on.
func (s *Store) touchPerson(ctx context.Context, tx *sqldb.Tx, id, etag string) (Person, error) {
	p, err := scanPerson(tx.QueryRowContext(ctx, `
		UPDATE person SET etag = etag + 1, updated_at = $1 WHERE id = $2
		RETURNING id, username, display_name, roles, created_at, updated_at, etag`, s.moment().UnixMicro(), id))
	if errors.Is(err, sql.ErrNoRows) {
		return Person{}, errNoPerson(id)
	}
	if err != nil {
		return Person{}, err
	}
	return p, checkEtag(etag, p.Etag-1)
}

// DeletePerson removes a person with their applications, keys, subscriptions
// and sign-ins.
func (s *Store) DeletePerson(ctx context.Context, id, etag string) error {
	return s.write(ctx, "delete person", func(tx *sqldb.Tx) (change.Record, error) {
		if err := lockAdmins(ctx, tx); err != nil {
			return change.Record{}, err
		}
		if _, err := s.touchPerson(ctx, tx, id, etag); err != nil {
			return change.Record{}, err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM person WHERE id = $1`, id); err != nil {
			return change.Record{}, err
		}
		name := PersonName(id)
		event := Event{Cause: PersonDeleted, Names: []string{name}}
		return change.Record{Resource: name, Event: event.encode()}, keepAdmin(ctx, tx)
	})
}
