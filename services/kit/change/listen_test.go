package change_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// never is an interval that no test waits for.
const never = time.Hour

// another returns the log of another replica, on which somebody watches: it knows
// only the changes that it hears of or finds by polling.
func another(db *sqldb.DB, log *slog.Logger, poll time.Duration) *change.Log {
	l := change.NewLog("test", db, log, time.Now, 0)
	change.SetPoll(l, poll)
	change.Watched(l)
	return l
}

// runLog runs a log until the test ends.
func runLog(t *testing.T, l *change.Log) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// knows waits until a log has learned of a change.
func knows(t *testing.T, l *change.Log, number uint64) {
	t.Helper()
	eventually(t, func() error {
		if n := change.Newest(l); n < number {
			return fmt.Errorf("the newest change known is %d, want %d", n, number)
		}
		return nil
	})
}

// listeners returns the process ids of the connections that listen.
func listeners(t *testing.T, db *sqldb.DB) []int64 {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `
		SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%' ORDER BY pid`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []int64
	for rows.Next() {
		var pid int64
		if err := rows.Scan(&pid); err != nil {
			t.Fatal(err)
		}
		all = append(all, pid)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// listening waits until want connections listen.
func listening(t *testing.T, db *sqldb.DB, want int) []int64 {
	t.Helper()
	var pids []int64
	eventually(t, func() error {
		if pids = listeners(t, db); len(pids) != want {
			return fmt.Errorf("%d connections listen, want %d", len(pids), want)
		}
		return nil
	})
	return pids
}

// On Postgres a replica hears of another one's commit without polling.
func TestReplicaHearsOfCommits(t *testing.T) {
	db := testdb.Postgres(t, schema)
	writer, other := change.NewLog("test", db, quiet(), time.Now, 0), another(db, quiet(), never)
	runLog(t, other)
	listening(t, db, 1)
	for i := range 5 {
		knows(t, other, mustAdd(t, writer, fmt.Sprint(i)))
	}
}

// A broken connection that listened is replaced, and what was committed in between
// is found then. Until it is replaced, polling finds it.
func TestListenerIsKilled(t *testing.T) {
	db := testdb.Postgres(t, schema)
	writer := change.NewLog("test", db, quiet(), time.Now, 0)
	reconnects := another(db, quiet(), never)
	looks := another(db, quiet(), 10*time.Millisecond)
	var down atomic.Bool
	change.WrapListen(looks, func(_ context.Context, listen func() error) error {
		if down.Load() {
			return errors.New("no connection")
		}
		return listen()
	})
	runLog(t, reconnects)
	runLog(t, looks)
	killed := listening(t, db, 2)
	down.Store(true)
	for _, pid := range killed {
		var ok bool
		if err := db.QueryRowContext(t.Context(), `SELECT pg_terminate_backend($1::int)`, pid).Scan(&ok); err != nil || !ok {
			t.Fatalf("terminate %d: %v, %v", pid, ok, err)
		}
	}
	n := mustAdd(t, writer, "a")
	knows(t, looks, n)
	knows(t, reconnects, n)
	down.Store(false)
	for _, pid := range listening(t, db, 2) {
		if pid == killed[0] || pid == killed[1] {
			t.Errorf("connection %d listens, which was killed", pid)
		}
	}
	knows(t, reconnects, mustAdd(t, writer, "b"))
}

// A log that cannot listen logs that once, tries again at growing intervals, and
// polls.
func TestLogThatCannotListen(t *testing.T) {
	bubble(t, func(t *testing.T, db *sqldb.DB) {
		var text bytes.Buffer
		l := another(db, slog.New(slog.NewTextHandler(&text, nil)), 100*time.Millisecond)
		var tries atomic.Int64
		change.WrapListen(l, func(context.Context, func() error) error {
			tries.Add(1)
			return errors.New("no connection")
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		time.Sleep(time.Minute)
		n := mustAdd(t, change.NewLog("test", db, quiet(), time.Now, 0), "a")
		time.Sleep(150 * time.Millisecond)
		if got := change.Newest(l); got != n {
			t.Errorf("newest change known = %d, want %d", got, n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		// Pauses of 0.1, 0.2, … 10 s, each shortened by up to a half.
		if got := tries.Load(); got < 12 || got > 22 {
			t.Errorf("%d tries in a minute, want 12 to 22", got)
		}
		if n := strings.Count(text.String(), "no connection"); n != 1 {
			t.Errorf("the log says it %d times, want once:\n%s", n, text.String())
		}
	})
}
