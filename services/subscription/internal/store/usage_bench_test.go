package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// BenchmarkUsage reads usage of 10 000 subscriptions over 400 days, alone and while 2000
// rows a second are reported, as 10 000 subscriptions make that are all in use. 10
// publishers have 100 versions each. docs/performance.md has what it measured.
func BenchmarkUsage(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmarkUsage(b, testdb.SQLite(b, store.Schema()), false) })
	b.Run("postgres", func(b *testing.B) { benchmarkUsage(b, testdb.Postgres(b, store.Schema()), true) })
}

func benchmarkUsage(b *testing.B, db *sqldb.DB, analyze bool) {
	now := time.Date(2026, 11, 27, 13, 14, 15, 0, time.UTC)
	clock := func() time.Time { return now }
	st := store.New(db, change.NewLog(identity.Subscription, db, slog.New(slog.DiscardHandler), clock, 0), clock)
	st.Keep(store.Retention{UsageMinutes: 48 * time.Hour, Usage: 400 * 24 * time.Hour})
	fillUsage(b, db, now)
	if analyze { // as Postgres does by itself
		if _, err := db.ExecContext(b.Context(), `ANALYZE`); err != nil {
			b.Fatal(err)
		}
	}
	const day = 24 * time.Hour
	admin, publisher := identity.Viewer{User: "root", All: true}, identity.Viewer{User: benchID("5")}
	queries := []struct {
		name   string
		viewer identity.Viewer
		query  store.UsageQuery
		rows   int
	}{
		{"publisher's 30 days by day and application", publisher, store.UsageQuery{Start: now.Add(-30 * day), Step: day, GroupBy: []string{"application"}}, 1000},
		{"top 10 of all over 400 days", admin, store.UsageQuery{Start: now.Add(-400 * day), Top: 10, OrderBy: "messages", GroupBy: []string{"application"}}, 10},
		{"top 10 of all over 400 days by dropped", admin, store.UsageQuery{Start: now.Add(-400 * day), Top: 10, OrderBy: "dropped", GroupBy: []string{"subscription"}}, 10},
		{"subscription's 7 days by hour", admin, store.UsageQuery{Start: now.Add(-7 * day), Step: time.Hour, Filter: store.UsageFilter{Subscription: new(benchID("7"))}}, 168},
	}
	for _, load := range []string{"alone", "with reports"} {
		b.Run(load, func(b *testing.B) {
			if load != "alone" {
				stop := reportAll(b, st, now)
				defer stop()
			}
			for _, q := range queries {
				b.Run(strings.ReplaceAll(q.name, " ", "_"), func(b *testing.B) {
					slowest := time.Duration(0)
					for b.Loop() {
						began := time.Now()
						rows, err := st.Usage(b.Context(), q.viewer, q.query, store.UsageKey{}, 1000)
						if err != nil || len(rows) < q.rows {
							b.Fatalf("%d rows, %v, want %d", len(rows), err, q.rows)
						}
						slowest = max(slowest, time.Since(began))
					}
					b.ReportMetric(float64(slowest.Milliseconds()), "slowest-ms")
				})
			}
		})
	}
	b.Run("batch of 5000 rows", func(b *testing.B) {
		n := int64(0)
		for b.Loop() {
			n++
			if _, err := st.AddUsage(b.Context(), store.Batch{Gateway: "gw", BootID: "batch", Sequence: n}, benchReports(now, 0, 5000)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// reportAll reports 1000 rows every half second until stop is called.
func reportAll(b *testing.B, st *store.Store, now time.Time) (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second / 2)
		defer tick.Stop()
		for n := int64(1); ; n++ {
			batch := store.Batch{Gateway: "gw", BootID: fmt.Sprint("load", b.N), Sequence: n}
			if _, err := st.AddUsage(ctx, batch, benchReports(now.Add(time.Duration(n)*time.Second/2), int(n%10)*1000, 1000)); err != nil && ctx.Err() == nil {
				b.Errorf("AddUsage: %v", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func benchReports(now time.Time, from, rows int) (all []store.Usage) {
	for n := from; n < from+rows; n++ {
		u := usage(now.Truncate(time.Minute), benchVersion(n%1000), benchID(fmt.Sprint(n%2500)), benchID(fmt.Sprint(n)), 1)
		u.Plan = gold
		if n%10 == 0 {
			u.Limits = []store.LimitUsage{limit(1, gold, "messages-rate", 1)}
		}
		all = append(all, u)
	}
	return all
}

// Names as long as those that are made. benchNumber is one in SQL.
func benchID(n string) string { return "0198c0de-0000-7000-8000-" + fmt.Sprintf("%012s", n) }

func benchVersion(n int) string {
	return "apis/" + benchID(fmt.Sprint(n)) + "/versions/" + benchID(fmt.Sprint(n))
}

func benchNumber(n string) string {
	return `'0198c0de-0000-7000-8000-' || substr('000000000000' || CAST(` + n + ` AS TEXT), length(CAST(` + n + ` AS TEXT)) + 1)`
}

// fillUsage makes the rows that 400 days of reports would have made.
func fillUsage(b *testing.B, db *sqldb.DB, now time.Time) {
	const (
		hour = int64(time.Hour / time.Microsecond)
		day  = 24 * hour
	)
	version := `'apis/' || ` + benchNumber("n % 1000") + ` || '/versions/' || ` + benchNumber("n % 1000")
	// Rows of numbers from 0 on, and of starts of spans from the newest on.
	numbers := func(count int) string {
		return fmt.Sprintf(`WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < %d)`, count-1)
	}
	starts := func(length int64, count int) string {
		last := now.UnixMicro() - now.UnixMicro()%length
		return fmt.Sprintf(`WITH RECURSIVE starts (at) AS (SELECT CAST(%d AS BIGINT) UNION ALL SELECT at + %d FROM starts WHERE at < %d)`,
			last-int64(count-1)*length, length, last)
	}
	traffic := func(name string, length int64, count, series int) string {
		return fmt.Sprintf(`INSERT INTO usage_%s %s SELECT id, at, id %% 7, id %% 1000, id, id * 10, id * 11, id %% 1000, id, id * 20, id * 22
			FROM starts CROSS JOIN usage_series WHERE id <= %d ORDER BY at, id`, name, starts(length, count), series)
	}
	limits := func(name string, length int64, count int) string {
		return fmt.Sprintf(`INSERT INTO usage_limit_%s %s SELECT id, at, 1, 'plans/gold', 'messages-rate', 1, 2, id %% 300, 4, 5, 6, at, at
			FROM starts CROSS JOIN usage_series WHERE id %% 10 = 0 ORDER BY at, id`, name, starts(length, count))
	}
	refused := func(name string, length int64, count int) string {
		return fmt.Sprintf(`INSERT INTO usage_refused_%s %s SELECT id, at, 429, 1
			FROM starts CROSS JOIN usage_series WHERE id %% 50 = 0 ORDER BY at, id`, name, starts(length, count))
	}
	began := time.Now()
	for _, query := range []string{
		`INSERT INTO version (name, api, api_name, version, context, owner, published, plans, change_number, subscriptionless, production, sandbox) ` + numbers(1000) + `
			SELECT ` + version + `, 'apis/' || ` + benchNumber("n") + `, 'API', '1.0.0', '/a', ` + benchNumber("n % 10") + `, TRUE, 'plans/gold', 0, FALSE, TRUE, FALSE FROM numbers`,
		`INSERT INTO usage_series (id, api, version, application, subscription, plan, application_owner, seen_at) ` + numbers(10_000) + `
			SELECT n + 1, 'apis/' || ` + benchNumber("n % 1000") + `, ` + version + `, ` + benchNumber("n % 2500") + `, ` + benchNumber("n") + `, 'plans/gold', ` + benchNumber("n % 500") + `, 0 FROM numbers`,
		traffic("day", day, 400, 10_000), traffic("20_days", 20*day, 21, 10_000), traffic("hour", hour, 30*24, 300),
		limits("day", day, 400), limits("20_days", 20*day, 21), refused("day", day, 400), refused("20_days", 20*day, 21),
	} {
		if _, err := db.ExecContext(b.Context(), query); err != nil {
			b.Fatalf("%s: %v", query, err)
		}
	}
	b.Logf("made in %v", time.Since(began).Round(time.Second))
}
