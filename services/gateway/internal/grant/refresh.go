package grant

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/kit/retry"
)

// batchSize is how many grants are read at once, at most.
const batchSize = 1000

// The pauses after a read that failed.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// refreshQueue holds the sessions whose grants are to be refreshed.
type refreshQueue struct {
	added chan struct{} // holds a value when there may be something in the queue

	mu       sync.Mutex
	sessions map[Session]struct{}
	ended    int // sessions that a refresh has ended and takeEnded has not returned
}

func newRefreshQueue() *refreshQueue {
	return &refreshQueue{added: make(chan struct{}, 1), sessions: map[Session]struct{}{}}
}

func (q *refreshQueue) add(sessions ...Session) {
	if len(sessions) == 0 {
		return
	}
	q.mu.Lock()
	for _, s := range sessions {
		q.sessions[s] = struct{}{}
	}
	q.mu.Unlock()
	q.wake()
}

// wake makes Run look at the queue.
func (q *refreshQueue) wake() {
	select {
	case q.added <- struct{}{}:
	default:
	}
}

// take removes and returns the sessions of up to batchSize grants, by the grant
// that they share, and reports whether some are left. Sessions that have ended are
// dropped.
func (q *refreshQueue) take() (groups map[*Grant][]Session, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	groups = map[*Grant][]Session{}
	for s := range q.sessions {
		if s.Err() != nil {
			delete(q.sessions, s)
			continue
		}
		g := s.Grant()
		if _, known := groups[g]; !known && len(groups) == batchSize {
			continue
		}
		groups[g] = append(groups[g], s)
		delete(q.sessions, s)
	}
	return groups, len(q.sessions) > 0
}

func (q *refreshQueue) countEnded() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended++
}

// takeEnded returns how many sessions refreshes have ended since the last call.
func (q *refreshQueue) takeEnded() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.ended
	q.ended = 0
	return n
}

// Run refreshes the grants of live sessions until ctx ends, in batches with pauses
// between them. A batch that cannot be read is tried again later; its sessions
// live on meanwhile.
func (c *Cache) Run(ctx context.Context) error {
	backoff := minBackoff
	refreshing := retry.NewStreak(c.log, slog.LevelWarn, "grants of live sessions not refreshed")
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.queue.added:
		}
		more, err := c.refreshBatch(ctx)
		refreshing.Note(ctx, err)
		pause := c.cfg.RefreshPause
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			pause, backoff = c.jitter(backoff), min(2*backoff, maxBackoff)
		case !more:
			backoff = minBackoff
			continue
		default:
			backoff = minBackoff
		}
		c.queue.wake()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// refreshBatch refreshes one batch and reports whether there is more to refresh.
func (c *Cache) refreshBatch(ctx context.Context) (more bool, err error) {
	if err := c.beginRefresh(ctx); err != nil {
		return true, err
	}
	defer c.endRefresh()
	groups, more := c.queue.take()
	if len(groups) == 0 {
		return more, nil
	}
	grants := slices.Collect(maps.Keys(groups))
	states, err := c.read(ctx, grants)
	if err != nil {
		for _, sessions := range groups {
			c.queue.add(sessions...)
		}
		return true, err
	}
	for i, g := range grants {
		for _, s := range groups[g] {
			if !c.update(s, states.States[i], states.AsOf) {
				c.queue.add(s)
				more = true
			}
		}
	}
	return more, nil
}

// beginRefresh waits until nobody else refreshes grants. So answers are taken in
// the order in which they were given, and none is older than the grant that it
// replaces.
func (c *Cache) beginRefresh(ctx context.Context) error {
	select {
	case c.refreshing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Cache) endRefresh() { <-c.refreshing }

// read asks the source for grants as they are now. They expire when they did before,
// unless their source says another time now.
func (c *Cache) read(ctx context.Context, grants []*Grant) (States, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	sent := time.Now()
	states, err := c.source.Read(ctx, grants)
	switch {
	case err != nil:
		return States{}, err
	case len(states.States) != len(grants):
		return States{}, fmt.Errorf("asked for %d grants, %d came", len(grants), len(states.States))
	}
	for i, st := range states.States {
		switch {
		case st.Grant == nil:
		case st.Grant.ExpireTime.Equal(grants[i].ExpireTime):
			st.Grant.Expires = grants[i].Expires
		default:
			st.Grant.expireAfter(sent, st.Lifetime)
		}
	}
	return states, nil
}

// update gives a session its grant as it is now, or ends it. It returns false if
// the grant has to be read once more. A grant that no longer rests on all that it
// rested on has lost something for good, even if the credential is good again by
// now.
//
// The session rests on the new names before the history is replayed: so an event
// is found here, or finds the session. An answer from before a reset does no harm,
// because the reset has put every session into the queue.
func (c *Cache) update(s Session, st State, asOf uint64) bool {
	old := s.Grant()
	if st.Grant == nil {
		c.end(s, st.Ended.ending([]string{old.Name}))
		return true
	}
	for _, name := range old.RestsOn {
		if !slices.Contains(st.Grant.RestsOn, name) {
			c.end(s, ending.New(ending.Blocked, "gone: "+name))
			return true
		}
	}
	if err := s.Permitted(st.Grant); err != nil {
		c.end(s, ending.New(ending.Blocked, err.Error()))
		return true
	}
	s.SetGrant(st.Grant)
	c.mu.Lock()
	position, ok := c.history.positionOf(asOf)
	c.mu.Unlock()
	return ok && c.replay(s, position)
}

// end ends a session, and counts it if that is what ended it.
func (c *Cache) end(s Session, e ending.Ending) {
	if s.End(e) {
		c.queue.countEnded()
	}
}

// replay applies the events after a position to one session. It returns false if
// the session's grant has to be read: an event says that something changed, or
// not all events are kept.
func (c *Cache) replay(s Session, p Position) bool {
	g := s.Grant()
	c.mu.Lock()
	touching, ok := c.history.since(p, g.RestsOn)
	c.mu.Unlock()
	for _, e := range touching {
		if !e.affects(g) {
			continue
		}
		if e.Kind != Changed {
			c.end(s, e.Kind.ending(e.Names))
			return true
		}
		ok = false
	}
	return ok
}

// Confirm makes sure that a session that has just been registered did not miss an
// event: it replays the events since the position that Verify returned with the
// session's grant and, if they do not tell, reads the grant. It returns nil, what
// Err of the session returns once it has ended, or ErrUnavailable.
func (c *Cache) Confirm(ctx context.Context, s Session, p Position) error {
	if s.Grant() == nil || c.replay(s, p) {
		return s.Err()
	}
	for range tries {
		done, err := c.refreshNow(ctx, s)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if done {
			return s.Err()
		}
	}
	return fmt.Errorf("%w: %d answers were void when they came", ErrUnavailable, tries)
}

// refreshNow refreshes the grant of one session, and returns false if it has to be
// read once more.
func (c *Cache) refreshNow(ctx context.Context, s Session) (done bool, err error) {
	if err := c.beginRefresh(ctx); err != nil {
		return false, err
	}
	defer c.endRefresh()
	states, err := c.read(ctx, []*Grant{s.Grant()})
	if err != nil {
		return false, err
	}
	return c.update(s, states.States[0], states.AsOf), nil
}
