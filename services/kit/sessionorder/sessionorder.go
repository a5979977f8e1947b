// Package sessionorder has the order in which live sessions are listed, and that of their
// counts. Gateways and the portal, which merges their lists, put the same keys into page
// tokens, so that the portal can ask each gateway for what follows the same session.
package sessionorder

import (
	"cmp"
	"math"
	"slices"
	"time"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// Key is where a live session stands in lists: they go by start, sessions whose
// handshake is under way last, and then by name. The zero value comes before all.
type Key struct {
	// Start is in microseconds since 1970; MaxInt64 during the handshake.
	Start int64
	// Name is gateways/{gateway}/sessions/{session}.
	Name string
}

// NewKey returns the key of a session by its start, the zero time during the
// handshake, and its name.
func NewKey(start time.Time, name resourcename.Session) Key {
	key := Key{Start: math.MaxInt64, Name: name.String()}
	if !start.IsZero() {
		key.Start = start.UnixMicro()
	}
	return key
}

// KeyOf returns the key of a session that a gateway has listed.
func KeyOf(s *gatewayv1.Session) Key {
	key := Key{Start: math.MaxInt64, Name: s.GetName()}
	if at := s.GetStartTime(); at != nil {
		key.Start = at.AsTime().UnixMicro()
	}
	return key
}

// Compare returns -1, 0 or 1 where k comes before, at or after o.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Start, o.Start), cmp.Compare(k.Name, o.Name))
}

// MaxCounts is how many counts of sessions an answer has at most, and for how many names
// a request may ask.
const MaxCounts = 1000

// Greatest returns the MaxCounts greatest of some counts, the greatest first, and of
// equal ones by name.
func Greatest(counts map[string]int64) []*gatewayv1.SessionCount {
	all := make([]*gatewayv1.SessionCount, 0, len(counts))
	for name, n := range counts {
		all = append(all, &gatewayv1.SessionCount{Name: name, Sessions: n})
	}
	slices.SortFunc(all, func(a, b *gatewayv1.SessionCount) int {
		return cmp.Or(cmp.Compare(b.GetSessions(), a.GetSessions()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return slices.Clip(all[:min(MaxCounts, len(all))])
}
