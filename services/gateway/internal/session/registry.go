package session

import (
	"context"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/relay"
)

// Registry holds the sessions of one gateway.
type Registry struct{}

// Config is all that the registry can be told.
type Config struct {
	Relay relay.Config
	Retry time.Duration // the longest retry hint of a 1012; 5 s
}

// Gauges counts the sessions.
type Gauges struct {
	Registered int // in their handshake
	Live       int // relaying or closing: each holds two connections
}

// NewRegistry returns an empty registry. sink is given each session's record,
// exactly once, from the session's own goroutine, and must not block.
func NewRegistry(cfg Config, sink func(Record)) *Registry { return nil }

// NewRef returns a new unguessable reference.
func NewRef() string { return "" }

// New registers a session before its backend is dialled. The session ends when
// it is started and over, or abandoned. The error is ErrDraining.
func (r *Registry) New(ctx context.Context, info Info) (*Session, error) { return nil, nil }

// Get returns the session with this reference, nil if there is none.
func (r *Registry) Get(ref string) *Session { return nil }

// List returns up to n sessions that keep accepts (nil: all), ordered by
// reference, from the first one after the given reference on.
func (r *Registry) List(after string, n int, keep func(*Session) bool) []*Session { return nil }

// Where returns the sessions that rest on any of these names: those of their
// grant, and their route's API, version and name.
func (r *Registry) Where(names ...string) []*Session { return nil }

// EndWhere ends the sessions that rest on any of these names and returns how
// many of them it ended.
func (r *Registry) EndWhere(c Cause, names ...string) int { return 0 }

// Gauges returns the present numbers.
func (r *Registry) Gauges() Gauges { return Gauges{} }

// Collect calls fn for each started session that relayed something since the
// last Collect, with what was added. What a session relayed after its last
// Collect is in its record as Unreported: together they are exact.
func (r *Registry) Collect(fn func(s *Session, added Totals)) {}

// Drain refuses new sessions, ends the registered ones at once and the live
// ones spread over the given time, each with a retry hint, and waits until all
// have left their record or ctx ends. What lives when ctx ends is cut.
func (r *Registry) Drain(ctx context.Context, over time.Duration) error { return nil }
