// Package store keeps the subscription service's data: users, applications,
// OAuth clients, subscriptions, what is known of the catalog's versions, signing
// keys and usage. It is the only place with SQL, which is the same on both engines.
// It sees no secret: only hashes, and what is sealed. Who may do what is decided by
// its callers, in the functions that they give to its methods; what a viewer may
// see is part of its queries.
package store

import (
	"embed"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

//go:embed migrations/*.sql
var files embed.FS

// Schema returns what the service's database has in it.
func Schema() sqldb.Schema {
	return sqldb.Schema{Service: "subscription", Parts: []sqldb.Part{change.Schema(), {Name: "subscription", Files: files}}}
}

// Store reads and writes. A method that writes what others must see is one change;
// what it writes that others need not see takes part in no change.
type Store struct {
	db  *sqldb.DB
	log *change.Log
	now func() time.Time
}

// New returns a store on a migrated database whose changes are in log.
func New(db *sqldb.DB, log *change.Log, now func() time.Time) *Store {
	return &Store{db: db, log: log, now: now}
}

// moment is the time of a write that is no change, as exact as it is stored; that
// of a change is its Tx's.
func (s *Store) moment() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// micros stores a time, 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// maybe returns a stored time, zero for none.
func maybe(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return sqldb.Time(micros)
}
