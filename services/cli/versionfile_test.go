package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// ferry has the API Ferry with the version 1.0.0.
type ferry struct {
	catalogv1.UnimplementedCatalogServiceServer
}

func (ferry) ListApis(_ context.Context, req *catalogv1.ListApisRequest) (*catalogv1.ListApisResponse, error) {
	if req.GetFilter() != `display_name = "Ferry"` {
		return &catalogv1.ListApisResponse{}, nil
	}
	return &catalogv1.ListApisResponse{Apis: []*catalogv1.Api{{Name: "apis/1", DisplayName: "Ferry"}}}, nil
}

func (ferry) GetApi(context.Context, *catalogv1.GetApiRequest) (*catalogv1.Api, error) {
	return &catalogv1.Api{Name: "apis/1", DisplayName: "Ferry"}, nil
}

func (ferry) ListVersions(context.Context, *catalogv1.ListVersionsRequest) (*catalogv1.ListVersionsResponse, error) {
	return &catalogv1.ListVersionsResponse{Versions: []*catalogv1.Version{{Name: "apis/1/versions/2", Version: "1.0.0"}}}, nil
}

func (ferry) GetVersion(context.Context, *catalogv1.GetVersionRequest) (*catalogv1.Version, error) {
	return &catalogv1.Version{Name: "apis/1/versions/2", Version: "1.0.0"}, nil
}

// filed is a catalog with one version and the plan Gold, which notes what it is asked for.
type filed struct {
	ferry
	created *catalogv1.CreateVersionRequest
	updated *catalogv1.UpdateVersionRequest
}

func (f *filed) GetVersion(context.Context, *catalogv1.GetVersionRequest) (*catalogv1.Version, error) {
	return &catalogv1.Version{Name: "apis/1/versions/2", Version: "1.0.0", Etag: "7"}, nil
}

func (f *filed) ListVersions(ctx context.Context, _ *catalogv1.ListVersionsRequest) (*catalogv1.ListVersionsResponse, error) {
	v, err := f.GetVersion(ctx, nil)
	return &catalogv1.ListVersionsResponse{Versions: []*catalogv1.Version{v}}, err
}

func (f *filed) ListPlans(_ context.Context, req *catalogv1.ListPlansRequest) (*catalogv1.ListPlansResponse, error) {
	if req.GetFilter() != `display_name = "Gold"` {
		return &catalogv1.ListPlansResponse{}, nil
	}
	return &catalogv1.ListPlansResponse{Plans: []*catalogv1.Plan{{Name: "plans/gold", DisplayName: "Gold"}}}, nil
}

func (f *filed) CreateVersion(_ context.Context, req *catalogv1.CreateVersionRequest) (*catalogv1.Version, error) {
	f.created = req
	return req.GetVersion(), nil
}

func (f *filed) UpdateVersion(_ context.Context, req *catalogv1.UpdateVersionRequest) (*catalogv1.Version, error) {
	f.updated = req
	return req.GetVersion(), nil
}

// TestVersionFile: what a file says is what the server is asked for, under the names of REST
// and of the protos; what only the server sets is no part of a change.
func TestVersionFile(t *testing.T) {
	t.Parallel()
	s := &filed{}
	c := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, s) }).signIn(t)
	file := filepath.Join(t.TempDir(), "version.yaml")
	text := "name: apis/1/versions/2\nversion: 1.0.0\nstate: STATE_PUBLISHED\naddresses: ['ws://x']\nwarnings: []\ncreateTime: null\netag: '5'\n" +
		"plans: [Gold]\nmax_session_age: 90s\nidleTimeout: null\ntags: []\nendpoints: {production: [{url: 'ws://b'}]}\ntrafficPlan: Gold\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := &catalogv1.Version{
		Name: "apis/1/versions/2", Version: "1.0.0", State: catalogv1.Version_STATE_PUBLISHED, Addresses: []string{"ws://x"}, Etag: "5",
		Plans: []string{"plans/gold"}, MaxSessionAge: durationpb.New(90e9), Endpoints: &catalogv1.Endpoints{Production: endpoints([]string{"ws://b"})}, TrafficPlan: "plans/gold",
	}
	_, stderr, code := c.run(t, "api", "version", "update", "Ferry/1.0.0", "-f", file)
	wantUpdate := &catalogv1.UpdateVersionRequest{Version: want, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{
		"endpoints", "idle_timeout", "max_session_age", "plans", "tags", "traffic_plan",
	}}}
	if diff := cmp.Diff(wantUpdate, s.updated, protocmp.Transform()); diff != "" || code != 0 {
		t.Errorf("api version update = %d, %q (-want +got):\n%s", code, stderr, diff)
	}
	c.stdin = strings.NewReader("description: Quick.\n")
	if _, stderr, code = c.run(t, "api", "version", "update", "Ferry/1.0.0", "-f", "-"); code != 0 || s.updated.GetVersion().GetEtag() != "7" {
		t.Errorf("without an etag = %d, %q, and the server was asked for %v, want the current one", code, stderr, s.updated)
	}
	_, stderr, code = c.run(t, "api", "version", "create", "Ferry", "2.0.0", "-f", file)
	want.Name, want.Etag, want.Version = "", "", "2.0.0"
	if diff := cmp.Diff(want, s.created.GetVersion(), protocmp.Transform()); diff != "" || code != 0 {
		t.Errorf("api version create = %d, %q (-want +got):\n%s", code, stderr, diff)
	}
}

// TestWrongVersionFiles: what is wrong with a file is said with its place, before the server is
// asked to change anything.
func TestWrongVersionFiles(t *testing.T) {
	t.Parallel()
	s := &filed{}
	c := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, s) }).signIn(t)
	for _, x := range []struct {
		args, stdin, want string
		code              int
	}{
		{"update Ferry/1.0.0 -f -", "", "--file: -: has no version: it needs fields such as endpoints and plans", 1},
		{"update Ferry/1.0.0 -f -", "tag: [x]", `--file: -: unknown field "tag"`, 1},
		{"update Ferry/1.0.0 -f -", "endpoints: {produced: []}", `--file: -: endpoints: unknown field "produced"`, 1},
		{"update Ferry/1.0.0 -f -", "max_session_age: 10m", `--file: -: max_session_age: invalid google.protobuf.Duration value "10m"`, 1},
		{"update Ferry/1.0.0 -f -", "max_session_age: 1s\nmaxSessionAge: 2s", "--file: -: max_session_age: is there twice, as max_session_age and maxSessionAge", 1},
		{"update Ferry/1.0.0 -f -", "plans: [Tin]", `--file: -: plans: there is no plan "Tin" that you may see; list them with: tidegate plan list`, 1},
		{"update Ferry/1.0.0 -f -", "traffic_plan: Tin", `--file: -: traffic_plan: there is no plan "Tin" that you may see; list them with: tidegate plan list`, 1},
		{"update Ferry/1.0.0 -f -", "name: apis/1/versions/3\ntags: []", "--file: - has the name apis/1/versions/3, and that of VERSION is apis/1/versions/2", 2},
		{"update Ferry/1.0.0 -f -", "version: 2.0.0\ntags: []", "--file: - has the version 2.0.0, and that of VERSION is 1.0.0", 2},
		{"update Ferry/1.0.0 --tag x -f -", "tags: []", "--file: says all of the version; give it, or other flags", 2},
		{"create Ferry 2.0.0 --endpoint ws://b -f -", "tags: []", "--file: says all of the version; give it, or other flags", 2},
		{"create Ferry 2.0.0 --idle-timeout 1m -f -", "tags: []", "--file: says all of the version; give it, or other flags", 2},
	} {
		args := strings.Fields(x.args)
		c.stdin = strings.NewReader(x.stdin)
		stdout, stderr, code := c.run(t, append([]string{"api", "version"}, args...)...)
		if want := "tidegate: api version " + args[0] + ": " + x.want + "\n"; stderr != want || code != x.code || stdout != "" {
			t.Errorf("tidegate api version %s with %q:\n %q, %q, %d\nwant %q, %d", x.args, x.stdin, stdout, stderr, code, want, x.code)
		}
	}
	if s.created != nil || s.updated != nil {
		t.Errorf("the server was asked for %v and %v", s.created, s.updated)
	}
}
