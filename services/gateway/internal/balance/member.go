package balance

import (
	"sync"
	"time"
)

// Config says when an endpoint is suspended, and for how long. Default makes it.
type Config struct {
	Failures       int           // handshakes in a row that fail before it is suspended
	First, Longest time.Duration // suspensions
	Factor         float64       // by which each is longer than the one before
	// Checked says that health checks find out whether an endpoint on trial works, and no
	// handshakes of clients.
	Checked bool
	// Healthy is how many checks in a row must succeed on trial, Unhealthy how many must
	// fail before an endpoint is suspended.
	Healthy, Unhealthy int
}

// Default returns the default configuration.
func Default() Config {
	return Config{Failures: 1, First: time.Second, Longest: 30 * time.Second, Factor: 2, Healthy: 1, Unhealthy: 3}
}

// State is what is known of an endpoint.
type State uint8

// The states.
const (
	Healthy State = iota
	Suspended
	OnTrial
)

// Group is a stage's endpoints, which take each other's place. It outlives changes of its
// members, so that what is known of those that stay is kept.
type Group struct {
	mu   sync.Mutex
	turn int // where the next search begins
}

// Member is an endpoint of a group. All its methods may be called from any goroutine.
type Member struct {
	group *Group
	cfg   Config // guarded by group.mu, as is all that follows

	connections int
	state       State
	since       time.Time     // when the state began; zero: it has always been so
	until       time.Time     // end of the suspension, if it is suspended or on trial
	length      time.Duration // of the last suspension; 0: none that still counts
	failures    int           // handshakes in a row, while healthy
	missed      int           // checks in a row that failed, while healthy
	passed      int           // checks in a row that succeeded, while on trial
	trying      bool          // a handshake tries it out
	last        string        // why it failed last
	lastAt      time.Time
}

// NewMember adds a healthy endpoint to a group.
func (g *Group) NewMember(cfg Config) *Member { return &Member{group: g, cfg: cfg} }

// Group returns the group that the endpoint is in.
func (m *Member) Group() *Group { return m.group }

// SetConfig replaces the configuration; what is known of the endpoint stays.
func (m *Member) SetConfig(cfg Config) {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	m.cfg = cfg
}

// Status is what is known of an endpoint at a time.
type Status struct {
	State       State
	Since       time.Time // zero: always
	Until       time.Time // end of the suspension; zero if it is not suspended
	Connections int       // handshakes and sessions
	LastFailure string    // empty: it has not failed
	LastFailed  time.Time
}

// Status returns what is known of the endpoint.
func (m *Member) Status(now time.Time) Status {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	m.settle(now)
	s := Status{State: m.state, Since: m.since, Connections: m.connections, LastFailure: m.last, LastFailed: m.lastAt}
	if m.state == Suspended {
		s.Until = m.until
	}
	return s
}

// settle ends a suspension that is over.
func (m *Member) settle(now time.Time) {
	if m.state == Suspended && !now.Before(m.until) {
		m.state, m.since, m.passed, m.trying = OnTrial, m.until, 0, false
	}
}

// Release counts one connection less.
func (m *Member) Release() {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	m.connections--
}

// leave counts a handshake less that does not go on here.
func (m *Member) leave() { m.connections, m.trying = m.connections-1, false }

// succeed notes that a handshake succeeded. It ends a suspension, whenever it began.
func (m *Member) succeed(now time.Time) (recovered bool) {
	m.trying, m.failures, m.length = false, 0, 0
	return m.recover(now)
}

// recover makes the endpoint healthy.
func (m *Member) recover(now time.Time) bool {
	if m.state == Healthy {
		return false
	}
	m.state, m.since, m.failures, m.missed = Healthy, now, 0, 0
	return true
}

// fail notes that a handshake failed which began at a time. It returns for how long the
// endpoint is suspended now, 0 where this does not suspend it: what began before its state
// did says nothing of that.
func (m *Member) fail(began, now time.Time, why string) time.Duration {
	m.last, m.lastAt = why, now
	if began.Before(m.since) {
		return 0
	}
	switch m.state {
	case OnTrial:
		return m.suspend(now)
	case Healthy:
		if m.failures++; m.failures >= m.cfg.Failures {
			return m.suspend(now)
		}
	}
	return 0
}

// suspend begins a suspension, which is longer than the one before.
func (m *Member) suspend(now time.Time) time.Duration {
	next := m.cfg.First
	if m.length > 0 {
		next = max(time.Duration(float64(m.length)*m.cfg.Factor), next)
	}
	m.length = min(next, max(m.cfg.Longest, m.cfg.First))
	m.state, m.since, m.until, m.failures, m.missed = Suspended, now, now.Add(m.length), 0, 0
	return m.length
}

// Checked notes what came of a health check that began at a time; why is empty where it
// succeeded. It returns for how long the endpoint is suspended now, 0 where this does not
// suspend it, and whether it is healthy again.
//
// What checks say does not make the next suspension as short as the first one until a
// second check has found the endpoint healthy: otherwise one that answers checks alone
// would come back after the shortest suspension each time.
func (m *Member) Checked(began, now time.Time, why string) (suspended time.Duration, recovered bool) {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	m.settle(now)
	if why != "" {
		m.last, m.lastAt = why, now
	}
	if began.Before(m.since) {
		return 0, false
	}
	switch {
	case m.state == Healthy && why == "":
		m.missed, m.length = 0, 0
	case m.state == Healthy:
		if m.missed++; m.missed >= m.cfg.Unhealthy {
			return m.suspend(now), false
		}
	case m.state == OnTrial && why == "":
		if m.passed++; m.passed >= m.cfg.Healthy {
			return 0, m.recover(now)
		}
	case m.state == OnTrial:
		return m.suspend(now), false
	}
	return 0, false
}
