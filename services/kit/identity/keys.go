package identity

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// ErrUnknownKey says that the issuer has no key with an id.
var ErrUnknownKey = errors.New("unknown signing key")

// Bounds of the cache of keys.
const (
	// freshFor is how long a set of keys is used before it is read again.
	freshFor = time.Minute
	// readPause is the least time between two readings.
	readPause = time.Second
	// readTimeout bounds one reading.
	readTimeout = 3 * time.Second
)

// KeySet is all that is needed to check an issuer's tokens.
type KeySet struct {
	// Issuer is the issuer's URL, the claim iss of its tokens.
	Issuer string
	// Keys are the keys that have signed, sign or will sign, by key id (kid).
	Keys map[string]*ecdsa.PublicKey
}

// Keys caches the key set of an issuer. It is safe for concurrent use.
//
// The set is always read whole, so that one reading answers for every kid and
// nothing is kept per kid. A kid that is not in it causes a reading only if the
// last one is at least a second old; until then it is refused at once. A flood
// of made-up kids therefore costs one reading a second, and does not get in the
// way of good tokens: known keys need no reading, and a new key is in a set that
// is a second old, because issuers publish keys well before they sign with them.
//
// While the set cannot be read, the last one stays in use. Tokens live for
// minutes, so an outage of the issuer does not sign anybody out.
type Keys struct {
	source func(context.Context) (KeySet, error)
	now    func() time.Time
	flight singleflight.Group

	mu     sync.Mutex
	set    KeySet
	readAt time.Time // when set was read
	tried  time.Time // when a reading ended last
	err    error     // of that reading
}

// NewKeys returns a cache of what source returns. Nothing is read before the
// first call of Key.
func NewKeys(source func(context.Context) (KeySet, error), now func() time.Time) *Keys {
	return &Keys{source: source, now: now}
}

// Issuer returns the issuer's URL, "" before the set was read.
func (k *Keys) Issuer() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.set.Issuer
}

// Key returns the key with this id, ErrUnknownKey when the issuer has none, or
// another error when the set cannot be read.
func (k *Keys) Key(ctx context.Context, kid string) (*ecdsa.PublicKey, error) {
	key, due, err := k.lookup(kid)
	if due {
		// The reading outlives the caller who began it, because others wait for it.
		done := k.flight.DoChan("", func() (any, error) {
			k.read(context.WithoutCancel(ctx))
			return nil, nil
		})
		if key != nil && err != nil {
			return key, nil // an outage does not slow down calls with a known key
		}
		select {
		case <-done:
			key, _, err = k.lookup(kid)
		case <-ctx.Done():
			return nil, fmt.Errorf("read signing keys: %w", ctx.Err())
		}
	}
	switch {
	case key != nil:
		return key, nil
	case err != nil:
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	return nil, ErrUnknownKey
}

// lookup returns the key that is kept, or nil, whether the set should be read
// before the answer counts, and why it could not be read within the last
// minute.
func (k *Keys) lookup(kid string) (key *ecdsa.PublicKey, due bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	key = k.set.Keys[kid]
	due = (key == nil || now.Sub(k.readAt) >= freshFor) && now.Sub(k.tried) >= readPause
	if now.Sub(k.tried) < freshFor {
		err = k.err
	}
	return key, due, err
}

// read replaces the set, unless it was read while the caller came here.
func (k *Keys) read(ctx context.Context) {
	k.mu.Lock()
	tried := k.tried
	k.mu.Unlock()
	if k.now().Sub(tried) < readPause {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	set, err := k.source(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.err = k.now(), err
	if err == nil {
		k.set, k.readAt = set, k.tried
	}
}
