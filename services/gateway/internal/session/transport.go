package session

import (
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// Transport moves the bytes of a live session. The relay between a client and a
// backend is one. Its methods may be called from any goroutine.
type Transport interface {
	// Start sets the session going and returns at once; it is called once. After an
	// error all that the transport holds is closed, and the terms' observer is not told.
	// Otherwise the observer is told of the end, once, and never from within a call that
	// a Session makes with its own lock held: Start, SetExpiry and what only reads.
	Start(ending.Terms) error
	// End ends the session with closes. It reports whether nothing had ended it
	// before: only the first ending counts.
	End(ending.Ending) (first bool)
	// Abort ends the session without waiting for anybody. In place of Start it closes
	// what the transport holds.
	Abort(ending.Ending)
	// SetExpiry sets when the session ends as EXPIRED; zero: never.
	SetExpiry(time.Time)

	// Ending returns who ended the session first and why; By is Nobody while it lives.
	Ending() ending.Ending
	// Started returns when Start was called.
	Started() time.Time
	// Totals returns what was relayed up to now, Collect what was since the last
	// Collect. After the end Collect returns nothing: the outcome has the rest.
	Totals() ending.Totals
	Collect() ending.Totals
}
