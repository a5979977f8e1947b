package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/ref"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// LeftOut is what records of sessions and refused handshakes that were not kept are
// counted by.
type LeftOut struct {
	// Hour is when the hour of their refs began.
	Hour time.Time
	// API, Version and Application are as in the records.
	API, Version, Application string
	// EndReason and Code are as in the records.
	EndReason int64
	Code      string
}

// leftOut returns what the record is counted by if it is not kept. The ref of a session
// of long ago tells when it began: its record is looked for by that.
func (r SessionRecord) leftOut() LeftOut {
	hour, ok := ref.Hour(r.Ref)
	if !ok {
		hour = r.EndedAt.Truncate(time.Hour)
	}
	return LeftOut{Hour: hour.UTC(), API: r.API, Version: r.Version, Application: r.Application, EndReason: r.EndReason, Code: r.Code}
}

func (l LeftOut) compare(o LeftOut) int {
	return cmp.Or(l.Hour.Compare(o.Hour), strings.Compare(l.API, o.API), strings.Compare(l.Version, o.Version),
		strings.Compare(l.Application, o.Application), cmp.Compare(l.EndReason, o.EndReason), strings.Compare(l.Code, o.Code))
}

// AddLeftOut counts records that a gateway did not keep, once. Of refused handshakes, the
// last record that is kept of their kind says so too.
func (s *Store) AddLeftOut(ctx context.Context, b Batch, counts map[LeftOut]int64) (result BatchResult, err error) {
	groups := map[recordGroup]int64{}
	for l, n := range counts {
		if l.Code != "" {
			groups[refusals(l)] += n
		}
	}
	err = s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		if result, err = s.take(ctx, tx, leftOutBatch, b); err != nil || result.Duplicate {
			return err
		}
		for _, g := range slices.SortedFunc(maps.Keys(groups), recordGroup.compare) {
			if _, err := tx.ExecContext(ctx, `
				UPDATE session_record SET left_out = left_out + $1
				WHERE ref = (SELECT last_ref FROM record_count WHERE hour = $2 AND bounded = $3)`, groups[g], g.hour, g.of); err != nil {
				return err
			}
		}
		return addLeftOut(ctx, tx, counts)
	})
	if err != nil {
		return BatchResult{}, fmt.Errorf("add counts of records left out: %w", err)
	}
	return result, nil
}

// addLeftOut adds counts in one order, and after everything else of a transaction, so
// that no two deadlock.
func addLeftOut(ctx context.Context, tx *sqldb.Tx, counts map[LeftOut]int64) error {
	owners := newOwners(tx)
	for _, l := range slices.SortedFunc(maps.Keys(counts), LeftOut.compare) {
		owner, err := owners.of(ctx, l.Application)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO record_left_out (hour, api, version, application, application_owner, end_reason, code, number)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (hour, api, version, application, end_reason, code) DO UPDATE SET number = record_left_out.number + excluded.number`,
			micros(l.Hour), l.API, l.Version, l.Application, owner, l.EndReason, l.Code, counts[l])
		if err != nil {
			return fmt.Errorf("count records left out: %w", err)
		}
	}
	return nil
}

// Reason is why sessions ended, or handshakes were refused.
type Reason struct {
	// EndReason and Code are as in records.
	EndReason int64
	Code      string
	// Number is how many there were.
	Number int64
}

// ReasonsLeftOut counts the records that v may see, and that were not kept of the hour
// that a ref was made in, by reason, most first.
func (s *Store) ReasonsLeftOut(ctx context.Context, v identity.Viewer, hour time.Time) ([]Reason, error) {
	rows, err := s.db.QueryContext(ctx, `
		SELECT end_reason, code, CAST(SUM(number) AS BIGINT) FROM record_left_out
		WHERE hour = $1 AND (CAST($2 AS TEXT) IS NULL OR `+strings.Join(seenBy("$2", ofAPI("$2")), " OR ")+`)
		GROUP BY end_reason, code ORDER BY 3 DESC, code, end_reason`, micros(hour), v.Owner())
	if err != nil {
		return nil, fmt.Errorf("read counts of records left out: %w", err)
	}
	defer rows.Close()
	var all []Reason
	for rows.Next() {
		var r Reason
		if err := rows.Scan(&r.EndReason, &r.Code, &r.Number); err != nil {
			return nil, fmt.Errorf("read counts of records left out: %w", err)
		}
		all = append(all, r)
	}
	return all, rows.Err()
}
