package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"time"
)

// Row is a row to scan: *sql.Row and *sql.Rows implement it.
type Row interface{ Scan(dest ...any) error }

// With returns a Row whose Scan appends more to its destinations: for a query that
// has columns after those of a scan function.
func With(row Row, more ...any) Row { return longer{row: row, more: more} }

type longer struct {
	row  Row
	more []any
}

// Scan scans dest and then more.
func (l longer) Scan(dest ...any) error { return l.row.Scan(append(dest, l.more...)...) }

// One returns the row of a query; found is false if it has none.
func One[T any](ctx context.Context, q Querier, scan func(Row) (T, error), query string, args ...any) (row T, found bool, err error) {
	row, err = scan(q.QueryRowContext(ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return row, false, nil
	}
	return row, err == nil, err
}

// All returns all rows of a query.
func All[T any](ctx context.Context, q Querier, scan func(Row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}

// Exists returns what a SELECT EXISTS says.
func Exists(ctx context.Context, q Querier, query string, args ...any) (bool, error) {
	var exists bool
	err := q.QueryRowContext(ctx, query, args...).Scan(&exists)
	return exists, err
}

// Changed reports whether a statement changed a row.
func Changed(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Time returns a time that is kept in microseconds.
func Time(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// Key is a row's place in a list: the values of the columns that the list is
// ordered by. No two rows have the same key. The zero value comes before the first
// row.
type Key interface {
	// Args returns the values, as parameters of a query.
	Args() []any
}

// TimeKey is the Key of a list that is ordered by a time and an id.
type TimeKey struct {
	// Time is in microseconds since 1970.
	Time int64
	ID   string
}

// Args returns the time and the id.
func (k TimeKey) Args() []any { return []any{k.Time, k.ID} }

// firstRows is how many rows List reads at first: those of a page of the usual size, and one
// that says that there are more. listRows is how many it reads at a time then. It is small
// because a page of large rows ends early.
const firstRows, listRows = 51, 100

// List reads the rows that come after a key, some at a time, in the order of their
// keys. The first parameters of query are the columns of the key, then comes the
// number of rows, then args:
//
//	SELECT … WHERE (created_at, id) > ($1, $2) AND owner = $4
//	ORDER BY created_at, id LIMIT $3
//
// Between two rows the transaction can run other statements. An error ends the
// list.
func List[T any, K Key](ctx context.Context, q Querier, scan func(Row) (T, error), key func(T) K, after K, query string, args ...any) iter.Seq2[T, error] {
	return Pages(key, after, func(after K, limit int) ([]T, error) {
		return All(ctx, q, scan, query, append(append(after.Args(), limit), args...)...)
	})
}

// Pages is List for a query that depends on the key, such as one without a condition for
// the first row: read returns the first rows after a key, as many as limit or, if they are
// the last, fewer.
func Pages[T, K any](key func(T) K, after K, read func(after K, limit int) ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for limit := firstRows; ; limit = listRows {
			rows, err := read(after, limit)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
				after = key(row)
			}
			if len(rows) < limit {
				return
			}
		}
	}
}
