// Package testdb gives tests empty, migrated databases on both engines, which go
// away with the test. Postgres is the server at TIDEGATE_TEST_POSTGRES_URL, or one
// that the test process starts from installed binaries.
package testdb

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Each runs a test on SQLite and on Postgres, as subtests, each in a database with
// the schema; a schema without parts leaves it empty. Without a Postgres its half
// is skipped and says why; with TIDEGATE_REQUIRE_POSTGRES=1 it fails.
func Each(t *testing.T, schema sqldb.Schema, test func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t, schema)) })
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t, schema)) })
}

// SQLite returns a migrated database in a file of the test's own.
func SQLite(t testing.TB, schema sqldb.Schema) *sqldb.DB {
	t.Helper()
	db := open(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"))
	migrate(t, db, schema)
	return db
}

// Postgres returns a migrated database of the test's own.
func Postgres(t testing.TB, schema sqldb.Schema) *sqldb.DB {
	t.Helper()
	s := require(t)
	if s.cluster == nil {
		db := open(t, s.schema(t))
		migrate(t, db, schema)
		return db
	}
	template, err := s.cluster.template(t.Context(), schema)
	if err != nil {
		t.Fatalf("make template database: %v", err)
	}
	return open(t, s.cluster.database(t, template))
}

// PostgresURL returns the URL of an empty database of the test's own.
func PostgresURL(t testing.TB) string {
	t.Helper()
	s := require(t)
	if s.cluster == nil {
		return s.schema(t)
	}
	return s.cluster.database(t, "template0")
}

// Open opens another handle to the database at url, which is closed with the test.
func Open(t testing.TB, url string) *sqldb.DB {
	t.Helper()
	return open(t, url)
}

// require returns the Postgres of this process, or skips the test.
func require(t testing.TB) server {
	t.Helper()
	s, err := shared()
	if err == nil {
		return s
	}
	if os.Getenv("TIDEGATE_REQUIRE_POSTGRES") == "1" {
		t.Fatalf("no Postgres, and TIDEGATE_REQUIRE_POSTGRES=1: %v", err)
	}
	t.Skipf("no Postgres: %v", err)
	return server{}
}

func open(t testing.TB, url string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return db
}

func migrate(t testing.TB, db *sqldb.DB, schema sqldb.Schema) {
	t.Helper()
	if len(schema.Parts) == 0 {
		return
	}
	if err := sqldb.Migrate(context.WithoutCancel(t.Context()), db, schema); err != nil {
		t.Fatalf("Migrate: %v", err)
	}
}
