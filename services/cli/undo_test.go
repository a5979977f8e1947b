package cli

import (
	"context"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// slowCatalog makes what it is told to, calls publish and never answers when it
// is to publish, and keeps what it was asked for.
type slowCatalog struct {
	catalogv1.UnimplementedCatalogServiceServer
	publish func()
	stuck   bool // what was made cannot be deleted

	mu    sync.Mutex
	asked []string
}

func (s *slowCatalog) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, what)
}

func (s *slowCatalog) ListApis(context.Context, *catalogv1.ListApisRequest) (*catalogv1.ListApisResponse, error) {
	return &catalogv1.ListApisResponse{Apis: []*catalogv1.Api{{Name: "apis/1", DisplayName: "Slow"}}}, nil
}

func (s *slowCatalog) CreateApi(context.Context, *catalogv1.CreateApiRequest) (*catalogv1.Api, error) {
	s.note("CreateApi")
	return &catalogv1.Api{Name: "apis/1"}, nil
}

func (s *slowCatalog) CreateVersion(context.Context, *catalogv1.CreateVersionRequest) (*catalogv1.Version, error) {
	s.note("CreateVersion")
	return &catalogv1.Version{Name: "apis/1/versions/1", Version: "1.0.0"}, nil
}

func (s *slowCatalog) PublishVersion(ctx context.Context, _ *catalogv1.PublishVersionRequest) (*catalogv1.Version, error) {
	s.note("PublishVersion")
	s.publish()
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s *slowCatalog) DemoteVersion(_ context.Context, req *catalogv1.DemoteVersionRequest) (*catalogv1.Version, error) {
	s.note("DemoteVersion")
	return &catalogv1.Version{Name: req.GetName()}, nil
}

func (s *slowCatalog) DeleteApi(_ context.Context, req *catalogv1.DeleteApiRequest) (*emptypb.Empty, error) {
	return s.delete(req.GetName())
}

func (s *slowCatalog) DeleteVersion(_ context.Context, req *catalogv1.DeleteVersionRequest) (*emptypb.Empty, error) {
	return s.delete(req.GetName())
}

func (s *slowCatalog) delete(name string) (*emptypb.Empty, error) {
	s.note("delete " + name)
	if s.stuck {
		return nil, status.Error(codes.Aborted, "it is stuck")
	}
	return &emptypb.Empty{}, nil
}

// TestUndo interrupts commands half-way: what they have made is taken back all
// the same, and where it is not, that is said.
func TestUndo(t *testing.T) {
	t.Parallel()
	create := []string{"api", "create", "Slow"}
	version := []string{"api", "version", "create", "Slow", "1.0.0"}
	for _, x := range []struct {
		args  []string
		stuck bool
		said  string
		asked []string
	}{
		{create, false, "tidegate: api create: interrupted\n",
			[]string{"CreateApi", "CreateVersion", "PublishVersion", "DemoteVersion", "delete apis/1"}},
		{create, true, "tidegate: api create: interrupted; Slow was created and could not be deleted again: it is stuck\n",
			[]string{"CreateApi", "CreateVersion", "PublishVersion", "DemoteVersion", "delete apis/1"}},
		{version, false, "tidegate: api version create: interrupted\n",
			[]string{"CreateVersion", "PublishVersion", "DemoteVersion", "delete apis/1/versions/1"}},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		cat := &slowCatalog{publish: interrupt, stuck: x.stuck}
		f := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, cat) })
		c := f.signIn(t)
		c.ctx = ctx
		args := append(slices.Clip(x.args), "--endpoint", "ws://h", "--security", "none", "--publish")
		_, stderr, code := c.run(t, args...)
		if stderr != x.said || code != 1 {
			t.Errorf("tidegate %q = %q, %d, want %q, 1", args, stderr, code, x.said)
		}
		if !slices.Equal(cat.asked, x.asked) {
			t.Errorf("tidegate %q asks for %q, want %q", args, cat.asked, x.asked)
		}
	}
}

func (f *fakeServer) ListApplications(context.Context, *subscriptionv1.ListApplicationsRequest) (*subscriptionv1.ListApplicationsResponse, error) {
	return &subscriptionv1.ListApplicationsResponse{
		Applications: []*subscriptionv1.Application{{Name: "applications/1", DisplayName: "Phone"}},
	}, nil
}

func (f *fakeServer) CreateOAuthClient(_ context.Context, req *subscriptionv1.CreateOAuthClientRequest) (*subscriptionv1.OAuthClient, error) {
	return &subscriptionv1.OAuthClient{Name: req.GetParent() + "/oauthClients/1", Stage: req.GetOauthClient().GetStage()}, nil
}

func (f *fakeServer) CreateOAuthClientSecret(context.Context, *subscriptionv1.CreateOAuthClientSecretRequest) (*subscriptionv1.OAuthClientSecret, error) {
	return nil, status.Error(codes.FailedPrecondition, "no secret for you")
}

func (f *fakeServer) DeleteOAuthClient(_ context.Context, req *subscriptionv1.DeleteOAuthClientRequest) (*emptypb.Empty, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deleted = append(f.deleted, req.GetName())
	return &emptypb.Empty{}, nil
}

// TestUndoOAuthClient makes an OAuth client that gets no secret: it is taken back.
func TestUndoOAuthClient(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t)
	c := f.signIn(t)
	stdout, stderr, code := c.run(t, "oauth-client", "create", "Phone")
	if want := "tidegate: oauth-client create: no secret for you\n"; stdout != "" || stderr != want || code != 1 {
		t.Errorf("oauth-client create = %q, %q, %d, want %q, 1", stdout, stderr, code, want)
	}
	if want := []string{"applications/1/oauthClients/1"}; !slices.Equal(f.deleted, want) {
		t.Errorf("deleted %q, want %q", f.deleted, want)
	}
}
