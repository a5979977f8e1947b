package cli

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// oneAPI has one API, and refuses to find plans.
type oneAPI struct {
	catalogv1.UnimplementedCatalogServiceServer
}

func (oneAPI) ListApis(context.Context, *catalogv1.ListApisRequest) (*catalogv1.ListApisResponse, error) {
	return &catalogv1.ListApisResponse{Apis: []*catalogv1.Api{{Name: "apis/1", DisplayName: "yes", Context: "/e: #1", Description: "a\nb \"c\" \u009b\u202e😀"}}}, nil
}

func (oneAPI) ListVersions(_ context.Context, req *catalogv1.ListVersionsRequest) (*catalogv1.ListVersionsResponse, error) {
	if req.GetParent() != "apis/-" {
		return &catalogv1.ListVersionsResponse{}, nil
	}
	return &catalogv1.ListVersionsResponse{Versions: []*catalogv1.Version{{Name: "apis/1/versions/2", Version: "1.0.0"}}}, nil
}

func (oneAPI) GetApi(context.Context, *catalogv1.GetApiRequest) (*catalogv1.Api, error) {
	return nil, status.Error(codes.NotFound, "no such API")
}

var full = &errdetails.ErrorInfo{Reason: "DATABASE_FULL", Domain: "tidegate"}

func (oneAPI) ListPlans(context.Context, *catalogv1.ListPlansRequest) (*catalogv1.ListPlansResponse, error) {
	st, err := status.New(codes.Unavailable, "the disk is full").WithDetails(full)
	if err != nil {
		return nil, err
	}
	return nil, st.Err()
}

// TestWholeObjects prints a list as JSON and as YAML: every field, in the same order,
// and text that YAML would take for something else in quotes.
func TestWholeObjects(t *testing.T) {
	t.Parallel()
	c := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, oneAPI{}) }).signIn(t)
	stdout, stderr, code := c.run(t, "api", "list", "-o", "json")
	var got catalogv1.ListApisResponse
	if err := protojson.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || stderr != "" {
		t.Fatalf("api list -o json = %q, %q, %d: %v", stdout, stderr, code, err)
	}
	want, err := oneAPI{}.ListApis(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
		t.Errorf("api list -o json (-want +got):\n%s", diff)
	}
	if !strings.Contains(stdout, `\u009b\u202e😀`) {
		t.Errorf("api list -o json could drive a terminal: %q", stdout)
	}
	stdout, stderr, code = c.run(t, "api", "list", "--output=yaml")
	start := "apis:\n  - name: apis/1\n"
	if code != 0 || stderr != "" || !strings.HasPrefix(stdout, start) {
		t.Fatalf("api list -o yaml = %q, %q, %d, want %q", stdout, stderr, code, start)
	}
	for _, line := range []string{"\n    displayName: \"yes\"\n", "\n    context: \"/e: #1\"\n", "\n    defaultVersionPaths: false\n", "\nnextPageToken: \"\"\n", `\x9B\u202e\U0001F600`} {
		if !strings.Contains(stdout, line) {
			t.Errorf("api list -o yaml has no %q:\n%s", line, stdout)
		}
	}
}

// offeredCatalog has one version, which offers a plan.
type offeredCatalog struct{ seenCatalog }

func (s *offeredCatalog) GetVersion(ctx context.Context, req *catalogv1.GetVersionRequest) (*catalogv1.Version, error) {
	v, err := s.seenCatalog.GetVersion(ctx, req)
	v.Plans = []string{"plans/1"}
	return v, err
}

func (f *fakeServer) CreateSubscription(context.Context, *subscriptionv1.CreateSubscriptionRequest) (*subscriptionv1.Subscription, error) {
	st, err := status.New(codes.AlreadyExists, "there is one").WithDetails(full)
	if err != nil {
		return nil, err
	}
	return nil, st.Err()
}

func (f *fakeServer) ListSubscriptions(context.Context, *subscriptionv1.ListSubscriptionsRequest) (*subscriptionv1.ListSubscriptionsResponse, error) {
	return &subscriptionv1.ListSubscriptionsResponse{}, nil
}

func (f *fakeServer) ListOAuthClients(context.Context, *subscriptionv1.ListOAuthClientsRequest) (*subscriptionv1.ListOAuthClientsResponse, error) {
	return &subscriptionv1.ListOAuthClientsResponse{}, nil
}

// TestErrorsAsObjects has commands fail: the error is a google.rpc.Status on standard
// error, with what the server said to programs, and with the same exit code.
func TestErrorsAsObjects(t *testing.T) {
	t.Parallel()
	c := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, oneAPI{}) }).signIn(t)
	detail, err := anypb.New(full)
	if err != nil {
		t.Fatal(err)
	}
	nobody := command{dir: t.TempDir()}
	taken := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, &offeredCatalog{}) }).signIn(t)
	for _, x := range []struct {
		command
		args []string
		want *statuspb.Status
		code int
	}{
		{c, []string{"plan", "list"}, &statuspb.Status{Code: 14, Message: "the disk is full; try again later", Details: []*anypb.Any{detail}}, 1},
		{c, []string{"api", "get", "apis/9"}, &statuspb.Status{Code: 5, Message: `API: there is no API "apis/9" that you may see; list them with: tidegate api list`}, 1},
		{taken, []string{"subscribe", "Phone", seenVersion}, &statuspb.Status{Code: 6, Message: "Phone is already subscribed to apis/1/1.0.0", Details: []*anypb.Any{detail}}, 1},
		{taken, []string{"subscription", "delete", "Phone", seenVersion}, &statuspb.Status{Code: 5, Message: "Phone is not subscribed to apis/1/1.0.0"}, 1},
		{taken, []string{"oauth-client", "delete", "Phone"}, &statuspb.Status{Code: 9, Message: "APP: Phone has no production OAuth client; create one with: tidegate oauth-client create Phone"}, 1},
		{nobody, []string{"whoami"}, &statuspb.Status{Code: 16, Message: "not signed in to localhost:9090; sign in with: tidegate login"}, 1},
		{nobody, []string{"whoami", "--server", "x"}, &statuspb.Status{Code: 3, Message: `--server: "x" is not host:port, such as localhost:9090`}, 2},
		{nobody, []string{"api", "lost"}, &statuspb.Status{Code: 3, Message: `unexpected argument lost, did you mean "list"?`}, 2},
		{nobody, []string{"whoami", "--ca", "/dev/null"}, &statuspb.Status{Code: 2, Message: "--ca: /dev/null has no certificate in it"}, 1},
	} {
		for _, flags := range [][]string{{"-o", "json"}, {"-ojson"}, {"--output", "json"}, {"--output=json"}} {
			stdout, stderr, code := x.run(t, append(x.args, flags...)...)
			var got statuspb.Status
			if err := protojson.Unmarshal([]byte(stderr), &got); err != nil || code != x.code || stdout != "" {
				t.Errorf("tidegate %q %q = %q, %q, %d: %v", x.args, flags, stdout, stderr, code, err)
				continue
			}
			if diff := cmp.Diff(x.want, &got, protocmp.Transform()); diff != "" {
				t.Errorf("tidegate %q %q (-want +got):\n%s", x.args, flags, diff)
			}
		}
	}
	_, stderr, code := c.run(t, "plan", "list", "-o", "yaml")
	want := "code: 14\nmessage: \"the disk is full; try again later\"\ndetails:\n  - \"@type\": type.googleapis.com/google.rpc.ErrorInfo\n    reason: DATABASE_FULL\n    domain: tidegate\n    metadata: {}\n"
	if stderr != want || code != 1 {
		t.Errorf("plan list -o yaml = %q, %d, want %q", stderr, code, want)
	}
}

// TestTextOfOthersDrivesNoTerminal prints what other users may have written.
func TestTextOfOthersDrivesNoTerminal(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "-",
		"plain, naïve, 日本語":         "plain, naïve, 日本語",
		"a\nb\tc":                   "a\ufffdb\ufffdc",
		"\x1b]0;title\x07":          "\ufffd]0;title\ufffd",
		"\u009b31m":                 "\ufffd31m",
		"safe\u202etxt.exe":         "safe\ufffdtxt.exe",
		"\u2066admin\u2069":         "\ufffdadmin\ufffd",
		"👩\u200d💻 joins, and stays": "👩\u200d💻 joins, and stays",
	} {
		if got := cell(text); got != want {
			t.Errorf("cell(%q) = %q, want %q", text, got, want)
		}
	}
}
