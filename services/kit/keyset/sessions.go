package keyset

import (
	"cmp"
	"math"
	"time"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/resource"
)

// Session is the key of a live session in lists: they go by start, sessions whose
// handshake is under way last, and then by name. The zero value comes before all.
type Session struct {
	// Start is in microseconds since 1970; MaxInt64 during the handshake.
	Start int64
	// Name is gateways/{gateway}/sessions/{session}.
	Name string
}

// NewSession returns the key of a session by its start, the zero time during the
// handshake, and its name.
func NewSession(start time.Time, name resource.Session) Session {
	key := Session{Start: math.MaxInt64, Name: name.String()}
	if !start.IsZero() {
		key.Start = start.UnixMicro()
	}
	return key
}

// SessionOf returns the key of a session that a gateway has listed.
func SessionOf(s *gatewayv1.Session) Session {
	key := Session{Start: math.MaxInt64, Name: s.GetName()}
	if at := s.GetStartTime(); at != nil {
		key.Start = at.AsTime().UnixMicro()
	}
	return key
}

// Compare returns -1, 0 or 1 where s comes before, at or after o.
func (s Session) Compare(o Session) int {
	return cmp.Or(cmp.Compare(s.Start, o.Start), cmp.Compare(s.Name, o.Name))
}
