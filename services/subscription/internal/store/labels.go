package store

import (
	"context"
	"fmt"

	"github.com/tidegatehq/tidegate/services/kit/change"
)

// Labels are what users call what a row of usage or a session record is about, and last
// called it if it is gone. Empty is what was never known.
type Labels struct {
	// API is the display name of the API, Version the version's string.
	API, Version string
	// Application is the display name of the application, Owner the username of its
	// owner.
	Application, Owner string
	// Plan is the display name of the plan that usage is of, empty for one that is gone.
	Plan string
}

// dests are where the columns of usageLabels and recordLabels are scanned to.
func (l *Labels) dests() []any { return []any{&l.API, &l.Version, &l.Application, &l.Owner} }

// planLabel is the column with the label of a plan.
const planLabel = `COALESCE((SELECT p.display_name FROM plan p WHERE p.name = r.plan), '')`

// Columns with the labels of rows of usage and of session records, called r in the query.
// They are looked up when rows are read, so that a new name is shown for old rows too.
const (
	usageLabels  = apiLabel + `, '')` + moreLabels
	recordLabels = apiLabel + apiOnlyLabel + `, '')` + moreLabels

	apiLabel = `
		COALESCE((SELECT v.api_name FROM version v WHERE v.name = r.version),
			(SELECT f.display_name FROM former_name f WHERE f.name = r.version)`
	// apiOnlyLabel is for a refused handshake that led to no version: what any version of
	// its API says. Their names are those between apis/{api}/versions/ and its successor.
	apiOnlyLabel = `,
			(SELECT v.api_name FROM version v
				WHERE r.api <> '' AND v.name > r.api || '/versions/' AND v.name < r.api || '/versions0' LIMIT 1),
			(SELECT f.display_name FROM former_name f
				WHERE r.api <> '' AND f.name > r.api || '/versions/' AND f.name < r.api || '/versions0' LIMIT 1)`
	moreLabels = `,
		COALESCE((SELECT v.version FROM version v WHERE v.name = r.version),
			(SELECT f.version_string FROM former_name f WHERE f.name = r.version), ''),
		COALESCE((SELECT a.display_name FROM application a WHERE a.id = r.application),
			(SELECT f.display_name FROM former_name f WHERE f.name = 'applications/' || r.application),
			CASE WHEN r.application = '` + TryOut + `' THEN r.application ELSE '' END),
		COALESCE((SELECT u.username FROM users u WHERE u.id = r.application_owner),
			(SELECT f.display_name FROM former_name f WHERE f.name = 'users/' || r.application_owner), '')`
)

// keepFormerName remembers what users called a resource that is being deleted; version
// is the version string of a version, and else empty.
func keepFormerName(ctx context.Context, tx *change.Tx, name, displayName, version string) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO former_name (name, display_name, version_string, ended_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (name) DO UPDATE SET
			display_name = excluded.display_name, version_string = excluded.version_string, ended_at = excluded.ended_at`,
		name, displayName, version, tx.Time.UnixMicro())
	if err != nil {
		return fmt.Errorf("keep name of %s: %w", name, err)
	}
	return nil
}

// keepFormerUser remembers what users called a user who is being deleted and the
// applications that go along, and whose these were.
func keepFormerUser(ctx context.Context, tx *change.Tx, u User) error {
	if err := keepFormerName(ctx, tx, UserName(u.ID), u.Username, ""); err != nil {
		return err
	}
	for _, query := range []string{`
		INSERT INTO former_name (name, display_name, version_string, ended_at)
		SELECT 'applications/' || id, display_name, '', CAST($1 AS BIGINT) FROM application WHERE owner = $2`, `
		INSERT INTO former_owner (name, owner, ended_at)
		SELECT 'applications/' || id, owner, CAST($1 AS BIGINT) FROM application WHERE owner = $2`} {
		if _, err := tx.ExecContext(ctx, query, tx.Time.UnixMicro(), u.ID); err != nil {
			return fmt.Errorf("keep names of applications: %w", err)
		}
	}
	return nil
}
