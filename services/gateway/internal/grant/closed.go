package grant

import (
	"context"
	"errors"
	"sync"
)

// ErrNotCounted says that it is not known how many sessions a change has ended.
var ErrNotCounted = errors.New("the sessions that the change has ended are not counted")

// closings are how many sessions each change has ended, for those who ask about a change
// while it is on its way or shortly after.
type closings struct {
	max int

	mu      sync.Mutex
	last    uint64         // the newest change whose sessions have been ended
	since   uint64         // of changes up to it, only those in counts are known
	counts  map[uint64]int // by change number
	order   []uint64       // the keys of counts, rising
	applied chan struct{}  // closed and replaced when last moves
}

func newClosings(bound int) *closings {
	return &closings{max: bound, counts: map[uint64]int{}, applied: make(chan struct{})}
}

// note notes how many sessions a change has ended, once it has ended them.
func (c *closings) note(changeNumber uint64, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.move(changeNumber)
	if n == 0 {
		return
	}
	c.counts[changeNumber] = n
	if c.order = append(c.order, changeNumber); len(c.order) > c.max {
		c.since = c.order[0]
		delete(c.counts, c.order[0])
		c.order = c.order[1:]
	}
}

// reset notes that changes up to a number have been applied together.
func (c *closings) reset(changeNumber uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.counts)
	c.order, c.since = nil, changeNumber
	c.move(changeNumber)
}

// move wakes those who wait for a change. The lock is held.
func (c *closings) move(changeNumber uint64) {
	c.last = changeNumber
	close(c.applied)
	c.applied = make(chan struct{})
}

// of returns how many sessions a change has ended, and whether that is known. Where the change
// is not applied yet, it returns what is closed when there is more to see.
func (c *closings) of(changeNumber uint64) (n int, known bool, later <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last < changeNumber {
		return 0, false, c.applied
	}
	n, known = c.counts[changeNumber]
	return n, known || changeNumber > c.since, nil
}

// Closed waits until a change has been applied, and returns how many sessions it has ended by
// its event alone: those that end because their grants are read again are not counted. The
// error is ErrNotCounted where that is not known, as after a reset, or the cause of ctx.
func (c *Cache) Closed(ctx context.Context, changeNumber uint64) (int, error) {
	for {
		n, known, later := c.closedBy.of(changeNumber)
		switch {
		case later == nil && !known:
			return 0, ErrNotCounted
		case later == nil:
			return n, nil
		}
		select {
		case <-later:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
