package api

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/page"
)

// place is where a session stands in a list: by when it was answered, those still
// in their handshake last.
type place struct {
	started int64 // Unix microseconds; MaxInt64 for a handshake
	ref     string
	session *session.Session
}

func placeOf(s *session.Session) place {
	p := place{started: math.MaxInt64, ref: s.Ref(), session: s}
	if at := s.Started(); !at.IsZero() {
		p.started = at.UnixMicro()
	}
	return p
}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.started, o.started), cmp.Compare(p.ref, o.ref))
}

// token returns the token of the page after this place.
func (p place) token(scope string) string {
	return page.Token(scope, strconv.FormatInt(p.started, 10), p.ref)
}

// oldest returns the n oldest sessions after a place that keep accepts, and
// whether there are more. Sessions are in memory and few enough to look at all.
func (a *API) oldest(after place, n int, keep func(session.Info) bool) (found []place, more bool) {
	a.sessions.List("", math.MaxInt, func(s *session.Session) bool {
		if p := placeOf(s); p.compare(after) > 0 && keep(s.Info()) {
			found = append(found, p)
		}
		return false
	})
	slices.SortFunc(found, place.compare)
	if len(found) > n {
		return found[:n], true
	}
	return found, false
}
