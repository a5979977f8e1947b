package keyset

import (
	"cmp"
	"math"
	"strconv"
	"time"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resource"
)

// Session is the key of a live session in lists: they go by start, sessions whose
// handshake is under way last, and then by name. The zero value comes before all.
type Session struct {
	start int64 // Unix microseconds; MaxInt64 during the handshake
	name  string
}

// NewSession returns the key of a session by its start, the zero time during the
// handshake, and its name.
func NewSession(start time.Time, name resource.Session) Session {
	key := Session{start: math.MaxInt64, name: name.String()}
	if !start.IsZero() {
		key.start = start.UnixMicro()
	}
	return key
}

// SessionOf returns the key of a session that a gateway has listed.
func SessionOf(s *gatewayv1.Session) Session {
	key := Session{start: math.MaxInt64, name: s.GetName()}
	if at := s.GetStartTime(); at != nil {
		key.start = at.AsTime().UnixMicro()
	}
	return key
}

// Compare returns -1, 0 or 1 where s comes before, at or after o.
func (s Session) Compare(o Session) int {
	return cmp.Or(cmp.Compare(s.start, o.start), cmp.Compare(s.name, o.name))
}

// SessionsToken returns the token of the page of a list after a session, "" for
// the first page.
func SessionsToken(parent, filter string, after Session) string {
	if after == (Session{}) {
		return ""
	}
	return page.Token(page.Scope("sessions", parent, filter), strconv.FormatInt(after.start, 10), after.name)
}

// ParseSessionsToken returns the session after which a page begins.
func ParseSessionsToken(token, parent, filter string) (Session, error) {
	keys, err := page.Keys(token, page.Scope("sessions", parent, filter), 2)
	if err != nil || keys == nil {
		return Session{}, err
	}
	start, err := parse(keys[0])
	if err != nil {
		return Session{}, err
	}
	if _, err := resource.ParseSession("page_token", keys[1]); err != nil {
		return Session{}, fault.Invalid("page_token", "is not a token that a list has returned")
	}
	return Session{start: start, name: keys[1]}, nil
}
