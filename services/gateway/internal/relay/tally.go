package relay

import (
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// tally counts what limits did to a session. It is guarded by Relay.mu.
type tally struct {
	limits []ending.LimitCount // since they were collected last
}

// limit returns the counts of a limit, to add to. It allocates for the first time of each.
func (t *tally) limit(l *limits.Limit) *ending.LimitCount {
	for i := range t.limits {
		if t.limits[i].Limit == l {
			return &t.limits[i]
		}
	}
	t.limits = append(t.limits, ending.LimitCount{Limit: l})
	return &t.limits[len(t.limits)-1]
}
