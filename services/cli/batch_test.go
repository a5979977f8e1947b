package cli

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// batchCatalog has the plans plans/a and plans/b, and notes how it is asked for them.
type batchCatalog struct {
	catalogv1.UnimplementedCatalogServiceServer
	asked []string
}

func (b *batchCatalog) ListPlans(_ context.Context, req *catalogv1.ListPlansRequest) (*catalogv1.ListPlansResponse, error) {
	b.asked = append(b.asked, req.GetFilter())
	return &catalogv1.ListPlansResponse{Plans: []*catalogv1.Plan{{Name: "plans/a", DisplayName: "A"}}}, nil
}

func (b *batchCatalog) BatchGetPlans(_ context.Context, req *catalogv1.BatchGetPlansRequest) (*catalogv1.BatchGetPlansResponse, error) {
	b.asked = append(b.asked, strings.Join(req.GetNames(), " "))
	answer := &catalogv1.BatchGetPlansResponse{}
	for _, name := range req.GetNames() {
		if slices.Contains([]string{"plans/a", "plans/b"}, name) {
			answer.Plans = append(answer.Plans, &catalogv1.Plan{Name: name, DisplayName: strings.ToUpper(name[len("plans/"):])})
		}
	}
	return answer, nil
}

// TestSeveralAtOnce reads several plans by one call, in the order of the arguments; only a
// display name takes a look-up.
func TestSeveralAtOnce(t *testing.T) {
	t.Parallel()
	cat := &batchCatalog{}
	c := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, cat) }).signIn(t)
	for _, x := range []struct{ args, stdout, stderr, asked string }{
		{"plans/b plans/a", "PLAN  LIMITS  PRICE  DESCRIPTION  NAME\nB     none    free   -            plans/b\nA     none    free   -            plans/a\n", "", "plans/b plans/a"},
		{"plans/b A", "PLAN  LIMITS  PRICE  DESCRIPTION  NAME\nB     none    free   -            plans/b\nA     none    free   -            plans/a\n", "", `display_name = "A", plans/b plans/a`},
		{"plans/c plans/b plans/d", "", `tidegate: plan get: PLAN: there are no plans "plans/c", "plans/d" that you may see; list them with: tidegate plan list` + "\n", "plans/c plans/b plans/d"},
		{"plans/UPPER plans/X", "", `tidegate: plan get: PLAN: there are no plans "plans/UPPER", "plans/X" that you may see; list them with: tidegate plan list` + "\n", ""},
		{"A plans/a", "", "tidegate: plan get: PLAN: A and plans/a are the same\n", `display_name = "A"`},
	} {
		cat.asked = nil
		stdout, stderr, _ := c.run(t, append([]string{"plan", "get"}, strings.Fields(x.args)...)...)
		if stdout != x.stdout || stderr != x.stderr {
			t.Errorf("plan get %s = %q, %q\nwant %q, %q", x.args, stdout, stderr, x.stdout, x.stderr)
		}
		if got := strings.Join(cat.asked, ", "); got != x.asked {
			t.Errorf("plan get %s asks %s, want %s", x.args, got, x.asked)
		}
	}
}
