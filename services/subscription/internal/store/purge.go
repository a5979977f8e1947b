package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Retention is how long old rows are kept.
type Retention struct {
	// Records is for session records, Refusals for those of refused handshakes.
	Records, Refusals time.Duration
	// UsageMinutes, Usage and UsageDays are for usage by the minute, by the hour, and by
	// the day: none is shorter than the one before.
	UsageMinutes, Usage, UsageDays time.Duration
}

// Keep sets how long old rows are kept. It is called before anything is written; without
// it they are kept for ever.
func (s *Store) Keep(keep Retention) { s.keep = keep }

// How long rows are kept that no option is for.
const (
	// slack is how long revocations, secrets and sign-ins are kept after they
	// expire, because clocks differ.
	slack = time.Hour
	// expiredKeys is how long API keys are listed after they expire, so that who wonders
	// why a program is refused finds its key.
	expiredKeys = 30 * 24 * time.Hour
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
	// quotaWindowsBegin is how long after its end a quota's window may begin: only while
	// none is forgotten, so that no window begins twice.
	quotaWindowsBegin = quotaWindows / 2
	// quotaEvents is how long it is known when quotas came to a share of their amount.
	quotaEvents = 90 * 24 * time.Hour
	// minuteEvents is the same for quotas by the minute, which may have some each minute.
	minuteEvents = 2 * 24 * time.Hour
	// tickets is how long tickets are known after they expire, for attempts whose answers
	// were lost.
	tickets = time.Minute
	// securityEvents is how long security events are known.
	securityEvents = 90 * 24 * time.Hour
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

// purging is a kind of rows that are deleted: a statement deletes at most $2 of those
// whose time is before $1.
type purging struct {
	what   string
	before time.Time
	query  string
}

// Purge deletes expired rows.
func (s *Store) Purge(ctx context.Context) error {
	now, keep := s.moment(), s.keep
	// What is remembered of those that are gone, as long as there is anything of them.
	former := now.Add(-max(lasting(keep.Records), lasting(keep.Refusals), lasting(keep.UsageDays))).Add(-reports)
	for _, step := range slices.Concat(s.oldUsage(now), []purging{
		{"revocations", now.Add(-slack), `
			DELETE FROM revocation WHERE id IN (SELECT id FROM revocation WHERE expires_at < $1 LIMIT $2)`},
		{"secrets", now.Add(-slack), `
			DELETE FROM oauth_client_secret WHERE id IN (
				SELECT id FROM oauth_client_secret WHERE expires_at > 0 AND expires_at < $1 LIMIT $2)`},
		{"API keys", now.Add(-expiredKeys), `
			DELETE FROM api_key WHERE id IN (
				SELECT id FROM api_key WHERE expires_at > 0 AND expires_at < $1 LIMIT $2)`},
		{"replaced values of API keys", now.Add(-slack), `
			DELETE FROM api_key_value WHERE id IN (
				SELECT id FROM api_key_value WHERE expires_at > 0 AND expires_at < $1 LIMIT $2)`},
		{"tickets", now.Add(-tickets), `
			DELETE FROM ticket WHERE hash IN (SELECT hash FROM ticket WHERE expires_at < $1 LIMIT $2)`},
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
		{"windows of quotas", now.Add(-quotaWindows), `
			DELETE FROM quota_window WHERE (id, start_at) IN (SELECT id, start_at FROM quota_window WHERE end_at < $1 LIMIT $2)`},
		{"events of quotas", now.Add(-quotaEvents), `
			DELETE FROM quota_event WHERE (id, start_at, percent) IN (
				SELECT id, start_at, percent FROM quota_event WHERE noted_at < $1 LIMIT $2)`},
		{"events of quotas by the minute", now.Add(-minuteEvents), `
			DELETE FROM quota_event WHERE (id, start_at, percent) IN (
				SELECT id, start_at, percent FROM quota_event WHERE noted_at < $1 AND end_at - start_at <= 60000000 LIMIT $2)`},
		{"security events", now.Add(-securityEvents), `
			DELETE FROM security_event WHERE id IN (SELECT id FROM security_event WHERE happened_at < $1 LIMIT $2)`},
		{"former owners", former, `
			DELETE FROM former_owner WHERE name IN (SELECT name FROM former_owner WHERE ended_at < $1 LIMIT $2)`},
		{"former names", former, `
			DELETE FROM former_name WHERE name IN (SELECT name FROM former_name WHERE ended_at < $1 LIMIT $2)`},
		{"batches", now.Add(-batches), `
			DELETE FROM batch WHERE boot_id IN (SELECT boot_id FROM batch WHERE taken_at < $1 LIMIT $2) AND taken_at < $1`},
	}) {
		if err := s.purge(ctx, step.query, step.before.UnixMicro()); err != nil {
			return fmt.Errorf("purge %s: %w", step.what, err)
		}
	}
	return s.purgeSurplus(ctx)
}

// purgeSurplus deletes the oldest security events of each kind that has more than its bound,
// so that a flood of one kind takes no room from the others.
func (s *Store) purgeSurplus(ctx context.Context) error {
	if s.bounds.SecurityEvents == 0 {
		return nil
	}
	for _, kind := range securitylog.Kinds() {
		err := s.purge(ctx, fmt.Sprintf(`
			DELETE FROM security_event WHERE id IN (
				SELECT id FROM security_event WHERE event = $1 AND (happened_at, id) <= (
					SELECT happened_at, id FROM security_event WHERE event = $1 ORDER BY happened_at DESC, id DESC LIMIT 1 OFFSET %d)
				ORDER BY happened_at, id LIMIT $2)`, s.bounds.SecurityEvents), string(kind))
		if err != nil {
			return fmt.Errorf("purge security events %s: %w", kind, err)
		}
	}
	return nil
}

// oldUsage is usage that is no longer kept.
func (s *Store) oldUsage(now time.Time) (all []purging) {
	for at, span := range spans {
		before := time.UnixMicro(s.keep.keptSince(now, at))
		for _, t := range []struct{ table, key string }{
			{trafficTable.name, "series, start_at"}, {limitTable.name, "series, start_at, place, plan, name"}, {refusedTable.name, "series, start_at, status"},
		} {
			table := t.table + "_" + span.name
			all = append(all, purging{"usage by the " + span.name, before, `
			DELETE FROM ` + table + ` WHERE (` + t.key + `) IN (
				SELECT ` + t.key + ` FROM ` + table + ` WHERE start_at < $1 ORDER BY start_at LIMIT $2)`})
		}
	}
	// All usage of a series is from before it was seen last.
	before := time.UnixMicro(s.keep.keptSince(now, days)).Add(-reports)
	return append(all, purging{"series of usage", before, `
			DELETE FROM usage_series WHERE seen_at < $1 AND id IN (SELECT id FROM usage_series WHERE seen_at < $1 LIMIT $2)`})
}

// purge deletes the rows that a statement chooses by its first parameter, at most $2 at once.
func (s *Store) purge(ctx context.Context, query string, by any) error {
	for {
		more := false
		// It may meet a gateway that writes the same rows in another order.
		err := s.db.InTx(ctx, func(tx *sqldb.Tx) (err error) {
			more, err = sqldb.Changed(tx.ExecContext(ctx, query, by, purgeRows))
			return err
		})
		if err != nil || !more {
			return err
		}
	}
}
