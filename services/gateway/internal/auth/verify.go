package auth

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
)

// tries bounds how often an answer that events made void is asked for again.
const tries = 3

// flight is a look-up under way, and those who wait for it.
type flight struct {
	key                 key
	credential, version string

	done  chan struct{} // closed when the rest is set
	grant grant.Grant
	err   error
}

// Verify returns what a credential is good for, or one of the errors of package
// grant. A caller whose ctx ends leaves; the look-up goes on for the others.
// Before the grant is acted upon, its session is registered and confirmed.
func (c *Cache) Verify(ctx context.Context, credential, version string) (grant.Grant, error) {
	f, g, err := c.find(credential, version)
	if f == nil {
		return g, err
	}
	select {
	case <-f.done:
		return f.grant, f.err
	case <-ctx.Done():
		return grant.Grant{}, fmt.Errorf("verify credential: %w", context.Cause(ctx))
	}
}

// find returns what is kept, or the look-up to wait for.
func (c *Cache) find(credential, version string) (*flight, grant.Grant, error) {
	k := keyOf(credential, version)
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.grants.get(k, now); e != nil {
		c.metrics.Lookup(metrics.Hit)
		if e.grant.Expired(now) {
			return nil, grant.Grant{}, grant.ErrUnauthenticated
		}
		g := e.grant
		g.AsOf = c.events.position
		return nil, g, nil
	}
	if e := c.denials.get(k, now); e != nil {
		c.metrics.Lookup(metrics.HitDenial)
		return nil, grant.Grant{}, e.denied
	}
	f := c.flights[k]
	switch {
	case f != nil:
	case c.closed:
		return nil, grant.Grant{}, grant.ErrUnavailable
	case len(c.flights) >= c.cfg.Lookups:
		c.metrics.Lookup(metrics.Busy)
		return nil, grant.Grant{}, grant.ErrBusy
	default:
		f = &flight{key: k, credential: credential, version: version, done: make(chan struct{})}
		c.flights[k] = f
		c.lookups.Go(func() { c.look(f) })
	}
	c.metrics.Lookup(metrics.Miss)
	return f, grant.Grant{}, nil
}

// look asks until there is an answer that no event made void meanwhile.
func (c *Cache) look(f *flight) {
	ctx, cancel := context.WithTimeout(c.base, c.cfg.Timeout)
	defer cancel()
	for range tries {
		sent, resets := c.cfg.Now(), c.resets()
		a, err := c.source.Verify(ctx, f.credential, f.version)
		if err != nil {
			c.fail(f, err)
			return
		}
		if c.settle(f, a, sent, resets) {
			return
		}
	}
	c.fail(f, fmt.Errorf("%d answers were void when they came", tries))
}

// resets returns how often the history has been replaced.
func (c *Cache) resets() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events.resets
}

// fail ends a flight without an answer.
func (c *Cache) fail(f *flight, err error) {
	c.metrics.Lookup(metrics.Unavailable)
	c.log.Debug("credential not verified", "version", f.version, "error", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	f.err = fmt.Errorf("%w: %w", grant.ErrUnavailable, err)
	c.land(f)
}

// land ends a flight. The lock is held.
func (c *Cache) land(f *flight) {
	delete(c.flights, f.key)
	close(f.done)
}

// settle keeps an answer and ends its flight, or reports that the answer cannot
// be trusted: the history was replaced, the answer is older than the events that
// are kept, or one of them touches it. Lifetimes count from when the question
// was sent, so they end early rather than late.
func (c *Cache) settle(f *flight, a Answer, sent time.Time, resets uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.events.resets != resets || !c.stands(a) {
		return false
	}
	e := &entry{key: f.key, denied: a.Denied, names: a.RestsOn}
	if a.Grant == nil {
		e.until = sent.Add(c.cfg.DenialTTL)
		c.denials.put(e)
	} else {
		e.grant = grant.Grant{Basis: a.Grant, KeyType: a.KeyType, Expires: sent.Add(a.Lifetime)}
		e.until = sent.Add(c.cfg.GrantTTL)
		c.grants.put(e)
	}
	f.err, f.grant = e.denied, e.grant
	f.grant.AsOf = c.events.position
	c.land(f)
	return true
}

// stands reports whether all events that an answer may have missed are kept and
// touch nothing that it rests on. The lock is held.
func (c *Cache) stands(a Answer) bool {
	if len(a.RestsOn) == 0 {
		return true
	}
	position, ok := c.events.positionOf(a.AsOf)
	if !ok {
		return false
	}
	touched, ok := c.events.since(position, a.RestsOn)
	return ok && len(touched) == 0
}
