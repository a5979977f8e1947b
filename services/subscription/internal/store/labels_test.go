package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// What usage and records are about is called what it is called now, and what it was
// called last once it is gone: application, version and user in turn. It is forgotten
// with the usage.
func TestLabelsOutliveWhatTheyName(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		carol := identity.Viewer{User: b.user("carol", "subscriber")}
		b.publish(b.bob.User, v1)
		app := b.application(carol, "old")
		other := b.application(carol, "other")
		sub := b.subscribe(carol, app.ID, v1)
		report := func(boot string, app, sub string) {
			t.Helper()
			_, err := b.AddUsage(ctx, batch(boot, 1), []store.Usage{usage(hour, v1, app, sub, 1)})
			ok(t, err)
			_, err = b.AddRecords(ctx, batch(boot, 1), []store.SessionRecord{record("R-"+boot, v1, app, hour)})
			ok(t, err)
		}
		report("a", app.ID, sub.ID)
		check := func(when string, app store.Application, want store.Labels) {
			t.Helper()
			rows := b.used(b.admin, store.UsageQuery{Filter: store.UsageFilter{Application: &app.ID}})
			records := list(t, b.SessionRecords(ctx, b.admin, store.RecordFilter{Application: &app.ID}, sqldb.TimeKey{}))
			if len(rows) != 1 || len(records) != 1 {
				t.Fatalf("%s: %d rows of usage, %d records, want one of each", when, len(rows), len(records))
			}
			if diff := cmp.Diff([]store.Labels{want, want}, []store.Labels{rows[0].Labels, records[0].Labels}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		want := store.Labels{API: "Echo", Version: "1.0.0", Application: "old", Owner: "carol"}
		check("at first", app, want)
		_, err := b.UpdateApplication(ctx, carol, app.ID, func(a store.Application) (store.Application, error) {
			a.DisplayName = "new"
			return a, nil
		})
		ok(t, err)
		renamed := version(v1, b.bob.User, true, gold)
		renamed.APIName = "Ferry"
		b.catalog(store.CatalogChange{Versions: []store.Version{renamed}})
		want.Application, want.API = "new", "Ferry"
		check("renamed", app, want)
		ok(t, b.DeleteApplication(ctx, carol, app.ID, allow[store.Application]))
		check("without the application", app, want)
		b.catalog(store.CatalogChange{Removed: []string{v1}})
		check("without the version", app, want)
		ok(t, b.DeleteUser(ctx, b.admin, carol.User, allow[store.User]))
		check("without the user", app, want)
		report("b", other.ID, "s")
		want.Application = "other"
		check("reported after the user was deleted with the application", other, want)
		b.add(21 * 24 * time.Hour)
		keep := store.Retention{Refusals: time.Hour, Records: 10 * 24 * time.Hour, UsageMinutes: time.Hour, Usage: 20 * 24 * time.Hour, UsageDays: 20 * 24 * time.Hour}
		refusals := keep
		refusals.Refusals = 30 * 24 * time.Hour
		ok(t, b.Purge(ctx, keep))
		if n := b.count("former_name"); n != 4 {
			t.Errorf("former names while late reports may come = %d, want those of a version, a user and two applications", n)
		}
		b.add(2 * 24 * time.Hour)
		ok(t, b.Purge(ctx, refusals))
		if n := b.count("former_name"); n != 4 {
			t.Errorf("former names while there may be refused handshakes = %d, want 4", n)
		}
		ok(t, b.Purge(ctx, keep))
		if n := b.count("former_name"); n != 0 {
			t.Errorf("former names without usage = %d, want none", n)
		}
	})
}

// A time range is half-open: two that meet have every row once.
func TestTrafficOfATimeRange(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		var rows []store.Usage
		var records []store.SessionRecord
		for i := range 4 {
			at := hour.Add(time.Duration(i) * time.Hour)
			rows = append(rows, usage(at, v1, "", "", int64(i+1)))
			records = append(records, record(string(rune('A'+i)), v1, "", at))
		}
		_, err := b.AddUsage(t.Context(), batch("b", 1), rows)
		ok(t, err)
		_, err = b.AddRecords(t.Context(), batch("b", 1), records)
		ok(t, err)
		when := func(micros *int64) (at time.Time) {
			if micros != nil {
				at = sqldb.Time(*micros)
			}
			return at
		}
		at := func(hours int) *int64 { return new(hour.Add(time.Duration(hours) * time.Hour).UnixMicro()) }
		for _, tt := range []struct {
			name string
			r    page.TimeRange
			want string
		}{
			{"all", page.TimeRange{}, "ABCD"},
			{"from the second", page.TimeRange{Start: at(1)}, "BCD"},
			{"before the second", page.TimeRange{End: at(1)}, "A"},
			{"two", page.TimeRange{Start: at(1), End: at(3)}, "BC"},
			{"none", page.TimeRange{Start: at(4)}, ""},
		} {
			used, ended := "", ""
			for _, u := range b.used(b.admin, store.UsageQuery{Start: when(tt.r.Start), End: when(tt.r.End)}) {
				used += string(rune('A' + u.Sessions - 1))
			}
			for _, r := range list(t, b.SessionRecords(t.Context(), b.admin, store.RecordFilter{Ended: tt.r}, sqldb.TimeKey{})) {
				ended = r.Ref + ended
			}
			if used != tt.want || ended != tt.want {
				t.Errorf("%s: usage of %q, records of %q, want %q", tt.name, used, ended, tt.want)
			}
		}
	})
}

// What a filter names must be there for the viewer, or have been there: then there is
// usage or a record of it.
func TestCheckNamed(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		carol := identity.Viewer{User: b.user("carol", "subscriber")}
		hidden := version(v2, b.bob.User, false, gold)
		b.publish(b.bob.User, v1)
		b.catalog(store.CatalogChange{Versions: []store.Version{hidden}, Plans: []store.Plan{{Name: gold, DisplayName: "Gold"}}})
		app, gone, unused := b.application(b.ann, "a"), b.application(b.ann, "gone"), b.application(b.ann, "unused")
		sub, lost := b.subscribe(b.ann, app.ID, v1), b.subscribe(b.ann, gone.ID, v1)
		_, err := b.AddUsage(ctx, batch("b", 1), []store.Usage{usage(hour, v1, gone.ID, lost.ID, 1)})
		ok(t, err)
		key, _, err := b.CreateAPIKey(ctx, requestid.Request{}, b.ann, store.APIKey{
			Name: resourcename.APIKey{Application: app.ID}, DisplayName: "web", Stage: store.Production, Format: "tidegate",
		}, []byte("hash"), allow[store.Application])
		ok(t, err)
		keyName, recorded := key.Name.String(), store.ApplicationName(app.ID)+"/apiKeys/gone"
		astray := store.ApplicationName(gone.ID) + "/apiKeys/" + key.Name.APIKey
		of := record("R1", v1, app.ID, b.now())
		of.APIKey = recorded
		_, err = b.AddRecords(ctx, batch("r", 1), []store.SessionRecord{of})
		ok(t, err)
		for _, a := range []store.Application{gone, unused} {
			ok(t, b.DeleteApplication(ctx, b.ann, a.ID, allow[store.Application]))
		}
		for _, tt := range []struct {
			name string
			v    identity.Viewer
			n    store.Named
			want bool
		}{
			{"own application", b.ann, store.Named{Application: &app.ID}, true},
			{"another's application", carol, store.Named{Application: &app.ID}, false},
			{"any application for an administrator", b.admin, store.Named{Application: &app.ID}, true},
			{"a deleted application with usage", b.ann, store.Named{Application: &gone.ID}, true},
			{"that application for the version's owner", b.bob, store.Named{Application: &gone.ID}, true},
			{"that application for a stranger", carol, store.Named{Application: &gone.ID}, false},
			{"a deleted application without usage", b.ann, store.Named{Application: &unused.ID}, false},
			{"an application that never was", b.admin, store.Named{Application: new("x")}, false},
			{"own API key", b.ann, store.Named{APIKey: &keyName}, true},
			{"another's API key", carol, store.Named{APIKey: &keyName}, false},
			{"an application's API key for the version's owner", b.bob, store.Named{APIKey: &keyName}, false},
			{"a deleted API key with a record", b.ann, store.Named{APIKey: &recorded}, true},
			{"that API key for the version's owner", b.bob, store.Named{APIKey: &recorded}, true},
			{"that API key for a stranger", carol, store.Named{APIKey: &recorded}, false},
			{"an API key of another application", b.ann, store.Named{APIKey: &astray}, false},
			{"an API key that never was", b.admin, store.Named{APIKey: new(store.ApplicationName(app.ID) + "/apiKeys/none")}, false},
			{"own subscription", b.ann, store.Named{Subscription: &sub.ID}, true},
			{"a subscription to one's version", b.bob, store.Named{Subscription: &sub.ID}, true},
			{"another's subscription", carol, store.Named{Subscription: &sub.ID}, false},
			{"a deleted subscription with usage", b.ann, store.Named{Subscription: &lost.ID}, true},
			{"the API of a published version", carol, store.Named{API: new("apis/a")}, true},
			{"an API that never was", b.admin, store.Named{API: new("apis/none")}, false},
			{"a plan", carol, store.Named{Plan: new(gold)}, true},
			{"a plan that never was", b.admin, store.Named{Plan: new("plans/none")}, false},
			{"a published version", carol, store.Named{Version: new(v1)}, true},
			{"a version that is not published", carol, store.Named{Version: new(v2)}, false},
			{"own version", b.bob, store.Named{Version: new(v2)}, true},
			{"one of two that is not there", b.ann, store.Named{Application: &app.ID, Version: new("apis/a/versions/x")}, false},
			{"nothing", carol, store.Named{}, true},
		} {
			err := b.CheckNamed(ctx, tt.v, tt.n)
			if tt.want && err != nil {
				t.Errorf("%s: CheckNamed() = %v", tt.name, err)
			}
			if !tt.want {
				refused(t, tt.name, err, codes.NotFound, "")
			}
		}
		b.catalog(store.CatalogChange{Versions: []store.Version{version(v1, b.bob.User, false, gold)}})
		ok(t, b.CheckNamed(ctx, b.ann, store.Named{Version: new(v1)})) // subscribed to it
	})
}
