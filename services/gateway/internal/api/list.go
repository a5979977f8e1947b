package api

import (
	"math"
	"slices"

	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/sessionorder"
)

// entry is a session in a list, with its key.
type entry struct {
	key     sessionorder.Key
	session *session.Session
}

// oldest returns the n oldest sessions after one that keep accepts, and
// whether there are more. Sessions are in memory and few enough to look at all.
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
