package publisher_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/kit/certs"
)

// connectionPages set how gateways connect to backends. What is secret is not shown again, and
// stays until it is given anew.
func connectionPages(t *testing.T, s *webtest.Tidegate) {
	b := publish(t, s, "cora", nil)
	catalog, ctx := catalogv1.NewCatalogServiceClient(s.Conn), s.As(t, "cora", webtest.UserPassword)
	stored := func() *catalogv1.Connection {
		t.Helper()
		v, err := catalog.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: b.name})
		if err != nil {
			t.Fatal(err)
		}
		return v.GetEndpoints().GetProductionConnection()
	}
	authority, root, err := certs.NewAuthority("backends", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(certs.Leaf{Names: []string{"gateway"}, Life: time.Hour, Client: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want(t, b.Open(b.base+"/endpoint"), http.StatusOK, "Endpoint security Certificates, a credential for the backends and a proxy. Production by default")
	b.Click("Production")
	for _, tt := range []struct {
		at      string
		entries []string
	}{
		{"name", []string{"credential", "basic", "secret", "p"}}, {"secret", []string{"credential", "basic", "name", "u"}}, {"secret", []string{"credential", "bearer", "secret", "a b"}},
		{"token_url", []string{"credential", "oauth2", "name", "c", "secret", "s", "token_url", "http://id.example/"}}, {"scopes", []string{"credential", "oauth2", "name", "c", "secret", "s", "token_url", "https://id.example/", "scopes", `"`}},
		{"audience", []string{"credential", "bearer", "secret", "t", "audience", "us"}}, {"secret", []string{"secret", "s"}},
		{"roots", []string{"roots", "none"}}, {"certificate", []string{"key", "k"}}, {"key", []string{"certificate", string(pair.Cert)}}, {"server_name", []string{"server_name", "a:1"}},
		{"proxy_url", []string{"proxy_user", "u"}}, {"proxy_url", []string{"proxy_url", "socks5://p"}},
	} {
		form := b.Tab()
		form.Open(b.base + "/endpoint/production")
		if p := form.Submit("Save", tt.entries...); p.Status != http.StatusUnprocessableEntity || p.Error(tt.at) == "" {
			t.Errorf("%q: %d, %q\n%s", tt.entries, p.Status, p.Error(tt.at), p.Text())
		}
	}
	form := b.Tab()
	form.Open(b.base + "/endpoint/production")
	if p := form.Submit("Save", "proxy_url", "http://p"); p.Status == http.StatusOK || !strings.Contains(p.Text(), "administrator") {
		t.Errorf("a proxy set by its owner: %d\n%s", p.Status, p.Text())
	}
	// A key that is refused is not shown again.
	if p := form.Submit("Save", "proxy_url", "", "certificate", string(root.Cert), "key", string(pair.Key)); p.Error("certificate") == "" || strings.Contains(p.Text(), "PRIVATE KEY") && strings.Contains(p.Value("key"), "PRIVATE KEY") {
		t.Errorf("a key of another certificate: %d %q, the key is %q", p.Status, p.Error("certificate"), p.Value("key"))
	}
	want(t, b.Submit("Save", "credential", "basic", "name", "gate", "secret", "s3cret-password", "roots", string(root.Cert), "certificate", string(pair.Cert), "key", string(pair.Key), "server_name", "b.example"),
		http.StatusOK, "is saved")
	first := stored()
	if first.GetBasic().GetUser() != "gate" || first.GetTls().GetServerName() != "b.example" || first.GetTls().GetClientKey().GetSetTime() == nil || first.GetBasic().GetPassword().GetSetTime() == nil {
		t.Errorf("stored is %v", first)
	}
	if p := b.Page; strings.Contains(p.Text(), "s3cret") || p.Value("secret") != "" || p.Value("key") != "" || p.Value("name") != "gate" || !strings.Contains(p.Text(), "Set since ") {
		t.Errorf("the page shows %q %q\n%s", p.Value("secret"), p.Value("key"), p.Text())
	}
	want(t, b.Submit("Save", "name", "way"), http.StatusOK, "is saved")
	if now := stored(); now.GetBasic().GetUser() != "way" || !now.GetBasic().GetPassword().GetSetTime().AsTime().Equal(first.GetBasic().GetPassword().GetSetTime().AsTime()) {
		t.Errorf("after another user stored is %v, want that the password is kept", now)
	}
	want(t, b.Submit("Save", "credential", "oauth2", "name", "c", "secret", "s3cret-client", "token_url", "https://id.example/token", "scopes", "a b", "audience", "us", "auth_style", "BODY"), http.StatusOK, "is saved")
	if o := stored().GetOauth2(); o.GetTokenUrl() != "https://id.example/token" || len(o.GetScopes()) != 2 || o.GetAudience() != "us" || o.GetAuthStyle() != catalogv1.OAuth2Credential_AUTH_STYLE_BODY {
		t.Errorf("stored is %v", o)
	}
	want(t, b.Open(b.base+"/endpoint"), http.StatusOK, "Production OAuth client c, root certificates, client certificate, server name b.example")
	all := b.Tab()
	all.Open(b.base + "/endpoint/production")
	want(t, all.Submit("Save", "drop", "on"), http.StatusOK, "is saved")
	if got := stored(); got != nil {
		t.Errorf("all is removed, and stored is %v", got)
	}
	want(t, all.Submit("Save", "drop", "", "roots", string(root.Cert), "server_name", "b.example"), http.StatusOK, "is saved")
	b.Open(b.base + "/endpoint/production")
	want(t, b.Submit("Save", "credential", "", "roots", "", "certificate", "", "server_name", ""), http.StatusOK, "is saved")
	if got := stored(); got != nil {
		t.Errorf("stored is %v, want nothing", got)
	}
	// That of HTTP goes with what else is said of HTTP.
	b.Open(b.base + "/endpoint/http")
	want(t, b.Submit("Save", "production", "https://h.example", "max_body", "1 KiB"), http.StatusOK, "is saved")
	want(t, b.Open(b.base+"/endpoint"), http.StatusOK, "HTTP, production by default")
	b.Click("HTTP, production")
	want(t, b.Submit("Save", "credential", "bearer", "secret", "t0ken"), http.StatusOK, "is saved")
	v, err := catalog.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: b.name})
	if err != nil || v.GetHttp().GetEndpoints().GetProductionConnection().GetBearer() == nil || v.GetHttp().GetMaxBodyBytes() != 1024 {
		t.Errorf("stored is %v, %v", v.GetHttp(), err)
	}
}
