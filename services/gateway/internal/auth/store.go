package auth

import (
	"crypto/sha256"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
)

// key names a judgement; the credential itself is not kept.
type key struct {
	credential [sha256.Size]byte
	version    string
}

func keyOf(credential, version string) key {
	var buf [1024]byte // most credentials fit, and need no memory then
	return key{credential: sha256.Sum256(append(buf[:0], credential...)), version: version}
}

// entry is a judgement that is kept.
type entry struct {
	key    key
	grant  grant.Grant // without AsOf
	denied error       // nil for a grant
	names  []string    // that it rests on
	until  time.Time

	links        []link // one for each name
	newer, older *entry // by use
}

// link is an entry's place in the list of those that rest on a name.
type link struct {
	entry      *entry
	next, prev *link
}

// store is a bounded set of entries that are found by key and by name. When it
// is full, the one unused for the longest time goes.
type store struct {
	max    int
	byKey  map[key]*entry
	byName map[string]*link // the first of the list
	newest *entry
	oldest *entry
}

func newStore(bound int) *store {
	s := &store{max: bound}
	s.clear()
	return s
}

// clear removes all entries.
func (s *store) clear() {
	s.byKey, s.byName = map[key]*entry{}, map[string]*link{}
	s.newest, s.oldest = nil, nil
}

// get returns the entry of a key, nil where there is none that lives.
func (s *store) get(k key, now time.Time) *entry {
	e := s.byKey[k]
	if e == nil {
		return nil
	}
	if !now.Before(e.until) {
		s.remove(e)
		return nil
	}
	s.unuse(e)
	s.use(e)
	return e
}

// put adds an entry, in the place of one with the same key.
func (s *store) put(e *entry) {
	if old := s.byKey[e.key]; old != nil {
		s.remove(old)
	}
	for len(s.byKey) >= s.max {
		s.remove(s.oldest)
	}
	s.byKey[e.key] = e
	s.use(e)
	e.links = make([]link, len(e.names))
	for i, name := range e.names {
		l := &e.links[i]
		l.entry, l.next = e, s.byName[name]
		if l.next != nil {
			l.next.prev = l
		}
		s.byName[name] = l
	}
}

// evict removes all entries that rest on one of the names.
func (s *store) evict(names []string) {
	for _, name := range names {
		for l := s.byName[name]; l != nil; l = s.byName[name] {
			s.remove(l.entry)
		}
	}
}

func (s *store) remove(e *entry) {
	delete(s.byKey, e.key)
	s.unuse(e)
	for i, name := range e.names {
		l := &e.links[i]
		if l.next != nil {
			l.next.prev = l.prev
		}
		switch {
		case l.prev != nil:
			l.prev.next = l.next
		case l.next != nil:
			s.byName[name] = l.next
		default:
			delete(s.byName, name)
		}
	}
}

// use makes an entry the newest, unuse takes it out of that order.
func (s *store) use(e *entry) {
	e.newer, e.older = nil, s.newest
	if s.newest != nil {
		s.newest.newer = e
	} else {
		s.oldest = e
	}
	s.newest = e
}

func (s *store) unuse(e *entry) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		s.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		s.oldest = e.newer
	}
	e.newer, e.older = nil, nil
}
