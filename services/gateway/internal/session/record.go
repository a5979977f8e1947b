package session

import (
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/relay"
)

// Record is what a session leaves behind: exactly one.
type Record struct {
	Info
	Started, Ended time.Time
	Ending         ending.Ending // who ended it first, and why
	ClientLeg      LegRecord
	BackendLeg     LegRecord
	Totals         ending.Totals
	Unreported     ending.Totals // the part of Totals that no Collect has given
}

// LegRecord is one leg's end: the codes of the close frames that were sent to it
// and received from it (0: none, 1005: without a code), whether it was cut inside
// a frame, and when its last data frame came.
type LegRecord = relay.LegOutcome
