package balance

import "time"

// MaxMembers is how many endpoints a stage may have.
const MaxMembers = 64

// Turn is the search of one handshake, or one request, for an endpoint that takes it. Its
// zero value with a list of members is a search that has tried none. It is not safe for
// concurrent use.
//
//	t := balance.NewTurn(members)
//	for t.Next(now()) {
//		// tries members[t.Index()], and then calls Failed, Skip or Done.
//	}
type Turn struct {
	members []*Member
	tried   uint64
	at      int
	began   time.Time
}

// NewTurn returns a search among the members of a group, at most MaxMembers.
func NewTurn(members []*Member) Turn { return Turn{members: members} }

// Next takes the endpoint that is to be tried next, and counts a connection to it. It
// returns false if each has been tried.
func (t *Turn) Next(now time.Time) bool {
	if t.Left() == 0 {
		return false
	}
	g := t.members[0].group
	g.mu.Lock()
	defer g.mu.Unlock()
	best, n := -1, len(t.members)
	for i := range n {
		at := (g.turn + i) % n
		if t.tried&(1<<at) != 0 {
			continue
		}
		t.members[at].settle(now)
		if best < 0 || t.members[at].before(t.members[best]) {
			best = at
		}
	}
	m := t.members[best]
	m.connections++
	m.trying = m.trying || m.state == OnTrial
	g.turn = (best + 1) % n
	t.tried |= 1 << best
	t.at, t.began = best, now
	return true
}

// before reports whether m is to be tried before other, which comes earlier in turn.
func (m *Member) before(other *Member) bool {
	if a, b := m.rank(), other.rank(); a != b {
		return a < b
	}
	if m.rank() == last {
		return m.until.Before(other.until)
	}
	return m.connections < other.connections
}

// Ranks of endpoints, in the order in which they are tried.
const (
	trial = iota // one that waits for a handshake that tries it
	works
	last // suspended, or tried by another
)

func (m *Member) rank() int {
	switch {
	case m.state == Healthy:
		return works
	case m.state == OnTrial && !m.trying && !m.cfg.Checked:
		return trial
	default:
		return last
	}
}

// Index returns the place of the endpoint that was taken last.
func (t *Turn) Index() int { return t.at }

// Began returns when it was taken.
func (t *Turn) Began() time.Time { return t.began }

// Left returns how many endpoints are left to be tried.
func (t *Turn) Left() int {
	n := len(t.members)
	for i := range t.members {
		if t.tried&(1<<i) != 0 {
			n--
		}
	}
	return n
}

// Failed says why the endpoint that was taken last failed. It returns for how long this has
// it suspended; 0: it is not.
func (t *Turn) Failed(now time.Time, why string) time.Duration {
	m := t.members[t.at]
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	m.leave()
	return m.fail(t.began, now, why)
}

// Skip says that the endpoint that was taken last was not tried, or that it is not known
// what came of it.
func (t *Turn) Skip() {
	m := t.members[t.at]
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	m.leave()
}

// Done says that the endpoint that was taken last works. Its connection counts until its
// Release. It reports whether the endpoint was suspended or on trial.
func (t *Turn) Done(now time.Time) (m *Member, recovered bool) {
	m = t.members[t.at]
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	return m, m.succeed(now)
}
