package session

import (
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// Transport moves the bytes of a live session. The relay between a client and a
// backend is one. Its methods may be called from any goroutine.
type Transport interface {
	// Start sets the session going and returns at once; it is called once. After an
	// error all that the transport holds is closed, and the terms' observer is not
	// told. Otherwise the observer is told of the end, once, and never from within
	// a call that a Session makes while it holds its lock: Start, SetExpiry and the
	// methods that only read.
	Start(ending.Terms) error
	// End ends the session with close frames. It reports whether nothing had ended
	// it before: only the first ending counts.
	End(ending.Ending) (first bool)
	// Abort ends the session without waiting for its peers. Called instead of
	// Start, it closes what the transport holds.
	Abort(ending.Ending)
	// SetExpiry sets when the session ends as EXPIRED; the zero time means never.
	SetExpiry(time.Time)
	// SetLimits replaces the limits of the terms, within one read of each leg.
	SetLimits(ending.Limits)
	// Silent returns for how long the client has shown no sign of life, 0 where that is
	// not known, because it is not read.
	Silent() time.Duration
	// Ping sends the client a ping, and reports whether it could.
	Ping() bool

	// Ending returns who ended the session first and why; By is Nobody while it lives.
	Ending() ending.Ending
	// Started returns when Start was called.
	Started() time.Time
	// Totals returns what was relayed so far, and Limits what limits did, and since when
	// the session is paused: zero if it is not.
	Totals() ending.Totals
	Limits() (did []ending.LimitCount, pausedSince time.Time)
	// Collect returns what was used since the last Collect, a minute each. After the end
	// it returns nothing, because the outcome has the rest.
	Collect() []ending.Usage
}
