// Package store keeps the subscription service's data: users, applications, OAuth
// clients, subscriptions, what is known of the catalog's versions, signing keys and
// usage. Only this package has SQL, which is the same on both engines. It never
// sees a secret, only hashes and sealed keys. Callers decide who may do what, in
// the functions that they give to its methods; what a viewer may see is part of its
// queries.
package store

import (
	"embed"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

//go:embed migrations/*.sql
var files embed.FS

// Schema returns the schema of the service's database.
func Schema() sqldb.Schema {
	return sqldb.Schema{Service: "subscription", Parts: []sqldb.Part{change.Schema(), requestid.Schema(), {Name: "subscription", Files: files}}}
}

// Store reads and writes the database. A method that writes what others must see
// makes one change. Writes that nobody else must see make none.
type Store struct {
	db     *sqldb.DB
	log    *change.Log
	now    func() time.Time
	bounds Bounds
	keep   Retention
}

// Bounds bound what one user or application can make; 0 is no bound.
type Bounds struct {
	// Applications is how many applications a user may own.
	Applications int
	// Records is how many session records of one application are kept for an hour.
	Records int
	// Refusals is how many records of refused handshakes of one API and code are kept for
	// an hour.
	Refusals int
	// SecurityEvents is how many security events of a kind are kept, once others are purged.
	SecurityEvents int
}

// Bound sets the bounds. It is called before anything is written; without it there are
// none.
func (s *Store) Bound(b Bounds) { s.bounds = b }

// New returns a store on a migrated database whose changes are in log.
func New(db *sqldb.DB, log *change.Log, now func() time.Time) *Store {
	return &Store{db: db, log: log, now: now}
}

// moment returns the time of a write that makes no change, as precise as it is
// stored. A change takes its time from its Tx.
func (s *Store) moment() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// micros returns a time as it is stored: in microseconds, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// maybe returns the time that micros stored, the zero time for 0.
func maybe(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return sqldb.Time(micros)
}
