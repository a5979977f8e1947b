package auth

// listPage is how many sessions are listed at once.
const listPage = 1000

// Apply applies a change and returns how many sessions it ended. Changes come in
// order, from one goroutine. What a session registered before its events were
// noted here is found by name afterwards, what it registers later is found by
// Confirm: none falls between.
func (c *Cache) Apply(number uint64, e Event) (ended int) {
	c.mu.Lock()
	c.events.add(number, e, c.cfg.Now())
	c.grants.evict(e.Names)
	c.denials.evict(e.Names)
	c.mu.Unlock()
	ended = c.rereads.takeEnded()
	switch {
	case len(e.Names) == 0:
	case e.Cause == Changed:
		c.rereads.add(c.sessions.Where(e.Names...)...)
	default:
		n := c.sessions.EndWhere(e.Cause.end(e.Names), e.Names...)
		if n > 0 {
			c.log.Info("sessions ended", "cause", e.Cause.String(), "names", e.Names, "count", n)
		}
		ended += n
	}
	return ended
}

// Reset begins a new history at a change: events may have been missed, so all
// that is kept is dropped, and the grants of live sessions are read again.
func (c *Cache) Reset(number uint64) (ended int) {
	c.mu.Lock()
	c.events.reset(number)
	c.grants.clear()
	c.denials.clear()
	c.mu.Unlock()
	n := c.rereadAll()
	c.log.Info("grants reset", "number", number, "sessions", n)
	return c.rereads.takeEnded()
}

// rereadAll asks for the grants of all sessions again and returns how many there
// are. Those that register meanwhile are Confirm's.
func (c *Cache) rereadAll() (n int) {
	for after := ""; ; {
		page := c.sessions.List(after, listPage, hasGrant)
		if len(page) == 0 {
			return n
		}
		c.rereads.add(page...)
		n += len(page)
		after = page[len(page)-1].Ref()
	}
}

// Applied returns the number of the last change applied.
func (c *Cache) Applied() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events.number
}
