package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"modernc.org/sqlite"
)

// connector makes SQLite connections that are as strict as Postgres is.
type connector struct {
	driver *sqlite.Driver
	dsn    string
}

// Connect opens a connection.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	raw, err := c.driver.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	full, ok := raw.(rawConn)
	if !ok {
		raw.Close()
		return nil, fmt.Errorf("the SQLite driver's %T lacks a method", raw)
	}
	return &conn{rawConn: full}, nil
}

// Driver returns SQLite's driver.
func (c *connector) Driver() driver.Driver { return c.driver }

// rawConn is what the driver's connections can do.
type rawConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// conn is a SQLite connection that behaves like Postgres in three ways: a
// transaction is lost once a statement has failed, it takes no statement while rows
// are open, and values that Postgres refuses are refused. database/sql never uses a
// connection from two goroutines at once.
type conn struct {
	rawConn
	inTx   bool
	failed bool
	open   int
}

var (
	errFailed = errors.New("an earlier statement of the transaction failed, so it is lost")
	errBusy   = errors.New("rows of the transaction are still open")
)

// BeginTx starts a transaction.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.rawConn.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	c.inTx, c.failed, c.open = true, false, 0
	return &connTx{raw: tx, conn: c}, nil
}

// admit returns why a statement may not run now, or nil.
func (c *conn) admit() error {
	switch {
	case !c.inTx:
		return nil
	case c.failed:
		return errFailed
	case c.open > 0:
		c.failed = true
		return errBusy
	}
	return nil
}

// note remembers that a statement failed.
func (c *conn) note(err error) error {
	if err != nil && c.inTx {
		c.failed = true
	}
	return err
}

// ExecContext runs a statement that returns no rows.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.admit(); err != nil {
		return nil, err
	}
	res, err := c.rawConn.ExecContext(ctx, query, args)
	return res, c.note(err)
}

// QueryContext runs a statement that returns rows.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.admit(); err != nil {
		return nil, err
	}
	rows, err := c.rawConn.QueryContext(ctx, query, args)
	if err != nil {
		return nil, c.note(err)
	}
	if !c.inTx {
		return rows, nil
	}
	c.open++
	return &connRows{Rows: rows, conn: c}, nil
}

// CheckNamedValue refuses values that Postgres refuses and SQLite would store
// silently.
func (c *conn) CheckNamedValue(nv *driver.NamedValue) error {
	v, err := driver.DefaultParameterConverter.ConvertValue(nv.Value)
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case time.Time:
		return errors.New("times are stored as microseconds, give UnixMicro()")
	case string:
		if !utf8.ValidString(v) || strings.IndexByte(v, 0) >= 0 {
			return errors.New("text must be UTF-8 without NUL")
		}
	}
	nv.Value = v
	return nil
}

// connTx ends a transaction of a conn.
type connTx struct {
	raw  driver.Tx
	conn *conn
}

// Commit commits. If a statement has failed, it rolls back and returns an error.
func (t *connTx) Commit() error {
	if t.conn.failed {
		return errors.Join(errFailed, t.Rollback())
	}
	err := t.raw.Commit()
	if err != nil {
		return errors.Join(err, t.Rollback())
	}
	t.conn.inTx = false
	return nil
}

// Rollback undoes the transaction.
func (t *connTx) Rollback() error {
	t.conn.inTx = false
	return t.raw.Rollback()
}

// connRows are rows read inside a transaction.
type connRows struct {
	driver.Rows
	conn   *conn
	closed bool
}

// Next reads the next row.
func (r *connRows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	if err != nil && !errors.Is(err, io.EOF) {
		return r.conn.note(err)
	}
	return err
}

// Close ends the reading.
func (r *connRows) Close() error {
	if !r.closed {
		r.closed = true
		r.conn.open--
	}
	return r.Rows.Close()
}
