package store_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// Of many applications that one user makes at once, as many are made as the user may
// have; others have their own bound, and what is deleted makes room.
func TestApplicationsOfAUserAreBounded(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.Bound(store.Bounds{Applications: 3})
		errs := make(chan error, 8)
		for i := range 8 {
			go func() {
				_, err := b.CreateApplication(t.Context(), requestid.Request{}, store.Application{Owner: b.ann.User, DisplayName: fmt.Sprint("app ", i)})
				errs <- err
			}()
		}
		made := 0
		for range 8 {
			err := <-errs
			if err == nil {
				made++
			} else if !fault.Is(err, codes.ResourceExhausted) {
				t.Errorf("CreateApplication = %v, want RESOURCE_EXHAUSTED", err)
			}
		}
		if n := b.count("application"); made != 3 || n != 3 {
			t.Errorf("%d applications were made and %d are there, want 3", made, n)
		}
		_, err := b.CreateApplication(t.Context(), requestid.Request{}, store.Application{Owner: b.bob.User, DisplayName: "app"})
		ok(t, err)
	})
}

// Of each application only so many session records are kept for an hour, whatever tokens it
// gets, also when two
// gateways report at once; the last one that is kept says how many were left out.
// Sessions without a credential are bounded by version and network.
func TestRecordsOfAnApplicationAreBounded(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.Bound(store.Bounds{Records: 5})
		hour := b.now().Truncate(time.Hour)
		batch := func(gateway string, from, n int, edit func(*store.SessionRecord)) func() error {
			var records []store.SessionRecord
			for i := range n {
				r := store.SessionRecord{
					Ref: fmt.Sprint(gateway, " ", from+i), Version: "apis/a/versions/v", Application: "app", Grant: fmt.Sprint("grants/", gateway, from+i),
					ClientAddress: fmt.Sprintf("[2001:db8::%x]:9", i+1), EndedAt: hour.Add(time.Minute),
				}
				edit(&r)
				records = append(records, r)
			}
			return func() error {
				_, err := b.AddRecords(t.Context(), store.Batch{Gateway: gateway, BootID: "b", Sequence: int64(from + 1)}, records)
				return err
			}
		}
		same := func(*store.SessionRecord) {}
		errs := make(chan error, 2)
		for _, gateway := range []string{"one", "two"} {
			go func() { errs <- batch(gateway, 0, 4, same)() }()
		}
		ok(t, <-errs)
		ok(t, <-errs)
		ok(t, batch("one", 1, 10, func(r *store.SessionRecord) { r.Ref += " more" })())
		kept, left := recordsOf(t, b, "app")
		if kept != 5 || left != 13 {
			t.Errorf("%d records are kept and %d counted, want 5 and 13", kept, left)
		}
		ok(t, batch("other", 0, 2, func(r *store.SessionRecord) { r.Application = "other" })())
		ok(t, batch("later", 0, 2, func(r *store.SessionRecord) { r.EndedAt = hour.Add(time.Hour) })())
		ok(t, batch("nobody", 0, 9, func(r *store.SessionRecord) { r.Application, r.Grant = "", "" })())
		if kept, left := recordsOf(t, b, ""); kept != 5 || left != 4 {
			t.Errorf("without a credential %d records are kept and %d counted, want 5 and 4", kept, left)
		}
		if n := b.count("session_record"); n != 5+2+2+5 {
			t.Errorf("%d records are kept in all, want 14", n)
		}
		b.add(50 * time.Hour)
		ok(t, b.Purge(t.Context(), store.Retention{}))
		if n := b.count("record_count"); n != 0 {
			t.Errorf("%d counts of hours long past", n)
		}
	})
}

// recordsOf returns how many records of an application are kept, and how many their last says
// were left out.
func recordsOf(t *testing.T, b *bench, application string) (kept int, left int64) {
	t.Helper()
	for r, err := range b.SessionRecords(t.Context(), b.admin, store.RecordFilter{}, store.SessionRecord{}.ListKey()) {
		ok(t, err)
		if r.Application == application {
			kept, left = kept+1, left+r.LeftOut
		}
	}
	return kept, left
}
