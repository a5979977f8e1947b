package sqldb_test

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// notify commits a transaction that notifies a channel.
func notify(t *testing.T, db *sqldb.DB, channel string) {
	t.Helper()
	if err := db.InTx(t.Context(), func(tx *sqldb.Tx) error { return tx.Notify(t.Context(), channel) }); err != nil {
		t.Fatal(err)
	}
}

// Listen hears of commits that notify its channel in its schema, and of no others.
func TestListen(t *testing.T) {
	address := testdb.PostgresURL(t)
	db := testdb.Open(t, address)
	if _, err := db.ExecContext(t.Context(), `CREATE SCHEMA other`); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", "other")
	u.RawQuery = q.Encode()
	other := testdb.Open(t, u.String())

	ctx, cancel := context.WithCancel(t.Context())
	heard, done := make(chan struct{}, 10), make(chan error)
	go func() { done <- db.Listen(ctx, `a "channel"`, func() { heard <- struct{}{} }) }()
	<-heard // it listens
	stop := errors.New("stop")
	err = db.InTx(t.Context(), func(tx *sqldb.Tx) error {
		return errors.Join(tx.Notify(t.Context(), `a "channel"`), stop)
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	notify(t, db, "another channel")
	notify(t, other, `a "channel"`)
	notify(t, db, `a "channel"`)
	<-heard
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Listen = %v, want nil", err)
	}
	if n := len(heard); n != 0 {
		t.Errorf("heard %d times more than once: of a rollback, another channel or another schema", n)
	}
	if _, err := db.ExecContext(t.Context(), `DROP SCHEMA other`); err != nil {
		t.Fatal(err)
	}
}

func TestListenOnSQLite(t *testing.T) {
	db := testdb.SQLite(t, schema)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- db.Listen(ctx, "channel", func() { t.Error("heard something") }) }()
	notify(t, db, "channel")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Listen = %v, want nil", err)
	}
}

func TestListenSaysWhyItEnds(t *testing.T) {
	db := testdb.Open(t, testdb.PostgresURL(t))
	done := make(chan error)
	heard := make(chan struct{})
	go func() { done <- db.Listen(t.Context(), "channel", func() { heard <- struct{}{} }) }()
	<-heard
	_, err := db.ExecContext(t.Context(), `
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("Listen = nil after its connection was killed, want an error")
	}
}
