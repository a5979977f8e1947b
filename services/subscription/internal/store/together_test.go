package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// TestCheckCatalog loses the database of the catalog, and that of the subscription
// service, and finds the right one again. Nothing is wrong at a first start.
func TestCheckCatalog(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		want := func(when, text string) {
			t.Helper()
			err := b.CheckCatalog(t.Context())
			apart, is := errors.AsType[*store.Apart](err)
			if text == "" && err != nil || text != "" && (!is || !strings.Contains(apart.Error(), text)) {
				t.Errorf("%s: CheckCatalog = %v, want %q", when, err, text)
			}
		}
		number := uint64(0)
		snapshot := func(another bool, versions ...store.Version) {
			t.Helper()
			before, err := b.ReadCursor(t.Context())
			ok(t, err)
			number++
			for i := range versions {
				versions[i].ChangeNumber = number
			}
			applied, err := b.ApplyCatalogSnapshot(t.Context(), store.CatalogSnapshot{Versions: versions}, another, before, cursor(number))
			if !applied || err != nil {
				t.Fatal(applied, err)
			}
		}
		ann := b.ann.User
		want("before the catalog was heard", "")
		snapshot(false)
		app := b.application(b.ann, "a")
		want("with an empty catalog", "")
		snapshot(true)
		want("with another empty catalog", "")
		snapshot(true, version(v1, ann, true, gold))
		s := b.subscribe(b.ann, app.ID, v1)
		want("with a subscription", "")

		snapshot(true)
		want("with a new catalog", "it lacks versions (1), to which there are subscriptions (1); if the catalog's -db is wrong")
		snapshot(true, version(v2, ann, true, gold))
		want("with a new catalog that is used", "it lacks versions (1), to which there are subscriptions (1)")
		snapshot(true, version(v1, ann, true, gold))
		want("with the right catalog", "")
		snapshot(true)
		ok(t, b.DeleteSubscription(t.Context(), b.ann, s.ID, func(store.Subscription) error { return nil }))
		want("with a new catalog, without subscriptions", "it lacks versions (2), to which there are subscriptions (0)")

		snapshot(true, version(v2, "somebody", true, gold))
		want("with the catalog of others", "no user of this database ever owned one of them")
		snapshot(true, version(v1, "somebody", true, gold), version(v2, ann, true, gold))
		want("with one owner", "")
		ok(t, b.DeleteUser(t.Context(), identity.Viewer{All: true}, ann, func(store.User) error { return nil }))
		want("when that owner was deleted", "")
	})
}
