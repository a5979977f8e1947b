package session

import "time"

// Record is what a session leaves behind: exactly one.
type Record struct {
	Info
	Started, Ended time.Time
	Cause          Cause // who ended it first, and why
	ClientLeg      LegRecord
	BackendLeg     LegRecord
	Totals         Totals
	Unreported     Totals // the part of Totals that no Collect has given
}

// LegRecord is one leg's end. Codes: 0 is none at all, 1005 an empty close.
type LegRecord struct {
	Sent, Received uint16    // the codes of the close frames
	CutMidFrame    bool      // the leg was closed inside a frame that it was being sent
	Last           time.Time // when the last data frame came from it; zero: never
}
