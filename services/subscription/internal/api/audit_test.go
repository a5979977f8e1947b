package api_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// audit returns what the changes after a number did, oldest first.
func (w *world) audit(after uint64) (all []string) {
	w.t.Helper()
	list, err := w.changes.ListChanges(w.root, &changev1.ListChangesRequest{Parent: "services/subscription", PageSize: 1000})
	w.must(err)
	for _, c := range slices.Backward(list.GetChanges()) {
		if c.GetChangeNumber() <= after {
			continue
		}
		line := c.GetAction() + " " + c.GetResourceDisplayName() + ":"
		for _, field := range c.GetFieldChanges() {
			if line += " " + field.GetField(); field.GetSecret() {
				line += " is secret"
				continue
			}
			line += fmt.Sprintf(" %s>%s", field.GetOldValue(), field.GetNewValue())
		}
		all = append(all, line)
	}
	return all
}

// TestAuditSaysWhatChanged makes, changes and removes resources: the audit log says what
// each field was and is, and of passwords and secrets only that they changed.
func TestAuditSaysWhatChanged(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		before := w.head()
		w.publish(v1)
		eve, err := w.users.CreateUser(w.root, &identityv1.CreateUserRequest{
			User:     &identityv1.User{Username: "eve", Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR}},
			Password: "a long enough one",
		})
		w.must(err)
		_, err = w.users.UpdateUser(w.root, &identityv1.UpdateUserRequest{User: &identityv1.User{
			Name: eve.GetName(), DisplayName: "Eve", Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR, identityv1.User_ROLE_PUBLISHER},
		}})
		w.must(err)
		_, err = w.users.ChangePassword(w.root, &identityv1.ChangePasswordRequest{Name: eve.GetName(), NewPassword: "another one, longer"})
		w.must(err)
		_, err = w.users.SuspendUser(w.root, &identityv1.SuspendUserRequest{Name: eve.GetName()})
		w.must(err)
		_, err = w.users.DeleteUser(w.root, &identityv1.DeleteUserRequest{Name: eve.GetName()})
		w.must(err)
		app := w.application(w.ann, "app")
		_, err = w.apps.UpdateApplication(w.ann, &subscriptionv1.UpdateApplicationRequest{
			Application: &subscriptionv1.Application{Name: app.GetName(), Description: "What for."}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"description"}},
		})
		w.must(err)
		c := w.oauthClient(w.ann, app.GetName(), catalogv1.Stage_STAGE_SANDBOX)
		expires := w.secret(w.ann, c.GetName(), timestamppb.New(w.now().AddDate(1, 0, 0)))
		_, err = w.apps.DeleteOAuthClientSecret(w.ann, &subscriptionv1.DeleteOAuthClientSecretRequest{Name: expires.GetName()})
		w.must(err)
		sub := w.subscribe(w.ann, app.GetName(), v1)
		_, err = w.subs.UpdateSubscription(w.ann, &subscriptionv1.UpdateSubscriptionRequest{
			Subscription: &subscriptionv1.Subscription{Name: sub.GetName(), Plan: silver},
		})
		w.must(err)
		_, err = w.subs.BlockSubscription(w.root, &subscriptionv1.BlockSubscriptionRequest{Name: sub.GetName()})
		w.must(err)
		_, err = w.subs.RestoreSubscription(w.root, &subscriptionv1.RestoreSubscriptionRequest{Name: sub.GetName()})
		w.must(err)
		_, err = w.subs.DeleteSubscription(w.ann, &subscriptionv1.DeleteSubscriptionRequest{Name: sub.GetName()})
		w.must(err)
		w.catalog.PutPlans(&catalogv1.Plan{Name: gold})
		w.givePlan(app.GetName(), gold)
		w.givePlan(app.GetName(), "")
		want := []string{
			`CreateUser eve: username >eve roles >["ROLE_CREATOR"] state >STATE_ACTIVE password is secret`,
			`UpdateUser eve: display_name >Eve roles ["ROLE_CREATOR"]>["ROLE_CREATOR","ROLE_PUBLISHER"]`,
			`ChangePassword eve: password is secret`,
			`SuspendUser eve: state STATE_ACTIVE>STATE_SUSPENDED`,
			`DeleteUser eve: username eve> display_name Eve> roles ["ROLE_CREATOR","ROLE_PUBLISHER"]> state STATE_SUSPENDED>`,
			`CreateApplication app: display_name >app owner >` + w.annName,
			`UpdateApplication app: description >What for.`,
			`CreateOAuthClient app (sandbox): stage >STAGE_SANDBOX client_id >` + c.GetClientId(),
			`CreateOAuthClientSecret app (sandbox): secret is secret`,
			`CreateOAuthClientSecret app (sandbox): expire_time >2027-01-02T03:04:05Z secret is secret`,
			`DeleteOAuthClientSecret app (sandbox): expire_time 2027-01-02T03:04:05Z> secret is secret`,
			`CreateSubscription app to Echo/1.0.0: application >` + app.GetName() + ` version >` + v1 + ` plan >` + gold + ` state >STATE_ACTIVE` +
				` application_display_name >app application_owner >` + w.annName + ` application_owner_username >ann`,
			`UpdateSubscription app to Echo/1.0.0: plan ` + gold + `>` + silver,
			`BlockSubscription app to Echo/1.0.0: state STATE_ACTIVE>STATE_BLOCKED`,
			`RestoreSubscription app to Echo/1.0.0: state STATE_BLOCKED>STATE_ACTIVE`,
			`DeleteSubscription app to Echo/1.0.0: application ` + app.GetName() + `> version ` + v1 + `> plan ` + silver + `> state STATE_ACTIVE>` +
				` application_display_name app> application_owner ` + w.annName + `> application_owner_username ann>`,
			`UpdateApplication app: plan >` + gold,
			`UpdateApplication app: plan ` + gold + `>`,
		}
		if diff := cmp.Diff(want, w.audit(before)); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	})
}

// TestAuditSaysWhoItWas has an administrator sign in and make a change: the audit log
// has the username of then.
func TestAuditSaysWhoItWas(t *testing.T) {
	w := onSQLite(t)
	in, err := w.signIn("admin", adminPassword)
	w.must(err)
	_, err = w.apps.CreateApplication(bearer(t.Context(), in.GetAccessToken()), &subscriptionv1.CreateApplicationRequest{
		Application: &subscriptionv1.Application{DisplayName: "app"},
	})
	w.must(err)
	list, err := w.changes.ListChanges(w.root, &changev1.ListChangesRequest{Parent: "services/subscription", PageSize: 1})
	w.must(err)
	if c := list.GetChanges()[0]; c.GetActor() != w.rootName || c.GetActorDisplayName() != "admin" {
		t.Errorf("the newest change is by %q, called %q, want %s, called admin", c.GetActor(), c.GetActorDisplayName(), w.rootName)
	}
	// Who signs out brings no access token.
	_, err = w.signIns.SignOut(t.Context(), &identityv1.SignOutRequest{RefreshToken: in.GetRefreshToken()})
	w.must(err)
	list, err = w.changes.ListChanges(w.root, &changev1.ListChangesRequest{Parent: "services/subscription", PageSize: 1})
	w.must(err)
	if c := list.GetChanges()[0]; c.GetAction() != "SignOut" || c.GetActorDisplayName() != "admin" || c.GetResourceDisplayName() != "admin" {
		t.Errorf("the newest change is %s by %q of %q, want SignOut by admin of what is called admin", c.GetAction(), c.GetActorDisplayName(), c.GetResourceDisplayName())
	}
}
