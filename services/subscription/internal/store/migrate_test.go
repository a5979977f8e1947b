package store_test

import (
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// before returns the schema as it was before a migration.
func before(t *testing.T, migration string) sqldb.Schema {
	t.Helper()
	schema := store.Schema()
	schema.Parts = slices.Clone(schema.Parts)
	own := &schema.Parts[len(schema.Parts)-1]
	names, err := fs.Glob(own.Files, "migrations/*.sql")
	ok(t, err)
	files := fstest.MapFS{}
	for _, name := range names {
		if name < "migrations/"+migration {
			text, err := fs.ReadFile(own.Files, name)
			ok(t, err)
			files[name] = &fstest.MapFile{Data: text}
		}
	}
	own.Files = files
	return schema
}

// TestRevocationsMoveToTheVersion upgrades a database in which a revocation at a version stands
// at the subscription: it holds on, and the subscription that has none gets none.
func TestRevocationsMoveToTheVersion(t *testing.T) {
	testdb.Each(t, before(t, "0007_revocation.sql"), func(t *testing.T, db *sqldb.DB) {
		for _, statement := range []string{
			`INSERT INTO users (id, username, username_fold, display_name, roles, admin, state, search, password, signed_in_at, created_at, updated_at, etag)
				VALUES ('ann', 'ann', 'ann', '', '', FALSE, 1, '', '', 0, 0, 0, 1)`,
			`INSERT INTO application (id, owner, display_name, name_fold, name_skeleton, name_ascii, description, plan, created_at, updated_at, etag)
				VALUES ('chat', 'ann', 'Chat', 'chat', 'chat', TRUE, '', '', 0, 0, 1)`,
			`INSERT INTO version (name, api, api_name, context, version, owner, published, plans, subscriptionless, production, sandbox, change_number)
				VALUES ('v1', 'a', '', '', '', 'ann', TRUE, '', FALSE, TRUE, FALSE, 1), ('v2', 'a', '', '', '', 'ann', TRUE, '', FALSE, TRUE, FALSE, 1)`,
			`INSERT INTO subscription (id, application, application_owner, version, version_owner, plan, blocked, created_at, updated_at, etag, revoked)
				VALUES ('s1', 'chat', 'ann', 'v1', 'ann', '', FALSE, 0, 0, 1, 7), ('s2', 'chat', 'ann', 'v2', 'ann', '', FALSE, 0, 0, 1, 0)`,
		} {
			_, err := db.ExecContext(t.Context(), statement)
			ok(t, err)
		}
		ok(t, sqldb.Migrate(t.Context(), db, store.Schema()))
		var application, version string
		var revoked int
		ok(t, db.QueryRowContext(t.Context(), `SELECT application, version, revoked FROM revoked_at_version`).Scan(&application, &version, &revoked))
		if application != "chat" || version != "v1" || revoked != 7 {
			t.Errorf("the revocation is of %s at %s by change %d, want chat at v1 by change 7", application, version, revoked)
		}
		var n int
		ok(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM revoked_at_version`).Scan(&n))
		if n != 1 {
			t.Errorf("%d revocations, want 1", n)
		}
	})
}
