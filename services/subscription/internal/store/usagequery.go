package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// UsageFilter restricts Usage; a nil field restricts nothing.
type UsageFilter struct {
	// API, Version and Plan are resource names.
	API, Version, Plan *string
	// Subscription and Application are ids.
	Subscription, Application *string
	// Versions are the names of some versions; empty is all.
	Versions []string
}

// UsageQuery says which usage is read, and how it is summed.
type UsageQuery struct {
	Filter UsageFilter
	// Start and End are the time, half-open; the zero time is open. With a step they are
	// rounded to it, Start down and End up, and without one to the shortest spans that
	// usage of that time is kept by.
	Start, End time.Time
	// Step is the length of the spans that usage is summed by: minutes that divide an
	// hour, hours that divide a day, or whole days; 0 for one of all the time.
	Step time.Duration
	// GroupBy are some of api, version, application, subscription and plan.
	GroupBy []string
	// Top is how many groups there are: those with the most of OrderBy in all the time,
	// and not none of it. 0 is all groups.
	Top int
	// OrderBy is messages, bytes, sessions, dropped, paused, refused or observed.
	OrderBy string
}

// dimensions are what usage can be grouped by, in the order of lists.
var dimensions = group{"api", "version", "application", "subscription", "plan"}

// seriesColumns are the columns of series s that have them.
var seriesColumns = group{"s.api", "s.version", "s.application", "s.subscription", "s.plan"}

// group are the values of all dimensions, empty for those that usage is not grouped by.
type group [5]string

// UsageKey is the key of a row of usage in lists; the zero key is before all rows.
type UsageKey struct {
	// Row says that it is a row's: a row may have nothing of all else.
	Row bool
	// Start is in microseconds since 1970.
	Start int64 `json:",omitempty"`
	// Amount is what the row has of OrderBy, where rows are ordered by it.
	Amount int64 `json:",omitempty"`
	Group  group
}

// ListKey returns the row's key in lists.
func (u Usage) ListKey() UsageKey {
	return UsageKey{Row: true, Start: micros(u.Start), Amount: u.amount, Group: u.group()}
}

func (u Usage) group() group {
	return group{u.API, u.Version, u.Application, u.Subscription, u.Plan}
}

// Usage returns the rows after a key that v may see, which are those of v's applications
// and v's versions, oldest first and then by group; the most first where there is a top
// and no step. There are at most as many as limit. What limits of an application did is
// seen by its owner, and what limits of a version did by that of the version. It is a
// fault if a step is asked for that a time is no longer kept by.
func (s *Store) Usage(ctx context.Context, v identity.Viewer, q UsageQuery, after UsageKey, limit int) ([]Usage, error) {
	pieces, start, err := q.pieces(s.keep, s.now())
	if err != nil {
		return nil, err
	}
	now := s.now()
	r := &reading{db: s.db, viewer: v, query: q, pieces: pieces, start: start, now: now, daysSince: s.keep.keptSince(now, days)}
	rows, err := r.rows(ctx, after, limit)
	if err == nil && len(rows) > 0 {
		err = cmp.Or(r.addLimits(ctx, rows), r.addRefused(ctx, rows))
	}
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	return rows, nil
}

// reading is one reading of usage.
type reading struct {
	db     *sqldb.DB
	viewer identity.Viewer
	query  UsageQuery
	pieces []piece
	// start is the start of the first span, now the time.
	start int64
	now   time.Time
	// daysSince is from when on days are kept.
	daysSince int64
	// top are the groups with the most, nil for all.
	top []ranked
}

// ranked is a group, and what it has of OrderBy.
type ranked struct {
	group  group
	amount int64
}

// follows reports whether the group comes after a key where the most is first.
func (t ranked) follows(k UsageKey) bool {
	if t.amount != k.Amount {
		return t.amount < k.Amount
	}
	return slices.Compare(t.group[:], k.Group[:]) > 0
}

// byAmount reports whether rows are ordered by what they have of OrderBy.
func (r *reading) byAmount() bool { return r.query.Top > 0 && r.query.Step == 0 }

// rows reads traffic.
func (r *reading) rows(ctx context.Context, after UsageKey, limit int) ([]Usage, error) {
	if r.query.Top > 0 {
		if err := r.rank(ctx); err != nil {
			return nil, err
		}
		if r.byAmount() {
			r.top = slices.DeleteFunc(r.top, func(t ranked) bool { return after.Row && !t.follows(after) })
			r.top = r.top[:min(len(r.top), limit)]
			after = UsageKey{}
		}
		if len(r.top) == 0 {
			return nil, nil
		}
	}
	owner := "''"
	if slices.Contains(r.query.GroupBy, "application") {
		owner = "MAX(s.application_owner)"
	}
	if r.query.Step == 0 {
		after.Start = r.start // as it is rounded now, which is by what is still kept
	}
	from := max(r.start, after.Start)
	if r.query.Step == 0 || from == 0 {
		return r.page(ctx, after, limit, owner, stretch{0, endless})
	}
	// A page of many groups is of few spans: it is read from some, then from more.
	var rows []Usage
	step, end := r.query.Step.Microseconds(), r.pieces[0].end
	for spans := int64(8); from < end && len(rows) < limit; spans *= 8 {
		until := end
		if spans < (r.now.UnixMicro()-from)/step {
			until = min(end, from+spans*step)
		}
		more, err := r.page(ctx, after, limit-len(rows), owner, stretch{from, until})
		if err != nil {
			return nil, err
		}
		rows, from, after = append(rows, more...), until, UsageKey{}
	}
	return rows, nil
}

// stretch is a half-open part of the time that a query is for.
type stretch struct{ from, until int64 }

// page reads traffic after a key, of a stretch of time.
func (r *reading) page(ctx context.Context, after UsageKey, limit int, owner string, of stretch) ([]Usage, error) {
	s := r.statement()
	where := ""
	if after.Row {
		where = " WHERE " + r.key() + " > " + s.key(r, after)
	}
	text := `
		SELECT bucket, api, version, application, subscription, plan, sessions,
			in_messages, in_frames, in_payload, in_wire, out_messages, out_frames, out_payload, out_wire, ` + planLabel + `, ` + usageLabels + `
		FROM (` + r.sums(s, trafficTable, of, where, owner+" AS application_owner") + `
			ORDER BY bucket, api, version, application, subscription, plan LIMIT ` + s.param(limit) + `) r
		ORDER BY bucket, api, version, application, subscription, plan`
	rows, err := sqldb.All(ctx, r.db, scanUsage, text, s.args...)
	if err != nil || !r.byAmount() {
		return rows, err
	}
	amounts := map[group]int64{}
	for _, t := range r.top {
		amounts[t.group] = t.amount
	}
	for i := range rows {
		rows[i].amount = amounts[rows[i].group()]
	}
	slices.SortStableFunc(rows, func(a, b Usage) int { return cmp.Compare(b.amount, a.amount) })
	return rows, nil
}

func scanUsage(row sqldb.Row) (Usage, error) {
	var u Usage
	var start int64
	err := sqldb.With(row, u.Labels.dests()...).Scan(&start, &u.API, &u.Version, &u.Application, &u.Subscription, &u.Plan, &u.Sessions,
		&u.In.Messages, &u.In.Frames, &u.In.Payload, &u.In.Wire, &u.Out.Messages, &u.Out.Frames, &u.Out.Payload, &u.Out.Wire, &u.Labels.Plan)
	u.Start = maybe(start)
	return u, err
}

// rank finds the groups with the most of OrderBy in all the time.
func (r *reading) rank(ctx context.Context) error {
	whole := *r
	whole.query.Step = 0
	if r.query.Step > 0 {
		if one := r.pieces[0]; one.start > 0 || one.span == spans[days] { // all of it is kept
			whole.pieces = split(one.start, one.end)
		}
	}
	whole.pieces = forSums(whole.pieces, r.daysSince)
	s := r.statement()
	text := "SELECT api, version, application, subscription, plan, amount FROM (" + whole.sums(s, orders[r.query.OrderBy], stretch{0, endless}, "") + `) r
		WHERE amount > 0
		ORDER BY amount DESC, api, version, application, subscription, plan LIMIT ` + s.param(r.query.Top)
	var err error
	r.top, err = sqldb.All(ctx, r.db, func(row sqldb.Row) (t ranked, err error) {
		g := &t.group
		err = row.Scan(&g[0], &g[1], &g[2], &g[3], &g[4], &t.amount)
		return t, err
	}, text, s.args...)
	return err
}

// addLimits reads what limits did, in the spans and groups of rows.
func (r *reading) addLimits(ctx context.Context, rows []Usage) error {
	return addTo(rows, func(yield func(UsageKey, LimitUsage)) error {
		s := r.statement()
		text := r.sums(s, limitTable, r.stretch(rows), r.within(s, rows)) + " ORDER BY place, limit_plan, name"
		_, err := sqldb.All(ctx, r.db, func(row sqldb.Row) (l LimitUsage, err error) {
			var k UsageKey
			var first, last int64
			err = row.Scan(append(k.dests(), &l.Place, &l.Plan, &l.Limit, &l.Pauses, &l.PausedMilliseconds, &l.Dropped, &l.Closed, &l.Refused, &l.Observed, &first, &last)...)
			l.FirstAt, l.LastAt = maybe(first), maybe(last)
			yield(k, l)
			return l, err
		}, text, s.args...)
		return err
	}, func(u *Usage, l LimitUsage) { u.Limits = append(u.Limits, l) })
}

// addRefused reads refused handshakes, in the spans and groups of rows.
func (r *reading) addRefused(ctx context.Context, rows []Usage) error {
	return addTo(rows, func(yield func(UsageKey, RefusedHandshakes)) error {
		s := r.statement()
		text := r.sums(s, refusedTable, r.stretch(rows), r.within(s, rows)) + " ORDER BY status"
		_, err := sqldb.All(ctx, r.db, func(row sqldb.Row) (h RefusedHandshakes, err error) {
			var k UsageKey
			err = row.Scan(append(k.dests(), &h.Status, &h.Number)...)
			yield(k, h)
			return h, err
		}, text, s.args...)
		return err
	}, func(u *Usage, h RefusedHandshakes) { u.Refused = append(u.Refused, h) })
}

// addTo gives each row what read yields with its key.
func addTo[T any](rows []Usage, read func(func(UsageKey, T)) error, add func(*Usage, T)) error {
	at := map[UsageKey]*Usage{}
	for i := range rows {
		k := rows[i].ListKey()
		at[UsageKey{Start: k.Start, Group: k.Group}] = &rows[i]
	}
	return read(func(k UsageKey, v T) {
		if u := at[k]; u != nil {
			add(u, v)
		}
	})
}

// dests are where the columns of a key are scanned to.
func (k *UsageKey) dests() []any {
	g := &k.Group
	return []any{&k.Start, &g[0], &g[1], &g[2], &g[3], &g[4]}
}

// within returns a WHERE with the keys from the first of rows to the last. Where rows are
// in another order, they are of few groups, and nothing is left out.
func (r *reading) within(s *statement, rows []Usage) string {
	if r.byAmount() {
		return ""
	}
	return " WHERE " + r.key() + " >= " + s.key(r, rows[0].ListKey()) + " AND " + r.key() + " <= " + s.key(r, rows[len(rows)-1].ListKey())
}

// stretch is the time of rows.
func (r *reading) stretch(rows []Usage) stretch {
	if r.query.Step == 0 {
		return stretch{0, endless}
	}
	return stretch{micros(rows[0].Start), micros(rows[len(rows)-1].Start.Add(r.query.Step))}
}

// table is a kind of table of usage, of which there is one for each span.
type table struct {
	name string
	// by are the columns of its rows' keys besides series and start, and what they are
	// called in results.
	by []column
	// sums are what is aggregated.
	sums []column
	// private says that a viewer does not see each row.
	private bool
}

// column is an expression over a row of a table, what it is called, and the function that
// aggregates it.
type column struct{ function, of, name string }

// in returns the column of aggregated rows, of says where from.
func (c column) in(of string) string {
	if c.function == "SUM" {
		return "CAST(SUM(" + of + ") AS BIGINT) AS " + c.name
	}
	return c.function + "(" + of + ") AS " + c.name
}

func summed(names ...string) (all []column) {
	for _, name := range names {
		all = append(all, column{"SUM", "u." + name, name})
	}
	return all
}

// The tables. They are not changed.
var (
	trafficTable = table{name: "usage", sums: summed("sessions",
		"in_messages", "in_frames", "in_payload", "in_wire", "out_messages", "out_frames", "out_payload", "out_wire")}
	limitTable = table{
		name: "usage_limit", private: true,
		by: []column{{of: "u.place", name: "place"}, {of: "u.plan", name: "limit_plan"}, {of: "u.name", name: "name"}},
		sums: append(summed("pauses", "paused_ms", "dropped", "closed", "refused", "observed"),
			column{"MIN", "u.first_at", "first_at"}, column{"MAX", "u.last_at", "last_at"}),
	}
	refusedTable = table{name: "usage_refused", by: []column{{of: "u.status", name: "status"}}, sums: summed("number")}
)

// orders are what OrderBy can be, as the sum of a table.
var orders = map[string]table{
	"messages": amount("usage", "u.in_messages + u.out_messages"),
	"bytes":    amount("usage", "u.in_payload + u.out_payload"),
	"sessions": amount("usage", "u.sessions"),
	"dropped":  amount("usage_limit", "u.dropped"),
	"paused":   amount("usage_limit", "u.paused_ms"),
	"observed": amount("usage_limit", "u.observed"),
	"refused":  amount("usage_refused", "u.number"),
}

func amount(name, of string) table {
	return table{name: name, sums: []column{{"SUM", of, "amount"}}, private: name == limitTable.name}
}

// statement is the parameters of a text under way.
type statement struct {
	args []any
	// owner is the parameter with the viewer, as of identity.Viewer.Owner.
	owner string
}

func (r *reading) statement() *statement {
	s := &statement{}
	s.owner = s.param(r.viewer.Owner())
	return s
}

// param adds a parameter, and returns how the text names it.
func (s *statement) param(value any) string {
	s.args = append(s.args, value)
	return "$" + strconv.Itoa(len(s.args))
}

// params adds parameters, and returns how the text lists them.
func (s *statement) params(values []string) string {
	names := make([]string, len(values))
	for i, value := range values {
		names[i] = s.param(value)
	}
	return strings.Join(names, ", ")
}

// key returns a row with the values of a key; see reading.key.
func (s *statement) key(r *reading, k UsageKey) string {
	values := []string{s.param(k.Start)}
	for _, value := range r.grouped(k.Group) {
		values = append(values, s.param(value))
	}
	return "(" + strings.Join(values, ", ") + ")"
}

// key returns a row with the columns that the keys of rows differ by.
func (r *reading) key() string {
	return "(" + strings.Join(append([]string{"p.bucket"}, r.grouped(seriesColumns)...), ", ") + ")"
}

// grouped returns those of the values of all dimensions that usage is grouped by.
func (r *reading) grouped(all group) (some []string) {
	for i, d := range dimensions {
		if slices.Contains(r.query.GroupBy, d) {
			some = append(some, all[i])
		}
	}
	return some
}

// sums returns a query of what a table has by span, group and the table's own keys, in a
// stretch of time, with a condition on the spans and groups, and with further columns. It sums
// the rows of each series in each piece of the time, which are found by their key, and
// then those of the groups.
func (r *reading) sums(s *statement, of table, in stretch, where string, more ...string) string {
	columns, by := []string{"p.bucket AS bucket"}, append([]string{"p.bucket"}, r.grouped(seriesColumns)...)
	for i, d := range dimensions {
		column := "''"
		if slices.Contains(r.query.GroupBy, d) {
			column = seriesColumns[i]
		}
		columns = append(columns, column+" AS "+d)
	}
	for _, c := range of.by {
		columns, by = append(columns, "p."+c.name+" AS "+c.name), append(by, "p."+c.name)
	}
	for _, c := range of.sums {
		columns = append(columns, c.in("p."+c.name))
	}
	return `
		SELECT ` + strings.Join(append(columns, more...), ", ") + `
		FROM (` + r.bySeries(s, of, in) + `) p JOIN usage_series s ON s.id = p.series` + where + `
		GROUP BY ` + strings.Join(by, ", ")
}

// bySeries is the part of sums that sums by series.
func (r *reading) bySeries(s *statement, of table, in stretch) string {
	where := strings.Join(r.conditions(s, of), " AND ")
	var all []string
	for _, p := range r.pieces {
		if p.start, p.end = max(p.start, in.from), min(p.end, in.until); p.start >= p.end {
			continue
		}
		bucket, by := "", []string{"s.id"}
		switch step := r.query.Step.Microseconds(); step {
		case 0:
			bucket = "CAST(" + s.param(r.start) + " AS BIGINT)"
		case p.span.length:
			bucket, by = "u.start_at", append(by, "bucket")
		default:
			bucket, by = "u.start_at - u.start_at % CAST("+s.param(step)+" AS BIGINT)", append(by, "bucket")
		}
		columns := []string{"s.id AS series", bucket + " AS bucket"}
		for _, c := range of.by {
			columns, by = append(columns, c.of+" AS "+c.name), append(by, c.of)
		}
		for _, c := range of.sums {
			value := c.of
			if p.less {
				value = "-(" + value + ")"
			}
			columns = append(columns, c.in(value))
		}
		// SQLite reads the tables of a CROSS JOIN in this order; Postgres as it likes.
		all = append(all, `
			SELECT `+strings.Join(columns, ", ")+`
			FROM usage_series s CROSS JOIN `+of.name+`_`+p.span.name+` u
			WHERE u.series = s.id AND u.start_at >= `+s.param(p.start)+` AND u.start_at < `+s.param(p.end)+` AND `+where+`
			GROUP BY `+strings.Join(by, ", "))
	}
	return strings.Join(all, " UNION ALL")
}

// conditions are which series are read, and which rows of the table.
func (r *reading) conditions(s *statement, of table) []string {
	all := []string{ofViewer(r.viewer, "usage_series", "id", s.owner)}
	if of.private && r.viewer.Owner() != nil {
		seen := seenBy(s.owner)
		all = append(all, fmt.Sprintf("(u.place = %d OR u.place = %d AND s.%s OR u.place = %d AND (s.%s OR s.%s))",
			placeSubscription, placeApplication, seen[0], placeVersion, seen[1], seen[2]))
	}
	f := r.query.Filter
	for i, value := range [...]*string{f.API, f.Version, f.Application, f.Subscription, f.Plan} {
		if value != nil {
			all = append(all, seriesColumns[i]+" = "+s.param(*value))
		}
	}
	if len(f.Versions) > 0 {
		all = append(all, "s.version IN ("+s.params(f.Versions)+")")
	}
	if r.top == nil || len(r.query.GroupBy) == 0 {
		return all
	}
	var groups []string
	for _, t := range r.top {
		var row []string
		for _, value := range r.grouped(t.group) {
			row = append(row, s.param(value))
		}
		groups = append(groups, "("+strings.Join(row, ", ")+")")
	}
	return append(all, "("+strings.Join(r.grouped(seriesColumns), ", ")+") IN (VALUES "+strings.Join(groups, ", ")+")")
}

// usedBetween sums a column of what passed between two times that begin minutes, of an
// application, given by id, and a version; of all where one is empty.
func usedBetween(ctx context.Context, tx *sqldb.Tx, column, application, version string, start, end time.Time) (int64, error) {
	s := &statement{}
	of := ""
	for _, term := range []struct{ column, value string }{{"application", application}, {"version", version}} {
		if term.value != "" {
			of = " AND s." + term.column + " = " + s.param(term.value) + of
		}
	}
	var all []string
	for _, p := range split(start.UnixMicro(), end.UnixMicro()) {
		all = append(all, `
			SELECT SUM(`+column+`) AS used FROM usage_series s CROSS JOIN usage_`+p.span.name+` u
			WHERE u.series = s.id AND u.start_at >= `+s.param(p.start)+` AND u.start_at < `+s.param(p.end)+of)
	}
	var used int64
	err := tx.QueryRowContext(ctx, `
		SELECT CAST(COALESCE(SUM(used), 0) AS BIGINT) FROM (`+strings.Join(all, " UNION ALL")+`) p`, s.args...).Scan(&used)
	return used, err
}
