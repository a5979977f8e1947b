package session

import (
	"context"
	"net/netip"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/relay"
)

// Totals is what was relayed in the two directions.
type Totals = relay.Totals

// Route is what the sessions of one route share. It is made once per route and
// never changed, so that a session costs no strings of its own.
type Route struct {
	API     string // apis/{api}
	Version string // apis/{api}/versions/{version}
	Name    string // the route's own name
}

// Grant is what a session's credential rests on, shared by all sessions of the
// grant and never changed.
type Grant struct {
	Name         string   // grants/{token or key id}
	Person       string   // people/{person}
	Application  string   // applications/{application}
	Subscription string   // subscriptions/{subscription}
	Key          string   // applications/{application}/keys/{key}
	IDs          []string // every name that the grant rests on, those above included

	Scopes     []string  // of the token
	ExpireTime time.Time // end of the credential by the control plane's clock
}

// Info describes a session. Route is needed, Grant is nil for APIs with scheme none.
type Info struct {
	Ref         string // NewRef's; also the session's id
	Route       *Route
	Grant       *Grant
	ClientAddr  netip.AddrPort // the client's address
	Subprotocol string         // what was agreed; may be set late, at Start
	Revision    uint64         // of the configuration that the session was admitted under
	Expires     time.Time      // end of the credential, with a monotonic reading; zero: none
	MaxAge      time.Duration  // 0: none
	MaxMessage  int64          // bytes; 0: the gateway's default
}

// State is where a session is in its life.
type State uint8

// The states, in their order.
const (
	Registered State = iota + 1 // in its handshake
	Live
	Closing // a close was sent or received
	Ended
)

// Session is one session, from before its backend is dialled to its record.
// All methods may be called from any goroutine at any time.
type Session struct{ info Info }

// Ref returns the session's reference, which is its id as well.
func (s *Session) Ref() string { return s.info.Ref }

// Info returns what is known of the session. The grant is the newest.
func (s *Session) Info() Info { return s.info }

// State returns where the session is in its life.
func (s *Session) State() State { return Ended }

// Started returns when the session became live, zero before.
func (s *Session) Started() time.Time { return time.Time{} }

// Totals returns what was relayed up to now.
func (s *Session) Totals() Totals { return Totals{} }

// Context is for the handshake: it ends when the session is ended during it,
// with an *EndedError as its cause, and in any case at Start or Abandon.
func (s *Session) Context() context.Context { return nil }

// Err returns an *EndedError once the session was ended, nil before. The
// handshake asks it last, before it answers 101.
func (s *Session) Err() error { return nil }

// Abandon forgets a session whose handshake was refused. It leaves no record.
// After Start it does nothing, so that it can be deferred.
func (s *Session) Abandon() {}

// Start takes over both connections after the client was sent its 101 and
// returns at once. A session that was ended before that gives the client its
// close, the backend 1001, and a record. An error means that a connection
// cannot be relayed; both are closed then and the session is abandoned.
func (s *Session) Start(client, backend relay.Leg) error { return nil }

// End ends the session: in its handshake by cancelling Context, live by closes
// to both legs. The first cause is the one that counts; End reports whether it
// was this one.
func (s *Session) End(c Cause) bool { return false }

// SetExpiry sets when the session's credential ends; zero: never. The time
// must have a monotonic reading.
func (s *Session) SetExpiry(at time.Time) {}

// SetSubprotocol notes what the backend agreed on, before Start.
func (s *Session) SetSubprotocol(name string) {}

// UpdateGrant replaces the grant by a newer reading of it, and the expiry.
func (s *Session) UpdateGrant(g *Grant, expires time.Time) {}
