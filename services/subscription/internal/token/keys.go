package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/retry"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// Rotation says what signing keys are for, and when they change.
type Rotation struct {
	// Of is what they sign.
	Of store.KeyPurpose
	// Every is how long a key signs; 0 means for ever.
	Every time.Duration
	// Lead is how long a key is in the JWK set before it signs.
	Lead time.Duration
	// MaxLifetime is the longest life that a token may have: a key is kept that
	// long after it last signed.
	MaxLifetime time.Duration
}

// margin is how much longer than its last token a key is kept, because clocks
// differ.
const margin = 5 * time.Minute

// The longest and the shortest time between two reads of the keys, by which replicas
// learn of each other's.
const (
	maxPoll = 2 * time.Second
	minPoll = 5 * time.Millisecond
)

// soon is how long a key that a user asked for is in the JWK set before it signs, if the
// lead is not shorter. The portal lets caches keep the set for 60 seconds; 10 more are
// for replicas to learn of the key, and for their clocks.
const soon = 70 * time.Second

// maxKeys is how many keys there may be before a user may not ask for more.
const maxKeys = 20

// Keys are the signing keys. All replicas read the same rows, and time alone
// decides what a key does. Before its signs_at it is only in the JWK set. From then
// on it signs, until the next key's signs_at. After that it stays in the set until
// its last token has expired. So replicas share nothing but the rows; a key's
// number is unique, so only one replica can add it.
type Keys struct {
	store  *store.Store
	seal   *seal.Key
	rotate Rotation
	now    func() time.Time
	log    *slog.Logger

	// making is held while a key is made or sealed again, so that none is left that was
	// sealed with a former master key meanwhile.
	making  sync.Mutex
	set     atomic.Pointer[keySet]
	loading sync.Mutex
}

// keySet is an immutable set of keys, oldest first.
type keySet struct{ keys []*signingKey }

// signingKey is an unsealed key.
type signingKey struct {
	row     store.SigningKey
	private *ecdsa.PrivateKey
	signers map[jose.ContentType]jose.Signer // by the type of what they sign
}

// types are those of what keys of a purpose sign.
func types(of store.KeyPurpose) []jose.ContentType {
	if of == store.BackendIdentity {
		return []jose.ContentType{identity.BackendIdentityType}
	}
	return []jose.ContentType{identity.ApplicationType, identity.UserType}
}

// PublicKey is the public half of a signing key.
type PublicKey struct {
	// ID is the key's RFC 7638 thumbprint.
	ID string
	// Key is on P-256.
	Key *ecdsa.PublicKey
}

// NewKeys returns the keys of a store; Start reads them.
func NewKeys(st *store.Store, key *seal.Key, rotate Rotation, now func() time.Time, log *slog.Logger) *Keys {
	k := &Keys{store: st, seal: key, rotate: rotate, now: now, log: log}
	k.set.Store(&keySet{})
	return k
}

// Purpose returns what the keys sign.
func (k *Keys) Purpose() store.KeyPurpose { return k.rotate.Of }

// Start reads the keys, and makes the first if there are none. It fails when the
// master key cannot open them.
func (k *Keys) Start(ctx context.Context) error { return k.Rotate(ctx) }

// Reseal seals the keys again that are not sealed with the first of the master keys, and
// returns how many these were.
func (k *Keys) Reseal(ctx context.Context) (sealed int, err error) {
	k.making.Lock()
	defer k.making.Unlock()
	rows, err := k.store.SigningKeys(ctx, k.rotate.Of)
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		if !k.seal.Stale(row.Sealed) {
			continue
		}
		if err := k.reseal(ctx, row); err != nil {
			return sealed, err
		}
		sealed++
	}
	return sealed, nil
}

// reseal seals a key with the first of the master keys.
func (k *Keys) reseal(ctx context.Context, row store.SigningKey) error {
	plain, err := k.seal.Open(row.Sealed, keyContext(row))
	if err != nil {
		return fmt.Errorf("open signing key %s: %w", row.ID, err)
	}
	return k.store.ResealSigningKey(ctx, row, k.seal.Seal(plain, keyContext(row)))
}

// Run rotates the keys when they are due until ctx ends.
func (k *Keys) Run(ctx context.Context) error {
	rotating := retry.NewStreak(k.log, slog.LevelWarn, "signing keys not looked after")
	for retry.Sleep(ctx, max(minPoll, min(maxPoll, k.rotate.Lead/3))) {
		rotating.Note(ctx, k.Rotate(ctx))
	}
	return nil
}

// Rotate makes the next key when it is due, drops those whose last token has
// expired, and reads what other replicas have changed.
func (k *Keys) Rotate(ctx context.Context) error {
	k.making.Lock()
	defer k.making.Unlock()
	rows, err := k.store.SigningKeys(ctx, k.rotate.Of)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(rows, func(row store.SigningKey) bool { return row.MaxLifetime < k.rotate.MaxLifetime }) {
		// It was made by a replica whose tokens have a shorter life.
		if err := k.store.RaiseMaxLifetime(ctx, k.rotate.Of, k.rotate.MaxLifetime); err != nil {
			return err
		}
		if rows, err = k.store.SigningKeys(ctx, k.rotate.Of); err != nil {
			return err
		}
	}
	if due, at := k.due(rows); due {
		if _, err := k.add(ctx, rows, at, k.store.AddSigningKey); err != nil {
			return err
		}
	}
	if err := k.drop(ctx, rows); err != nil {
		return err
	}
	return k.load(ctx)
}

// RotateNow makes the next key before it is due, for the caller of a gRPC call, and
// returns its number. It signs soon, or after the lead if that is shorter; tokens of
// the key before are good until they expire. Where the newest key will sign no later than
// that, it is returned and none is made; made is false then.
func (k *Keys) RotateNow(ctx context.Context) (number int64, made bool, err error) {
	k.making.Lock()
	defer k.making.Unlock()
	rows, err := k.store.SigningKeys(ctx, k.rotate.Of)
	if err != nil {
		return 0, false, err
	}
	now := k.now()
	at := now.Add(min(soon, k.rotate.Lead))
	if n := len(rows); n > 0 && rows[n-1].SignsAt.After(now) && !rows[n-1].SignsAt.After(at) {
		return rows[n-1].Number, false, k.load(ctx)
	}
	if len(rows) >= maxKeys {
		return 0, false, fault.Exhausted("there are %d signing keys already; the oldest goes at %s", len(rows), dropTime(rows[0], rows[1]).UTC().Format(time.RFC3339))
	}
	added, err := k.add(ctx, rows, at, k.store.RotateSigningKey)
	if err != nil {
		return 0, false, err
	}
	if !added {
		return 0, false, fault.Aborted("another call has rotated the signing key at the same time; list the signing keys")
	}
	return rows[len(rows)-1].Number + 1, true, k.load(ctx)
}

// due reports whether a key must be made now, and when it starts to sign.
func (k *Keys) due(rows []store.SigningKey) (bool, time.Time) {
	now := k.now()
	if len(rows) == 0 {
		return true, now
	}
	if k.rotate.Every == 0 {
		return false, time.Time{}
	}
	next := rows[len(rows)-1].SignsAt.Add(k.rotate.Every)
	earliest := now.Add(k.rotate.Lead)
	if next.After(earliest) {
		return false, time.Time{}
	}
	return true, earliest
}

// add makes the key after the newest of rows and gives it to keep, which reports false
// where another replica was first.
func (k *Keys) add(ctx context.Context, rows []store.SigningKey, signsAt time.Time, keep func(context.Context, store.SigningKey) (bool, error)) (bool, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return false, fmt.Errorf("make signing key: %w", err)
	}
	kid, err := thumbprint(&private.PublicKey)
	if err != nil {
		return false, err
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return false, fmt.Errorf("encode signing key: %w", err)
	}
	row := store.SigningKey{Purpose: k.rotate.Of, Number: 1, ID: kid, SignsAt: signsAt, MaxLifetime: k.rotate.MaxLifetime}
	row.Sealed = k.seal.Seal(plain, keyContext(row))
	if len(rows) > 0 {
		row.Number = rows[len(rows)-1].Number + 1
	}
	added, err := keep(ctx, row)
	if added {
		k.log.Info("signing key made", "name", row.Name(), "key", kid, "signs_at", signsAt)
	}
	return added, err
}

// drop removes the keys whose last token has expired.
func (k *Keys) drop(ctx context.Context, rows []store.SigningKey) error {
	for i, row := range rows[:max(0, len(rows)-1)] {
		if k.now().Before(dropTime(row, rows[i+1])) {
			return nil
		}
		if err := k.store.DropSigningKey(ctx, row); err != nil {
			return err
		}
		k.log.Info("signing key dropped", "name", row.Name(), "key", row.ID)
	}
	return nil
}

// dropTime returns when a key goes: after its last token has expired. next is the key
// after it.
func dropTime(row, next store.SigningKey) time.Time {
	return next.SignsAt.Add(row.MaxLifetime + margin)
}

// load makes the rows the current keys. Keys that are open already are not opened
// again.
func (k *Keys) load(ctx context.Context) error {
	k.loading.Lock()
	defer k.loading.Unlock()
	rows, err := k.store.SigningKeys(ctx, k.rotate.Of)
	if err != nil {
		return err
	}
	next := &keySet{}
	for _, row := range rows {
		key := k.set.Load().find(row.ID)
		if key == nil {
			if key, err = k.open(row); err != nil {
				return err
			}
		}
		next.keys = append(next.keys, key)
	}
	k.set.Store(next)
	return nil
}

// open unseals a key.
func (k *Keys) open(row store.SigningKey) (*signingKey, error) {
	plain, err := k.seal.Open(row.Sealed, keyContext(row))
	if err != nil {
		return nil, fmt.Errorf("open signing key %s: %w", row.ID, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		return nil, fmt.Errorf("decode signing key %s: %w", row.ID, err)
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("decode signing key %s: it is a %T", row.ID, parsed)
	}
	key := &signingKey{row: row, private: private, signers: map[jose.ContentType]jose.Signer{}}
	for _, typ := range types(row.Purpose) {
		if key.signers[typ], err = newSigner(private, row.ID, typ); err != nil {
			return nil, err
		}
	}
	return key, nil
}

// Public returns the keys for the JWK set: the one that signs, those that will, and
// those that signed a token that may still be valid.
func (k *Keys) Public() []PublicKey {
	var out []PublicKey
	for _, key := range k.set.Load().keys {
		out = append(out, PublicKey{ID: key.row.ID, Key: &key.private.PublicKey})
	}
	return out
}

// publicKeys reads the rows anew and returns the public keys by id.
func (k *Keys) publicKeys(ctx context.Context) (map[string]*ecdsa.PublicKey, error) {
	if err := k.load(ctx); err != nil {
		return nil, err
	}
	all := map[string]*ecdsa.PublicKey{}
	for _, key := range k.set.Load().keys {
		all[key.row.ID] = &key.private.PublicKey
	}
	return all, nil
}

// active returns the key that signs now.
func (k *Keys) active() (*signingKey, error) {
	keys := k.set.Load().keys
	for _, key := range slices.Backward(keys) {
		if !key.row.SignsAt.After(k.now()) {
			return key, nil
		}
	}
	if len(keys) > 0 {
		// The first key was made by a replica whose clock is ahead of this one.
		return keys[0], nil
	}
	return nil, errors.New("there is no signing key")
}

func (s *keySet) find(kid string) *signingKey {
	for _, key := range s.keys {
		if key.row.ID == kid {
			return key
		}
	}
	return nil
}

// keyContext is what a key is sealed for, so that one cannot stand in another's place.
func keyContext(row store.SigningKey) []byte {
	what := "signing"
	if row.Purpose != store.AccessTokens {
		what = string(row.Purpose)
	}
	return []byte("subscription " + what + " key " + row.ID)
}

func thumbprint(key *ecdsa.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("name signing key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

func newSigner(key *ecdsa.PrivateKey, kid string, typ jose.ContentType) (jose.Signer, error) {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType(typ))
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", kid, err)
	}
	return signer, nil
}
