package api

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
)

// Endpoints may have secrets, and the plan of all traffic is the owner's concern: whoever
// neither owns the version nor can publish it gets it without them, from every method that
// returns it.
func TestEndpointsAreShownToFew(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	v := f.version(a, "1")
	_, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{Version: &catalogv1.Version{
		Name: v.GetName(), BackendOptions: &catalogv1.BackendOptions{Host: catalogv1.BackendOptions_HOST_FIXED, FixedHost: "inside.example"},
		TrafficPlan: "plans/silver",
	}}, f.ann)
	if err != nil {
		t.Fatal(err)
	}
	everyone := map[string]grpc.CallOption{"ann": f.ann, "bob": f.bob, "cara": f.cara, "pete": f.pete, "sue": f.sue, "root": f.root}
	check := func(when string, shown ...string) {
		t.Helper()
		for name, who := range everyone {
			list, err := f.ListVersions(ctx, &catalogv1.ListVersionsRequest{Parent: "apis/-"}, who)
			if err != nil {
				t.Fatal(err)
			}
			found := list.GetVersions()
			if got, err := f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: v.GetName()}, who); err == nil {
				found = append(found, got)
			}
			for _, got := range found {
				if (got.GetEndpoints() != nil) != slices.Contains(shown, name) {
					t.Errorf("%s: %s gets the endpoints %v", when, name, got.GetEndpoints())
				}
				if (got.GetBackendOptions() != nil) != slices.Contains(shown, name) {
					t.Errorf("%s: %s gets the options of the backends %v", when, name, got.GetBackendOptions())
				}
				if (got.GetTrafficPlan() != "") != slices.Contains(shown, name) {
					t.Errorf("%s: %s gets the plan of all traffic %q", when, name, got.GetTrafficPlan())
				}
				if got.GetSecurity() == nil || got.GetPlans() == nil {
					t.Errorf("%s: %s gets no security or plans", when, name)
				}
			}
		}
	}
	check("created", "ann", "pete", "root")
	if got, err := f.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName()}, f.pete); err != nil || got.GetEndpoints() != nil {
		t.Errorf("PublishVersion by pete = %v, %v, want what pete may see then", got, err)
	}
	check("published", "ann", "root")
	f.demote(v)
	check("demoted", "ann", "pete", "root")
}

// Cara creates and pete publishes: neither could do both. The audit log says who did.
func TestOneUserCreatesAndAnotherPublishes(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a, err := f.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: "Echo", Context: "/echo"}}, f.cara)
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: a.GetName(), Version: &catalogv1.Version{
		Version: "1", Plans: []string{"plans/gold"}, Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://b")},
	}}, f.cara)
	if err != nil {
		t.Fatal(err)
	}
	publish := &catalogv1.PublishVersionRequest{Name: v.GetName(), Etag: v.GetEtag()}
	_, err = f.PublishVersion(ctx, publish, f.cara)
	wantError(t, "PublishVersion by cara", err, codes.PermissionDenied, "this needs the role publisher")
	if v, err = f.PublishVersion(ctx, publish, f.pete); err != nil || v.GetState() != catalogv1.Version_STATE_PUBLISHED {
		t.Errorf("PublishVersion by pete = %v, %v", v, err)
	}
	f.wantChange("PublishVersion", "users/pete", v.GetName())
}

// wantChange checks what the newest change says.
func (f *fixture) wantChange(action, actor, resource string) {
	f.t.Helper()
	list, err := f.ListChanges(f.t.Context(), &changev1.ListChangesRequest{Parent: "services/catalog", PageSize: 1}, f.root)
	if err != nil {
		f.t.Fatal(err)
	}
	if c := list.GetChanges()[0]; c.GetAction() != action || c.GetActor() != actor || "users/"+c.GetActorDisplayName() != actor || c.GetResource() != resource {
		f.t.Errorf("the newest change is %v, want %s of %s by %s", c, action, resource, actor)
	}
}

// What gateways serve of a published version is changed by its owner with the role
// publisher; a creator describes it.
func TestWhatIsPublishedIsChangedByPublishers(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	v := f.version(f.api("Echo"), "1")
	creator, publisher, neither := f.as("ann", "creator"), f.as("ann", "publisher"), f.as("ann", "subscriber")
	served := map[string]*catalogv1.Version{
		"endpoints":       {Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://other")}},
		"security":        {Security: []*catalogv1.SecurityScheme{anonymous()}},
		"allowed_origins": {AllowedOrigins: []string{"https://other.example"}},
		"plans":           {Plans: []string{"plans/silver"}},
	}
	described := &catalogv1.Version{Description: "New.", Tags: []string{"new"}}
	update := func(to *catalogv1.Version, who grpc.CallOption) error {
		to.Name = v.GetName()
		_, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{Version: to}, who)
		return err
	}
	for field, to := range served {
		if err := update(to, creator); err != nil {
			t.Errorf("UpdateVersion of %s by a creator before it is published = %v", field, err)
		}
	}
	wantError(t, "UpdateVersion by a publisher before it is published", update(described, publisher), codes.PermissionDenied, "this needs the role creator")
	f.publish(v)
	served["endpoints"].Endpoints.Sandbox = endpoint("ws://sandbox")
	served["security"].Security = []*catalogv1.SecurityScheme{oauth2(inQuery("access_token"))}
	served["allowed_origins"].AllowedOrigins = []string{"https://again.example"}
	served["plans"].Plans = []string{"plans/gold"}
	before := f.route(v)
	for field, to := range served {
		wantError(t, "UpdateVersion of "+field+" by a creator", update(to, creator), codes.PermissionDenied,
			"this needs the role publisher: without it, only the description and the tags of a published version can be changed")
		wantError(t, "UpdateVersion of "+field+" by neither", update(to, neither), codes.PermissionDenied, "this needs the role creator")
	}
	if err := update(described, creator); err != nil {
		t.Errorf("UpdateVersion of the description by a creator = %v", err)
	}
	if now := f.route(v); now.GetChangeNumber() != before.GetChangeNumber() {
		t.Errorf("the route became %v by refused updates and a description", now)
	}
	for field, to := range served {
		if err := update(to, publisher); err != nil {
			t.Errorf("UpdateVersion of %s by a publisher = %v", field, err)
		}
	}
}

// What all traffic of a version may be, and whether it needs subscriptions, is its
// owner's to say with the role publisher, or an administrator's.
func TestWhatIsPromisedIsChangedByPublishers(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	v := f.version(f.api("Echo"), "1")
	creator, publisher := f.as("ann", "creator"), f.as("ann", "publisher")
	update := func(traffic string, subscriptionless bool, who grpc.CallOption) error {
		_, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
			Version:    &catalogv1.Version{Name: v.GetName(), TrafficPlan: traffic, Subscriptionless: subscriptionless},
			UpdateMask: mask("traffic_plan", "subscriptionless"),
		}, who)
		return err
	}
	for name, who := range map[string]grpc.CallOption{"publisher": publisher, "administrator": f.root} {
		if err := update("plans/gold", true, who); err != nil || f.route(v).GetTrafficPlan() != "plans/gold" || !f.route(v).GetSubscriptionless() {
			t.Errorf("UpdateVersion by a %s = %v, route %v", name, err, f.route(v))
		}
		wantError(t, "UpdateVersion to none by a creator", update("", true, creator), codes.PermissionDenied, notPromised)
		wantError(t, "UpdateVersion to subscriptions by a creator", update("plans/gold", false, creator), codes.PermissionDenied, notPromised)
		if err := update("", false, who); err != nil || f.route(v).GetTrafficPlan() != "" || f.route(v).GetSubscriptionless() {
			t.Errorf("UpdateVersion to none by a %s = %v, route %v", name, err, f.route(v))
		}
	}
	// Whoever sends them back as they are needs no role for them.
	if err := update("", false, creator); err != nil {
		t.Errorf("UpdateVersion of nothing by a creator = %v", err)
	}
}

// Where the addresses of an API lead is what gateways serve of it: while a version is
// published, its owner changes that with the role publisher.
func TestTheDefaultOfWhatIsPublishedIsChangedByPublishers(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	v, second := f.version(a, "1"), f.version(a, "2")
	creator, both := f.as("ann", "creator"), f.as("ann", "creator", "publisher")
	update := func(to *catalogv1.Api, field string, who grpc.CallOption) error {
		to.Name = a.GetName()
		_, err := f.UpdateApi(ctx, &catalogv1.UpdateApiRequest{Api: to, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{field}}}, who)
		return err
	}
	if err := update(&catalogv1.Api{DefaultVersion: v.GetName()}, "default_version", creator); err != nil {
		t.Errorf("UpdateApi of the default version by a creator before one is published = %v", err)
	}
	f.publish(v)
	const denied = "this needs the role publisher: without it, default_version and default_version_paths of an API with a published version cannot be changed"
	for field, to := range map[string]*catalogv1.Api{
		"default_version": {DefaultVersion: second.GetName()}, "default_version_paths": {DefaultVersionPaths: true},
	} {
		wantError(t, "UpdateApi of "+field+" by a creator", update(to, field, creator), codes.PermissionDenied, denied)
		if err := update(to, field, both); err != nil {
			t.Errorf("UpdateApi of %s by a publisher = %v", field, err)
		}
	}
	if err := update(&catalogv1.Api{Description: "New."}, "description", creator); err != nil {
		t.Errorf("UpdateApi of the description by a creator = %v", err)
	}
}

// An API given to another user is that user's in every way, and its routes say so.
func TestTransferOwnership(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	v := f.publish(f.version(a, "1"))
	gone, err := f.TransferOwnership(ctx, &catalogv1.TransferOwnershipRequest{Name: a.GetName(), Owner: "Bob", Etag: a.GetEtag()}, f.ann)
	if err != nil || gone.GetOwner() != "users/bob" || gone.GetEtag() == a.GetEtag() {
		t.Errorf("TransferOwnership = %v, %v, want an API of bob's", gone, err)
	}
	f.wantChange("TransferOwnership", "users/ann", a.GetName())
	if r := f.route(v); r.GetOwner() != "users/bob" || r.GetChangeNumber() == 0 {
		t.Errorf("the route afterwards is %v", r)
	}
	describe := &catalogv1.UpdateApiRequest{Api: &catalogv1.Api{Name: a.GetName(), Description: "Bob's."}}
	_, err = f.UpdateApi(ctx, describe, f.ann)
	wantError(t, "UpdateApi by the owner of before", err, codes.PermissionDenied, notOwner)
	if _, err := f.UpdateApi(ctx, describe, f.bob); err != nil {
		t.Errorf("UpdateApi by the new owner = %v", err)
	}
	if got, err := f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: v.GetName()}, f.ann); err != nil || got.GetEndpoints() != nil {
		t.Errorf("GetVersion by the owner of before = %v, %v, want no endpoints", got, err)
	}
	for _, owner := range []string{"users/me", "users/ann"} {
		if got, err := f.TransferOwnership(ctx, &catalogv1.TransferOwnershipRequest{Name: a.GetName(), Owner: owner}, f.root); err != nil || got.GetOwner() == "users/me" {
			t.Errorf("TransferOwnership to %s by an administrator = %v, %v", owner, got, err)
		}
	}
}

func TestTransferOwnershipRefuses(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	transfer := func(name, owner, etag string, who ...grpc.CallOption) func(...grpc.CallOption) error {
		return refuse(ctx, w.TransferOwnership, &catalogv1.TransferOwnershipRequest{Name: name, Owner: owner, Etag: etag}, who...)
	}
	echo := w.echo.GetName()
	w.try([]refusal{
		{"without a token", transfer(echo, "bob", ""), codes.Unauthenticated, notSignedIn},
		{"with a bad name", transfer("echo", "bob", "", w.ann), codes.InvalidArgument, "name: must be apis/{api}"},
		{"without an owner", transfer(echo, "", "", w.ann), codes.InvalidArgument, "owner: is required"},
		{"of none", transfer("apis/none", "bob", "", w.root), codes.NotFound, "apis/none not found"},
		{"of what is hidden", transfer(w.hidden.GetName(), "bob", "", w.bob), codes.NotFound, w.hidden.GetName() + " not found"},
		{"of somebody else's", transfer(echo, "bob", "", w.bob), codes.PermissionDenied, notOwner},
		{"of somebody else's to nobody", transfer(echo, "nobody", "", w.bob), codes.PermissionDenied, notOwner},
		{"to nobody", transfer(echo, "nobody", "", w.ann), codes.InvalidArgument, `owner: there is no user "nobody": must be users/{user} or a username`},
		{"to a user who waits for approval", transfer(echo, "yan", "", w.ann), codes.FailedPrecondition, `the user "yan" waits for approval: approve the user first, or name another`},
		{"to a suspended user", transfer(echo, "zoe", "", w.ann), codes.FailedPrecondition, `the user "zoe" is suspended: restore the user first, or name another`},
		{"while users are away", transfer(echo, "away", "", w.ann), codes.Unavailable, "the subscription service, which knows the users, does not answer now"},
		{"with a stale etag", transfer(echo, "bob", "9", w.ann), codes.Aborted, staleEtag},
	})
}

// The catalog does not know which users there are: an API whose owner is gone goes on,
// and an administrator does everything with it.
func TestApisOfAnOwnerWhoIsGoneAreAdministrators(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	gone := f.as("gone", "creator", "publisher")
	a, err := f.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: "Left", Context: "/left"}}, gone)
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: a.GetName(), Version: &catalogv1.Version{
		Version: "1", Plans: []string{"plans/gold"}, Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://b")},
	}}, f.root)
	if err != nil {
		t.Fatal(err)
	}
	for call, err := range map[string]error{
		"PublishVersion": func() error {
			_, err := f.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName()}, f.root)
			return err
		}(),
		"UpdateVersion": func() error {
			_, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{Version: &catalogv1.Version{
				Name: v.GetName(), Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://c")},
			}}, f.root)
			return err
		}(),
		"UpdateApi": func() error {
			_, err := f.UpdateApi(ctx, &catalogv1.UpdateApiRequest{Api: &catalogv1.Api{Name: a.GetName(), Description: "Kept."}}, f.root)
			return err
		}(),
	} {
		if err != nil {
			t.Errorf("%s by an administrator = %v", call, err)
		}
	}
	if got, err := f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: v.GetName()}, f.root); err != nil || got.GetEndpoints() == nil {
		t.Errorf("GetVersion by an administrator = %v, %v, want the endpoints", got, err)
	}
	if r := f.route(v); r.GetOwner() != "users/gone" || r.GetState() != catalogv1.Version_STATE_PUBLISHED {
		t.Errorf("the route is %v, want it served", r)
	}
	if got, err := f.TransferOwnership(ctx, &catalogv1.TransferOwnershipRequest{Name: a.GetName(), Owner: "bob"}, f.root); err != nil || got.GetOwner() != "users/bob" {
		t.Errorf("TransferOwnership by an administrator = %v, %v", got, err)
	}
}

// What one user does to another's is told to operators: an API is given away, a version
// is published by somebody else. What owners do to their own is not.
func TestSecurityLog(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	own, others := f.version(a, "1"), f.version(a, "2")
	for v, who := range map[*catalogv1.Version]grpc.CallOption{own: f.ann, others: f.pete} {
		if _, err := f.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName()}, who); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.TransferOwnership(ctx, &catalogv1.TransferOwnershipRequest{Name: a.GetName(), Owner: "bob"}, f.ann); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(f.logs.String()) {
		_, event, _ := strings.Cut(strings.TrimSpace(line), `msg="security event" `)
		got = append(got, event)
	}
	want := []string{
		"event=PUBLISHED who=users/pete method=PublishVersion what=" + others.GetName() + ` why="it is owned by users/ann"`,
		"event=OWNER_CHANGED who=users/ann method=TransferOwnership what=" + a.GetName() + ` why="from users/ann to users/bob"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("security events (-want +got):\n%s", diff)
	}
}
