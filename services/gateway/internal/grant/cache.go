package grant

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/bound"
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
	// judged; it does not count for one whose ExpireTime is zero.
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

// State is a grant as it is now, made for this answer, or what ended it.
type State struct {
	Grant *Grant
	// Lifetime is as in Answer; it counts where the grant ends at another time than before.
	Lifetime time.Duration
	Ended    EventKind
}

// Session is a session, in its handshake or live, as far as its grant goes;
// session.Session is.
type Session interface {
	// Grant returns the session's newest grant.
	Grant() *Grant
	// SetGrant replaces the grant. From then on the session rests on what the new
	// one rests on.
	SetGrant(g *Grant)
	// Permitted returns nil if a grant is good from where the session's client is, and else
	// why not, as Permits of the grant does.
	Permitted(g *Grant) error
	// End ends the session and reports whether this is what ended it.
	End(e ending.Ending) bool
	// Renew replaces the grant by that of another credential, as SetGrant does.
	Renew(g *Grant)
	// Err returns nil until the session has ended, and then says how it did.
	Err() error
}

// Sessions are the gateway's sessions; session.Registry is.
type Sessions interface {
	// Granted returns all sessions that have a grant.
	Granted() []Session
	// GrantedOn returns the sessions with a grant that rest on any of the names.
	GrantedOn(names ...string) []Session
	// EndThoseOn ends the sessions that rest on any of the names and whose grant, nil for
	// none, affected accepts, and returns how many of them it ended.
	EndThoseOn(e ending.Ending, affected func(*Grant) bool, names ...string) int
}

// Config is how a Cache works. It is made by Default.
type Config struct {
	GrantTTL     time.Duration // how long a grant is kept
	DenialTTL    time.Duration // how long a denial is kept; 0 for not at all
	Timeout      time.Duration // of one question to the source
	MaxGrants    int           // kept; 0 for any number
	MaxDenials   int           // kept
	MaxLookups   int           // under way at once; 0 for any number
	EventTTL     time.Duration // how long events are kept
	MaxEvents    int           // kept
	RefreshPause time.Duration // between two batches of a refresh

	prefix string
}

// Default returns the default configuration.
func Default() Config {
	return Config{
		GrantTTL:     5 * time.Minute,
		DenialTTL:    2 * time.Second,
		Timeout:      3 * time.Second,
		MaxGrants:    100_000,
		MaxDenials:   10_000,
		MaxLookups:   256,
		EventTTL:     time.Minute,
		MaxEvents:    10_000,
		RefreshPause: 100 * time.Millisecond,
	}
}

// Flags registers the options, each name after prefix. What the Config holds is
// their default.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.DurationVar(&c.GrantTTL, prefix+"grant-ttl", c.GrantTTL, "how `long` a grant is cached before it is verified again")
	fs.DurationVar(&c.DenialTTL, prefix+"denial-ttl", c.DenialTTL, "how `long` a denial is cached; 0 for not at all")
	fs.DurationVar(&c.Timeout, prefix+"verify-timeout", c.Timeout, "`time` to verify a credential")
	fs.IntVar(&c.MaxLookups, prefix+"max-lookups", c.MaxLookups, "`number` of credentials that are verified at once, of which an address gets no more than are left free; further ones are refused; 0 for no limit")
	fs.IntVar(&c.MaxGrants, prefix+"max-grants", c.MaxGrants, "`number` of grants that are cached; 0 for no limit")
}

// Check reports everything that is wrong with the configuration.
func (c *Config) Check() error {
	var wrong []error
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"denial-ttl", int64(c.DenialTTL)}, {"max-lookups", int64(c.MaxLookups)}, {"max-grants", int64(c.MaxGrants)},
	} {
		if f.value < 0 {
			wrong = append(wrong, fmt.Errorf("-%s%s: must not be negative", c.prefix, f.name))
		}
	}
	if c.GrantTTL <= 0 {
		wrong = append(wrong, fmt.Errorf("-%sgrant-ttl: must be more than 0, or every handshake would wait for the control plane", c.prefix))
	}
	if c.Timeout <= 0 {
		wrong = append(wrong, fmt.Errorf("-%sverify-timeout: must be more than 0, or no credential could be verified", c.prefix))
	}
	if c.MaxDenials <= 0 || c.EventTTL <= 0 || c.MaxEvents <= 0 || c.RefreshPause <= 0 {
		wrong = append(wrong, errors.New("grants: MaxDenials, EventTTL, MaxEvents and RefreshPause must be more than 0"))
	}
	return errors.Join(wrong...)
}

// unlimited returns a limit, or the largest number for 0.
func unlimited(limit int) int {
	if limit == 0 {
		return math.MaxInt
	}
	return limit
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
	clients *bound.ByKey[netip.Prefix] // lookups by the client's network
	history *history

	closedBy *closings

	// moving holds a value while an event is applied, and while a session is given the grant of
	// another credential: so an event finds a session by either, and ends it for neither
	// that it has lost nor that it never had.
	moving chan struct{}
}

// New returns a cache in front of source. Close ends it.
func New(cfg Config, source Source, sessions Sessions, m *metrics.Metrics, log *slog.Logger) *Cache {
	base, stop := context.WithCancel(context.Background())
	return &Cache{
		cfg: cfg, source: source, sessions: sessions, metrics: m, log: log,
		queue: newRefreshQueue(), refreshing: make(chan struct{}, 1),
		jitter: func(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) },
		base:   base, stop: stop,
		grants: newLRU(unlimited(cfg.MaxGrants)), denials: newLRU(cfg.MaxDenials),
		lookups: map[key]*lookup{}, clients: bound.NewByKey[netip.Prefix](0), history: newHistory(cfg.EventTTL, cfg.MaxEvents), closedBy: newClosings(cfg.MaxEvents), moving: make(chan struct{}, 1),
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
