// Package store keeps APIs, versions and plans in a database, on either engine.
// It knows the tables and what must be unique in them; who may do what, and what
// follows from a change, is left to package api.
package store

import (
	"context"
	"database/sql/driver"
	"embed"
	"encoding/json"
	"fmt"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema returns what the catalog's database has in it.
func Schema() sqldb.Schema {
	return sqldb.Schema{Service: "catalog", Parts: []sqldb.Part{change.Schema(), {Name: "catalog", Files: migrations}}}
}

// Store reads and writes the catalog through a database or through a running
// transaction. Methods that write need the transaction of a change.
type Store struct{ q sqldb.Querier }

// New returns a store on q.
func New(q sqldb.Querier) *Store { return &Store{q: q} }

// Viewer is on whose behalf lists are read: somebody who sees everything, or a
// user, who sees what is published and what is their own.
type Viewer struct {
	// All is whether everything is seen.
	All bool
	// User is users/{user}.
	User string
}

// After is where a page begins: after the row with these keys. Its zero value is
// the beginning.
type After struct {
	// Micros is when the row was made, in microseconds since 1970.
	Micros int64
	// ID is the row's id.
	ID string
}

// exec runs a write of one row; it is Aborted when no row matched the etag.
func (s *Store) exec(ctx context.Context, doing, query string, args ...any) error {
	res, err := s.q.ExecContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if n == 0 {
		return Stale()
	}
	return nil
}

// exists runs a SELECT EXISTS.
func (s *Store) exists(ctx context.Context, doing, query string, args ...any) (bool, error) {
	var found bool
	if err := s.q.QueryRowContext(ctx, query, args...).Scan(&found); err != nil {
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	return found, nil
}

// Stale is the fault of a write with an etag that is not the current one.
func Stale() error {
	return fault.Aborted("etag: somebody else changed it first, read it again")
}

// column is a list that is kept as JSON in a column of text.
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

// optional is a parameter that restricts a list unless it is empty.
func optional(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}
