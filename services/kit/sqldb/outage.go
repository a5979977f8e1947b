package sqldb

import (
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// outage is why a database does not do what is asked of it, whatever that is.
type outage struct {
	reason  string
	message string // says what an operator does
}

// The outages.
var (
	unreachable = outage{fault.ReasonDatabaseUnreachable,
		"the database does not answer: try again; an operator looks whether it runs and can be reached"}
	full = outage{fault.ReasonDatabaseFull,
		"the database has no space left, so nothing can be written: an operator frees space on its disk, or gives it more"}
	readOnly = outage{fault.ReasonDatabaseReadOnly,
		"the database accepts no writes: an operator makes it writable, or names the server that is"}
)

// Fault returns the fault that callers see of a database that is away, full or
// read-only, with err as its cause; and nil if err is anything else.
func Fault(err error) error {
	o := outageOf(err)
	if o == nil {
		return nil
	}
	return fault.Wrap(fault.WithReason(fault.Unavailable("%s", o.message), o.reason), err)
}

// outageOf returns the outage that an error of the database tells of, or nil.
func outageOf(err error) *outage {
	if err == nil {
		return nil
	}
	if code := sqliteCode(err); code != 0 {
		return sqliteOutage(code)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok || isBroken(err) {
		return &unreachable
	}
	return postgresOutage(pgCode(err))
}

func sqliteOutage(code int) *outage {
	switch code & 0xff {
	case sqlite3.SQLITE_FULL:
		return &full
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return &readOnly
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return &unreachable
	}
	return nil
}

func postgresOutage(code string) *outage {
	switch code {
	case pgDiskFull:
		return &full
	case pgReadOnly:
		return &readOnly
	case pgStarting, pgStopping, pgCrashed, pgIOError, pgTooMany, pgBadPassword, pgBadAuthorization, pgNoDatabase:
		return &unreachable
	}
	if strings.HasPrefix(code, pgConnectionClass) {
		return &unreachable
	}
	return nil
}

// isBroken reports whether err is that of a connection to Postgres that has broken.
func isBroken(err error) bool {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, pgconn.ErrConnClosed) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}
