package session

import "github.com/tidegatehq/tidegate/services/gateway/internal/grant"

// basis is a route and a grant, and the sessions that rest on both.
type basis struct {
	route    *Route
	grant    *grant.Grant
	sessions []*Session
}

type basisKey struct {
	route *Route
	grant *grant.Grant
}

// names calls fn for each name that the basis rests on. A name may come twice: a
// grant names its version too.
func (b *basis) names(fn func(name string)) {
	fn(b.route.API)
	fn(b.route.Version)
	if b.grant != nil {
		for _, name := range b.grant.RestsOn {
			fn(name)
		}
	}
}

// bases is a set of bases. Most names have only one.
type bases struct {
	one  *basis
	more map[*basis]struct{}
}

func (s *bases) add(b *basis) {
	switch {
	case s.one == nil:
		s.one = b
	case s.one == b:
	case s.more == nil:
		s.more = map[*basis]struct{}{b: {}}
	default:
		s.more[b] = struct{}{}
	}
}

func (s *bases) remove(b *basis) (empty bool) {
	if s.one == b {
		s.one = nil
	}
	delete(s.more, b)
	return s.one == nil && len(s.more) == 0
}

// index finds sessions by what they rest on. A session costs it a pointer; the names
// are indexed once for all sessions of the same route and grant.
type index struct {
	bases map[basisKey]*basis
	names map[string]bases
}

func newIndex() index {
	return index{bases: map[basisKey]*basis{}, names: map[string]bases{}}
}

// add puts s under the names of its route and grant.
func (x *index) add(s *Session, route *Route, grant *grant.Grant) {
	key := basisKey{route, grant}
	b := x.bases[key]
	if b == nil {
		b = &basis{route: route, grant: grant}
		x.bases[key] = b
		b.names(func(name string) {
			set := x.names[name]
			set.add(b)
			x.names[name] = set
		})
	}
	s.basis, s.index = b, int32(len(b.sessions))
	b.sessions = append(b.sessions, s)
}

// remove takes s out, if it is in.
func (x *index) remove(s *Session) {
	b := s.basis
	if b == nil {
		return
	}
	s.basis = nil
	last := len(b.sessions) - 1
	moved := b.sessions[last]
	b.sessions[s.index], moved.index = moved, s.index
	b.sessions[last] = nil
	b.sessions = b.sessions[:last]
	if last > 0 {
		return
	}
	delete(x.bases, basisKey{b.route, b.grant})
	b.names(func(name string) {
		set, ok := x.names[name]
		switch {
		case !ok: // the name came twice
		case set.remove(b):
			delete(x.names, name)
		default:
			x.names[name] = set
		}
	})
}

// find returns the sessions that rest on any of the names, each of them once, and whose
// grant, nil for none, keep accepts.
func (x *index) find(names []string, keep func(*grant.Grant) bool) []*Session {
	var found []*Session
	seen := map[*basis]bool{}
	take := func(b *basis) {
		if b == nil || seen[b] {
			return
		}
		seen[b] = true
		if keep(b.grant) {
			found = append(found, b.sessions...)
		}
	}
	for _, name := range names {
		set := x.names[name]
		take(set.one)
		for b := range set.more {
			take(b)
		}
	}
	return found
}
