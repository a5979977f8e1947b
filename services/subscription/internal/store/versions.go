package store

import (
	"context"
	"errors"
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
	// Addresses are those at which it is advertised beside the context's, ws and wss URLs. What
	// is read of a version does not have them.
	Addresses []string
	// Owner is the id of the user who owns the API.
	Owner string
	// Published says that applications may subscribe to it.
	Published bool
	// Plans are the resource names of the plans that it offers.
	Plans []string
	// Subscriptionless says that applications need no subscription.
	Subscriptionless bool
	// Production and Sandbox say that it has an endpoint of the stage, for the socket or for HTTP.
	Production, Sandbox bool
	// ChangeNumber is the number of the catalog's change that made it so.
	ChangeNumber uint64
}

// Label returns what users call the version.
func (v Version) Label() string { return v.APIName + "/" + v.Version }

// has reports whether the version has an endpoint of a stage.
func (v Version) has(stage Stage) bool {
	if stage == Sandbox {
		return v.Sandbox
	}
	return v.Production
}

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
		SELECT name, api, api_name, context, version, owner, published, plans, subscriptionless, production, sandbox, change_number
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
	err := row.Scan(&v.Name, &v.API, &v.APIName, &v.Context, &v.Version, &v.Owner, &v.Published, &plans, &v.Subscriptionless, &v.Production, &v.Sandbox, &number)
	v.Plans, v.ChangeNumber = strings.Fields(plans), uint64(number)
	return v, err
}

// SaveVersion keeps a version that was read from the catalog when the cursor was
// asOf. It reports false, and keeps nothing, when the cursor has moved since: the
// version may have been deleted after it was read.
func (s *Store) SaveVersion(ctx context.Context, v Version, asOf Cursor) (saved bool, err error) {
	return s.applyCatalog(ctx, asOf, asOf, func(tx *sqldb.Tx) (catalogEffect, error) {
		return saveVersions(ctx, tx, []Version{v})
	})
}

// saveVersions keeps versions, unless a newer state of them is kept already.
func saveVersions(ctx context.Context, tx *sqldb.Tx, all []Version) (e catalogEffect, err error) {
	for _, v := range all {
		old, known, err := readVersion(ctx, tx, v.Name)
		if err != nil {
			return e, err
		}
		saved, err := sqldb.Changed(tx.ExecContext(ctx, `
			INSERT INTO version (name, api, api_name, context, version, owner, published, plans, subscriptionless, production, sandbox, change_number)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
			ON CONFLICT (name) DO UPDATE SET api = excluded.api, api_name = excluded.api_name, context = excluded.context,
				version = excluded.version, owner = excluded.owner, published = excluded.published, plans = excluded.plans,
				subscriptionless = excluded.subscriptionless, production = excluded.production, sandbox = excluded.sandbox, change_number = excluded.change_number
			WHERE version.change_number <= excluded.change_number`,
			v.Name, v.API, v.APIName, v.Context, v.Version, v.Owner, v.Published, strings.Join(v.Plans, " "), v.Subscriptionless,
			v.Production, v.Sandbox, int64(v.ChangeNumber)))
		if err != nil {
			return e, fmt.Errorf("save version %q: %w", v.Name, err)
		}
		if saved {
			if err := saveAddresses(ctx, tx, v); err != nil {
				return e, err
			}
		}
		if saved && (old.Subscriptionless != v.Subscriptionless || known && old.Owner != v.Owner) {
			e.moved = append(e.moved, v)
		}
	}
	return e, nil
}

// CatalogChange is a change of the catalog.
type CatalogChange struct {
	// Versions and Plans are new or replaced.
	Versions []Version
	Plans    []Plan
	// Removed are the names of the versions that were removed, RemovedPlans those of plans.
	Removed, RemovedPlans []string
}

// ApplyCatalogChange applies a change and moves the cursor to after in one
// transaction. It reports false, and does nothing, when the cursor is not at
// before: another replica has moved it.
func (s *Store) ApplyCatalogChange(ctx context.Context, c CatalogChange, before, after Cursor) (bool, error) {
	return s.applyCatalog(ctx, before, after, func(tx *sqldb.Tx) (catalogEffect, error) {
		if err := savePlans(ctx, tx, c.Plans); err != nil {
			return catalogEffect{}, err
		}
		for _, name := range c.RemovedPlans {
			if _, err := tx.ExecContext(ctx, `DELETE FROM plan WHERE name = $1`, name); err != nil {
				return catalogEffect{}, fmt.Errorf("remove plan %q: %w", name, err)
			}
		}
		e, err := saveVersions(ctx, tx, c.Versions)
		e.gone = c.Removed
		return e, err
	})
}

// CatalogSnapshot is the state of the catalog.
type CatalogSnapshot struct {
	Versions []Version
	Plans    []Plan
}

// ApplyCatalogSnapshot replaces all that is known with the state of the catalog at
// after, and moves the cursor. It reports false, and does nothing, when the cursor
// has moved from before. Versions that the snapshot lacks are deleted with their
// subscriptions, unless the catalog has another history: that may be a mistake (an
// empty database, an old backup), so then they are only closed to new
// subscriptions. Nothing happens to what has a plan that the snapshot lacks.
func (s *Store) ApplyCatalogSnapshot(ctx context.Context, all CatalogSnapshot, anotherHistory bool, before, after Cursor) (bool, error) {
	return s.applyCatalog(ctx, before, after, func(tx *sqldb.Tx) (e catalogEffect, err error) {
		if anotherHistory {
			// Numbers of another history cannot be compared with ours.
			if _, err := tx.ExecContext(ctx, `UPDATE version SET published = FALSE, plans = '', change_number = 0`); err != nil {
				return e, err
			}
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM plan`); err != nil {
			return e, err
		}
		if err := savePlans(ctx, tx, all.Plans); err != nil {
			return e, err
		}
		if e, err = saveVersions(ctx, tx, all.Versions); err != nil || anotherHistory {
			return e, err
		}
		in := map[string]bool{}
		for _, v := range all.Versions {
			in[v.Name] = true
		}
		// A version with a later change number was read from the catalog after the
		// snapshot.
		known, err := sqldb.All(ctx, tx, func(row sqldb.Row) (name string, err error) {
			err = row.Scan(&name)
			return name, err
		}, `SELECT name FROM version WHERE change_number <= $1 ORDER BY name`, int64(after.Number))
		e.gone = slices.DeleteFunc(known, func(name string) bool { return in[name] })
		return e, err
	})
}

// catalogEffect is what the catalog's news does to grants and denials.
type catalogEffect struct {
	// gone are the names of versions to delete.
	gone []string
	// moved are versions that need a subscription now and did not before, or the other
	// way around, and those that have another owner.
	moved []Version
}

// errTells says that what a transaction has found out must be told to others.
var errTells = errors.New("needs a change number")

// applyCatalog moves the cursor, calls apply, and deletes the versions that apply
// says are gone. Only what it does to grants and denials is a change of this service.
// Most news does nothing to them, and waits for no change; where it turns out that it
// does, everything is begun again as a change.
func (s *Store) applyCatalog(ctx context.Context, before, after Cursor, apply func(*sqldb.Tx) (catalogEffect, error)) (applied bool, err error) {
	const doing = "apply the catalog's changes"
	err = s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		if applied, err = advance(ctx, tx, before, after); err != nil || !applied {
			return err
		}
		e, err := apply(tx)
		if err == nil && len(e.gone)+len(e.moved) > 0 {
			err = errTells
		}
		return err
	})
	switch {
	case err == nil:
		return applied, nil
	case !errors.Is(err, errTells):
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	err = s.log.Write(ctx, doing, func(tx *change.Tx) (change.Record, error) {
		if applied, err = advance(ctx, tx.Tx, before, after); err != nil || !applied {
			return change.Record{Skip: true}, err
		}
		e, err := apply(tx.Tx)
		if err != nil {
			return change.Record{}, err
		}
		removed, err := removeVersions(ctx, tx, e.gone)
		if err != nil {
			return change.Record{}, err
		}
		return catalogRecord(removed, e.moved), nil
	})
	return applied && err == nil, err
}

// catalogRecord returns the change that removes some versions, and moves others to where
// they need a subscription, or none, or to another owner.
func catalogRecord(removed, moved []Version) change.Record {
	all := slices.Concat(removed, moved)
	if len(all) == 0 {
		return change.Record{Skip: true}
	}
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = v.Name
	}
	r := change.Record{
		Actor: "services/catalog", Action: "DeleteVersion", Resource: names[0], Label: all[0].Label(),
		Event: event(backplanev1.GrantEvent_CAUSE_VERSION_DELETED, names...),
	}
	if len(removed) == 0 {
		r.Action = "UpdateVersion"
	}
	if len(moved) > 0 {
		// The grants say what became of them, also those of the versions that are gone.
		r.Event = event(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, names...)
	}
	return r
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
