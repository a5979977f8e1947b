package ending

import (
	"slices"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// LimitCount is what a limit did to a session.
type LimitCount struct {
	Limit   *limits.Limit
	Pauses  uint64 // times that a leg began to wait
	Paused  time.Duration
	Dropped uint64 // messages
	Closed  uint64 // 1 where it ended the session
	Hits    uint64 // of a limit on observe
}

// Usage is what a session used in one minute.
type Usage struct {
	Minute int64 // Unix seconds of its start
	Totals Totals
	Limits []LimitCount
}

// AddLimits adds what limits did to sums, and returns them: a limit of the same name, of
// the same plan and place, is the same, whatever its terms were. Of more limits than may
// apply at once, the rest is left out.
func AddLimits(sums, did []LimitCount) []LimitCount {
	for i := range did {
		d := &did[i]
		sum := slices.IndexFunc(sums, func(s LimitCount) bool { return s.same(d) })
		if sum < 0 {
			if len(sums) < limits.MostLimits {
				sums = append(sums, *d)
			}
			continue
		}
		sums[sum].add(d)
	}
	return sums
}

func (c *LimitCount) same(d *LimitCount) bool {
	return c.Limit == d.Limit || c.Limit.Place == d.Limit.Place && c.Limit.Plan == d.Limit.Plan && c.Limit.Name == d.Limit.Name
}

func (c *LimitCount) add(d *LimitCount) {
	c.Pauses += d.Pauses
	c.Paused += d.Paused
	c.Dropped += d.Dropped
	c.Closed += d.Closed
	c.Hits += d.Hits
}
