package grant

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
)

// tries bounds how often a question is asked whose answers are void.
const tries = 3

// lookup is a question to the source that is under way, shared by all handshakes
// that wait for the answer.
type lookup struct {
	key        key
	credential credential.Credential
	version    string
	client     netip.Prefix // for whom it began; not valid: nobody known

	done     chan struct{} // closed once the rest is set
	grant    *Grant
	position Position
	err      error
}

// spends reports whether the question spends a ticket. Its answer is for one attempt alone.
func (l *lookup) spends() bool { return l.credential.Type == credential.Ticket }

// keep keeps an answer, unless it is for one attempt alone.
func (l *lookup) keep(in *lru, e *entry) {
	if !l.spends() {
		in.put(e)
	}
}

// Verify returns what a credential is good for, and how far that takes events into
// account. The error wraps one of this package's, in a *DeniedError where the
// application is known, or the cause of ctx: then the lookup goes on for the others. Nothing may be done with a grant before its session is
// registered and confirmed.
func (c *Cache) Verify(ctx context.Context, cred credential.Credential, version string) (*Grant, Position, error) {
	l, g, position, err := c.find(cred, version, clientaddr.Network(clientaddr.From(ctx)))
	if l == nil {
		return g, position, err
	}
	select {
	case <-l.done:
		return l.grant, l.position, l.err
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("verify credential: %w", context.Cause(ctx))
	}
}

// find returns what is kept, or the lookup to wait for.
func (c *Cache) find(cred credential.Credential, version string, client netip.Prefix) (*lookup, *Grant, Position, error) {
	k, now := keyOf(cred, version), time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.grants.get(k, now); e != nil {
		c.metrics.Lookup(metrics.Hit)
		if e.grant.Expired(now) {
			return nil, nil, 0, denied(ErrExpired, e.grant.Application)
		}
		return nil, e.grant, c.history.position, nil
	}
	if e := c.denials.get(k, now); e != nil {
		c.metrics.Lookup(metrics.HitDenial)
		return nil, nil, 0, e.denied
	}
	l := c.lookups[k]
	switch {
	case l != nil:
	case c.closed:
		return nil, nil, 0, ErrUnavailable
	case len(c.lookups) >= unlimited(c.cfg.MaxLookups), !c.admits(client):
		c.metrics.Lookup(metrics.Busy)
		return nil, nil, 0, ErrBusy
	default:
		l = &lookup{key: k, credential: cred, version: version, client: client, done: make(chan struct{})}
		c.lookups[k] = l
		c.running.Go(func() { c.run(l) })
	}
	c.metrics.Lookup(metrics.Miss)
	return l, nil, 0, nil
}

// admits counts a lookup for a client's address, unless that has as many as there are
// free ones left. So made-up credentials of one address keep nobody else's from being
// verified, and of several addresses each one more takes less. Everybody may have one. The
// lock is held.
func (c *Cache) admits(client netip.Prefix) bool {
	if !client.IsValid() || c.cfg.MaxLookups == 0 {
		return true
	}
	free := c.cfg.MaxLookups - len(c.lookups)
	return c.clients.TakeWithin(client, max(free/2, 1))
}

// run asks until there is an answer that is not void.
func (c *Cache) run(l *lookup) {
	ctx, cancel := context.WithTimeout(c.base, c.cfg.Timeout)
	defer cancel()
	last := fmt.Errorf("%d answers were void when they came", tries)
	for range tries {
		sent, resets := time.Now(), c.resets()
		a, err := c.source.Verify(ctx, l.credential, l.version)
		if err != nil && l.spends() && ctx.Err() == nil {
			last = err // the ticket may be spent: the same attempt gets the same answer
			continue
		}
		if err != nil {
			c.fail(l, err)
			return
		}
		if c.accept(l, a, sent, resets) {
			return
		}
	}
	c.fail(l, last)
}

// resets returns how many times the history has begun anew.
func (c *Cache) resets() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.history.resets
}

// fail ends a lookup without an answer.
func (c *Cache) fail(l *lookup, err error) {
	c.metrics.Lookup(metrics.Unavailable)
	c.log.Debug("credential not verified", "version", l.version, "error", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	l.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	c.finish(l)
}

// finish lets those go on who wait for a lookup. The lock is held.
func (c *Cache) finish(l *lookup) {
	delete(c.lookups, l.key)
	if l.client.IsValid() && c.cfg.MaxLookups > 0 {
		c.clients.Give(l.client)
	}
	close(l.done)
}

// accept stores an answer and finishes its lookup. It returns false if the answer
// is void: an event touches what it rests on, the history does not reach back to
// it, or has begun anew since the question was sent. Lifetimes count from when the
// question was sent, so they end early rather than late.
func (c *Cache) accept(l *lookup, a Answer, sent time.Time, resets uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.history.resets != resets || !c.stillValid(&a) {
		return false
	}
	e := &entry{key: l.key, names: a.restsOn()}
	if a.Grant == nil {
		e.denied, e.until = denied(a.Denial.Reason, a.Denial.Application), sent.Add(c.cfg.DenialTTL)
		l.keep(c.denials, e)
	} else {
		a.Grant.expireAfter(sent, a.Lifetime)
		e.grant, e.until = a.Grant, sent.Add(c.cfg.GrantTTL)
		l.keep(c.grants, e)
	}
	l.grant, l.err, l.position = e.grant, e.denied, c.history.position
	c.finish(l)
	return true
}

// stillValid reports whether all events that an answer may not know of are in the
// history, and touch nothing that it rests on. The lock is held.
func (c *Cache) stillValid(a *Answer) bool {
	names := a.restsOn()
	if len(names) == 0 {
		return true
	}
	position, ok := c.history.positionOf(a.AsOf)
	if !ok {
		return false
	}
	touching, ok := c.history.since(position, names)
	return ok && len(touching) == 0
}
