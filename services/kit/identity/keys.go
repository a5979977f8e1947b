package identity

import (
	"context"
	"crypto/ecdsa"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// How keys are cached.
const (
	// fresh is how long a key is used before it is asked for again.
	fresh = 5 * time.Minute
	// denied is how long an unknown kid is refused without asking.
	denied = 3 * time.Second
	// askWindow and asks bound how often unknown kids are asked for in all.
	askWindow = 3 * time.Second
	asks      = 20
	// askTimeout bounds one question.
	askTimeout = 5 * time.Second
	// maxKid is the longest kid that is asked for.
	maxKid = 128
)

// keyCache keeps keys by kid, one question at a time for each. A known key that
// cannot be asked for again (Keys fails) stays in use; one that Keys no longer
// knows does not.
type keyCache struct {
	keys   Keys
	now    func() time.Time
	flight singleflight.Group

	mu      sync.Mutex
	entries map[string]keyEntry
	window  time.Time
	asked   int
}

// keyEntry is a key, or a nil key for a kid that is not known.
type keyEntry struct {
	key *ecdsa.PublicKey
	at  time.Time
}

func newKeyCache(keys Keys, now func() time.Time) *keyCache {
	return &keyCache{keys: keys, now: now, entries: map[string]keyEntry{}}
}

// key returns the key of a kid, or a fault.
func (c *keyCache) key(ctx context.Context, kid string) (*ecdsa.PublicKey, error) {
	if kid == "" || len(kid) > maxKid {
		return nil, errUnknownKey()
	}
	e, ok := c.lookup(kid)
	if ok {
		if e.key == nil {
			return nil, errUnknownKey()
		}
		return e.key, nil
	}
	ch := c.flight.DoChan(kid, func() (any, error) {
		ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		return c.ask(ask, kid)
	})
	select {
	case res := <-ch:
		key, _ := res.Val.(*ecdsa.PublicKey)
		return key, res.Err
	case <-ctx.Done():
		return nil, errNoKeys(ctx.Err())
	}
}

// lookup returns what is kept for a kid and whether it is still fresh.
func (c *keyCache) lookup(kid string) (keyEntry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[kid]
	if !ok {
		return keyEntry{}, false
	}
	limit := fresh
	if e.key == nil {
		limit = denied
	}
	return e, c.now().Sub(e.at) < limit
}

// mayAsk takes one of the questions of this window.
func (c *keyCache) mayAsk() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.window) >= askWindow {
		c.window, c.asked = now, 0
		c.forget(now)
	}
	c.asked++
	return c.asked <= asks
}

// forget drops unknown kids that may be asked for again.
func (c *keyCache) forget(now time.Time) {
	for kid, e := range c.entries {
		if e.key == nil && now.Sub(e.at) >= denied {
			delete(c.entries, kid)
		}
	}
}

func (c *keyCache) ask(ctx context.Context, kid string) (*ecdsa.PublicKey, error) {
	e, ok := c.lookup(kid)
	switch {
	case ok && e.key != nil: // somebody asked a moment ago
		return e.key, nil
	case ok:
		return nil, errUnknownKey()
	case e.key == nil && !c.mayAsk():
		return nil, errNoKeys(nil)
	}
	key, err := c.keys.Key(ctx, kid)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.entries[kid] = keyEntry{key: key, at: c.now()}
		return key, nil
	case fault.Is(err, codes.NotFound):
		c.entries[kid] = keyEntry{at: c.now()}
		return nil, errUnknownKey()
	}
	if old := c.entries[kid]; old.key != nil {
		return old.key, nil
	}
	return nil, errNoKeys(err)
}

func errNoKeys(cause error) error {
	return fault.Wrap(fault.Unavailable("the signing keys cannot be read now, try again"), cause)
}

func errUnknownKey() error {
	return fault.Unauthenticated("the token is signed with an unknown key")
}
