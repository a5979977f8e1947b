package store_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

const (
	v1 = "apis/a/versions/v1"
	v2 = "apis/a/versions/v2"
)

func TestCreateSubscription(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.catalog(store.CatalogChange{Versions: []store.Version{
			version(v1, b.bob.User, true, gold), version(v2, b.bob.User, false, gold),
		}})
		annApp, bobApp := b.application(b.ann, "a"), b.application(b.bob, "b")
		before := b.head()
		for _, tt := range []struct {
			name             string
			v                identity.Viewer
			app, to, plan    string
			code             codes.Code
			text, reason     string
			aboutTheVersions bool
		}{
			{"another's application", b.bob, annApp.ID, v1, gold, codes.NotFound, "applications/" + annApp.ID, "NOT_FOUND", false},
			{"an unknown version", b.ann, annApp.ID, "apis/a/versions/no", gold, codes.NotFound, "apis/a/versions/no not found", "NOT_FOUND", true},
			{"a hidden version", b.ann, annApp.ID, v2, gold, codes.NotFound, v2 + " not found", "NOT_FOUND", true},
			{"an own version, not published", b.bob, bobApp.ID, v2, gold, codes.FailedPrecondition, "is not published", "VERSION_NOT_PUBLISHED", true},
			{"a plan not on offer", b.ann, annApp.ID, v1, silver, codes.FailedPrecondition, v1 + " does not offer " + silver, "PLAN_NOT_OFFERED", true},
		} {
			_, err := b.CreateSubscription(t.Context(), requestid.Request{}, tt.v, store.Subscription{Application: tt.app, Version: tt.to, Plan: tt.plan}, allow[store.Application])
			refused(t, tt.name, err, tt.code, tt.text)
			var refusal *store.CatalogRefusal
			if errors.As(err, &refusal) != tt.aboutTheVersions || fault.Reason(err) != tt.reason {
				t.Errorf("%s: refusal %v, reason %q; want %v, %q", tt.name, refusal, fault.Reason(err), tt.aboutTheVersions, tt.reason)
			}
		}
		if b.head() != before || b.count("subscription") != 0 {
			t.Error("a refusal has written something")
		}
		made := b.subscribe(b.ann, annApp.ID, v1)
		got, err := b.Subscription(t.Context(), b.ann, made.ID)
		if diff := cmp.Diff(made, got); err != nil || diff != "" {
			t.Errorf("Subscription() = %v (-made +got):\n%s", err, diff)
		}
		_, err = b.CreateSubscription(t.Context(), requestid.Request{}, b.ann, store.Subscription{Application: annApp.ID, Version: v1, Plan: gold}, allow[store.Application])
		refused(t, "a second one", err, codes.AlreadyExists, "is subscribed to "+v1+" already")
		want := []string{"applications/" + annApp.ID + "@" + v1}
		if diff := cmp.Diff(want, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// TestSubscriptionIsSeenByBothOwners has a subscription of Ann's to Bob's version.
func TestSubscriptionIsSeenByBothOwners(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		carol := identity.Viewer{User: b.user("carol", "subscriber")}
		b.publish(b.bob.User, v1)
		b.publish("someone", v2)
		app := b.application(b.ann, "a")
		s1, s2 := b.subscribe(b.ann, app.ID, v1), b.subscribe(b.admin, app.ID, v2)
		for _, tt := range []struct {
			name   string
			v      identity.Viewer
			filter store.SubscriptionFilter
			want   []string
		}{
			{"application's owner", b.ann, store.SubscriptionFilter{}, []string{s1.ID, s2.ID}},
			{"version's owner", b.bob, store.SubscriptionFilter{}, []string{s1.ID}},
			{"admin", b.admin, store.SubscriptionFilter{}, []string{s1.ID, s2.ID}},
			{"stranger", carol, store.SubscriptionFilter{}, nil},
			{"by version", b.ann, store.SubscriptionFilter{Version: new(v2)}, []string{s2.ID}},
			{"by application and plan", b.admin, store.SubscriptionFilter{Application: &app.ID, Plan: new(gold)}, []string{s1.ID, s2.ID}},
			{"by application's owner", b.admin, store.SubscriptionFilter{Owner: &b.ann.User}, []string{s1.ID, s2.ID}},
			{"by another application's owner", b.ann, store.SubscriptionFilter{Owner: &b.bob.User}, nil},
			{"by version's owner", b.ann, store.SubscriptionFilter{VersionOwner: &b.bob.User}, []string{s1.ID}},
			{"of all others", b.bob, store.SubscriptionFilter{Owner: &b.ann.User, VersionOwner: new("someone")}, nil},
			{"by plan", b.admin, store.SubscriptionFilter{Plan: new(silver)}, nil},
		} {
			var got []string
			for _, s := range list(t, b.Subscriptions(t.Context(), tt.v, tt.filter, sqldb.TimeKey{})) {
				got = append(got, s.ID)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
		_, err := b.Subscription(t.Context(), carol, s1.ID)
		refused(t, "Subscription(stranger)", err, codes.NotFound, "subscriptions/"+s1.ID+" not found")
		to := func(plan, etag string) func(store.Subscription) (store.Subscription, error) {
			return func(s store.Subscription) (store.Subscription, error) {
				s.Plan = plan
				return s, page.CheckEtag(etag, s.Etag)
			}
		}
		for _, tt := range []struct {
			name string
			v    identity.Viewer
			etag string
			plan string
			code codes.Code
			text string
		}{
			{"stranger", carol, "", silver, codes.NotFound, "not found"},
			{"stale", b.ann, "5", silver, codes.Aborted, "etag"},
			{"not on offer", b.ann, "", "plans/none", codes.FailedPrecondition, "does not offer plans/none"},
		} {
			_, err := b.UpdateSubscription(t.Context(), tt.v, s1.ID, onOffer, to(tt.plan, tt.etag))
			refused(t, "UpdateSubscription: "+tt.name, err, tt.code, tt.text)
			if tt.code != codes.FailedPrecondition {
				refused(t, "DeleteSubscription: "+tt.name, b.DeleteSubscription(t.Context(), tt.v, s1.ID, func(s store.Subscription) error {
					return page.CheckEtag(tt.etag, s.Etag)
				}), tt.code, tt.text)
			}
		}
		// The version's owner sees it, but check is asked about the application's
		// owner.
		stop := fault.Denied("stop")
		_, err = b.UpdateSubscription(t.Context(), b.bob, s1.ID, onOffer, func(s store.Subscription) (store.Subscription, error) {
			if s.Owner != b.ann.User {
				t.Errorf("owner = %q, want the application's, %q", s.Owner, b.ann.User)
			}
			return s, stop
		})
		refused(t, "UpdateSubscription: version's owner", err, codes.PermissionDenied, "stop")
		before := b.head()
		got, err := b.UpdateSubscription(t.Context(), b.ann, s1.ID, onOffer, to(silver, "1"))
		if err != nil || got.Plan != silver || got.Etag != 2 {
			t.Errorf("UpdateSubscription() = %v, %v", got, err)
		}
		ok(t, b.DeleteSubscription(t.Context(), b.admin, s1.ID, allow[store.Subscription]))
		want := []string{"subscriptions/" + s1.ID, "SUBSCRIPTION_DELETED subscriptions/" + s1.ID}
		if diff := cmp.Diff(want, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// TestBlockSubscription blocks and restores a subscription, twice each.
func TestBlockSubscription(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.publish(b.bob.User, v1, v2)
		app := b.application(b.ann, "a")
		s, other := b.subscribe(b.ann, app.ID, v1), b.subscribe(b.ann, app.ID, v2)
		name := "subscriptions/" + s.ID
		before := b.head()
		stop := fault.Denied("stop")
		_, err := b.BlockSubscription(t.Context(), b.bob, s.ID, func(store.Subscription) error { return stop })
		refused(t, "BlockSubscription(check refuses)", err, codes.PermissionDenied, "stop")
		_, err = b.BlockSubscription(t.Context(), identity.Viewer{User: b.user("carol", "subscriber")}, s.ID, allow[store.Subscription])
		refused(t, "BlockSubscription(stranger)", err, codes.NotFound, name+" not found")
		before++ // Carol
		in := func(state string) (ids []string) {
			for _, s := range list(t, b.Subscriptions(t.Context(), b.ann, store.SubscriptionFilter{State: &state}, sqldb.TimeKey{})) {
				ids = append(ids, s.ID)
			}
			return ids
		}
		for _, err := range race(func(int) error {
			got, err := b.BlockSubscription(t.Context(), b.bob, s.ID, allow[store.Subscription])
			if err == nil && (!got.Blocked || got.Etag != 2) {
				t.Errorf("BlockSubscription() = %+v, want a blocked one of etag 2", got)
			}
			return err
		}) {
			ok(t, err)
		}
		if diff := cmp.Diff([2][]string{{other.ID}, {s.ID}}, [2][]string{in("ACTIVE"), in("BLOCKED")}); diff != "" {
			t.Errorf("active and blocked (-want +got):\n%s", diff)
		}
		for range 2 {
			got, err := b.RestoreSubscription(t.Context(), b.bob, s.ID, allow[store.Subscription])
			if err != nil || got.Blocked || got.Etag != 3 {
				t.Errorf("RestoreSubscription() = %+v, %v, want an active one of etag 3", got, err)
			}
		}
		if diff := cmp.Diff([]string{"SUBSCRIPTION_BLOCKED " + name, name}, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if len(in("BLOCKED")) != 0 || len(in("nonsense")) != 0 {
			t.Errorf("blocked: %q, of no state: %q; want none", in("BLOCKED"), in("nonsense"))
		}
	})
}
