package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/resource"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// maxSecrets is how many secrets of an OAuth client may work at a time.
const maxSecrets = 5

// Secret is a secret of an OAuth client; only the hash of its value is kept.
type Secret struct {
	Name      resource.OAuthClientSecret
	CreatedAt time.Time
	// ExpiresAt is when it ends; zero for never.
	ExpiresAt time.Time
}

func scanSecret(r row) (Secret, error) {
	var s Secret
	var created, expires int64
	err := r.Scan(&s.Name.Secret, &s.Name.Application, &s.Name.OAuthClient, &created, &expires)
	s.CreatedAt = at(created)
	if expires != 0 {
		s.ExpiresAt = at(expires)
	}
	return s, err
}

func errNoSecret(name resource.OAuthClientSecret) error { return fault.NotFound("%s", name) }

// CreateSecret adds a secret, of whose value it keeps the hash, to an OAuth
// client that v may see. It ends at a time; the zero time is never.
func (s *Store) CreateSecret(ctx context.Context, v Viewer, client resource.OAuthClient, expires time.Time, hash []byte) (Secret, error) {
	secret := Secret{
		Name:      resource.OAuthClientSecret{Application: client.Application, OAuthClient: client.OAuthClient, Secret: id.New()},
		CreatedAt: s.moment(),
	}
	var expiresAt int64
	if !expires.IsZero() {
		expiresAt = expires.UnixMicro()
		secret.ExpiresAt = at(expiresAt)
	}
	err := s.write(ctx, "create secret", func(tx *sqldb.Tx) (change.Record, error) {
		if _, err := readOAuthClient(ctx, tx, v, client); err != nil {
			return change.Record{}, err
		}
		var n int
		err := tx.QueryRowContext(ctx, `
			SELECT count(*) FROM oauth_client_secret WHERE oauth_client = $1 AND (expires_at = 0 OR expires_at > $2)`,
			client.OAuthClient, secret.CreatedAt.UnixMicro()).Scan(&n)
		if err != nil {
			return change.Record{}, err
		}
		if n >= maxSecrets {
			return change.Record{}, fault.Precondition("the OAuth client has %d secrets, as many as it may have: delete one first", n)
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO oauth_client_secret (id, oauth_client, hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)`,
			secret.Name.Secret, client.OAuthClient, hash, secret.CreatedAt.UnixMicro(), expiresAt)
		return change.Record{Resource: secret.Name.String()}, err
	})
	return secret, err
}

// Secret returns a secret of an OAuth client that v may see, or fault.NotFound.
func (s *Store) Secret(ctx context.Context, v Viewer, name resource.OAuthClientSecret) (Secret, error) {
	secret, err := scanSecret(s.db.QueryRowContext(ctx, `
		SELECT s.id, c.application, c.id, s.created_at, s.expires_at
		FROM oauth_client_secret s JOIN oauth_client c ON c.id = s.oauth_client JOIN application a ON a.id = c.application
		WHERE a.id = $1 AND c.id = $2 AND s.id = $3 AND (CAST($4 AS TEXT) IS NULL OR a.owner = $4)`,
		name.Application, name.OAuthClient, name.Secret, v.limit()))
	if errors.Is(err, sql.ErrNoRows) {
		return Secret{}, errNoSecret(name)
	}
	if err != nil {
		return Secret{}, fmt.Errorf("read %s: %w", name, err)
	}
	return secret, nil
}

// Secrets returns at most n secrets of an OAuth client after a place, oldest
// first.
func (s *Store) Secrets(ctx context.Context, client string, after Place, n int) ([]Secret, error) {
	var out []Secret
	err := each(ctx, s.db, func(r row) error {
		secret, err := scanSecret(r)
		out = append(out, secret)
		return err
	}, `
		SELECT s.id, c.application, c.id, s.created_at, s.expires_at
		FROM oauth_client_secret s JOIN oauth_client c ON c.id = s.oauth_client
		WHERE c.id = $1 AND (s.created_at, s.id) > ($2, $3)
		ORDER BY s.created_at, s.id LIMIT $4`, client, after.Time, after.ID, n)
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	return out, nil
}

// DeleteSecret removes a secret. Tokens that were issued with it stay good.
func (s *Store) DeleteSecret(ctx context.Context, v Viewer, name resource.OAuthClientSecret) error {
	return s.write(ctx, "delete secret", func(tx *sqldb.Tx) (change.Record, error) {
		found, err := changed(tx.ExecContext(ctx, `
			DELETE FROM oauth_client_secret
			WHERE id = $1 AND oauth_client = $2 AND EXISTS (
				SELECT 1 FROM oauth_client c JOIN application a ON a.id = c.application
				WHERE c.id = $2 AND a.id = $3 AND (CAST($4 AS TEXT) IS NULL OR a.owner = $4))`,
			name.Secret, name.OAuthClient, name.Application, v.limit()))
		if err != nil {
			return change.Record{}, err
		}
		if !found {
			return change.Record{}, errNoSecret(name)
		}
		return change.Record{Resource: name.String()}, nil
	})
}

// ClientSecrets returns the OAuth client with this client_id and the hashes of
// those of its secrets that have not ended. Where there is no such client, or no
// such secret, there are no hashes.
func (s *Store) ClientSecrets(ctx context.Context, clientID string) (c OAuthClient, hashes [][]byte, err error) {
	err = each(ctx, s.db, func(r row) error {
		var hash []byte
		var err error
		c, err = scanOAuthClient(r, &hash)
		hashes = append(hashes, hash)
		return err
	}, `
		SELECT c.id, c.application, c.stage, c.client_id, c.created_at, c.updated_at, c.etag, s.hash
		FROM oauth_client c JOIN oauth_client_secret s ON s.oauth_client = c.id
		WHERE c.client_id = $1 AND (s.expires_at = 0 OR s.expires_at > $2)`, clientID, s.moment().UnixMicro())
	if err != nil {
		return OAuthClient{}, nil, fmt.Errorf("read secrets of an OAuth client: %w", err)
	}
	return c, hashes, nil
}
