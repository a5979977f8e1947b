package change

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/keyset"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resource"
)

// List returns a page of the audit log, newest first, and the token of the next
// page, "" after the last.
func (l *Log) List(ctx context.Context, pageSize int32, pageToken string) ([]*changev1.Change, string, error) {
	size, err := page.Size(pageSize)
	if err != nil {
		return nil, "", err
	}
	parent := resource.Service{Service: l.service}.String()
	below, err := keyset.ParseChangesToken(pageToken, parent, 1)
	if err != nil {
		return nil, "", err
	}
	changes, err := l.below(ctx, below[0], size+1)
	if err != nil || len(changes) <= size {
		return changes, "", err
	}
	changes = changes[:size]
	return changes, keyset.ChangesToken(parent, changes[size-1].GetChangeNumber()), nil
}

// Get returns one change of the audit log.
func (l *Log) Get(ctx context.Context, number uint64) (*changev1.Change, error) {
	changes, err := l.below(ctx, number+1, 1)
	if err != nil {
		return nil, err
	}
	if len(changes) == 0 || changes[0].GetChangeNumber() != number {
		return nil, fault.NotFound("%s", l.name(number))
	}
	return changes[0], nil
}

// below reads up to n changes below a number, newest first.
func (l *Log) below(ctx context.Context, number uint64, n int) ([]*changev1.Change, error) {
	rows, err := l.db.QueryContext(ctx, `
		SELECT number, actor, action, resource, time_us FROM change
		WHERE number < $1 ORDER BY number DESC LIMIT $2`, int64(number), int64(n))
	if err != nil {
		return nil, fmt.Errorf("list changes: %w", err)
	}
	defer rows.Close()
	changes, err := l.scanChanges(rows)
	if err != nil {
		return nil, fmt.Errorf("list changes: %w", err)
	}
	return changes, nil
}

func (l *Log) scanChanges(rows *sql.Rows) ([]*changev1.Change, error) {
	var all []*changev1.Change
	for rows.Next() {
		c := &changev1.Change{}
		var number, at int64
		if err := rows.Scan(&number, &c.Actor, &c.Action, &c.Resource, &at); err != nil {
			return nil, err
		}
		c.ChangeNumber, c.CreateTime = uint64(number), timestamppb.New(time.UnixMicro(at))
		c.Name = l.name(c.GetChangeNumber())
		all = append(all, c)
	}
	return all, rows.Err()
}
