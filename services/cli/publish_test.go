package cli

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// seenCatalog has one version, whose endpoints its publisher does not see once it is
// published, and keeps the etags that it was sent.
type seenCatalog struct {
	catalogv1.UnimplementedCatalogServiceServer
	etags []string
}

const seenVersion = "apis/1/versions/1"

func (s *seenCatalog) GetVersion(context.Context, *catalogv1.GetVersionRequest) (*catalogv1.Version, error) {
	return &catalogv1.Version{Name: seenVersion, Version: "1.0.0", Etag: "seen", Endpoints: &catalogv1.Endpoints{
		Production: endpoints([]string{"ws://production.example"}), Sandbox: endpoints([]string{"ws://sandbox.example"}),
	}}, nil
}

func (s *seenCatalog) PublishVersion(_ context.Context, req *catalogv1.PublishVersionRequest) (*catalogv1.Version, error) {
	s.etags = append(s.etags, "publish "+req.GetEtag())
	return &catalogv1.Version{Name: req.GetName(), Version: "1.0.0", State: catalogv1.Version_STATE_PUBLISHED}, nil
}

func (s *seenCatalog) DemoteVersion(_ context.Context, req *catalogv1.DemoteVersionRequest) (*catalogv1.Version, error) {
	s.etags = append(s.etags, "demote "+req.GetEtag())
	return &catalogv1.Version{Name: req.GetName(), Version: "1.0.0"}, nil
}

// TestWhatIsPublishedWasSeen: a version is published and demoted as it was read, and the
// endpoints that were published are shown.
func TestWhatIsPublishedWasSeen(t *testing.T) {
	t.Parallel()
	cat := &seenCatalog{}
	c := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, cat) }).signIn(t)
	stdout, stderr, code := c.run(t, "api", "publish", seenVersion)
	if code != 0 || !strings.Contains(stdout, "ws://production.example") || !strings.Contains(stdout, "ws://sandbox.example") {
		t.Errorf("api publish = %q, %q, %d, want the endpoints", stdout, stderr, code)
	}
	if _, stderr, code := c.run(t, "api", "demote", seenVersion); code != 0 {
		t.Errorf("api demote = %q, %d", stderr, code)
	}
	if got := strings.Join(cat.etags, ", "); got != "publish seen, demote seen" {
		t.Errorf("the etags sent are %q", got)
	}
}
