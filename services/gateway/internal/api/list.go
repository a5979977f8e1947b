package api

import (
	"math"
	"slices"

	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/sessionorder"
)

type entry struct {
	key     sessionorder.Key
	session *session.Session
}

// oldest returns the n oldest sessions after a key that keep accepts, and whether
// there are more. It looks at all sessions, which are in memory.
func (a *API) oldest(after sessionorder.Key, n int, keep func(session.Info) bool) (found []entry, more bool) {
	a.sessions.List("", math.MaxInt, func(s *session.Session) bool {
		key := sessionorder.NewKey(s.Started(), a.sessionName(s.Ref()))
		if key.Compare(after) > 0 && keep(s.Info()) {
			found = append(found, entry{key, s})
		}
		return false
	})
	slices.SortFunc(found, func(x, y entry) int { return x.key.Compare(y.key) })
	if len(found) > n {
		return found[:n], true
	}
	return found, false
}
