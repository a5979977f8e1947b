package store_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// read returns all rows of a query, in pages of a size.
func (b *bench) read(v identity.Viewer, q store.UsageQuery, size int) (all []store.Usage) {
	b.t.Helper()
	var after store.UsageKey
	for {
		rows, err := b.Usage(b.t.Context(), v, q, after, size)
		ok(b.t, err)
		if all = append(all, rows...); len(rows) < size {
			return all
		}
		after = rows[len(rows)-1].ListKey()
	}
}

// randomReports returns reports of some series over 50 days before now, most of them new,
// some with limits and refused handshakes.
func randomReports(random *rand.Rand, now time.Time, n int) (all []store.Usage) {
	versions, plans := []string{v1, v2, "apis/b/versions/1"}, []string{gold, silver, ""}
	for range n {
		back := time.Duration(random.Int64N(int64(50 * 24 * time.Hour)))
		if random.IntN(2) == 0 {
			back /= 50
		}
		u := usage(now.Add(-back).Truncate(time.Minute), versions[random.IntN(3)], []string{"a", "b", ""}[random.IntN(3)], "", 1+random.Int64N(9))
		if u.Application != "" {
			u.Subscription, u.Plan = "s-"+u.Application+u.Version[len(u.Version)-1:], plans[random.IntN(3)]
		}
		if random.IntN(3) == 0 {
			u.Limits = []store.LimitUsage{limit(1+random.Int64N(3), gold, []string{"messages-rate", "connections"}[random.IntN(2)], random.Int64N(9))}
		}
		if random.IntN(5) == 0 {
			u.Refused = []store.RefusedHandshakes{{Status: []int64{401, 429}[random.IntN(2)], Number: 1 + random.Int64N(3)}}
		}
		all = append(all, u)
	}
	return all
}

// summed is the model of Usage: it sums the reports from start on and before end by step
// and group.
func summed(reports []store.Usage, start, end time.Time, step time.Duration, groupBy []string, filter func(store.Usage) bool) []store.Usage {
	sums := map[store.UsageKey]*store.Usage{}
	for _, u := range reports {
		if u.Start.Before(start) || !u.Start.Before(end) || !filter(u) {
			continue
		}
		row := store.Usage{Start: start}
		if step > 0 {
			row.Start = time.Unix(u.Start.Unix()-u.Start.Unix()%int64(step/time.Second), 0).UTC()
		}
		api, _, _ := strings.Cut(u.Version, "/versions/")
		for _, d := range []struct {
			name  string
			value string
			to    *string
		}{{"api", api, &row.API}, {"version", u.Version, &row.Version}, {"application", u.Application, &row.Application},
			{"subscription", u.Subscription, &row.Subscription}, {"plan", u.Plan, &row.Plan}} {
			if slices.Contains(groupBy, d.name) {
				*d.to = d.value
			}
		}
		sum := sums[row.ListKey()]
		if sum == nil {
			sum = &row
			sums[row.ListKey()] = sum
		}
		addUp(sum, u)
	}
	var all []store.Usage
	for _, u := range sums {
		slices.SortFunc(u.Limits, func(a, b store.LimitUsage) int {
			return cmp.Or(cmp.Compare(a.Place, b.Place), cmp.Compare(a.Plan, b.Plan), cmp.Compare(a.Limit, b.Limit))
		})
		slices.SortFunc(u.Refused, func(a, b store.RefusedHandshakes) int { return cmp.Compare(a.Status, b.Status) })
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b store.Usage) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.API, b.API), cmp.Compare(a.Version, b.Version),
			cmp.Compare(a.Application, b.Application), cmp.Compare(a.Subscription, b.Subscription), cmp.Compare(a.Plan, b.Plan))
	})
	return all
}

func addUp(sum *store.Usage, u store.Usage) {
	sum.Sessions += u.Sessions
	for _, t := range [][2]*store.Traffic{{&sum.In, &u.In}, {&sum.Out, &u.Out}} {
		t[0].Messages += t[1].Messages
		t[0].Frames += t[1].Frames
		t[0].Payload += t[1].Payload
		t[0].Wire += t[1].Wire
	}
	for _, l := range u.Limits {
		i := slices.IndexFunc(sum.Limits, func(s store.LimitUsage) bool { return s.LimitName == l.LimitName })
		if i < 0 {
			l.FirstAt, l.LastAt = u.Start, u.Start
			sum.Limits = append(sum.Limits, l)
			continue
		}
		s := &sum.Limits[i]
		s.Pauses, s.PausedMilliseconds, s.Dropped = s.Pauses+l.Pauses, s.PausedMilliseconds+l.PausedMilliseconds, s.Dropped+l.Dropped
		s.Closed, s.Refused, s.Observed = s.Closed+l.Closed, s.Refused+l.Refused, s.Observed+l.Observed
		if u.Start.Before(s.FirstAt) {
			s.FirstAt = u.Start
		}
		if u.Start.After(s.LastAt) {
			s.LastAt = u.Start
		}
	}
	for _, r := range u.Refused {
		i := slices.IndexFunc(sum.Refused, func(s store.RefusedHandshakes) bool { return s.Status == r.Status })
		if i < 0 {
			sum.Refused = append(sum.Refused, r)
			continue
		}
		sum.Refused[i].Number += r.Number
	}
}

// sameRows compares rows of usage but for their labels.
var sameRows = gocmp.Options{cmpopts.IgnoreFields(store.Usage{}, "Labels"), cmpopts.IgnoreUnexported(store.Usage{}), cmpopts.EquateEmpty()}

// diffRows returns how rows differ but for their labels. Most do not, and are equal to
// the letter, which is seen in a fraction of the time that Diff takes.
func diffRows(want, got []store.Usage) string {
	for i := range got {
		got[i].Labels = store.Labels{}
	}
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return gocmp.Diff(want, got, sameRows)
}

// TestUsageIsAsReported sums random reports in many ways, each like a model that adds
// them up: steps, groups, filters, and times that are read from the tables of all spans;
// in one page and in small ones.
func TestUsageIsAsReported(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		random := rand.New(rand.NewPCG(1, 2))
		b.add(200 * 24 * time.Hour)
		reports := randomReports(random, b.now(), 1500)
		for i, chunk := range slices.Collect(slices.Chunk(reports, 300)) {
			_, err := b.AddUsage(t.Context(), batch("b", int64(i+1)), chunk)
			ok(t, err)
		}
		const day = 24 * time.Hour
		steps := []time.Duration{0, 0, time.Minute, 5 * time.Minute, time.Hour, 6 * time.Hour, day, 7 * day, 20 * day, 40 * day}
		filters := []struct {
			of   store.UsageFilter
			keep func(store.Usage) bool
		}{
			{store.UsageFilter{}, func(store.Usage) bool { return true }},
			{store.UsageFilter{Version: new(v1)}, func(u store.Usage) bool { return u.Version == v1 }},
			{store.UsageFilter{Versions: []string{v1, "apis/b/versions/1", "apis/none/versions/1"}}, func(u store.Usage) bool { return u.Version != v2 }},
			{store.UsageFilter{API: new("apis/b")}, func(u store.Usage) bool { return strings.HasPrefix(u.Version, "apis/b/") }},
			{store.UsageFilter{Application: new("a"), Plan: new(gold)}, func(u store.Usage) bool { return u.Application == "a" && u.Plan == gold }},
			{store.UsageFilter{Subscription: new("s-a1")}, func(u store.Usage) bool { return u.Subscription == "s-a1" }},
		}
		for i := range 66 {
			step := steps[i%len(steps)]
			var groupBy []string
			for _, d := range []string{"plan", "subscription", "application", "version", "api"} {
				if random.IntN(2) == 0 {
					groupBy = append(groupBy, d)
				}
			}
			filter := filters[random.IntN(len(filters))]
			start := b.now().Add(-time.Duration(random.Int64N(int64(50 * day)))).Truncate(time.Minute)
			end := start.Add(time.Duration(random.Int64N(int64(30*day))) + time.Minute).Truncate(time.Minute)
			q := store.UsageQuery{Filter: filter.of, Start: start, End: end, Step: step, GroupBy: groupBy}
			if i%11 == 0 { // all the time
				start, end, q.Start, q.End = time.Time{}, b.now(), time.Time{}, time.Time{}
			}
			if step > 0 && !start.IsZero() { // the model is given whole steps
				seconds := int64(step / time.Second)
				start = time.Unix(start.Unix()-start.Unix()%seconds, 0).UTC()
				end = time.Unix((end.Unix()+seconds-1)/seconds*seconds, 0).UTC()
			}
			want := summed(reports, start, end, step, groupBy, filter.keep)
			for _, size := range []int{100_000, 1 + random.IntN(30)} {
				if len(want) > 200 && size < 30 {
					size = 100
				}
				if diff := diffRows(want, b.read(b.admin, q, size)); diff != "" {
					t.Fatalf("Usage(%+v) in pages of %d (-want +got):\n%s", q, size, diff)
				}
			}
			q.Top, q.OrderBy = 2, "messages"
			want = most(want, summed(reports, start, end, 0, groupBy, filter.keep), q)
			if diff := gocmp.Diff(want, b.read(b.admin, q, 100), sameRows); diff != "" {
				t.Fatalf("Usage(%+v) (-want +got):\n%s", q, diff)
			}
		}
	})
}

// most returns the rows of the groups that have the most messages in all the time.
func most(rows, groups []store.Usage, q store.UsageQuery) (top []store.Usage) {
	messages := func(u store.Usage) int64 { return u.In.Messages + u.Out.Messages }
	slices.SortStableFunc(groups, func(a, b store.Usage) int { return int(messages(b) - messages(a)) })
	groups = slices.DeleteFunc(groups, func(u store.Usage) bool { return messages(u) == 0 })
	if groups = groups[:min(q.Top, len(groups))]; q.Step == 0 {
		return groups
	}
	for _, u := range rows {
		if slices.ContainsFunc(groups, func(g store.Usage) bool {
			return g.API == u.API && g.Version == u.Version && g.Application == u.Application && g.Subscription == u.Subscription && g.Plan == u.Plan
		}) {
			top = append(top, u)
		}
	}
	return top
}

// TestUsageWithoutTimes reads all that there is in one row, which has no start.
func TestUsageWithoutTimes(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		_, err := b.AddUsage(t.Context(), batch("b", 1), []store.Usage{usage(hour, v1, "", "", 1), usage(b.now().Add(time.Hour).Truncate(time.Minute), v2, "", "", 2)})
		ok(t, err)
		want := usage(time.Time{}, "", "", "", 3)
		if diff := gocmp.Diff([]store.Usage{want}, b.read(b.admin, store.UsageQuery{}, 10), sameRows); diff != "" {
			t.Errorf("Usage() (-want +got):\n%s", diff)
		}
	})
}

// TestPagesOfUsage are each of the rest of the rows: also where the first row has nothing
// but traffic, and where a start_time is rounded otherwise than for the page before, since
// what it was rounded to is no longer kept.
func TestPagesOfUsage(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.Keep(store.Retention{UsageMinutes: 48 * time.Hour})
		at := b.now().Add(-48*time.Hour - 64*time.Minute).Truncate(time.Minute) // kept by the minute until the next hour
		_, err := b.AddUsage(t.Context(), batch("b", 1), []store.Usage{usage(at, v1, "", "", 1), usage(at, v1, "a", "s", 2), usage(at, v2, "b", "t", 3)})
		ok(t, err)
		for _, start := range []time.Time{{}, at} {
			q, got := store.UsageQuery{Start: start, GroupBy: []string{"application"}}, ""
			for after, n := (store.UsageKey{}), 0; n < 5; n++ {
				rows, err := b.Usage(t.Context(), b.admin, q, after, 1)
				ok(t, err)
				if len(rows) == 0 {
					break
				}
				got += fmt.Sprintf("%q %d ", rows[0].Application, rows[0].Sessions)
				after = rows[0].ListKey()
				b.add(time.Hour)
			}
			if want := `"" 1 "a" 2 "b" 3 `; got != want {
				t.Errorf("pages of one row from %v on are %s, want %s", start, got, want)
			}
		}
	})
}

// TestTopOfUsage finds the groups with the most, of each kind, in all the time: with a
// step their spans in order, without one the groups by what they have. Who has nothing
// of it is no part of it.
func TestTopOfUsage(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		var reports []store.Usage
		for i, app := range []string{"a", "b", "c", "d"} {
			n := int64(i)
			u := usage(hour, v1, app, "s-"+app, 10-n)
			u.In.Payload, u.Sessions = 100*n, n%2 // d has most bytes
			if n > 0 {
				l := limit(1, gold, "messages-rate-observed", 0)
				l.Observed, l.Dropped, l.PausedMilliseconds = n, 5-n, 1+n%3
				u.Limits = []store.LimitUsage{l}
				u.Refused = []store.RefusedHandshakes{{Status: 429, Number: 1 + n%2}, {Status: 401, Number: n}}
			}
			again := u
			again.Start = hour.Add(2 * time.Hour)
			reports = append(reports, u, again)
		}
		_, err := b.AddUsage(t.Context(), batch("b", 1), reports)
		ok(t, err)
		for _, tt := range []struct {
			by   string
			want string
		}{
			{"messages", "abcd"}, {"bytes", "dcba"}, {"sessions", "bd"}, {"dropped", "bcd"}, {"paused", "cbd"}, {"observed", "dcb"}, {"refused", "dbc"},
		} {
			for top := 1; top <= 5; top++ {
				want := tt.want[:min(top, len(tt.want))]
				q := store.UsageQuery{Start: hour, Top: top, OrderBy: tt.by, GroupBy: []string{"application"}}
				for _, size := range []int{1, 2, 10} {
					got := ""
					for _, u := range b.read(b.admin, q, size) {
						got += u.Application
					}
					if got != want {
						t.Errorf("top %d by %s in pages of %d = %s, want %s", top, tt.by, size, got, want)
					}
				}
				q.Step = time.Hour
				sorted := strings.Split(want, "")
				slices.Sort(sorted)
				got := ""
				for _, u := range b.read(b.admin, q, 3) {
					got += fmt.Sprint(u.Application, u.Start.Hour())
				}
				if want := strings.Join(sorted, "3") + "3" + strings.Join(sorted, "5") + "5"; got != want {
					t.Errorf("top %d by %s by the hour = %s, want %s", top, tt.by, got, want)
				}
			}
		}
		// Who would have been hit, how often, and since when.
		rows := b.read(b.admin, store.UsageQuery{Start: hour, Top: 1, OrderBy: "observed", GroupBy: []string{"application"}}, 10)
		if l := rows[0].Limits[0]; l.Observed != 6 || !l.FirstAt.Equal(hour) || !l.LastAt.Equal(hour.Add(2*time.Hour)) {
			t.Errorf("observed = %+v, want 6 hits from %v to %v", l, hour, hour.Add(2*time.Hour))
		}
		if rows := b.read(b.ann, store.UsageQuery{Start: hour, Top: 1, OrderBy: "messages", GroupBy: []string{"application"}}, 10); len(rows) > 0 {
			t.Errorf("top for a stranger = %v, want nothing", rows)
		}
	})
}

// TestLateReports come when minutes, and then hours, of that time are no longer kept:
// they still count in what is. A time that a step is too short for is refused, and
// without a step it is read by what is kept.
func TestLateReports(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		const day = 24 * time.Hour
		b.Keep(store.Retention{UsageMinutes: 48 * time.Hour, Usage: 100 * day})
		b.add(150*day - time.Hour)
		at := []time.Time{b.now().Add(-time.Hour).Truncate(time.Minute), b.now().Add(-60 * time.Hour).Truncate(time.Minute), b.now().Add(-120 * day).Truncate(time.Minute)}
		for i, start := range at {
			u := usage(start, v1, "", "", 1)
			u.Limits, u.Refused = []store.LimitUsage{limit(1, gold, "x", 1)}, []store.RefusedHandshakes{{Status: 429, Number: 1}}
			_, err := b.AddUsage(t.Context(), batch("b", int64(i+1)), []store.Usage{u})
			ok(t, err)
		}
		for _, kind := range []string{"usage", "usage_limit", "usage_refused"} {
			got := []int{b.count(kind + "_minute"), b.count(kind + "_hour"), b.count(kind + "_day"), b.count(kind + "_20_days")}
			if diff := gocmp.Diff([]int{1, 2, 3, 2}, got); diff != "" {
				t.Errorf("rows of %s (-want +got):\n%s", kind, diff)
			}
		}
		for _, tt := range []struct {
			name  string
			start time.Time
			step  time.Duration
			want  int64
		}{
			{"all", time.Time{}, day, 3}, {"all that is kept by the minute", time.Time{}, time.Minute, 1},
			{"two days", b.now().Add(-48 * time.Hour), time.Minute, 1}, {"an hour", at[0], time.Minute, 1},
			{"by the hour", at[1], time.Hour, 2}, {"all hours", b.now().Add(-100 * day), time.Hour, 2},
			{"by the day", at[2], day, 3}, {"long ago, without a step", at[2], 0, 3}, {"lately, without a step", at[1].Add(time.Minute), 0, 2},
		} {
			rows := b.read(b.admin, store.UsageQuery{Start: tt.start, Step: tt.step}, 10)
			sessions := int64(0)
			for _, u := range rows {
				sessions += u.Sessions
			}
			if sessions != tt.want {
				t.Errorf("%s: %d sessions, want %d", tt.name, sessions, tt.want)
			}
		}
		_, err := b.Usage(t.Context(), b.admin, store.UsageQuery{Start: at[1], Step: 5 * time.Minute}, store.UsageKey{}, 10)
		refused(t, "minutes of long ago", err, codes.InvalidArgument,
			"step: 5m is too short for a time that long ago: by the minute, usage is kept for 2d, here from 2026-05-30T01:00:00Z on; set a start_time not before it, or a step of at least 1h")
		_, err = b.Usage(t.Context(), b.admin, store.UsageQuery{Start: at[2], Step: 12 * time.Hour}, store.UsageKey{}, 10)
		refused(t, "hours of long ago", err, codes.InvalidArgument, "step: 12h is too short for a time that long ago: by the hour, usage is kept for 100d")
		// Days go together, whatever the step.
		b.Keep(store.Retention{UsageMinutes: 48 * time.Hour, Usage: 90 * day, UsageDays: 90 * day})
		for _, step := range []time.Duration{day, 7 * day, 20 * day, 400 * day} {
			if rows := b.read(b.admin, store.UsageQuery{Start: b.now().AddDate(-2, 0, 0), Step: step}, 10); len(rows) == 0 {
				t.Errorf("by %v from before the first day that is kept: nothing, want what is kept", step)
			}
		}
	})
}

// TestLimitsAreSeenByOwners has what a plan did at each place: at a subscription it is
// seen by all who see the usage, at an application and a version by their owners only,
// in usage and in session records, and where the most is looked for. So is which limit
// ended a session.
func TestLimitsAreSeenByOwners(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.publish(b.bob.User, v1)
		app := b.application(b.ann, "a")
		sub := b.subscribe(b.ann, app.ID, v1)
		limits := []store.LimitUsage{limit(1, gold, "x", 1), limit(2, silver, "x", 2), limit(3, gold, "x", 3)}
		u, r := usage(hour, v1, app.ID, sub.ID, 1), record("R1", v1, app.ID, b.now())
		u.Plan, u.Limits, r.Plan, r.Limits = gold, limits, gold, limits
		records := []store.SessionRecord{r}
		for i := range limits {
			of := record(fmt.Sprint("R1 of ", i+1), v1, app.ID, b.now().Add(-time.Minute))
			of.Deciding = &store.DecidingLimit{LimitName: limits[i].LimitName, Detail: "2 of 2 used"}
			records = append(records, of)
		}
		check := func(when string) {
			t.Helper()
			for who, tt := range map[string]struct {
				v    identity.Viewer
				want []int64
			}{"administrator": {b.admin, []int64{1, 2, 3}}, "application's owner": {b.ann, []int64{1, 2}}, "version's owner": {b.bob, []int64{1, 3}}} {
				rows := b.read(tt.v, store.UsageQuery{Start: hour, Step: time.Hour, GroupBy: []string{"version"}}, 10)
				got, err := b.SessionRecord(t.Context(), tt.v, "R1")
				ok(t, err)
				listed := list(t, b.SessionRecords(t.Context(), tt.v, store.RecordFilter{Application: &app.ID}, store.SessionRecord{}.ListKey()))
				if len(listed) != 4 || len(rows) != 1 {
					t.Fatalf("%s %s: %d records, %d rows, want 4 and one", who, when, len(listed), len(rows))
				}
				for _, r := range records[1:] {
					got, err := b.SessionRecord(t.Context(), tt.v, r.Ref)
					ok(t, err)
					want := r.Deciding
					if !slices.Contains(tt.want, want.Place) {
						want = nil
					}
					at := slices.IndexFunc(listed, func(l store.SessionRecord) bool { return l.Ref == r.Ref })
					if diff := gocmp.Diff([]*store.DecidingLimit{want, want}, []*store.DecidingLimit{got.Deciding, listed[at].Deciding}); diff != "" {
						t.Errorf("%s %s: what ended %s, in a record and a list (- want, + got):\n%s", who, when, r.Ref, diff)
					}
				}
				most := int64(0)
				for _, u := range b.read(tt.v, store.UsageQuery{Start: hour, Top: 3, OrderBy: "observed"}, 10) {
					most = u.ListKey().Amount
				}
				sum := int64(0)
				for _, place := range tt.want {
					sum += 6 * place
				}
				for what, limits := range map[string][]store.LimitUsage{"usage": rows[0].Limits, "a record": got.Limits, "a list of records": listed[0].Limits} {
					var places []int64
					for _, l := range limits {
						places = append(places, l.Place)
						if l.Pauses != l.Place || l.Observed != 6*l.Place {
							t.Errorf("%s %s: %s has %+v", who, when, what, l)
						}
					}
					if !slices.Equal(places, tt.want) {
						t.Errorf("%s %s: %s has limits of the places %v, want %v", who, when, what, places, tt.want)
					}
				}
				if most != sum {
					t.Errorf("%s %s: %d observed hits in all, want %d", who, when, most, sum)
				}
			}
		}
		_, err := b.AddUsage(t.Context(), batch("b", 1), []store.Usage{u})
		ok(t, err)
		_, err = b.AddRecords(t.Context(), batch("b", 1), records)
		ok(t, err)
		check("while both are there")
		ok(t, b.DeleteApplication(t.Context(), b.ann, app.ID, allow[store.Application]))
		b.catalog(store.CatalogChange{Removed: []string{v1}})
		check("when both are gone")
	})
}

// TestLargeBatches counts batches as large as they may be, of new and known series, from
// several gateways at once and in different orders.
func TestLargeBatches(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		var rows []store.Usage
		for i := range 1500 {
			u := usage(hour.Add(time.Duration(i%3)*time.Minute), v1, fmt.Sprint("a", i/3%100), fmt.Sprint("s", i/3), 1)
			u.Limits = []store.LimitUsage{limit(1, gold, "x", 1), limit(2, gold, "x", 1)}
			u.Refused = []store.RefusedHandshakes{{Status: 429, Number: 1}}
			rows = append(rows, u)
		}
		for _, err := range race(func(i int) error {
			if i >= 4 {
				return nil
			}
			mixed := slices.Clone(rows)
			rand.New(rand.NewPCG(uint64(i), 0)).Shuffle(len(mixed), func(a, b int) { mixed[a], mixed[b] = mixed[b], mixed[a] })
			_, err := b.AddUsage(t.Context(), batch(fmt.Sprint("boot", i), 1), mixed)
			return err
		}) {
			ok(t, err)
		}
		if n := b.count("usage_series"); n != 500 {
			t.Errorf("%d series, want 500", n)
		}
		counts := map[string]int{}
		for _, table := range []string{"usage_minute", "usage_hour", "usage_limit_minute", "usage_limit_day", "usage_refused_hour"} {
			counts[table] = b.count(table)
		}
		want := map[string]int{"usage_minute": 1500, "usage_hour": 500, "usage_limit_minute": 3000, "usage_limit_day": 1000, "usage_refused_hour": 500}
		if !maps.Equal(counts, want) {
			t.Errorf("rows = %v, want %v", counts, want)
		}
		all := b.read(b.admin, store.UsageQuery{Start: hour}, 10)
		if len(all) != 1 || all[0].Sessions != 6000 || all[0].Limits[1].Observed != 36000 || all[0].Refused[0].Number != 6000 {
			t.Errorf("Usage() = %+v, want 4 times all", all)
		}
	})
}
