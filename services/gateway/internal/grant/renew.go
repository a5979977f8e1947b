package grant

import (
	"context"
	"errors"
	"fmt"
)

// ErrVoid says that an event has touched a grant since it was verified: it has to be verified
// again.
var ErrVoid = errors.New("the grant is void: an event has touched it")

// Renew gives a live session the grant of another credential, which Verify returned with a
// position, unless an event since then touches what it rests on. Then the error is ErrVoid,
// and the session goes on with the grant that it has, as it does where ctx ends before.
//
// Whatever ends the session's old grant has ended the session before the renewal, or never
// finds it; whatever ends the new one is known before the renewal, or finds the session. So
// it is as if the renewal came before or after each event, and nothing has to be confirmed.
// Grants that are being refreshed are waited for, since their answers are for the old one.
// The error is what Err of the session returns where it has ended.
func (c *Cache) Renew(ctx context.Context, s Session, g *Grant, p Position) error {
	if err := c.beginRefresh(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer c.endRefresh()
	c.moving <- struct{}{}
	defer func() { <-c.moving }()
	if err := s.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	touching, ok := c.history.since(p, g.RestsOn)
	c.mu.Unlock()
	if !ok || len(touching) > 0 {
		return ErrVoid
	}
	s.Renew(g)
	return s.Err()
}
