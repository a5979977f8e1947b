// Package moment tells what was issued before something was revoked. Clocks of replicas
// differ, so it goes by the changes of the service that does both; and numbers of changes
// begin again at a lower one when a backup is restored, so it goes by their times, too.
package moment

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// Moment is a point between two changes of a service: what is known of the newest change
// then. Revoking something is a change, so its moment is its own. The zero value is unknown,
// and before all others.
type Moment struct {
	// Change is the number of the change, 0 for none.
	Change uint64
	// Time is the time of the change in microseconds, 0 where that is not known. It is later
	// than that of every change before it, also of those that a restored backup does not have.
	Time int64
}

// Before reports whether a change that other is the moment of came after m: where other
// revokes, whether it revokes what was issued at m. Where both times are known they decide;
// what was written by an earlier release has a number only.
func (m Moment) Before(other Moment) bool {
	if m.Time != 0 && other.Time != 0 && m.Time != other.Time {
		return m.Time < other.Time
	}
	return m.Change < other.Change
}

// Of returns the moment of a number and a time in a message, where nil is not known.
func Of(change uint64, at *timestamppb.Timestamp) Moment {
	m := Moment{Change: change}
	if at.IsValid() {
		m.Time = at.AsTime().UnixMicro()
	}
	return m
}

// Timestamp returns the time as messages have it, nil where it is not known.
func (m Moment) Timestamp() *timestamppb.Timestamp {
	if m.Time == 0 {
		return nil
	}
	return timestamppb.New(time.UnixMicro(m.Time))
}
