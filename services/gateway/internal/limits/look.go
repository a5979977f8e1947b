package limits

// Look answers as Ask does, and takes nothing.
func (c *Chain) Look(now int64, d Demand) Decision { return c.look(now, &d, nil) }

// Room returns how many tokens there are, 0 in debt.
func (b *Bucket) Room(now int64) int64 { return b.room(now) }

// Full tells whether there are as many tokens as there can be.
func (b *Bucket) Full(now int64) bool {
	l, word := b.current(now)
	return fullAt(word) <= l.ticks(now)
}
