package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Batch names a batch that a gateway reports.
type Batch struct {
	// Gateway is the gateway's instance, BootID one start of it.
	Gateway, BootID string
	// Sequence numbers the batches of a start, separately for each kind.
	Sequence int64
}

// Kinds of batches.
const (
	usageBatch   = "usage"
	recordBatch  = "records"
	leftOutBatch = "left out"
)

// BatchResult says what happened to a batch.
type BatchResult struct {
	// Duplicate says that it had been counted before.
	Duplicate bool
	// LeftOut is how many session records of it were not kept, because there are as many
	// of their kind and hour as there may be.
	LeftOut int
	// Missing is how many earlier batches were acknowledged but are not here. That
	// happens only when the database has lost its last commits.
	Missing int64
}

// take marks a batch as taken in. It locks the row of the gateway's start, so a
// batch that arrives twice at once is counted once.
func (s *Store) take(ctx context.Context, tx *sqldb.Tx, kind string, b Batch) (BatchResult, error) {
	var last int64
	err := tx.QueryRowContext(ctx, `
		SELECT sequence FROM batch WHERE gateway = $1 AND boot_id = $2 AND kind = $3`, b.Gateway, b.BootID, kind).Scan(&last)
	known := err == nil
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return BatchResult{}, err
	}
	took, err := sqldb.Changed(tx.ExecContext(ctx, `
		INSERT INTO batch (gateway, boot_id, kind, sequence, taken_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (gateway, boot_id, kind) DO UPDATE SET sequence = excluded.sequence, taken_at = excluded.taken_at
		WHERE batch.sequence < excluded.sequence`,
		b.Gateway, b.BootID, kind, b.Sequence, s.moment().UnixMicro()))
	if err != nil || !took {
		return BatchResult{Duplicate: true}, err
	}
	if known {
		return BatchResult{Missing: max(0, b.Sequence-last-1)}, nil
	}
	return BatchResult{}, nil
}

// Traffic counts what passed in one direction.
type Traffic struct{ Messages, Frames, Payload, Wire int64 }

// Usage is the traffic of one subscription, or of one version without credentials,
// in one hour.
type Usage struct {
	Hour time.Time
	// Version is a resource name.
	Version string
	// Subscription and Application are ids, empty if no credential was required.
	Subscription, Application string
	Sessions                  int64
	In, Out                   Traffic
	// Labels are read, not written.
	Labels Labels
}

// AddUsage counts a batch of usage, once.
func (s *Store) AddUsage(ctx context.Context, b Batch, rows []Usage) (result BatchResult, err error) {
	// All batches write their rows in the same order, so that two never deadlock.
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b Usage) int {
		return cmpFirst(a.Hour.Compare(b.Hour), strings.Compare(a.Version, b.Version),
			strings.Compare(a.Subscription, b.Subscription), strings.Compare(a.Application, b.Application))
	})
	err = s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		if result, err = s.take(ctx, tx, usageBatch, b); err != nil || result.Duplicate {
			return err
		}
		owners := newOwners(tx)
		for _, u := range rows {
			if err := addUsage(ctx, tx, owners, u); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return BatchResult{}, fmt.Errorf("add usage: %w", err)
	}
	return result, nil
}

func cmpFirst(results ...int) int {
	for _, r := range results {
		if r != 0 {
			return r
		}
	}
	return 0
}

func addUsage(ctx context.Context, tx *sqldb.Tx, owners *owners, u Usage) error {
	owner, err := owners.of(ctx, u.Application)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO usage (hour, version, subscription, application, application_owner, sessions,
			in_messages, in_frames, in_payload, in_wire, out_messages, out_frames, out_payload, out_wire)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (hour, version, subscription, application) DO UPDATE SET
			sessions = usage.sessions + excluded.sessions,
			in_messages = usage.in_messages + excluded.in_messages, in_frames = usage.in_frames + excluded.in_frames,
			in_payload = usage.in_payload + excluded.in_payload, in_wire = usage.in_wire + excluded.in_wire,
			out_messages = usage.out_messages + excluded.out_messages, out_frames = usage.out_frames + excluded.out_frames,
			out_payload = usage.out_payload + excluded.out_payload, out_wire = usage.out_wire + excluded.out_wire`,
		u.Hour.UnixMicro(), u.Version, u.Subscription, u.Application, owner, u.Sessions,
		u.In.Messages, u.In.Frames, u.In.Payload, u.In.Wire, u.Out.Messages, u.Out.Frames, u.Out.Payload, u.Out.Wire)
	return err
}

// owners finds the owners of applications, deleted ones too.
type owners struct {
	tx    *sqldb.Tx
	known map[string]string
}

func newOwners(tx *sqldb.Tx) *owners { return &owners{tx: tx, known: map[string]string{}} }

// of returns the id of the owner of an application, given by id; "" for an unknown one.
func (o *owners) of(ctx context.Context, application string) (string, error) {
	if application == "" {
		return "", nil
	}
	if owner, ok := o.known[application]; ok {
		return owner, nil
	}
	owner, _, err := sqldb.One(ctx, o.tx, scanOwner, `
		SELECT owner FROM application WHERE id = $1 UNION ALL SELECT owner FROM former_owner WHERE name = $2`,
		application, ApplicationName(application))
	if err != nil {
		return "", fmt.Errorf("look for the owner of an application: %w", err)
	}
	o.known[application] = owner
	return owner, nil
}

func scanOwner(row sqldb.Row) (owner string, err error) {
	err = row.Scan(&owner)
	return owner, err
}

// ofViewer returns the condition under which a row of a table is one that v may see; see
// seenBy. It is on the table's key, so that all of it is found by indexes; owner is the
// parameter that has v.Owner(). Also are further conditions under which v may see a row.
func ofViewer(v identity.Viewer, table, key, owner string, also ...string) string {
	if v.Owner() == nil {
		return "CAST(" + owner + " AS TEXT) IS NULL"
	}
	var rows []string
	for _, condition := range seenBy(owner, also...) {
		rows = append(rows, "SELECT "+key+" FROM "+table+" WHERE "+condition)
	}
	return "(" + key + ") IN (" + strings.Join(rows, `
		UNION ALL `) + ")"
}

// seenBy returns the conditions under which an owner may see a row, each of which is
// enough: it is of the owner's applications, or of the owner's versions, those that are
// gone too. Versions are looked up when rows are read, so that what is known of a version
// follows it to another owner.
func seenBy(owner string, also ...string) []string {
	return append([]string{
		"application_owner = " + owner,
		"version IN (SELECT name FROM version WHERE owner = " + owner + ")",
		"version IN (SELECT name FROM former_owner WHERE owner = " + owner + " AND name NOT IN (SELECT name FROM version))",
	}, also...)
}

// ofAPI is the condition under which a row has no version, but an API of the owner's.
func ofAPI(owner string) string {
	return "api <> '' AND api IN (SELECT api FROM version WHERE owner = " + owner + ")"
}

// UsageKey is the key of a row of usage in lists.
type UsageKey struct {
	// Hour is in microseconds since 1970.
	Hour                               int64
	Version, Subscription, Application string
}

// Args returns the hour and the names.
func (p UsageKey) Args() []any { return []any{p.Hour, p.Version, p.Subscription, p.Application} }

// ListKey returns the row's key in lists.
func (u Usage) ListKey() UsageKey {
	return UsageKey{Hour: u.Hour.UnixMicro(), Version: u.Version, Subscription: u.Subscription, Application: u.Application}
}

func scanUsage(row sqldb.Row) (Usage, error) {
	var u Usage
	var hour int64
	err := sqldb.With(row, u.Labels.dests()...).Scan(&hour, &u.Version, &u.Subscription, &u.Application, &u.Sessions,
		&u.In.Messages, &u.In.Frames, &u.In.Payload, &u.In.Wire, &u.Out.Messages, &u.Out.Frames, &u.Out.Payload, &u.Out.Wire)
	u.Hour = sqldb.Time(hour)
	return u, err
}

// UsageFilter restricts Usage; a nil field restricts nothing.
type UsageFilter struct {
	// Subscription and Application are ids.
	Subscription, Application *string
	// Version is a resource name.
	Version *string
	// Begun is when the hours of the rows begin.
	Begun page.TimeRange
}

// Usage returns the rows after a key that v may see, which are those of v's
// applications and v's versions, oldest first.
func (s *Store) Usage(ctx context.Context, v identity.Viewer, f UsageFilter, after UsageKey) iter.Seq2[Usage, error] {
	return sqldb.List(ctx, s.db, scanUsage, Usage.ListKey, after, `
		SELECT hour, version, subscription, application, sessions,
			in_messages, in_frames, in_payload, in_wire, out_messages, out_frames, out_payload, out_wire, `+usageLabels+`
		FROM usage r
		WHERE (hour, version, subscription, application) > ($1, $2, $3, $4)
			AND `+ofViewer(v, "usage", "hour, version, subscription, application", "$6")+`
			AND (CAST($7 AS TEXT) IS NULL OR subscription = $7)
			AND (CAST($8 AS TEXT) IS NULL OR application = $8)
			AND (CAST($9 AS TEXT) IS NULL OR version = $9)
			AND (CAST($10 AS BIGINT) IS NULL OR hour >= $10)
			AND (CAST($11 AS BIGINT) IS NULL OR hour < $11)
		ORDER BY hour, version, subscription, application LIMIT $5`,
		v.Owner(), f.Subscription, f.Application, f.Version, f.Begun.Start, f.Begun.End)
}
