package store

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

const (
	// maxAPIKeys is how many API keys an application may have, expired ones among them.
	maxAPIKeys = 100
	// maxKeyValues is how many values of an API key may be good at a time.
	maxKeyValues = 5
)

// APIKey is an API key of an application. It has a value, and after a rotation for a
// while several; only their hashes are stored.
type APIKey struct {
	Name        resourcename.APIKey
	DisplayName string
	Stage       Stage
	// Format is the name of the format of its values, in kit/apikey.
	Format string
	// Addresses and Referers are where it is good from, as package permit reads them;
	// none means everywhere.
	Addresses, Referers []string
	// Owner is the id of the user who owns the application.
	Owner string
	// ExpiresAt is when it expires, LastUsedAt the last minute in which it was used; the
	// zero time means never.
	ExpiresAt, LastUsedAt time.Time
	// ReplacedUntil is when the last of the values that were replaced expires or expired;
	// the zero time means that there is none.
	ReplacedUntil        time.Time
	CreatedAt, UpdatedAt time.Time
	Etag                 int64
}

// Label returns what users call the API key.
func (k APIKey) Label() string { return k.DisplayName }

// ListKey returns the API key's key in lists.
func (k APIKey) ListKey() sqldb.TimeKey {
	return sqldb.TimeKey{Time: k.CreatedAt.UnixMicro(), ID: k.Name.APIKey}
}

// expired reports whether the key has expired at a time.
func (k APIKey) expired(at time.Time) bool { return !k.ExpiresAt.IsZero() && !at.Before(k.ExpiresAt) }

const selectAPIKey = `
	SELECT k.id, k.application, k.display_name, k.stage, k.format, k.permitted_addresses, k.permitted_referers, a.owner,
		k.expires_at, k.last_used_at, COALESCE((SELECT max(v.expires_at) FROM api_key_value v WHERE v.api_key = k.id), 0),
		k.created_at, k.updated_at, k.etag
	FROM api_key k JOIN application a ON a.id = k.application `

func scanAPIKey(row sqldb.Row) (APIKey, error) {
	var k APIKey
	var addresses, referers string
	var expires, used, replaced, created, updated int64
	err := row.Scan(&k.Name.APIKey, &k.Name.Application, &k.DisplayName, &k.Stage, &k.Format, &addresses, &referers, &k.Owner,
		&expires, &used, &replaced, &created, &updated, &k.Etag)
	k.Addresses, k.Referers = strings.Fields(addresses), strings.Fields(referers)
	k.ExpiresAt, k.LastUsedAt, k.ReplacedUntil = maybe(expires), maybe(used), maybe(replaced)
	k.CreatedAt, k.UpdatedAt = sqldb.Time(created), sqldb.Time(updated)
	return k, err
}

// CreateAPIKey adds an API key, of whose value it stores only the hash, to the
// application in its name, which v may see and which check lets the caller change, once
// for a request: the hash is that of the value where made is true. It generates the rest
// of the name.
func (s *Store) CreateAPIKey(ctx context.Context, req requestid.Request, v identity.Viewer, k APIKey, hash []byte, check func(Application) error) (out APIKey, made bool, err error) {
	k.Name.APIKey, k.Etag = id.New(), 1
	k.ExpiresAt = maybe(micros(k.ExpiresAt))
	again := func(tx *change.Tx, text string) error {
		name, err := resourcename.ParseAPIKey("", text)
		if err == nil {
			k, err = readAPIKey(ctx, tx, v, name)
		}
		return err
	}
	err = s.log.Write(ctx, "create API key", req.Once(ctx, again, func(tx *change.Tx) (change.Record, error) {
		made = true
		app, err := readApplication(ctx, tx, v, k.Name.Application)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(app); err != nil {
			return change.Record{}, err
		}
		k.Owner, k.CreatedAt, k.UpdatedAt = app.Owner, tx.Time, tx.Time
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM api_key WHERE application = $1`, app.ID).Scan(&n); err != nil {
			return change.Record{}, fmt.Errorf("count API keys: %w", err)
		}
		if n >= maxAPIKeys {
			return change.Record{}, fault.Precondition("the application has %d API keys, as many as it may have: delete one first", n)
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO api_key (id, application, display_name, stage, format, permitted_addresses, permitted_referers,
				expires_at, last_used_at, created_at, updated_at, etag)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11)`,
			k.Name.APIKey, app.ID, k.DisplayName, int64(k.Stage), k.Format, strings.Join(k.Addresses, " "), strings.Join(k.Referers, " "),
			micros(k.ExpiresAt), k.CreatedAt.UnixMicro(), k.UpdatedAt.UnixMicro(), k.Etag)
		if err != nil {
			return change.Record{}, err
		}
		return change.Record{Resource: k.Name.String(), After: k, Secrets: []string{"key"}}, addKeyValue(ctx, tx, k.Name.APIKey, hash)
	}))
	return k, made, err
}

// addKeyValue adds a value to an API key.
func addKeyValue(ctx context.Context, tx *change.Tx, key string, hash []byte) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO api_key_value (id, api_key, hash, expires_at, issued, issued_us) VALUES ($1, $2, $3, 0, $4, $5)`,
		id.New(), key, hash, int64(tx.Number), tx.Moment.Time)
	return err
}

// APIKey returns an API key that v may see, or a NotFound fault.
func (s *Store) APIKey(ctx context.Context, v identity.Viewer, name resourcename.APIKey) (APIKey, error) {
	return readAPIKey(ctx, s.db, v, name)
}

func readAPIKey(ctx context.Context, q sqldb.Querier, v identity.Viewer, name resourcename.APIKey) (APIKey, error) {
	k, found, err := sqldb.One(ctx, q, scanAPIKey, selectAPIKey+`WHERE k.application = $1 AND k.id = $2`, name.Application, name.APIKey)
	switch {
	case err != nil:
		return APIKey{}, fmt.Errorf("read %s: %w", name, err)
	case !found, !v.Sees(k.Owner):
		return APIKey{}, fault.NotFound("%s", name)
	}
	return k, nil
}

// APIKeys returns the API keys, after a key, of an application that v may see, oldest
// first.
func (s *Store) APIKeys(ctx context.Context, v identity.Viewer, application string, after sqldb.TimeKey) iter.Seq2[APIKey, error] {
	return sqldb.List(ctx, s.db, scanAPIKey, APIKey.ListKey, after, selectAPIKey+`
		WHERE (k.created_at, k.id) > ($1, $2) AND k.application = $4 AND (CAST($5 AS TEXT) IS NULL OR a.owner = $5)
		ORDER BY k.created_at, k.id LIMIT $3`, application, v.Owner())
}

// UpdateAPIKey writes an API key that v may see as edit returns it; edit may change the
// display name, the addresses and the referers. Where it is good from somewhere else its
// grants are read again.
func (s *Store) UpdateAPIKey(ctx context.Context, v identity.Viewer, name resourcename.APIKey, edit func(APIKey) (APIKey, error)) (k APIKey, err error) {
	err = s.log.Write(ctx, "update API key", func(tx *change.Tx) (change.Record, error) {
		old, err := readAPIKey(ctx, tx, v, name)
		if err != nil {
			return change.Record{}, err
		}
		if k, err = edit(old); err != nil {
			return change.Record{}, err
		}
		k.Name, k.Etag, k.UpdatedAt = old.Name, old.Etag+1, tx.Time
		record := change.Record{Resource: name.String(), Before: old, After: k}
		if !slices.Equal(k.Addresses, old.Addresses) || !slices.Equal(k.Referers, old.Referers) {
			record.Event = event(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, record.Resource)
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE api_key SET display_name = $1, permitted_addresses = $2, permitted_referers = $3, updated_at = $4, etag = $5 WHERE id = $6`,
			k.DisplayName, strings.Join(k.Addresses, " "), strings.Join(k.Referers, " "), k.UpdatedAt.UnixMicro(), k.Etag, name.APIKey)
		return record, err
	})
	return k, err
}

// RotateAPIKey gives an API key that v may see, and that check lets the caller change, a
// new value, of which it stores only the hash. The values before expire after overlap;
// with none they are not good any more.
func (s *Store) RotateAPIKey(ctx context.Context, v identity.Viewer, name resourcename.APIKey, overlap time.Duration, check func(APIKey) ([]byte, error)) (k APIKey, err error) {
	err = s.log.Write(ctx, "rotate API key", func(tx *change.Tx) (change.Record, error) {
		old, err := readAPIKey(ctx, tx, v, name)
		if err != nil {
			return change.Record{}, err
		}
		hash, err := check(old)
		if err != nil {
			return change.Record{}, err
		}
		if old.expired(tx.Time) {
			return change.Record{}, fault.Precondition("the API key has expired: create another")
		}
		k = old
		k.Etag, k.UpdatedAt, k.ReplacedUntil = old.Etag+1, tx.Time, time.Time{}
		record := change.Record{Resource: name.String(), Before: old, Secrets: []string{"key"}}
		if overlap == 0 {
			record.Event, err = dropKeyValues(ctx, tx, name.APIKey)
		} else {
			record.Event, err = endKeyValues(ctx, tx, name.APIKey, tx.Time.Add(overlap))
		}
		if err != nil {
			return change.Record{}, err
		}
		if err := addKeyValue(ctx, tx, name.APIKey, hash); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `UPDATE api_key SET updated_at = $1, etag = $2 WHERE id = $3`, k.UpdatedAt.UnixMicro(), k.Etag, name.APIKey)
		if err != nil {
			return change.Record{}, err
		}
		if overlap > 0 {
			k, err = readAPIKey(ctx, tx, v, name)
		}
		record.After = k
		return record, err
	})
	return k, err
}

// dropKeyValues deletes all values of an API key.
func dropKeyValues(ctx context.Context, tx *change.Tx, key string) (*backplanev1.GrantEvent, error) {
	grants, err := sqldb.All(ctx, tx, scanGrantName, `DELETE FROM api_key_value WHERE api_key = $1 RETURNING id`, key)
	if err != nil {
		return nil, fmt.Errorf("delete values of an API key: %w", err)
	}
	return event(backplanev1.GrantEvent_CAUSE_API_KEY_REPLACED, grants...), nil
}

// endKeyValues has the values of an API key expire at a time, unless they do before. The
// grants on those whose end is another now are read again.
func endKeyValues(ctx context.Context, tx *change.Tx, key string, at time.Time) (*backplanev1.GrantEvent, error) {
	var n int
	err := tx.QueryRowContext(ctx, `
		SELECT count(*) FROM api_key_value WHERE api_key = $1 AND (expires_at = 0 OR expires_at > $2)`, key, tx.Time.UnixMicro()).Scan(&n)
	if err != nil {
		return nil, fmt.Errorf("count values of an API key: %w", err)
	}
	if n >= maxKeyValues {
		return nil, fault.Precondition("%d values of the API key are good, as many as there may be: wait until one has expired, or rotate without an overlap, which ends them all", n)
	}
	grants, err := sqldb.All(ctx, tx, scanGrantName, `
		UPDATE api_key_value SET expires_at = $1 WHERE api_key = $2 AND (expires_at = 0 OR expires_at > $1) RETURNING id`, at.UnixMicro(), key)
	if err != nil {
		return nil, fmt.Errorf("end values of an API key: %w", err)
	}
	return event(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, grants...), nil
}

func scanGrantName(row sqldb.Row) (string, error) {
	var id string
	err := row.Scan(&id)
	return GrantName(id), err
}

// DeleteAPIKey removes an API key that v may see and that check lets the caller remove.
func (s *Store) DeleteAPIKey(ctx context.Context, v identity.Viewer, name resourcename.APIKey, check func(APIKey) error) error {
	return s.log.Write(ctx, "delete API key", func(tx *change.Tx) (change.Record, error) { return deleteAPIKey(ctx, tx, v, name, check) })
}

func deleteAPIKey(ctx context.Context, tx *change.Tx, v identity.Viewer, name resourcename.APIKey, check func(APIKey) error) (change.Record, error) {
	k, err := readAPIKey(ctx, tx, v, name)
	if err != nil {
		return change.Record{}, err
	}
	if err := check(k); err != nil {
		return change.Record{}, err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM api_key WHERE id = $1`, name.APIKey)
	return change.Record{
		Resource: name.String(), Before: k, Event: event(backplanev1.GrantEvent_CAUSE_API_KEY_DELETED, name.String()),
	}, err
}

// noteKeyUse notes when API keys were used. Nothing goes back, so that the order of
// reports does not matter.
func noteKeyUse(ctx context.Context, tx *sqldb.Tx, reports []Usage) error {
	used := map[string]int64{}
	for _, u := range reports {
		for _, key := range u.APIKeys {
			used[key.APIKey] = max(used[key.APIKey], u.Start.UnixMicro())
		}
	}
	// In one order, so that two batches never deadlock.
	for _, key := range slices.Sorted(maps.Keys(used)) {
		_, err := tx.ExecContext(ctx, `UPDATE api_key SET last_used_at = $1 WHERE id = $2 AND last_used_at < $1`, used[key], key)
		if err != nil {
			return fmt.Errorf("note use of an API key: %w", err)
		}
	}
	return nil
}
