package grant

import "time"

// Apply applies a change and returns how many sessions have been ended since the
// last call. Changes come in order, from one goroutine.
//
// The event is noted in the history before sessions are looked for. Sessions that
// are registered by then are found here, later ones by Confirm; none is missed.
func (c *Cache) Apply(changeNumber uint64, e Event) int {
	c.moving <- struct{}{}
	defer func() { <-c.moving }()
	c.mu.Lock()
	c.history.add(changeNumber, e, time.Now())
	c.grants.evict(e.Names)
	c.denials.evict(e.Names)
	c.mu.Unlock()
	n := 0
	switch {
	case len(e.Names) == 0:
	case e.Kind == Changed:
		c.queue.add(c.sessions.GrantedOn(e.Names...)...)
	default:
		n = c.sessions.EndThoseOn(e.Kind.ending(e.Names), e.affects, e.Names...)
		if n > 0 {
			c.log.Info("sessions ended", "event", e.Kind.String(), "names", e.Names, "count", n)
		}
	}
	c.closedBy.note(changeNumber, n)
	return c.queue.takeEnded() + n
}

// Reset begins the history anew at a change. Events may have been missed, so all
// that is kept is dropped, and the grants of all live sessions are refreshed.
// Sessions that are registered later are refreshed by Confirm. It returns as Apply
// does.
func (c *Cache) Reset(changeNumber uint64) (ended int) {
	c.moving <- struct{}{}
	defer func() { <-c.moving }()
	c.mu.Lock()
	c.history.reset(changeNumber)
	c.grants.clear()
	c.denials.clear()
	c.mu.Unlock()
	sessions := c.sessions.Granted()
	c.queue.add(sessions...)
	c.closedBy.reset(changeNumber)
	c.log.Info("grants reset", "number", changeNumber, "sessions", len(sessions))
	return c.queue.takeEnded()
}

// Applied returns the number of the last change applied.
func (c *Cache) Applied() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.history.appliedChangeNumber
}
