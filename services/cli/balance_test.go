package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// balanced is a catalog with one version, which notes how it is to be changed.
type balanced struct {
	catalogv1.UnimplementedCatalogServiceServer
	was    *catalogv1.Endpoints
	http   *catalogv1.HTTPOptions
	change *catalogv1.UpdateVersionRequest // nil: it was not asked
}

func (b *balanced) GetVersion(_ context.Context, req *catalogv1.GetVersionRequest) (*catalogv1.Version, error) {
	return &catalogv1.Version{Name: req.GetName(), Endpoints: b.was, Http: b.http}, nil
}

func (b *balanced) UpdateVersion(_ context.Context, req *catalogv1.UpdateVersionRequest) (*catalogv1.Version, error) {
	b.change = req
	return req.GetVersion(), nil
}

// TestBalanceFlags: what is given is changed, beside what was there before; 0 and off are
// what holds by default.
func TestBalanceFlags(t *testing.T) {
	t.Parallel()
	seconds := func(n int) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Second) }
	was := func() *catalogv1.Endpoints {
		return &catalogv1.Endpoints{
			Production:  endpoints([]string{"ws://backend.example"}),
			HealthCheck: &catalogv1.HealthCheck{Kind: catalogv1.HealthCheck_KIND_HTTP, HttpPath: "/old", Interval: seconds(5), UnhealthyAfter: 2},
			Suspension:  &catalogv1.Suspension{Failures: 4, First: seconds(2)},
			Timeouts:    &catalogv1.Timeouts{Dial: seconds(9)},
		}
	}
	s := &balanced{}
	c := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, s) }).signIn(t)
	for _, tt := range []struct {
		flags string
		was   *catalogv1.Endpoints
		mask  string
		want  *catalogv1.Endpoints
	}{
		{"--health-check websocket", nil, "endpoints.health_check", &catalogv1.Endpoints{HealthCheck: &catalogv1.HealthCheck{Kind: catalogv1.HealthCheck_KIND_WEBSOCKET}}},
		{"--health-check /healthz --health-interval 1m --health-timeout 2s --healthy-after 2 --unhealthy-after 4", nil, "endpoints.health_check",
			&catalogv1.Endpoints{HealthCheck: &catalogv1.HealthCheck{
				Kind: catalogv1.HealthCheck_KIND_HTTP, HttpPath: "/healthz", Interval: seconds(60), Timeout: seconds(2), HealthyAfter: 2, UnhealthyAfter: 4,
			}}},
		{"--health-check websocket", was(), "endpoints.health_check",
			&catalogv1.Endpoints{HealthCheck: &catalogv1.HealthCheck{Kind: catalogv1.HealthCheck_KIND_WEBSOCKET, Interval: seconds(5), UnhealthyAfter: 2}}},
		{"--health-interval 0s --healthy-after 3", was(), "endpoints.health_check",
			&catalogv1.Endpoints{HealthCheck: &catalogv1.HealthCheck{Kind: catalogv1.HealthCheck_KIND_HTTP, HttpPath: "/old", HealthyAfter: 3, UnhealthyAfter: 2}}},
		{"--health-check off", was(), "endpoints.health_check", &catalogv1.Endpoints{}},
		{"--suspend-after 2 --suspend-longest 1m --suspend-factor 1.5", was(), "endpoints.suspension",
			&catalogv1.Endpoints{Suspension: &catalogv1.Suspension{Failures: 2, First: seconds(2), Longest: seconds(60), Factor: 1.5}}},
		{"--suspend-first 0s --backend-dial 0s --backend-handshake 3s", was(), "endpoints.suspension endpoints.timeouts",
			&catalogv1.Endpoints{Suspension: &catalogv1.Suspension{Failures: 4}, Timeouts: &catalogv1.Timeouts{Handshake: seconds(3)}}},
	} {
		s.was, s.change = tt.was, nil
		stdout, stderr, code := c.run(t, append([]string{"api", "version", "update", "apis/a/versions/1"}, strings.Fields(tt.flags)...)...)
		if code != 0 {
			t.Errorf("%s = %q, %q, %d", tt.flags, stdout, stderr, code)
			continue
		}
		if got := strings.Join(s.change.GetUpdateMask().GetPaths(), " "); got != tt.mask {
			t.Errorf("%s changes %q, want %q", tt.flags, got, tt.mask)
		}
		if diff := cmp.Diff(tt.want, s.change.GetVersion().GetEndpoints(), protocmp.Transform()); diff != "" {
			t.Errorf("%s (- want, + got):\n%s", tt.flags, diff)
		}
	}
	for flags, want := range map[string]string{
		"--health-check http":   "--health-check: must be websocket, a path such as /healthz, or off",
		"--health-interval 1m":  "--health-check: is needed, as --health-check websocket or --health-check /healthz",
		"--suspend-factor much": "--suspend-factor",
	} {
		s.was, s.change = nil, nil
		_, stderr, code := c.run(t, append([]string{"api", "version", "update", "apis/a/versions/1"}, strings.Fields(flags)...)...)
		if code != exitUsage || !strings.Contains(stderr, want) || s.change != nil {
			t.Errorf("%s = %q, %d, and changes %v, want %q and %d", flags, stderr, code, s.change, want, exitUsage)
		}
	}
}
