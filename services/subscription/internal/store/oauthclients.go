package store

import (
	"context"
	"fmt"
	"iter"
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

// Stage says which endpoints of a version a credential leads to.
type Stage int64

// The stages.
const (
	Production Stage = 1
	Sandbox    Stage = 2
)

// String returns the stage's name in lower case.
func (s Stage) String() string {
	if s == Sandbox {
		return "sandbox"
	}
	return "production"
}

// OAuthClient is an application's client at the token endpoint.
type OAuthClient struct {
	Name  resourcename.OAuthClient
	Stage Stage
	// ClientID identifies it at the token endpoint.
	ClientID string
	// Owner is the id of the user who owns the application.
	Owner string
	// ApplicationLabel is what users call the application.
	ApplicationLabel string
	CreatedAt        time.Time
	UpdatedAt        time.Time
	Etag             int64
}

// Label returns what users call the OAuth client.
func (c OAuthClient) Label() string { return c.ApplicationLabel + " (" + c.Stage.String() + ")" }

// ListKey returns the OAuth client's key in lists.
func (c OAuthClient) ListKey() sqldb.TimeKey {
	return sqldb.TimeKey{Time: c.CreatedAt.UnixMicro(), ID: c.Name.OAuthClient}
}

const selectOAuthClient = `
	SELECT c.id, c.application, c.stage, c.client_id, a.owner, a.display_name, c.created_at, c.updated_at, c.etag
	FROM oauth_client c JOIN application a ON a.id = c.application `

func scanOAuthClient(row sqldb.Row) (OAuthClient, error) {
	var c OAuthClient
	var created, updated int64
	err := row.Scan(&c.Name.OAuthClient, &c.Name.Application, &c.Stage, &c.ClientID, &c.Owner, &c.ApplicationLabel, &created, &updated, &c.Etag)
	c.CreatedAt, c.UpdatedAt = sqldb.Time(created), sqldb.Time(updated)
	return c, err
}

// CreateOAuthClient adds an OAuth client to the application in its name, which v
// may see and which check lets the caller change, once for a request. It generates the
// rest of the name.
func (s *Store) CreateOAuthClient(ctx context.Context, req requestid.Request, v identity.Viewer, c OAuthClient, check func(Application) error) (OAuthClient, error) {
	c.Name.OAuthClient, c.Etag = id.New(), 1
	again := func(tx *change.Tx, text string) error {
		name, err := resourcename.ParseOAuthClient("", text)
		if err == nil {
			c, err = readOAuthClient(ctx, tx, v, name)
		}
		return err
	}
	err := s.log.Write(ctx, "create OAuth client", req.Once(ctx, again, func(tx *change.Tx) (change.Record, error) {
		app, err := readApplication(ctx, tx, v, c.Name.Application)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(app); err != nil {
			return change.Record{}, err
		}
		c.Owner, c.ApplicationLabel, c.CreatedAt, c.UpdatedAt = app.Owner, app.DisplayName, tx.Time, tx.Time
		_, err = tx.ExecContext(ctx, `
			INSERT INTO oauth_client (id, application, stage, client_id, created_at, updated_at, etag)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			c.Name.OAuthClient, c.Name.Application, int64(c.Stage), c.ClientID, c.CreatedAt.UnixMicro(), c.UpdatedAt.UnixMicro(), c.Etag)
		if sqldb.IsUnique(err) {
			return change.Record{}, fault.AlreadyExists("the application has an OAuth client for %s already", c.Stage)
		}
		return change.Record{Resource: c.Name.String(), After: c}, err
	}))
	return c, err
}

// OAuthClient returns an OAuth client of an application that v may see, or a
// NotFound fault.
func (s *Store) OAuthClient(ctx context.Context, v identity.Viewer, name resourcename.OAuthClient) (OAuthClient, error) {
	return readOAuthClient(ctx, s.db, v, name)
}

func readOAuthClient(ctx context.Context, q sqldb.Querier, v identity.Viewer, name resourcename.OAuthClient) (OAuthClient, error) {
	c, found, err := sqldb.One(ctx, q, scanOAuthClient, selectOAuthClient+`
		WHERE c.application = $1 AND c.id = $2`, name.Application, name.OAuthClient)
	switch {
	case err != nil:
		return OAuthClient{}, fmt.Errorf("read %s: %w", name, err)
	case !found, !v.Sees(c.Owner):
		return OAuthClient{}, fault.NotFound("%s", name)
	}
	return c, nil
}

// OAuthClients returns the OAuth clients, after a key, of an application that v may
// see, oldest first.
func (s *Store) OAuthClients(ctx context.Context, v identity.Viewer, application string, after sqldb.TimeKey) iter.Seq2[OAuthClient, error] {
	return sqldb.List(ctx, s.db, scanOAuthClient, OAuthClient.ListKey, after, selectOAuthClient+`
		WHERE (c.created_at, c.id) > ($1, $2) AND c.application = $4 AND (CAST($5 AS TEXT) IS NULL OR a.owner = $5)
		ORDER BY c.created_at, c.id LIMIT $3`, application, v.Owner())
}

// DeleteOAuthClient removes an OAuth client that v may see and that check lets the
// caller remove, with its secrets.
func (s *Store) DeleteOAuthClient(ctx context.Context, v identity.Viewer, name resourcename.OAuthClient, check func(OAuthClient) error) error {
	return s.log.Write(ctx, "delete OAuth client", func(tx *change.Tx) (change.Record, error) {
		c, err := readOAuthClient(ctx, tx, v, name)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(c); err != nil {
			return change.Record{}, err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM oauth_client WHERE id = $1`, name.OAuthClient)
		return change.Record{
			Resource: name.String(), Before: c, Event: event(backplanev1.GrantEvent_CAUSE_OAUTH_CLIENT_DELETED, name.String()),
		}, err
	})
}
