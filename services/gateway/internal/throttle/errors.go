package throttle

import (
	"fmt"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// UnknownError says that a plan cannot be held, or that it is not known what is left of a
// quota.
type UnknownError struct {
	Place limits.Place
	Plan  string
	Limit string // its name; "" where it is not about one of the plan's
	Why   string
}

// Error names the plan and the limit.
func (e *UnknownError) Error() string {
	if e.Limit == "" {
		return e.Plan + ": " + e.Why
	}
	return fmt.Sprintf("limit %q of %s: %s", e.Limit, e.Plan, e.Why)
}

// LimitError says which limit refuses a handshake or a plain request.
type LimitError struct {
	limits.Terms               // those of connections have no unit
	Kind         limits.Kind   // a rate, a quota, or connections
	Limit        int64         // of a rate per Window
	Used         int64         // of a rate as many tokens as are taken of Burst
	Burst        int64         // of a rate
	Window       time.Duration // of a rate or a quota; 0: none, or it varies
	Reset        time.Duration // until there may be room; 0: not known
}

// Error names the plan and the limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("limit %q of %s: %s", e.Name, e.Plan, e.Taken())
}

// Taken says in words how much of the limit is used, and when there may be room.
func (e *LimitError) Taken() string {
	words := fmt.Sprintf("%d of %d used", e.Used, e.Limit)
	if e.Kind == limits.KindRate {
		words = fmt.Sprintf("%d of a burst of %d used, %d come back in %v", e.Used, e.Burst, e.Limit, e.Window)
	}
	if e.Reset > 0 {
		words += fmt.Sprintf(", room in %v", max(e.Reset.Round(time.Second), time.Second))
	}
	return words
}
