// Package testdb gives tests empty, migrated databases on both engines, which go
// away with the test.
package testdb

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Each runs a test on SQLite and on Postgres, as subtests. Where there is no
// Postgres its half is skipped and says why; with TIDEGATE_REQUIRE_POSTGRES=1
// that is a failure.
func Each(t *testing.T, migrations fs.FS, test func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t, migrations)) })
	t.Run("postgres", func(t *testing.T) { test(t, PostgresDB(t, migrations)) })
}

// SQLite returns a migrated database in a file of the test's own.
func SQLite(t testing.TB, migrations fs.FS) *sqldb.DB {
	t.Helper()
	db := open(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"))
	migrate(t, db, migrations)
	return db
}

// PostgresDB returns a migrated database of the test's own.
func PostgresDB(t testing.TB, migrations fs.FS) *sqldb.DB {
	t.Helper()
	s := require(t)
	if s.cluster == nil {
		db := open(t, s.schema(t))
		migrate(t, db, migrations)
		return db
	}
	template, err := s.cluster.template(t.Context(), migrations)
	if err != nil {
		t.Fatalf("make template database: %v", err)
	}
	return open(t, s.cluster.database(t, template))
}

// Postgres returns the URL of an empty database of the test's own.
func Postgres(t testing.TB) string {
	t.Helper()
	s := require(t)
	if s.cluster == nil {
		return s.schema(t)
	}
	return s.cluster.database(t, "template0")
}

// Open opens a second handle to the database at url, closed with the test.
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

func migrate(t testing.TB, db *sqldb.DB, migrations fs.FS) {
	t.Helper()
	if migrations == nil {
		return
	}
	if err := sqldb.Migrate(context.WithoutCancel(t.Context()), db, schemaOf(migrations)); err != nil {
		t.Fatalf("Migrate: %v", err)
	}
}

// schemaOf returns migrations as the schema of a service that there is in tests
// only.
func schemaOf(migrations fs.FS) sqldb.Schema {
	return sqldb.Schema{Service: "test", Files: migrations}
}
