package ending

import (
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
