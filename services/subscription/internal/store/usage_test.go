package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

var hour = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

func batch(boot string, n int64) store.Batch {
	return store.Batch{Gateway: "gw-1", BootID: boot, Sequence: n}
}

func usage(h time.Time, version, app, sub string, n int64) store.Usage {
	return store.Usage{Start: h, Version: version, Application: app, Subscription: sub, Sessions: n,
		In: store.Traffic{Messages: n, Frames: 2 * n, Payload: 3 * n, Wire: 4 * n}, Out: store.Traffic{Messages: 5 * n, Frames: 6 * n, Payload: 7 * n, Wire: 8 * n}}
}

// limit is what a limit did, n of each with as many observed hits.
func limit(place int64, plan, name string, n int64) store.LimitUsage {
	return store.LimitUsage{
		LimitName: store.LimitName{Place: place, Plan: plan, Limit: name},
		Pauses:    n, PausedMilliseconds: 2 * n, Dropped: 3 * n, Closed: 4 * n, Refused: 5 * n, Observed: 6 * n,
	}
}

func TestUsageIsCountedOnce(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		row := []store.Usage{usage(hour, v1, "a", "s", 1)}
		for _, step := range []struct {
			batch store.Batch
			want  store.BatchResult
		}{
			{batch("b1", 1), store.BatchResult{}},
			{batch("b1", 1), store.BatchResult{Duplicate: true}},
			{batch("b1", 2), store.BatchResult{}},
			{batch("b1", 1), store.BatchResult{Duplicate: true}},
			{batch("b2", 1), store.BatchResult{}},           // another start counts anew
			{batch("b1", 6), store.BatchResult{Missing: 3}}, // the database has lost three
			{batch("b3", 40), store.BatchResult{}},          // or everything about a start
			{batch("b3", 39), store.BatchResult{Duplicate: true}},
		} {
			got, err := b.AddUsage(t.Context(), step.batch, row)
			if err != nil || got != step.want {
				t.Errorf("AddUsage(%v) = %v, %v, want %v", step.batch, got, err, step.want)
			}
		}
		// Records have a sequence of their own.
		got, err := b.AddRecords(t.Context(), batch("b1", 1), nil)
		if err != nil || got.Duplicate {
			t.Errorf("AddRecords(b1, 1) = %v, %v", got, err)
		}
		rows := b.used(b.admin, store.UsageQuery{})
		if diff := cmp.Diff([]store.Usage{usage(hour, v1, "a", "s", 5)}, rows, byOwners); diff != "" {
			t.Errorf("Usage() (-want +got):\n%s", diff)
		}
	})
}

// TestUsageRace sends the same batch 16 times at once, and 16 gateways' batches
// with the same rows in two orders.
func TestUsageRace(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		one, two := usage(hour, v1, "a", "s", 1), usage(hour, v2, "a", "s", 1)
		results := make([]store.BatchResult, 16)
		for _, err := range race(func(i int) error {
			var err error
			results[i], err = b.AddUsage(t.Context(), batch("same", 1), []store.Usage{one, two})
			return err
		}) {
			ok(t, err)
		}
		counted := 0
		for _, got := range results {
			if !got.Duplicate {
				counted++
			}
		}
		if counted != 1 {
			t.Errorf("the batch was counted %d times", counted)
		}
		for _, err := range race(func(i int) error {
			rows := []store.Usage{one, two}
			if i%2 == 0 {
				rows = []store.Usage{two, one}
			}
			_, err := b.AddUsage(t.Context(), batch(fmt.Sprint("boot", i), 1), rows)
			return err
		}) {
			ok(t, err)
		}
		rows := b.used(b.admin, store.UsageQuery{})
		want := []store.Usage{usage(hour, v1, "a", "s", 17), usage(hour, v2, "a", "s", 17)}
		if diff := cmp.Diff(want, rows, byOwners); diff != "" {
			t.Errorf("Usage() (-want +got):\n%s", diff)
		}
	})
}

// TestUsageIsSeenByOwners has usage of Ann's application at Bob's version, of one
// that was deleted before the report came, and of a version without credentials.
func TestUsageIsSeenByOwners(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		carol := identity.Viewer{User: b.user("carol", "subscriber")}
		b.publish(b.bob.User, v1)
		b.publish("someone", v2)
		app, gone := b.application(b.ann, "a"), b.application(b.ann, "gone")
		s := b.subscribe(b.ann, app.ID, v2)
		ok(t, b.DeleteApplication(t.Context(), b.ann, gone.ID, allow[store.Application]))
		open := usage(hour, v1, "", "", 1)
		late := usage(hour, v2, gone.ID, "s-gone", 2)
		mine := usage(hour, v2, app.ID, s.ID, 3)
		next := usage(hour.Add(time.Hour), v2, app.ID, s.ID, 4)
		_, err := b.AddUsage(t.Context(), batch("b", 1), []store.Usage{next, mine, late, open})
		ok(t, err)
		b.catalog(store.CatalogChange{Removed: []string{v1}})
		after := usage(hour.Add(2*time.Hour), v1, "", "", 5)
		_, err = b.AddUsage(t.Context(), batch("b", 2), []store.Usage{after})
		ok(t, err)
		for _, tt := range []struct {
			name   string
			v      identity.Viewer
			filter store.UsageFilter
			want   []store.Usage
		}{
			{"admin", b.admin, store.UsageFilter{}, []store.Usage{open, late, mine, next, after}},
			{"application's owner", b.ann, store.UsageFilter{}, []store.Usage{late, mine, next}},
			{"version's owner", b.bob, store.UsageFilter{}, []store.Usage{open, after}},
			{"stranger", carol, store.UsageFilter{}, []store.Usage{}},
			{"by application", b.admin, store.UsageFilter{Application: &app.ID}, []store.Usage{mine, next}},
			{"by subscription and version", b.ann, store.UsageFilter{Subscription: &s.ID, Version: new(v2)}, []store.Usage{mine, next}},
			{"by version", b.ann, store.UsageFilter{Version: new(v1)}, []store.Usage{}},
		} {
			rows := b.used(tt.v, store.UsageQuery{Filter: tt.filter})
			if diff := cmp.Diff(tt.want, rows, byOwners); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
	})
}

// byOwners compares rows of usage in any order, and without what is not written.
var byOwners = cmp.Options{
	cmpopts.IgnoreFields(store.Usage{}, "Labels"), cmpopts.IgnoreUnexported(store.Usage{}), cmpopts.EquateEmpty(),
	cmpopts.SortSlices(func(a, b store.Usage) bool { return a.Sessions < b.Sessions }),
}

// An API that is given to another user takes its usage and its session records along.
func TestUsageFollowsANewOwner(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		b.publish(b.bob.User, v1, v2)
		_, err := b.AddUsage(ctx, batch("b", 1), []store.Usage{usage(hour, v1, "", "", 1), usage(hour, v2, "", "", 2)})
		ok(t, err)
		_, err = b.AddRecords(ctx, batch("r", 1), []store.SessionRecord{record("R1", v1, "", b.now()), record("R2", v2, "", b.now())})
		ok(t, err)
		b.publish(b.ann.User, v1)
		for viewer, want := range map[identity.Viewer][2]string{b.ann: {v1, "R1"}, b.bob: {v2, "R2"}} {
			rows := b.used(viewer, store.UsageQuery{})
			if len(rows) != 1 || rows[0].Version != want[0] {
				t.Errorf("Usage() for %v = %v, want that of %s", viewer, rows, want[0])
			}
			records := list(t, b.SessionRecords(ctx, viewer, store.RecordFilter{}, sqldb.TimeKey{}))
			if len(records) != 1 || records[0].Ref != want[1] {
				t.Errorf("SessionRecords() for %v = %v, want %s", viewer, records, want[1])
			}
		}
		_, err = b.AddUsage(ctx, batch("b", 2), []store.Usage{usage(hour, v1, "", "", 3)})
		ok(t, err)
		if rows := b.used(b.ann, store.UsageQuery{}); len(rows) != 1 || rows[0].Sessions != 4 {
			t.Errorf("Usage() for the new owner = %v, want all of the hour", rows)
		}
		b.catalog(store.CatalogChange{Removed: []string{v1}})
		if rows := b.used(b.ann, store.UsageQuery{}); len(rows) != 1 {
			t.Errorf("Usage() for the last owner of a deleted version = %v", rows)
		}
		for viewer, seen := range map[identity.Viewer]bool{b.ann: true, b.bob: false, b.admin: true} {
			if _, err := b.SessionRecord(ctx, viewer, "R1"); (err == nil) != seen {
				t.Errorf("SessionRecord() of a deleted version for %v = %v", viewer, err)
			}
		}
	})
}

func record(ref, version, app string, ended time.Time) store.SessionRecord {
	return store.SessionRecord{
		Ref: ref, Session: "gateways/g/sessions/" + ref, Version: version, Grant: "grants/t", Application: app, Subscription: "s",
		ClientAddress: "192.0.2.1:4", StartedAt: ended.Add(-time.Minute), EndedAt: ended, EndedBy: 3, EndReason: 13,
		CloseCodeFromClient: 1, CloseCodeToClient: 4001, CloseCodeFromBackend: 2, CloseCodeToBackend: 1001,
		In: store.Traffic{Messages: 1, Frames: 2, Payload: 3, Wire: 4}, Out: store.Traffic{Messages: 5, Frames: 6, Payload: 7, Wire: 8},
		LastInAt: ended.Add(-time.Second), Truncated: true, RouteChangeNumber: 9, Detail: "d",
		Renewals: 2, RenewedAt: ended.Add(-2 * time.Second),
	}
}

func TestRecords(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.publish(b.bob.User, v1)
		app := b.application(b.ann, "a")
		now := b.now().Truncate(time.Microsecond)
		r1, r2 := record("R1", v1, app.ID, now), record("R2", v2, app.ID, now.Add(time.Second))
		r3 := record("R3", v1, "", now.Add(time.Second))
		r3.EndReason, r3.LastInAt, r3.Grant, r3.Subscription = 5, time.Time{}, "", ""
		_, err := b.AddRecords(t.Context(), batch("b", 1), []store.SessionRecord{r1, r2, r3})
		ok(t, err)
		again := r1
		again.EndReason = 6
		_, err = b.AddRecords(t.Context(), batch("b", 2), []store.SessionRecord{again})
		ok(t, err)
		got, err := b.SessionRecord(t.Context(), b.ann, "R1")
		if diff := cmp.Diff(r1, got, cmpopts.IgnoreFields(store.SessionRecord{}, "Labels")); err != nil || diff != "" {
			t.Errorf("SessionRecord() = %v (-want +got):\n%s", err, diff)
		}
		for who, want := range map[identity.Viewer]string{b.ann: "grants/t", b.bob: "", b.admin: "grants/t"} {
			if got, err := b.SessionRecord(t.Context(), who, "R1"); err != nil || got.Grant != want {
				t.Errorf("the grant for %+v = %q, %v, want %q", who, got.Grant, err, want)
			}
		}
		_, err = b.SessionRecord(t.Context(), b.bob, "R2")
		refused(t, "SessionRecord(another's)", err, codes.NotFound, "sessionRecords/R2 not found")
		var first sqldb.TimeKey
		for _, tt := range []struct {
			name   string
			v      identity.Viewer
			filter store.RecordFilter
			before sqldb.TimeKey
			want   []string
		}{
			{"admin", b.admin, store.RecordFilter{}, first, []string{"R3", "R2", "R1"}},
			{"application's owner", b.ann, store.RecordFilter{}, first, []string{"R2", "R1"}},
			{"version's owner", b.bob, store.RecordFilter{}, first, []string{"R3", "R1"}},
			{"by end reason", b.admin, store.RecordFilter{EndReason: new(int64(5))}, first, []string{"R3"}},
			{"by version and application", b.admin, store.RecordFilter{Version: new(v1), Application: &app.ID}, first, []string{"R1"}},
			{"by subscription", b.admin, store.RecordFilter{Subscription: new("s")}, first, []string{"R2", "R1"}},
			{"next page", b.admin, store.RecordFilter{}, r3.ListKey(), []string{"R2", "R1"}},
		} {
			rows := list(t, b.SessionRecords(t.Context(), tt.v, tt.filter, tt.before))
			var got []string
			for _, r := range rows {
				got = append(got, r.Ref)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
	})
}

func TestPurge(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		keep := store.Retention{
			Records: 10 * 24 * time.Hour, Refusals: 24 * time.Hour,
			UsageMinutes: 48 * time.Hour, Usage: 20 * 24 * time.Hour, UsageDays: 40 * 24 * time.Hour,
		}
		app := b.application(b.ann, "a")
		ok(t, b.DeleteApplication(t.Context(), b.ann, app.ID, allow[store.Application]))
		var records []store.SessionRecord
		for i := range 2500 {
			records = append(records, record(fmt.Sprint("R", i), v1, "", b.now()))
		}
		_, err := b.AddRecords(t.Context(), batch("b", 1), records)
		ok(t, err)
		used := usage(b.now().Truncate(time.Hour), v1, "", "", 1)
		used.Limits, used.Refused = []store.LimitUsage{limit(1, gold, "messages-rate", 1)}, []store.RefusedHandshakes{{Status: 429, Number: 1}}
		_, err = b.AddUsage(t.Context(), batch("b", 1), []store.Usage{used})
		ok(t, err)
		counts := func() (all []int) {
			for _, table := range []string{
				"session_record", "former_owner", "usage_minute", "usage_hour", "usage_day", "usage_20_days", "usage_limit_day", "usage_refused_day", "usage_series", "batch",
			} {
				all = append(all, b.count(table))
			}
			return all
		}
		for _, step := range []struct {
			add  time.Duration
			want []int
		}{
			{9 * 24 * time.Hour, []int{2500, 1, 0, 1, 1, 1, 1, 1, 1, 2}},
			{2 * 24 * time.Hour, []int{0, 1, 0, 1, 1, 1, 1, 1, 1, 2}},
			{12 * 24 * time.Hour, []int{0, 1, 0, 0, 1, 1, 1, 1, 1, 2}},
			{20 * 24 * time.Hour, []int{0, 0, 0, 0, 1, 1, 1, 1, 1, 2}},
			{40 * 24 * time.Hour, []int{0, 0, 0, 0, 0, 0, 0, 0, 0, 2}},
			{10 * 24 * time.Hour, []int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		} {
			b.add(step.add)
			if step.want[9] > 0 { // batches are not what Retention is about
				before := counts()
				ok(t, b.Purge(t.Context(), store.Retention{}))
				if diff := cmp.Diff(before, counts()); diff != "" {
					t.Errorf("rows where all is kept for ever (-want +got):\n%s", diff)
				}
			}
			ok(t, b.Purge(t.Context(), keep))
			if diff := cmp.Diff(step.want, counts()); diff != "" {
				t.Errorf("rows after %v more (-want +got):\n%s", step.add, diff)
			}
		}
	})
}

// TestUsageIsPurgedWhileItIsReported deletes the rows that several gateways write: nobody
// fails, although rows are written by series and deleted by time.
func TestUsageIsPurgedWhileItIsReported(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		purging := store.New(b.db, b.log, b.now)
		purging.Keep(store.Retention{UsageMinutes: time.Hour, Usage: time.Hour})
		old := b.now().Add(-90 * 24 * time.Hour).Truncate(time.Hour)
		var rows []store.Usage
		for i := range 60 {
			rows = append(rows, usage(old.Add(time.Duration(i)*time.Minute), v1, fmt.Sprint(i%10), "", 1))
		}
		for _, err := range race(func(i int) error {
			for n := range int64(3) {
				if i%4 == 0 {
					if err := purging.Purge(t.Context()); err != nil {
						return err
					}
				} else if _, err := b.AddUsage(t.Context(), batch(fmt.Sprint(i), n+1), rows); err != nil {
					return err
				}
			}
			return nil
		}) {
			ok(t, err)
		}
	})
}
