package sqldb

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLSTATE codes of Postgres that the package knows.
const (
	pgUniqueViolation     = "23505"
	pgForeignKeyViolation = "23503"
	pgRestrictViolation   = "23001"
	pgSerialization       = "40001"
	pgDeadlock            = "40P01"
	pgBadPassword         = "28P01"
	pgBadAuthorization    = "28000"
	pgNoDatabase          = "3D000"
	pgTooMany             = "53300"
	pgStarting            = "57P03"
	pgStopping            = "57P01"
	pgCrashed             = "57P02"
	pgDiskFull            = "53100"
	pgReadOnly            = "25006"
	pgIOError             = "58030"
	// pgConnectionClass begins the codes of broken connections.
	pgConnectionClass = "08"
)

// IsUnique reports whether err is the refusal of a row whose unique value exists
// already.
func IsUnique(err error) bool {
	switch sqliteCode(err) {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return true
	}
	return pgCode(err) == pgUniqueViolation
}

// IsForeignKey reports whether err is the refusal of a row that refers to a missing
// row, or of the deletion of a row that others refer to.
func IsForeignKey(err error) bool {
	if sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY {
		return true
	}
	code := pgCode(err)
	return code == pgForeignKeyViolation || code == pgRestrictViolation
}

func isRetry(err error) bool {
	code := pgCode(err)
	return code == pgSerialization || code == pgDeadlock
}

// pgCode returns the SQLSTATE that Postgres gave, or "".
func pgCode(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// sqliteCode returns SQLite's extended result code, or 0.
func sqliteCode(err error) int {
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		return lite.Code()
	}
	return 0
}
