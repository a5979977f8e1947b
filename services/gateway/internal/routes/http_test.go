package routes

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
)

func urls(all ...string) (list []*catalogv1.Endpoint) {
	for _, url := range all {
		list = append(list, &catalogv1.Endpoint{Endpoint: &catalogv1.Endpoint_Url{Url: url}})
	}
	return list
}

// besideRoute is a route with HTTP beside its socket.
func besideRoute(change func(*backplanev1.Route)) *backplanev1.Route {
	r := &backplanev1.Route{
		Name: "apis/a/versions/1", Api: "apis/a", Context: "/a", Version: "1", State: catalogv1.Version_STATE_PUBLISHED,
		Endpoints: &catalogv1.Endpoints{Production: urls("ws://socket")},
		Http: &catalogv1.HTTPOptions{
			Endpoints: &catalogv1.Endpoints{
				Production: urls("http://one/hub", "https://two"), Sandbox: urls("http://three"),
				HealthCheck: &catalogv1.HealthCheck{Kind: catalogv1.HealthCheck_KIND_HTTP, HttpPath: "/healthz"},
				Timeouts:    &catalogv1.Timeouts{Dial: durationpb.New(time.Second)},
			},
			Security: []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{}}}},
			Cors:     catalogv1.HTTPOptions_CORS_BACKEND, MaxBodyBytes: 4096, Timeout: durationpb.New(time.Minute),
		},
	}
	if change != nil {
		change(r)
	}
	return r
}

// What a route says of HTTP is compiled beside what it says of the socket, and neither has
// anything of the other.
func TestHTTPOfARoute(t *testing.T) {
	r, err := fromProto(besideRoute(nil))
	if err != nil {
		t.Fatal(err)
	}
	h := r.HTTP
	if len(h.Production.Endpoints) != 2 || h.Production.Endpoints[0].Host != "one" || h.Production.Endpoints[1].Addr != "two:443" || h.Sandbox.Endpoints[0].Host != "three" ||
		h.Check == nil || h.Check.HTTPPath != "/healthz" || h.Timeouts.Dial != time.Second || h.MaxBody != 4096 || h.Timeout != time.Minute || !h.BackendCORS {
		t.Errorf("HTTP is %+v", h)
	}
	if len(h.Schemes) != 1 || h.Schemes[0].Type != credential.APIKey || len(r.Schemes) != 1 || r.Schemes[0].Type != credential.OAuth2 {
		t.Errorf("schemes of HTTP %v, of the socket %v", h.Schemes, r.Schemes)
	}
	if len(r.Production.Endpoints) != 1 || r.Sandbox != nil || r.Check != nil || r.Timeouts.Dial != 0 {
		t.Errorf("the socket has %+v", r.Endpoints)
	}
	plain, err := fromProto(besideRoute(func(r *backplanev1.Route) { r.Http = nil }))
	if err != nil || plain.HTTP != nil {
		t.Errorf("without HTTP: %v, %v", plain.HTTP, err)
	}
}

// A route whose HTTP says what this gateway does not know is not served, and one whose HTTP
// leads nowhere is left out.
func TestHTTPThatIsNotKnown(t *testing.T) {
	for want, change := range map[string]func(*backplanev1.Route){
		"unknown CORS":     func(r *backplanev1.Route) { r.Http.Cors = 9 },
		"unknown scheme":   func(r *backplanev1.Route) { r.Http.Security = []*catalogv1.SecurityScheme{{}} },
		"unknown endpoint": func(r *backplanev1.Route) { r.Http.Endpoints.Production = []*catalogv1.Endpoint{{}} },
	} {
		if r, err := fromProto(besideRoute(change)); err != nil || !slices.Equal(r.Missing(), []string{want}) {
			t.Errorf("%s: %v, %v", want, r, err)
		}
	}
	if r, err := fromProto(besideRoute(func(r *backplanev1.Route) { r.Http.Endpoints = nil })); err == nil {
		t.Errorf("without an endpoint for HTTP: %v, want an error", r)
	}
}

// Endpoints for HTTP are checked and counted as the socket's are, and a change of the version
// forgets nothing of them.
func TestEndpointsOfHTTPAreKnown(t *testing.T) {
	r, err := fromProto(besideRoute(nil))
	if err != nil {
		t.Fatal(err)
	}
	first := table(t, r)
	now := time.Now()
	for range 3 {
		r.HTTP.Production.Member(0).Checked(now, now, "it is ill")
	}
	next, err := fromProto(besideRoute(func(r *backplanev1.Route) { r.Http.MaxBodyBytes = 1 }))
	if err != nil {
		t.Fatal(err)
	}
	second, err := first.With(Changes{Put: []*Route{next}})
	if err != nil {
		t.Fatal(err)
	}
	if healthy, suspended := second.EndpointsIn(balance.Healthy, now), second.EndpointsIn(balance.Suspended, now); healthy != 3 || suspended != 1 {
		t.Errorf("%d endpoints are healthy and %d suspended, want 3 and 1", healthy, suspended)
	}
	var checked []*Endpoints
	second.Checked(func(_ *Route, e *Endpoints) { checked = append(checked, e) })
	if len(checked) != 1 || checked[0] != &next.HTTP.Endpoints {
		t.Errorf("%d endpoints are checked, want those of HTTP alone", len(checked))
	}
}
