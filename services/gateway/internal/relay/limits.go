package relay

import "github.com/tidegatehq/tidegate/services/gateway/internal/ending"

// SetLimits replaces the limits of the session.
func (r *Relay) SetLimits(ending.Limits) {}
