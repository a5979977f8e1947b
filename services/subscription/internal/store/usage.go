package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
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

func (t *Traffic) add(o Traffic) {
	t.Messages += o.Messages
	t.Frames += o.Frames
	t.Payload += o.Payload
	t.Wire += o.Wire
}

// LimitName names a limit of a plan at a place.
type LimitName struct {
	// Place is the API's number of a place.
	Place int64
	// Plan is a resource name, Limit the limit's name in the plan.
	Plan, Limit string
}

// Numbers of places where limits hold; a limit of a subscription is seen by whoever sees
// the usage.
const (
	placeSubscription = 1
	placeApplication  = 2
	placeVersion      = 3
)

func (n LimitName) compare(o LimitName) int {
	return cmp.Or(cmp.Compare(n.Place, o.Place), strings.Compare(n.Plan, o.Plan), strings.Compare(n.Limit, o.Limit))
}

// LimitUsage is what a limit did.
type LimitUsage struct {
	LimitName
	Pauses             int64 `json:",omitempty"`
	PausedMilliseconds int64 `json:",omitempty"`
	Dropped            int64 `json:",omitempty"`
	Closed             int64 `json:",omitempty"`
	Refused            int64 `json:",omitempty"`
	Observed           int64 `json:",omitempty"`
	// FirstAt and LastAt are the first and the last minute in which it did any of this.
	// They are not set in reports and session records.
	FirstAt time.Time `json:"-"`
	LastAt  time.Time `json:"-"`
}

func (l *LimitUsage) add(o LimitUsage) {
	l.Pauses += o.Pauses
	l.PausedMilliseconds += o.PausedMilliseconds
	l.Dropped += o.Dropped
	l.Closed += o.Closed
	l.Refused += o.Refused
	l.Observed += o.Observed
	if l.FirstAt.IsZero() || o.FirstAt.Before(l.FirstAt) {
		l.FirstAt = o.FirstAt
	}
	if o.LastAt.After(l.LastAt) {
		l.LastAt = o.LastAt
	}
}

// RefusedHandshakes counts handshakes that were answered with a status.
type RefusedHandshakes struct{ Status, Number int64 }

// Usage is what passed, was held back and was refused in a span of time. A report is for
// one minute of one version, application, subscription and plan.
type Usage struct {
	// Start is when the span begins, not set for all of the time.
	Start time.Time
	// API, Version and Plan are resource names, Application and Subscription ids; each is
	// empty for none, and where usage is not grouped by it. Reports have no API.
	API, Version, Application, Subscription, Plan string
	Sessions                                      int64
	In, Out                                       Traffic
	// Limits are in the order of their names, Refused in that of the statuses.
	Limits  []LimitUsage
	Refused []RefusedHandshakes
	// APIKeys are those with which sessions began or relayed something; only reports have
	// them.
	APIKeys []resourcename.APIKey
	// Labels are read, not written.
	Labels Labels

	// amount is what the top of usage is ordered by.
	amount int64
}

// series is what usage is counted by.
type series struct{ version, application, subscription, plan string }

func (s series) compare(o series) int {
	return cmp.Or(strings.Compare(s.version, o.version), strings.Compare(s.application, o.application),
		strings.Compare(s.subscription, o.subscription), strings.Compare(s.plan, o.plan))
}

func (s series) args() []any { return []any{s.version, s.application, s.subscription, s.plan} }

// AddUsage counts a batch of reports, once. What is no longer kept by the minute or hour
// still counts in the longer spans.
func (s *Store) AddUsage(ctx context.Context, b Batch, reports []Usage) (result BatchResult, err error) {
	names := map[series]bool{}
	for _, u := range reports {
		names[u.series()] = true
	}
	err = s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		if result, err = s.take(ctx, tx, usageBatch, b); err != nil || result.Duplicate {
			return err
		}
		// All batches write series, then the tables in one order, and the rows of a table
		// in one order, so that two never deadlock.
		ids, err := s.seriesIDs(ctx, tx, slices.SortedFunc(maps.Keys(names), series.compare))
		if err != nil {
			return err
		}
		for at, span := range spans {
			sums := newSums(span, ids, s.keep.keptSince(s.now(), at))
			for _, u := range reports {
				sums.add(u)
			}
			if err := sums.write(ctx, tx); err != nil {
				return err
			}
		}
		return noteKeyUse(ctx, tx, reports)
	})
	if err != nil {
		return BatchResult{}, fmt.Errorf("add usage: %w", err)
	}
	return result, nil
}

func (u Usage) series() series {
	return series{u.Version, u.Application, u.Subscription, u.Plan}
}

// seriesIDs returns the ids of series, and adds those that are new. It notes that they
// are in use, once a day.
func (s *Store) seriesIDs(ctx context.Context, tx *sqldb.Tx, all []series) (map[series]int64, error) {
	today := floor(s.now().UnixMicro(), spans[days].length)
	ids, owned := map[series]int64{}, map[series]string{}
	for chunk := range chunks(all) {
		var args []any
		for _, name := range chunk {
			args = append(args, name.args()...)
		}
		rows, err := sqldb.All(ctx, tx, scanSeries, `
			SELECT id, version, application, subscription, plan, application_owner, seen_at FROM usage_series
			WHERE (version, application, subscription, plan) IN (VALUES `+values(len(chunk), 4)+`)`, args...)
		if err != nil {
			return nil, fmt.Errorf("read series: %w", err)
		}
		for _, row := range rows {
			owned[row.series] = row.owner
			if row.seen >= today {
				ids[row.series] = row.id
			}
		}
	}
	owners := newOwners(tx)
	left := slices.DeleteFunc(slices.Clone(all), func(name series) bool { return ids[name] != 0 })
	for chunk := range chunks(left) {
		var args []any
		for _, name := range chunk {
			owner, known := owned[name]
			if !known {
				var err error
				if owner, err = owners.of(ctx, name.application); err != nil {
					return nil, err
				}
			}
			api, _, _ := strings.Cut(name.version, "/versions/")
			args = append(args, 1+rand.Int64N(math.MaxInt64), api)
			args = append(append(args, name.args()...), owner, today)
		}
		// Another batch may add them too: the id is the one that was there first.
		rows, err := sqldb.All(ctx, tx, scanSeries, `
			INSERT INTO usage_series (id, api, version, application, subscription, plan, application_owner, seen_at)
			VALUES `+values(len(chunk), 8)+`
			ON CONFLICT (version, application, subscription, plan) DO UPDATE SET seen_at = excluded.seen_at
			RETURNING id, version, application, subscription, plan, application_owner, seen_at`, args...)
		if err != nil {
			return nil, fmt.Errorf("add series: %w", err)
		}
		for _, row := range rows {
			ids[row.series] = row.id
		}
	}
	return ids, nil
}

type seriesRow struct {
	series
	id    int64
	owner string
	seen  int64
}

func scanSeries(row sqldb.Row) (s seriesRow, err error) {
	err = row.Scan(&s.id, &s.version, &s.application, &s.subscription, &s.plan, &s.owner, &s.seen)
	return s, err
}

// chunks divides rows into chunks of 16, 4 and 1, so that the statements that write them
// have few texts. Larger ones are slower: what SQLite needs to find a parameter by its
// number grows with how many there are.
func chunks[T any](rows []T) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		for size := 16; len(rows) > 0; size = max(1, size/4) {
			for len(rows) >= size {
				if !yield(rows[:size]) {
					return
				}
				rows = rows[size:]
			}
		}
	}
}

// values returns the parameters of rows for VALUES: ($1, $2), ($3, $4).
func values(rows, columns int) string {
	var b strings.Builder
	for i := range rows * columns {
		switch {
		case i == 0:
			b.WriteByte('(')
		case i%columns == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(i + 1))
	}
	b.WriteByte(')')
	return b.String()
}

// sums are what a batch adds to the tables of one span.
type sums struct {
	span span
	ids  map[series]int64
	// since is from when on it is kept.
	since   int64
	traffic map[sumKey]*Usage
	limits  map[limitKey]*LimitUsage
	refused map[refusedKey]int64
}

// sumKey is the series and the start of a row.
type sumKey struct{ series, start int64 }

func (k sumKey) compare(o sumKey) int {
	return cmp.Or(cmp.Compare(k.series, o.series), cmp.Compare(k.start, o.start))
}

type limitKey struct {
	sumKey
	LimitName
}

func (k limitKey) compare(o limitKey) int {
	return cmp.Or(k.sumKey.compare(o.sumKey), k.LimitName.compare(o.LimitName))
}

type refusedKey struct {
	sumKey
	status int64
}

func (k refusedKey) compare(o refusedKey) int {
	return cmp.Or(k.sumKey.compare(o.sumKey), cmp.Compare(k.status, o.status))
}

func newSums(of span, ids map[series]int64, since int64) *sums {
	return &sums{
		span: of, ids: ids, since: since,
		traffic: map[sumKey]*Usage{}, limits: map[limitKey]*LimitUsage{}, refused: map[refusedKey]int64{},
	}
}

// add adds a report.
func (s *sums) add(u Usage) {
	key := sumKey{s.ids[u.series()], floor(u.Start.UnixMicro(), s.span.length)}
	if key.start < s.since {
		return
	}
	sum := at(s.traffic, key)
	sum.Sessions += u.Sessions
	sum.In.add(u.In)
	sum.Out.add(u.Out)
	for _, l := range u.Limits {
		l.FirstAt, l.LastAt = u.Start, u.Start
		at(s.limits, limitKey{key, l.LimitName}).add(l)
	}
	for _, r := range u.Refused {
		s.refused[refusedKey{key, r.Status}] += r.Number
	}
}

// at returns the value of a key, which it adds if there is none.
func at[K comparable, V any](of map[K]*V, key K) *V {
	v := of[key]
	if v == nil {
		v = new(V)
		of[key] = v
	}
	return v
}

// write adds the sums to their tables.
func (s *sums) write(ctx context.Context, tx *sqldb.Tx) error {
	table := "usage_" + s.span.name
	err := upsert(ctx, tx, slices.SortedFunc(maps.Keys(s.traffic), sumKey.compare), func(k sumKey) []any {
		u := s.traffic[k]
		return []any{k.series, k.start, u.Sessions, u.In.Messages, u.In.Frames, u.In.Payload, u.In.Wire,
			u.Out.Messages, u.Out.Frames, u.Out.Payload, u.Out.Wire}
	}, `
		INSERT INTO `+table+` AS t (series, start_at, sessions,
			in_messages, in_frames, in_payload, in_wire, out_messages, out_frames, out_payload, out_wire)
		VALUES `, `
		ON CONFLICT (series, start_at) DO UPDATE SET
			sessions = t.sessions + excluded.sessions,
			in_messages = t.in_messages + excluded.in_messages, in_frames = t.in_frames + excluded.in_frames,
			in_payload = t.in_payload + excluded.in_payload, in_wire = t.in_wire + excluded.in_wire,
			out_messages = t.out_messages + excluded.out_messages, out_frames = t.out_frames + excluded.out_frames,
			out_payload = t.out_payload + excluded.out_payload, out_wire = t.out_wire + excluded.out_wire`)
	if err != nil {
		return err
	}
	table = "usage_limit_" + s.span.name
	err = upsert(ctx, tx, slices.SortedFunc(maps.Keys(s.limits), limitKey.compare), func(k limitKey) []any {
		l := s.limits[k]
		return []any{k.series, k.start, k.Place, k.Plan, k.Limit, l.Pauses, l.PausedMilliseconds, l.Dropped, l.Closed, l.Refused, l.Observed,
			micros(l.FirstAt), micros(l.LastAt)}
	}, `
		INSERT INTO `+table+` AS t (series, start_at, place, plan, name, pauses, paused_ms, dropped, closed, refused, observed, first_at, last_at)
		VALUES `, `
		ON CONFLICT (series, start_at, place, plan, name) DO UPDATE SET
			pauses = t.pauses + excluded.pauses, paused_ms = t.paused_ms + excluded.paused_ms, dropped = t.dropped + excluded.dropped,
			closed = t.closed + excluded.closed, refused = t.refused + excluded.refused, observed = t.observed + excluded.observed,
			first_at = CASE WHEN t.first_at < excluded.first_at THEN t.first_at ELSE excluded.first_at END,
			last_at = CASE WHEN t.last_at > excluded.last_at THEN t.last_at ELSE excluded.last_at END`)
	if err != nil {
		return err
	}
	table = "usage_refused_" + s.span.name
	return upsert(ctx, tx, slices.SortedFunc(maps.Keys(s.refused), refusedKey.compare), func(k refusedKey) []any {
		return []any{k.series, k.start, k.status, s.refused[k]}
	}, `
		INSERT INTO `+table+` AS t (series, start_at, status, number)
		VALUES `, `
		ON CONFLICT (series, start_at, status) DO UPDATE SET number = t.number + excluded.number`)
}

// upsert runs a statement, whose text is before and after its VALUES, for rows.
func upsert[K any](ctx context.Context, tx *sqldb.Tx, keys []K, row func(K) []any, before, after string) error {
	for chunk := range chunks(keys) {
		var args []any
		for _, k := range chunk {
			args = append(args, row(k)...)
		}
		if _, err := tx.ExecContext(ctx, before+values(len(chunk), len(args)/len(chunk))+after, args...); err != nil {
			return err
		}
	}
	return nil
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
