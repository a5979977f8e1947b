package grant

import "time"

// MaxBackoff is the longest pause after a read that failed.
const MaxBackoff = maxBackoff

// SetJitter replaces what spreads the pauses after reads that failed.
func (c *Cache) SetJitter(f func(time.Duration) time.Duration) { c.jitter = f }
