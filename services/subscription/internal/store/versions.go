package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Version is what the catalog says about a version.
type Version struct {
	// Name is the resource name, apis/{api}/versions/{version}.
	Name string
	// API is the resource name of the API, APIName its display name, Context its
	// context and Version the version's string.
	API, APIName, Context, Version string
	// Owner is the id of the user who owns the API.
	Owner string
	// Published says that applications may subscribe to it.
	Published bool
	// Plans are the resource names of the plans that it offers.
	Plans []string
	// ChangeNumber is the number of the catalog's change that made it so.
	ChangeNumber uint64
}

// Label returns what users call the version.
func (v Version) Label() string { return v.APIName + "/" + v.Version }

func (v Version) offers(plan string) bool { return slices.Contains(v.Plans, plan) }

// Cursor is how far the catalog's changes have been applied.
type Cursor struct {
	// Number is the number of the last change applied.
	Number uint64
	// Text is the watch's cursor; empty before the first snapshot.
	Text string
}

// ReadCursor returns how far the catalog's changes have been applied.
func (s *Store) ReadCursor(ctx context.Context) (Cursor, error) {
	var c Cursor
	var n int64
	if err := s.db.QueryRowContext(ctx, `SELECT number, cursor FROM catalog_cursor WHERE id = 1`).Scan(&n, &c.Text); err != nil {
		return Cursor{}, fmt.Errorf("read cursor of the catalog: %w", err)
	}
	c.Number = uint64(n)
	return c, nil
}

// advance moves the cursor from before to after, and reports false when another
// replica has moved it. It locks the cursor's row until the transaction ends.
func advance(ctx context.Context, tx *sqldb.Tx, before, after Cursor) (bool, error) {
	return sqldb.Changed(tx.ExecContext(ctx, `
		UPDATE catalog_cursor SET number = $1, cursor = $2 WHERE id = 1 AND number = $3 AND cursor = $4`,
		int64(after.Number), after.Text, int64(before.Number), before.Text))
}

// ReadVersion returns what is known of a version; known is false when nothing is.
func (s *Store) ReadVersion(ctx context.Context, name string) (v Version, known bool, err error) {
	return readVersion(ctx, s.db, name)
}

func readVersion(ctx context.Context, q sqldb.Querier, name string) (v Version, known bool, err error) {
	v, known, err = sqldb.One(ctx, q, scanVersion, `
		SELECT name, api, api_name, context, version, owner, published, plans, change_number
		FROM version WHERE name = $1`, name)
	if err != nil {
		return Version{}, false, fmt.Errorf("read version %q: %w", name, err)
	}
	return v, known, nil
}

func scanVersion(row sqldb.Row) (Version, error) {
	var v Version
	var plans string
	var number int64
	err := row.Scan(&v.Name, &v.API, &v.APIName, &v.Context, &v.Version, &v.Owner, &v.Published, &plans, &number)
	v.Plans, v.ChangeNumber = strings.Fields(plans), uint64(number)
	return v, err
}

// SaveVersion keeps a version that was read from the catalog when the cursor was
// asOf. It reports false, and keeps nothing, when the cursor has moved since: the
// version may have been deleted after it was read.
func (s *Store) SaveVersion(ctx context.Context, v Version, asOf Cursor) (saved bool, err error) {
	err = s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		if saved, err = advance(ctx, tx, asOf, asOf); err != nil || !saved {
			return err
		}
		return saveVersion(ctx, tx, v)
	})
	if err != nil {
		return false, fmt.Errorf("save version %q: %w", v.Name, err)
	}
	return saved, nil
}

// saveVersion keeps a version unless a newer state of it is kept already.
func saveVersion(ctx context.Context, tx *sqldb.Tx, v Version) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO version (name, api, api_name, context, version, owner, published, plans, change_number)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (name) DO UPDATE SET api = excluded.api, api_name = excluded.api_name,
			context = excluded.context, version = excluded.version, owner = excluded.owner, published = excluded.published, plans = excluded.plans, change_number = excluded.change_number
		WHERE version.change_number <= excluded.change_number`,
		v.Name, v.API, v.APIName, v.Context, v.Version, v.Owner, v.Published, strings.Join(v.Plans, " "), int64(v.ChangeNumber))
	return err
}

// CatalogChange is a change of the catalog.
type CatalogChange struct {
	// Versions are new or replaced.
	Versions []Version
	// Removed are the names of the versions that were removed.
	Removed []string
}

// ApplyCatalogChange applies a change and moves the cursor to after in one
// transaction. It reports false, and does nothing, when the cursor is not at
// before: another replica has moved it.
func (s *Store) ApplyCatalogChange(ctx context.Context, c CatalogChange, before, after Cursor) (applied bool, err error) {
	apply := func(tx *sqldb.Tx) ([]string, error) {
		for _, v := range c.Versions {
			if err := saveVersion(ctx, tx, v); err != nil {
				return nil, err
			}
		}
		return c.Removed, nil
	}
	if len(c.Removed) > 0 {
		return s.applyCatalog(ctx, before, after, apply)
	}
	err = s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		if applied, err = advance(ctx, tx, before, after); err != nil || !applied {
			return err
		}
		_, err = apply(tx)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("apply the catalog's change: %w", err)
	}
	return applied, nil
}

// ApplyCatalogSnapshot replaces all that is known with the state of the catalog at
// after, and moves the cursor. It reports false, and does nothing, when the cursor
// has moved from before. Versions that the snapshot lacks are deleted with their
// subscriptions, unless the catalog has another history: that may be a mistake (an
// empty database, an old backup), so then they are only closed to new
// subscriptions.
func (s *Store) ApplyCatalogSnapshot(ctx context.Context, all []Version, anotherHistory bool, before, after Cursor) (bool, error) {
	return s.applyCatalog(ctx, before, after, func(tx *sqldb.Tx) ([]string, error) {
		if anotherHistory {
			// Numbers of another history cannot be compared with ours.
			if _, err := tx.ExecContext(ctx, `UPDATE version SET published = FALSE, plans = '', change_number = 0`); err != nil {
				return nil, err
			}
		}
		in := map[string]bool{}
		for _, v := range all {
			in[v.Name] = true
			if err := saveVersion(ctx, tx, v); err != nil {
				return nil, err
			}
		}
		if anotherHistory {
			return nil, nil
		}
		// A version with a later change number was read from the catalog after the
		// snapshot.
		known, err := sqldb.All(ctx, tx, func(row sqldb.Row) (name string, err error) {
			err = row.Scan(&name)
			return name, err
		}, `SELECT name FROM version WHERE change_number <= $1 ORDER BY name`, int64(after.Number))
		return slices.DeleteFunc(known, func(name string) bool { return in[name] }), err
	})
}

// applyCatalog moves the cursor, calls apply, and deletes the versions that apply
// returns. Only deletions are changes of this service, so a call that cannot delete
// takes no change number.
func (s *Store) applyCatalog(ctx context.Context, before, after Cursor, apply func(*sqldb.Tx) ([]string, error)) (applied bool, err error) {
	err = s.log.Write(ctx, "apply the catalog's changes", func(tx *change.Tx) (change.Record, error) {
		if applied, err = advance(ctx, tx.Tx, before, after); err != nil || !applied {
			return change.Record{Skip: true}, err
		}
		candidates, err := apply(tx.Tx)
		if err != nil {
			return change.Record{}, err
		}
		removed, err := removeVersions(ctx, tx, candidates)
		if err != nil || len(removed) == 0 {
			return change.Record{Skip: true}, err
		}
		names := make([]string, len(removed))
		for i, v := range removed {
			names[i] = v.Name
		}
		return change.Record{
			Actor: "services/catalog", Action: "DeleteVersion", Resource: names[0], Label: removed[0].Label(),
			Event: event(backplanev1.GrantEvent_CAUSE_VERSION_DELETED, names...),
		}, nil
	})
	return applied && err == nil, err
}

// removeVersions deletes versions with their subscriptions, and returns those that
// existed.
func removeVersions(ctx context.Context, tx *change.Tx, names []string) ([]Version, error) {
	var removed []Version
	for _, name := range names {
		v, known, err := readVersion(ctx, tx, name)
		if err != nil {
			return nil, err
		}
		if !known {
			continue
		}
		if err := keepFormerOwner(ctx, tx, name, v.Owner); err != nil {
			return nil, err
		}
		if err := keepFormerName(ctx, tx, name, v.APIName, v.Version); err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM version WHERE name = $1`, name); err != nil {
			return nil, err
		}
		removed = append(removed, v)
	}
	return removed, nil
}
