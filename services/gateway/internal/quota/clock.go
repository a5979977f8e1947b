package quota

import (
	"sync/atomic"
	"time"
)

// clock tells the time of the service that gives slices, which windows go by, from the
// clock of decisions, which only goes forward. Each answer says what the service's clock was
// between the call and the answer; only what lies outside of that is put right, so that
// both clocks keep their distance while neither leaps.
type clock struct {
	wall   func() time.Time // until the service was heard
	now    func() int64     // the clock of decisions, in nanoseconds
	offset atomic.Pointer[offset]
}

// offset is the distance between the clocks. It does not change.
type offset struct {
	ahead int64 // of the service's, in nanoseconds since 1970

	// After a leap back at the time since, minutes go on when they come to floor again.
	since, floor int64
}

// known tells whether the service was heard.
func (c *clock) known() bool { return c.offset.Load() != nil }

// at returns the service's time at a time of decisions.
func (c *clock) at(now int64) time.Time {
	if o := c.offset.Load(); o != nil {
		return time.Unix(0, now+o.ahead)
	}
	return c.wall().Add(time.Duration(now - c.now()))
}

// when returns the time of decisions at a time of the service's.
func (c *clock) when(t time.Time) int64 {
	if o := c.offset.Load(); o != nil {
		return t.UnixNano() - o.ahead
	}
	return c.now() + int64(t.Sub(c.wall()))
}

// hear takes what the service's clock was between two times of decisions, and returns by
// how much that moves it. One goroutine calls it.
func (c *clock) hear(called, answered int64, server time.Time) time.Duration {
	low, high := server.UnixNano()-answered, server.UnixNano()-called
	o := c.offset.Load()
	if o == nil {
		c.offset.Store(&offset{ahead: low + (high-low)/2})
		return 0
	}
	next := *o
	next.ahead = min(max(o.ahead, low), high)
	moved := next.ahead - o.ahead
	if moved == 0 {
		return 0
	}
	if moved < 0 {
		next.floor, next.since = c.minute(answered), answered
	}
	c.offset.Store(&next)
	return time.Duration(moved)
}

// minute returns the Unix seconds of the start of the minute that it is by the service's
// clock at a time of decisions. Minutes do not come back.
func (c *clock) minute(now int64) int64 {
	const minute = int64(time.Minute)
	o := c.offset.Load()
	if o == nil {
		return c.at(now).UnixNano() / minute * 60
	}
	start := (now + o.ahead) / minute * 60
	if now >= o.since {
		start = max(start, o.floor)
	}
	return start
}
