// Package store keeps the subscription service's data: users, applications,
// OAuth clients, subscriptions, what is known of the catalog's versions, signing
// keys and usage. It is the only place with SQL, which is the same on both engines.
// It sees no secret: only hashes, and what is sealed. Who may do what is
// decided by its callers, but what a caller may see is part of its queries.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"strconv"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

//go:embed migrations/*.sql
var files embed.FS

// Schema returns what the service's database has in it.
func Schema() sqldb.Schema {
	return sqldb.Schema{Service: "subscription", Parts: []sqldb.Part{change.Schema(), {Name: "subscription", Files: files}}}
}

// Store reads and writes. Every write that others must know of goes through the
// change log.
type Store struct {
	db  *sqldb.DB
	log *change.Log
	now func() time.Time
}

// New returns a store on a migrated database whose changes are in log.
func New(db *sqldb.DB, log *change.Log, now func() time.Time) *Store {
	return &Store{db: db, log: log, now: now}
}

// Viewer is who asks.
type Viewer struct {
	// User is the id of a user.
	User string
	// Admin says that the user sees and changes everything.
	Admin bool
}

// limit is the user that a list is restricted to; nil for all.
func (v Viewer) limit() any {
	if v.Admin {
		return nil
	}
	return v.User
}

// sees reports whether what belongs to owner may be seen.
func (v Viewer) sees(owner string) bool { return v.Admin || v.User == owner }

// Place is where a page begins: after the row with this time and id. Its zero
// value is the first page.
type Place struct {
	Time int64
	ID   string
}

// moment is the time of a write, as exact as it is stored.
func (s *Store) moment() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// at returns a stored time.
func at(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// row is what scans: *sql.Row and *sql.Rows.
type row interface{ Scan(dest ...any) error }

// each calls scan for every row of a query.
func each(ctx context.Context, q sqldb.Querier, scan func(row) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// changed reports whether a statement changed a row.
func changed(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// value is the value of a filter's field for a query; nil where it is not in
// the filter.
func value(filter map[string]string, field string) any {
	v, ok := filter[field]
	if !ok {
		return nil
	}
	return v
}

// Etag returns the text of an etag.
func Etag(n int64) string { return strconv.FormatInt(n, 10) }

// checkEtag returns why a caller's etag does not allow a write; an empty one
// does. current is that before the write.
func checkEtag(etag string, current int64) error {
	if etag != "" && etag != Etag(current) {
		return fault.Aborted("somebody else changed it: the etag is no longer %q; read it again", etag)
	}
	return nil
}

// write runs fn in a transaction whose change is appended to the log. Who made
// the change, and by which method, is read from the gRPC call where fn does not
// say.
func (s *Store) write(ctx context.Context, doing string, fn func(tx *sqldb.Tx) (change.Record, error)) error {
	return s.log.Write(ctx, doing, func(tx *change.Tx) (change.Record, error) { return fn(tx.Tx) })
}
