package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestHTTPFlags: what is given is changed, beside what was there before; without an endpoint
// there is no HTTP.
func TestHTTPFlags(t *testing.T) {
	t.Parallel()
	was := func() *catalogv1.HTTPOptions {
		return &catalogv1.HTTPOptions{
			Endpoints: &catalogv1.Endpoints{
				Production:  endpoints([]string{"http://a"}),
				HealthCheck: &catalogv1.HealthCheck{Kind: catalogv1.HealthCheck_KIND_HTTP, HttpPath: "/old", UnhealthyAfter: 2},
			},
			Security: []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}},
			Cors:     catalogv1.HTTPOptions_CORS_BACKEND, MaxBodyBytes: 7, Timeout: durationpb.New(time.Minute),
		}
	}
	with := func(change func(*catalogv1.HTTPOptions)) *catalogv1.HTTPOptions {
		h := was()
		change(h)
		return h
	}
	s := &balanced{}
	c := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, s) }).signIn(t)
	update := func(flags string) (string, int) {
		_, stderr, code := c.run(t, append([]string{"api", "version", "update", "apis/a/versions/1"}, strings.Fields(flags)...)...)
		return stderr, code
	}
	for _, tt := range []struct {
		flags     string
		was, want *catalogv1.HTTPOptions
	}{
		{"--http-endpoint http://a --http-endpoint https://b --sandbox-http-endpoint http://s", nil, &catalogv1.HTTPOptions{
			Endpoints: &catalogv1.Endpoints{Production: endpoints([]string{"http://a", "https://b"}), Sandbox: endpoints([]string{"http://s"})},
		}},
		{"--http-endpoint http://z", was(), with(func(h *catalogv1.HTTPOptions) { h.Endpoints.Production = endpoints([]string{"http://z"}) })},
		{"--http-endpoint= --sandbox-http-endpoint http://s", was(), with(func(h *catalogv1.HTTPOptions) {
			h.Endpoints.Production, h.Endpoints.Sandbox = nil, endpoints([]string{"http://s"})
		})},
		{"--http-endpoint=", was(), nil},
		{"--http-security api-key --http-key-place cookie:sid", was(), with(func(h *catalogv1.HTTPOptions) {
			key := &catalogv1.APIKeyScheme{Places: []*catalogv1.CredentialPlace{{Place: &catalogv1.CredentialPlace_Cookie{Cookie: &catalogv1.CookiePlace{Name: "sid"}}}}}
			h.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: key}}}
		})},
		{"--http-security socket", was(), with(func(h *catalogv1.HTTPOptions) { h.Security = nil })},
		{"--http-cors gateway --http-max-body 1MiB --http-timeout 2m", was(), with(func(h *catalogv1.HTTPOptions) {
			h.Cors, h.MaxBodyBytes, h.Timeout = catalogv1.HTTPOptions_CORS_GATEWAY, 1<<20, durationpb.New(2*time.Minute)
		})},
		{"--http-max-body 0 --http-timeout 0s", was(), with(func(h *catalogv1.HTTPOptions) { h.MaxBodyBytes, h.Timeout = 0, nil })},
		{"--http-health-check /new", was(), with(func(h *catalogv1.HTTPOptions) { h.Endpoints.HealthCheck.HttpPath = "/new" })},
		{"--http-health-interval 1m --http-health-timeout 2s --http-healthy-after 2 --http-unhealthy-after 4", was(), with(func(h *catalogv1.HTTPOptions) {
			c := h.Endpoints.HealthCheck
			c.Interval, c.Timeout, c.HealthyAfter, c.UnhealthyAfter = durationpb.New(time.Minute), durationpb.New(2*time.Second), 2, 4
		})},
		{"--http-suspend-after 2 --http-suspend-first 2s --http-suspend-longest 1m --http-suspend-factor 1.5 --http-backend-dial 3s", was(), with(func(h *catalogv1.HTTPOptions) {
			h.Endpoints.Suspension = &catalogv1.Suspension{Failures: 2, First: durationpb.New(2 * time.Second), Longest: durationpb.New(time.Minute), Factor: 1.5}
			h.Endpoints.Timeouts = &catalogv1.Timeouts{Dial: durationpb.New(3 * time.Second)}
		})},
		{"--http-health-check off", was(), with(func(h *catalogv1.HTTPOptions) { h.Endpoints.HealthCheck = nil })},
	} {
		s.http, s.change = tt.was, nil
		if stderr, code := update(tt.flags); code != 0 || strings.Join(s.change.GetUpdateMask().GetPaths(), " ") != "http" {
			t.Errorf("%s = %q, %d, and changes %v, want http", tt.flags, stderr, code, s.change.GetUpdateMask().GetPaths())
		}
		if diff := cmp.Diff(tt.want, s.change.GetVersion().GetHttp(), protocmp.Transform()); diff != "" {
			t.Errorf("%s (- want, + got):\n%s", tt.flags, diff)
		}
	}
	for flags, want := range map[string]string{
		"--http-cors nobody":                                 "--http-cors: must be gateway or backend",
		"--http-max-body much":                               "--http-max-body: ",
		"--http-place nowhere":                               `--http-place: "nowhere"`,
		"--http-security none --http-place header:X":         "--http-place: is for --http-security oauth2, not for none",
		"--http-security oauth2 --http-key-place header:X":   "--http-key-place: is for --http-security api-key",
		"--http-security socket --http-place header:X":       "--http-place: is for --http-security oauth2, not for socket",
		"--http-security socket,oauth2":                      "--http-security: socket stands alone, without places",
		"--http-health-check healthz --http-endpoint http:":  "--http-health-check: must be a path such as /healthz, or off",
		"--http-endpoint http://a --http-health-interval 5s": "--http-health-check: is needed, as --http-health-check /healthz",
		"--http-suspend-after 2":                             "--http-endpoint: is needed with the other flags of --http-",
		"--http-timeout 5s":                                  "--http-endpoint: is needed with the other flags of --http-, as --http-endpoint http://localhost:8080",
	} {
		s.http, s.change = nil, nil
		if stderr, code := update(flags); code != exitUsage || !strings.Contains(stderr, want) || s.change != nil {
			t.Errorf("%s = %q, %d, and changes %v, want %q and %d", flags, stderr, code, s.change, want, exitUsage)
		}
	}
}

// TestShowHTTP shows what is said of plain requests, and where they go.
func TestShowHTTP(t *testing.T) {
	t.Parallel()
	s := &balanced{http: &catalogv1.HTTPOptions{
		Endpoints: &catalogv1.Endpoints{Production: endpoints([]string{"http://a"})}, Cors: catalogv1.HTTPOptions_CORS_BACKEND,
		MaxBodyBytes: 1 << 20, Timeout: durationpb.New(time.Minute), Addresses: []string{"http://gw/a/1", "https://gw/a/1"},
	}}
	c := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, s) }).signIn(t)
	stdout, stderr, code := c.run(t, "api", "version", "get", "apis/a/versions/1")
	got := strings.Join(strings.Fields(stdout), " ")
	for _, want := range []string{
		"HTTP endpoint http://a", "HTTP security as for the socket", "HTTP CORS backend", "Greatest HTTP body 1 MiB", "Time-out of HTTP 1m0s",
		"HTTP address http://gw/a/1 HTTP address https://gw/a/1",
	} {
		if !strings.Contains(got, want) || code != 0 {
			t.Errorf("api version get = %q, %q, %d, want %q in it", got, stderr, code, want)
		}
	}
}
