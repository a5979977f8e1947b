package sqldb_test

import (
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// TestMigrationsWithOneNumber: two files of a part with one number are named, and nothing is
// migrated; those of two parts have nothing to do with each other.
func TestMigrationsWithOneNumber(t *testing.T) {
	t.Parallel()
	part := func(name string, files ...string) sqldb.Part {
		all := fstest.MapFS{}
		for _, file := range files {
			all["migrations/"+file] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE " + name + " (id TEXT);\n")}
		}
		return sqldb.Part{Name: name, Files: all}
	}
	good := sqldb.Schema{Service: "test", Parts: []sqldb.Part{part("one", "0001_a.sql"), part("two", "0001_b.sql")}}
	if err := good.Check(); err != nil {
		t.Errorf("Check = %v, want nothing", err)
	}
	url := "sqlite:" + filepath.Join(t.TempDir(), "x.db")
	for _, bad := range []struct {
		part sqldb.Part
		want string
	}{
		{part("two", "0001_b.sql", "0002_c.sql", "002_d.sql"), "migrations of two: 0002_c.sql and 002_d.sql have one number: give one of them another"},
		{part("two", "first.sql"), "read migrations of two: first.sql"},
	} {
		schema := sqldb.Schema{Service: "test", Parts: []sqldb.Part{part("one", "0001_a.sql"), bad.part}}
		clearLine(t, schema.Check(), bad.want)
		db, err := sqldb.OpenSchema(t.Context(), url, schema)
		if err == nil {
			db.Close()
		}
		clearLine(t, err, bad.want)
	}
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if has, err := sqldb.HasTable(t.Context(), db, "one"); err != nil || has {
		t.Errorf("after refusals HasTable(one) = %t, %v, want none", has, err)
	}
}
