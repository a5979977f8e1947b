package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// readers is how many connections only read, in addition to the one that writes. Each keeps
// so many bytes of pages: a list that is searched reads its table in another order than that
// of the file, and each page once for each row unless all of them are kept.
const readers, readerCache = 8, 8_000_000

// checkBelow is the size up to which a file is checked in full when it is opened.
const checkBelow = 16 << 20

func openSQLite(ctx context.Context, path string) (*DB, error) {
	if path == "" {
		return nil, errors.New("open database: sqlite: needs the path of a file")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := touch(path); err != nil {
		return nil, fmt.Errorf("open database %s: %s", path, fileProblem(path, err))
	}
	drv := &sqlite.Driver{}
	if err := drv.RegisterCollationUtf8("C", strings.Compare); err != nil {
		return nil, fmt.Errorf("open database %s: register collation: %w", path, err)
	}
	db := &DB{
		engine: sqliteEngine,
		write:  sql.OpenDB(&connector{driver: drv, dsn: dsn(path, "_txlock=immediate", "_pragma=journal_mode(WAL)")}),
		read:   sql.OpenDB(&connector{driver: drv, dsn: dsn(path, "_pragma=query_only(1)", fmt.Sprintf("_pragma=cache_size(-%d)", readerCache/1000))}),
	}
	db.write.SetMaxOpenConns(1)
	db.read.SetMaxOpenConns(readers)
	db.read.SetMaxIdleConns(readers)
	if err := checkSQLite(ctx, db, path); err != nil {
		db.Close()
		return nil, fmt.Errorf("open database %s: %s", path, sqliteProblem(err))
	}
	return db, nil
}

// dsn returns the name under which the driver opens the file. It is a URI, because
// SQLite ignores its own parameters in a plain path.
func dsn(path string, params ...string) string {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path)}
	params = append([]string{
		"_dqs=0",
		"_error_rc=1",
		"_pragma=busy_timeout(5000)",
		"_pragma=foreign_keys(1)",
		"_pragma=synchronous(NORMAL)",
	}, params...)
	return "file:" + u.EscapedPath() + "?" + strings.Join(params, "&")
}

// touch makes the file, readable by its owner only, if it does not exist, and says
// why if that fails: SQLite says only "unable to open" whatever the reason.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// fileProblem says in words why a file cannot be opened for writing.
func fileProblem(path string, err error) string {
	folder := filepath.Dir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("the folder %s does not exist", folder)
	case errors.Is(err, syscall.EISDIR):
		return "it is a folder, not a file"
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Sprintf("%s is not a folder", folder)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "it cannot be written: " + errnoText(err)
	}
	return errnoText(err)
}

// errnoText returns the operating system's own description of an error.
func errnoText(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return "the operating system refuses it"
}

// checkSQLite opens the first connections, and checks a file of moderate size in
// full.
func checkSQLite(ctx context.Context, db *DB, path string) error {
	if err := db.write.PingContext(ctx); err != nil {
		return err
	}
	var version int64
	if err := db.read.QueryRowContext(ctx, `PRAGMA schema_version`).Scan(&version); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > checkBelow {
		return err
	}
	var verdict string
	if err := db.read.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return errDamaged
	}
	return nil
}

var errDamaged = errors.New("damaged")

// sqliteProblem says in words why a file cannot be used.
func sqliteProblem(err error) string {
	if errors.Is(err, errDamaged) {
		return "the file is damaged"
	}
	code := sqliteCode(err)
	switch code & 0xff {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return "the file is damaged or not a database"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		return "the file, or the folder that it is in, cannot be written"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return "another process keeps it locked"
	case sqlite3.SQLITE_FULL:
		return "the disk is full"
	case sqlite3.SQLITE_IOERR:
		return "reading or writing the file failed"
	case 0:
		return oneLine(err)
	}
	return fmt.Sprintf("SQLite answers with code %d", code)
}

// oneLine returns the text of an error without line ends.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
