package store

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// orders are all orders.
func orders(by ...By) []Order {
	var all []Order
	for _, by := range by {
		all = append(all, Order{By: by}, Order{By: by, Desc: true})
	}
	return all
}

// checkOrder checks a list in an order: its rows, and that it goes on after each.
func checkOrder[T any](t *testing.T, o Order, want []string, rows func(after ListPlace) []T, name func(T) string, place func(T) ListPlace) {
	t.Helper()
	names := func(rows []T) []string {
		var all []string
		for _, row := range rows {
			all = append(all, name(row))
		}
		return all
	}
	if o.Desc {
		want = slices.Clone(want)
		slices.Reverse(want)
	}
	all := rows(ListPlace{})
	if got := names(all); !slices.Equal(got, want) {
		t.Errorf("in the order %+v: %v, want %v", o, got, want)
	}
	for i, row := range all {
		if got := names(rows(place(row))); !slices.Equal(got, want[i+1:]) {
			t.Errorf("in the order %+v, after row %d: %v, want %v", o, i, got, want[i+1:])
		}
	}
}

func TestOrders(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		for _, a := range []string{"beta /z", "Alpha /y", "Ärger /X", "gamma /w"} {
			name, context, _ := strings.Cut(a, " ")
			api := b.api("ann", name, context)
			b.version(api, "1")
			b.version(api, "2")
			b.tick()
		}
		for by, want := range map[By]string{ByTime: "beta Alpha Ärger gamma", ByName: "Alpha beta gamma Ärger", ByContext: "gamma Ärger Alpha beta"} {
			for _, o := range orders(by) {
				checkOrder(t, o, strings.Fields(want),
					func(after ListPlace) []API { return list(t, b.APIs(ctx, ann, APIFilter{}, o, after)) },
					func(a API) string { return a.DisplayName }, func(a API) ListPlace { return a.ListPlace(o) })
			}
		}
		for by, want := range map[By]string{ByTime: "beta beta Alpha Alpha Ärger Ärger gamma gamma", ByName: "Alpha Alpha beta beta gamma gamma Ärger Ärger"} {
			for _, o := range orders(by) {
				checkOrder(t, o, strings.Fields(want),
					func(after ListPlace) []Version {
						rows := list(t, b.Versions(ctx, ann, VersionFilter{}, o, after))
						if !slices.IsSortedFunc(rows, func(v, w Version) int {
							if v.DisplayName != w.DisplayName {
								return 0
							}
							return map[bool]int{false: 1, true: -1}[o.Desc] * strings.Compare(v.Version, w.Version)
						}) {
							t.Errorf("versions of one API in the order %+v are not in the order in which they were made", o)
						}
						return rows
					},
					func(v Version) string { return v.DisplayName }, func(v Version) ListPlace { return v.ListPlace(o) })
			}
		}
		plans := list(t, b.Plans(ctx, PlanFilter{}, Order{}, ListPlace{}))
		var names []string
		for _, p := range plans {
			names = append(names, p.DisplayName)
		}
		slices.SortFunc(names, func(a, b string) int { return strings.Compare(sqldb.Fold(a), sqldb.Fold(b)) })
		for _, o := range orders(ByName) {
			checkOrder(t, o, names,
				func(after ListPlace) []Plan { return list(t, b.Plans(ctx, PlanFilter{}, o, after)) },
				func(p Plan) string { return p.DisplayName }, func(p Plan) ListPlace { return p.ListPlace(o) })
		}
	})
}

func TestQuery(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		for i, a := range []string{"Harbour 100% /harbour", "Straße_1! /road", "ΩΜΕΓΑ /Omega-API"} {
			cut := strings.LastIndexByte(a, ' ')
			v := sample(b.api([]string{"ann", "bob"}[i%2], a[:cut], a[cut+1:]), "1")
			v.Description = []string{"Ships.", "Cars. 50%", "LAST LETTER"}[i]
			_, err := b.CreateVersion(ctx, anew, root, v, allow[API])
			must(t, err)
			b.tick()
		}
		for query, want := range map[string]string{
			"": "0 1 2 / 0 1 2", "HARB": "0 / 0", "o": "0 1 2 / 0 1 2", "ω": "2 / 2", "STRASSE": "1 / 1", "-api": "2 / 2", "%": "0 / 0 1",
			"_": "1 / 1", "!": "1 / 1", "0%": "0 / 0 1", "last l": " / 2", "none": " / ", `\`: " / ",
		} {
			var apis, versions []string
			number := func(context string) string {
				return map[string]string{"/harbour": "0", "/road": "1", "/Omega-API": "2"}[context]
			}
			for _, a := range list(t, b.APIs(ctx, root, APIFilter{Query: query}, Order{}, ListPlace{})) {
				apis = append(apis, number(a.Context))
			}
			for _, v := range list(t, b.Versions(ctx, root, VersionFilter{Query: query}, Order{}, ListPlace{})) {
				versions = append(versions, number(v.Context))
			}
			if got := strings.Join(apis, " ") + " / " + strings.Join(versions, " "); got != want {
				t.Errorf("query %q finds APIs and versions %s, want %s", query, got, want)
			}
		}
		// A changed description is found, and the old one is not.
		v := list(t, b.Versions(ctx, root, VersionFilter{Query: "ships"}, Order{}, ListPlace{}))[0]
		_, err := b.UpdateVersion(ctx, root, v.Name(), func(old Version) (Version, error) {
			old.Description = "Boats"
			return old, nil
		})
		must(t, err)
		// So it is with the names of its API, in every version.
		_, err = b.UpdateAPI(ctx, root, v.APIID, func(old API) (API, error) {
			old.DisplayName, old.Context = "Marina", "/quay"
			return old, nil
		})
		must(t, err)
		for query, want := range map[string]int{"harbour": 0, "MARINA": 1, "/quay": 1, "boats": 1} {
			if got := len(list(t, b.Versions(ctx, root, VersionFilter{Query: query}, Order{By: ByName}, ListPlace{}))); got != want {
				t.Errorf("after the API has another name, query %q finds %d versions, want %d", query, got, want)
			}
		}
		owner := "ann"
		for query, want := range map[string]int{"ships": 0, "BOATS": 1, "": 2} {
			if got := len(list(t, b.Versions(ctx, root, VersionFilter{Query: query, Owner: &owner}, Order{}, ListPlace{}))); got != want {
				t.Errorf("query %q finds %d versions of ann's, want %d", query, got, want)
			}
		}
		if got := list(t, b.Plans(ctx, PlanFilter{Query: "ASYNC-"}, Order{}, ListPlace{})); len(got) != 0 {
			t.Errorf("query finds plans by their ids: %v", got)
		}
		if got := list(t, b.Plans(ctx, PlanFilter{Query: "asyncG"}, Order{}, ListPlace{})); len(got) != 1 || got[0].DisplayName != "AsyncGold" {
			t.Errorf("query asyncG finds %v, want AsyncGold", got)
		}
	})
}

// BenchmarkLists reads the first page of each list, with 10 000 APIs that have a version
// each.
func BenchmarkLists(b *testing.B) {
	for engine, open := range map[string]func(testing.TB, sqldb.Schema) *sqldb.DB{"sqlite": testdb.SQLite, "postgres": testdb.Postgres} {
		b.Run(engine, func(b *testing.B) { benchmarkLists(b, open(b, Schema())) })
	}
}

func benchmarkLists(b *testing.B, db *sqldb.DB) {
	ctx, clock := b.Context(), time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	s := New(db, change.NewLog(identity.Catalog, db, slog.New(slog.DiscardHandler), func() time.Time { return clock }, 0), seal.New())
	fill(b, s)
	if _, err := db.ExecContext(b.Context(), `ANALYZE`); err != nil { // as Postgres does by itself
		b.Fatal(err)
	}
	publisher, stranger := identity.Viewer{User: "u1", Publishes: true}, identity.Viewer{User: "stranger"}
	owner, state, name := "u1", Published, "API 9999"
	pages := map[string]func() int{}
	for who, v := range map[string]identity.Viewer{"admin": root, "publisher": publisher, "stranger": stranger} {
		for _, o := range orders(ByTime, ByName, ByContext) {
			pages[fmt.Sprintf("APIs/%s/%+v", who, o)] = func() int { return firstPage(b, s.APIs(ctx, v, APIFilter{}, o, ListPlace{})) }
		}
		for _, o := range orders(ByTime, ByName) {
			pages[fmt.Sprintf("versions/%s/%+v", who, o)] = func() int { return firstPage(b, s.Versions(ctx, v, VersionFilter{}, o, ListPlace{})) }
		}
		for filter, f := range map[string]APIFilter{
			"query": {Query: "api 77"}, "nothing": {Query: "none"}, "owner": {Owner: &owner}, "state": {State: &state}, "name": {DisplayName: &name},
		} {
			pages["APIs/"+who+"/"+filter] = func() int { return firstPage(b, s.APIs(ctx, v, f, Order{}, ListPlace{})) }
		}
		for filter, f := range map[string]VersionFilter{
			"query": {Query: "api 77"}, "nothing": {Query: "none"}, "owner": {Owner: &owner}, "state": {State: &state},
		} {
			pages["versions/"+who+"/"+filter] = func() int { return firstPage(b, s.Versions(ctx, v, f, Order{By: ByName}, ListPlace{})) }
		}
	}
	for page, read := range pages {
		b.Run(page, func(b *testing.B) {
			rows := 0
			for b.Loop() {
				rows = read()
			}
			b.ReportMetric(float64(rows), "rows")
		})
	}
}

// firstPage reads as much of a list as its first page takes.
func firstPage[T any](b *testing.B, rows func(yield func(T, error) bool)) (n int) {
	b.Helper()
	for _, err := range rows {
		if err != nil {
			b.Fatal(err)
		}
		if n++; n > 50 {
			break
		}
	}
	return n
}

// fill adds 10 000 APIs of 100 owners with a version each, of which every other one is
// published.
func fill(b *testing.B, s *Store) {
	b.Helper()
	err := s.db.InTx(b.Context(), func(tx *sqldb.Tx) error {
		for i := range 10000 {
			id, name := fmt.Sprintf("%05d", i), fmt.Sprintf("API %d", (i*7919)%10000)
			v := Version{ID: id, APIID: id, State: []string{Created, Published}[i%2]}
			sealed, err := s.sealEndpoints(v)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(b.Context(), `
				INSERT INTO api (id, display_name, display_fold, display_skeleton, display_ascii, context, context_fold, description, owner,
					default_version, default_version_paths, published, created, etag, created_at, updated_at)
				VALUES ($1, $2, $3, $3, TRUE, $4, $4, '', $5, $1, FALSE, $6, $7, 1, $8, $8)`,
				id, name, sqldb.Fold(name), "/c"+id, fmt.Sprintf("u%d", i%100), i%2, 1-i%2, i+1)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(b.Context(), `
				INSERT INTO version (id, api_id, version, description, display_fold, search, tags, endpoints, security, plans, origins,
					max_session_age, backend_host, fixed_host, advertised_hosts, backend_origin, pings,
					traffic_plan, subscriptionless, max_message_bytes, error_template, error_text, state, change_number, etag, created_at, updated_at)
				VALUES ($1, $1, '1.0.0', 'First.', $2, $3, '[]', $4, '[]', '[]', '[]', 0, '', '', '[]', '', '', '', FALSE, 0, '', '', $5, 0, 1, $6, $6)`,
				id, sqldb.Fold(name), sqldb.Fold(name)+"\n/c"+id+"\nfirst.", sealed, v.State, i+1)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
