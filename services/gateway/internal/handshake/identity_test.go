package handshake

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegatehq/tidegate/services/gateway/internal/backendidentity"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// ofTidegate are the headers of a request that begin with X-Tidegate- however a backend
// reads them, and its Authorization; a ref is left out where it is one.
func ofTidegate(r *http.Request) map[string]string {
	has := map[string]string{}
	for name, values := range r.Header {
		if read := routes.HeaderKey(name); strings.HasPrefix(read, "X-Tidegate-") || read == "Authorization" {
			has[name] = strings.Join(values, "|")
		}
	}
	if ref := has["X-Tidegate-Ref"]; len(ref) > 10 {
		has["X-Tidegate-Ref"] = "ref"
	}
	return has
}

// forged is what a client sends to be taken for another: every form of a header's name that
// some server reads as X-Tidegate-Application.
const forged = "X-Tidegate-Application: forged\r\nx-tidegate-application: forged\r\nX_Tidegate_Application: forged\r\nX-Tidegate_Scopes: forged\r\n" +
	"X_TIDEGATE-Stage: forged\r\nx-tidegate-anything: forged\r\nX-Tidegate-: forged\r\nX_Tidegate_: forged\r\n" +
	"X-Tidegate-Ref: forged\r\nX-Tidegate-Oauth_Client: forged\r\n"

// TestIdentity compares what a backend is told about a client, with what the version says
// about that and whatever the client sends.
func TestIdentity(t *testing.T) {
	w := newWorld(t, nil)
	told := grant.Grant{
		Name: "grants/2", Application: "applications/1", OAuthClient: "applications/1/oauthClients/c", Subscription: "subscriptions/s",
		Stage: grant.Sandbox, Scopes: []string{"read", "write"}, RestsOn: []string{"grants/2"},
	}
	odd := told
	odd.Scopes, odd.Stage = []string{"read\r\nX-Forged: 1"}, grant.Production
	tryOut := told
	tryOut.Application, tryOut.OAuthClient, tryOut.Subscription = "applications/try-out", "", ""
	w.grants.mu.Lock()
	w.grants.byToken["told"], w.grants.byToken["odd"], w.grants.byToken["try-out"] = &told, &odd, &tryOut
	w.grants.mu.Unlock()
	key := w.key(nil)
	jwt := func(r *routes.Route) { r.Backends.Identity = routes.JWTIdentity }
	identity := func(r *routes.Route) { r.Backends.Identity = routes.HeadersIdentity }
	pass := func(r *routes.Route) { r.PassCredential = true }
	keys := func(r *routes.Route) { r.Schemes = tokened }
	open := func(r *routes.Route) { r.Schemes = []credential.Scheme{{Type: credential.None}} }
	both := func(r *routes.Route) { r.Sandbox = r.Production }
	all := map[string]string{
		"X-Tidegate-Application": "applications/1", "X-Tidegate-Oauth-Client": "applications/1/oauthClients/c", "X-Tidegate-Subscription": "subscriptions/s",
		"X-Tidegate-Stage": "sandbox", "X-Tidegate-Scopes": "read write", "X-Tidegate-Ref": "ref",
	}
	for _, tt := range []struct {
		name          string
		route         []func(*routes.Route)
		target, lines string
		want          map[string]string
	}{
		{"by default nothing", nil, "/echo/1.0.0", "Authorization: Bearer told\r\n", map[string]string{}},
		{"headers", []func(*routes.Route){identity}, "/echo/1.0.0", "Authorization: Bearer told\r\n", all},
		{"of an API key", []func(*routes.Route){identity, keys}, "/echo/1.0.0", "apikey: " + key + "\r\n", map[string]string{
			"X-Tidegate-Application": "applications/1", "X-Tidegate-Api-Key": "applications/1/apiKeys/k", "X-Tidegate-Stage": "production", "X-Tidegate-Ref": "ref",
		}},
		{"of nobody", []func(*routes.Route){identity, open}, "/echo/1.0.0", "", map[string]string{"X-Tidegate-Ref": "ref"}},
		{"what no header can have", []func(*routes.Route){identity}, "/echo/1.0.0", "Authorization: Bearer odd\r\n", map[string]string{
			"X-Tidegate-Application": "applications/1", "X-Tidegate-Oauth-Client": "applications/1/oauthClients/c", "X-Tidegate-Subscription": "subscriptions/s",
			"X-Tidegate-Stage": "production", "X-Tidegate-Ref": "ref",
		}},
		{"a JWT", []func(*routes.Route){jwt}, "/echo/1.0.0", "X-Tidegate-Identity: forged\r\nX_Tidegate_Identity: forged\r\nAuthorization: Bearer told\r\n", map[string]string{"X-Tidegate-Identity": "e30.e30.c2ln"}},
		{"the token", []func(*routes.Route){pass}, "/echo/1.0.0", "Authorization: Bearer told\r\n", map[string]string{"Authorization": "Bearer told"}},
		{"the token of the query", []func(*routes.Route){pass}, "/echo/1.0.0?access_token=told", "", map[string]string{"Authorization": "Bearer told"}},
		{"the key", []func(*routes.Route){pass, keys}, "/echo/1.0.0?apikey=" + key, "", map[string]string{"Authorization": "Bearer " + key}},
		{"no try-out token", []func(*routes.Route){pass, identity}, "/echo/1.0.0", "Authorization: Bearer try-out\r\n", map[string]string{
			"X-Tidegate-Application": "applications/try-out", "X-Tidegate-Stage": "sandbox", "X-Tidegate-Scopes": "read write", "X-Tidegate-Ref": "ref",
		}},
	} {
		backend := newEcho(t, nil)
		w.serve(backend.url, append(tt.route, both)...)
		conn := w.dial(false)
		w.send(conn, request(tt.target, tt.lines+forged))
		if a := w.receive(conn); a.StatusCode != 101 {
			t.Errorf("%s: the answer is %d %s, want 101", tt.name, a.StatusCode, a.Detail)
			continue
		}
		r := <-backend.requests
		if diff := cmp.Diff(tt.want, ofTidegate(r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if strings.Contains(r.RequestURI, "told") || strings.Contains(r.RequestURI, key) || r.Header.Get("X-Forged") != "" {
			t.Errorf("%s: the backend was asked for %s with %v", tt.name, r.RequestURI, r.Header)
		}
	}
}

// TestIdentityJWT: what is signed is what is known of the client, with the session's ref,
// once for each handshake. While it cannot be signed, the backend is not asked.
func TestIdentityJWT(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, nil)
	w.serve(backend.url, func(r *routes.Route) { r.Backends.Identity = routes.JWTIdentity })
	conn := w.dial(false)
	w.send(conn, request("/echo/1.0.0", good))
	a := w.receive(conn)
	if a.StatusCode != 101 || len(w.signed.was()) != 1 {
		t.Fatalf("the answer is %d, and %d were signed, want 101 and one", a.StatusCode, len(w.signed.was()))
	}
	<-backend.requests
	if c := w.signed.was()[0]; c.Version != "apis/echo/versions/1" || c.Grant.Name != "grants/1" || c.Ref != a.Header.Get(RefHeader) {
		t.Errorf("%+v is signed, want the client of the session %s", c, a.Header.Get(RefHeader))
	}
	w.signed.fail(fmt.Errorf("%w: away", backendidentity.ErrUnavailable))
	conn = w.dial(false)
	w.send(conn, request("/echo/1.0.0", good))
	if a := w.receive(conn); a.StatusCode != 503 || a.Code != "IDENTITY_UNSIGNED" || a.Header.Get("Retry-After") != "2" || len(backend.requests) > 0 {
		t.Errorf("the answer is %d %s after %q, and the backend was asked %d times, want 503 and 0", a.StatusCode, a.Code, a.Header.Get("Retry-After"), len(backend.requests))
	}
	w.serve(backend.url)
	conn = w.dial(false)
	w.send(conn, request("/echo/1.0.0", good))
	if a := w.receive(conn); a.StatusCode != 101 || len(w.signed.was()) != 2 {
		t.Errorf("without a JWT the answer is %d, and %d were signed, want 101 and 2 as before", a.StatusCode, len(w.signed.was()))
	}
}
