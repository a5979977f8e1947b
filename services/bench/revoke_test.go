package bench

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// TestCalls ends a few sessions by calls, and buys and spends tickets: every way in every
// place, and every step on every database, gives a row. It does not check the figures.
func TestCalls(t *testing.T) {
	testdb.PostgresURL(t) // skips without a Postgres
	var out bytes.Buffer
	cfg := quick()
	cfg.Revoke, cfg.Tickets, cfg.Revoked = true, true, 7
	if err := Run(t.Context(), cfg, slog.New(slog.DiscardHandler), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	const ms, us = ` +\| \d+\.\d ms`, ` +\| \d+(\.\d+)? µs`
	process, replicas := ` +\| one process, SQLite`, ` +\| two replicas, Postgres`
	for _, row := range []string{
		`Revoke, the token of one session` + process + ` +\| 1 +\| 40` + strings.Repeat(ms, 3) + ` +\| 100\.0 ms`,
		`CloseSessions, the version's` + process + ` +\| 7 +\| 1` + strings.Repeat(ms, 3) + ` +\| 500\.0 ms`,
		`Revoke, the application` + process + ` +\| 7 +\| 1` + strings.Repeat(ms, 3) + ` +\| 500\.0 ms`,
		`Revoke, the token of one session` + replicas + ` +\| 1 +\| 40` + strings.Repeat(ms, 3) + ` +\| 100\.0 ms`,
		`Revoke, the application` + replicas + ` +\| 7 +\| 1` + strings.Repeat(ms, 3) + ` +\| 500\.0 ms`,
		withToken + ` +\| SQLite` + strings.Repeat(us, 4), buying + ` +\| SQLite` + strings.Repeat(us, 4), withTicket + ` +\| SQLite` + strings.Repeat(us, 4),
		withToken + ` +\| Postgres` + strings.Repeat(us, 4), buying + ` +\| Postgres` + strings.Repeat(us, 4), withTicket + ` +\| Postgres` + strings.Repeat(us, 4),
	} {
		if !regexp.MustCompile(`(?m)^\| ` + row + ` +\|$`).MatchString(out.String()) {
			t.Errorf("no row %s:\n%s", row, &out)
		}
	}
}

// TestCallsWithoutPostgres leaves out what needs Postgres, and says so.
func TestCallsWithoutPostgres(t *testing.T) {
	t.Setenv("TIDEGATE_TEST_POSTGRES_URL", "")
	t.Setenv("PGBIN", t.TempDir())
	var out, log bytes.Buffer
	cfg := quick()
	cfg.Tickets = true
	if err := Run(t.Context(), cfg, slog.New(slog.NewTextHandler(&log, nil)), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if !strings.Contains(log.String(), `msg="left out" database=Postgres reason="neither TIDEGATE_TEST_POSTGRES_URL nor`) {
		t.Errorf("the log does not say that Postgres is left out:\n%s", &log)
	}
	if !strings.Contains(out.String(), "| "+buying) || strings.Contains(out.String(), postgres) {
		t.Errorf("the tables are not those of SQLite alone:\n%s", &out)
	}
}
