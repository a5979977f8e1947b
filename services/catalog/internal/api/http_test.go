package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// beside is the HTTP beside the socket of a version.
func beside(h *catalogv1.HTTPOptions) func(*catalogv1.Version) {
	return func(v *catalogv1.Version) { v.Http = h }
}

// httpOf has an endpoint for production, and what change makes of the rest.
func httpOf(url string, change func(*catalogv1.HTTPOptions)) *catalogv1.HTTPOptions {
	h := &catalogv1.HTTPOptions{Endpoints: &catalogv1.Endpoints{Production: endpoint(url)}}
	if change != nil {
		change(h)
	}
	return h
}

// badHTTP are versions whose HTTP is wrong in one field.
func badHTTP() []badField {
	const (
		url0  = "version.http.endpoints.production[0].url: "
		httpS = "must be an http or https URL: requests that open no socket go there"
		notIn = "must be a header, a query parameter or a cookie: a request has no other place"
	)
	with := func(change func(*catalogv1.HTTPOptions)) func(*catalogv1.Version) {
		return beside(httpOf("http://b", change))
	}
	secured := func(of ...*catalogv1.SecurityScheme) func(*catalogv1.Version) {
		return with(func(h *catalogv1.HTTPOptions) { h.Security = of })
	}
	return []badField{
		{"HTTP without endpoints", beside(&catalogv1.HTTPOptions{}), "version.http.endpoints: is required"},
		{"HTTP with empty endpoints", beside(&catalogv1.HTTPOptions{Endpoints: &catalogv1.Endpoints{}}), "version.http.endpoints: needs a production or a sandbox endpoint"},
		{"a ws endpoint for HTTP", beside(httpOf("ws://b", nil)), url0 + httpS},
		{"a WSS endpoint for HTTP", beside(httpOf("WSS://b", nil)), url0 + httpS},
		{"an endpoint for HTTP with a bad port", beside(httpOf("http://b:0", nil)), url0 + badPort},
		{"an endpoint for HTTP twice", with(func(h *catalogv1.HTTPOptions) {
			h.Endpoints.Sandbox = append(endpoint("http://s"), endpoint("http://s")...)
		}), "version.http.endpoints.sandbox[1].url: must not be the same as another one of its stage"},
		{"a handshake as a check of HTTP", with(func(h *catalogv1.HTTPOptions) {
			h.Endpoints.HealthCheck = &catalogv1.HealthCheck{Kind: catalogv1.HealthCheck_KIND_WEBSOCKET}
		}), "version.http.endpoints.health_check.kind: must be KIND_HTTP: no socket is opened there"},
		{"a time for handshakes of HTTP", with(func(h *catalogv1.HTTPOptions) {
			h.Endpoints.Timeouts = &catalogv1.Timeouts{Handshake: durationpb.New(time.Second)}
		}), "version.http.endpoints.timeouts.handshake: must not be set: there is no handshake, and http.timeout says how long an answer may take"},
		{"a body of less than nothing", with(func(h *catalogv1.HTTPOptions) { h.MaxBodyBytes = -1 }), "version.http.max_body_bytes: must be greater than or equal to 0 and less than or equal to 1073741824"},
		{"a body of more than 1 GiB", with(func(h *catalogv1.HTTPOptions) { h.MaxBodyBytes = 1<<30 + 1 }), "version.http.max_body_bytes: must be greater than or equal to 0 and less than or equal to 1073741824"},
		{"a time for answers that is too short", with(func(h *catalogv1.HTTPOptions) { h.Timeout = durationpb.New(time.Millisecond) }), "version.http.timeout: must be greater than or equal to 0.1s and less than or equal to 3600s"},
		{"a time for answers that is too long", with(func(h *catalogv1.HTTPOptions) { h.Timeout = durationpb.New(2 * time.Hour) }), "version.http.timeout: must be greater than or equal to 0.1s and less than or equal to 3600s"},
		{"CORS of an unknown kind", with(func(h *catalogv1.HTTPOptions) { h.Cors = 9 }), "version.http.cors: is not one of the defined values"},
		{"a ticket in a request", secured(oauth2(place("ticket"))), "version.http.security[0].oauth2.places[0]: " + notIn},
		{"a sub-protocol in a request", secured(oauth2(inHeader("X-A")), apiKey(place("subprotocol"))), "version.http.security[1].api_key.places[0]: " + notIn},
		{"a first message in a request", secured(oauth2(place("first-message"))), "version.http.security[0].oauth2.places[0]: " + notIn},
		{"a used header in a request", secured(oauth2(inHeader("Content-Type"))), "version.http.security[0].oauth2.places[0].header.name: must not be Content-Type, which means something else in a handshake"},
		{"a cookie in a request without origins", secured(oauth2(place("cookie:sid"))), "version.allowed_origins: must list the pages that may connect, as https://app.example.com, because http.security[0].oauth2.places[0] is a cookie"},
		{"none beside another for HTTP", secured(anonymous(), oauth2()), "version.http.security[0]: none stands alone"},
		{"nothing that a request can show", func(v *catalogv1.Version) {
			v.Security = []*catalogv1.SecurityScheme{oauth2(place("ticket"), place("subprotocol"))}
			v.Http = httpOf("http://b", nil)
		}, "version.http.security: is required, because security has no place that a request has: a header, a query parameter or a cookie"},
	}
}

// The HTTP beside the socket is stored, routed and shown; who does not see the endpoints of
// the version does not see those.
func TestHTTP(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		v := f.version(f.api("Chat"), "1.0.0")
		want := &catalogv1.HTTPOptions{
			Endpoints: &catalogv1.Endpoints{
				Production: append(endpoint("http://b:8080/hub"), endpoint("https://c")...), Sandbox: endpoint("http://s"),
				HealthCheck: &catalogv1.HealthCheck{Kind: catalogv1.HealthCheck_KIND_HTTP, HttpPath: "/healthz", Interval: durationpb.New(time.Minute)},
				Suspension:  &catalogv1.Suspension{Failures: 3}, Timeouts: &catalogv1.Timeouts{Dial: durationpb.New(time.Second)},
			},
			Security: []*catalogv1.SecurityScheme{oauth2(inHeader("X-Token")), apiKey(inHeader("apikey"), inQuery("apikey"))},
			Cors:     catalogv1.HTTPOptions_CORS_BACKEND, MaxBodyBytes: 4096, Timeout: durationpb.New(90 * time.Second),
		}
		set := f.update(v, &catalogv1.Version{Http: want}, "http")
		want.Addresses = []string{"http://gw:9099/chat/1.0.0", "https://gw:8099/chat/1.0.0"}
		if diff := cmp.Diff(want, set.GetHttp(), protocmp.Transform()); diff != "" {
			t.Errorf("the answer differs:\n%s", diff)
		}
		route := f.route(v)
		want.Addresses = nil
		if diff := cmp.Diff(want, route.GetHttp(), protocmp.Transform()); diff != "" {
			t.Errorf("the route differs:\n%s", diff)
		}
		f.publish(set)
		for name, who := range map[string]grpc.CallOption{"a subscriber": f.sue, "another creator": f.bob} {
			got, err := f.GetVersion(t.Context(), &catalogv1.GetVersionRequest{Name: v.GetName()}, who)
			if err != nil || got.GetHttp() == nil || got.GetHttp().GetEndpoints() != nil || len(got.GetHttp().GetSecurity()) != 2 || len(got.GetHttp().GetAddresses()) != 2 {
				t.Errorf("%s sees %v, %v; want all but the endpoints", name, got.GetHttp(), err)
			}
		}
		// A part of it is changed alone, and what is copied has it.
		f.update(v, &catalogv1.Version{Http: &catalogv1.HTTPOptions{MaxBodyBytes: 1}}, "http.max_body_bytes")
		copied, err := f.CreateVersion(t.Context(), &catalogv1.CreateVersionRequest{
			Parent: "apis/" + strings.Split(v.GetName(), "/")[1], SourceVersion: v.GetName(), Version: &catalogv1.Version{Version: "2.0.0"},
		}, f.ann)
		if err != nil {
			t.Fatal(err)
		}
		want.MaxBodyBytes, want.Addresses = 1, []string{"http://gw:9099/chat/2.0.0", "https://gw:8099/chat/2.0.0"}
		if diff := cmp.Diff(want, copied.GetHttp(), protocmp.Transform()); diff != "" {
			t.Errorf("the copy differs:\n%s", diff)
		}
		if gone := f.update(v, &catalogv1.Version{}, "http"); gone.GetHttp() != nil || f.route(v).GetHttp() != nil {
			t.Errorf("after its removal there is %v", gone.GetHttp())
		}
		if dump := f.dump(); strings.Contains(dump, "b:8080") {
			t.Error("the database has an endpoint as it is")
		}
	})
}

// Where HTTP has no security of its own, it follows that of the socket, without what only a
// socket has; and a version without credentials for either needs no plan.
func TestSecurityOfHTTP(t *testing.T) {
	f := onSQLite(t)
	v := f.version(f.api("Chat"), "1.0.0")
	v = f.update(v, &catalogv1.Version{
		Http: httpOf("http://b", nil),
		Security: []*catalogv1.SecurityScheme{
			oauth2(place("ticket"), inHeader("Authorization"), place("subprotocol")), apiKey(place("first-message")),
		},
	}, "http", "security")
	want := []*catalogv1.SecurityScheme{oauth2(inHeader("Authorization"))}
	if diff := cmp.Diff(want, f.route(v).GetHttp().GetSecurity(), protocmp.Transform()); diff != "" || len(v.GetHttp().GetSecurity()) > 0 {
		t.Errorf("the version has %v, and its route differs:\n%s", v.GetHttp().GetSecurity(), diff)
	}
	f.update(v, &catalogv1.Version{Security: []*catalogv1.SecurityScheme{apiKey(inQuery("key"))}}, "security")
	want = []*catalogv1.SecurityScheme{apiKey(inQuery("key"))}
	if diff := cmp.Diff(want, f.route(v).GetHttp().GetSecurity(), protocmp.Transform()); diff != "" {
		t.Errorf("after a change the route differs:\n%s", diff)
	}
	// The places of a scheme that names none are the usual ones.
	f.update(v, &catalogv1.Version{Http: httpOf("http://b", func(h *catalogv1.HTTPOptions) { h.Security = []*catalogv1.SecurityScheme{oauth2()} })}, "http")
	want = []*catalogv1.SecurityScheme{oauth2(inHeader("Authorization"), inQuery("access_token"))}
	if diff := cmp.Diff(want, f.route(v).GetHttp().GetSecurity(), protocmp.Transform()); diff != "" {
		t.Errorf("with a scheme alone the route differs:\n%s", diff)
	}
	// HTTP asks for a credential, so publishing asks for a plan, though the socket asks for none.
	f.update(v, &catalogv1.Version{Security: []*catalogv1.SecurityScheme{anonymous()}}, "security", "plans")
	publish := func() error {
		_, err := f.PublishVersion(t.Context(), &catalogv1.PublishVersionRequest{Name: v.GetName()}, f.ann)
		return err
	}
	wantError(t, "PublishVersion", publish(), codes.FailedPrecondition, "version.plans: a published version needs a plan, unless its security is none or it is subscriptionless")
	f.update(v, &catalogv1.Version{}, "http.security")
	if err := publish(); err != nil {
		t.Errorf("PublishVersion of a version that asks nobody = %v", err)
	}
}

// What others put in as a secret for backends is not sent to another place by an endpoint for
// HTTP either.
func TestSecretsAreNotLedElsewhereByHTTP(t *testing.T) {
	f := onSQLite(t)
	v := f.version(f.api("Chat"), "1.0.0")
	v = f.update(v, &catalogv1.Version{BackendOptions: &catalogv1.BackendOptions{Headers: []*catalogv1.HeaderRule{secretHeader("X-Key", "s")}}}, "backend_options")
	try := func(url string) error {
		_, err := f.UpdateVersion(t.Context(), &catalogv1.UpdateVersionRequest{
			Version: &catalogv1.Version{Name: v.GetName(), Http: httpOf(url, nil)}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"http"}},
		}, f.ann)
		return err
	}
	wantError(t, "UpdateVersion", try("http://elsewhere/"), codes.InvalidArgument,
		"version.backend_options.headers[0].secret.value: "+again)
	if err := try("http://backend:9098/echo"); err != nil {
		t.Errorf("UpdateVersion with an endpoint where the socket's is = %v", err)
	}
}

// HTTP has a connection of its own to its backends, whose secrets are kept and shown as those of
// the socket's are.
func TestConnectionOfHTTP(t *testing.T) {
	f := onSQLite(t)
	v := f.version(f.api("Chat"), "1.0.0")
	h := httpOf("https://b", func(h *catalogv1.HTTPOptions) { h.Endpoints.ProductionConnection = bearer("top-secret") })
	v = f.update(v, &catalogv1.Version{Http: h}, "http")
	if shown := v.GetHttp().GetEndpoints().GetProductionConnection().GetBearer().GetToken(); shown.GetValue() != "" || shown.GetSetter() != "users/ann" {
		t.Errorf("the secret is shown as %v", shown)
	}
	v = f.update(v, &catalogv1.Version{Http: v.GetHttp()}, "http")
	route := f.route(v)
	if got := route.GetHttp().GetEndpoints().GetProductionConnection().GetBearer().GetToken().GetValue(); got != "top-secret" || len(route.GetRequires()) != 1 {
		t.Errorf("gateways get %q, and need %v", got, route.GetRequires())
	}
	v.Http.Endpoints.Production = endpoint("https://elsewhere")
	_, err := f.UpdateVersion(t.Context(), &catalogv1.UpdateVersionRequest{Version: v, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"http"}}}, f.ann)
	wantError(t, "UpdateVersion", err, codes.InvalidArgument, "version.http.endpoints.production_connection.bearer.token.value: "+again)
}

const again = "must be given again, because an endpoint leads to another scheme, host, port or path than before, or through another proxy, or is asked for another host"

// update changes fields of a version of ann's.
func (f *fixture) update(v, change *catalogv1.Version, paths ...string) *catalogv1.Version {
	f.t.Helper()
	change.Name = v.GetName()
	updated, err := f.UpdateVersion(f.t.Context(), &catalogv1.UpdateVersionRequest{Version: change, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}}, f.ann)
	if err != nil {
		f.t.Fatalf("UpdateVersion(%s) of %v: %v", v.GetName(), paths, err)
	}
	return updated
}

// longEndpoints are n endpoints whose URLs are as long as can be.
func longEndpoints(n int) (all []*catalogv1.Endpoint) {
	for i := range n {
		all = append(all, endpoint("http://b/"+strings.Repeat("x", 2037)+fmt.Sprintf("%02d", i))...)
	}
	return all
}

// apiKey asks for an API key at places.
func apiKey(places ...*catalogv1.CredentialPlace) *catalogv1.SecurityScheme {
	return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{Places: places}}}
}
