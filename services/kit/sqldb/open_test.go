package sqldb_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

func TestOpenRefusesInOneClearLine(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	garbage := write("garbage.db", bytes.Repeat([]byte("no database "), 500))
	damaged := write("damaged.db", damage(t, dir))
	for _, tt := range []struct{ url, want string }{
		{"", "the URL must start with postgres:// or sqlite:"},
		{"mysql://u:secret@h/db", "the URL must start with postgres:// or sqlite:"},
		{"sqlite:", "needs the path of a file"},
		{"sqlite:" + dir + "/none/x.db", "the folder " + dir + "/none does not exist"},
		{"sqlite:" + dir, "it is a folder, not a file"},
		{"sqlite:" + garbage + "/x.db", garbage + " is not a folder"},
		{"sqlite:" + garbage, "the file is damaged or not a database"},
		{"sqlite:" + damaged, "the file is damaged"},
		{"postgres://u:secret@h:port/db", "not a valid postgres:// URL"},
		{"postgres://u:secret@" + refused + "/db?sslmode=disable", "connection refused"},
	} {
		db, err := sqldb.Open(t.Context(), tt.url)
		if err == nil {
			db.Close()
			t.Errorf("Open(%q) = nil, want %q", tt.url, tt.want)
			continue
		}
		clearLine(t, err, tt.want)
	}
}

func TestOpenRefusesAFolderThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		dir = "/proc" // not even root makes a file there
	} else if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(dir, "x.db"))
	if err == nil {
		db.Close()
		t.Fatal("Open = nil, want an error")
	}
	clearLine(t, err, dir)
}

func TestOpenPostgresRefusals(t *testing.T) {
	url := testdb.PostgresURL(t)
	if os.Getenv("TIDEGATE_TEST_POSTGRES_URL") != "" {
		t.Skip("TIDEGATE_TEST_POSTGRES_URL is set: what it refuses is not known")
	}
	_, query, _ := strings.Cut(url, "?")
	for _, tt := range []struct{ url, want string }{
		{"postgres://tidegate:secret@/nowhere?" + query, `there is no database "nowhere"`},
		{"postgres://stranger:secret@/postgres?" + query, `user "stranger" may not connect`},
	} {
		db, err := sqldb.Open(t.Context(), tt.url)
		if err == nil {
			db.Close()
			t.Errorf("Open(%q) = nil, want %q", tt.url, tt.want)
			continue
		}
		clearLine(t, err, tt.want)
	}
}

// clearLine checks an error's text: what is wanted, no secret, one line.
func clearLine(t *testing.T, err error, want string) {
	t.Helper()
	text := err.Error()
	if !strings.Contains(text, want) {
		t.Errorf("error = %q, want it to contain %q", text, want)
	}
	for _, bad := range []string{"secret", "\n", "SQLITE", "sqlite3", "pgconn", "SQLSTATE 2"} {
		if strings.Contains(text, bad) {
			t.Errorf("error = %q, it contains %q", text, bad)
		}
	}
}

// refused is an address on which nobody listens. A free port could be taken by
// another process at any moment; nobody takes port 1.
const refused = "127.0.0.1:1"

// damage makes a database file with a hole in it, and returns its contents.
func damage(t *testing.T, dir string) []byte {
	t.Helper()
	path := filepath.Join(dir, "sound.db")
	db, err := sqldb.Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if err := sqldb.Migrate(t.Context(), db, schema); err != nil {
		t.Fatal(err)
	}
	for i := range int64(500) {
		if err := add(t.Context(), db, strings.Repeat("x", 100)+string(rune('a'+i%26))+strings.Repeat("y", int(i)), i); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(data[len(data)/2:], bytes.Repeat([]byte{0xaa}, 9000))
	return data
}

func TestSQLiteFileIsItsOwnersOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b%20?#.db")
	db := testdb.Open(t, "sqlite:"+path)
	if err := sqldb.Migrate(t.Context(), db, schema); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
		t.Errorf("Stat = %v, %v, want a file with mode 0600", info, err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if info, err := os.Stat(path + suffix); err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("mode of %s = %v, want 0600", suffix, info.Mode().Perm())
		}
	}
}

func TestPing(t *testing.T) {
	testdb.Each(t, sqldb.Schema{}, func(t *testing.T, db *sqldb.DB) {
		if err := db.Ping(t.Context()); err != nil {
			t.Errorf("Ping = %v, want nil", err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(t.Context()); err == nil || err.Error() != "the database does not answer" {
			t.Errorf("Ping of a closed database = %v, want that it does not answer", err)
		}
	})
}

func TestCheckURL(t *testing.T) {
	for url, ok := range map[string]bool{
		"sqlite:x.db": true, "sqlite:": false, "": false, "x.db": false,
		"postgres://u:p@h:5432/db": true, "postgres://h:x/db": false, "postgresql://h/db": true,
	} {
		if err := sqldb.CheckURL(url); (err == nil) != ok {
			t.Errorf("CheckURL(%q) = %v, want ok %v", url, err, ok)
		}
	}
}

func TestSame(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"sqlite:x.db", "sqlite:./y/../x.db", true},
		{"sqlite:x.db", "sqlite:y.db", false},
		{"sqlite:x.db", "postgres://h/x.db", false},
		{"postgres://h/db", "postgresql://h:5432/db?connect_timeout=3", true},
		{"postgres://h/db", "postgres://h/other", false},
		{"postgres://h/db", "postgres://other/db", false},
		{"postgres://h:1/db", "postgres://h:2/db", false},
		{"postgres://u@h/db", "postgres://v@h/db", false},
		{"postgres://h/db?search_path=a", "postgres://h/db?search_path=b", false},
		{"x", "x", false},
	} {
		if got := sqldb.Same(tt.a, tt.b); got != tt.want {
			t.Errorf("Same(%q, %q) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestMigrateTwiceAndMore(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		if err := sqldb.Migrate(t.Context(), db, schema); err != nil {
			t.Errorf("again: %v", err)
		}
		more := schemaOf(step{"0001_tables.sql", tables},
			step{"0002_more.sql", "-- +goose Up\nALTER TABLE parent ADD COLUMN note TEXT NOT NULL DEFAULT '';\n"})
		more.Parts = append(more.Parts, partOf("other", step{"0001_other.sql", "-- +goose Up\nCREATE TABLE other (id TEXT);\n"}))
		if err := sqldb.Migrate(t.Context(), db, more); err != nil {
			t.Errorf("one step and one part more: %v", err)
		}
		err := sqldb.Migrate(t.Context(), db, schema)
		if err == nil {
			t.Fatal("an older build: nil, want an error")
		}
		clearLine(t, err, "the test schema of this database is version 2 and this build knows up to 1: start a newer build")
	})
}

// A database from a release that cannot be upgraded is refused in one sentence, and
// stays unchanged.
func TestOlderReleaseIsRefused(t *testing.T) {
	testdb.Each(t, sqldb.Schema{}, func(t *testing.T, db *sqldb.DB) {
		_, err := db.ExecContext(t.Context(), `CREATE TABLE goose_db_version (id BIGINT PRIMARY KEY, version_id BIGINT NOT NULL)`)
		if err != nil {
			t.Fatal(err)
		}
		err = sqldb.Migrate(t.Context(), db, schema)
		if err == nil {
			t.Fatal("Migrate = nil, want an error")
		}
		clearLine(t, err, "this database is from an older release and cannot be upgraded: move the data folder (on Postgres, the schema) away")
		for _, table := range []string{"parent", "database_owner", "test_schema_version"} {
			if there, err := sqldb.HasTable(t.Context(), db, table); err != nil || there {
				t.Errorf("HasTable(%s) = %v, %v after the refusal, want false", table, there, err)
			}
		}
	})
}

// TestOwners opens databases for the services that own them and for others.
// CheckSchema refuses the same, and a refusal changes nothing.
func TestOwners(t *testing.T) {
	ours := schema
	theirs := sqldb.Schema{Service: "other", Parts: []sqldb.Part{partOf("other",
		step{"0001_other.sql", "-- +goose Up\nCREATE TABLE other (id TEXT);\n"})}}
	for _, tt := range []struct {
		name   string
		before sqldb.Schema // what is there
		schema sqldb.Schema
		want   string
	}{
		{"nobody's", sqldb.Schema{}, ours, ""},
		{"its own", ours, ours, ""},
		{"another's", ours, theirs, "this database belongs to the test service"},
	} {
		urls := map[string]func(*testing.T) string{
			"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "x.db") },
			"postgres": func(t *testing.T) string { return testdb.PostgresURL(t) },
		}
		for engine, newURL := range urls {
			t.Run(tt.name+"/"+engine, func(t *testing.T) {
				url := newURL(t)
				if tt.before.Parts != nil {
					prepare(t, url, tt.before)
				}
				errs := []error{sqldb.CheckSchema(t.Context(), url, tt.schema)}
				for range 2 {
					db, err := sqldb.OpenSchema(t.Context(), url, tt.schema)
					if err == nil {
						db.Close()
					}
					errs = append(errs, err)
				}
				for _, err := range errs {
					if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
						t.Errorf("CheckSchema, OpenSchema twice = %q, want %q each", errs, tt.want)
					}
				}
				if tt.want != "" {
					if err := sqldb.CheckSchema(t.Context(), url, tt.before); err != nil {
						t.Errorf("after the refusals its owner is refused: %v", err)
					}
				}
			})
		}
	}
}

// prepare makes a database.
func prepare(t *testing.T, url string, schema sqldb.Schema) {
	t.Helper()
	db, err := sqldb.OpenSchema(t.Context(), url, schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// Two services start at once on one empty database: one of them gets it.
func TestTwoServicesMigrateAtOnce(t *testing.T) {
	testdb.Each(t, sqldb.Schema{}, func(t *testing.T, db *sqldb.DB) {
		errs := make(chan error, 2)
		for _, service := range []string{"one", "two"} {
			go func() {
				errs <- sqldb.Migrate(t.Context(), db, sqldb.Schema{Service: service, Parts: schema.Parts})
			}()
		}
		first, second := <-errs, <-errs
		if first == nil {
			first, second = second, first
		}
		if second != nil || first == nil {
			t.Fatalf("Migrate = %v, %v, want one refusal", first, second)
		}
		clearLine(t, first, "this database belongs to the ")
	})
}

func TestMigrateInterrupted(t *testing.T) {
	testdb.Each(t, sqldb.Schema{}, func(t *testing.T, db *sqldb.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := sqldb.Migrate(ctx, db, schema); !errors.Is(err, context.Canceled) {
			t.Errorf("Migrate = %v, want that it was interrupted", err)
		}
	})
}

func TestMigrateReportsTheStep(t *testing.T) {
	bad := schemaOf(step{"0001_tables.sql", tables},
		step{"0002_bad.sql", "-- +goose Up\nCREATE TABLE good (id TEXT);\nINSERT INTO nowhere (id) VALUES (1);\n"})
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		err := sqldb.Migrate(t.Context(), db, bad)
		if err == nil || !strings.Contains(err.Error(), "0002_bad.sql") {
			t.Errorf("Migrate = %v, want the step's name", err)
		}
		if _, err := db.ExecContext(t.Context(), `INSERT INTO good (id) VALUES ('a')`); err == nil {
			t.Error("half a step was kept")
		}
	})
}

// Several replicas start at once on an empty database.
func TestReplicasMigrateAtOnce(t *testing.T) {
	urls := map[string]string{
		"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "x.db"),
	}
	for name, url := range urls {
		t.Run(name, func(t *testing.T) { migrateAtOnce(t, url) })
	}
	t.Run("postgres", func(t *testing.T) { migrateAtOnce(t, testdb.PostgresURL(t)) })
}

func migrateAtOnce(t *testing.T, url string) {
	var wg sync.WaitGroup
	for range 4 {
		db := testdb.Open(t, url)
		wg.Go(func() {
			if err := sqldb.Migrate(context.WithoutCancel(t.Context()), db, schema); err != nil {
				t.Errorf("Migrate: %v", err)
			}
		})
	}
	wg.Wait()
}

// modernc.org/libc must be exactly the version that modernc.org/sqlite requires.
func TestLibcIsTheOneThatSQLiteNames(t *testing.T) {
	version := func(module string, args ...string) string {
		out, err := exec.Command("go", append([]string{"list", "-m", "-f", "{{.Version}}"}, append(args, module)...)...).Output()
		if err != nil {
			t.Fatalf("go list %s: %v", module, err)
		}
		return strings.TrimSpace(string(out))
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.GoMod}}", "modernc.org/sqlite").Output()
	if err != nil {
		t.Fatalf("go list modernc.org/sqlite: %v", err)
	}
	text, err := os.ReadFile(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	var want string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) >= 2 && f[0] == "modernc.org/libc" {
			want = f[1]
		}
	}
	if got := version("modernc.org/libc"); got != want || want == "" {
		t.Errorf("modernc.org/libc is %s, modernc.org/sqlite names %s", got, want)
	}
}
