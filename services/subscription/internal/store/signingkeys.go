package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// KeyPurpose is what a signing key signs. Keys of each have a table of their own, so that no
// instance, of an earlier release either, takes one for another.
type KeyPurpose string

// The purposes.
const (
	AccessTokens    KeyPurpose = ""
	BackendIdentity KeyPurpose = "identity"
)

// table is where the keys are.
func (p KeyPurpose) table() string {
	if p == BackendIdentity {
		return "identity_key"
	}
	return "signing_key"
}

// SigningKey is a key that tokens are signed with, sealed.
type SigningKey struct {
	// Purpose is what it signs.
	Purpose KeyPurpose
	// Number is 1 for the first key and rises by one.
	Number int64
	// ID is the key id that tokens carry.
	ID string
	// Sealed is the private key, sealed with the master key.
	Sealed []byte
	// SignsAt is when it starts to sign; it stops when the next key starts.
	SignsAt time.Time
	// MaxLifetime is the longest life of the tokens that it signs.
	MaxLifetime time.Duration
}

// Name returns the key's resource name.
func (k SigningKey) Name() resourcename.SigningKey {
	number := strconv.FormatInt(k.Number, 10)
	if k.Purpose != AccessTokens {
		number = string(k.Purpose) + "-" + number
	}
	return resourcename.SigningKey{SigningKey: number}
}

// SigningKeys returns the keys of a purpose, oldest first.
func (s *Store) SigningKeys(ctx context.Context, purpose KeyPurpose) ([]SigningKey, error) {
	all, err := sqldb.All(ctx, s.db, func(row sqldb.Row) (SigningKey, error) {
		k := SigningKey{Purpose: purpose}
		var signsAt, lifetime int64
		err := row.Scan(&k.Number, &k.ID, &k.Sealed, &signsAt, &lifetime)
		k.SignsAt, k.MaxLifetime = sqldb.Time(signsAt), time.Duration(lifetime)*time.Microsecond
		return k, err
	}, `SELECT number, id, sealed, signs_at, max_lifetime FROM `+purpose.table()+` ORDER BY number`)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	return all, nil
}

// RotateSigningKey adds a key that a user asked for. It reports false when a key with
// its number exists already: another replica was first.
func (s *Store) RotateSigningKey(ctx context.Context, k SigningKey) (added bool, err error) {
	err = s.log.Write(ctx, "rotate signing key", func(tx *change.Tx) (change.Record, error) {
		if added, err = addSigningKey(ctx, tx, k); err != nil {
			return change.Record{}, err
		}
		return change.Record{Resource: k.Name().String(), After: k, Skip: !added}, nil
	})
	return added && err == nil, err
}

// AddSigningKey adds a key that is due, of which nobody else must know. It reports false
// as RotateSigningKey does.
func (s *Store) AddSigningKey(ctx context.Context, k SigningKey) (bool, error) {
	return addSigningKey(ctx, s.db, k)
}

func addSigningKey(ctx context.Context, q sqldb.Querier, k SigningKey) (bool, error) {
	added, err := sqldb.Changed(q.ExecContext(ctx, `
		INSERT INTO `+k.Purpose.table()+` (number, id, sealed, signs_at, max_lifetime) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (number) DO NOTHING`,
		k.Number, k.ID, k.Sealed, k.SignsAt.UnixMicro(), k.MaxLifetime.Microseconds()))
	if err != nil {
		return false, fmt.Errorf("add signing key: %w", err)
	}
	return added, nil
}

// RaiseMaxLifetime notes that from now on tokens of a purpose may live this long.
func (s *Store) RaiseMaxLifetime(ctx context.Context, purpose KeyPurpose, lifetime time.Duration) error {
	_, err := s.db.ExecContext(ctx, `UPDATE `+purpose.table()+` SET max_lifetime = $1 WHERE max_lifetime < $1`, lifetime.Microseconds())
	if err != nil {
		return fmt.Errorf("note how long tokens live: %w", err)
	}
	return nil
}

// DropSigningKey removes a key.
func (s *Store) DropSigningKey(ctx context.Context, k SigningKey) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM `+k.Purpose.table()+` WHERE number = $1`, k.Number); err != nil {
		return fmt.Errorf("drop signing key: %w", err)
	}
	return nil
}

// ResealSigningKey replaces the sealed form of a key, unless another replica has just done
// so.
func (s *Store) ResealSigningKey(ctx context.Context, k SigningKey, sealed []byte) error {
	_, err := s.db.ExecContext(ctx, `UPDATE `+k.Purpose.table()+` SET sealed = $1 WHERE number = $2 AND sealed = $3`, sealed, k.Number, k.Sealed)
	if err != nil {
		return fmt.Errorf("reseal signing key: %w", err)
	}
	return nil
}
