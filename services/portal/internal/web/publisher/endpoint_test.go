package publisher_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// endpointHealth shows the owner what gateways know of endpoints, again and again, and nobody
// else.
func endpointHealth(t *testing.T, s *webtest.Tidegate) {
	backend := echo(t)
	b := publish(t, s, "hedy", func(v *catalogv1.Version) {
		v.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}}
		v.Endpoints.Production = []*catalogv1.Endpoint{
			{Endpoint: &catalogv1.Endpoint_Url{Url: "ws://127.0.0.1:1"}}, {Endpoint: &catalogv1.Endpoint_Url{Url: backend}},
		}
		v.Endpoints.Suspension = &catalogv1.Suspension{First: durationpb.New(time.Hour), Longest: durationpb.New(time.Hour)}
	})
	want(t, b.Open(b.base+"/endpoint"), http.StatusOK, "ws://127.0.0.1:1 Healthy 0 none", backend+" Healthy 0 none")
	b.follows(t, true)
	connect(t, s.WS+"/tides-of-hedy/1.0.0")
	connect(t, s.WS+"/tides-of-hedy/1.0.0")
	want(t, b.Open(b.base+"/endpoint"), http.StatusOK, "ws://127.0.0.1:1 Suspended until "+time.Now().UTC().Format("2 Jan 2006"), "0 the backend cannot be reached", backend+" Healthy 2 none")
	want(t, b.Click("Pause"), http.StatusOK, "Suspended")
	b.follows(t, false)
	want(t, b.Click("Follow"), http.StatusOK, "Suspended")
	b.follows(t, true)
	want(t, b.Submit("Test connection"), http.StatusOK, "ws://127.0.0.1:1 Failed at TCP", backend+" Connected")
	other := s.User(t, "hal", ui.Creator, ui.Publisher)
	if p := other.Open(b.base + "/endpoint"); p.Status != http.StatusOK || p.Has("Suspended") || len(p.Attributes("hx-get")) > 0 {
		t.Errorf("another publisher sees what gateways know: %d\n%s", p.Status, p.Text())
	}
}

// endpointSettings changes how gateways check endpoints, suspend them and wait for them.
func endpointSettings(t *testing.T, s *webtest.Tidegate) {
	b := publish(t, s, "seth", nil)
	catalog, ctx := catalogv1.NewCatalogServiceClient(s.Conn), s.As(t, "seth", webtest.UserPassword)
	stored := func() *catalogv1.Endpoints {
		t.Helper()
		v, err := catalog.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: b.name})
		if err != nil {
			t.Fatal(err)
		}
		return &catalogv1.Endpoints{HealthCheck: v.GetEndpoints().GetHealthCheck(), Suspension: v.GetEndpoints().GetSuspension(), Timeouts: v.GetEndpoints().GetTimeouts()}
	}
	b.Open(b.base + "/endpoint")
	for _, tt := range []struct{ at, entries string }{
		{"health_path", "health=HTTP"}, {"health_path", "health=WEBSOCKET health_path=/healthz"}, {"health_path", "health=HTTP health_path=healthz"},
		{"health_interval", "health_interval=5s"}, {"health_interval", "health=WEBSOCKET health_interval=2h"}, {"health_timeout", "health=WEBSOCKET health_timeout=soon"},
		{"healthy_after", "health=WEBSOCKET healthy_after=11"}, {"unhealthy_after", "health=WEBSOCKET unhealthy_after=0"},
		{"failures", "failures=101"}, {"first", "first=2h"}, {"longest", "longest=1ms"}, {"factor", "factor=much"}, {"factor", "factor=11"},
		{"dial", "dial=2min"}, {"handshake", "handshake=-1s"},
	} {
		form := b.Tab()
		form.Open(b.base + "/endpoint")
		var entries []string
		for entry := range strings.FieldsSeq(tt.entries) {
			name, value, _ := strings.Cut(entry, "=")
			entries = append(entries, name, value)
		}
		if p := form.Submit("Save", entries...); p.Status != http.StatusUnprocessableEntity || p.Error(tt.at) == "" {
			t.Errorf("%s: %d, %q\n%s", tt.entries, p.Status, p.Error(tt.at), p.Text())
		}
	}
	want(t, b.Submit("Save", "health", "HTTP", "health_path", "/healthz", "health_interval", "5 s", "health_timeout", "500ms", "healthy_after", "2", "unhealthy_after", "4",
		"failures", "3", "first", "2 s", "longest", "1 min", "factor", "1.5", "dial", "1 s", "handshake", "2 s"), http.StatusOK, "is saved")
	seconds := func(n int) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Second) }
	all := &catalogv1.Endpoints{
		HealthCheck: &catalogv1.HealthCheck{
			Kind: catalogv1.HealthCheck_KIND_HTTP, HttpPath: "/healthz", Interval: seconds(5), Timeout: durationpb.New(500 * time.Millisecond), HealthyAfter: 2, UnhealthyAfter: 4,
		},
		Suspension: &catalogv1.Suspension{Failures: 3, First: seconds(2), Longest: seconds(60), Factor: 1.5},
		Timeouts:   &catalogv1.Timeouts{Dial: seconds(1), Handshake: seconds(2)},
	}
	if got := stored(); !proto.Equal(got, all) {
		t.Errorf("stored is %v, want %v", got, all)
	}
	for name, value := range map[string]string{
		"health": "HTTP", "health_path": "/healthz", "health_interval": "5 s", "health_timeout": "500ms", "healthy_after": "2", "unhealthy_after": "4",
		"failures": "3", "first": "2 s", "longest": "1 min", "factor": "1.5", "dial": "1 s", "handshake": "2 s",
	} {
		if got := b.Page.Value(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	// What belongs to a check goes with it.
	want(t, b.Submit("Save", "health", "", "failures", "", "first", "", "longest", "", "factor", "", "dial", "", "handshake", ""), http.StatusOK, "is saved")
	if got := stored(); !proto.Equal(got, &catalogv1.Endpoints{}) {
		t.Errorf("stored is %v, want nothing", got)
	}
}
