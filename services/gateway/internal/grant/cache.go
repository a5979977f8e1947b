package grant

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
)

// Source judges credentials; Remote is the subscription service.
type Source interface {
	// Verify judges a credential for a version. An error means that there is no
	// judgement.
	Verify(ctx context.Context, c credential.Credential, version string) (Answer, error)
	// Read returns the present states of grants, at most 1000, in the order asked.
	Read(ctx context.Context, grants []*Grant) (States, error)
}

// Answer is a judgement: a grant or a denial.
type Answer struct {
	Grant  *Grant // made for this answer: the cache sets its Expires
	Denial *Denial
	// AsOf is the number of the change that was the newest before anything was
	// read.
	AsOf uint64
	// Lifetime is how much longer the credential of the grant lived when it was
	// judged.
	Lifetime time.Duration
}

// restsOn returns the names that the judgement rests on.
func (a *Answer) restsOn() []string {
	if a.Grant != nil {
		return a.Grant.RestsOn
	}
	return a.Denial.RestsOn
}

// States are the states of grants.
type States struct {
	States []State
	AsOf   uint64 // as in Answer
}

// State is a grant as it is now, or what ended it.
type State struct {
	Grant *Grant
	Ended EventKind
}

// Session is a session, in its handshake or live, as far as its grant goes;
// session.Session is.
type Session interface {
	// Grant returns the session's newest grant.
	Grant() *Grant
	// SetGrant replaces the grant. From then on the session rests on what the new
	// one rests on.
	SetGrant(g *Grant)
	// End ends the session and reports whether this is what ended it.
	End(e ending.Ending) bool
	// Err returns nil until the session has ended, and then says how it did.
	Err() error
}

// Sessions are the gateway's sessions; session.Registry is.
type Sessions interface {
	// Granted returns all sessions that have a grant.
	Granted() []Session
	// GrantedOn returns the sessions with a grant that rest on any of the names.
	GrantedOn(names ...string) []Session
	// EndWhere ends the sessions that rest on any of the names, and returns how many
	// of them it ended.
	EndWhere(e ending.Ending, names ...string) int
}

// Config is how a Cache works. Fields that are zero take their default.
type Config struct {
	GrantTTL     time.Duration // how long a grant is kept; 5 min
	DenialTTL    time.Duration // how long a denial is kept; 2 s
	Timeout      time.Duration // of one question to the source; 3 s
	MaxGrants    int           // kept; 100 000
	MaxDenials   int           // kept; 10 000
	MaxLookups   int           // under way at once; 256
	EventTTL     time.Duration // how long events are kept; 60 s
	MaxEvents    int           // kept; 10 000
	RefreshPause time.Duration // between two batches of a refresh; 100 ms
	Now          func() time.Time
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{
		{&c.GrantTTL, 5 * time.Minute}, {&c.DenialTTL, 2 * time.Second}, {&c.Timeout, 3 * time.Second},
		{&c.EventTTL, time.Minute}, {&c.RefreshPause, 100 * time.Millisecond},
	} {
		if *d.at <= 0 {
			*d.at = d.def
		}
	}
	for _, d := range []struct {
		at  *int
		def int
	}{{&c.MaxGrants, 100_000}, {&c.MaxDenials, 10_000}, {&c.MaxLookups, 256}, {&c.MaxEvents, 10_000}} {
		if *d.at <= 0 {
			*d.at = d.def
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Cache keeps grants and denials. It is safe for concurrent use.
//
// What is kept and the history of events share one lock, because that is what
// makes every entry valid as of the last event applied (see the package comment).
// A cache library would take care of the entries, but not of that step.
type Cache struct {
	cfg      Config
	source   Source
	sessions Sessions
	metrics  *metrics.Metrics
	log      *slog.Logger

	queue      *refreshQueue
	refreshing chan struct{}                     // holds a value while grants are being refreshed
	jitter     func(time.Duration) time.Duration // keeps gateways from asking all at once

	base    context.Context // of the lookups
	stop    context.CancelFunc
	running sync.WaitGroup // the lookups

	mu      sync.Mutex
	closed  bool
	grants  *lru
	denials *lru
	lookups map[key]*lookup
	history *history
}

// New returns a cache in front of source. Close ends it.
func New(cfg Config, source Source, sessions Sessions, m *metrics.Metrics, log *slog.Logger) *Cache {
	cfg = cfg.withDefaults()
	base, stop := context.WithCancel(context.Background())
	return &Cache{
		cfg: cfg, source: source, sessions: sessions, metrics: m, log: log,
		queue: newRefreshQueue(), refreshing: make(chan struct{}, 1),
		jitter: func(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) },
		base:   base, stop: stop,
		grants: newLRU(cfg.MaxGrants), denials: newLRU(cfg.MaxDenials),
		lookups: map[key]*lookup{}, history: newHistory(cfg.EventTTL, cfg.MaxEvents),
	}
}

// Close cancels the lookups under way and waits for them. Later ones fail.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.running.Wait()
}
