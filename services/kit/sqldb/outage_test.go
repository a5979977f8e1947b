package sqldb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// observed returns what db logs and counts from now on.
func observed(t *testing.T, db *sqldb.DB) (*bytes.Buffer, *prometheus.Registry) {
	t.Helper()
	log, reg := &bytes.Buffer{}, prometheus.NewRegistry()
	if err := db.Observe("test", slog.New(slog.NewTextHandler(log, nil)), reg); err != nil {
		t.Fatal(err)
	}
	return log, reg
}

// wantOutage checks what callers see of err, and what operators see of db.
func wantOutage(t *testing.T, err error, reason string, log *bytes.Buffer) {
	t.Helper()
	seen := sqldb.Fault(fmt.Errorf("write: %w", err))
	if s := status.Convert(seen); s.Code() != codes.Unavailable || fault.Reason(seen) != reason {
		t.Errorf("%v is %v with reason %q for callers, want UNAVAILABLE and %s", err, s.Code(), fault.Reason(seen), reason)
	}
	for _, secret := range []string{"SQL", "(", "127.0.0.1", "/", "53100", "25006"} {
		if text := status.Convert(seen).Message(); strings.Contains(text, secret) || !strings.Contains(text, "an operator ") {
			t.Errorf("callers see %q, want what an operator does, and no %q", text, secret)
		}
	}
	if !strings.Contains(log.String(), "reason="+reason) || !strings.Contains(log.String(), " error=") {
		t.Errorf("log = %q, want %s and its cause", log.String(), reason)
	}
}

// wantReadable checks that db can be read, and says why nothing is written.
func wantReadable(t *testing.T, db *sqldb.DB, reason string) {
	t.Helper()
	var n int
	if err := errors.Join(db.Ping(t.Context()), db.QueryRowContext(t.Context(), `SELECT count(*) FROM thing`).Scan(&n)); err != nil {
		t.Errorf("reading: %v", err)
	}
	if err := db.Writable(); err == nil || !strings.HasPrefix(err.Error(), reason+": ") {
		t.Errorf("Writable = %v, want %s", err, reason)
	}
}

const big = `INSERT INTO thing (id, name) VALUES ($1, $2)`

// TestFullSQLite fills a file that may not grow, and lets it grow again.
func TestFullSQLite(t *testing.T) {
	db := testdb.Open(t, "sqlite:"+filepath.Join(t.TempDir(), "full.db"))
	must(t, db, `CREATE TABLE thing (id TEXT PRIMARY KEY, name TEXT NOT NULL)`)
	must(t, db, `PRAGMA max_page_count = 4`)
	log, reg := observed(t, db)
	if err := db.Writable(); err != nil {
		t.Errorf("Writable = %v before anything was refused", err)
	}
	_, err := db.ExecContext(t.Context(), big, "a", strings.Repeat("x", 1<<16))
	wantOutage(t, err, fault.ReasonDatabaseFull, log)
	inTx := db.InTx(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.ExecContext(t.Context(), big, "b", strings.Repeat("x", 1<<16))
		return err
	})
	wantOutage(t, inTx, fault.ReasonDatabaseFull, log)
	wantReadable(t, db, fault.ReasonDatabaseFull)
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("two failures make %d lines, want 1: %s", n, log)
	}
	want := `
		# HELP tidegate_database_failures_total Statements that failed because the database is away, full or read-only.
		# TYPE tidegate_database_failures_total counter
		tidegate_database_failures_total{reason="DATABASE_FULL",service="test"} 2
		tidegate_database_failures_total{reason="DATABASE_READ_ONLY",service="test"} 0
		tidegate_database_failures_total{reason="DATABASE_UNREACHABLE",service="test"} 0
		# HELP tidegate_database_writable 1 while the database takes writes, 0 while it refuses them.
		# TYPE tidegate_database_writable gauge
		tidegate_database_writable{service="test"} 0
	`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// TestReadOnly makes a database read-only whose handle is open.
func TestReadOnly(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		db := testdb.SQLite(t, things())
		log, _ := observed(t, db)
		must(t, db, `PRAGMA query_only = 1`) // there is one connection that writes
		_, err := db.ExecContext(t.Context(), big, "a", "b")
		wantOutage(t, err, fault.ReasonDatabaseReadOnly, log)
		wantReadable(t, db, fault.ReasonDatabaseReadOnly)
	})
	t.Run("postgres", func(t *testing.T) {
		url := testdb.PostgresURL(t)
		first := testdb.Open(t, url)
		must(t, first, `CREATE TABLE thing (id TEXT PRIMARY KEY, name TEXT NOT NULL)`)
		must(t, first, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
		t.Cleanup(func() {
			must(t, first, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$`)
		})
		db := testdb.Open(t, url)
		log, _ := observed(t, db)
		err := db.InTx(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.ExecContext(t.Context(), big, "a", "b")
			return err
		})
		wantOutage(t, err, fault.ReasonDatabaseReadOnly, log)
		wantReadable(t, db, fault.ReasonDatabaseReadOnly)
	})
}

// TestFullPostgres has the server say that its disk is full.
func TestFullPostgres(t *testing.T) {
	db := testdb.Postgres(t, things())
	must(t, db, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$`)
	must(t, db, `CREATE TRIGGER full_disk BEFORE INSERT ON thing FOR EACH ROW EXECUTE FUNCTION full_disk()`)
	log, _ := observed(t, db)
	_, err := db.ExecContext(t.Context(), big, "a", "b")
	wantOutage(t, err, fault.ReasonDatabaseFull, log)
	wantReadable(t, db, fault.ReasonDatabaseFull)
}

// TestUnreachablePostgres takes the way to a server away, and gives it back.
func TestUnreachablePostgres(t *testing.T) {
	p := startProxy(t, testdb.PostgresURL(t))
	db := testdb.Open(t, p.url)
	must(t, db, `CREATE TABLE thing (id TEXT PRIMARY KEY, name TEXT NOT NULL)`)
	log, _ := observed(t, db)
	p.stop()
	for range 3 { // first on connections that were open, then on none
		_, err := db.ExecContext(t.Context(), big, "a", "b")
		wantOutage(t, err, fault.ReasonDatabaseUnreachable, log)
		var n int
		err = db.QueryRowContext(t.Context(), `SELECT count(*) FROM thing`).Scan(&n)
		wantOutage(t, err, fault.ReasonDatabaseUnreachable, log)
	}
	if err := db.Ping(t.Context()); err == nil {
		t.Error("Ping = nil without a server")
	}
	if n := strings.Count(log.String(), "\n"); n > 2 {
		t.Errorf("the log has %d lines, want one each of reading and writing: %s", n, log)
	}
	p.start(t)
	if _, err := db.ExecContext(t.Context(), big, "a", "b"); err != nil {
		t.Errorf("with the server back: %v", err)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("with the server back: %v", err)
	}
}

// TestCutPostgres ends a connection as a server does that stops.
func TestCutPostgres(t *testing.T) {
	db := testdb.Postgres(t, things())
	log, _ := observed(t, db)
	err := db.InTx(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.ExecContext(t.Context(), `SELECT pg_terminate_backend(pg_backend_pid())`)
		return err
	})
	wantOutage(t, err, fault.ReasonDatabaseUnreachable, log)
}

// TestOtherErrorsAreNoOutage shows what Fault leaves alone.
func TestOtherErrorsAreNoOutage(t *testing.T) {
	testdb.Each(t, things(), func(t *testing.T, db *sqldb.DB) {
		log, _ := observed(t, db)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, canceled := db.ExecContext(ended, big, "a", "b")
		_, wrong := db.ExecContext(t.Context(), `INSERT INTO nothing (id) VALUES ('a')`)
		for _, err := range []error{canceled, wrong, io.EOF, nil} {
			if got := sqldb.Fault(err); got != nil {
				t.Errorf("Fault(%v) = %v, want nil", err, got)
			}
		}
		if err := db.Writable(); err != nil || log.Len() > 0 {
			t.Errorf("Writable = %v, log %q, want neither", err, log)
		}
	})
}

// TestWritableAgain shows what ends an outage: a write that changes something, some time
// after the last failure.
func TestWritableAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "again.db")
	synctest.Test(t, func(t *testing.T) {
		db := testdb.Open(t, "sqlite:"+path)
		must(t, db, `CREATE TABLE thing (id TEXT PRIMARY KEY, name TEXT NOT NULL)`)
		log, _ := observed(t, db)
		must(t, db, `PRAGMA query_only = 1`)
		if _, err := db.ExecContext(t.Context(), big, "a", "b"); err == nil {
			t.Error("a write to a read-only database succeeds")
		}
		must(t, db, `PRAGMA query_only = 0`)
		must(t, db, `INSERT INTO thing (id, name) VALUES ('a', 'b')`)
		if db.Writable() == nil {
			t.Error("a success right after the failure ends the outage")
		}
		time.Sleep(20 * time.Second)
		must(t, db, `DELETE FROM thing WHERE id = 'none'`)
		if db.Writable() == nil {
			t.Error("a write that changes nothing ends the outage")
		}
		must(t, db, `DELETE FROM thing`)
		if err := db.Writable(); err != nil || !strings.Contains(log.String(), `msg="works again" what="the database cannot be written"`) {
			t.Errorf("Writable = %v, log %s, want that it works again", err, log)
		}
	})
}

// proxy is the way to a Postgres server, which can be closed.
type proxy struct {
	url, addr       string
	network, server string

	mu    sync.Mutex
	lis   net.Listener
	conns []net.Conn
	wg    sync.WaitGroup
}

// startProxy returns a proxy of the server of a database.
func startProxy(t *testing.T, database string) *proxy {
	t.Helper()
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: "127.0.0.1:0"}
	p.network, p.server = pgconn.NetworkAddress(cfg.Host, cfg.Port)
	p.start(t)
	t.Cleanup(func() {
		p.stop()
		p.wg.Wait()
	})
	p.addr = p.lis.Addr().String()
	u := &url.URL{Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: p.addr, Path: "/" + cfg.Database}
	q := url.Values{"sslmode": {"disable"}}
	if path := cfg.RuntimeParams["search_path"]; path != "" {
		q.Set("search_path", path)
	}
	u.RawQuery = q.Encode()
	p.url = u.String()
	return p
}

// start accepts connections.
func (p *proxy) start(t *testing.T) {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.lis = lis
	p.wg.Go(func() {
		for {
			from, err := lis.Accept()
			if err != nil {
				return
			}
			to, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), p.network, p.server)
			if err != nil {
				from.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, from, to)
			p.mu.Unlock()
			p.wg.Go(func() { _, _ = io.Copy(to, from); to.Close() })
			p.wg.Go(func() { _, _ = io.Copy(from, to); from.Close() })
		}
	})
}

// stop accepts no more connections, and closes those that there are.
func (p *proxy) stop() {
	p.lis.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// things is a schema with one table.
func things() sqldb.Schema {
	return schemaOf(step{"0001_thing.sql", "-- +goose Up\nCREATE TABLE thing (id TEXT PRIMARY KEY, name TEXT NOT NULL);\n"})
}

// must runs a statement.
func must(t *testing.T, db *sqldb.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(context.WithoutCancel(t.Context()), statement); err != nil {
		t.Errorf("%s: %v", statement, err)
	}
}
