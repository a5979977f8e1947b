package store_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
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
			v                store.Viewer
			app, to, plan    string
			code             codes.Code
			text, reason     string
			aboutTheVersions bool
		}{
			{"another's application", b.bob, annApp.ID, v1, gold, codes.NotFound, "applications/" + annApp.ID, "", false},
			{"an unknown version", b.ann, annApp.ID, "apis/a/versions/no", gold, codes.NotFound, "apis/a/versions/no not found", "", true},
			{"a hidden version", b.ann, annApp.ID, v2, gold, codes.NotFound, v2 + " not found", "", true},
			{"an own version, not published", b.bob, bobApp.ID, v2, gold, codes.FailedPrecondition, "is not published", "VERSION_NOT_PUBLISHED", true},
			{"a plan not on offer", b.ann, annApp.ID, v1, silver, codes.FailedPrecondition, v1 + " does not offer " + silver, "PLAN_NOT_OFFERED", true},
		} {
			_, err := b.CreateSubscription(t.Context(), tt.v, store.Subscription{Application: tt.app, Version: tt.to, Plan: tt.plan})
			refused(t, tt.name, err, tt.code, tt.text)
			var refusal *store.VersionRefusal
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
		_, err = b.CreateSubscription(t.Context(), b.ann, store.Subscription{Application: annApp.ID, Version: v1, Plan: gold})
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
		carol := store.Viewer{User: b.user("carol", "subscriber")}
		b.publish(b.bob.User, v1)
		b.publish("someone", v2)
		app := b.application(b.ann, "a")
		s1, s2 := b.subscribe(b.ann, app.ID, v1), b.subscribe(b.admin, app.ID, v2)
		for _, tt := range []struct {
			name   string
			v      store.Viewer
			filter map[string]string
			want   []string
		}{
			{"application's owner", b.ann, nil, []string{s1.ID, s2.ID}},
			{"version's owner", b.bob, nil, []string{s1.ID}},
			{"admin", b.admin, nil, []string{s1.ID, s2.ID}},
			{"stranger", carol, nil, nil},
			{"by version", b.ann, map[string]string{"version": v2}, []string{s2.ID}},
			{"by application and plan", b.admin, map[string]string{"application": app.ID, "plan": gold}, []string{s1.ID, s2.ID}},
			{"by plan", b.admin, map[string]string{"plan": silver}, nil},
		} {
			rows, err := b.Subscriptions(t.Context(), tt.v, tt.filter, store.Place{}, 10)
			ok(t, err)
			var got []string
			for _, s := range rows {
				got = append(got, s.ID)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
		_, err := b.Subscription(t.Context(), carol, s1.ID)
		refused(t, "Subscription(stranger)", err, codes.NotFound, "subscriptions/"+s1.ID+" not found")
		to := func(plan string) func(*store.Subscription) error {
			return func(s *store.Subscription) error { s.Plan = plan; return nil }
		}
		for _, tt := range []struct {
			name string
			v    store.Viewer
			etag string
			plan string
			code codes.Code
			text string
		}{
			{"stranger", carol, "", silver, codes.NotFound, "not found"},
			{"version's owner", b.bob, "", silver, codes.PermissionDenied, "only the application's owner"},
			{"stale", b.ann, "5", silver, codes.Aborted, "etag"},
			{"not on offer", b.ann, "", "plans/none", codes.FailedPrecondition, "does not offer plans/none"},
		} {
			_, err := b.UpdateSubscription(t.Context(), tt.v, s1.ID, tt.etag, to(tt.plan))
			refused(t, "UpdateSubscription: "+tt.name, err, tt.code, tt.text)
			if tt.code != codes.FailedPrecondition {
				refused(t, "DeleteSubscription: "+tt.name, b.DeleteSubscription(t.Context(), tt.v, s1.ID, tt.etag), tt.code, tt.text)
			}
		}
		before := b.head()
		got, err := b.UpdateSubscription(t.Context(), b.ann, s1.ID, "1", to(silver))
		if err != nil || got.Plan != silver || got.Etag != 2 {
			t.Errorf("UpdateSubscription() = %v, %v", got, err)
		}
		ok(t, b.DeleteSubscription(t.Context(), b.admin, s1.ID, ""))
		want := []string{"subscriptions/" + s1.ID, "SUBSCRIPTION_DELETED subscriptions/" + s1.ID}
		if diff := cmp.Diff(want, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}
