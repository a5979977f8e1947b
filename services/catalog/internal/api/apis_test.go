package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

func TestApi(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	var header metadata.MD
	asked := &catalogv1.Api{
		Name: "apis/mine", DisplayName: "EchoWebSocket", Context: "/echowebsocket", Description: "Echoes.",
		Owner: "users/bob", Etag: "77", DefaultVersionPaths: true,
	}
	made, err := f.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: asked}, f.ann, grpc.Header(&header))
	if err != nil {
		t.Fatal(err)
	}
	if n := number(t, header); n != 1 {
		t.Errorf("the first change has the number %d", n)
	}
	want := &catalogv1.Api{
		Name: made.GetName(), DisplayName: "EchoWebSocket", Context: "/echowebsocket", Description: "Echoes.",
		Owner: "users/ann", CreateTime: made.GetCreateTime(), UpdateTime: made.GetCreateTime(), Etag: "1", DefaultVersionPaths: true,
	}
	if diff := cmp.Diff(want, made, protocmp.Transform()); diff != "" || made.GetName() == asked.GetName() || made.GetCreateTime() == nil {
		t.Errorf("CreateApi (-want +got):\n%s", diff)
	}
	got, err := f.GetApi(ctx, &catalogv1.GetApiRequest{Name: made.GetName()}, f.ann)
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("GetApi: %v (-want +got):\n%s", err, diff)
	}
	v := f.version(made, "1.0.0")
	changed, err := f.UpdateApi(ctx, &catalogv1.UpdateApiRequest{
		Api:        &catalogv1.Api{Name: made.GetName(), DefaultVersion: v.GetName(), DisplayName: "not in the mask", Etag: "1"},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"default_version", "default_version_paths", "description"}},
	}, f.ann, grpc.Header(&header))
	want.Description, want.DefaultVersion, want.Etag, want.UpdateTime = "", v.GetName(), "2", changed.GetUpdateTime()
	want.DefaultVersionPaths = false
	if diff := cmp.Diff(want, changed, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("UpdateApi with a mask: %v (-want +got):\n%s", err, diff)
	}
	if n := number(t, header); n != 3 {
		t.Errorf("the third change has the number %d", n)
	}
	changed, err = f.UpdateApi(ctx, &catalogv1.UpdateApiRequest{
		Api: &catalogv1.Api{Name: made.GetName(), DisplayName: "ECHOwebsocket", Owner: "users/bob"},
	}, f.root)
	want.DisplayName, want.Etag, want.UpdateTime = "ECHOwebsocket", "3", changed.GetUpdateTime()
	if diff := cmp.Diff(want, changed, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("UpdateApi without a mask: %v (-want +got):\n%s", err, diff)
	}
	if _, err := f.DeleteApi(ctx, &catalogv1.DeleteApiRequest{Name: made.GetName(), Etag: "3", Force: true}, f.ann); err != nil {
		t.Fatal(err)
	}
	_, err = f.GetApi(ctx, &catalogv1.GetApiRequest{Name: made.GetName()}, f.ann)
	wantError(t, "GetApi of a deleted one", err, codes.NotFound, made.GetName()+" not found")
	_, err = f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: v.GetName()}, f.ann)
	wantError(t, "GetVersion of a deleted one", err, codes.NotFound, v.GetName()+" not found")
}

func TestUpdateSendsBackWhatWasRead(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	v := f.version(a, "1.0.0")
	all := func(m proto.Message) *fieldmaskpb.FieldMask {
		mask := &fieldmaskpb.FieldMask{}
		for i := range m.ProtoReflect().Descriptor().Fields().Len() {
			mask.Paths = append(mask.Paths, string(m.ProtoReflect().Descriptor().Fields().Get(i).Name()))
		}
		return mask
	}
	a, err := f.GetApi(ctx, &catalogv1.GetApiRequest{Name: a.GetName()}, f.ann)
	if err != nil {
		t.Fatal(err)
	}
	a.Description = "Changed."
	if got, err := f.UpdateApi(ctx, &catalogv1.UpdateApiRequest{Api: a, UpdateMask: all(a)}, f.ann); err != nil || got.GetDescription() != "Changed." {
		t.Errorf("UpdateApi = %v, %v", got, err)
	}
	v.Description = "Changed."
	if got, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{Version: v, UpdateMask: all(v)}, f.ann); err != nil || got.GetDescription() != "Changed." {
		t.Errorf("UpdateVersion = %v, %v", got, err)
	}
	p, err := f.GetPlan(ctx, &catalogv1.GetPlanRequest{Name: "plans/gold"}, f.sue)
	if err != nil {
		t.Fatal(err)
	}
	p.Description = "Changed."
	if got, err := f.UpdatePlan(ctx, &catalogv1.UpdatePlanRequest{Plan: p, UpdateMask: all(p)}, f.root); err != nil || got.GetDescription() != "Changed." {
		t.Errorf("UpdatePlan = %v, %v", got, err)
	}
}

func TestWhoSeesAnApi(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	v1, v2 := f.version(a, "1"), f.version(a, "2")
	if _, err := f.UpdateApi(ctx, &catalogv1.UpdateApiRequest{Api: &catalogv1.Api{Name: a.GetName(), DefaultVersion: v2.GetName()}}, f.ann); err != nil {
		t.Fatal(err)
	}
	everyone := map[string]grpc.CallOption{"ann": f.ann, "bob": f.bob, "cara": f.cara, "pete": f.pete, "sue": f.sue, "root": f.root}
	check := func(when string, seesAPI, seesV1, seesV2, seesDefault []string) {
		t.Helper()
		for name, who := range everyone {
			got, err := f.GetApi(ctx, &catalogv1.GetApiRequest{Name: a.GetName()}, who)
			if (err == nil) != slices.Contains(seesAPI, name) {
				t.Errorf("%s: GetApi by %s = %v", when, name, err)
			}
			if err != nil {
				wantError(t, "GetApi by "+name, err, codes.NotFound, a.GetName()+" not found")
			}
			if (got.GetDefaultVersion() != "") != slices.Contains(seesDefault, name) {
				t.Errorf("%s: %s sees the default version %q", when, name, got.GetDefaultVersion())
			}
			list, err := f.ListApis(ctx, &catalogv1.ListApisRequest{}, who)
			if err != nil || (len(list.GetApis()) == 1) != slices.Contains(seesAPI, name) {
				t.Errorf("%s: ListApis by %s = %v, %v", when, name, list, err)
			}
			var want []string
			for v, who := range map[*catalogv1.Version][]string{v1: seesV1, v2: seesV2} {
				_, err := f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: v.GetName()}, everyone[name])
				if (err == nil) != slices.Contains(who, name) {
					t.Errorf("%s: GetVersion(%s) by %s = %v", when, v.GetVersion(), name, err)
				}
				if err != nil {
					wantError(t, "GetVersion by "+name, err, codes.NotFound, v.GetName()+" not found")
				}
				if slices.Contains(who, name) {
					want = append(want, v.GetName())
				}
			}
			slices.Sort(want)
			versions, err := f.ListVersions(ctx, &catalogv1.ListVersionsRequest{Parent: "apis/-"}, who)
			if err != nil || !slices.Equal(names(versions.GetVersions()), want) {
				t.Errorf("%s: ListVersions(apis/-) by %s = %v, %v, want %v", when, name, versions, err, want)
			}
			versions, err = f.ListVersions(ctx, &catalogv1.ListVersionsRequest{Parent: a.GetName()}, who)
			if slices.Contains(seesAPI, name) {
				if err != nil || !slices.Equal(names(versions.GetVersions()), want) {
					t.Errorf("%s: ListVersions by %s = %v, %v, want %v", when, name, versions, err, want)
				}
			} else {
				wantError(t, "ListVersions by "+name, err, codes.NotFound, a.GetName()+" not found")
			}
		}
	}
	all := []string{"ann", "bob", "cara", "pete", "sue", "root"}
	publishers := []string{"ann", "root", "pete"} // who publishes sees what waits for it
	check("created", publishers, publishers, publishers, publishers)
	f.publish(v1)
	check("one published", all, all, publishers, publishers)
	f.publish(v2)
	check("both published", all, all, all, all)
	f.demote(v1)
	f.demote(v2)
	check("demoted", publishers, publishers, publishers, publishers)
}

func TestListApis(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	var want []string
	for i := range 7 {
		want = append(want, f.api(fmt.Sprintf("Api%d", i)).GetName())
	}
	var got []string
	token := ""
	for pages := 0; ; pages++ {
		list, err := f.ListApis(ctx, &catalogv1.ListApisRequest{PageSize: 3, PageToken: token}, f.ann)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range list.GetApis() {
			got = append(got, a.GetName())
		}
		if token = list.GetNextPageToken(); token == "" {
			if pages != 2 {
				t.Errorf("7 APIs took %d pages of 3", pages+1)
			}
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("ListApis = %v, want %v", got, want)
	}
	for filter, n := range map[string]int{
		`display_name = "aPI3"`:                             1,
		`context = "/api3" AND owner = "users/ann"`:         1,
		`context = "/API3"`:                                 0,
		`owner="users/bob"`:                                 0,
		`display_name = "api3" AND context = "/api4"`:       0,
		`display_name = "` + strings.Repeat("x", 900) + `"`: 0,
		`display_name = "\"quoted\" \\ ' OR 1=1 --"`:        0,
		`  owner  =  "users/ann"  `:                         7,
		`owner = "users/me"`:                                7,
		`owner = "users/me" AND context = "/api3"`:          1,
	} {
		list, err := f.ListApis(ctx, &catalogv1.ListApisRequest{Filter: filter}, f.ann)
		if err != nil || len(list.GetApis()) != n {
			t.Errorf("ListApis(%s) = %d, %v, want %d", filter, len(list.GetApis()), err, n)
		}
	}
	list, err := f.ListApis(ctx, &catalogv1.ListApisRequest{Filter: `owner = "users/me"`}, f.root)
	if err != nil || len(list.GetApis()) != 0 {
		t.Errorf("ListApis of the administrator's own = %v, %v, want none", list, err)
	}
}

func TestOneOfManyUpdatesWins(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		a := f.api("Echo")
		v := f.version(a, "1.0.0")
		gold, err := f.GetPlan(ctx, &catalogv1.GetPlanRequest{Name: "plans/gold"}, f.root)
		if err != nil {
			t.Fatal(err)
		}
		race(t, "UpdateApi", func(i int) error {
			_, err := f.UpdateApi(ctx, &catalogv1.UpdateApiRequest{
				Api: &catalogv1.Api{Name: a.GetName(), Etag: a.GetEtag(), Description: fmt.Sprint(i)},
			}, f.ann)
			return err
		})
		race(t, "UpdateVersion", func(i int) error {
			_, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
				Version: &catalogv1.Version{Name: v.GetName(), Etag: v.GetEtag(), Description: fmt.Sprint(i)},
			}, f.ann)
			return err
		})
		race(t, "UpdatePlan", func(i int) error {
			_, err := f.UpdatePlan(ctx, &catalogv1.UpdatePlanRequest{
				Plan: &catalogv1.Plan{Name: gold.GetName(), Etag: gold.GetEtag(), Description: fmt.Sprint(i)},
			}, f.root)
			return err
		})
	})
}
