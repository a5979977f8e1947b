package api

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

func TestBatchGet(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		echo, chat := f.api("Echo"), f.api("Chat")
		hidden, shown := f.version(echo, "1.0.0"), f.publish(f.version(chat, "1.0.0"))
		other := chat.GetName() + "/versions/" + hidden.GetName()[len(echo.GetName())+len("/versions/"):]

		apis, err := f.BatchGetApis(ctx, &catalogv1.BatchGetApisRequest{Names: []string{echo.GetName(), chat.GetName()}}, f.ann)
		if diff := cmp.Diff([]*catalogv1.Api{echo, chat}, apis.GetApis(), protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("BatchGetApis: %v (-want +got):\n%s", err, diff)
		}
		versions, err := f.BatchGetVersions(ctx, &catalogv1.BatchGetVersionsRequest{Parent: "apis/-", Names: []string{shown.GetName(), hidden.GetName()}}, f.ann)
		if diff := cmp.Diff([]*catalogv1.Version{shown, hidden}, versions.GetVersions(), protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("BatchGetVersions: %v (-want +got):\n%s", err, diff)
		}
		plans, err := f.BatchGetPlans(ctx, &catalogv1.BatchGetPlansRequest{Names: []string{"plans/silver", "plans/gold"}}, f.sue)
		if err != nil || len(plans.GetPlans()) != 2 || plans.GetPlans()[0].GetDisplayName() != "Silver" || plans.GetPlans()[1].GetDisplayName() != "Gold" {
			t.Errorf("BatchGetPlans = %v, %v, want Silver and Gold", plans, err)
		}

		// What is missing, or not for the caller to see, is refused or left out.
		_, err = f.BatchGetApis(ctx, &catalogv1.BatchGetApisRequest{Names: []string{chat.GetName(), echo.GetName()}}, f.sue)
		wantError(t, "BatchGetApis of one that is not seen", err, codes.NotFound, echo.GetName()+" not found")
		_, err = f.BatchGetVersions(ctx, &catalogv1.BatchGetVersionsRequest{Parent: "apis/-", Names: []string{other}}, f.ann)
		wantError(t, "BatchGetVersions of one in another API", err, codes.NotFound, other+" not found")
		_, err = f.BatchGetPlans(ctx, &catalogv1.BatchGetPlansRequest{Names: []string{"plans/none"}}, f.ann)
		wantError(t, "BatchGetPlans of none", err, codes.NotFound, "plans/none not found")
		apis, err = f.BatchGetApis(ctx, &catalogv1.BatchGetApisRequest{Names: []string{"apis/none", chat.GetName(), echo.GetName()}, AllowMissing: true}, f.sue)
		if err != nil || len(apis.GetApis()) != 1 || apis.GetApis()[0].GetName() != chat.GetName() {
			t.Errorf("BatchGetApis with allow_missing = %v, %v, want Chat", apis, err)
		}
		versions, err = f.BatchGetVersions(ctx, &catalogv1.BatchGetVersionsRequest{
			Parent: "apis/-", Names: []string{hidden.GetName(), other, shown.GetName()}, AllowMissing: true,
		}, f.sue)
		if err != nil || len(versions.GetVersions()) != 1 || versions.GetVersions()[0].GetName() != shown.GetName() || versions.GetVersions()[0].GetEndpoints() != nil {
			t.Errorf("BatchGetVersions with allow_missing = %v, %v, want the version of Chat without its endpoints", versions, err)
		}

		_, err = f.BatchGetVersions(ctx, &catalogv1.BatchGetVersionsRequest{Parent: echo.GetName(), Names: []string{hidden.GetName(), shown.GetName()}}, f.ann)
		wantError(t, "BatchGetVersions of another parent", err, codes.InvalidArgument, "names[1]: must be a version of "+echo.GetName())
		_, err = f.BatchGetApis(ctx, &catalogv1.BatchGetApisRequest{Names: []string{echo.GetName(), echo.GetName()}}, f.ann)
		wantError(t, "BatchGetApis of one twice", err, codes.InvalidArgument, "names: must not have the same value twice")
		_, err = f.BatchGetPlans(ctx, &catalogv1.BatchGetPlansRequest{}, f.ann)
		wantError(t, "BatchGetPlans of nothing", err, codes.InvalidArgument, "names: must contain at least 1 item(s)")
	})
}

func TestLists(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	for _, name := range []string{"Quay", "Anchor", "Harbour", "Buoy"} {
		f.version(f.api(name), "1.0.0")
	}
	// Pages keep the order and the query.
	var names []string
	token := ""
	for {
		list, err := f.ListApis(ctx, &catalogv1.ListApisRequest{Query: "O", OrderBy: "display_name desc", PageSize: 1, PageToken: token}, f.ann)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, list.GetApis()[0].GetDisplayName())
		if token = list.GetNextPageToken(); token == "" {
			break
		}
		_, err = f.ListApis(ctx, &catalogv1.ListApisRequest{Query: "O", PageSize: 1, PageToken: token}, f.ann)
		wantError(t, "ListApis in another order", err, codes.InvalidArgument, "page_token: belongs to another list or filter")
	}
	if got := strings.Join(names, " "); got != "Harbour Buoy Anchor" {
		t.Errorf("the pages have %s, want Harbour Buoy Anchor", got)
	}
	versions, err := f.ListVersions(ctx, &catalogv1.ListVersionsRequest{Parent: "apis/-", OrderBy: "api", Filter: `owner = "users/me"`, PageSize: 2}, f.ann)
	if err != nil || len(versions.GetVersions()) != 2 || !strings.Contains(versions.GetVersions()[1].GetAddresses()[0], "/buoy/") {
		t.Errorf("ListVersions by API = %v, %v, want those of Anchor and Buoy", versions, err)
	}
	versions, err = f.ListVersions(ctx, &catalogv1.ListVersionsRequest{Parent: "apis/-", Filter: `owner = "users/bob"`}, f.root)
	if err != nil || len(versions.GetVersions()) != 0 {
		t.Errorf("ListVersions of bob's = %v, %v, want none", versions, err)
	}
	plans, err := f.ListPlans(ctx, &catalogv1.ListPlansRequest{OrderBy: "display_name desc", Query: "async"}, f.ann)
	if err != nil || len(plans.GetPlans()) != 5 || plans.GetPlans()[0].GetDisplayName() != "AsyncUnlimited" {
		t.Errorf("ListPlans = %v, %v, want five from AsyncUnlimited on", plans, err)
	}
	_, err = f.ListApis(ctx, &catalogv1.ListApisRequest{OrderBy: "owner"}, f.ann)
	wantError(t, "ListApis in no order", err, codes.InvalidArgument,
		"order_by: must be in list [create_time, create_time desc, display_name, display_name desc, context, context desc]")
	_, err = f.ListPlans(ctx, &catalogv1.ListPlansRequest{Query: strings.Repeat("x", 101)}, f.ann)
	wantError(t, "ListPlans with a long query", err, codes.InvalidArgument, "query: must be at most 100 characters")
}

// TestSourceVersion takes over the settings of another version.
func TestSourceVersion(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	source := largest("1.0.0")
	source.Subscriptionless, source.TrafficPlan = true, "plans/gold"
	from, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: a.GetName(), Version: source}, f.ann)
	if err != nil {
		t.Fatal(err)
	}
	create := func(source string, v *catalogv1.Version) (*catalogv1.Version, error) {
		return f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: a.GetName(), Version: v, SourceVersion: source}, f.ann)
	}
	want := func(v *catalogv1.Version) *catalogv1.Version {
		w := &catalogv1.Version{}
		for _, name := range settings() {
			takeOverField(w, v, name)
		}
		return w
	}
	same, err := create(from.GetName(), &catalogv1.Version{Version: "2.0.0"})
	if diff := cmp.Diff(want(from), want(same), protocmp.Transform()); err != nil || diff != "" || same.GetVersion() != "2.0.0" {
		t.Errorf("CreateVersion from another: %v, %s (-want +got):\n%s", err, same.GetVersion(), diff)
	}
	changed, err := create(from.GetName(), &catalogv1.Version{
		Version: "3.0.0", Description: "Third.", Plans: []string{"plans/gold"},
		Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://other")},
	})
	w := want(from)
	w.Description, w.Plans, w.Endpoints = "Third.", []string{"plans/gold"}, &catalogv1.Endpoints{Production: endpoint("ws://other")}
	if diff := cmp.Diff(w, want(changed), protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("CreateVersion from another with settings: %v (-want +got):\n%s", err, diff)
	}
	_, err = create(from.GetName(), &catalogv1.Version{Version: "1.0.0"})
	wantError(t, "CreateVersion of one that exists", err, codes.AlreadyExists, `version.version: the API has a version "1.0.0"`)
	_, err = create(a.GetName()+"/versions/none", &catalogv1.Version{Version: "4.0.0"})
	wantError(t, "CreateVersion from none", err, codes.NotFound, a.GetName()+"/versions/none not found")
	elsewhere := f.version(f.api("Chat"), "1.0.0")
	_, err = create(elsewhere.GetName(), &catalogv1.Version{Version: "4.0.0"})
	wantError(t, "CreateVersion from another API's", err, codes.InvalidArgument, "source_version: must be a version of "+a.GetName())
	_, err = create("", &catalogv1.Version{Version: "4.0.0"})
	wantError(t, "CreateVersion without an endpoint", err, codes.InvalidArgument, "version.endpoints: is required")
	_, err = create(from.GetName(), &catalogv1.Version{Version: "4.0.0", Security: []*catalogv1.SecurityScheme{anonymous()}})
	wantError(t, "CreateVersion with what does not go with the other", err, codes.InvalidArgument,
		"version.subscriptionless: must be false with the security none, which asks for no token")
	f.publish(from)
	_, err = f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: a.GetName(), SourceVersion: from.GetName(), Version: &catalogv1.Version{Version: "4.0.0"}}, f.bob)
	wantError(t, "CreateVersion by another user", err, codes.PermissionDenied, "only its owner and administrators may do this")
	// Who owns the API takes over what a publisher promised, and changes nothing of it.
	onlyCreates := f.as("ann", "creator")
	if v, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: a.GetName(), SourceVersion: from.GetName(), Version: &catalogv1.Version{Version: "4.0.0"}}, onlyCreates); err != nil || v.GetTrafficPlan() != "plans/gold" {
		t.Errorf("CreateVersion from another without the role publisher = %v, %v, want the traffic plan of the other", v, err)
	}
	_, err = f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: a.GetName(), SourceVersion: from.GetName(), Version: &catalogv1.Version{Version: "5.0.0", TrafficPlan: "plans/silver"}}, onlyCreates)
	wantError(t, "CreateVersion with another traffic plan", err, codes.PermissionDenied, "this needs the role publisher: without it, traffic_plan, subscriptionless and pass_credential cannot be changed")
}
