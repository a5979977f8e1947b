package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/ref"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// refusal is the record of a handshake that was refused at a time.
func refusal(version, api, application, code string, at time.Time) store.SessionRecord {
	r := ref.New(at)
	return store.SessionRecord{
		Ref: r, Session: "gateways/g/sessions/" + r, Version: version, API: api, Application: application,
		ClientAddress: "192.0.2.1:4", EndedAt: at, EndedBy: 3, EndReason: 18,
		Status: 401, Code: code, Host: "api.example", Path: "/echo/1", UserAgent: "curl/8",
	}
}

func refsOf(t *testing.T, b *bench, v identity.Viewer, f store.RecordFilter) (refs []string) {
	t.Helper()
	for r, err := range b.SessionRecords(t.Context(), v, f, store.SessionRecord{}.ListKey()) {
		ok(t, err)
		refs = append(refs, r.Ref)
	}
	return refs
}

// TestRefusalsAreSeenByOwners: the owner of the version, or of the API where the handshake
// led to no version, sees a refusal, and so does the application's where that is known;
// one that led to no API is for administrators.
func TestRefusalsAreSeenByOwners(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		carol := identity.Viewer{User: b.user("carol", "subscriber")}
		b.publish(b.bob.User, v1)
		app, now := b.application(b.ann, "a"), b.now().Truncate(time.Microsecond)
		version := refusal(v1, "", "", "CREDENTIAL_INVALID", now)
		granted := refusal(v1, "", app.ID, "ORIGIN_REFUSED", now.Add(time.Second))
		nearly := refusal("", apiOf(v1), "", "NOT_FOUND", now.Add(2*time.Second))
		nothing := refusal("", "", "", "NOT_FOUND", now.Add(3*time.Second))
		session := record("R1", v1, app.ID, now.Add(-time.Second))
		_, err := b.AddRecords(t.Context(), batch("b", 1), []store.SessionRecord{version, granted, nearly, nothing, session})
		ok(t, err)
		all := []store.SessionRecord{nothing, nearly, granted, version, session}
		for _, tt := range []struct {
			name   string
			v      identity.Viewer
			filter store.RecordFilter
			want   []store.SessionRecord
		}{
			{"administrator", b.admin, store.RecordFilter{}, all},
			{"API's owner", b.bob, store.RecordFilter{}, []store.SessionRecord{nearly, granted, version, session}},
			{"application's owner", b.ann, store.RecordFilter{}, []store.SessionRecord{granted, session}},
			{"stranger", carol, store.RecordFilter{}, nil},
			{"refused", b.bob, store.RecordFilter{Refused: new(true)}, []store.SessionRecord{nearly, granted, version}},
			{"not refused", b.bob, store.RecordFilter{Refused: new(false)}, []store.SessionRecord{session}},
			{"by code", b.admin, store.RecordFilter{Code: new("NOT_FOUND")}, []store.SessionRecord{nothing, nearly}},
		} {
			var want []string
			for _, r := range tt.want {
				want = append(want, r.Ref)
			}
			if diff := cmp.Diff(want, refsOf(t, b, tt.v, tt.filter)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
			if tt.filter != (store.RecordFilter{}) {
				continue
			}
			for _, r := range all {
				got, err := b.SessionRecord(t.Context(), tt.v, r.Ref)
				got.Labels = r.Labels
				if tt.name == "API's owner" && r.Application != "" {
					r.Grant = "" // which token it was is for the application's owner
				}
				if seen := err == nil; seen != slices.Contains(want, r.Ref) || seen && !cmp.Equal(got, r) {
					t.Errorf("%s: SessionRecord(%s %s) = %+v, %v", tt.name, r.Code, r.Ref, got, err)
				}
			}
		}
	})
}

func apiOf(version string) string {
	api, _, _ := strings.Cut(version, "/versions/")
	return api
}

// TestRefusalsAreBounded: of an API and code only so many records are kept for an hour,
// sessions not among them. The last that is kept counts the others, what gateways leave
// out too; and whoever may see them reads from a ref's hour how many there were.
func TestRefusalsAreBounded(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.Bound(store.Bounds{Refusals: 3, Records: 1})
		b.publish(b.bob.User, v1)
		app, hour := b.application(b.ann, "a"), b.now().Truncate(time.Hour)
		at := hour.Add(30 * time.Minute)
		records := []store.SessionRecord{record(ref.New(at), v1, app.ID, at), record(ref.New(at), v1, app.ID, at)}
		for i := range 5 {
			records = append(records,
				refusal(v1, "", "", "CREDENTIAL_INVALID", at.Add(time.Duration(i))),
				refusal("", "", "", "NOT_FOUND", at.Add(time.Duration(i))),
				// A handshake that began in one hour and was refused in the next counts for the first.
				late(refusal(v1, "", app.ID, "BACKEND_TIMEOUT", at), hour.Add(time.Hour)))
		}
		got, err := b.AddRecords(t.Context(), batch("b", 1), records)
		if err != nil || got.LeftOut != 1+2+2+2 {
			t.Errorf("AddRecords() = %+v, %v, want 7 left out", got, err)
		}
		at4xx := func(version, application, code string) store.LeftOut {
			return store.LeftOut{Hour: hour, Version: version, Application: application, EndReason: 18, Code: code}
		}
		for _, duplicate := range []bool{false, true} {
			got, err := b.AddLeftOut(t.Context(), batch("b", 1), map[store.LeftOut]int64{
				at4xx(v1, "", "CREDENTIAL_INVALID"): 1000, at4xx("", "", "NOT_FOUND"): 40, at4xx(v1, "", "LOOP"): 9,
			})
			if err != nil || got.Duplicate != duplicate {
				t.Errorf("AddLeftOut() = %+v, %v, want duplicate %t", got, err, duplicate)
			}
		}
		for code, want := range map[string]int64{"CREDENTIAL_INVALID": 1002, "NOT_FOUND": 42, "BACKEND_TIMEOUT": 2} {
			kept, left := 0, int64(0)
			for r, err := range b.SessionRecords(t.Context(), b.admin, store.RecordFilter{Code: &code}, store.SessionRecord{}.ListKey()) {
				ok(t, err)
				kept, left = kept+1, left+r.LeftOut
			}
			if kept != 3 || left != want {
				t.Errorf("%s: %d records are kept and %d counted, want 3 and %d", code, kept, left, want)
			}
		}
		ended := store.Reason{EndReason: 13, Number: 1}
		refused := func(code string, n int64) store.Reason { return store.Reason{EndReason: 18, Code: code, Number: n} }
		for _, tt := range []struct {
			name string
			v    identity.Viewer
			want []store.Reason
		}{
			{"administrator", b.admin, []store.Reason{refused("CREDENTIAL_INVALID", 1002), refused("NOT_FOUND", 42), refused("LOOP", 9), refused("BACKEND_TIMEOUT", 2), ended}},
			{"version's owner", b.bob, []store.Reason{refused("CREDENTIAL_INVALID", 1002), refused("LOOP", 9), refused("BACKEND_TIMEOUT", 2), ended}},
			{"application's owner", b.ann, []store.Reason{refused("BACKEND_TIMEOUT", 2), ended}},
			{"stranger", identity.Viewer{User: "nobody"}, nil},
		} {
			got, err := b.ReasonsLeftOut(t.Context(), tt.v, hour)
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%s: ReasonsLeftOut() = %v (-want +got):\n%s", tt.name, err, diff)
			}
		}
		if got, err := b.ReasonsLeftOut(t.Context(), b.admin, hour.Add(time.Hour)); err != nil || got != nil {
			t.Errorf("ReasonsLeftOut() of another hour = %v, %v, want none", got, err)
		}
	})
}

func late(r store.SessionRecord, at time.Time) store.SessionRecord {
	r.EndedAt = at
	return r
}

// TestRefusalsArePurged: refusals and what was left out of them go before sessions do.
func TestRefusalsArePurged(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		keep := store.Retention{Records: 90 * 24 * time.Hour, Refusals: 7 * 24 * time.Hour}
		old := refusal(v1, "", "", "NOT_FOUND", b.now())
		_, err := b.AddRecords(t.Context(), batch("b", 1), []store.SessionRecord{old, record("R1", v1, "", b.now())})
		ok(t, err)
		hour := b.now().Truncate(time.Hour)
		_, err = b.AddLeftOut(t.Context(), batch("b", 1), map[store.LeftOut]int64{
			{Hour: hour, Version: v1, EndReason: 18, Code: "NOT_FOUND"}: 1, {Hour: hour, Version: v1, EndReason: 5}: 1,
		})
		ok(t, err)
		for _, step := range []struct {
			add  time.Duration
			want []int
		}{{6 * 24 * time.Hour, []int{2, 2}}, {2 * 24 * time.Hour, []int{1, 1}}, {83 * 24 * time.Hour, []int{0, 0}}} {
			b.add(step.add)
			ok(t, b.Purge(t.Context(), keep))
			if diff := cmp.Diff(step.want, []int{b.count("session_record"), b.count("record_left_out")}); diff != "" {
				t.Errorf("rows after %v more (-want +got):\n%s", step.add, diff)
			}
		}
		_, err = b.SessionRecord(t.Context(), b.admin, old.Ref)
		refused(t, "SessionRecord() of a refusal of long ago", err, codes.NotFound, "sessionRecords/"+old.Ref+" not found")
	})
}
