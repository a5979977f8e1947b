package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// KeyType says which endpoint a key leads to.
type KeyType int64

// Types of keys.
const (
	Production KeyType = 1
	Sandbox    KeyType = 2
)

// String returns the type in a word.
func (t KeyType) String() string {
	if t == Sandbox {
		return "sandbox"
	}
	return "production"
}

// Key is a consumer key of an application; of its secret only the hash is kept.
type Key struct {
	ID string
	// Application is the id of an application.
	Application string
	Type        KeyType
	ConsumerKey string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Etag        int64
}

func scanKey(r row, more ...any) (Key, error) {
	var k Key
	var created, updated int64
	err := r.Scan(append([]any{&k.ID, &k.Application, &k.Type, &k.ConsumerKey, &created, &updated, &k.Etag}, more...)...)
	k.CreatedAt, k.UpdatedAt = at(created), at(updated)
	return k, err
}

func errNoKey(application, id string) error { return fault.NotFound("%s", KeyName(application, id)) }

// CreateKey adds a key to an application that v may see.
func (s *Store) CreateKey(ctx context.Context, v Viewer, k Key, secretHash []byte) (Key, error) {
	k.ID, k.Etag, k.CreatedAt = id.New(), 1, s.moment()
	k.UpdatedAt = k.CreatedAt
	err := s.write(ctx, "create key", func(tx *sqldb.Tx) (change.Record, error) {
		if _, err := readApplication(ctx, tx, v, k.Application); err != nil {
			return change.Record{}, err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO application_key (id, application, type, consumer_key, secret_hash, created_at, updated_at, etag)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			k.ID, k.Application, int64(k.Type), k.ConsumerKey, secretHash, k.CreatedAt.UnixMicro(), k.UpdatedAt.UnixMicro(), k.Etag)
		switch {
		case sqldb.IsUnique(err):
			return change.Record{}, fault.AlreadyExists("the application has a %s key already", k.Type)
		case sqldb.IsForeignKey(err):
			return change.Record{}, errNoApplication(k.Application)
		case err != nil:
			return change.Record{}, err
		}
		return change.Record{Resource: KeyName(k.Application, k.ID)}, nil
	})
	return k, err
}

// Key returns a key of an application that v may see, or fault.NotFound.
func (s *Store) Key(ctx context.Context, v Viewer, application, id string) (Key, error) {
	k, err := scanKey(s.db.QueryRowContext(ctx, `
		SELECT k.id, k.application, k.type, k.consumer_key, k.created_at, k.updated_at, k.etag
		FROM application_key k JOIN application a ON a.id = k.application
		WHERE k.application = $1 AND k.id = $2 AND (CAST($3 AS TEXT) IS NULL OR a.owner = $3)`,
		application, id, v.limit()))
	if errors.Is(err, sql.ErrNoRows) {
		return Key{}, errNoKey(application, id)
	}
	if err != nil {
		return Key{}, fmt.Errorf("read key %q: %w", id, err)
	}
	return k, nil
}

// Keys returns at most n keys of an application after a place, oldest first.
func (s *Store) Keys(ctx context.Context, application string, after Place, n int) ([]Key, error) {
	var out []Key
	err := each(ctx, s.db, func(r row) error {
		k, err := scanKey(r)
		out = append(out, k)
		return err
	}, `
		SELECT id, application, type, consumer_key, created_at, updated_at, etag
		FROM application_key
		WHERE application = $1 AND (created_at, id) > ($2, $3)
		ORDER BY created_at, id LIMIT $4`, application, after.Time, after.ID, n)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return out, nil
}

// Client returns the key with this consumer key and the hash of its secret.
// Where there is none, known is false.
func (s *Store) Client(ctx context.Context, consumerKey string) (k Key, secretHash []byte, known bool, err error) {
	k, err = scanKey(s.db.QueryRowContext(ctx, `
		SELECT id, application, type, consumer_key, created_at, updated_at, etag, secret_hash
		FROM application_key WHERE consumer_key = $1`, consumerKey), &secretHash)
	if errors.Is(err, sql.ErrNoRows) {
		return Key{}, nil, false, nil
	}
	if err != nil {
		return Key{}, nil, false, fmt.Errorf("read key by consumer key: %w", err)
	}
	return k, secretHash, true, nil
}

// SetSecret replaces the hash of a key's secret.
func (s *Store) SetSecret(ctx context.Context, v Viewer, application, id, etag string, secretHash []byte) (Key, error) {
	var k Key
	err := s.write(ctx, "replace secret", func(tx *sqldb.Tx) (change.Record, error) {
		var err error
		if k, err = s.touchKey(ctx, tx, v, application, id, etag); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `UPDATE application_key SET secret_hash = $1 WHERE id = $2`, secretHash, id)
		return change.Record{Resource: KeyName(application, id)}, err
	})
	return k, err
}

// touchKey locks a key's row for the transaction, checks that v may see it and
// the etag, and moves the etag on.
func (s *Store) touchKey(ctx context.Context, tx *sqldb.Tx, v Viewer, application, id, etag string) (Key, error) {
	k, err := scanKey(tx.QueryRowContext(ctx, `
		UPDATE application_key SET etag = etag + 1, updated_at = $1
		WHERE application = $2 AND id = $3
			AND EXISTS (SELECT 1 FROM application a WHERE a.id = $2 AND (CAST($4 AS TEXT) IS NULL OR a.owner = $4))
		RETURNING id, application, type, consumer_key, created_at, updated_at, etag`,
		s.moment().UnixMicro(), application, id, v.limit()))
	if errors.Is(err, sql.ErrNoRows) {
		return Key{}, errNoKey(application, id)
	}
	if err != nil {
		return Key{}, err
	}
	return k, checkEtag(etag, k.Etag-1)
}

// DeleteKey removes a key.
func (s *Store) DeleteKey(ctx context.Context, v Viewer, application, id, etag string) error {
	return s.write(ctx, "delete key", func(tx *sqldb.Tx) (change.Record, error) {
		if _, err := s.touchKey(ctx, tx, v, application, id, etag); err != nil {
			return change.Record{}, err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM application_key WHERE id = $1`, id); err != nil {
			return change.Record{}, err
		}
		name := KeyName(application, id)
		return change.Record{Resource: name, Event: event(backplanev1.GrantEvent_CAUSE_KEY_DELETED, name)}, nil
	})
}
