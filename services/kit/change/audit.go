package change

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
)

// Entry is a change in the audit log.
type Entry struct {
	// Number is the change's.
	Number uint64
	// Time is when it was made.
	Time time.Time
	// Actor, Action and Resource are those of its Record.
	Actor, Action, Resource string
}

// List returns a page of the audit log, newest first, and the token of the next
// page, "" after the last.
func (l *Log) List(ctx context.Context, pageSize int32, pageToken string) ([]Entry, string, error) {
	size, err := page.Size(pageSize)
	if err != nil {
		return nil, "", err
	}
	scope := page.Scope("changes")
	keys, err := page.Keys(pageToken, scope, 1)
	if err != nil {
		return nil, "", err
	}
	before := int64(math.MaxInt64)
	if keys != nil {
		if before, err = strconv.ParseInt(keys[0], 10, 64); err != nil {
			return nil, "", fault.Invalid("page_token", "is not a token that a list has returned")
		}
	}
	rows, err := l.db.QueryContext(ctx, `
		SELECT number, actor, action, resource, time_us FROM change
		WHERE number < $1 ORDER BY number DESC LIMIT $2`, before, int64(size+1))
	if err != nil {
		return nil, "", fmt.Errorf("list changes: %w", err)
	}
	defer rows.Close()
	entries, err := scanEntries(rows)
	if err != nil {
		return nil, "", fmt.Errorf("list changes: %w", err)
	}
	if len(entries) <= size {
		return entries, "", nil
	}
	entries = entries[:size]
	return entries, page.Token(scope, strconv.FormatUint(entries[size-1].Number, 10)), nil
}

func scanEntries(rows *sql.Rows) ([]Entry, error) {
	var entries []Entry
	for rows.Next() {
		var e Entry
		var number, at int64
		if err := rows.Scan(&number, &e.Actor, &e.Action, &e.Resource, &at); err != nil {
			return nil, err
		}
		e.Number, e.Time = uint64(number), time.UnixMicro(at)
		entries = append(entries, e)
	}
	return entries, rows.Err()
}
