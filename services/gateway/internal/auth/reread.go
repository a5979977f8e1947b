package auth

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// readBatch is how many grants are read at once, at most.
const readBatch = 1000

// Pauses after a read that failed.
const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// rereads are the sessions whose grants are to be read again.
type rereads struct {
	wake chan struct{} // has a value when something was added

	mu      sync.Mutex
	pending map[*session.Session]struct{}
	ended   int // sessions that reading again has ended and nobody was told of
}

func newRereads() *rereads {
	return &rereads{wake: make(chan struct{}, 1), pending: map[*session.Session]struct{}{}}
}

func (r *rereads) add(sessions ...*session.Session) {
	if len(sessions) == 0 {
		return
	}
	r.mu.Lock()
	for _, s := range sessions {
		r.pending[s] = struct{}{}
	}
	r.mu.Unlock()
	r.rouse()
}

// rouse wakes whoever reads.
func (r *rereads) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take removes and returns sessions of up to readBatch grants that live, by the
// grant that they share, and whether some are left.
func (r *rereads) take() (groups map[Query][]*session.Session, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	groups = map[Query][]*session.Session{}
	for s := range r.pending {
		info := s.Info()
		if s.Err() != nil || info.Grant == nil {
			delete(r.pending, s)
			continue
		}
		q := Query{Grant: info.Grant, Version: info.Route.Version}
		if _, known := groups[q]; !known && len(groups) == readBatch {
			continue
		}
		groups[q] = append(groups[q], s)
		delete(r.pending, s)
	}
	return groups, len(r.pending) > 0
}

func (r *rereads) countEnded() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended++
}

// takeEnded returns how many sessions were ended since the last time.
func (r *rereads) takeEnded() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.ended
	r.ended = 0
	return n
}

func hasGrant(s *session.Session) bool { return s.Info().Grant != nil }

// Run reads grants of live sessions again, in batches with pauses between them,
// until ctx ends. A batch that cannot be read waits and is tried again: its
// sessions live on meanwhile.
func (c *Cache) Run(ctx context.Context) error {
	backoff := minPause
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.rereads.wake:
		}
		more, err := c.rereadBatch(ctx)
		pause := c.cfg.Pace
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			pause, backoff = c.jitter(backoff), min(2*backoff, maxPause)
			c.log.Warn("grants of live sessions not read again", "error", err, "retry_in", pause)
		case !more:
			backoff = minPause
			continue
		default:
			backoff = minPause
		}
		c.rereads.rouse()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// rereadBatch reads one batch and reports whether there is more to read.
func (c *Cache) rereadBatch(ctx context.Context) (more bool, err error) {
	if err := c.beginReading(ctx); err != nil {
		return true, err
	}
	defer c.endReading()
	groups, more := c.rereads.take()
	if len(groups) == 0 {
		return more, nil
	}
	asked := slices.Collect(maps.Keys(groups))
	states, err := c.read(ctx, asked)
	if err != nil {
		for _, sessions := range groups {
			c.rereads.add(sessions...)
		}
		return true, err
	}
	for i, q := range asked {
		for _, s := range groups[q] {
			if !c.renew(s, states.States[i], states.AsOf) {
				c.rereads.add(s)
				more = true
			}
		}
	}
	return more, nil
}

// beginReading waits until nobody else reads grants again. Answers are thereby
// taken in the order in which they were given, so that none is older than the
// grant that it replaces.
func (c *Cache) beginReading(ctx context.Context) error {
	select {
	case c.reading <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Cache) endReading() { <-c.reading }

// read asks the source, bounded in time.
func (c *Cache) read(ctx context.Context, asked []Query) (States, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	states, err := c.source.Read(ctx, asked)
	if err == nil && len(states.States) != len(asked) {
		err = fmt.Errorf("asked for %d grants, %d came", len(asked), len(states.States))
	}
	return states, err
}

// renew gives a session its grant as it is now, or ends it. It reports whether
// that settles it; else its grant is to be read again. A grant that no longer
// rests on all that it rested on has lost something for good, even when the
// credential is good again by now.
//
// The session gets the new names before the events are looked at, so that an
// event is found here or finds the session. An answer of before a reset does no
// harm: the reset has the grant of every session read once more.
func (c *Cache) renew(s *session.Session, st State, asOf uint64) bool {
	if st.Grant == nil {
		c.end(s, st.Ended.end([]string{s.Info().Grant.Name}))
		return true
	}
	info := s.Info()
	for _, name := range info.Grant.IDs {
		if !slices.Contains(st.Grant.IDs, name) {
			c.end(s, ending.New(ending.Blocked, "gone: "+name))
			return true
		}
	}
	s.UpdateGrant(st.Grant, info.Expires)
	c.mu.Lock()
	position, ok := c.events.positionOf(asOf)
	c.mu.Unlock()
	return ok && c.replay(s, position)
}

// end ends a session, and counts it where that was what ended it.
func (c *Cache) end(s *session.Session, cause ending.Ending) {
	if s.End(cause) {
		c.rereads.countEnded()
	}
}

// replay applies the events after a position to a session: it ends it, or
// reports that its grant is to be read again.
func (c *Cache) replay(s *session.Session, position uint64) (settled bool) {
	info := s.Info()
	c.mu.Lock()
	touched, ok := c.events.since(position, info.Grant.IDs)
	c.mu.Unlock()
	for _, e := range touched {
		if e.Cause != Changed {
			c.end(s, e.Cause.end(e.Names))
			return true
		}
		ok = false
	}
	return ok
}

// Confirm checks a session that has just been registered with a grant of Verify:
// the events since then are replayed, and where they do not tell, the grant is
// read again. It returns nil, the session's *session.EndedError, or
// grant.ErrUnavailable.
func (c *Cache) Confirm(ctx context.Context, s *session.Session, asOf uint64) error {
	info := s.Info()
	if info.Grant == nil || c.replay(s, asOf) {
		return s.Err()
	}
	for range tries {
		settled, err := c.rereadOne(ctx, s)
		if err != nil {
			return fmt.Errorf("%w: %w", grant.ErrUnavailable, err)
		}
		if settled {
			return s.Err()
		}
	}
	return fmt.Errorf("%w: %d answers were void when they came", grant.ErrUnavailable, tries)
}

// rereadOne reads the grant of a session at once and reports whether that settles
// it.
func (c *Cache) rereadOne(ctx context.Context, s *session.Session) (settled bool, err error) {
	if err := c.beginReading(ctx); err != nil {
		return false, err
	}
	defer c.endReading()
	info := s.Info()
	states, err := c.read(ctx, []Query{{Grant: info.Grant, Version: info.Route.Version}})
	if err != nil {
		return false, err
	}
	return c.renew(s, states.States[0], states.AsOf), nil
}
