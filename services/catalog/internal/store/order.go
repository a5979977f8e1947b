package store

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Order is how a list is ordered: by a value of its rows, and where that is the same for
// several, by their ids, which rise with time. The zero Order is ByTime, oldest first.
type Order struct {
	By   By
	Desc bool
}

// By is the value by which a list is ordered.
type By int

// What lists are ordered by.
const (
	// ByTime is by the time of creation.
	ByTime By = iota
	// ByName is by the display name, without regard to case; of versions, that of the API.
	ByName
	// ByContext is by the context, without regard to case.
	ByContext
)

// ListPlace is the place of a row in a list. The zero ListPlace is before the first row.
type ListPlace struct {
	// Time is in microseconds since 1970, of a list ByTime; others have Text.
	Time int64  `json:"t,omitempty"`
	Text string `json:"x,omitempty"`
	ID   string `json:"i"`
}

// listing is a query of a list: what it selects, and where.
type listing struct {
	// text is the query, up to its conditions.
	text string
	args []any
}

// where adds a condition, with a ? for each of its parameters. A list has only the
// conditions that it needs: then databases see which index is the best.
func (l *listing) where(condition string, args ...any) {
	for range args {
		condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(l.args)+1), 1)
		l.args, args = append(l.args, args[0]), args[1:]
	}
	l.text += "\n\t\tAND (" + condition + ")"
}

// whereEqual adds that a column has a value, if that is not nil.
func (l *listing) whereEqual(column string, value *string) {
	if value != nil {
		l.where(column+" = ?", *value)
	}
}

// whereOneOf adds that a column has one of some values, if there are any.
func (l *listing) whereOneOf(column string, values []string) {
	if len(values) == 0 {
		return
	}
	var args []any
	for _, value := range values {
		args = append(args, value)
	}
	for len(args) > 1 && len(args)%batchRows != 0 {
		args = append(args, args[0]) // few queries for any number
	}
	l.where(column+" IN (?"+strings.Repeat(", ?", len(args)-1)+")", args...)
}

// whereContains adds that one of the columns, which are without case, contains a text, if
// that is not empty.
func (l *listing) whereContains(db *sqldb.DB, text string, columns ...string) {
	if text == "" {
		return
	}
	var some []string
	var args []any
	for _, column := range columns {
		some, args = append(some, db.Contains(column, "?")), append(args, sqldb.Fold(text))
	}
	l.where(strings.Join(some, " OR "), args...)
}

// page returns the query of some rows after a place, by a column and the id, and its
// parameters. The column alone is compared too, because an index has it without the id. From
// the first row on nothing is compared, since that is done for each row.
func (l listing) page(o Order, column, id string, after ListPlace, limit int) (string, []any) {
	compare, direction := ">", ""
	if o.Desc {
		compare, direction = "<", " DESC"
	}
	if after != (ListPlace{}) {
		value := any(after.Text)
		if o.By == ByTime {
			value = after.Time
		}
		l.where(fmt.Sprintf("%[1]s %[2]s= ? AND (%[1]s, %[3]s) %[2]s (?, ?)", column, compare, id), value, value, after.ID)
	}
	return l.text + fmt.Sprintf(`
		ORDER BY %[1]s%[2]s, %[3]s%[2]s LIMIT $%[4]d`, column, direction, id, len(l.args)+1), append(l.args, limit)
}

// rows reads the rows of a listing after a place, in an order: by a column and the id.
func rows[T interface{ ListPlace(Order) ListPlace }](ctx context.Context, q sqldb.Querier, scan func(sqldb.Row) (T, error), l listing, o Order, column, id string, after ListPlace) iter.Seq2[T, error] {
	l.args = slices.Clip(l.args)
	return sqldb.Pages(func(row T) ListPlace { return row.ListPlace(o) }, after, func(after ListPlace, limit int) ([]T, error) {
		query, args := l.page(o, column, id, after, limit)
		return sqldb.All(ctx, q, scan, query, args...)
	})
}
