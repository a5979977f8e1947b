package change

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// cursor is a point in a history: the epoch, the number of the last change before
// the point, and when that change was made, 0 if unknown. The time tells a history
// from one that was restored to an earlier state and then continued.
type cursor struct {
	epoch  string
	number uint64
	timeUS int64
}

// String returns the cursor as watchers store it.
func (c cursor) String() string {
	return c.epoch + ":" + strconv.FormatUint(c.number, 10) + ":" + strconv.FormatInt(c.timeUS, 36)
}

func parseCursor(text string) (cursor, bool) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return cursor{}, false
	}
	number, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil || number > math.MaxInt64 {
		return cursor{}, false
	}
	at, err := strconv.ParseInt(parts[2], 36, 64)
	if err != nil {
		return cursor{}, false
	}
	return cursor{epoch: parts[0], number: number, timeUS: at}, true
}

// resume returns where a watcher that has applied everything up to since continues,
// or why it needs a snapshot.
func (l *Log) resume(ctx context.Context, since string) (cursor, backplanev1.Begin_Reset, error) {
	if since == "" {
		return cursor{}, backplanev1.Begin_RESET_NO_CURSOR, nil
	}
	epoch, err := l.epochOf(ctx)
	if err != nil {
		return cursor{}, 0, err
	}
	c, ok := parseCursor(since)
	if !ok || c.epoch != epoch {
		return cursor{}, backplanev1.Begin_RESET_EPOCH, nil
	}
	var reset backplanev1.Begin_Reset
	err = l.db.InReadTx(ctx, func(tx *sqldb.Tx) error {
		reset, err = l.judge(ctx, tx, c)
		return err
	})
	if err != nil {
		return cursor{}, 0, fmt.Errorf("resume a watch at %d: %w", c.number, err)
	}
	if reset != backplanev1.Begin_RESET_UNSPECIFIED {
		return cursor{}, reset, nil
	}
	return c, reset, nil
}

// judge reports whether all changes after c are still in the log.
func (l *Log) judge(ctx context.Context, tx *sqldb.Tx, c cursor) (backplanev1.Begin_Reset, error) {
	head, err := Head(ctx, tx)
	if err != nil {
		return 0, err
	}
	if c.number > head {
		return backplanev1.Begin_RESET_AHEAD, nil
	}
	at, err := timeOf(ctx, tx, c.number)
	if err != nil {
		return 0, err
	}
	if at != 0 && c.timeUS != 0 && at != c.timeUS {
		return backplanev1.Begin_RESET_EPOCH, nil
	}
	if c.number == head {
		return backplanev1.Begin_RESET_UNSPECIFIED, nil
	}
	next, err := timeOf(ctx, tx, c.number+1)
	if err != nil {
		return 0, err
	}
	if next < l.now().Add(-Retention).UnixMicro() {
		return backplanev1.Begin_RESET_TOO_OLD, nil
	}
	return backplanev1.Begin_RESET_UNSPECIFIED, nil
}

// timeOf returns when a change was made, 0 if the log no longer has it.
func timeOf(ctx context.Context, q sqldb.Querier, number uint64) (int64, error) {
	var at int64
	err := q.QueryRowContext(ctx, `SELECT time_us FROM change WHERE number = $1`, int64(number)).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read time of change %d: %w", number, err)
	}
	return at, nil
}
