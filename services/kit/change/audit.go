package change

import (
	"context"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// List returns a page of the audit log, newest first.
func (l *Log) List(ctx context.Context, req *changev1.ListChangesRequest) (*changev1.ListChangesResponse, error) {
	f, err := newFilter(req)
	if err != nil {
		return nil, err
	}
	p, err := page.New[uint64](req)
	if err != nil {
		return nil, err
	}
	below := p.After
	if below == 0 {
		below = math.MaxInt64
	}
	changes, err := l.below(ctx, below, p.Size+1, f)
	if err != nil {
		return nil, err
	}
	n := min(p.Size, fitting(changes))
	resp := &changev1.ListChangesResponse{Changes: changes[:n]}
	if len(changes) > n {
		resp.NextPageToken = p.Token(changes[n-1].GetChangeNumber())
	}
	return resp, nil
}

// filter restricts what is read of the audit log; nil fields restrict nothing.
type filter struct {
	actor, actorLabel, action, resource, label *string
	made                                       page.TimeRange
}

// newFilter reads the filter and the time range of a request.
func newFilter(req *changev1.ListChangesRequest) (filter, error) {
	terms, err := page.Filter(req.GetFilter(), "actor", "actor_display_name", "action", "resource", "resource_display_name")
	if err != nil {
		return filter{}, err
	}
	made, err := page.NewTimeRange(req)
	return filter{
		actor: terms.Value("actor"), actorLabel: terms.Value("actor_display_name"), action: terms.Value("action"),
		resource: terms.Value("resource"), label: terms.Value("resource_display_name"), made: made,
	}, err
}

// fitting returns how many of the changes fit into one answer, at least one: a page may
// be shorter than it was asked to be (AIP-158).
func fitting(changes []*changev1.Change) int {
	size := 0
	for i, c := range changes {
		if size += proto.Size(c) + 8; size > batchBytes && i > 0 {
			return i
		}
	}
	return len(changes)
}

// Get returns one change of the audit log.
func (l *Log) Get(ctx context.Context, number uint64) (*changev1.Change, error) {
	changes, err := l.below(ctx, number+1, 1, filter{})
	if err != nil {
		return nil, err
	}
	if len(changes) == 0 || changes[0].GetChangeNumber() != number {
		return nil, fault.NotFound("%s", l.name(number))
	}
	return changes[0], nil
}

// below reads up to n changes below a number that a filter admits, newest first.
func (l *Log) below(ctx context.Context, number uint64, n int, f filter) ([]*changev1.Change, error) {
	changes, err := sqldb.All(ctx, l.db, l.scanChange, `
		SELECT number, actor, action, resource, actor_label, resource_label, time_us, fields FROM change
		WHERE number < $1
			AND (CAST($3 AS BIGINT) IS NULL OR time_us >= $3)
			AND (CAST($4 AS BIGINT) IS NULL OR time_us < $4)
			AND (CAST($5 AS TEXT) IS NULL OR actor = $5)
			AND (CAST($6 AS TEXT) IS NULL OR action = $6)
			AND (CAST($7 AS TEXT) IS NULL OR resource = $7)
			AND (CAST($8 AS TEXT) IS NULL OR resource_label = $8)
			AND (CAST($9 AS TEXT) IS NULL OR actor_label = $9)
		ORDER BY number DESC LIMIT $2`,
		int64(min(number, math.MaxInt64)), int64(n), f.made.Start, f.made.End, f.actor, f.action, f.resource, f.label, f.actorLabel)
	if err != nil {
		return nil, fmt.Errorf("list changes: %w", err)
	}
	return changes, nil
}

func (l *Log) scanChange(row sqldb.Row) (*changev1.Change, error) {
	c := &changev1.Change{}
	var number, at int64
	var actor, action, resource, actorLabel, label string
	var fields []byte
	if err := row.Scan(&number, &actor, &action, &resource, &actorLabel, &label, &at, &fields); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(fields, c); err != nil {
		return nil, fmt.Errorf("read fields of change %d: %w", number, err)
	}
	c.Name, c.ChangeNumber = l.name(uint64(number)), uint64(number)
	c.Actor, c.Action, c.Resource, c.CreateTime = actor, action, resource, timestamppb.New(sqldb.Time(at))
	c.ActorDisplayName, c.ResourceDisplayName = actorLabel, label
	return c, nil
}
