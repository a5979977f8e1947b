package cli

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// copied is a catalog with one version, which notes what is asked of it, and refuses changes.
type copied struct {
	catalogv1.UnimplementedCatalogServiceServer
	further []*catalogv1.FurtherAddress
	asked   []string
}

func (c *copied) GetApi(_ context.Context, req *catalogv1.GetApiRequest) (*catalogv1.Api, error) {
	return &catalogv1.Api{Name: req.GetName(), DisplayName: "Echo"}, nil
}

func (c *copied) ListVersions(context.Context, *catalogv1.ListVersionsRequest) (*catalogv1.ListVersionsResponse, error) {
	return &catalogv1.ListVersionsResponse{Versions: []*catalogv1.Version{{Name: "apis/a/versions/1", Version: "1.0.0", FurtherAddresses: c.further}}}, nil
}

func (c *copied) CreateVersion(_ context.Context, req *catalogv1.CreateVersionRequest) (*catalogv1.Version, error) {
	c.asked = append(c.asked, "create "+req.GetVersion().GetVersion()+" from "+req.GetSourceVersion())
	return &catalogv1.Version{Name: "apis/a/versions/2", Version: "2.0.0", Etag: "7"}, nil
}

func (c *copied) UpdateVersion(_ context.Context, req *catalogv1.UpdateVersionRequest) (*catalogv1.Version, error) {
	c.asked = append(c.asked, "update "+req.GetVersion().GetName()+" "+req.GetVersion().GetEtag()+" "+strings.Join(req.GetUpdateMask().GetPaths(), " "))
	return nil, status.Error(codes.InvalidArgument, "version.tags: must not be so")
}

func (c *copied) DemoteVersion(context.Context, *catalogv1.DemoteVersionRequest) (*catalogv1.Version, error) {
	return nil, status.Error(codes.FailedPrecondition, "it is not published")
}

func (c *copied) DeleteVersion(_ context.Context, req *catalogv1.DeleteVersionRequest) (*emptypb.Empty, error) {
	c.asked = append(c.asked, "delete "+req.GetName())
	return &emptypb.Empty{}, nil
}

// TestCopyOfVersion: what is wrong with the flags is found before a copy is made, and a copy
// whose change is refused is deleted.
func TestCopyOfVersion(t *testing.T) {
	t.Parallel()
	s := &copied{}
	c := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, s) }).signIn(t)
	for _, tt := range []struct {
		flags, want string
		asked       []string
	}{
		{"--health-interval 1s", "--health-check: is needed", nil},
		{"--backend-of sandbox", "--backend-of: is for flags such as", nil},
		{"--http-cors backend", "--http-endpoint: is needed", nil},
		{"--tag x --no-deflate", "tags: must not be so", []string{
			"create 2.0.0 from apis/a/versions/1", "update apis/a/versions/2 7 tags deflate", "delete apis/a/versions/2",
		}},
	} {
		s.asked = nil
		stdout, stderr, code := c.run(t, append([]string{"api", "version", "create", "apis/a", "2.0.0", "--from", "1.0.0"}, strings.Fields(tt.flags)...)...)
		if code == 0 || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s = %q, %q, %d, want %q", tt.flags, stdout, stderr, code, tt.want)
		}
		if !slices.Equal(s.asked, tt.asked) {
			t.Errorf("%s asks for %q, want %q", tt.flags, s.asked, tt.asked)
		}
	}
}

// TestListedAddresses: a list of versions shows further addresses as --address takes them.
func TestListedAddresses(t *testing.T) {
	t.Parallel()
	s := &copied{further: []*catalogv1.FurtherAddress{
		{Prefix: "/cable", Serves: catalogv1.FurtherAddress_SERVES_SOCKET, KeepPrefix: true}, {Host: "chat.example.com"},
	}}
	c := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, s) }).signIn(t)
	stdout, stderr, code := c.run(t, "api", "version", "list", "apis/a")
	if want := "/cable,socket,keep chat.example.com  apis/a/versions/1\n"; code != 0 || !strings.Contains(stdout, "FURTHER ADDRESSES") || !strings.HasSuffix(stdout, want) {
		t.Errorf("api version list = %d, %s%s, want %q in its last row", code, stdout, stderr, want)
	}
	s.further = nil
	if stdout, _, _ = c.run(t, "api", "version", "list", "apis/a"); !strings.HasSuffix(stdout, "-                  apis/a/versions/1\n") {
		t.Errorf("api version list without further addresses =\n%s", stdout)
	}
}
