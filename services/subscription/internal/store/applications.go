package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Application is a program of a user's.
type Application struct {
	ID string
	// Owner is the id of a user.
	Owner       string
	DisplayName string
	Description string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Etag        int64
}

func scanApplication(r row) (Application, error) {
	var a Application
	var created, updated int64
	err := r.Scan(&a.ID, &a.Owner, &a.DisplayName, &a.Description, &created, &updated, &a.Etag)
	a.CreatedAt, a.UpdatedAt = at(created), at(updated)
	return a, err
}

func errNoApplication(id string) error { return fault.NotFound("%s", ApplicationName(id)) }

func errApplicationName(name string) error {
	return fault.AlreadyExists("there is an application %q already", name)
}

// CreateApplication adds an application.
func (s *Store) CreateApplication(ctx context.Context, a Application) (Application, error) {
	a.ID, a.Etag, a.CreatedAt = id.New(), 1, s.moment()
	a.UpdatedAt = a.CreatedAt
	err := s.write(ctx, "create application", func(tx *sqldb.Tx) (change.Record, error) {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO application (id, owner, display_name, name_fold, description, created_at, updated_at, etag)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			a.ID, a.Owner, a.DisplayName, fold(a.DisplayName), a.Description, a.CreatedAt.UnixMicro(), a.UpdatedAt.UnixMicro(), a.Etag)
		switch {
		case sqldb.IsUnique(err):
			return change.Record{}, errApplicationName(a.DisplayName)
		case sqldb.IsForeignKey(err):
			return change.Record{}, fault.Unauthenticated("the user whose token this is has been removed")
		case err != nil:
			return change.Record{}, err
		}
		return change.Record{Resource: ApplicationName(a.ID)}, nil
	})
	return a, err
}

// Application returns an application that v may see, or fault.NotFound.
func (s *Store) Application(ctx context.Context, v Viewer, id string) (Application, error) {
	return readApplication(ctx, s.db, v, id)
}

func readApplication(ctx context.Context, q sqldb.Querier, v Viewer, id string) (Application, error) {
	a, err := scanApplication(q.QueryRowContext(ctx, `
		SELECT id, owner, display_name, description, created_at, updated_at, etag
		FROM application WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) || err == nil && !v.sees(a.Owner) {
		return Application{}, errNoApplication(id)
	}
	if err != nil {
		return Application{}, fmt.Errorf("read application %q: %w", id, err)
	}
	return a, nil
}

// Applications returns at most n applications that v may see after a place,
// oldest first. The filter may have display_name and owner, an id.
func (s *Store) Applications(ctx context.Context, v Viewer, filter map[string]string, after Place, n int) ([]Application, error) {
	name := value(filter, "display_name")
	if text, ok := name.(string); ok {
		name = fold(text)
	}
	var out []Application
	err := each(ctx, s.db, func(r row) error {
		a, err := scanApplication(r)
		out = append(out, a)
		return err
	}, `
		SELECT id, owner, display_name, description, created_at, updated_at, etag
		FROM application
		WHERE (CAST($1 AS TEXT) IS NULL OR owner = $1)
			AND (CAST($2 AS TEXT) IS NULL OR name_fold = $2)
			AND (CAST($3 AS TEXT) IS NULL OR owner = $3)
			AND (created_at, id) > ($4, $5)
		ORDER BY created_at, id LIMIT $6`,
		v.limit(), name, value(filter, "owner"), after.Time, after.ID, n)
	if err != nil {
		return nil, fmt.Errorf("list applications: %w", err)
	}
	return out, nil
}

// UpdateApplication lets edit change an application's display name and
// description.
func (s *Store) UpdateApplication(ctx context.Context, v Viewer, id, etag string, edit func(*Application) error) (Application, error) {
	var a Application
	err := s.write(ctx, "update application", func(tx *sqldb.Tx) (change.Record, error) {
		var err error
		if a, err = s.touchApplication(ctx, tx, v, id, etag); err != nil {
			return change.Record{}, err
		}
		if err := edit(&a); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE application SET display_name = $1, name_fold = $2, description = $3 WHERE id = $4`,
			a.DisplayName, fold(a.DisplayName), a.Description, id)
		if sqldb.IsUnique(err) {
			return change.Record{}, errApplicationName(a.DisplayName)
		}
		return change.Record{Resource: ApplicationName(id)}, err
	})
	return a, err
}

// touchApplication locks an application's row for the transaction, checks that
// v may see it and the etag, and moves the etag on.
func (s *Store) touchApplication(ctx context.Context, tx *sqldb.Tx, v Viewer, id, etag string) (Application, error) {
	a, err := scanApplication(tx.QueryRowContext(ctx, `
		UPDATE application SET etag = etag + 1, updated_at = $1 WHERE id = $2
		RETURNING id, owner, display_name, description, created_at, updated_at, etag`, s.moment().UnixMicro(), id))
	if errors.Is(err, sql.ErrNoRows) || err == nil && !v.sees(a.Owner) {
		return Application{}, errNoApplication(id)
	}
	if err != nil {
		return Application{}, err
	}
	return a, checkEtag(etag, a.Etag-1)
}

// DeleteApplication removes an application with its OAuth clients and subscriptions.
func (s *Store) DeleteApplication(ctx context.Context, v Viewer, id, etag string) error {
	return s.write(ctx, "delete application", func(tx *sqldb.Tx) (change.Record, error) {
		a, err := s.touchApplication(ctx, tx, v, id, etag)
		if err != nil {
			return change.Record{}, err
		}
		name := ApplicationName(id)
		if err := s.remember(ctx, tx, name, a.Owner); err != nil {
			return change.Record{}, err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM application WHERE id = $1`, id); err != nil {
			return change.Record{}, err
		}
		return change.Record{Resource: name, Event: event(backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED, name)}, nil
	})
}

// remember keeps the owner of what is being deleted, for what gateways report
// about it afterwards.
func (s *Store) remember(ctx context.Context, tx *sqldb.Tx, name, owner string) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO former_owner (name, owner, ended_at) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, ended_at = excluded.ended_at`,
		name, owner, s.moment().UnixMicro())
	return err
}
