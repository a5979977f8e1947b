package grant

import (
	"slices"
	"time"
)

// Position is a point in a history: the number of events that were applied before
// it, resets included. It never goes back.
type Position uint64

// history holds the events that were applied lately, for answers that were on
// their way meanwhile and for sessions that were being registered.
type history struct {
	ttl time.Duration
	max int

	events   []applied // events[i] is the one after position start+i
	start    Position  // events before it are not kept
	position Position  // after the last event

	startChangeNumber   uint64 // changes up to it are not kept
	appliedChangeNumber uint64 // of the last change
	resets              uint64 // how many there have been
}

// applied is an event that was applied.
type applied struct {
	Event
	changeNumber uint64
	at           time.Time
}

func newHistory(ttl time.Duration, bound int) *history {
	return &history{ttl: ttl, max: bound}
}

// add notes a change and its event. An event without names takes no room.
func (h *history) add(changeNumber uint64, e Event, now time.Time) {
	h.appliedChangeNumber = changeNumber
	if len(e.Names) == 0 {
		return
	}
	h.events = append(h.events, applied{Event: e, changeNumber: changeNumber, at: now})
	h.position++
	old := max(0, len(h.events)-h.max)
	for old < len(h.events) && now.Sub(h.events[old].at) > h.ttl {
		old++
	}
	h.drop(old)
}

// drop forgets the n oldest events.
func (h *history) drop(n int) {
	if n == 0 {
		return
	}
	h.start += Position(n)
	h.startChangeNumber = h.events[n-1].changeNumber
	clear(h.events[:n])
	h.events = h.events[n:]
}

// reset begins anew at a change. Nothing before it can be replayed.
func (h *history) reset(changeNumber uint64) {
	h.events = nil
	h.resets++
	h.position++
	h.start = h.position
	h.startChangeNumber, h.appliedChangeNumber = changeNumber, changeNumber
}

// positionOf returns the position up to which an answer of the given as-of takes
// all events into account; false if that is before the first event that is kept.
// An answer may be ahead of the events. Those still on their way to the gateway
// are replayed for it too, which does no harm (see the package comment).
func (h *history) positionOf(asOf uint64) (Position, bool) {
	if asOf < h.startChangeNumber {
		return 0, false
	}
	n, _ := slices.BinarySearchFunc(h.events, asOf, func(a applied, asOf uint64) int {
		if a.changeNumber <= asOf {
			return -1
		}
		return 1
	})
	return h.start + Position(n), true
}

// since returns the events after a position that touch any of the names; false
// if not all events after it are kept.
func (h *history) since(p Position, names []string) ([]Event, bool) {
	if p < h.start {
		return nil, false
	}
	var touching []Event
	for _, a := range h.events[min(p-h.start, Position(len(h.events))):] {
		if a.touches(names) {
			touching = append(touching, a.Event)
		}
	}
	return touching, true
}
