package routes

import (
	"cmp"
	"errors"
	"iter"
	"maps"
	"strings"
	"sync/atomic"

	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// Table is an immutable set of routes. Its zero value is empty.
type Table struct {
	routes   map[string]*Route   // by name
	contexts map[string]*context // by "/team/echo"
	// depth is the most segments of a context, length its longest; the match of
	// a path looks no further. They may be larger than needed.
	depth, length int
}

// context is what one context leads to. It is immutable as well.
type context struct {
	versions map[string]*Route // by version string
	standard *Route            // the default version; nil: none
}

// Changes is what makes a table of another one.
type Changes struct {
	Put    []*Route // new, or in place of that of the same name
	Remove []string // names
}

// NewTable returns a table of these routes. A route that cannot be served is
// left out and named in the error; the table is good all the same.
func NewTable(list []*Route) (*Table, error) {
	return new(Table).With(Changes{Put: list})
}

// With returns a new table. A route that cannot be served is left out, with
// the one of that name that was there, and named in the error; the table is
// good all the same. What was put belongs to the table.
func (t *Table) With(c Changes) (*Table, error) {
	next := &Table{
		routes: maps.Clone(t.routes), contexts: maps.Clone(t.contexts),
		depth: t.depth, length: t.length,
	}
	if next.routes == nil {
		next.routes, next.contexts = make(map[string]*Route, len(c.Put)), make(map[string]*context, len(c.Put))
	}
	e := edit{Table: next, own: make(map[string]bool)}
	for _, name := range c.Remove {
		e.remove(name)
	}
	var errs []error
	for _, r := range c.Put {
		e.remove(r.Name)
		if err := r.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		e.put(r)
	}
	return next, errors.Join(errs...)
}

// edit changes a table that nobody else has yet.
type edit struct {
	*Table
	own map[string]bool // contexts that were copied
}

func (e edit) remove(name string) {
	r := e.routes[name]
	if r == nil {
		return
	}
	delete(e.routes, name)
	c := e.context(r.Context)
	if c.versions[r.Version] == r {
		delete(c.versions, r.Version)
	}
	if len(c.versions) == 0 {
		delete(e.contexts, r.Context)
		delete(e.own, r.Context)
		return
	}
	c.choose()
}

func (e edit) put(r *Route) {
	r.shared = &session.Route{API: r.API, Version: r.Name, Name: r.Name}
	e.routes[r.Name] = r
	c := e.context(r.Context)
	c.versions[r.Version] = r
	c.choose()
	e.depth = max(e.depth, strings.Count(r.Context, "/"))
	e.length = max(e.length, len(r.Context))
}

// context returns the context under this address, free to be changed.
func (e edit) context(addr string) *context {
	c := e.contexts[addr]
	switch {
	case c == nil:
		c = &context{versions: make(map[string]*Route, 1)}
	case e.own[addr]:
		return c
	default:
		c = &context{versions: maps.Clone(c.versions)}
	}
	e.contexts[addr], e.own[addr] = c, true
	return c
}

// choose finds the default version. While a change of it is under way two can
// claim to be it: a published one is better, then the newer one.
func (c *context) choose() {
	c.standard = nil
	for _, r := range c.versions {
		if r.Default && (c.standard == nil || better(r, c.standard)) {
			c.standard = r
		}
	}
}

func better(a, b *Route) bool {
	if a.Published != b.Published {
		return a.Published
	}
	return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.Name, b.Name)) > 0
}

// Get returns the route of this name, nil if there is none.
func (t *Table) Get(name string) *Route { return t.routes[name] }

// Len returns the number of routes.
func (t *Table) Len() int { return len(t.routes) }

// All returns the routes in no particular order.
func (t *Table) All() iter.Seq[*Route] { return maps.Values(t.routes) }

// Store holds the current table. Its zero value has an empty one.
type Store struct{ current atomic.Pointer[Table] }

// Load returns the current table, never nil.
func (s *Store) Load() *Table {
	if t := s.current.Load(); t != nil {
		return t
	}
	return new(Table)
}

// Loaded reports whether the store was ever given a table.
func (s *Store) Loaded() bool { return s.current.Load() != nil }

// Swap replaces the current table.
func (s *Store) Swap(t *Table) { s.current.Store(t) }
