package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// States of a version.
const (
	Created   = "CREATED"
	Published = "PUBLISHED"
)

// Version is a row of the table version, with what its API adds to it.
type Version struct {
	ID          string
	Version     string
	Description string
	Tags        []string
	// Production and Sandbox are the endpoints of the two stages.
	Production, Sandbox []Endpoint
	// Security has the alternatives in order.
	Security []SecurityScheme
	// Plans are ids of plans.
	Plans   []string
	Origins []string
	// MaxSessionAge is 0 for no bound.
	MaxSessionAge time.Duration
	State         string
	// Revision is the number of the change that made the version's route as it
	// is.
	Revision  int64
	Etag      int64
	CreatedAt time.Time
	UpdatedAt time.Time

	// APIID is the API's id; only it of the API's fields is written.
	APIID string
	// DisplayName, Context and Owner are the API's.
	DisplayName, Context, Owner string
	// Default is whether this is the API's default version.
	Default bool
}

// Endpoint is where a backend is reached.
type Endpoint struct {
	URL string `json:"url"`
}

// SecurityScheme is a way in which a client proves who it is.
type SecurityScheme struct {
	// Type is SchemeOAuth2 or SchemeNone.
	Type string `json:"type"`
	// Places are where the credential may stand, in order.
	Places []Place `json:"places,omitempty"`
}

// Types of security schemes.
const (
	SchemeOAuth2 = "oauth2"
	SchemeNone   = "none"
)

// Place is where in a handshake a credential may stand.
type Place struct {
	// In is InHeader or InQuery.
	In   string `json:"in"`
	Name string `json:"name"`
}

// Parts of a handshake that have places.
const (
	InHeader = "header"
	InQuery  = "query"
)

// Anonymous reports whether clients connect without a credential.
func (v Version) Anonymous() bool {
	return len(v.Security) == 1 && v.Security[0].Type == SchemeNone
}

// After is where the version stands in a list.
func (v Version) After() After { return After{Micros: v.CreatedAt.UnixMicro(), ID: v.ID} }

const selectVersion = `
	SELECT v.id, v.version, v.description, v.tags, v.production, v.sandbox, v.security, v.plans, v.origins,
		v.max_session_age, v.state, v.revision, v.etag, v.created_at, v.updated_at,
		v.api_id, a.display_name, a.context, a.owner, (a.default_version = v.id)
	FROM version v JOIN api a ON a.id = v.api_id `

func scanVersion(row interface{ Scan(...any) error }) (Version, error) {
	var v Version
	var created, updated, age int64
	err := row.Scan(&v.ID, &v.Version, &v.Description, text(&v.Tags), text(&v.Production), text(&v.Sandbox),
		text(&v.Security), text(&v.Plans), text(&v.Origins),
		&age, &v.State, &v.Revision, &v.Etag, &created, &updated,
		&v.APIID, &v.DisplayName, &v.Context, &v.Owner, &v.Default)
	v.MaxSessionAge = time.Duration(age)
	v.CreatedAt, v.UpdatedAt = time.UnixMicro(created), time.UnixMicro(updated)
	return v, err
}

// Version returns the version with this id of the API with that one, or a
// NotFound fault.
func (s *Store) Version(ctx context.Context, api, id string) (Version, error) {
	v, err := scanVersion(s.q.QueryRowContext(ctx, selectVersion+`WHERE v.id = $1 AND v.api_id = $2`, id, api))
	if errors.Is(err, sql.ErrNoRows) {
		return Version{}, fault.NotFound("apis/%s/versions/%s", api, id)
	}
	if err != nil {
		return Version{}, fmt.Errorf("read version %q: %w", id, err)
	}
	return v, nil
}

// VersionsOf returns all versions of an API, oldest first.
func (s *Store) VersionsOf(ctx context.Context, api string) ([]Version, error) {
	rows, err := s.q.QueryContext(ctx, selectVersion+`WHERE v.api_id = $1 ORDER BY v.created_at, v.id`, api)
	if err != nil {
		return nil, fmt.Errorf("read versions of %q: %w", api, err)
	}
	return collect(rows, "read versions of an API", scanVersion)
}

// VersionFilter restricts ListVersions; nil is no restriction.
type VersionFilter struct {
	// APIID is the API whose versions are listed.
	APIID   *string
	Version *string
	State   *string
	// Tag is one that the version has.
	Tag *string
}

// ListVersions returns up to limit versions that the viewer sees, oldest first.
func (s *Store) ListVersions(ctx context.Context, who Viewer, f VersionFilter, after After, limit int) ([]Version, error) {
	rows, err := s.q.QueryContext(ctx, selectVersion+`
		WHERE (v.created_at, v.id) > ($1, $2)
		  AND (CAST($3 AS TEXT) IS NULL OR v.api_id = $3)
		  AND (CAST($4 AS TEXT) IS NULL OR v.version = $4)
		  AND (CAST($5 AS TEXT) IS NULL OR v.state = $5)
		  AND (CAST($6 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM version_tag t WHERE t.version_id = v.id AND t.tag = $6))
		  AND (CAST($7 AS BOOLEAN) OR a.owner = $8 OR v.state = 'PUBLISHED')
		ORDER BY v.created_at, v.id LIMIT $9`,
		after.Micros, after.ID, optional(f.APIID), optional(f.Version), optional(f.State), optional(f.Tag),
		who.All, who.User, int64(limit))
	if err != nil {
		return nil, fmt.Errorf("list versions: %w", err)
	}
	return collect(rows, "list versions", scanVersion)
}

// MaxVersions is how many versions an API may have.
const MaxVersions = 200

// CreateVersion adds a version, or returns an AlreadyExists fault, or a
// Precondition fault when the API has as many as it may.
func (s *Store) CreateVersion(ctx context.Context, v Version) error {
	var count int64
	var taken bool
	err := s.q.QueryRowContext(ctx, `
		SELECT count(*), COALESCE(sum(CASE WHEN version = $1 THEN 1 ELSE 0 END), 0) > 0
		FROM version WHERE api_id = $2`, v.Version, v.APIID).Scan(&count, &taken)
	if err != nil {
		return fmt.Errorf("count the API's versions: %w", err)
	}
	if taken {
		return fault.AlreadyExists("version.version: the API has a version %q", v.Version)
	}
	if count >= MaxVersions {
		return fault.Precondition("the API has %d versions, the most that it may have", MaxVersions)
	}
	if err := s.addressFree(ctx, v); err != nil {
		return err
	}
	err = s.exec(ctx, "create version", `
		INSERT INTO version (id, api_id, version, description, tags, production, sandbox, security, plans, origins,
			max_session_age, state, revision, etag, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1, $14, $14)`,
		v.ID, v.APIID, v.Version, v.Description, text(&v.Tags), text(&v.Production), text(&v.Sandbox),
		text(&v.Security), text(&v.Plans), text(&v.Origins),
		int64(v.MaxSessionAge), v.State, v.Revision, v.CreatedAt.UnixMicro())
	if err != nil {
		return err
	}
	return s.link(ctx, v)
}

// addressFree returns an AlreadyExists fault when another API's context lies at
// or under the version's address.
func (s *Store) addressFree(ctx context.Context, v Version) error {
	address := v.Context + "/" + v.Version
	taken, err := s.exists(ctx, "look for contexts under the version's address", `
		SELECT EXISTS (SELECT 1 FROM api WHERE id <> $1 AND (context = $2 OR context >= $3 AND context < $4))`,
		v.APIID, address, address+"/", address+"0")
	if err != nil {
		return err
	}
	if taken {
		return fault.AlreadyExists("version.version: the address %q is taken by another API's context", address)
	}
	return nil
}

// UpdateVersion writes the version's fields but Version over those of the row
// with its id and etag, or returns an Aborted fault.
func (s *Store) UpdateVersion(ctx context.Context, v Version) error {
	err := s.exec(ctx, "update version", `
		UPDATE version SET description = $1, tags = $2, production = $3, sandbox = $4, security = $5,
			plans = $6, origins = $7, max_session_age = $8, state = $9, updated_at = $10, etag = etag + 1
		WHERE id = $11 AND etag = $12`,
		v.Description, text(&v.Tags), text(&v.Production), text(&v.Sandbox), text(&v.Security),
		text(&v.Plans), text(&v.Origins), int64(v.MaxSessionAge), v.State, v.UpdatedAt.UnixMicro(),
		v.ID, v.Etag)
	if err != nil {
		return err
	}
	for _, query := range []string{
		`DELETE FROM version_tag WHERE version_id = $1`,
		`DELETE FROM version_plan WHERE version_id = $1`,
	} {
		if _, err := s.q.ExecContext(ctx, query, v.ID); err != nil {
			return fmt.Errorf("clear the version's links: %w", err)
		}
	}
	return s.link(ctx, v)
}

// link adds the rows by which versions are found by tag and by plan.
func (s *Store) link(ctx context.Context, v Version) error {
	for _, tag := range v.Tags {
		_, err := s.q.ExecContext(ctx, `INSERT INTO version_tag (version_id, tag) VALUES ($1, $2)`, v.ID, tag)
		if err != nil {
			return fmt.Errorf("add tag: %w", err)
		}
	}
	for _, plan := range v.Plans {
		_, err := s.q.ExecContext(ctx, `INSERT INTO version_plan (version_id, plan_id) VALUES ($1, $2)`, v.ID, plan)
		if err != nil {
			return fmt.Errorf("offer plan: %w", err)
		}
	}
	return nil
}

// SetRevision says which change made the version's route as it is.
func (s *Store) SetRevision(ctx context.Context, id string, number int64) error {
	return s.exec(ctx, "set the version's revision", `UPDATE version SET revision = $1 WHERE id = $2`, number, id)
}

// DeleteVersion removes the version with this id and etag; its API no longer has
// it as the default.
func (s *Store) DeleteVersion(ctx context.Context, v Version, now time.Time) error {
	_, err := s.q.ExecContext(ctx, `
		UPDATE api SET default_version = '', updated_at = $1, etag = etag + 1 WHERE id = $2 AND default_version = $3`,
		now.UnixMicro(), v.APIID, v.ID)
	if err != nil {
		return fmt.Errorf("clear the default version: %w", err)
	}
	return s.exec(ctx, "delete version", `DELETE FROM version WHERE id = $1 AND etag = $2`, v.ID, v.Etag)
}
