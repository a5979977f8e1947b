package grant

import (
	"crypto/sha256"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
)

// key identifies a judgement. It holds a hash: credentials themselves are not
// kept.
type key struct {
	typ     credential.Type
	hash    [sha256.Size]byte
	version string
}

func keyOf(c credential.Credential, version string) key {
	var room [1024]byte // most credentials fit, and are hashed without an allocation
	text := append(room[:0], c.Value...)
	if c.Type == credential.Ticket { // no attempt waits for another one's answer
		text = append(text, ' ')
		text = append(text, c.Use.Attempt...)
	}
	return key{typ: c.Type, hash: sha256.Sum256(text), version: version}
}

// entry is a judgement that is kept: a grant or a denial.
type entry struct {
	key    key
	grant  *Grant
	denied error
	names  []string // that it rests on
	until  time.Time

	links        []link // one for each name
	newer, older *entry // by use
}

// link is an entry's place in the list of those that rest on a name.
type link struct {
	entry      *entry
	next, prev *link
}

// lru is a bounded set of entries that are found by key and by name. When it is
// full, the least recently used entry goes.
type lru struct {
	max    int
	byKey  map[key]*entry
	byName map[string]*link // the first of the list
	newest *entry
	oldest *entry
}

func newLRU(bound int) *lru {
	s := &lru{max: bound}
	s.clear()
	return s
}

// clear removes all entries.
func (s *lru) clear() {
	s.byKey, s.byName = map[key]*entry{}, map[string]*link{}
	s.newest, s.oldest = nil, nil
}

// get returns the entry of a key, nil if there is none or its time is over.
func (s *lru) get(k key, now time.Time) *entry {
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

// put adds an entry, in place of the one with the same key.
func (s *lru) put(e *entry) {
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

// evict removes all entries that rest on any of the names.
func (s *lru) evict(names []string) {
	for _, name := range names {
		for l := s.byName[name]; l != nil; l = s.byName[name] {
			s.remove(l.entry)
		}
	}
}

func (s *lru) remove(e *entry) {
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

// use makes an entry the most recently used; unuse takes it out of that order.
func (s *lru) use(e *entry) {
	e.newer, e.older = nil, s.newest
	if s.newest != nil {
		s.newest.newer = e
	} else {
		s.oldest = e
	}
	s.newest = e
}

func (s *lru) unuse(e *entry) {
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
