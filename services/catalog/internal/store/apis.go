package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// API is a row of the table api.
type API struct {
	ID          string
	DisplayName string
	Context     string
	Description string
	// Owner is users/{user}.
	Owner string
	// DefaultVersion is the id of the default version, or empty.
	DefaultVersion string
	// DefaultPublished is whether that version is published.
	DefaultPublished bool
	// Published is whether any version is published.
	Published bool
	Etag      int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// After is where the API stands in a list.
func (a API) After() After { return After{Micros: a.CreatedAt.UnixMicro(), ID: a.ID} }

const selectAPI = `
	SELECT a.id, a.display_name, a.context, a.description, a.owner, a.default_version,
		EXISTS (SELECT 1 FROM version v WHERE v.id = a.default_version AND v.state = 'PUBLISHED'),
		EXISTS (SELECT 1 FROM version v WHERE v.api_id = a.id AND v.state = 'PUBLISHED'),
		a.etag, a.created_at, a.updated_at
	FROM api a `

func scanAPI(row interface{ Scan(...any) error }) (API, error) {
	var a API
	var created, updated int64
	err := row.Scan(&a.ID, &a.DisplayName, &a.Context, &a.Description, &a.Owner, &a.DefaultVersion,
		&a.DefaultPublished, &a.Published, &a.Etag, &created, &updated)
	a.CreatedAt, a.UpdatedAt = time.UnixMicro(created), time.UnixMicro(updated)
	return a, err
}

// API returns the API with this id, or a NotFound fault.
func (s *Store) API(ctx context.Context, id string) (API, error) {
	a, err := scanAPI(s.q.QueryRowContext(ctx, selectAPI+`WHERE a.id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return API{}, fault.NotFound("apis/%s", id)
	}
	if err != nil {
		return API{}, fmt.Errorf("read API %q: %w", id, err)
	}
	return a, nil
}

// APIFilter restricts ListAPIs; nil is no restriction.
type APIFilter struct {
	// DisplayName is compared without regard to case.
	DisplayName *string
	Context     *string
	Owner       *string
}

// ListAPIs returns up to limit APIs that the viewer sees, oldest first.
func (s *Store) ListAPIs(ctx context.Context, who Viewer, f APIFilter, after After, limit int) ([]API, error) {
	if f.DisplayName != nil {
		folded := Fold(*f.DisplayName)
		f.DisplayName = &folded
	}
	rows, err := s.q.QueryContext(ctx, selectAPI+`
		WHERE (a.created_at, a.id) > ($1, $2)
		  AND (CAST($3 AS TEXT) IS NULL OR a.display_fold = $3)
		  AND (CAST($4 AS TEXT) IS NULL OR a.context = $4)
		  AND (CAST($5 AS TEXT) IS NULL OR a.owner = $5)
		  AND (CAST($6 AS BOOLEAN) OR a.owner = $7
		       OR EXISTS (SELECT 1 FROM version v WHERE v.api_id = a.id AND v.state = 'PUBLISHED'))
		ORDER BY a.created_at, a.id LIMIT $8`,
		after.Micros, after.ID, optional(f.DisplayName), optional(f.Context), optional(f.Owner),
		who.All, who.User, int64(limit))
	if err != nil {
		return nil, fmt.Errorf("list APIs: %w", err)
	}
	return collect(rows, "list APIs", scanAPI)
}

// CreateAPI adds an API, or returns an AlreadyExists fault.
func (s *Store) CreateAPI(ctx context.Context, a API) error {
	if err := s.apiFree(ctx, a); err != nil {
		return err
	}
	return s.exec(ctx, "create API", `
		INSERT INTO api (id, display_name, display_fold, context, description, owner, default_version, etag, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $8)`,
		a.ID, a.DisplayName, Fold(a.DisplayName), a.Context, a.Description, a.Owner, a.DefaultVersion, a.CreatedAt.UnixMicro())
}

// UpdateAPI writes the API's display name, context, description and default
// version over those of the row with its id and etag, or returns an
// AlreadyExists or Aborted fault.
func (s *Store) UpdateAPI(ctx context.Context, a API) error {
	if err := s.apiFree(ctx, a); err != nil {
		return err
	}
	return s.exec(ctx, "update API", `
		UPDATE api SET display_name = $1, display_fold = $2, context = $3, description = $4, default_version = $5,
			updated_at = $6, etag = etag + 1
		WHERE id = $7 AND etag = $8`,
		a.DisplayName, Fold(a.DisplayName), a.Context, a.Description, a.DefaultVersion,
		a.UpdatedAt.UnixMicro(), a.ID, a.Etag)
}

// DeleteAPI removes the API with this id and etag, and its versions.
func (s *Store) DeleteAPI(ctx context.Context, id string, etag int64) error {
	if _, err := s.q.ExecContext(ctx, `DELETE FROM version WHERE api_id = $1`, id); err != nil {
		return fmt.Errorf("delete the API's versions: %w", err)
	}
	return s.exec(ctx, "delete API", `DELETE FROM api WHERE id = $1 AND etag = $2`, id, etag)
}

// apiFree returns an AlreadyExists fault when another API has the display name
// or an address of the API.
func (s *Store) apiFree(ctx context.Context, a API) error {
	taken, err := s.exists(ctx, "look for the API's name", `
		SELECT EXISTS (SELECT 1 FROM api WHERE display_fold = $1 AND id <> $2)`, Fold(a.DisplayName), a.ID)
	if err != nil {
		return err
	}
	if taken {
		return fault.AlreadyExists("api.display_name: %q is taken", a.DisplayName)
	}
	taken, err = s.exists(ctx, "look for the API's context", `
		SELECT EXISTS (SELECT 1 FROM api WHERE context = $1 AND id <> $2)`, a.Context, a.ID)
	if err != nil {
		return err
	}
	if taken {
		return fault.AlreadyExists("api.context: %q is taken", a.Context)
	}
	return s.contextClear(ctx, a)
}

// contextClear returns an AlreadyExists fault when the API's context would hide
// a version of another API (as /team/1.0.0 hides version 1.0.0 of /team), or
// hides one of its own versions behind another API.
func (s *Store) contextClear(ctx context.Context, a API) error {
	for i := 1; i < len(a.Context); i++ {
		if a.Context[i] != '/' {
			continue
		}
		version, _, _ := strings.Cut(a.Context[i+1:], "/")
		hides, err := s.exists(ctx, "look for versions under the API's context", `
			SELECT EXISTS (SELECT 1 FROM version v JOIN api a ON a.id = v.api_id
				WHERE a.context = $1 AND v.version = $2 AND a.id <> $3)`, a.Context[:i], version, a.ID)
		if err != nil {
			return err
		}
		if hides {
			return fault.AlreadyExists("api.context: %q lies under the address of another API's version", a.Context)
		}
	}
	hidden, err := s.exists(ctx, "look for contexts under the API's versions", `
		SELECT EXISTS (SELECT 1 FROM version v JOIN api o ON o.id <> v.api_id
			WHERE v.api_id = $1 AND (o.context = CAST($2 AS TEXT) || '/' || v.version
				OR o.context >= CAST($2 AS TEXT) || '/' || v.version || '/' AND o.context < CAST($2 AS TEXT) || '/' || v.version || '0'))`,
		a.ID, a.Context)
	if err != nil {
		return err
	}
	if hidden {
		return fault.AlreadyExists("api.context: with %q a version's address would be that of another API", a.Context)
	}
	return nil
}
