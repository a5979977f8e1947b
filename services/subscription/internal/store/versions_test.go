package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// plansOf returns the plans that a version offers, nil for a version that is not
// known, and an empty list for one that is closed.
func (b *bench) plansOf(name string) []string {
	b.t.Helper()
	v, known, err := b.ReadVersion(b.t.Context(), name)
	ok(b.t, err)
	if !known {
		return nil
	}
	return append([]string{}, v.Plans...)
}

func TestCatalogChanges(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		before := b.head()
		c1 := b.catalog(store.CatalogChange{Versions: []store.Version{version(v1, "o", true, gold, silver), version(v2, "o", false)}})
		got, known, err := b.ReadVersion(t.Context(), v1)
		want := version(v1, "o", true, gold, silver)
		want.ChangeNumber = 1
		if diff := cmp.Diff(want, got); err != nil || !known || diff != "" {
			t.Errorf("ReadVersion() = %v, %v (-want +got):\n%s", known, err, diff)
		}
		if before != b.head() {
			t.Error("a change of the catalog without a deletion is a change here")
		}
		app := b.application(b.ann, "a")
		b.subscribe(b.ann, app.ID, v1)
		before = b.head()
		b.catalog(store.CatalogChange{Removed: []string{v1, v2, "apis/a/versions/unknown"}})
		if diff := cmp.Diff([]string{"VERSION_DELETED " + v1 + " " + v2}, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if b.count("subscription") != 0 || b.plansOf(v1) != nil {
			t.Error("the version or its subscription is still there")
		}
		// A change that does not follow the cursor is refused whole.
		applied, err := b.ApplyCatalogChange(t.Context(), store.CatalogChange{Versions: []store.Version{version(v1, "o", true)}}, c1, cursor(9))
		if applied || err != nil || b.plansOf(v1) != nil {
			t.Errorf("ApplyCatalogChange(out of order) = %v, %v", applied, err)
		}
	})
}

// TestReplicasApplyOnce applies the same change from 16 replicas at once.
func TestReplicasApplyOnce(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		at := b.catalog(store.CatalogChange{Versions: []store.Version{version(v1, "o", true, gold)}})
		before := b.head()
		applied := make([]bool, 16)
		for _, err := range race(func(i int) error {
			var err error
			applied[i], err = b.ApplyCatalogChange(t.Context(), store.CatalogChange{Removed: []string{v1}}, at, cursor(at.Number+1))
			return err
		}) {
			ok(t, err)
		}
		n := 0
		for _, a := range applied {
			if a {
				n++
			}
		}
		if n != 1 || len(b.events(before)) != 1 {
			t.Errorf("%d replicas applied the change, %d events; want 1 and 1", n, len(b.events(before)))
		}
	})
}

func TestCatalogSnapshot(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		const v3, v4 = "apis/a/versions/v3", "apis/a/versions/v4"
		b.publish("o", v1, v2, v3) // change 1
		app := b.application(b.ann, "a")
		b.subscribe(b.ann, app.ID, v1)
		b.subscribe(b.ann, app.ID, v2)
		at, err := b.ReadCursor(t.Context())
		ok(t, err)
		// This was read from the catalog after the snapshot, so it is newer.
		newer := version(v4, "o", true, gold)
		newer.ChangeNumber = 8
		saved, err := b.SaveVersion(t.Context(), newer, at)
		if !saved || err != nil {
			t.Fatal(saved, err)
		}
		before := b.head()
		one := version(v1, "o", true, silver)
		one.ChangeNumber = 5
		old := version(v3, "o", false)
		old.ChangeNumber = 0
		applied, err := b.ApplyCatalogSnapshot(t.Context(), store.CatalogSnapshot{Versions: []store.Version{one, old}}, false, at, cursor(7))
		if !applied || err != nil {
			t.Fatal(applied, err)
		}
		for name, want := range map[string][]string{
			v1: {silver},       // replaced
			v2: nil,            // gone
			v3: {gold, silver}, // what is known is newer
			v4: {gold},         // made after the snapshot
		} {
			if diff := cmp.Diff(want, b.plansOf(name)); diff != "" {
				t.Errorf("plans of %s (-want +got):\n%s", name, diff)
			}
		}
		if diff := cmp.Diff([]string{"VERSION_DELETED " + v2}, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		applied, err = b.ApplyCatalogSnapshot(t.Context(), store.CatalogSnapshot{}, false, at, cursor(9))
		if applied || err != nil || b.plansOf(v1) == nil {
			t.Errorf("ApplyCatalogSnapshot(cursor has moved) = %v, %v", applied, err)
		}
	})
}

// TestAnotherHistoryDeletesNothing follows a catalog that is started with an empty
// database by mistake, and then with the right one.
func TestAnotherHistoryDeletesNothing(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.publish("o", v1)
		at := b.catalog(store.CatalogChange{Versions: []store.Version{version(v1, "o", true, gold)}})
		app := b.application(b.ann, "a")
		s := b.subscribe(b.ann, app.ID, v1)
		before := b.head()
		empty := store.Cursor{Number: 0, Text: "empty:0"}
		applied, err := b.ApplyCatalogSnapshot(t.Context(), store.CatalogSnapshot{}, true, at, empty)
		if !applied || err != nil {
			t.Fatal(applied, err)
		}
		if got := b.plansOf(v1); got == nil || len(got) != 0 || b.head() != before {
			t.Errorf("plans of %s = %v, want a version without plans and no change", v1, got)
		}
		_, err = b.Subscription(t.Context(), b.ann, s.ID)
		ok(t, err)
		back := version(v1, "o", true, gold)
		back.ChangeNumber = 2
		applied, err = b.ApplyCatalogSnapshot(t.Context(), store.CatalogSnapshot{Versions: []store.Version{back}}, true, empty, at)
		if !applied || err != nil {
			t.Fatal(applied, err)
		}
		if diff := cmp.Diff([]string{gold}, b.plansOf(v1)); diff != "" {
			t.Errorf("plans after the right catalog is back (-want +got):\n%s", diff)
		}
	})
}

// TestSaveVersionIsNotOfThePast reads a version that is removed before it can be
// saved.
func TestSaveVersionIsNotOfThePast(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		asOf, err := b.ReadCursor(t.Context())
		ok(t, err)
		read := version(v1, "o", true, gold)
		b.catalog(store.CatalogChange{Removed: []string{v1}})
		saved, err := b.SaveVersion(t.Context(), read, asOf)
		if saved || err != nil || b.plansOf(v1) != nil {
			t.Errorf("SaveVersion(after the cursor moved) = %v, %v, want nothing saved", saved, err)
		}
	})
}

// TestSubscribeAgainstRemoval subscribes while the version is removed: no
// subscription to it is left.
func TestSubscribeAgainstRemoval(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.publish("o", v1)
		var apps []store.Application
		for i := range 16 {
			apps = append(apps, b.application(b.ann, string(rune('a'+i))))
		}
		race(func(i int) error {
			if i == 7 {
				b.catalog(store.CatalogChange{Removed: []string{v1}})
				return nil
			}
			_, err := b.CreateSubscription(t.Context(), requestid.Request{}, b.ann, store.Subscription{Application: apps[i].ID, Version: v1, Plan: gold}, allow[store.Application])
			return err
		})
		if n := b.count("subscription"); n != 0 {
			t.Errorf("%d subscriptions to a version that is gone", n)
		}
	})
}

// TestSubscriptionlessIsAChange has versions that need no subscription and do again:
// gateways are told, by the watch and by what is read ahead of it.
func TestSubscriptionlessIsAChange(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		const v3 = "apis/a/versions/v3"
		before := b.head()
		b.catalog(store.CatalogChange{Versions: []store.Version{subscriptionless(v1, true), version(v2, "o", true, gold)}})
		b.catalog(store.CatalogChange{Versions: []store.Version{subscriptionless(v1, true)}})
		at := b.catalog(store.CatalogChange{Versions: []store.Version{subscriptionless(v1, false), subscriptionless(v2, true)}, Removed: []string{v3}})
		read := subscriptionless(v1, true)
		read.ChangeNumber = at.Number
		saved, err := b.SaveVersion(t.Context(), read, at)
		if !saved || err != nil {
			t.Fatal(saved, err)
		}
		old := subscriptionless(v1, false) // older than what is known
		old.ChangeNumber = at.Number - 1
		saved, err = b.SaveVersion(t.Context(), old, at)
		if !saved || err != nil {
			t.Fatal(saved, err)
		}
		want := []string{v1, v1 + " " + v2, v1}
		if diff := cmp.Diff(want, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		// A snapshot in which one is gone and one needs a subscription again: both are
		// read again.
		two := version(v2, "o", true, gold)
		two.ChangeNumber = 8
		before = b.head()
		applied, err := b.ApplyCatalogSnapshot(t.Context(), store.CatalogSnapshot{Versions: []store.Version{two}}, false, at, cursor(9))
		if !applied || err != nil {
			t.Fatal(applied, err)
		}
		if diff := cmp.Diff([]string{v1 + " " + v2}, b.events(before)); diff != "" {
			t.Errorf("events of the snapshot (-want +got):\n%s", diff)
		}
		if b.plansOf(v1) != nil {
			t.Errorf("%s is still known", v1)
		}
	})
}

// TestReplicasTellOnce has 16 replicas apply the same change, which makes a version
// subscriptionless: one of them tells.
func TestReplicasTellOnce(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		at := b.catalog(store.CatalogChange{Versions: []store.Version{subscriptionless(v1, false)}})
		before := b.head()
		v := subscriptionless(v1, true)
		v.ChangeNumber = at.Number + 1
		for _, err := range race(func(int) error {
			_, err := b.ApplyCatalogChange(t.Context(), store.CatalogChange{Versions: []store.Version{v}}, at, cursor(at.Number+1))
			return err
		}) {
			ok(t, err)
		}
		if diff := cmp.Diff([]string{v1}, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}
