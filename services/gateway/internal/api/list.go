package api

import (
	"slices"

	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/sessionorder"
)

type entry struct {
	key     sessionorder.Key
	session *session.Session
}

// oldest returns the n oldest sessions after a key that keep accepts, whether there are
// more, and how many keep accepts in all. It looks at all sessions, which are in memory,
// and remembers about a page of them.
func (a *API) oldest(after sessionorder.Key, n int, keep func(*session.Session) bool) (found []entry, more bool, total int) {
	order := func() { slices.SortFunc(found, func(x, y entry) int { return x.key.Compare(y.key) }) }
	a.sessions.Each(func(s *session.Session) {
		if s.Beside() || !keep(s) {
			return
		}
		total++
		if key := sessionorder.NewKey(s.Started(), a.sessionName(s.Ref())); key.Compare(after) > 0 {
			found = append(found, entry{key, s})
		}
		if len(found) > 2*n {
			order()
			clear(found[n:])
			found, more = found[:n], true
		}
	})
	if order(); len(found) > n {
		found, more = found[:n], true
	}
	return found, more, total
}
