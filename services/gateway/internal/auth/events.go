package auth

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// Cause is what happened to the names of an event.
type Cause uint8

// The causes. All but Changed end what rests on the names.
const (
	Changed Cause = iota
	TokenRevoked
	KeyDeleted
	ApplicationDeleted
	SubscriptionDeleted
	UserDeleted
	VersionDeleted
	Expired
)

// String describes the cause to the reader of a record.
func (c Cause) String() string {
	switch c {
	case Changed:
		return "changed"
	case TokenRevoked:
		return "token revoked"
	case KeyDeleted:
		return "key deleted"
	case ApplicationDeleted:
		return "application deleted"
	case SubscriptionDeleted:
		return "subscription deleted"
	case UserDeleted:
		return "user deleted"
	case VersionDeleted:
		return "version deleted"
	case Expired:
		return "credential expired"
	}
	return fmt.Sprintf("cause %d", uint8(c))
}

// end returns how the sessions end that this happens to.
func (c Cause) end(names []string) ending.Ending {
	detail := c.String()
	if len(names) > 0 {
		detail += ": " + strings.Join(names, ", ")
	}
	switch c {
	case TokenRevoked, KeyDeleted:
		return ending.New(ending.Revoked, detail)
	case Expired:
		return ending.New(ending.Expired, "")
	}
	return ending.New(ending.Blocked, detail)
}

// Event says what happened to names.
type Event struct {
	Cause Cause
	Names []string
}

// touches reports whether the event is about one of the names.
func (e Event) touches(names []string) bool {
	return slices.ContainsFunc(e.Names, func(n string) bool { return slices.Contains(names, n) })
}

// events are the newest events that were applied, for answers that were on
// their way meanwhile. A position counts the events applied here, resets
// included; it never goes back, which the numbers of the control plane may do
// after a reset.
type events struct {
	keep time.Duration
	max  int

	kept     []kept // kept[i] is the event at position floor+i+1
	position uint64 // of the last event
	floor    uint64 // events up to here are not kept
	below    uint64 // number of the last change that is not kept
	number   uint64 // of the last change applied
	resets   uint64 // how many there were
}

// kept is an event that was applied.
type kept struct {
	Event
	number uint64
	at     time.Time
}

func newEvents(keep time.Duration, bound int) *events {
	return &events{keep: keep, max: bound}
}

// add notes a change, with an event or, where it touches nothing, without.
func (l *events) add(number uint64, e Event, now time.Time) {
	l.number = number
	if len(e.Names) == 0 {
		return
	}
	l.kept = append(l.kept, kept{Event: e, number: number, at: now})
	l.position++
	old := max(0, len(l.kept)-l.max)
	for old < len(l.kept) && now.Sub(l.kept[old].at) > l.keep {
		old++
	}
	l.forget(old)
}

// forget drops the n oldest events.
func (l *events) forget(n int) {
	if n == 0 {
		return
	}
	l.floor += uint64(n)
	l.below = l.kept[n-1].number
	clear(l.kept[:n])
	l.kept = l.kept[n:]
}

// reset starts a new history whose newest change has the given number. Nothing
// before it can be replayed.
func (l *events) reset(number uint64) {
	l.kept = nil
	l.resets++
	l.position++
	l.floor, l.below, l.number = l.position, number, number
}

// positionOf returns the position up to which an answer has taken everything
// into account that was read as of a change; false when it is older than what is
// kept. An answer may be ahead of the events; then those on their way are
// replayed too, which does no harm: names do not come back, so an event that the
// answer knows of touches nothing that it rests on, or asks to read it again.
func (l *events) positionOf(asOf uint64) (uint64, bool) {
	if asOf < l.below {
		return 0, false
	}
	n, _ := slices.BinarySearchFunc(l.kept, asOf, func(k kept, asOf uint64) int {
		if k.number <= asOf {
			return -1
		}
		return 1
	})
	return l.floor + uint64(n), true
}

// since returns the events after a position that touch one of the names; false
// when they are not all kept.
func (l *events) since(position uint64, names []string) ([]Event, bool) {
	if position < l.floor {
		return nil, false
	}
	var found []Event
	for _, k := range l.kept[min(position-l.floor, uint64(len(l.kept))):] {
		if k.touches(names) {
			found = append(found, k.Event)
		}
	}
	return found, true
}
