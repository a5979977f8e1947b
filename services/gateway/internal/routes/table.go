package routes

import (
	"cmp"
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// Table is an immutable set of routes. Its zero value is empty.
type Table struct {
	routes map[string]*Route // by name
	mounts map[string]*mount // by context, such as "/team/echo"
	// depth is the largest number of segments of a context, length the largest
	// number of bytes. Matching looks no further into a path. Both only grow, so
	// they may exceed what the remaining contexts need.
	depth, length int
}

// mount has the versions under one context. It is immutable too.
type mount struct {
	versions map[string]*Route // by segment
	standard *Route            // the default version; nil: none
	api      *session.Route    // the API, without a version
}

// Changes turn one table into another.
type Changes struct {
	Put    []*Route // added, or replacing the route of the same name
	Remove []string // names
}

// With returns a new table with the changes made. A route that cannot be served is
// left out, its predecessor of the same name is removed, and the error names it;
// the table is usable all the same. The table owns the routes in Put from then on.
func (t *Table) With(c Changes) (*Table, error) {
	next := &Table{
		routes: maps.Clone(t.routes), mounts: maps.Clone(t.mounts),
		depth: t.depth, length: t.length,
	}
	if next.routes == nil {
		next.routes, next.mounts = make(map[string]*Route, len(c.Put)), make(map[string]*mount, len(c.Put))
	}
	e := edit{Table: next, copied: make(map[string]bool)}
	for _, name := range c.Remove {
		e.remove(name)
	}
	var errs []error
	for _, r := range c.Put {
		if old := e.routes[r.Name]; old != nil {
			r.Production.inherit(old.Production)
			r.Sandbox.inherit(old.Sandbox)
		}
		e.remove(r.Name)
		if err := r.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		e.put(r)
	}
	return next, errors.Join(errs...)
}

// edit builds a table that nobody else uses yet.
type edit struct {
	*Table
	copied map[string]bool // contexts whose mount is no longer shared with the previous table
}

func (e edit) remove(name string) {
	r := e.routes[name]
	if r == nil {
		return
	}
	delete(e.routes, name)
	m := e.mount(r.Context)
	if m.versions[r.Segment] == r {
		delete(m.versions, r.Segment)
	}
	if len(m.versions) == 0 {
		delete(e.mounts, r.Context)
		delete(e.copied, r.Context)
		return
	}
	m.choose()
}

func (e edit) put(r *Route) {
	r.shared = &session.Route{API: r.API, Version: r.Name, Frames: r.Frames, Endings: r.Endings, ChangeNumber: r.ChangeNumber}
	e.routes[r.Name] = r
	m := e.mount(r.Context)
	m.versions[r.Segment] = r
	if m.api == nil || m.api.API != r.API {
		m.api = &session.Route{API: r.API}
	}
	m.choose()
	e.depth = max(e.depth, strings.Count(r.Context, "/"))
	e.length = max(e.length, len(r.Context))
}

// mount returns the mount of a context, which may be changed: a new one, or a copy
// of the previous table's.
func (e edit) mount(context string) *mount {
	m := e.mounts[context]
	switch {
	case m == nil:
		m = &mount{versions: make(map[string]*Route, 1)}
	case e.copied[context]:
		return m
	default:
		m = &mount{versions: maps.Clone(m.versions), api: m.api}
	}
	e.mounts[context], e.copied[context] = m, true
	return m
}

// choose finds the default version. While the default moves from one version to
// another, both can claim it: a published one wins, then the newer one.
func (m *mount) choose() {
	m.standard = nil
	for _, r := range m.versions {
		if r.Default && (m.standard == nil || preferred(r, m.standard)) {
			m.standard = r
		}
	}
}

func preferred(a, b *Route) bool {
	if a.Published != b.Published {
		return a.Published
	}
	return cmp.Or(cmp.Compare(a.ChangeNumber, b.ChangeNumber), cmp.Compare(a.Name, b.Name)) > 0
}

// Checked calls fn for each published route whose endpoints have health checks.
func (t *Table) Checked(fn func(*Route)) {
	for _, r := range t.routes {
		if r.Check != nil && r.Published {
			fn(r)
		}
	}
}

// EndpointsIn counts the endpoints of published versions that are in a state.
func (t *Table) EndpointsIn(state balance.State, now time.Time) (n int) {
	for _, r := range t.routes {
		for _, stage := range []*Stage{r.Production, r.Sandbox} {
			if stage == nil || !r.Published {
				continue
			}
			for _, m := range stage.members {
				if m.Status(now).State == state {
					n++
				}
			}
		}
	}
	return n
}

// Get returns the route of this name, nil if there is none.
func (t *Table) Get(name string) *Route { return t.routes[name] }

// Current holds the table that is being served. Its zero value holds an empty
// one.
type Current struct {
	table        atomic.Pointer[Table]
	installation atomic.Pointer[string]
}

// Installation returns what the installation is called in Via and CDN-Loop, "" before
// that is known, which it is once a table is set.
func (c *Current) Installation() string {
	if name := c.installation.Load(); name != nil {
		return *name
	}
	return ""
}

// name sets what the installation is called, if name says it.
func (c *Current) name(name string) {
	if name != "" {
		c.installation.Store(&name)
	}
}

// Load returns the table, never nil.
func (c *Current) Load() *Table {
	if t := c.table.Load(); t != nil {
		return t
	}
	return new(Table)
}

// Loaded reports whether a table has ever been set.
func (c *Current) Loaded() bool { return c.table.Load() != nil }

// Swap replaces the table.
func (c *Current) Swap(t *Table) { c.table.Store(t) }
