package testdb_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

var schema = sqldb.Schema{Service: "test", Parts: []sqldb.Part{{Name: "test", Files: fstest.MapFS{
	"migrations/0001_thing.sql": {Data: []byte("-- +goose Up\nCREATE TABLE thing (id TEXT PRIMARY KEY);\n")},
}}}}

func TestEachGivesEmptyMigratedDatabases(t *testing.T) {
	for range 2 { // the second round must not see the first one's rows
		testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
			if _, err := db.ExecContext(t.Context(), `INSERT INTO thing (id) VALUES ('a')`); err != nil {
				t.Fatalf("insert: %v", err)
			}
			var n int
			if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM thing`).Scan(&n); err != nil || n != 1 {
				t.Errorf("count = %d, %v, want 1", n, err)
			}
		})
	}
}

func TestPostgresIsEmpty(t *testing.T) {
	db := testdb.Open(t, testdb.PostgresURL(t))
	var n int
	err := db.QueryRowContext(t.Context(), `
		SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()`).Scan(&n)
	if err != nil || n != 0 {
		t.Errorf("tables = %d, %v, want 0", n, err)
	}
}

// TestClusterEndsWithItsProcess runs itself as another process, kills that and
// waits until its cluster's folder is gone.
func TestClusterEndsWithItsProcess(t *testing.T) {
	if os.Getenv("TESTDB_CHILD") == "1" {
		db := testdb.Open(t, testdb.PostgresURL(t))
		var folder string
		if err := db.QueryRowContext(t.Context(), `SHOW unix_socket_directories`).Scan(&folder); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("folder=" + folder + "\n")
		select {}
	}
	if os.Getenv("TIDEGATE_TEST_POSTGRES_URL") != "" {
		t.Skip("TIDEGATE_TEST_POSTGRES_URL is set: there is no cluster")
	}
	testdb.PostgresURL(t) // skips without a Postgres
	cmd := exec.Command(os.Args[0], "-test.run=^TestClusterEndsWithItsProcess$")
	cmd.Env = append(os.Environ(), "TESTDB_CHILD=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	buf := make([]byte, 1024)
	for !strings.HasSuffix(text.String(), "\n") || !strings.Contains(text.String(), "folder=") {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("child: %v: %s", err, text.String())
		}
		text.Write(buf[:n])
	}
	_, folder, _ := strings.Cut(strings.TrimSpace(text.String()), "folder=")
	pid, err := os.ReadFile(filepath.Join(folder, "data", "postmaster.pid"))
	if err != nil {
		t.Fatalf("the cluster does not run: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
			return
		}
		time.Sleep(10 * time.Millisecond) // waits for another process
	}
	t.Errorf("the folder %s of a killed process is still there, server %s", folder, pid)
}
