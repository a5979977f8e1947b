package store

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Retention is how long old rows are kept.
type Retention struct {
	// Records is for session records, Refusals for those of refused handshakes.
	Records, Refusals time.Duration
	// Usage is for rows of usage.
	Usage time.Duration
}

// How long rows are kept that no option is for.
const (
	// slack is how long revocations, secrets and sign-ins are kept after they
	// expire, because clocks differ.
	slack = time.Hour
	// batches is how long a gateway's start is remembered after its last report. A
	// batch that is sent again after that counts twice.
	batches = 90 * 24 * time.Hour
	// reports is how long after the end of a version or application gateways may still
	// report about it, while they could not before.
	reports = 48 * time.Hour
	// counts is how long it is known how many session records of an hour are kept.
	counts = 48 * time.Hour
	// devices is how long a device is remembered after it was last signed in from.
	devices = 180 * 24 * time.Hour
	// quotaWindows is how long after its end a quota's window is known, while gateways say
	// what they spent of it last.
	quotaWindows = 10 * time.Minute
	// quotaEvents is how long it is known when quotas came to a share of their amount.
	quotaEvents = 90 * 24 * time.Hour
)

// purgeRows is how many rows one transaction deletes, so that writers do not wait
// long.
const purgeRows = 1000

// lasting returns a time to keep something, or the longest for 0.
func lasting(keep time.Duration) time.Duration {
	if keep == 0 {
		return math.MaxInt64
	}
	return keep
}

// Purge deletes expired rows. Each of its statements deletes at most $2 rows whose
// time is before $1.
func (s *Store) Purge(ctx context.Context, keep Retention) error {
	now := s.moment()
	for _, step := range []struct {
		what   string
		before time.Time
		query  string
	}{
		{"revocations", now.Add(-slack), `
			DELETE FROM revocation WHERE id IN (SELECT id FROM revocation WHERE expires_at < $1 LIMIT $2)`},
		{"secrets", now.Add(-slack), `
			DELETE FROM oauth_client_secret WHERE id IN (
				SELECT id FROM oauth_client_secret WHERE expires_at > 0 AND expires_at < $1 LIMIT $2)`},
		{"sign-ins", now.Add(-slack), `
			DELETE FROM sign_in WHERE id IN (SELECT id FROM sign_in WHERE expires_at < $1 LIMIT $2)`},
		{"ended access", now, `
			DELETE FROM ended_access WHERE name IN (SELECT name FROM ended_access WHERE expires_at < $1 LIMIT $2)`},
		{"failed sign-ins", now, `
			DELETE FROM sign_in_failure WHERE penalty_until < $1 AND username_fold IN (
				SELECT username_fold FROM sign_in_failure WHERE penalty_until < $1 LIMIT $2)`},
		{"devices", now.Add(-devices), `
			DELETE FROM device WHERE hash IN (SELECT hash FROM device WHERE used_at < $1 LIMIT $2)`},
		{"session records", now.Add(-lasting(keep.Records)), `
			DELETE FROM session_record WHERE ref IN (SELECT ref FROM session_record WHERE ended_at < $1 AND code = '' LIMIT $2)`},
		{"records of refused handshakes", now.Add(-lasting(keep.Refusals)), `
			DELETE FROM session_record WHERE ref IN (SELECT ref FROM session_record WHERE ended_at < $1 AND code <> '' LIMIT $2)`},
		{"session records left out", now.Add(-lasting(keep.Records)), `
			DELETE FROM record_left_out WHERE (hour, api, version, application, end_reason, code) IN (
				SELECT hour, api, version, application, end_reason, code FROM record_left_out WHERE hour < $1 AND code = '' LIMIT $2)`},
		{"refused handshakes left out", now.Add(-lasting(keep.Refusals)), `
			DELETE FROM record_left_out WHERE (hour, api, version, application, end_reason, code) IN (
				SELECT hour, api, version, application, end_reason, code FROM record_left_out WHERE hour < $1 AND code <> '' LIMIT $2)`},
		{"counts of session records", now.Add(-counts), `
			DELETE FROM record_count WHERE (hour, bounded) IN (
				SELECT hour, bounded FROM record_count WHERE hour < $1 ORDER BY hour, bounded LIMIT $2)`},
		{"usage", now.Add(-lasting(keep.Usage)), `
			DELETE FROM usage WHERE hour IN (SELECT hour FROM usage WHERE hour < $1 ORDER BY hour LIMIT $2) AND hour < $1`},
		{"windows of quotas", now.Add(-quotaWindows), `
			DELETE FROM quota_window WHERE (id, start_at) IN (SELECT id, start_at FROM quota_window WHERE end_at < $1 LIMIT $2)`},
		{"events of quotas", now.Add(-quotaEvents), `
			DELETE FROM quota_event WHERE (id, start_at, percent) IN (
				SELECT id, start_at, percent FROM quota_event WHERE noted_at < $1 LIMIT $2)`},
		{"former owners", now.Add(-max(lasting(keep.Records), lasting(keep.Refusals), lasting(keep.Usage))).Add(-reports), `
			DELETE FROM former_owner WHERE name IN (SELECT name FROM former_owner WHERE ended_at < $1 LIMIT $2)`},
		{"former names", now.Add(-max(lasting(keep.Records), lasting(keep.Refusals), lasting(keep.Usage))).Add(-reports), `
			DELETE FROM former_name WHERE name IN (SELECT name FROM former_name WHERE ended_at < $1 LIMIT $2)`},
		{"batches", now.Add(-batches), `
			DELETE FROM batch WHERE boot_id IN (SELECT boot_id FROM batch WHERE taken_at < $1 LIMIT $2) AND taken_at < $1`},
	} {
		if err := s.purge(ctx, step.query, step.before); err != nil {
			return fmt.Errorf("purge %s: %w", step.what, err)
		}
	}
	return nil
}

func (s *Store) purge(ctx context.Context, query string, before time.Time) error {
	for {
		more, err := sqldb.Changed(s.db.ExecContext(ctx, query, before.UnixMicro(), purgeRows))
		if err != nil || !more {
			return err
		}
	}
}
