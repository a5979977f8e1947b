// Package issuer knows who issues tokens and with which keys they are signed,
// as the subscription service says. Checking tokens belongs to package identity,
// making them to the subscription service.
package issuer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// How keys are kept.
const (
	// fresh is how long a set of keys is used before it is read again.
	fresh = time.Minute
	// pause is how long an unknown key is not asked for again.
	pause = time.Second
	// retry is how long known keys are used without trying again after a reading
	// that failed.
	retry = 5 * time.Second
	// timeout bounds one reading.
	timeout = 3 * time.Second
)

// Issuer is the issuer of an installation's tokens. It keeps the set of keys for
// a minute, reads it again when a key is not in it, at most once a second, and
// reads it once for all who wait. While it cannot be read, the last set stays in
// use: a token lives for minutes, so an outage of the subscription service does
// not sign people out. It is safe for concurrent use.
type Issuer struct {
	client subscriptionv1.OAuthServiceClient
	now    func() time.Time
	flight singleflight.Group

	mu     sync.Mutex
	issuer string
	keys   map[string]*ecdsa.PublicKey
	at     time.Time // when keys were read
	failed time.Time // when they could not be read
}

// New returns the issuer that client tells of. Nothing is read before the first
// Key or Refresh.
func New(client subscriptionv1.OAuthServiceClient) *Issuer {
	return &Issuer{client: client, now: time.Now}
}

// Issuer returns the issuer's URL, or "" before the keys were read once.
func (i *Issuer) Issuer() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.issuer
}

// Key returns the key with this id, a NotFound fault when the issuer has none,
// or another error when the keys cannot be read.
func (i *Issuer) Key(ctx context.Context, kid string) (*ecdsa.PublicKey, error) {
	key, read := i.lookup(kid)
	if !read {
		return key, found(key)
	}
	err := i.Refresh(ctx)
	key, _ = i.lookup(kid)
	if key == nil && err != nil {
		return nil, err
	}
	return key, found(key)
}

func found(key *ecdsa.PublicKey) error {
	if key == nil {
		return fault.NotFound("signing key")
	}
	return nil
}

// lookup returns the key that is kept, or nil, and whether the set has to be
// read again.
func (i *Issuer) lookup(kid string) (key *ecdsa.PublicKey, read bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	key = i.keys[kid]
	age := i.now().Sub(i.at)
	if key != nil {
		return key, age >= fresh && i.now().Sub(i.failed) >= retry
	}
	return nil, i.keys == nil || age >= pause
}

// Refresh reads the issuer and its keys now.
func (i *Issuer) Refresh(ctx context.Context) error {
	// The reading outlives the caller who began it, because others wait for it.
	ch := i.flight.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		return nil, i.read(ctx)
	})
	select {
	case res := <-ch:
		return res.Err
	case <-ctx.Done():
		return fmt.Errorf("read signing keys: %w", ctx.Err())
	}
}

func (i *Issuer) read(ctx context.Context) error {
	set, err := i.client.GetSigningKeys(ctx, &subscriptionv1.GetSigningKeysRequest{})
	var keys map[string]*ecdsa.PublicKey
	if err == nil {
		keys, err = parseAll(set.GetKeys())
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		i.failed = i.now()
		return fmt.Errorf("read signing keys: %w", err)
	}
	i.issuer, i.keys, i.at = set.GetIssuer(), keys, i.now()
	return nil
}

func parseAll(set []*subscriptionv1.SigningKey) (map[string]*ecdsa.PublicKey, error) {
	keys := map[string]*ecdsa.PublicKey{}
	for _, k := range set {
		key, err := parse(k)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", k.GetKid(), err)
		}
		keys[k.GetKid()] = key
	}
	return keys, nil
}

// parse returns the key, which is checked to be a point of the curve.
func parse(k *subscriptionv1.SigningKey) (*ecdsa.PublicKey, error) {
	const size = 32
	if len(k.GetX()) != size || len(k.GetY()) != size {
		return nil, fmt.Errorf("its coordinates have %d and %d bytes, not %d", len(k.GetX()), len(k.GetY()), size)
	}
	point := append([]byte{4}, k.GetX()...)
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(point, k.GetY()...))
}
