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
	usageBatch  = "usage"
	recordBatch = "records"
)

// BatchResult says what happened to a batch.
type BatchResult struct {
	// Duplicate says that it had been counted before.
	Duplicate bool
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
	appOwner, versionOwner, err := owners.of(ctx, u.Application, u.Version)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO usage (hour, version, subscription, application, application_owner, version_owner, sessions,
			in_messages, in_frames, in_payload, in_wire, out_messages, out_frames, out_payload, out_wire)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT (hour, version, subscription, application) DO UPDATE SET
			sessions = usage.sessions + excluded.sessions,
			in_messages = usage.in_messages + excluded.in_messages, in_frames = usage.in_frames + excluded.in_frames,
			in_payload = usage.in_payload + excluded.in_payload, in_wire = usage.in_wire + excluded.in_wire,
			out_messages = usage.out_messages + excluded.out_messages, out_frames = usage.out_frames + excluded.out_frames,
			out_payload = usage.out_payload + excluded.out_payload, out_wire = usage.out_wire + excluded.out_wire`,
		u.Hour.UnixMicro(), u.Version, u.Subscription, u.Application, appOwner, versionOwner, u.Sessions,
		u.In.Messages, u.In.Frames, u.In.Payload, u.In.Wire, u.Out.Messages, u.Out.Frames, u.Out.Payload, u.Out.Wire)
	return err
}

// owners finds the owners of applications and versions, deleted ones too.
type owners struct {
	tx    *sqldb.Tx
	known map[string]string
}

func newOwners(tx *sqldb.Tx) *owners { return &owners{tx: tx, known: map[string]string{}} }

// of returns the ids of the owners of an application, given by id, and of a
// version, given by resource name; "" for an unknown owner.
func (o *owners) of(ctx context.Context, application, version string) (app, ver string, err error) {
	if application != "" {
		app, err = o.find(ctx, ApplicationName(application), `
			SELECT owner FROM application WHERE id = $1 UNION ALL SELECT owner FROM former_owner WHERE name = $2`,
			application, ApplicationName(application))
		if err != nil {
			return "", "", err
		}
	}
	ver, err = o.find(ctx, version, `
		SELECT owner FROM version WHERE name = $1 UNION ALL SELECT owner FROM former_owner WHERE name = $2`,
		version, version)
	return app, ver, err
}

func (o *owners) find(ctx context.Context, name, query string, args ...any) (string, error) {
	if owner, ok := o.known[name]; ok {
		return owner, nil
	}
	var owner string
	err := o.tx.QueryRowContext(ctx, query, args...).Scan(&owner)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", err
	}
	o.known[name] = owner
	return owner, nil
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
	err := row.Scan(&hour, &u.Version, &u.Subscription, &u.Application, &u.Sessions,
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
}

// Usage returns the rows after a key that v may see, which are those of v's
// applications and v's versions, oldest first.
func (s *Store) Usage(ctx context.Context, v identity.Viewer, f UsageFilter, after UsageKey) iter.Seq2[Usage, error] {
	return sqldb.List(ctx, s.db, scanUsage, Usage.ListKey, after, `
		SELECT hour, version, subscription, application, sessions,
			in_messages, in_frames, in_payload, in_wire, out_messages, out_frames, out_payload, out_wire
		FROM usage
		WHERE (hour, version, subscription, application) > ($1, $2, $3, $4)
			AND (CAST($6 AS TEXT) IS NULL OR application_owner = $6 OR version_owner = $6)
			AND (CAST($7 AS TEXT) IS NULL OR subscription = $7)
			AND (CAST($8 AS TEXT) IS NULL OR application = $8)
			AND (CAST($9 AS TEXT) IS NULL OR version = $9)
		ORDER BY hour, version, subscription, application LIMIT $5`,
		v.Owner(), f.Subscription, f.Application, f.Version)
}
