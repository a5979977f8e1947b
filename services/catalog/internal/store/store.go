// Package store keeps APIs, versions, plans and deny rules in a database, on either engine.
// It has the tables, what must be unique in them, and what a write does to routes and
// plans. Its callers decide who may do what, in the functions that they pass to its
// methods; what a viewer may see is part of its queries.
package store

import (
	"database/sql/driver"
	"embed"
	"encoding/json"
	"fmt"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema returns the schema of the catalog's database.
func Schema() sqldb.Schema {
	return sqldb.Schema{Service: "catalog", Parts: []sqldb.Part{change.Schema(), requestid.Schema(), {Name: "catalog", Files: migrations}}}
}

// Store reads and writes the catalog. Each method that writes is one change.
type Store struct {
	db  *sqldb.DB
	log *change.Log
	key *seal.Key
	// hosts are those under which gateways are advertised, in order; Advertise sets
	// them.
	hosts []string
	// gateways and virtual are what further addresses are advertised with; AdvertiseFurther
	// sets them.
	gateways []string
	virtual  []VirtualHost
	// maxAPIs is how many APIs a user may own; 0 is no bound.
	maxAPIs int
}

// New returns a store on a migrated database whose changes are in log. Endpoints may
// have secrets: key seals them in both.
func New(db *sqldb.DB, log *change.Log, key *seal.Key) *Store {
	log.SealEvents(key)
	return &Store{db: db, log: log, key: key}
}

// BoundAPIs sets how many APIs a user may own; 0 is no bound. It is called before
// anything is written.
func (s *Store) BoundAPIs(most int) { s.maxAPIs = most }

// everything is the viewer for what the service itself reads.
var everything = identity.Viewer{All: true}

// column is a list that is stored as JSON in a text column.
type column[T any] struct{ list *[]T }

// text is the column of a list, to be written or scanned.
func text[T any](list *[]T) column[T] { return column[T]{list} }

// Value writes the list.
func (c column[T]) Value() (driver.Value, error) {
	if len(*c.list) == 0 {
		return "[]", nil
	}
	b, err := json.Marshal(*c.list)
	return string(b), err
}

// Scan reads the list; an empty one is nil.
func (c column[T]) Scan(v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("a list is kept as text, not as %T", v)
	}
	*c.list = nil
	if s == "[]" {
		return nil
	}
	return json.Unmarshal([]byte(s), c.list)
}
