package store_test

import (
	"errors"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// plan returns what a plan is called, "" for one that is not known.
func (b *bench) plan(name string) string {
	b.t.Helper()
	p, _, err := b.ReadPlan(b.t.Context(), name)
	ok(b.t, err)
	return p.DisplayName
}

// TestPlansAreTheCatalogs follows the catalog's plans, and reads one ahead of the watch.
func TestPlansAreTheCatalogs(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		before := b.head()
		b.catalog(store.CatalogChange{Plans: []store.Plan{{Name: gold, DisplayName: "Gold"}, {Name: silver, DisplayName: "Silver"}}})
		at := b.catalog(store.CatalogChange{Plans: []store.Plan{{Name: gold, DisplayName: "Golden"}}, RemovedPlans: []string{silver}})
		if b.plan(gold) != "Golden" || b.plan(silver) != "" {
			t.Errorf("plans are %q and %q, want Golden and none", b.plan(gold), b.plan(silver))
		}
		saved, err := b.SavePlan(t.Context(), store.Plan{Name: silver, DisplayName: "Silver"}, cursor(at.Number-1))
		if saved || err != nil || b.plan(silver) != "" {
			t.Errorf("SavePlan(after the cursor moved) = %v, %v, want nothing saved", saved, err)
		}
		saved, err = b.SavePlan(t.Context(), store.Plan{Name: silver, DisplayName: "Silver"}, at)
		if !saved || err != nil || b.plan(silver) != "Silver" {
			t.Errorf("SavePlan() = %v, %v", saved, err)
		}
		applied, err := b.ApplyCatalogSnapshot(t.Context(), store.CatalogSnapshot{Plans: []store.Plan{{Name: gold, DisplayName: "Gold"}}}, false, at, cursor(9))
		if !applied || err != nil || b.plan(gold) != "Gold" || b.plan(silver) != "" {
			t.Errorf("ApplyCatalogSnapshot() = %v, %v; plans are %q and %q, want Gold and none", applied, err, b.plan(gold), b.plan(silver))
		}
		if b.head() != before {
			t.Error("plans of the catalog are changes here")
		}
	})
}

// TestPlanOfAnApplication gives an application a plan, changes it and takes it: grants are
// read again when the plan is another, and only then.
func TestPlanOfAnApplication(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		at := b.catalog(store.CatalogChange{Plans: []store.Plan{{Name: gold}, {Name: silver}}})
		app := b.application(b.ann, "a")
		name := "applications/" + app.ID
		before := b.head()
		b.givePlan(app.ID, gold)
		b.givePlan(app.ID, gold)
		// The catalog loses the plan, as an older backup does: it stays, and the
		// application can be changed.
		applied, err := b.ApplyCatalogSnapshot(t.Context(), store.CatalogSnapshot{Plans: []store.Plan{{Name: silver}}}, true, at, cursor(1))
		if !applied || err != nil {
			t.Fatal(applied, err)
		}
		_, err = b.UpdateApplication(t.Context(), b.ann, app.ID, func(a store.Application) (store.Application, error) {
			a.Description = "changed"
			return a, nil
		})
		ok(t, err)
		b.givePlan(app.ID, silver)
		b.givePlan(app.ID, "")
		got := b.events(before)
		want := []string{name, "- " + name, "- " + name, name, name}
		if len(got) != len(want) {
			t.Fatalf("events = %q, want %q", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("event %d = %q, want %q", i, got[i], want[i])
			}
		}
		_, err = b.UpdateApplication(t.Context(), b.ann, app.ID, func(a store.Application) (store.Application, error) {
			a.Plan = gold
			return a, nil
		})
		refused(t, "a plan that is gone", err, codes.NotFound, gold+" not found")
		refusal, of := errors.AsType[*store.CatalogRefusal](err)
		if !of || refusal.Plan != gold {
			t.Errorf("the refusal rests on %v, want %s", refusal, gold)
		}
		_, err = b.CreateApplication(t.Context(), requestid.Request{}, store.Application{Owner: b.ann.User, DisplayName: "b", Plan: gold})
		refused(t, "a new application with a plan that is gone", err, codes.NotFound, gold+" not found")
	})
}

func TestPlanUse(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.publish("o", v1, v2)
		b.catalog(store.CatalogChange{Plans: []store.Plan{{Name: gold}, {Name: silver}}})
		use := func() (all [2]store.PlanUse) {
			for i, plan := range []string{gold, silver} {
				var err error
				all[i], err = b.PlanUse(t.Context(), plan)
				ok(t, err)
			}
			return all
		}
		one, two := b.application(b.ann, "one"), b.application(b.ann, "two")
		s := b.subscribe(b.ann, one.ID, v1)
		b.subscribe(b.ann, one.ID, v2)
		b.subscribe(b.ann, two.ID, v1)
		b.givePlan(one.ID, silver)
		_, err := b.BlockSubscription(t.Context(), b.admin, s.ID, allow[store.Subscription])
		ok(t, err)
		if got, want := use(), [2]store.PlanUse{{Subscriptions: 3}, {Applications: 1}}; got != want {
			t.Errorf("PlanUse(gold, silver) = %v, want %v", got, want)
		}
		ok(t, b.DeleteApplication(t.Context(), b.ann, one.ID, allow[store.Application]))
		if got, want := use(), [2]store.PlanUse{{Subscriptions: 1}, {}}; got != want {
			t.Errorf("PlanUse(gold, silver) = %v, want %v", got, want)
		}
		none, err := b.PlanUse(t.Context(), "plans/none")
		if none != (store.PlanUse{}) || err != nil {
			t.Errorf("PlanUse(unknown) = %v, %v, want none", none, err)
		}
	})
}

// TestPlanOfASubscription moves a subscription to plans that its version offers, does not
// offer, and that there are none of.
func TestPlanOfASubscription(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		const bronze, none = "plans/bronze", "plans/none"
		b.publish(b.bob.User, v1)
		b.catalog(store.CatalogChange{Plans: []store.Plan{{Name: gold}, {Name: bronze}}})
		s := b.subscribe(b.ann, b.application(b.ann, "a").ID, v1)
		any := func(store.Subscription) bool { return true }
		move := func(v identity.Viewer, anyPlan func(store.Subscription) bool, plan string) error {
			_, err := b.UpdateSubscription(t.Context(), v, s.ID, anyPlan, func(s store.Subscription) (store.Subscription, error) {
				if s.Owner != b.ann.User || s.VersionOwner != b.bob.User {
					t.Errorf("owners are %q and %q, want Ann and Bob", s.Owner, s.VersionOwner)
				}
				s.Plan = plan
				return s, nil
			})
			return err
		}
		rests := func(what string, err error, version, plan string) {
			refusal, of := errors.AsType[*store.CatalogRefusal](err)
			if !of || refusal.Version != version || refusal.Plan != plan {
				t.Errorf("%s: the refusal rests on %+v, want %q %q", what, refusal, version, plan)
			}
		}
		err := move(b.ann, onOffer, bronze)
		refused(t, "not on offer", err, codes.FailedPrecondition, v1+" does not offer "+bronze)
		rests("not on offer", err, v1, "")
		err = move(b.bob, any, none)
		refused(t, "there is none", err, codes.NotFound, none+" not found")
		rests("there is none", err, "", none)
		ok(t, move(b.bob, any, bronze))
		ok(t, move(b.ann, onOffer, bronze)) // no change of the plan
		// On offer, so it is there, though its plan has not been heard of.
		ok(t, move(b.bob, any, silver))
		b.catalog(store.CatalogChange{Versions: []store.Version{version(v1, b.bob.User, true, gold)}, RemovedPlans: []string{silver}})
		ok(t, move(b.ann, onOffer, silver)) // stays, though it is on offer no longer
		ok(t, move(b.ann, onOffer, gold))
		refused(t, "back to what is not on offer", move(b.ann, onOffer, silver), codes.FailedPrecondition, v1+" does not offer "+silver)
	})
}
