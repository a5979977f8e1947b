package publisher_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// httpPage sets what becomes of plain requests, shows where they go, and takes it away again.
func httpPage(t *testing.T, s *webtest.Tidegate) {
	b := publish(t, s, "hugo", nil)
	catalog, ctx := catalogv1.NewCatalogServiceClient(s.Conn), s.As(t, "hugo", webtest.UserPassword)
	stored := func() *catalogv1.HTTPOptions {
		t.Helper()
		v, err := catalog.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: b.name})
		if err != nil {
			t.Fatal(err)
		}
		if v.Http != nil {
			v.Http.Addresses = nil
		}
		return v.GetHttp()
	}
	want(t, b.Open(b.base+"/endpoint"), http.StatusOK, "HTTP beside the socket Set up Requests that open no socket are refused")
	b.Click("Set up")
	for _, tt := range []struct{ at, entries string }{
		{"production", "production=ws://b"}, {"sandbox", "production=http://b sandbox=wss://b"}, {"production", "cors=BACKEND"}, {"production", "max_body=1KiB"},
		{"places", "production=http://b places=header:X"}, {"places", "production=http://b security=oauth2 places=ticket"},
		{"places", "production=http://b security=oauth2 places=nowhere"}, {"key_places", "production=http://b security=api_key key_places=header:Host"},
		{"key_places", "production=http://b security=oauth2 key_places=header:X"},
		{"max_body", "production=http://b max_body=2GiB"}, {"timeout", "production=http://b timeout=2h"}, {"health_path", "production=http://b health_path=healthz"},
		{"health_interval", "production=http://b health_interval=5s"}, {"health_timeout", "production=http://b health_path=/healthz health_timeout=1min"}, {"failures", "production=http://b failures=101"},
		{"longest", "production=http://b longest=1ms"}, {"dial", "production=http://b dial=2min"}, {"production", "first=2s"},
	} {
		form := b.Tab()
		form.Open(b.base + "/endpoint/http")
		var entries []string
		for entry := range strings.FieldsSeq(tt.entries) {
			name, value, _ := strings.Cut(entry, "=")
			entries = append(entries, name, value)
		}
		if p := form.Submit("Save", entries...); p.Status != http.StatusUnprocessableEntity || p.Error(tt.at) == "" {
			t.Errorf("%s: %d, %q\n%s", tt.entries, p.Status, p.Error(tt.at), p.Text())
		}
	}
	want(t, b.Submit("Save", "production", "http://a\nhttps://b", "security", "api_key", "key_places", "header:X-Key", "cors", "BACKEND",
		"max_body", "1 KiB", "timeout", "90 s", "health_path", "/healthz",
		"health_interval", "5 s", "health_timeout", "500ms", "healthy_after", "2", "unhealthy_after", "4", "failures", "3", "first", "2 s", "longest", "1 min", "factor", "1.5", "dial", "1 s"), http.StatusOK, "is saved")
	all := &catalogv1.HTTPOptions{
		Endpoints: &catalogv1.Endpoints{
			Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "http://a"}}, {Endpoint: &catalogv1.Endpoint_Url{Url: "https://b"}}},
			HealthCheck: &catalogv1.HealthCheck{
				Kind: catalogv1.HealthCheck_KIND_HTTP, HttpPath: "/healthz", Interval: durationpb.New(5 * time.Second), Timeout: durationpb.New(500 * time.Millisecond),
				HealthyAfter: 2, UnhealthyAfter: 4,
			},
			Suspension: &catalogv1.Suspension{Failures: 3, First: durationpb.New(2 * time.Second), Longest: durationpb.New(time.Minute), Factor: 1.5},
			Timeouts:   &catalogv1.Timeouts{Dial: durationpb.New(time.Second)},
		},
		Security: []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{Places: []*catalogv1.CredentialPlace{
			{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: "X-Key"}}},
		}}}}},
		Cors: catalogv1.HTTPOptions_CORS_BACKEND, MaxBodyBytes: 1024, Timeout: durationpb.New(90 * time.Second),
	}
	if got := stored(); !proto.Equal(got, all) {
		t.Errorf("stored is %v, want %v", got, all)
	}
	for name, value := range map[string]string{
		"production": "http://a\nhttps://b", "security": "api_key", "key_places": "header:X-Key", "cors": "BACKEND", "max_body": "1 KiB", "timeout": "90 s", "health_path": "/healthz",
		"health_interval": "5 s", "failures": "3", "first": "2 s", "factor": "1.5", "dial": "1 s",
	} {
		if got := b.Page.Value(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	want(t, b.Open(b.base+"/endpoint"), http.StatusOK, "HTTP beside the socket Change Endpoint http://a https://b", "API key in the header X-Key", "the backend answers their browsers")
	if p := b.Open(b.base); p.Copied("the http address") == "" && p.Copied("the https address") == "" {
		t.Errorf("the overview does not say where requests go:\n%s", p.Text())
	}
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer plain.Close()
	for path, found := range map[string]string{"/healthz": " Connected 200", "": " Failed at the request the backend answered 503 Service Unavailable 503"} {
		b.Open(b.base + "/endpoint/http")
		want(t, b.Submit("Save", "production", plain.URL, "health_path", path), http.StatusOK, "is saved")
		b.Open(b.base + "/endpoint")
		want(t, b.Submit("Test connection", "stage", "HTTP_STAGE_PRODUCTION"), http.StatusOK, plain.URL+found)
	}
	if p := b.Submit("Test connection", "stage", "HTTP_STAGE_PRODUCTION", "subprotocols", "chat"); p.Status != http.StatusUnprocessableEntity || p.Error("subprotocols") == "" {
		t.Errorf("a sub-protocol for plain requests: %d\n%s", p.Status, p.Text())
	}
	b.Open(b.base + "/endpoint/http")
	want(t, b.Submit("Save", "production", ""), http.StatusOK, "is saved")
	if got := stored(); got != nil {
		t.Errorf("stored is %v, want nothing", got)
	}
}
