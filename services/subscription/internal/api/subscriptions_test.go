package api_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/tidegatehq/tidegate/gen"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogtest"
)

func TestApplications(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		var header metadata.MD
		made, err := w.apps.CreateApplication(w.ann, &subscriptionv1.CreateApplicationRequest{
			Application: &subscriptionv1.Application{DisplayName: "Chat", Description: "talks", Owner: "users/ignored"},
		}, grpc.Header(&header))
		w.must(err)
		if number(t, header) != w.head() || made.GetOwner() != w.annName || made.GetEtag() != "1" {
			t.Errorf("CreateApplication() = %v", made)
		}
		got, err := w.apps.GetApplication(w.root, &subscriptionv1.GetApplicationRequest{Name: made.GetName()})
		if diff := cmp.Diff(made, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("GetApplication() = %v (-made +got):\n%s", err, diff)
		}
		_, err = w.apps.GetApplication(w.bob, &subscriptionv1.GetApplicationRequest{Name: made.GetName()})
		refused(t, "GetApplication(another's)", err, codes.NotFound, made.GetName()+" not found")
		updated, err := w.apps.UpdateApplication(w.ann, &subscriptionv1.UpdateApplicationRequest{
			Application: &subscriptionv1.Application{Name: made.GetName(), Description: "sings", Etag: made.GetEtag()},
		})
		if err != nil || updated.GetDisplayName() != "Chat" || updated.GetDescription() != "sings" || updated.GetEtag() != "2" {
			t.Errorf("UpdateApplication() = %v, %v", updated, err)
		}
		other := w.application(w.bob, "Other")
		for _, tt := range []struct {
			name   string
			as     context.Context
			filter string
			want   []string
		}{
			{"own", w.ann, "", []string{made.GetName()}},
			{"all", w.root, "", []string{made.GetName(), other.GetName()}},
			{"by owner", w.root, `owner = "` + w.bobName + `"`, []string{other.GetName()}},
			{"by owner me", w.bob, `owner = "users/me" AND display_name = "OTHER"`, []string{other.GetName()}},
			{"another's", w.ann, `owner = "` + w.bobName + `"`, nil},
		} {
			list, err := w.apps.ListApplications(tt.as, &subscriptionv1.ListApplicationsRequest{Filter: tt.filter})
			w.must(err)
			var names []string
			for _, a := range list.GetApplications() {
				names = append(names, a.GetName())
			}
			if diff := cmp.Diff(tt.want, names); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
		req := &subscriptionv1.ListApplicationsRequest{Query: "h", OrderBy: "display_name desc", PageSize: 1}
		var pages []string
		for {
			list, err := w.apps.ListApplications(w.root, req)
			w.must(err)
			pages = append(pages, list.GetApplications()[0].GetDisplayName())
			if req.PageToken = list.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
			_, err = w.apps.ListApplications(w.root, &subscriptionv1.ListApplicationsRequest{Query: "h", PageToken: req.GetPageToken()})
			refused(t, "ListApplications(another order)", err, codes.InvalidArgument, "page_token: belongs to another list or filter")
		}
		if diff := cmp.Diff([]string{"Other", "Chat"}, pages); diff != "" {
			t.Errorf("pages (-want +got):\n%s", diff)
		}
		_, err = w.apps.ListApplications(w.root, &subscriptionv1.ListApplicationsRequest{OrderBy: "owner"})
		refused(t, "ListApplications(order of nothing)", err, codes.InvalidArgument,
			"order_by: must be in list [create_time, create_time desc, display_name, display_name desc]")
		both := []string{other.GetName(), made.GetName()}
		batch, err := w.apps.BatchGetApplications(w.root, &subscriptionv1.BatchGetApplicationsRequest{Names: both})
		if diff := cmp.Diff([]*subscriptionv1.Application{other, updated}, batch.GetApplications(), protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("BatchGetApplications() = %v (-want +got):\n%s", err, diff)
		}
		_, err = w.apps.BatchGetApplications(w.ann, &subscriptionv1.BatchGetApplicationsRequest{Names: both})
		refused(t, "BatchGetApplications(another's)", err, codes.NotFound, other.GetName()+" not found")
		batch, err = w.apps.BatchGetApplications(w.ann, &subscriptionv1.BatchGetApplicationsRequest{Names: both, AllowMissing: true})
		if diff := cmp.Diff([]*subscriptionv1.Application{updated}, batch.GetApplications(), protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("BatchGetApplications(allow_missing) = %v (-want +got):\n%s", err, diff)
		}
		for text, names := range map[string][]string{
			"names: must contain at least 1 item(s)":       nil,
			"names: must not have the same value twice":    {made.GetName(), made.GetName()},
			"names[0]: must be applications/{application}": {"x"},
		} {
			_, err = w.apps.BatchGetApplications(w.ann, &subscriptionv1.BatchGetApplicationsRequest{Names: names})
			refused(t, "BatchGetApplications(bad names)", err, codes.InvalidArgument, text)
		}
		_, err = w.apps.DeleteApplication(w.ann, &subscriptionv1.DeleteApplicationRequest{Name: made.GetName(), Etag: "2"})
		w.must(err)
	})
}

// TestVersionIsReadBeforeItIsRefused subscribes to a version that the service has
// not heard of, or knows only in an older state.
func TestVersionIsReadBeforeItIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		chat, talk := w.application(w.ann, "Chat"), w.application(w.ann, "Talk")
		create := func(as context.Context, app, version, plan string) error {
			_, err := w.subs.CreateSubscription(as, subscription(app, version, plan))
			return err
		}
		refused(t, "unknown", create(w.ann, chat.GetName(), v1, gold), codes.NotFound, v1+" not found")
		w.catalog.Put(catalogtest.Route(v1, w.bobName, false, gold))
		refused(t, "not published", create(w.ann, chat.GetName(), v1, gold), codes.NotFound, v1+" not found")
		bobs := w.application(w.bob, "Bob's")
		refused(t, "its owner's", create(w.bob, bobs.GetName(), v1, gold), codes.FailedPrecondition, v1+" is not published")
		refused(t, "an administrator's", create(w.root, bobs.GetName(), v1, gold), codes.FailedPrecondition, v1+" is not published")
		w.catalog.Put(catalogtest.Route(v1, w.bobName, true, gold))
		w.must(create(w.ann, chat.GetName(), v1, gold))
		refused(t, "a plan not on offer", create(w.ann, talk.GetName(), v1, silver), codes.FailedPrecondition, v1+" does not offer "+silver)
		reads := w.catalog.Reads.Load()
		w.must(create(w.ann, talk.GetName(), v1, gold))
		if got := w.catalog.Reads.Load(); got != reads {
			t.Errorf("the catalog was read %d times for what is known", got-reads)
		}
		list, err := w.subs.ListSubscriptions(w.ann, &subscriptionv1.ListSubscriptionsRequest{Filter: `application = "` + chat.GetName() + `"`})
		if err != nil || len(list.GetSubscriptions()) != 1 {
			t.Fatalf("ListSubscriptions() = %v, %v", list, err)
		}
		sub := list.GetSubscriptions()[0]
		move := &subscriptionv1.UpdateSubscriptionRequest{
			Subscription: &subscriptionv1.Subscription{Name: sub.GetName(), Plan: silver, Version: v1, Application: chat.GetName()},
			UpdateMask:   &fieldmaskpb.FieldMask{Paths: []string{"plan", "version", "application"}},
		}
		_, err = w.subs.UpdateSubscription(w.ann, move)
		refused(t, "UpdateSubscription(not on offer)", err, codes.FailedPrecondition, v1+" does not offer "+silver)
		w.catalog.Put(catalogtest.Route(v1, w.bobName, true, gold, silver))
		moved, err := w.subs.UpdateSubscription(w.ann, move)
		if err != nil || moved.GetPlan() != silver {
			t.Errorf("UpdateSubscription() = %v, %v", moved, err)
		}
		w.catalog.Down.Store(true)
		refused(t, "unknown while the catalog is away", create(w.ann, chat.GetName(), v2, gold),
			codes.Unavailable, "the catalog cannot be read now, try again")
	})
}

// TestSubscriptionsAreSeenByBothSides subscribes Ann's application to Bob's
// version.
func TestSubscriptionsAreSeenByBothSides(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		app := w.application(w.ann, "Chat")
		sub := w.subscribe(w.ann, app.GetName(), v1)
		if sub.GetApplicationDisplayName() != "Chat" || sub.GetApplicationOwner() != w.annName || sub.GetApplicationOwnerUsername() != "ann" {
			t.Errorf("CreateSubscription() = %v, want names of Chat and its owner", sub)
		}
		for _, as := range []context.Context{w.ann, w.bob, w.root} {
			got, err := w.subs.GetSubscription(as, &subscriptionv1.GetSubscriptionRequest{Name: sub.GetName()})
			if diff := cmp.Diff(sub, got, protocmp.Transform()); err != nil || diff != "" {
				t.Errorf("GetSubscription() = %v (-made +got):\n%s", err, diff)
			}
		}
		for filter, want := range map[string]int{
			`version_owner = "users/me"`: 1, `application_owner = "users/me"`: 0, `application_owner = "` + w.annName + `" AND state = "ACTIVE"`: 1,
		} {
			list, err := w.subs.ListSubscriptions(w.bob, &subscriptionv1.ListSubscriptionsRequest{Filter: filter})
			if err != nil || len(list.GetSubscriptions()) != want || want == 1 && !proto.Equal(list.GetSubscriptions()[0], sub) {
				t.Errorf("ListSubscriptions(%s) = %v, %v, want %d", filter, list, err, want)
			}
		}
		w.batchOfSubscriptions(sub)
		_, err := w.subs.GetSubscription(w.guest, &subscriptionv1.GetSubscriptionRequest{Name: sub.GetName()})
		refused(t, "GetSubscription(stranger)", err, codes.NotFound, sub.GetName()+" not found")
		_, err = w.subs.DeleteSubscription(w.bob, &subscriptionv1.DeleteSubscriptionRequest{Name: sub.GetName()})
		refused(t, "DeleteSubscription(version's owner)", err, codes.PermissionDenied, "only its owner and administrators may do this")
		_, err = w.subs.DeleteSubscription(w.guest, &subscriptionv1.DeleteSubscriptionRequest{Name: sub.GetName()})
		refused(t, "DeleteSubscription(stranger)", err, codes.NotFound, sub.GetName()+" not found")
		var header metadata.MD
		_, err = w.subs.DeleteSubscription(w.ann, &subscriptionv1.DeleteSubscriptionRequest{Name: sub.GetName(), Etag: "1"}, grpc.Header(&header))
		w.must(err)
		resp, err := w.changes.WaitChange(w.ann, &changev1.WaitChangeRequest{Name: header.Get(gen.ChangeHeader)[0]})
		if err != nil || !resp.GetApplied() {
			t.Errorf("WaitChange() without a watcher = %v, %v, want applied", resp, err)
		}
		changes, err := w.changes.ListChanges(w.root, &changev1.ListChangesRequest{Parent: "services/subscription", PageSize: 1})
		if err != nil || len(changes.GetChanges()) != 1 {
			t.Fatalf("ListChanges() = %v, %v", changes, err)
		}
		c := changes.GetChanges()[0]
		if c.GetActor() != w.annName || c.GetAction() != "DeleteSubscription" || c.GetResource() != sub.GetName() || c.GetChangeNumber() != w.head() {
			t.Errorf("newest change = %v", c)
		}
	})
}

// batchOfSubscriptions reads a subscription of Ann's application to Bob's version and one of
// Bob's, both at once.
func (w *world) batchOfSubscriptions(anns *subscriptionv1.Subscription) {
	w.t.Helper()
	bobs := w.subscribe(w.bob, w.application(w.bob, "Other").GetName(), v1)
	both := []string{bobs.GetName(), anns.GetName()}
	for _, tt := range []struct {
		name string
		as   context.Context
		want []*subscriptionv1.Subscription
	}{
		{"an administrator", w.root, []*subscriptionv1.Subscription{bobs, anns}},
		{"the version's owner", w.bob, []*subscriptionv1.Subscription{bobs, anns}},
		{"an application's owner", w.ann, []*subscriptionv1.Subscription{anns}},
		{"a stranger", w.guest, nil},
	} {
		batch, err := w.subs.BatchGetSubscriptions(tt.as, &subscriptionv1.BatchGetSubscriptionsRequest{Names: both, AllowMissing: true})
		if diff := cmp.Diff(tt.want, batch.GetSubscriptions(), protocmp.Transform()); err != nil || diff != "" {
			w.t.Errorf("BatchGetSubscriptions(allow_missing) as %s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
	batch, err := w.subs.BatchGetSubscriptions(w.bob, &subscriptionv1.BatchGetSubscriptionsRequest{Names: both})
	if err != nil || len(batch.GetSubscriptions()) != len(both) {
		w.t.Errorf("BatchGetSubscriptions() = %v, %v, want both", batch, err)
	}
	_, err = w.subs.BatchGetSubscriptions(w.ann, &subscriptionv1.BatchGetSubscriptionsRequest{Names: both})
	refused(w.t, "BatchGetSubscriptions(another's)", err, codes.NotFound, bobs.GetName()+" not found")
	for text, names := range map[string][]string{
		"names: must contain at least 1 item(s)":         nil,
		"names: must not have the same value twice":      {anns.GetName(), anns.GetName()},
		"names[0]: must be subscriptions/{subscription}": {"x"},
	} {
		_, err = w.subs.BatchGetSubscriptions(w.ann, &subscriptionv1.BatchGetSubscriptionsRequest{Names: names})
		refused(w.t, "BatchGetSubscriptions(bad names)", err, codes.InvalidArgument, text)
	}
	_, err = w.subs.DeleteSubscription(w.bob, &subscriptionv1.DeleteSubscriptionRequest{Name: bobs.GetName()})
	w.must(err)
}

// TestRolesComeAfterSight has a user without the role subscriber: what belongs to
// others is not found, what is their own is denied.
func TestRolesComeAfterSight(t *testing.T) {
	w := onSQLite(t)
	w.publish(v1)
	anns := w.application(w.ann, "Chat").GetName()
	client := w.oauthClient(w.ann, anns, catalogv1.Stage_STAGE_PRODUCTION).GetName()
	sub := w.subscribe(w.ann, anns, v1).GetName()
	const role = "this needs the role subscriber"
	// Ann without the role.
	ann := w.as(w.annName, "creator")
	for _, tt := range []struct {
		name string
		as   context.Context
		code codes.Code
		text func(name string) string
	}{
		{"another's", w.guest, codes.NotFound, func(name string) string { return name + " not found" }},
		{"own", ann, codes.PermissionDenied, func(string) string { return role }},
	} {
		_, err := w.apps.CreateOAuthClient(tt.as, &subscriptionv1.CreateOAuthClientRequest{
			Parent: anns, OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_SANDBOX},
		})
		refused(t, "CreateOAuthClient: "+tt.name, err, tt.code, tt.text(anns))
		_, err = w.subs.CreateSubscription(tt.as, subscription(anns, v1, gold))
		refused(t, "CreateSubscription: "+tt.name, err, tt.code, tt.text(anns))
		_, err = w.apps.UpdateApplication(tt.as, &subscriptionv1.UpdateApplicationRequest{
			Application: &subscriptionv1.Application{Name: anns, DisplayName: "x"},
		})
		refused(t, "UpdateApplication: "+tt.name, err, tt.code, tt.text(anns))
		_, err = w.subs.UpdateSubscription(tt.as, &subscriptionv1.UpdateSubscriptionRequest{
			Subscription: &subscriptionv1.Subscription{Name: sub, Plan: silver},
		})
		refused(t, "UpdateSubscription: "+tt.name, err, tt.code, tt.text(sub))
		_, err = w.apps.CreateOAuthClientSecret(tt.as, createSecret(client, nil))
		refused(t, "CreateOAuthClientSecret: "+tt.name, err, tt.code, tt.text(client))
	}
	for _, tt := range []struct {
		name, user string
		code       codes.Code
		text       string
	}{
		{"another", w.bobName, codes.NotFound, w.bobName + " not found"},
		{"nobody", "users/none", codes.NotFound, "users/none not found"},
		{"oneself", w.annName, codes.PermissionDenied, "this needs the role admin"},
		{"me", "users/me", codes.PermissionDenied, "this needs the role admin"},
	} {
		_, err := w.users.UpdateUser(w.ann, &identityv1.UpdateUserRequest{User: &identityv1.User{Name: tt.user, DisplayName: "x"}})
		refused(t, "UpdateUser: "+tt.name, err, tt.code, tt.text)
		_, err = w.users.DeleteUser(w.ann, &identityv1.DeleteUserRequest{Name: tt.user})
		refused(t, "DeleteUser: "+tt.name, err, tt.code, tt.text)
	}
}
