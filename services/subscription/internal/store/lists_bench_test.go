package store_test

import (
	"fmt"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// BenchmarkLists reads the first pages of 10 000 applications of 10 users and of their
// 10 000 subscriptions to one version of each of 5 publishers.
func BenchmarkLists(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmarkLists(b, testdb.SQLite(b, store.Schema()), false) })
	b.Run("postgres", func(b *testing.B) { benchmarkLists(b, testdb.Postgres(b, store.Schema()), true) })
}

func benchmarkLists(b *testing.B, db *sqldb.DB, analyze bool) {
	now := time.Date(2026, 11, 27, 13, 14, 15, 0, time.UTC)
	clock := func() time.Time { return now }
	st := store.New(db, change.NewLog(identity.Subscription, db, slog.New(slog.DiscardHandler), clock, 0), clock)
	fillLists(b, db)
	if analyze { // as Postgres does by itself
		if _, err := db.ExecContext(b.Context(), `ANALYZE`); err != nil {
			b.Fatal(err)
		}
	}
	admin := identity.Viewer{User: "root", All: true}
	publisher, developer := identity.Viewer{User: benchID("0")}, identity.Viewer{User: benchID("7")}
	version := benchVersion(0)
	applications := func(v identity.Viewer, f store.ApplicationFilter, order store.ApplicationOrder) func() int {
		return func() int {
			return first(b, st.Applications(b.Context(), v, f, order, store.ApplicationKey{}))
		}
	}
	subscriptions := func(v identity.Viewer, f store.SubscriptionFilter) func() int {
		return func() int { return first(b, st.Subscriptions(b.Context(), v, f, sqldb.TimeKey{})) }
	}
	for _, l := range []struct {
		name string
		read func() int
		rows int
	}{
		{"applications", applications(admin, store.ApplicationFilter{}, store.ApplicationOrder{}), 50},
		{"applications newest first", applications(admin, store.ApplicationFilter{}, store.ApplicationOrder{Descending: true}), 50},
		{"applications by name", applications(admin, store.ApplicationFilter{}, store.ApplicationOrder{ByName: true}), 50},
		{"applications with a rare part", applications(admin, store.ApplicationFilter{Part: new("Application 9999")}, store.ApplicationOrder{}), 1},
		{"applications with a part by name", applications(admin, store.ApplicationFilter{Part: new("no such")}, store.ApplicationOrder{ByName: true}), 0},
		{"a developer's applications by name", applications(developer, store.ApplicationFilter{}, store.ApplicationOrder{ByName: true, Descending: true}), 50},
		{"a developer's applications with a part", applications(developer, store.ApplicationFilter{Part: new("no such")}, store.ApplicationOrder{}), 0},
		{"subscriptions", subscriptions(admin, store.SubscriptionFilter{}), 50},
		{"subscriptions of a version", subscriptions(admin, store.SubscriptionFilter{Version: &version}), 50},
		{"a publisher's subscriptions of a version", subscriptions(publisher, store.SubscriptionFilter{Version: &version}), 50},
		{"a publisher's subscriptions", subscriptions(publisher, store.SubscriptionFilter{}), 50},
		{"a publisher's subscriptions by version owner", subscriptions(publisher, store.SubscriptionFilter{VersionOwner: &publisher.User}), 50},
		{"a developer's subscriptions", subscriptions(developer, store.SubscriptionFilter{}), 50},
		{"a developer's subscriptions by application owner", subscriptions(developer, store.SubscriptionFilter{Owner: &developer.User}), 50},
		{"a stranger's subscriptions", subscriptions(identity.Viewer{User: benchID("11")}, store.SubscriptionFilter{}), 0},
		{"blocked subscriptions of a version", subscriptions(publisher, store.SubscriptionFilter{Version: &version, State: new("BLOCKED")}), 0},
	} {
		b.Run(l.name, func(b *testing.B) {
			for b.Loop() {
				if n := l.read(); n != l.rows {
					b.Fatalf("%d rows, want %d", n, l.rows)
				}
			}
		})
	}
}

// first reads the first page of a list.
func first[T any](b *testing.B, rows iter.Seq2[T, error]) (n int) {
	for _, err := range rows {
		if err != nil {
			b.Fatal(err)
		}
		if n++; n == 50 {
			break
		}
	}
	return n
}

// fillLists makes users, versions, applications and subscriptions.
func fillLists(b *testing.B, db *sqldb.DB) {
	numbers := func(count int) string {
		return fmt.Sprintf(`WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < %d)`, count-1)
	}
	version := `'apis/' || ` + benchNumber("n % 5") + ` || '/versions/' || ` + benchNumber("n % 5")
	for _, query := range []string{
		`INSERT INTO users (id, username, username_fold, display_name, roles, admin, state, search, password, signed_in_at, created_at, updated_at, etag) ` + numbers(12) + `
			SELECT ` + benchNumber("n") + `, 'user' || CAST(n AS TEXT), 'user' || CAST(n AS TEXT), '', 'subscriber', FALSE, 1, 'user' || CAST(n AS TEXT), '', 0, n, n, 1 FROM numbers`,
		`INSERT INTO version (name, api, api_name, version, context, owner, published, plans, change_number, subscriptionless, production, sandbox) ` + numbers(5) + `
			SELECT ` + version + `, 'apis/' || ` + benchNumber("n") + `, 'API', '1.0.0', '/a', ` + benchNumber("n") + `, TRUE, 'plans/gold', 0, FALSE, TRUE, FALSE FROM numbers`,
		`INSERT INTO application (id, owner, display_name, name_fold, name_skeleton, name_ascii, description, plan, created_at, updated_at, etag) ` + numbers(10_000) + `
			SELECT ` + benchNumber("n") + `, ` + benchNumber("n % 10") + `, 'Application ' || CAST(n AS TEXT), 'application ' || CAST(n AS TEXT),
				'application ' || CAST(n AS TEXT), TRUE, 'What it is for, in a few words', '', n / 3, n, 1 FROM numbers`,
		`INSERT INTO subscription (id, application, application_owner, version, version_owner, plan, blocked, created_at, updated_at, etag) ` + numbers(10_000) + `
			SELECT ` + benchNumber("n") + `, ` + benchNumber("n") + `, ` + benchNumber("n % 10") + `, 'apis/' || ` + benchNumber("0") + ` || '/versions/' || ` + benchNumber("0") + `, ` + benchNumber("0") + `, 'plans/gold', FALSE, n / 3, n, 1 FROM numbers`,
		`INSERT INTO subscription (id, application, application_owner, version, version_owner, plan, blocked, created_at, updated_at, etag) ` + numbers(10_000) + `
			SELECT ` + benchNumber("n + 10000") + `, ` + benchNumber("n") + `, ` + benchNumber("n % 10") + `, 'apis/' || ` + benchNumber("1 + n % 4") + ` || '/versions/' || ` + benchNumber("1 + n % 4") + `, ` + benchNumber("1 + n % 4") + `, 'plans/gold', FALSE, n / 3, n, 1 FROM numbers`,
	} {
		if _, err := db.ExecContext(b.Context(), query); err != nil {
			b.Fatalf("%s: %v", query, err)
		}
	}
}
