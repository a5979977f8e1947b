package store

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// maxSecrets is how many secrets of an OAuth client may be valid at a time.
const maxSecrets = 5

// Secret is a secret of an OAuth client; only the hash of its value is stored.
type Secret struct {
	Name resourcename.OAuthClientSecret
	// ClientLabel is what users call the OAuth client.
	ClientLabel string
	CreatedAt   time.Time
	// ExpiresAt is when it expires; the zero time means never.
	ExpiresAt time.Time
}

// Label returns what users call the OAuth client: a secret has no name of its own.
func (s Secret) Label() string { return s.ClientLabel }

// ListKey returns the secret's key in lists.
func (s Secret) ListKey() sqldb.TimeKey {
	return sqldb.TimeKey{Time: s.CreatedAt.UnixMicro(), ID: s.Name.Secret}
}

const selectSecret = `
	SELECT s.id, c.application, c.id, a.display_name, c.stage, s.created_at, s.expires_at
	FROM oauth_client_secret s JOIN oauth_client c ON c.id = s.oauth_client JOIN application a ON a.id = c.application `

func scanSecret(row sqldb.Row) (Secret, error) {
	var s Secret
	var created, expires int64
	var c OAuthClient
	err := row.Scan(&s.Name.Secret, &s.Name.Application, &s.Name.OAuthClient, &c.ApplicationLabel, &c.Stage, &created, &expires)
	s.ClientLabel = c.Label()
	s.CreatedAt, s.ExpiresAt = sqldb.Time(created), maybe(expires)
	return s, err
}

// CreateSecret adds a secret, of which it stores only the hash, to an OAuth client
// that v may see and that check lets the caller change, once for a request: the hash is
// that of the secret where made is true. It expires at the time given; the zero time means
// never.
func (s *Store) CreateSecret(ctx context.Context, req requestid.Request, v identity.Viewer, client resourcename.OAuthClient, expires time.Time, hash []byte, check func(OAuthClient) error) (secret Secret, made bool, err error) {
	secret = Secret{
		Name:      resourcename.OAuthClientSecret{Application: client.Application, OAuthClient: client.OAuthClient, Secret: id.New()},
		ExpiresAt: maybe(micros(expires)),
	}
	again := func(tx *change.Tx, text string) error {
		name, err := resourcename.ParseOAuthClientSecret("", text)
		if err == nil {
			secret, err = readSecret(ctx, tx, v, name)
		}
		return err
	}
	err = s.log.Write(ctx, "create secret", req.Once(ctx, again, func(tx *change.Tx) (change.Record, error) {
		made = true
		c, err := readOAuthClient(ctx, tx, v, client)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(c); err != nil {
			return change.Record{}, err
		}
		secret.ClientLabel, secret.CreatedAt = c.Label(), tx.Time
		var n int
		err = tx.QueryRowContext(ctx, `
			SELECT count(*) FROM oauth_client_secret WHERE oauth_client = $1 AND (expires_at = 0 OR expires_at > $2)`,
			client.OAuthClient, tx.Time.UnixMicro()).Scan(&n)
		if err != nil {
			return change.Record{}, err
		}
		if n >= maxSecrets {
			return change.Record{}, fault.Precondition("the OAuth client has %d secrets, as many as it may have: delete one first", n)
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO oauth_client_secret (id, oauth_client, hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)`,
			secret.Name.Secret, client.OAuthClient, hash, secret.CreatedAt.UnixMicro(), micros(secret.ExpiresAt))
		return change.Record{Resource: secret.Name.String(), After: secret, Secrets: []string{"secret"}}, err
	}))
	return secret, made, err
}

// Secret returns a secret of an OAuth client that v may see, or a NotFound fault.
func (s *Store) Secret(ctx context.Context, v identity.Viewer, name resourcename.OAuthClientSecret) (Secret, error) {
	return readSecret(ctx, s.db, v, name)
}

func readSecret(ctx context.Context, q sqldb.Querier, v identity.Viewer, name resourcename.OAuthClientSecret) (Secret, error) {
	secret, found, err := sqldb.One(ctx, q, scanSecret, selectSecret+`
		WHERE a.id = $1 AND c.id = $2 AND s.id = $3 AND (CAST($4 AS TEXT) IS NULL OR a.owner = $4)`,
		name.Application, name.OAuthClient, name.Secret, v.Owner())
	switch {
	case err != nil:
		return Secret{}, fmt.Errorf("read %s: %w", name, err)
	case !found:
		return Secret{}, fault.NotFound("%s", name)
	}
	return secret, nil
}

// Secrets returns the secrets, after a key, of an OAuth client that v may see,
// oldest first.
func (s *Store) Secrets(ctx context.Context, v identity.Viewer, client resourcename.OAuthClient, after sqldb.TimeKey) iter.Seq2[Secret, error] {
	return sqldb.List(ctx, s.db, scanSecret, Secret.ListKey, after, selectSecret+`
		WHERE (s.created_at, s.id) > ($1, $2) AND a.id = $4 AND c.id = $5 AND (CAST($6 AS TEXT) IS NULL OR a.owner = $6)
		ORDER BY s.created_at, s.id LIMIT $3`, client.Application, client.OAuthClient, v.Owner())
}

// DeleteSecret removes a secret that v may see. Tokens that were issued with it
// stay valid.
func (s *Store) DeleteSecret(ctx context.Context, v identity.Viewer, name resourcename.OAuthClientSecret) error {
	return s.log.Write(ctx, "delete secret", func(tx *change.Tx) (change.Record, error) {
		secret, err := readSecret(ctx, tx, v, name)
		if err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM oauth_client_secret WHERE id = $1`, name.Secret)
		return change.Record{Resource: name.String(), Before: secret, Secrets: []string{"secret"}}, err
	})
}

// SecretHash is what a secret is proved against.
type SecretHash struct {
	// ID is that of the secret.
	ID   string
	Hash []byte
	// AsOf is the moment at which it was read.
	AsOf moment.Moment
}

// ClientSecrets returns the OAuth client with this client_id, and the hashes of its
// secrets that have not expired. For an unknown client_id, and for a suspended
// owner's, there are no hashes.
func (s *Store) ClientSecrets(ctx context.Context, clientID string) (c OAuthClient, hashes []SecretHash, err error) {
	hashes, err = sqldb.All(ctx, s.db, func(row sqldb.Row) (h SecretHash, err error) {
		c, err = scanOAuthClient(sqldb.With(row, &h.ID, &h.Hash, &h.AsOf.Change, &h.AsOf.Time))
		return h, err
	}, `
		SELECT c.id, c.application, c.stage, c.client_id, a.owner, a.display_name, c.created_at, c.updated_at, c.etag,
			s.id, s.hash, n.n, n.time_us
		FROM change_counter n, oauth_client c JOIN application a ON a.id = c.application JOIN oauth_client_secret s ON s.oauth_client = c.id
			JOIN users u ON u.id = a.owner
		WHERE c.client_id = $1 AND u.state = 1 AND (s.expires_at = 0 OR s.expires_at > $2)`, clientID, s.moment().UnixMicro())
	if err != nil {
		return OAuthClient{}, nil, fmt.Errorf("read secrets of an OAuth client: %w", err)
	}
	return c, hashes, nil
}
