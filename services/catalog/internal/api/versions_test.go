package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
)

// TestNullIsWarnedOf: the origin null is taken, and the version says what that means
// for as long as it is listed.
func TestNullIsWarnedOf(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	v := f.version(f.api("Echo"), "1")
	for _, tt := range []struct {
		origins []string
		want    int
	}{{[]string{"https://example.com", "null"}, 1}, {[]string{"https://example.com"}, 0}} {
		got, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
			Version:    &catalogv1.Version{Name: v.GetName(), AllowedOrigins: tt.origins, Warnings: []string{"mine"}},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"allowed_origins"}},
		}, f.ann)
		if err != nil || len(got.GetWarnings()) != tt.want || tt.want > 0 && !strings.HasPrefix(got.GetWarnings()[0], "allowed_origins: null is ") {
			t.Errorf("UpdateVersion to the origins %q = warnings %q, %v, want %d", tt.origins, got.GetWarnings(), err, tt.want)
		}
	}
}

func TestVersion(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	asked := &catalogv1.Version{
		Version: "1.0.0", Description: "First.", Tags: []string{"b", "a"},
		Endpoints: &catalogv1.Endpoints{Production: endpoint("WSS://backend.example/x?y=z"), Sandbox: endpoint("http://[::1]:8080")},
		Security:  []*catalogv1.SecurityScheme{oauth2(inQuery("access_token"))},
		Plans:     []string{"plans/silver", "plans/gold"}, AllowedOrigins: []string{"https://*.example.com", "http://[::1]:3000", "app://.", "file://"},
		BackendOptions: &catalogv1.BackendOptions{
			Host: catalogv1.BackendOptions_HOST_FIXED, FixedHost: "app.example.com:8443", Origin: catalogv1.BackendOptions_ORIGIN_ENDPOINT,
		},
		Pings:         catalogv1.Version_PINGS_CLIENTS,
		MaxSessionAge: durationpb.New(90*time.Minute + 1), IdleTimeout: durationpb.New(5*time.Minute + 1),
		TrafficPlan: "plans/bronze", Subscriptionless: true, MaxMessageBytes: 1 << 30,
		ErrorFrames: &catalogv1.ErrorFrames{Template: catalogv1.ErrorFrames_TEMPLATE_TEXT, Text: "langsamer, bitte: ä"},
		State:       catalogv1.Version_STATE_PUBLISHED, Addresses: []string{"ws://elsewhere"}, Etag: "9",
	}
	made, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: a.GetName(), Version: asked}, f.ann)
	if err != nil {
		t.Fatal(err)
	}
	want := asked
	want.Name, want.State, want.Etag = made.GetName(), catalogv1.Version_STATE_CREATED, "1"
	want.Addresses = []string{"ws://gw:9099/echo/1.0.0", "wss://gw:8099/echo/1.0.0"}
	want.CreateTime, want.UpdateTime = made.GetCreateTime(), made.GetCreateTime()
	if diff := cmp.Diff(want, made, protocmp.Transform()); diff != "" || made.GetCreateTime() == nil {
		t.Errorf("CreateVersion (-want +got):\n%s", diff)
	}
	check := func(call string, got *catalogv1.Version, err error) {
		t.Helper()
		want.Etag, want.UpdateTime = got.GetEtag(), got.GetUpdateTime()
		if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", call, err, diff)
		}
	}
	got, err := f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: made.GetName()}, f.ann)
	check("GetVersion", got, err)

	got, err = f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
		Version: &catalogv1.Version{Name: made.GetName(), Etag: "1", Endpoints: &catalogv1.Endpoints{Sandbox: endpoint("not in the mask")}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{
			"endpoints.production", "security", "tags", "backend_options.host", "backend_options.fixed_host",
			"traffic_plan", "error_frames.template", "error_frames.text",
		}},
	}, f.ann)
	want.BackendOptions.Host, want.BackendOptions.FixedHost = 0, ""
	want.TrafficPlan, want.ErrorFrames = "", nil
	defaults := []*catalogv1.SecurityScheme{oauth2(inHeader("Authorization"), inQuery("access_token"))}
	want.Endpoints.Production, want.Security, want.Tags = nil, defaults, nil
	check("UpdateVersion with parts of fields", got, err)

	got, err = f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
		Version: &catalogv1.Version{Name: made.GetName(), Description: "Second.", Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://b")}},
	}, f.ann)
	want.Description, want.Endpoints = "Second.", &catalogv1.Endpoints{Production: endpoint("ws://b")}
	check("UpdateVersion without a mask", got, err)

	got, err = f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
		Version:    &catalogv1.Version{Name: made.GetName(), Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://c")}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"*"}},
	}, f.ann)
	want.Description, want.Endpoints, want.Security, want.Plans = "", &catalogv1.Endpoints{Production: endpoint("ws://c")}, defaults, nil
	want.AllowedOrigins, want.MaxSessionAge, want.BackendOptions, want.Pings = nil, nil, nil, 0
	want.Subscriptionless, want.MaxMessageBytes, want.IdleTimeout = false, 0, nil
	check("UpdateVersion of everything", got, err)

	if _, err := f.DeleteVersion(ctx, &catalogv1.DeleteVersionRequest{Name: made.GetName(), Etag: want.GetEtag()}, f.ann); err != nil {
		t.Fatal(err)
	}
	_, err = f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: made.GetName()}, f.ann)
	wantError(t, "GetVersion of a deleted one", err, codes.NotFound, made.GetName()+" not found")
}

func TestVersionState(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	v := f.version(a, "1.0.0")
	var header metadata.MD
	published, err := f.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName(), Etag: v.GetEtag()}, f.ann, grpc.Header(&header))
	if err != nil || published.GetState() != catalogv1.Version_STATE_PUBLISHED || published.GetEtag() == v.GetEtag() {
		t.Fatalf("PublishVersion = %v, %v", published, err)
	}
	if n := number(t, header); n != 3 {
		t.Errorf("the third change has the number %d", n)
	}
	// Again, also with the current etag: the same answer, and the change that it was.
	for _, etag := range []string{"", published.GetEtag()} {
		header = nil
		again, err := f.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName(), Etag: etag}, f.ann, grpc.Header(&header))
		if err != nil || !proto.Equal(again, published) || number(t, header) != 3 {
			t.Errorf("PublishVersion again = %v, %v with %v, want %v with change 3", again, err, header, published)
		}
	}
	_, err = f.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName(), Etag: v.GetEtag()}, f.ann)
	wantError(t, "publishing again what was seen before", err, codes.Aborted, staleEtag)
	edited, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
		Version: &catalogv1.Version{Name: v.GetName(), Description: "Edited."},
	}, f.ann)
	if err != nil || edited.GetState() != catalogv1.Version_STATE_PUBLISHED {
		t.Errorf("UpdateVersion of a published version = %v, %v, want it published", edited, err)
	}
	if demoted := f.demote(v); demoted.GetState() != catalogv1.Version_STATE_CREATED {
		t.Errorf("DemoteVersion = %v", demoted)
	}
	header = nil
	again, err := f.DemoteVersion(ctx, &catalogv1.DemoteVersionRequest{Name: v.GetName()}, f.root, grpc.Header(&header))
	if err != nil || again.GetState() != catalogv1.Version_STATE_CREATED || number(t, header) != 5 {
		t.Errorf("DemoteVersion again = %v, %v with %v, want it CREATED with change 5", again, err, header)
	}
	f.wantChange("DemoteVersion", "users/ann", v.GetName()) // root's is none
	// Whoever has no plan to offer publishes without subscriptions,
	free, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: a.GetName(), Version: &catalogv1.Version{
		Version: "free", Endpoints: &catalogv1.Endpoints{Sandbox: endpoint("ws://b")}, Subscriptionless: true,
	}}, f.ann)
	if err != nil {
		t.Fatal(err)
	}
	f.publish(free)
	_, err = f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
		Version: &catalogv1.Version{Name: free.GetName()}, UpdateMask: mask("subscriptionless"),
	}, f.ann)
	wantError(t, "UpdateVersion to subscriptions without a plan", err, codes.FailedPrecondition,
		"version.plans: a published version needs a plan, unless its security is none or it is subscriptionless")
	// or without credentials, where a plan for all traffic may be the only one.
	open, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: a.GetName(), Version: &catalogv1.Version{
		Version: "open", Endpoints: &catalogv1.Endpoints{Sandbox: endpoint("ws://b")},
		Security: []*catalogv1.SecurityScheme{anonymous()}, TrafficPlan: "plans/gold",
	}}, f.ann)
	if err != nil {
		t.Fatal(err)
	}
	f.publish(open)
	if r := f.route(open); len(r.GetSecurity()) != 1 || r.GetSecurity()[0].GetNone() == nil || r.GetTrafficPlan() != "plans/gold" {
		t.Errorf("route of an open version = %v, want none", r)
	}
}

func TestRoute(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	v := f.version(a, "1.0.0")
	want := &backplanev1.Route{
		Name: v.GetName(), Api: a.GetName(), DisplayName: "Echo", Owner: "users/ann", Context: "/echo", Version: "1.0.0",
		State: catalogv1.Version_STATE_CREATED, Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://backend:9098/echo")},
		Security: []*catalogv1.SecurityScheme{oauth2(inHeader("Authorization"), inQuery("access_token"))},
		Plans:    []string{"plans/gold"}, ChangeNumber: 2,
	}
	check := func(when string) {
		t.Helper()
		if diff := cmp.Diff(want, f.route(v), protocmp.Transform()); diff != "" {
			t.Errorf("route %s (-want +got):\n%s", when, diff)
		}
	}
	check("when made")
	f.publish(v)
	want.State, want.ChangeNumber = catalogv1.Version_STATE_PUBLISHED, 3
	check("when published")
	if _, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
		Version: &catalogv1.Version{Name: v.GetName(), Description: "No gateway needs this.", Tags: []string{"nor this"}},
	}, f.ann); err != nil {
		t.Fatal(err)
	}
	check("after a change that is nothing to it")
	if _, err := f.UpdateApi(ctx, &catalogv1.UpdateApiRequest{
		Api: &catalogv1.Api{Name: a.GetName(), DisplayName: "Echo 2", DefaultVersion: v.GetName()},
	}, f.ann); err != nil {
		t.Fatal(err)
	}
	want.DisplayName, want.Default, want.ChangeNumber = "Echo 2", true, 5
	check("after a change of its API")
	want.TrafficPlan, want.Subscriptionless, want.MaxMessageBytes = "plans/silver", true, 4096
	want.ErrorFrames, want.ChangeNumber = &catalogv1.ErrorFrames{Template: catalogv1.ErrorFrames_TEMPLATE_TEXT, Text: "slow down"}, 6
	if _, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{Version: &catalogv1.Version{
		Name: v.GetName(), TrafficPlan: "plans/silver", Subscriptionless: true, MaxMessageBytes: 4096, ErrorFrames: want.GetErrorFrames(),
	}}, f.ann); err != nil {
		t.Fatal(err)
	}
	check("after a change of what limits it")
	_, err := f.routes.GetRoute(ctx, &backplanev1.GetRouteRequest{Name: a.GetName() + "/versions/none"})
	wantError(t, "GetRoute of none", err, codes.NotFound, a.GetName()+"/versions/none not found")
}

func TestListVersionsFilters(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	for i := range 4 {
		v := f.version(a, fmt.Sprintf("1.%d", i))
		if i == 2 {
			f.publish(v)
		}
	}
	if _, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: a.GetName(), Version: &catalogv1.Version{
		Version: "2.0", Tags: []string{"chat", "live"}, Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://b")},
	}}, f.ann); err != nil {
		t.Fatal(err)
	}
	for filter, want := range map[string]string{
		"":                                    "1.0 1.1 1.2 1.3 2.0",
		`state = "PUBLISHED"`:                 "1.2",
		`state = "CREATED" AND tags = "live"`: "2.0",
		`tags = "li"`:                         "",
		`version = "1.3"`:                     "1.3",
	} {
		var got []string
		token := ""
		for {
			list, err := f.ListVersions(ctx, &catalogv1.ListVersionsRequest{Parent: a.GetName(), Filter: filter, PageSize: 2, PageToken: token}, f.ann)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range list.GetVersions() {
				got = append(got, v.GetVersion())
			}
			if token = list.GetNextPageToken(); token == "" {
				break
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("ListVersions(%s) = %v, want %s", filter, got, want)
		}
	}
}

// APIs are found by the state and the tags of a version that the caller sees: both of
// one version.
func TestListApisByTheirVersions(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	f.publish(f.version(f.api("Echo"), "1"))
	chat := f.api("Chat")
	f.publish(f.version(chat, "1"))
	if _, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: chat.GetName(), Version: &catalogv1.Version{
		Version: "2", Tags: []string{"live"}, Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://b")},
	}}, f.ann); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		filter string
		who    grpc.CallOption
		want   string
	}{
		{`state = "PUBLISHED"`, f.ann, "Echo Chat"},
		{`state = "CREATED"`, f.ann, "Chat"},
		{`state = "CREATED"`, f.sue, ""},
		{`tags = "live"`, f.ann, "Chat"},
		{`tags = "live"`, f.sue, ""},
		{`tags = "live" AND state = "CREATED"`, f.pete, "Chat"},
		{`tags = "live" AND state = "PUBLISHED"`, f.ann, ""},
		{`state = "PUBLISHED" AND display_name = "echo"`, f.sue, "Echo"},
	} {
		list, err := f.ListApis(ctx, &catalogv1.ListApisRequest{Filter: tt.filter}, tt.who)
		var got []string
		for _, a := range list.GetApis() {
			got = append(got, a.GetDisplayName())
		}
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("ListApis(%s) = %v, %v, want %q", tt.filter, got, err, tt.want)
		}
	}
}

// largest is the largest version that is accepted.
func largest(version string) *catalogv1.Version {
	v := &catalogv1.Version{
		Version: version, Description: strings.Repeat("語", 4096),
		Endpoints: &catalogv1.Endpoints{
			Production: endpoint("ws://b/" + strings.Repeat("x", 2041)), Sandbox: endpoint("ws://b/" + strings.Repeat("y", 2041)),
		},
		Plans: []string{"plans/gold"}, TrafficPlan: "plans/async-default-subscriptionless", MaxMessageBytes: 1 << 30,
		ErrorFrames: &catalogv1.ErrorFrames{Template: catalogv1.ErrorFrames_TEMPLATE_TEXT, Text: strings.Repeat("x", 1000)},
	}
	v.BackendOptions = &catalogv1.BackendOptions{Headers: manyHeaders(2, strings.Repeat("x", 4090))}
	for i := range 20 {
		v.Tags = append(v.Tags, strings.Repeat("語", 48)+fmt.Sprintf("%02d", i))
	}
	for i := range 100 {
		v.AllowedOrigins = append(v.AllowedOrigins, fmt.Sprintf("https://%s.%02d.example", strings.Repeat("o", 62), i))
	}
	return v
}

func TestLargeApiIsListedAndChanged(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Large")
	f.must(f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: a.GetName(), Version: largest("0")}, f.ann))
	api := strings.TrimPrefix(a.GetName(), "apis/")
	for i := 1; i < store.MaxVersions; i++ {
		row := withVersion(store.Version{APIID: api, Version: fmt.Sprint(i)}, largest(fmt.Sprint(i)))
		_, err := f.store.CreateVersion(ctx, requestid.Request{}, identity.Viewer{All: true}, row, func(store.API) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	token := ""
	for {
		list, err := f.ListVersions(ctx, &catalogv1.ListVersionsRequest{Parent: a.GetName(), PageSize: 5000, PageToken: token}, f.ann)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range list.GetVersions() {
			names = append(names, v.GetName())
		}
		if token = list.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(names) != 200 {
		t.Errorf("ListVersions gives %d of 200 large versions", len(names))
	}
	_, err := f.BatchGetVersions(ctx, &catalogv1.BatchGetVersionsRequest{Parent: a.GetName(), Names: names}, f.ann)
	wantError(t, "BatchGetVersions of all", err, codes.InvalidArgument, "names: must be fewer: the answer would have more than 3 MiB")
	some, err := f.BatchGetVersions(ctx, &catalogv1.BatchGetVersionsRequest{Parent: a.GetName(), Names: names[10:70]}, f.ann)
	if err != nil || len(some.GetVersions()) != 60 || some.GetVersions()[59].GetName() != names[69] {
		t.Errorf("BatchGetVersions of 60 = %d, %v, want them in order", len(some.GetVersions()), err)
	}
	w := f.watch("gateway-1", "")
	w.snapshot()
	if _, err := f.UpdateApi(ctx, &catalogv1.UpdateApiRequest{Api: &catalogv1.Api{Name: a.GetName(), DisplayName: "Larger"}}, f.ann); err != nil {
		t.Fatal(err)
	}
	if c := w.change(); len(c.GetEvent().GetRoutes()) != 200 {
		t.Errorf("a change of the API changes %d routes, want 200", len(c.GetEvent().GetRoutes()))
	}
}
