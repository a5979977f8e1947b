package cli

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// lossyServer loses its first answers to CreatePlan.
type lossyServer struct {
	*plansServer
	lose int
	ids  []string
}

func (s *lossyServer) CreatePlan(ctx context.Context, req *catalogv1.CreatePlanRequest) (*catalogv1.Plan, error) {
	s.ids = append(s.ids, req.GetRequestId())
	if len(s.ids) <= s.lose {
		return nil, status.Error(codes.Unavailable, "lost")
	}
	return s.plansServer.CreatePlan(ctx, req)
}

// TestCreateIsSentAgain loses answers: a command sends its call once more, with the same
// request_id.
func TestCreateIsSentAgain(t *testing.T) {
	t.Parallel()
	for lost, want := range []struct{ calls, exit int }{{1, 0}, {2, 0}, {2, 1}} {
		s := &lossyServer{plansServer: newPlansServer(t), lose: lost}
		c := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, s) }).signIn(t)
		_, stderr, code := c.run(t, "plan", "create", "Lead", "--rate", "messages=1/1s")
		if len(s.ids) != want.calls || code != want.exit {
			t.Errorf("with %d answers lost: %d calls and exit status %d, %s, want %d and %d", lost, len(s.ids), code, stderr, want.calls, want.exit)
		}
		for _, id := range s.ids {
			if id == "" || id != s.ids[0] {
				t.Errorf("the request_ids are %q, want one UUID", s.ids)
			}
		}
	}
}
