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
	"github.com/tidegatehq/tidegate/services/kit/resource"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Stage says which endpoint of a version a credential leads to.
type Stage int64

// The stages.
const (
	Production Stage = 1
	Sandbox    Stage = 2
)

// String returns the stage in a word.
func (s Stage) String() string {
	if s == Sandbox {
		return "sandbox"
	}
	return "production"
}

// OAuthClient is an application's client at the token endpoint.
type OAuthClient struct {
	Name  resource.OAuthClient
	Stage Stage
	// ClientID is what it is called at the token endpoint.
	ClientID  string
	CreatedAt time.Time
	UpdatedAt time.Time
	Etag      int64
}

func scanOAuthClient(r row, more ...any) (OAuthClient, error) {
	var c OAuthClient
	var created, updated int64
	err := r.Scan(append([]any{&c.Name.OAuthClient, &c.Name.Application, &c.Stage, &c.ClientID, &created, &updated, &c.Etag}, more...)...)
	c.CreatedAt, c.UpdatedAt = at(created), at(updated)
	return c, err
}

func errNoOAuthClient(name resource.OAuthClient) error { return fault.NotFound("%s", name) }

// CreateOAuthClient adds an OAuth client to the application that its name has and
// that v may see; the rest of the name is made.
func (s *Store) CreateOAuthClient(ctx context.Context, v Viewer, c OAuthClient) (OAuthClient, error) {
	c.Name.OAuthClient, c.Etag, c.CreatedAt = id.New(), 1, s.moment()
	c.UpdatedAt = c.CreatedAt
	err := s.write(ctx, "create OAuth client", func(tx *sqldb.Tx) (change.Record, error) {
		if _, err := readApplication(ctx, tx, v, c.Name.Application); err != nil {
			return change.Record{}, err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO oauth_client (id, application, stage, client_id, created_at, updated_at, etag)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			c.Name.OAuthClient, c.Name.Application, int64(c.Stage), c.ClientID, c.CreatedAt.UnixMicro(), c.UpdatedAt.UnixMicro(), c.Etag)
		switch {
		case sqldb.IsUnique(err):
			return change.Record{}, fault.AlreadyExists("the application has an OAuth client for %s already", c.Stage)
		case sqldb.IsForeignKey(err):
			return change.Record{}, errNoApplication(c.Name.Application)
		case err != nil:
			return change.Record{}, err
		}
		return change.Record{Resource: c.Name.String()}, nil
	})
	return c, err
}

// OAuthClient returns an OAuth client of an application that v may see, or
// fault.NotFound.
func (s *Store) OAuthClient(ctx context.Context, v Viewer, name resource.OAuthClient) (OAuthClient, error) {
	return readOAuthClient(ctx, s.db, v, name)
}

func readOAuthClient(ctx context.Context, q sqldb.Querier, v Viewer, name resource.OAuthClient) (OAuthClient, error) {
	c, err := scanOAuthClient(q.QueryRowContext(ctx, `
		SELECT c.id, c.application, c.stage, c.client_id, c.created_at, c.updated_at, c.etag
		FROM oauth_client c JOIN application a ON a.id = c.application
		WHERE c.application = $1 AND c.id = $2 AND (CAST($3 AS TEXT) IS NULL OR a.owner = $3)`,
		name.Application, name.OAuthClient, v.limit()))
	if errors.Is(err, sql.ErrNoRows) {
		return OAuthClient{}, errNoOAuthClient(name)
	}
	if err != nil {
		return OAuthClient{}, fmt.Errorf("read %s: %w", name, err)
	}
	return c, nil
}

// OAuthClients returns at most n OAuth clients of an application after a place,
// oldest first.
func (s *Store) OAuthClients(ctx context.Context, application string, after Place, n int) ([]OAuthClient, error) {
	var out []OAuthClient
	err := each(ctx, s.db, func(r row) error {
		c, err := scanOAuthClient(r)
		out = append(out, c)
		return err
	}, `
		SELECT id, application, stage, client_id, created_at, updated_at, etag
		FROM oauth_client
		WHERE application = $1 AND (created_at, id) > ($2, $3)
		ORDER BY created_at, id LIMIT $4`, application, after.Time, after.ID, n)
	if err != nil {
		return nil, fmt.Errorf("list OAuth clients: %w", err)
	}
	return out, nil
}

// DeleteOAuthClient removes an OAuth client with its secrets.
func (s *Store) DeleteOAuthClient(ctx context.Context, v Viewer, name resource.OAuthClient, etag string) error {
	return s.write(ctx, "delete OAuth client", func(tx *sqldb.Tx) (change.Record, error) {
		c, err := readOAuthClient(ctx, tx, v, name)
		if err != nil {
			return change.Record{}, err
		}
		if err := checkEtag(etag, c.Etag); err != nil {
			return change.Record{}, err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM oauth_client WHERE id = $1`, name.OAuthClient); err != nil {
			return change.Record{}, err
		}
		return change.Record{
			Resource: name.String(), Event: event(backplanev1.GrantEvent_CAUSE_OAUTH_CLIENT_DELETED, name.String()),
		}, nil
	})
}
