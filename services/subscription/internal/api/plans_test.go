package api_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/tidegatehq/tidegate/gen"
	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

const bronze = "plans/bronze"

// TestApplicationPlan has an administrator give an application a plan, which the catalog
// is asked about, and take it; its owner changes the rest meanwhile.
func TestApplicationPlan(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		app := w.application(w.ann, "Chat").GetName()
		w.subscribe(w.ann, app, v1)
		raw := w.token(w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION))
		w.catalog.PutPlans(&catalogv1.Plan{Name: bronze, DisplayName: "Bronze"})
		w.catalog.Down.Store(true)
		give := &subscriptionv1.UpdateApplicationRequest{Application: &subscriptionv1.Application{Name: app, Plan: bronze}}
		_, err := w.apps.UpdateApplication(w.root, give)
		refused(t, "a plan not heard of while the catalog is away", err, codes.Unavailable, "the catalog cannot be read now, try again")
		w.catalog.Down.Store(false)
		got, err := w.apps.UpdateApplication(w.root, give)
		if err != nil || got.GetPlan() != bronze || got.GetDisplayName() != "Chat" {
			t.Fatalf("UpdateApplication() = %v, %v", got, err)
		}
		w.catalog.Down.Store(true) // is not asked again
		if g := w.verify(raw, v1).GetGrant(); g.GetPlan() != gold || g.GetApplicationPlan() != bronze {
			t.Errorf("the grant has the plans %q and %q, want those of subscription and application", g.GetPlan(), g.GetApplicationPlan())
		}
		// The owner sends the application back as it was read, and then without its plan.
		got.Description = "talks"
		all := &fieldmaskpb.FieldMask{Paths: []string{"*"}}
		got, err = w.apps.UpdateApplication(w.ann, &subscriptionv1.UpdateApplicationRequest{Application: got, UpdateMask: all})
		if err != nil || got.GetPlan() != bronze || got.GetDescription() != "talks" {
			t.Errorf("UpdateApplication(with its plan, by its owner) = %v, %v", got, err)
		}
		got.Plan = ""
		_, err = w.apps.UpdateApplication(w.ann, &subscriptionv1.UpdateApplicationRequest{Application: got, UpdateMask: all})
		refused(t, "UpdateApplication(without its plan, by its owner)", err, codes.PermissionDenied, "application.plan: only an administrator may change it")
		if got = w.givePlan(app, ""); got.GetPlan() != "" {
			t.Errorf("the plan is %q after it was taken", got.GetPlan())
		}
		if g := w.verify(raw, v1).GetGrant(); g.GetApplicationPlan() != "" {
			t.Errorf("the grant has the application's plan %q after that was taken", g.GetApplicationPlan())
		}
		made, err := w.apps.CreateApplication(w.root, &subscriptionv1.CreateApplicationRequest{
			Application: &subscriptionv1.Application{DisplayName: "Planned", Plan: bronze},
		})
		if err != nil || made.GetPlan() != bronze {
			t.Errorf("CreateApplication(by an administrator) = %v, %v", made, err)
		}
	})
}

// TestSubscriptionIsMoved moves a subscription as everybody who may, and as some who may
// not: to what the version offers, and to other plans.
func TestSubscriptionIsMoved(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		w.catalog.PutPlans(&catalogv1.Plan{Name: bronze}, &catalogv1.Plan{Name: gold}, &catalogv1.Plan{Name: silver})
		sub := w.subscribe(w.ann, w.application(w.ann, "Chat").GetName(), v1)
		// Bob's own application, at his own version.
		bobs := w.subscribe(w.bob, w.application(w.bob, "Bob's").GetName(), v1)
		for _, tt := range []struct {
			name string
			as   context.Context
			sub  *subscriptionv1.Subscription
			plan string
			code codes.Code
		}{
			{"the application's owner, on offer", w.ann, sub, silver, codes.OK},
			{"the application's owner, not on offer", w.ann, sub, bronze, codes.FailedPrecondition},
			{"the application's owner who publishes other versions", w.as(w.annName, "subscriber", "publisher"), sub, bronze, codes.FailedPrecondition},
			{"the version's publisher, on offer", w.as(w.bobName, "publisher"), sub, gold, codes.OK},
			{"the version's publisher, not on offer", w.as(w.bobName, "publisher"), sub, bronze, codes.OK},
			{"the application's owner, as it is", w.ann, sub, bronze, codes.OK},
			{"an administrator, not on offer", w.root, bobs, bronze, codes.OK},
			{"who owns both, and does not publish", w.bob, bobs, silver, codes.OK},
			{"who owns both, and does not publish, not on offer", w.bob, bobs, bronze, codes.FailedPrecondition},
			{"who owns both, and publishes, not on offer", w.as(w.bobName, "publisher"), bobs, bronze, codes.OK},
			{"a stranger", w.guest, sub, silver, codes.NotFound},
		} {
			before, err := w.subs.GetSubscription(w.root, &subscriptionv1.GetSubscriptionRequest{Name: tt.sub.GetName()})
			w.must(err)
			got, err := w.subs.UpdateSubscription(tt.as, &subscriptionv1.UpdateSubscriptionRequest{
				Subscription: &subscriptionv1.Subscription{Name: tt.sub.GetName(), Plan: tt.plan},
			})
			if !fault.Is(err, tt.code) && (err != nil || tt.code != codes.OK) {
				t.Errorf("%s: UpdateSubscription() = %v, want %v", tt.name, err, tt.code)
			}
			if err == nil && (got.GetPlan() != tt.plan || got.GetEtag() == before.GetEtag()) {
				t.Errorf("%s: UpdateSubscription() = %v, want %s and another etag", tt.name, got, tt.plan)
			}
		}
		for _, tt := range []struct {
			name   string
			as     context.Context
			filter string
			want   []string
		}{
			{"the version's owner", w.bob, `version = "` + v1 + `"`, []string{sub.GetName(), bobs.GetName()}},
			{"the version's owner, by plan", w.bob, `plan = "` + gold + `"`, nil},
			{"the version's owner, by state", w.bob, `state = "ACTIVE" AND plan = "` + bronze + `"`, []string{sub.GetName(), bobs.GetName()}},
			{"the application's owner", w.ann, "", []string{sub.GetName()}},
		} {
			list, err := w.subs.ListSubscriptions(tt.as, &subscriptionv1.ListSubscriptionsRequest{Filter: tt.filter})
			w.must(err)
			var got []string
			for _, s := range list.GetSubscriptions() {
				got = append(got, s.GetName())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("subscriptions of %s (-want +got):\n%s", tt.name, diff)
			}
		}
	})
}

// TestBlockedSubscription blocks a subscription and restores it: the credential is
// refused meanwhile, at whatever version, and nothing lifts the block but a restoration.
func TestBlockedSubscription(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.hear(w.free(false))
		app := w.application(w.ann, "Chat").GetName()
		c := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION)
		sub := w.subscribe(w.ann, app, v1).GetName()
		raw := w.token(c)
		bob := w.as(w.bobName, "publisher")
		grant := w.verify(raw, v1).GetGrant()
		query := &backplanev1.BatchGetGrantsRequest{Grants: []*backplanev1.GrantQuery{{
			Name: grant.GetName(), OauthClient: c.GetName(), Version: v1, ExpireTime: grant.GetExpireTime(), Scopes: grant.GetScopes(), Subscription: sub,
		}}}
		state := func() *backplanev1.GrantState {
			resp, err := w.gateway.tokens.BatchGetGrants(t.Context(), query)
			w.must(err)
			return resp.GetGrants()[0]
		}
		var header metadata.MD
		blocked, err := w.subs.BlockSubscription(bob, &subscriptionv1.BlockSubscriptionRequest{Name: sub, Etag: "1"}, grpc.Header(&header))
		if err != nil || blocked.GetState() != subscriptionv1.Subscription_STATE_BLOCKED || blocked.GetEtag() != "2" || number(t, header) != w.head() {
			t.Fatalf("BlockSubscription() = %v, %v", blocked, err)
		}
		head := w.head()
		header = nil
		again, err := w.subs.BlockSubscription(w.root, &subscriptionv1.BlockSubscriptionRequest{Name: sub}, grpc.Header(&header))
		if diff := cmp.Diff(blocked, again, protocmp.Transform()); err != nil || diff != "" || w.head() != head || len(header.Get(gen.ChangeHeader)) != 0 {
			t.Errorf("BlockSubscription(again) = %v, change %d after %d (-first +second):\n%s", err, w.head(), head, diff)
		}
		for _, subscriptionless := range []bool{false, true} {
			w.hear(w.free(subscriptionless))
			got := w.verify(raw, v1).GetDenial()
			want := &backplanev1.Denial{
				Reason:  backplanev1.Denial_REASON_SUBSCRIPTION_BLOCKED,
				RestsOn: []string{sub, grant.GetName(), c.GetName(), app, w.annName, v1}, Application: app,
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("denial with subscriptionless = %v (-want +got):\n%s", subscriptionless, diff)
			}
			if got := state().GetEnded(); got != backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_BLOCKED {
				t.Errorf("the grant ended by %v, want SUBSCRIPTION_BLOCKED", got)
			}
		}
		// Neither subscribing again nor deleting lifts it.
		_, err = w.subs.CreateSubscription(w.ann, subscription(app, v1, gold))
		refused(t, "CreateSubscription(while blocked)", err, codes.AlreadyExists, app+" is subscribed to "+v1+" already")
		_, err = w.subs.DeleteSubscription(w.ann, &subscriptionv1.DeleteSubscriptionRequest{Name: sub})
		if got := fault.Reason(err); got != fault.ReasonSubscriptionBlocked {
			t.Errorf("DeleteSubscription(while blocked) = %v, want the reason %s", err, fault.ReasonSubscriptionBlocked)
		}
		moved, err := w.subs.UpdateSubscription(w.ann, &subscriptionv1.UpdateSubscriptionRequest{Subscription: &subscriptionv1.Subscription{Name: sub, Plan: silver}})
		if err != nil || moved.GetState() != subscriptionv1.Subscription_STATE_BLOCKED {
			t.Errorf("UpdateSubscription(while blocked) = %v, %v, want it blocked", moved, err)
		}
		for _, as := range []context.Context{bob, bob, w.root} {
			restored, err := w.subs.RestoreSubscription(as, &subscriptionv1.RestoreSubscriptionRequest{Name: sub})
			if err != nil || restored.GetState() != subscriptionv1.Subscription_STATE_ACTIVE || restored.GetEtag() != "4" {
				t.Errorf("RestoreSubscription() = %v, %v", restored, err)
			}
		}
		if got := w.verify(raw, v1).GetGrant(); got.GetSubscription() != sub || got.GetPlan() != silver || state().GetGrant() == nil {
			t.Errorf("after the restoration the grant is %v, the live one %v", got, state())
		}
		// An administrator deletes a blocked one; the application may subscribe again.
		_, err = w.subs.BlockSubscription(bob, &subscriptionv1.BlockSubscriptionRequest{Name: sub})
		w.must(err)
		_, err = w.subs.DeleteSubscription(w.root, &subscriptionv1.DeleteSubscriptionRequest{Name: sub})
		w.must(err)
		if w.subscribe(w.ann, app, v1).GetState() != subscriptionv1.Subscription_STATE_ACTIVE {
			t.Error("the new subscription is not active")
		}
	})
}

// TestSubscriptionless has a version that needs no subscription: an application without
// one enters under the plan that is for this, and one with a subscription under that
// one's. It ends when the version needs subscriptions again.
func TestSubscriptionless(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.hear(w.free(false))
		app := w.application(w.ann, "Chat").GetName()
		c := w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_SANDBOX)
		raw, issued := w.token(c), w.latest()
		pair := app + "@" + v1
		denial := w.verify(raw, v1).GetDenial()
		if denial.GetReason() != backplanev1.Denial_REASON_NO_SUBSCRIPTION || !slices.Contains(denial.GetRestsOn(), v1) || !slices.Contains(denial.GetRestsOn(), pair) {
			t.Fatalf("VerifyCredential(needs a subscription) = %v, want a denial that rests on %s and %s", denial, v1, pair)
		}
		before := w.head()
		w.hear(w.free(true))
		if w.head() != before+1 {
			t.Errorf("%d changes when the version becomes subscriptionless, want 1: it makes the denial void", w.head()-before)
		}
		got := w.verify(raw, v1).GetGrant()
		want := &backplanev1.Grant{
			Name: got.GetName(), User: w.annName, Application: app, OauthClient: c.GetName(), Stage: catalogv1.Stage_STAGE_SANDBOX,
			Plan: "plans/async-default-subscriptionless", Version: v1, Scopes: got.GetScopes(), ExpireTime: got.GetExpireTime(),
			RestsOn: []string{got.GetName(), c.GetName(), app, w.annName, v1, pair}, Secret: c.secret.GetName(), IssuedChangeNumber: issued.Change, IssuedChangeTime: issued.Timestamp(),
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("VerifyCredential(subscriptionless) (-want +got):\n%s", diff)
		}
		read := func(g *backplanev1.Grant) *backplanev1.GrantState {
			resp, err := w.gateway.tokens.BatchGetGrants(t.Context(), &backplanev1.BatchGetGrantsRequest{Grants: []*backplanev1.GrantQuery{{
				Name: g.GetName(), OauthClient: c.GetName(), Version: v1, ExpireTime: g.GetExpireTime(), Scopes: g.GetScopes(), Subscription: g.GetSubscription(),
				Secret: g.GetSecret(), IssuedChangeNumber: g.GetIssuedChangeNumber(), IssuedChangeTime: g.GetIssuedChangeTime(),
			}}})
			w.must(err)
			return resp.GetGrants()[0]
		}
		if diff := cmp.Diff(want, read(got).GetGrant(), protocmp.Transform()); diff != "" {
			t.Errorf("BatchGetGrants(subscriptionless) (-want +got):\n%s", diff)
		}
		// It subscribes: what it holds rests on nothing that the new grant does not.
		sub := w.subscribe(w.ann, app, v1).GetName()
		with := read(got).GetGrant()
		if with.GetSubscription() != sub || with.GetPlan() != gold {
			t.Errorf("the grant of an application that has subscribed is %v", with)
		}
		for _, name := range got.GetRestsOn() {
			if !slices.Contains(with.GetRestsOn(), name) {
				t.Errorf("the grant with a subscription rests on %q, and not on %q as before", with.GetRestsOn(), name)
			}
		}
		// Without the subscription it is as before, but what the subscription gave has ended.
		_, err := w.subs.DeleteSubscription(w.ann, &subscriptionv1.DeleteSubscriptionRequest{Name: sub})
		w.must(err)
		if diff := cmp.Diff(want, read(with).GetGrant(), protocmp.Transform()); diff != "" || slices.Contains(want.GetRestsOn(), sub) {
			t.Errorf("the grant without the subscription (-want +got):\n%s", diff)
		}
		w.hear(w.free(false))
		if got := read(got).GetEnded(); got != backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_REQUIRED {
			t.Errorf("the grant that never had a subscription ended by %v, want SUBSCRIPTION_REQUIRED", got)
		}
		if got := read(with).GetEnded(); got != backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_DELETED {
			t.Errorf("the grant that had a subscription ended by %v, want SUBSCRIPTION_DELETED", got)
		}
	})
}

// TestCountPlanUse has the catalog ask what has a plan; no other service asks.
func TestCountPlanUse(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		w.catalog.PutPlans(&catalogv1.Plan{Name: bronze})
		app := w.application(w.ann, "Chat").GetName()
		w.subscribe(w.ann, app, v1)
		w.subscribe(w.bob, w.application(w.bob, "Talk").GetName(), v1)
		w.givePlan(app, bronze)
		_, internal, _, _ := w.replica()
		directory := backplanev1.NewPlanDirectoryServiceClient(w.dial(internal, identity.Catalog))
		for plan, want := range map[string]*backplanev1.CountPlanUseResponse{
			gold: {Subscriptions: 2}, bronze: {Applications: 1}, silver: {},
		} {
			got, err := directory.CountPlanUse(t.Context(), &backplanev1.CountPlanUseRequest{Plan: plan})
			if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
				t.Errorf("CountPlanUse(%s) = %v (-want +got):\n%s", plan, err, diff)
			}
		}
		_, err := directory.CountPlanUse(t.Context(), &backplanev1.CountPlanUseRequest{})
		refused(t, "CountPlanUse of nothing", err, codes.InvalidArgument, "plan: must be plans/{plan}")
		_, err = backplanev1.NewPlanDirectoryServiceClient(w.dial(internal, identity.Gateway)).CountPlanUse(t.Context(), &backplanev1.CountPlanUseRequest{Plan: gold})
		refused(t, "CountPlanUse by the gateway", err, codes.PermissionDenied, "only services call this method")
	})
}
