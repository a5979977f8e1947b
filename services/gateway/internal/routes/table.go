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
	"github.com/tidegatehq/tidegate/services/kit/hostname"
)

// Table is an immutable set of routes. Its zero value is empty.
type Table struct {
	routes map[string]*Route // by name
	shared *site             // the host that is nobody's own; nil: nothing is there
	// exact has virtual hosts by name, and wildcards by what follows their "*", ".example.com".
	exact, wildcards map[string]*site
}

// site has what is mounted on a host. It is immutable too.
type site struct {
	mounts map[string]*mount // by context or other prefix, such as "/team/echo"; "" is the whole host
	// depth is the largest number of segments of a prefix, length the largest
	// number of bytes. Matching looks no further into a path. Both only grow, so
	// they may exceed what the remaining prefixes need.
	depth, length int
}

// mount has what is below one prefix: the versions under a context, or a further address
// of one version. It is immutable too.
type mount struct {
	versions map[string]*Route // by segment
	standard *Route            // the default version; nil: none
	api      *session.Route    // the API, without a version
	further  *further          // nil: none
}

// further is an address of a version beside that of its context.
type further struct {
	route   *Route
	address *Address
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
	next := &Table{routes: maps.Clone(t.routes), shared: t.shared, exact: maps.Clone(t.exact), wildcards: maps.Clone(t.wildcards)}
	if next.routes == nil {
		next.routes = make(map[string]*Route, len(c.Put))
	}
	e := edit{Table: next, sites: map[*site]bool{}, mounts: map[*mount]bool{}}
	for _, name := range c.Remove {
		e.remove(name)
	}
	var errs []error
	for _, r := range c.Put {
		if old := e.routes[r.Name]; old != nil {
			r.inherit(&old.Endpoints)
			if r.HTTP != nil && old.HTTP != nil {
				r.HTTP.inherit(&old.HTTP.Endpoints)
			}
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
	// sites and mounts are those that are no longer shared with the previous table.
	sites  map[*site]bool
	mounts map[*mount]bool
}

func (e edit) remove(name string) {
	r := e.routes[name]
	if r == nil {
		return
	}
	delete(e.routes, name)
	e.change("", r.Context, func(m *mount) {
		if m.versions[r.Segment] == r {
			delete(m.versions, r.Segment)
		}
		m.choose()
	})
	for i := range r.Further {
		e.change(r.Further[i].Host, r.Further[i].Prefix, func(m *mount) {
			// What another version has got meanwhile stays.
			if m.further != nil && m.further.route == r {
				m.further = nil
			}
		})
	}
}

func (e edit) put(r *Route) {
	r.share(&session.Route{API: r.API, Version: r.Name, Frames: r.Frames, Endings: r.Endings, Idle: r.Idle, ChangeNumber: r.ChangeNumber})
	e.routes[r.Name] = r
	e.change("", r.Context, func(m *mount) {
		if m.versions == nil {
			m.versions = make(map[string]*Route, 1)
		}
		m.versions[r.Segment] = r
		if m.api == nil || m.api.API != r.API {
			m.api = &session.Route{API: r.API}
		}
		m.choose()
	})
	for i := range r.Further {
		a := &r.Further[i]
		e.change(a.Host, a.Prefix, func(m *mount) { m.further = &further{route: r, address: a} })
	}
}

// change makes a change to what is mounted on a host under a prefix, and leaves nothing
// where there is nothing any more.
func (e edit) change(host, prefix string, edit func(*mount)) {
	s := e.site(host)
	m := s.mounts[prefix]
	switch {
	case m == nil:
		m = &mount{}
	case !e.mounts[m]:
		m = &mount{versions: maps.Clone(m.versions), standard: m.standard, api: m.api, further: m.further}
	}
	e.mounts[m] = true
	s.mounts[prefix] = m
	edit(m)
	if len(m.versions) == 0 && m.further == nil {
		delete(s.mounts, prefix)
		e.leave(host, s)
		return
	}
	s.depth, s.length = max(s.depth, strings.Count(prefix, "/")), max(s.length, len(prefix))
}

// site returns what is mounted on a host, which may be changed: anew, or a copy of what the
// previous table has.
func (e edit) site(host string) *site {
	var old *site
	switch {
	case host == "":
		old = e.shared
	case hostname.IsWildcard(host):
		old = e.wildcards[hostname.Rest(host)]
	default:
		old = e.exact[host]
	}
	if old != nil && e.sites[old] {
		return old
	}
	s := &site{mounts: map[string]*mount{}}
	if old != nil {
		*s = site{mounts: maps.Clone(old.mounts), depth: old.depth, length: old.length}
	}
	e.sites[s] = true
	switch {
	case host == "":
		e.shared = s
	case hostname.IsWildcard(host):
		e.wildcards = with(e.wildcards, hostname.Rest(host), s)
	default:
		e.exact = with(e.exact, host, s)
	}
	return s
}

// with returns a map with an entry, which it makes where there is none yet.
func with(sites map[string]*site, key string, s *site) map[string]*site {
	if sites == nil {
		sites = map[string]*site{}
	}
	sites[key] = s
	return sites
}

// leave forgets a virtual host that has nothing any more: it is not one then.
func (e edit) leave(host string, s *site) {
	switch {
	case host == "" || len(s.mounts) > 0:
	case hostname.IsWildcard(host):
		delete(e.wildcards, hostname.Rest(host))
	default:
		delete(e.exact, host)
	}
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

// Checked calls fn for the endpoints of published routes that have health checks.
func (t *Table) Checked(fn func(*Route, *Endpoints)) {
	for _, r := range t.routes {
		if !r.Published {
			continue
		}
		r.EachEndpoints(func(e *Endpoints) {
			if e.Check != nil {
				fn(r, e)
			}
		})
	}
}

// EndpointsIn counts the endpoints of published versions that are in a state.
func (t *Table) EndpointsIn(state balance.State, now time.Time) (n int) {
	for _, r := range t.routes {
		if !r.Published {
			continue
		}
		r.EachEndpoints(func(e *Endpoints) {
			for _, stage := range []*Stage{e.Production, e.Sandbox} {
				if stage == nil {
					continue
				}
				for _, m := range stage.members {
					if m.Status(now).State == state {
						n++
					}
				}
			}
		})
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
