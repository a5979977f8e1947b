package store

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/uniquename"
)

// API is a row of the table api.
type API struct {
	ID          string
	DisplayName string
	Context     string
	Description string
	// Owner is the id of a user.
	Owner string
	// DefaultVersion is the id of the default version, or empty.
	DefaultVersion string
	// DefaultVersionPaths is whether that version also gets the paths that name no
	// version.
	DefaultVersionPaths bool
	// DefaultPublished is whether that version is published.
	DefaultPublished bool
	// Published and Created are whether any version is in that state.
	Published, Created bool
	Etag               int64
	CreatedAt          time.Time
	UpdatedAt          time.Time
}

// Name returns the API's name.
func (a API) Name() resourcename.API { return resourcename.API{API: a.ID} }

// Label returns what users call the API.
func (a API) Label() string { return a.DisplayName }

// defaultName returns the name of the default version, if there is one.
func (a API) defaultName() resourcename.Version {
	return resourcename.Version{API: a.ID, Version: a.DefaultVersion}
}

// ListPlace returns the API's place in a list.
func (a API) ListPlace(o Order) ListPlace {
	switch o.By {
	case ByName:
		return ListPlace{Text: sqldb.Fold(a.DisplayName), ID: a.ID}
	case ByContext:
		return ListPlace{Text: foldContext(a.Context), ID: a.ID}
	}
	return ListPlace{Time: a.CreatedAt.UnixMicro(), ID: a.ID}
}

// seenBy reports whether v may see the API: its own, and one with a version that it may
// see.
func (a API) seenBy(v identity.Viewer) bool {
	return a.Published || v.Publishes && a.Created || v.Sees(a.Owner)
}

const selectAPI = `
	SELECT a.id, a.display_name, a.context, a.description, a.owner, a.default_version, a.default_version_paths,
		COALESCE(d.state, '') = 'PUBLISHED', a.published > 0, a.created > 0,
		a.etag, a.created_at, a.updated_at
	FROM api a LEFT JOIN version d ON d.id = a.default_version `

func scanAPI(row sqldb.Row) (API, error) {
	var a API
	var created, updated int64
	err := row.Scan(&a.ID, &a.DisplayName, &a.Context, &a.Description, &a.Owner, &a.DefaultVersion, &a.DefaultVersionPaths,
		&a.DefaultPublished, &a.Published, &a.Created, &a.Etag, &created, &updated)
	a.CreatedAt, a.UpdatedAt = sqldb.Time(created), sqldb.Time(updated)
	return a, err
}

// API returns an API that v may see, or a NotFound fault.
func (s *Store) API(ctx context.Context, v identity.Viewer, id string) (API, error) {
	return readAPI(ctx, s.db, v, id)
}

func readAPI(ctx context.Context, q sqldb.Querier, v identity.Viewer, id string) (API, error) {
	a, found, err := sqldb.One(ctx, q, scanAPI, selectAPI+`WHERE a.id = $1`, id)
	switch {
	case err != nil:
		return API{}, fmt.Errorf("read API %q: %w", id, err)
	case !found, !a.seenBy(v):
		return API{}, fault.NotFound("%s", resourcename.API{API: id})
	}
	return a, nil
}

// APIsByID returns those of the APIs with these ids that v may see.
func (s *Store) APIsByID(ctx context.Context, v identity.Viewer, ids []string) (map[string]API, error) {
	found, err := readBatch(ctx, s.db, scanAPI, func(a API) string { return a.ID }, selectAPI+`WHERE a.id IN `, ids)
	if err != nil {
		return nil, fmt.Errorf("read APIs: %w", err)
	}
	maps.DeleteFunc(found, func(_ string, a API) bool { return !a.seenBy(v) })
	return found, nil
}

// APIFilter restricts APIs; nil does not.
type APIFilter struct {
	// DisplayName is compared without regard to case.
	DisplayName *string
	Context     *string
	// Owner is the id of a user.
	Owner *string
	// State and Tag are those of one of the API's versions, which the viewer sees.
	State, Tag *string
	// Query is a text in the display name or the context, without regard to case; empty for
	// any.
	Query string
}

// APIs returns the APIs after a place that v sees, in an order.
func (s *Store) APIs(ctx context.Context, v identity.Viewer, f APIFilter, o Order, after ListPlace) iter.Seq2[API, error] {
	l := listing{text: selectAPI + `WHERE TRUE`}
	l.whereEqual("a.display_fold", sqldb.FoldFilter(f.DisplayName))
	l.whereEqual("a.context", f.Context)
	l.whereEqual("a.owner", f.Owner)
	l.whereContains(s.db, f.Query, "a.display_fold", "a.context_fold")
	if !v.All {
		l.where(`a.owner = ? OR a.published > 0 OR CAST(? AS BOOLEAN) AND a.created > 0`, v.User, v.Publishes)
	}
	if f.State != nil && f.Tag == nil {
		// Versions of others that are not published are not seen by all.
		l.where(`a.published > 0 AND ? = 'PUBLISHED' OR a.created > 0 AND ? = 'CREATED' AND (CAST(? AS BOOLEAN) OR a.owner = ?)`,
			*f.State, *f.State, v.All || v.Publishes, v.User)
	}
	if f.Tag != nil {
		l.where(`EXISTS (SELECT 1 FROM version v WHERE v.api_id = a.id
			AND (CAST(? AS BOOLEAN) OR a.owner = ? OR v.state IN ('PUBLISHED', ?))
			AND (CAST(? AS TEXT) IS NULL OR v.state = ?)
			AND EXISTS (SELECT 1 FROM version_tag t WHERE t.version_id = v.id AND t.tag = ?))`,
			v.All, v.User, alsoSeen(v), f.State, f.State, *f.Tag)
	}
	column := map[By]string{ByTime: "a.created_at", ByName: "a.display_fold", ByContext: "a.context_fold"}[o.By]
	return rows(ctx, s.db, scanAPI, l, o, column, "a.id", after)
}

// CreateAPI adds an API without versions, once for a request. Its context may meet those
// of other owners only if v sees everything.
func (s *Store) CreateAPI(ctx context.Context, req requestid.Request, v identity.Viewer, a API) (API, error) {
	a.ID, a.Etag = id.New(), 1
	name := uniquename.Of(a.DisplayName)
	again := func(tx *change.Tx, text string) error {
		made, err := resourcename.ParseAPI("", text)
		if err == nil {
			a, err = readAPI(ctx, tx, v, made.API)
		}
		return err
	}
	err := s.log.Write(ctx, "create API", req.Once(ctx, again, func(tx *change.Tx) (change.Record, error) {
		a.CreatedAt, a.UpdatedAt = tx.Time, tx.Time
		if err := checkFree(ctx, tx, a); err != nil {
			return change.Record{}, err
		}
		if err := checkNeighbours(ctx, tx, v, a); err != nil {
			return change.Record{}, err
		}
		n, full, err := s.owns(ctx, tx, a.Owner, s.maxAPIs)
		if err != nil {
			return change.Record{}, err
		}
		if full {
			return change.Record{}, fault.WithReason(fault.Exhausted("you have %d APIs, as many as a user may have: delete one first", n), fault.ReasonTooManyAPIs)
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO api (id, display_name, display_fold, display_skeleton, display_ascii, context, context_fold, description, owner, default_version,
				default_version_paths, published, created, etag, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', $10, 0, 0, $11, $12, $13)`,
			a.ID, a.DisplayName, name.Fold, name.Skeleton, name.ASCII, a.Context, foldContext(a.Context), a.Description, a.Owner,
			a.DefaultVersionPaths, a.Etag, a.CreatedAt.UnixMicro(), a.UpdatedAt.UnixMicro())
		return change.Record{Resource: a.Name().String(), After: a}, err
	}))
	return a, err
}

// owns returns how many APIs a user has, and whether that is as many as there may be.
func (s *Store) owns(ctx context.Context, tx *change.Tx, owner string, most int) (n int, full bool, err error) {
	if s.maxAPIs == 0 {
		return 0, false, nil
	}
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM api WHERE owner = $1`, owner).Scan(&n); err != nil {
		return 0, false, fmt.Errorf("count APIs: %w", err)
	}
	return n, n >= most, nil
}

// checkGift refuses to give an API to an owner who has half of what a user may have:
// whoever is given APIs has not asked for them, and can still make as many. Viewers who
// see everything give as many as they like, so that what people leave behind finds an
// owner.
func (s *Store) checkGift(ctx context.Context, tx *change.Tx, v identity.Viewer, owner string) error {
	if v.All {
		return nil
	}
	n, full, err := s.owns(ctx, tx, owner, (s.maxAPIs+1)/2)
	if err == nil && full {
		err = fault.WithReason(fault.Exhausted(
			"the new owner has %d APIs, and may be given none from half of %d, the most of a user: an administrator can give more", n, s.maxAPIs), fault.ReasonTooManyAPIs)
	}
	return err
}

// UpdateAPI makes an API that v sees what edit makes of it: its display name,
// context, description, default version, what that gets, and owner.
func (s *Store) UpdateAPI(ctx context.Context, v identity.Viewer, id string, edit func(API) (API, error)) (a API, err error) {
	err = s.log.Write(ctx, "update API", func(tx *change.Tx) (change.Record, error) {
		old, err := readAPI(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		if a, err = edit(old); err != nil {
			return change.Record{}, err
		}
		a.ID = old.ID
		if err := checkDefault(ctx, tx, a); err != nil {
			return change.Record{}, err
		}
		if err := checkFree(ctx, tx, a); err != nil {
			return change.Record{}, err
		}
		if a.Owner != old.Owner {
			if err := s.checkGift(ctx, tx, v, a.Owner); err != nil {
				return change.Record{}, err
			}
			if err := checkGivenDenyRules(ctx, tx, v, a.ID, a.Owner); err != nil {
				return change.Record{}, err
			}
		}
		if a.Context != old.Context {
			if err := checkNeighbours(ctx, tx, v, a); err != nil {
				return change.Record{}, err
			}
		}
		routes, err := s.readVersions(ctx, tx, id)
		if err != nil {
			return change.Record{}, err
		}
		name := uniquename.Of(a.DisplayName)
		_, err = tx.ExecContext(ctx, `
			UPDATE api SET display_name = $1, display_fold = $2, display_skeleton = $3, display_ascii = $4,
				context = $5, context_fold = $6, description = $7,
				default_version = $8, default_version_paths = $9, owner = $10, etag = etag + 1, updated_at = $11
			WHERE id = $12`,
			a.DisplayName, name.Fold, name.Skeleton, name.ASCII, a.Context, foldContext(a.Context), a.Description,
			a.DefaultVersion, a.DefaultVersionPaths, a.Owner, tx.Time.UnixMicro(), id)
		if err != nil {
			return change.Record{}, err
		}
		for _, v := range routes {
			v.DisplayName, v.Context = a.DisplayName, a.Context
			if err := keepSearch(ctx, tx, v); err != nil {
				return change.Record{}, err
			}
		}
		if a, err = readAPI(ctx, tx, everything, id); err != nil {
			return change.Record{}, err
		}
		event, err := s.routesEvent(ctx, tx, id, routes)
		return change.Record{Resource: a.Name().String(), Before: old, After: a, Event: event}, err
	})
	return a, err
}

// checkDefault refuses a default version that is not one of the API's.
func checkDefault(ctx context.Context, tx *change.Tx, a API) error {
	if a.DefaultVersion == "" {
		return nil
	}
	exists, err := sqldb.Exists(ctx, tx, `
		SELECT EXISTS (SELECT 1 FROM version WHERE id = $1 AND api_id = $2)`, a.DefaultVersion, a.ID)
	if err != nil {
		return fmt.Errorf("look for the default version: %w", err)
	}
	if !exists {
		return fault.Invalid("api.default_version", "must be a version of this API, or empty")
	}
	return nil
}

// DeleteAPI removes an API that v sees and check allows to be removed; with force,
// also one that has versions. None of them may be published, and checkDeletable must allow it.
func (s *Store) DeleteAPI(ctx context.Context, v identity.Viewer, id string, force bool, check func(API) error) error {
	return s.log.Write(ctx, "delete API", func(tx *change.Tx) (change.Record, error) {
		a, err := readAPI(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(a); err != nil {
			return change.Record{}, err
		}
		if err := checkDeletable(ctx, tx, v, id, ""); err != nil {
			return change.Record{}, err
		}
		routes, err := s.readVersions(ctx, tx, id)
		switch {
		case err != nil:
			return change.Record{}, err
		case a.Published:
			return change.Record{}, fault.Precondition("a version of the API is published: demote it first")
		case len(routes) > 0 && !force:
			return change.Record{}, fault.Precondition("force: the API has versions: delete them first, or set it")
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM version WHERE api_id = $1`, id); err != nil {
			return change.Record{}, err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM api WHERE id = $1`, id); err != nil {
			return change.Record{}, err
		}
		event, err := s.routesEvent(ctx, tx, id, routes)
		if err != nil {
			return change.Record{}, err
		}
		return change.Record{Resource: a.Name().String(), Before: a, Event: event}, removeDenyRulesOf(ctx, tx, id, event)
	})
}

// checkFree returns a fault when the display name cannot be one that must be unique, or
// when another API has it, or an address of the API. What a write reads stays true until
// it commits.
func checkFree(ctx context.Context, tx *change.Tx, a API) error {
	if err := uniquename.Check("api.display_name", a.DisplayName); err != nil {
		return err
	}
	name := uniquename.Of(a.DisplayName)
	var like uniquename.Likeness
	err := tx.QueryRowContext(ctx, `
		SELECT COALESCE(max(CASE WHEN display_fold = $1 THEN 2 ELSE 1 END), 0) FROM api
		WHERE id <> $2 AND (display_fold = $1 OR display_skeleton = $3 AND NOT (display_ascii AND CAST($4 AS BOOLEAN)))`,
		name.Fold, a.ID, name.Skeleton, name.ASCII).Scan(&like)
	if err != nil {
		return fmt.Errorf("look for the API's name: %w", err)
	}
	if err := like.Fault("api.display_name", a.DisplayName); err != nil {
		return err
	}
	if err := checkContext(ctx, tx, a); err != nil {
		return err
	}
	return checkContextBesideFurther(ctx, tx, a)
}
