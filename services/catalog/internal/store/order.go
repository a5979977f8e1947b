package store

import (
	"fmt"
	"math"
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

// key is a ListPlace in a list that is ordered.
type key struct {
	ListPlace
	order Order
}

// last is a text after all others.
const last = "\U0010ffff"

// Args returns the value and the id. Where the order is descending, what comes before the
// first row is greater than every row.
func (k key) Args() []any {
	at := k.ListPlace
	if k.order.Desc && at == (ListPlace{}) {
		at = ListPlace{Time: math.MaxInt64, Text: last}
	}
	if k.order.By == ByTime {
		return []any{at.Time, at.ID}
	}
	return []any{at.Text, at.ID}
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
		// $1 and $2 are the place, $3 is the number of rows.
		condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(l.args)+4), 1)
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

// ordered returns the query of the rows after a place, by a column and the id. The column
// alone is compared too, because an index has it without the id.
func (l *listing) ordered(o Order, column, id string) string {
	compare, direction := ">", ""
	if o.Desc {
		compare, direction = "<", " DESC"
	}
	return l.text + fmt.Sprintf(`
		AND %[1]s %[2]s= $1 AND (%[1]s, %[3]s) %[2]s ($1, $2)
		ORDER BY %[1]s%[4]s, %[3]s%[4]s LIMIT $3`, column, compare, id, direction)
}
