package testdb_test

import (
	"net/url"
	"os"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// TestServer has a server of its own: its databases are empty and apart, a commit waits for
// the disk, and nothing is left after its end.
func TestServer(t *testing.T) {
	testdb.PostgresURL(t) // skips without a Postgres
	s, err := testdb.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if s != nil {
			s.Stop()
		}
	}()
	var made []string
	for range 2 {
		made = append(made, databaseOf(t, s))
	}
	for _, u := range made {
		db := testdb.Open(t, u)
		if _, err := db.ExecContext(t.Context(), `CREATE TABLE thing (id TEXT PRIMARY KEY)`); err != nil {
			t.Errorf("a second database is not apart from the first, or not empty: %v", err)
		}
		if os.Getenv("TIDEGATE_TEST_POSTGRES_URL") != "" {
			continue
		}
		for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
			var value string
			if err := db.QueryRowContext(t.Context(), "SHOW "+setting).Scan(&value); err != nil || value != "on" {
				t.Errorf("%s = %q, %v, want on", setting, value, err)
			}
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	u, err := url.Parse(made[0])
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s = nil
	if folder := u.Query().Get("host"); folder != "" && os.Getenv("TIDEGATE_TEST_POSTGRES_URL") == "" {
		if _, err := os.Stat(folder); !os.IsNotExist(err) {
			t.Errorf("after Stop the folder %s is still there: %v", folder, err)
		}
	}
}

func databaseOf(t *testing.T, s *testdb.Server) string {
	t.Helper()
	u, err := s.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return u
}
