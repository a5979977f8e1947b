// Package sqldb is database/sql on the two engines that Tidegate runs on: SQLite
// files and Postgres. It opens, migrates and runs transactions, and makes the
// engines behave alike where they differ. Its users write the SQL, which is the
// same on both engines.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidegatehq/tidegate/services/kit/retry"
)

// The engines.
const (
	sqliteEngine   = "sqlite"
	postgresEngine = "postgres"
)

// schemes lists what a URL may start with.
const schemes = "postgres:// or sqlite:"

// Querier runs statements. *DB and *Tx implement it.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// DB is one service's database. On SQLite it has one connection that writes and
// several that only read. The Query methods use those that only read, so a
// statement that writes and returns rows belongs in InTx. Never use a DB inside a
// function given to InTx: use its Tx.
type DB struct {
	engine string
	write  *sql.DB
	read   *sql.DB
	close  func()
	// listener is how to connect for Listen; nil on SQLite.
	listener *pgx.ConnConfig

	reads, writes health
}

// Open connects to the database at url: postgres://… or sqlite:PATH. Its errors
// are one line, without a driver's text or a password.
func Open(ctx context.Context, url string) (*DB, error) {
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		return openSQLite(ctx, path)
	}
	if strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://") {
		return openPostgres(ctx, url)
	}
	return nil, fmt.Errorf("open database: the URL must start with %s", schemes)
}

// CheckURL reports whether url has a form that Open understands; it connects to
// nothing.
func CheckURL(url string) error {
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		if path == "" {
			return errors.New("sqlite: needs the path of a file")
		}
		return nil
	}
	if strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://") {
		_, err := parsePostgres(url)
		return err
	}
	return fmt.Errorf("must start with %s", schemes)
}

// Same reports whether two URLs name the same database. It does not recognize two
// names of one file or server.
func Same(a, b string) bool {
	fileA, okA := strings.CutPrefix(a, "sqlite:")
	fileB, okB := strings.CutPrefix(b, "sqlite:")
	if okA || okB {
		absA, err1 := filepath.Abs(fileA)
		absB, err2 := filepath.Abs(fileB)
		return okA && okB && errors.Join(err1, err2) == nil && absA == absB
	}
	cfgA, err1 := parsePostgres(a)
	cfgB, err2 := parsePostgres(b)
	if errors.Join(err1, err2) != nil {
		return false
	}
	connA, connB := cfgA.ConnConfig, cfgB.ConnConfig
	return connA.Host == connB.Host && connA.Port == connB.Port && connA.Database == connB.Database &&
		connA.User == connB.User && connA.RuntimeParams["search_path"] == connB.RuntimeParams["search_path"]
}

// Close closes every connection.
func (db *DB) Close() error {
	err := db.write.Close()
	if db.read != db.write {
		err = errors.Join(err, db.read.Close())
	}
	if db.close != nil {
		db.close()
	}
	if err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// pingTimeout bounds a Ping.
const pingTimeout = 2 * time.Second

// Ping reports whether the database can be read, within 2 s. Its error does not say
// why not, because probes show it.
func (db *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	query := `SELECT count(*) FROM sqlite_schema`
	if db.engine == postgresEngine {
		query = `SELECT 1`
	}
	var n int64
	if err := db.QueryRowContext(ctx, query).Scan(&n); err != nil {
		return errors.New("the database does not answer")
	}
	return nil
}

// ExecContext runs a statement that returns no rows.
func (db *DB) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	res, err := db.write.ExecContext(ctx, query, args...)
	db.wrote(ctx, changed(res, err), err)
	return res, err
}

// QueryContext runs a statement that reads.
func (db *DB) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := db.read.QueryContext(ctx, query, args...)
	db.didRead(ctx, err)
	return rows, err
}

// QueryRowContext runs a statement that reads one row.
func (db *DB) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	row := db.read.QueryRowContext(ctx, query, args...)
	db.didRead(ctx, row.Err())
	return row
}

// didRead notes the outcome of reading.
func (db *DB) didRead(ctx context.Context, err error) {
	if err != nil {
		db.reads.fail(ctx, err)
		return
	}
	db.reads.work(ctx)
}

// wrote notes the outcome of writing. A success that changed nothing shows nothing: it
// takes no space.
func (db *DB) wrote(ctx context.Context, changed bool, err error) {
	switch {
	case err != nil:
		db.writes.fail(ctx, err)
	case changed:
		db.writes.work(ctx)
	}
}

// changed reports whether a statement changed a row.
func changed(res sql.Result, err error) bool {
	did, err := Changed(res, err)
	return err == nil && did
}

// Tx is a running transaction. After the first statement that fails, every
// later one and the commit fail too, on both engines; while rows are open it
// takes no other statement.
type Tx struct {
	tx      *sql.Tx
	engine  string
	changed bool
}

// ExecContext runs a statement that returns no rows.
func (t *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	res, err := t.tx.ExecContext(ctx, query, args...)
	t.changed = t.changed || changed(res, err)
	return res, err
}

// QueryContext runs a statement that returns rows.
func (t *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, query, args...)
}

// QueryRowContext runs a statement that returns one row.
func (t *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, query, args...)
}

// Lock waits until no other transaction of InTx holds the lock of this name, and holds it
// until the end of this one. So what is counted after it stays true until the commit, where
// everybody who adds takes the lock first. On SQLite such transactions run one at a time.
func (t *Tx) Lock(ctx context.Context, name string) error {
	if t.engine != postgresEngine {
		return nil
	}
	// All schemas of a database share the locks. Names whose hashes are the same wait for
	// each other, which is all that happens.
	if _, err := t.tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '/' || $1, 0))`, name); err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	return nil
}

// tries is how often InTx runs a transaction that the engine asks to repeat.
const tries = 10

// InTx runs fn in a transaction that writes, and commits it when fn returns
// nil. Where the engine asks to (a deadlock, a serialization failure), fn runs
// again, so it must not have effects outside its Tx. On Postgres two such
// transactions may run at once; change.Log.Write keeps writers apart.
func (db *DB) InTx(ctx context.Context, fn func(tx *Tx) error) error {
	pause := retry.Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond}
	for try := 1; ; try++ {
		changed, err := db.inTx(ctx, db.write, nil, fn)
		db.wrote(ctx, changed, err)
		if err == nil || try == tries || !isRetry(err) || !pause.Wait(ctx) {
			return err
		}
	}
}

// InReadTx runs fn in a transaction that only reads and sees one state of the
// database throughout.
func (db *DB) InReadTx(ctx context.Context, fn func(tx *Tx) error) error {
	opts := &sql.TxOptions{ReadOnly: true}
	if db.engine == postgresEngine {
		opts.Isolation = sql.LevelRepeatableRead
	}
	_, err := db.inTx(ctx, db.read, opts, fn)
	db.didRead(ctx, err)
	return err
}

// inTx reports whether the transaction changed rows.
func (db *DB) inTx(ctx context.Context, pool *sql.DB, opts *sql.TxOptions, fn func(tx *Tx) error) (bool, error) {
	begun, err := pool.BeginTx(ctx, opts)
	if err != nil {
		return false, fmt.Errorf("begin transaction: %w", err)
	}
	defer begun.Rollback()
	tx := &Tx{tx: begun, engine: db.engine}
	if err := fn(tx); err != nil {
		return false, err
	}
	if err := begun.Commit(); err != nil {
		return false, fmt.Errorf("commit: %w", err)
	}
	return tx.changed, nil
}
