package store

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// This file has quotas as users see and change them; quotaledger.go has the ledger.

// QuotaUse is what was used of a quota in a window.
type QuotaUse struct {
	ID  string
	Key QuotaKey
	// Plan is a resource name, Limit the name of the limit in it.
	Plan, Limit                    string
	Start, End                     time.Time
	Amount, Added, Used, Overdraft int64
	// VersionOwner is the id of the user who owns the version, empty for none.
	VersionOwner string
	Labels       Labels
}

// Label returns what users call the quota.
func (q QuotaUse) Label() string {
	of := q.Labels.Application
	if q.Key.Version != "" {
		version := q.Labels.API + "/" + q.Labels.Version
		if q.Labels.API == "" {
			version = q.Key.Version
		}
		if of == "" {
			of = version
		} else {
			of += " to " + version
		}
	}
	return of + ": " + q.Limit
}

// QuotaUseKey is a quota's key in lists.
type QuotaUseKey struct {
	Application, Version string
	Unit, Window         int64
	ID                   string
}

// Args returns the parts.
func (k QuotaUseKey) Args() []any { return []any{k.Application, k.Version, k.Unit, k.Window, k.ID} }

// ListKey returns the quota's key in lists.
func (q QuotaUse) ListKey() QuotaUseKey {
	return QuotaUseKey{Application: q.Key.Application, Version: q.Key.Version, Unit: q.Key.Unit, Window: q.Key.Window, ID: q.ID}
}

// Columns of quotas in their windows, and of events.
const (
	selectQuota = `SELECT id, start_at, end_at, place, application, version, unit, window_kind, observe, plan, limit_name, amount, added,
		COALESCE((SELECT v.owner FROM version v WHERE v.name = r.version), ''), `
	selectQuotaUse   = selectQuota + usageLabels + `, used_before + spent - cleared, overdrawn FROM quota_window r `
	selectQuotaEvent = selectQuota + usageLabels + `, used, overdraft, percent, noted_at FROM quota_event r `
)

// scanQuota scans the columns of selectQuota, the labels, the use, and more.
func scanQuota(row sqldb.Row, more ...any) (QuotaUse, error) {
	var q QuotaUse
	var start, end int64
	dests := []any{
		&q.ID, &start, &end, &q.Key.Place, &q.Key.Application, &q.Key.Version, &q.Key.Unit, &q.Key.Window, &q.Key.Observe,
		&q.Plan, &q.Limit, &q.Amount, &q.Added, &q.VersionOwner,
	}
	dests = append(append(dests, q.Labels.dests()...), &q.Used, &q.Overdraft)
	err := row.Scan(append(dests, more...)...)
	q.Start, q.End = sqldb.Time(start), sqldb.Time(end)
	return q, err
}

func scanQuotaUse(row sqldb.Row) (QuotaUse, error) {
	q, err := scanQuota(row)
	q.Used = max(0, q.Used) // as in quotaWindow.used
	q.Overdraft = overdraft(q.Used, q.Amount+q.Added, q.Overdraft)
	return q, err
}

// QuotaFilter restricts lists of quotas; a nil field restricts nothing.
type QuotaFilter struct {
	// Application is an id, Version a resource name.
	Application, Version *string
	// Unit and Window are numbers of the API.
	Unit, Window *int64
	// Noted is when events were noted.
	Noted page.TimeRange
}

// QuotaUses returns the quotas after a key that v may see and that were used, or added to,
// in the present window: those of v's applications and of v's versions.
func (s *Store) QuotaUses(ctx context.Context, v identity.Viewer, f QuotaFilter, after QuotaUseKey) iter.Seq2[QuotaUse, error] {
	return sqldb.List(ctx, s.db, scanQuotaUse, QuotaUse.ListKey, after, selectQuotaUse+`
		WHERE (application, version, unit, window_kind, id) > ($1, $2, $3, $4, $5)
			AND `+ofViewer(v, "quota_window", "id, start_at", "$7")+`
			AND (CAST($8 AS TEXT) IS NULL OR application = $8)
			AND (CAST($9 AS TEXT) IS NULL OR version = $9)
			AND (CAST($10 AS BIGINT) IS NULL OR unit = $10)
			AND (CAST($11 AS BIGINT) IS NULL OR window_kind = $11)
			AND start_at <= $12 AND end_at > $12 AND used_before + spent + added > 0
		ORDER BY application, version, unit, window_kind, id LIMIT $6`,
		v.Owner(), f.Application, f.Version, f.Unit, f.Window, s.moment().UnixMicro())
}

// ResetQuota sets what was used of a quota that v may see in the present window to zero,
// where check lets the caller.
func (s *Store) ResetQuota(ctx context.Context, v identity.Viewer, id string, check func(QuotaUse) error) (QuotaUse, error) {
	return s.changeQuota(ctx, "reset quota", v, id, check, func(ctx context.Context, tx *change.Tx, old QuotaUse) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE quota_window SET cleared = used_before + spent, overdrawn = 0 WHERE id = $1 AND start_at = $2`, id, old.Start.UnixMicro())
		return err
	})
}

// AddQuota adds to a quota that v may see in the present window, where check lets the
// caller.
func (s *Store) AddQuota(ctx context.Context, v identity.Viewer, id string, amount int64, check func(QuotaUse) error) (QuotaUse, error) {
	return s.changeQuota(ctx, "add to quota", v, id, check, func(ctx context.Context, tx *change.Tx, old QuotaUse) error {
		if amount > mostOfQuota-old.Added {
			return fault.Invalid("amount", "at most %d may be added in a window, and %d were", int64(mostOfQuota), old.Added)
		}
		_, err := tx.ExecContext(ctx, `
			UPDATE quota_window SET added = added + $1 WHERE id = $2 AND start_at = $3`, amount, id, old.Start.UnixMicro())
		return err
	})
}

// changeQuota changes the present window of a quota.
func (s *Store) changeQuota(
	ctx context.Context, doing string, v identity.Viewer, id string, check func(QuotaUse) error,
	write func(context.Context, *change.Tx, QuotaUse) error,
) (q QuotaUse, err error) {
	err = s.log.Write(ctx, doing, func(tx *change.Tx) (change.Record, error) {
		old, err := lockQuotaUse(ctx, tx, v, id)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(old); err != nil {
			return change.Record{}, err
		}
		if err := write(ctx, tx, old); err != nil {
			return change.Record{}, err
		}
		q, err = readQuotaUse(ctx, tx, v, id)
		return change.Record{Resource: QuotaUseName(id), Before: old, After: q}, err
	})
	return q, err
}

// lockQuotaUse reads a quota, whose present window no gateway changes until the transaction
// ends.
func lockQuotaUse(ctx context.Context, tx *change.Tx, v identity.Viewer, id string) (QuotaUse, error) {
	_, err := tx.ExecContext(ctx, `
		UPDATE quota_window SET added = added WHERE id = $1 AND start_at <= $2 AND end_at > $2`, id, tx.Time.UnixMicro())
	if err != nil {
		return QuotaUse{}, fmt.Errorf("lock a quota: %w", err)
	}
	return readQuotaUse(ctx, tx, v, id)
}

func readQuotaUse(ctx context.Context, tx *change.Tx, v identity.Viewer, id string) (QuotaUse, error) {
	q, found, err := sqldb.One(ctx, tx, scanQuotaUse, selectQuotaUse+`
		WHERE id = $1 AND start_at <= $2 AND end_at > $2 AND `+ofViewer(v, "quota_window", "id, start_at", "$3"),
		id, tx.Time.UnixMicro(), v.Owner())
	switch {
	case err != nil:
		return QuotaUse{}, fmt.Errorf("read a quota: %w", err)
	case !found:
		return QuotaUse{}, fault.NotFound("%s", QuotaUseName(id))
	}
	return q, nil
}

// QuotaUseName returns quotaUses/{id}.
func QuotaUseName(id string) string { return resourcename.QuotaUse{QuotaUse: id}.String() }

// QuotaEvent says that a quota came to a share of its amount.
type QuotaEvent struct {
	QuotaUse
	Percent int64
	At      time.Time
}

// QuotaEventKey is an event's key in lists; the zero key is before all events.
type QuotaEventKey struct {
	// Time and Start are in microseconds since 1970.
	Time    int64
	ID      string
	Start   int64
	Percent int64
}

// Args returns the parts.
func (k QuotaEventKey) Args() []any { return []any{k.Time, k.ID, k.Start, k.Percent} }

// ListKey returns the event's key in lists.
func (e QuotaEvent) ListKey() QuotaEventKey {
	return QuotaEventKey{Time: e.At.UnixMicro(), ID: e.ID, Start: e.Start.UnixMicro(), Percent: e.Percent}
}

func scanQuotaEvent(row sqldb.Row) (QuotaEvent, error) {
	var e QuotaEvent
	var at int64
	var err error
	e.QuotaUse, err = scanQuota(row, &e.Percent, &at)
	e.At = sqldb.Time(at)
	return e, err
}

// QuotaEvents returns the events after a key that v may see, newest first.
func (s *Store) QuotaEvents(ctx context.Context, v identity.Viewer, f QuotaFilter, after QuotaEventKey) iter.Seq2[QuotaEvent, error] {
	if after == (QuotaEventKey{}) {
		after.Time = math.MaxInt64
	}
	return sqldb.List(ctx, s.db, scanQuotaEvent, QuotaEvent.ListKey, after, selectQuotaEvent+`
		WHERE (noted_at, id, start_at, percent) < ($1, $2, $3, $4)
			AND `+ofViewer(v, "quota_event", "id, start_at, percent", "$6")+`
			AND (CAST($7 AS TEXT) IS NULL OR application = $7)
			AND (CAST($8 AS TEXT) IS NULL OR version = $8)
			AND (CAST($9 AS BIGINT) IS NULL OR noted_at >= $9)
			AND (CAST($10 AS BIGINT) IS NULL OR noted_at < $10)
		ORDER BY noted_at DESC, id DESC, start_at DESC, percent DESC LIMIT $5`,
		v.Owner(), f.Application, f.Version, f.Noted.Start, f.Noted.End)
}
