// Package auth keeps the gateway's grants: what credentials are good for, as the
// subscription service judged them, kept current by its events. It asks for each
// credential once however many wait, drops what an event touches, ends the
// sessions that an event ends, and reads the grants of live sessions again where
// events say that something changed or where events may have been missed. How a
// credential is found in a handshake, and what is answered, belong to the
// packages credential and handshake; moving a session's bytes to relay.
//
// When the control plane is away, a cached grant is honoured until it expires,
// and everything else is grant.ErrUnavailable. Nothing is kept on disk.
package auth

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// Source judges credentials; Remote is the subscription service.
type Source interface {
	// Verify judges a credential for a version. An error means that there is no
	// judgement.
	Verify(ctx context.Context, credential, version string) (Answer, error)
	// Read reads grants again, at most 1000, and returns their states in the
	// order asked.
	Read(ctx context.Context, asked []Query) (States, error)
}

// Answer is a judgement.
type Answer struct {
	// Grant is nil for a denial.
	Grant *session.Grant
	// KeyType is that of the grant's key.
	KeyType grant.KeyType
	// Lifetime is how long the credential lived on at the judgement.
	Lifetime time.Duration
	// Denied is grant.ErrUnauthenticated or grant.ErrNotSubscribed.
	Denied error
	// RestsOn are the names that the judgement rests on.
	RestsOn []string
	// AsOf is the number of the newest change before anything was read.
	AsOf uint64
}

// Query asks for a live session's grant again.
type Query struct {
	Grant   *session.Grant
	Version string
}

// States are the states of grants that were asked for.
type States struct {
	States []State
	// AsOf is the number of the newest change before anything was read.
	AsOf uint64
}

// State is a grant as it is now, or why it ended.
type State struct {
	Grant *session.Grant
	Ended Cause
}

// Sessions are the gateway's sessions; session.Registry is.
type Sessions interface {
	List(after string, n int, keep func(*session.Session) bool) []*session.Session
	Where(names ...string) []*session.Session
	EndWhere(e ending.Ending, names ...string) int
}

// Config is what a Cache is told. Fields that are zero take their default.
type Config struct {
	GrantTTL   time.Duration // how long a grant is kept; 5 min
	DenialTTL  time.Duration // how long a denial is kept; 2 s
	Timeout    time.Duration // of a look-up; 3 s
	Grants     int           // kept; 100 000
	Denials    int           // kept; 10 000
	Lookups    int           // under way at once; 256
	KeepEvents time.Duration // how long events are kept; 60 s
	Events     int           // kept; 10 000
	Pace       time.Duration // between two batches of grants that are read again; 100 ms
	Now        func() time.Time
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{
		{&c.GrantTTL, 5 * time.Minute}, {&c.DenialTTL, 2 * time.Second}, {&c.Timeout, 3 * time.Second},
		{&c.KeepEvents, time.Minute}, {&c.Pace, 100 * time.Millisecond},
	} {
		if *d.at <= 0 {
			*d.at = d.def
		}
	}
	for _, d := range []struct {
		at  *int
		def int
	}{{&c.Grants, 100_000}, {&c.Denials, 10_000}, {&c.Lookups, 256}, {&c.Events, 10_000}} {
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
// One lock guards what is kept and the events together, because that is what
// makes an entry valid as of the last event applied: storing an answer replays
// the events that it may have missed, and an event drops what it touches, each
// in one step. A cache library would keep the entries but not the step.
type Cache struct {
	cfg      Config
	source   Source
	sessions Sessions
	metrics  *metrics.Metrics
	log      *slog.Logger
	rereads  *rereads
	reading  chan struct{}                     // has a value while grants are read again
	jitter   func(time.Duration) time.Duration // keeps gateways from asking all at once

	base    context.Context // of the look-ups under way
	stop    context.CancelFunc
	lookups sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	grants  *store
	denials *store
	flights map[key]*flight
	events  *events
}

// New returns a cache in front of source. Close ends it.
func New(cfg Config, source Source, sessions Sessions, m *metrics.Metrics, log *slog.Logger) *Cache {
	cfg = cfg.withDefaults()
	base, stop := context.WithCancel(context.Background())
	return &Cache{
		cfg: cfg, source: source, sessions: sessions, metrics: m, log: log,
		base: base, stop: stop, rereads: newRereads(), reading: make(chan struct{}, 1),
		jitter: func(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) },
		grants: newStore(cfg.Grants), denials: newStore(cfg.Denials),
		flights: map[key]*flight{}, events: newEvents(cfg.KeepEvents, cfg.Events),
	}
}

// Close ends the look-ups under way and waits for them. Later ones fail.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.lookups.Wait()
}
