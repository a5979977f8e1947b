package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestConnectionFlags: what is given is changed, beside what was there before; secrets and
// certificates are read from files, and what is not given stays stored.
func TestConnectionFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"ca.pem": "CA\n", "cert.pem": "CERT\n", "key.pem": "KEY\n", "secret": "s3cret\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stored := func() *catalogv1.Secret {
		return &catalogv1.Secret{SetTime: timestamppb.New(timestamppb.Now().AsTime()), Setter: "users/u"}
	}
	given := &catalogv1.Secret{Value: "s3cret"}
	oauth2 := func(o *catalogv1.OAuth2Credential) *catalogv1.Connection {
		return &catalogv1.Connection{Credential: &catalogv1.Connection_Oauth2{Oauth2: o}}
	}
	was := oauth2(&catalogv1.OAuth2Credential{TokenUrl: "https://id.example/", ClientId: "c", ClientSecret: stored(), Scopes: []string{"a"}})
	was.Tls = &catalogv1.BackendTLS{ClientCertificate: "OLD", ClientKey: &catalogv1.PrivateKey{Setter: "users/u"}, ServerName: "b"}
	was.Proxy = &catalogv1.ConnectProxy{Url: "http://proxy", User: "u", Password: stored()}
	with := func(edit func(*catalogv1.Connection)) *catalogv1.Connection {
		c := cloned(was)
		edit(c)
		return c
	}
	s := &balanced{}
	c := newFakeServer(t, func(srv *grpc.Server) { catalogv1.RegisterCatalogServiceServer(srv, s) }).signIn(t)
	run := func(flags string) (stderr string, code int) {
		s.change = nil
		_, stderr, code = c.run(t, append([]string{"api", "version", "update", "apis/a/versions/1"}, strings.Fields(strings.ReplaceAll(strings.ReplaceAll(flags, "''", ""), "DIR", dir))...)...)
		return stderr, code
	}
	for _, tt := range []struct {
		flags string
		was   *catalogv1.Connection
		want  *catalogv1.Connection
	}{
		{"--backend-ca DIR/ca.pem --backend-cert DIR/cert.pem --backend-key @DIR/key.pem --backend-server-name b.example", nil, &catalogv1.Connection{
			Tls: &catalogv1.BackendTLS{RootCertificates: "CA", ClientCertificate: "CERT", ClientKey: &catalogv1.PrivateKey{Pem: "KEY"}, ServerName: "b.example"},
		}},
		{"--backend-credential basic:gate=way=@DIR/secret", nil, &catalogv1.Connection{Credential: &catalogv1.Connection_Basic{Basic: &catalogv1.BasicCredential{User: "gate=way", Password: given}}}},
		{"--backend-credential bearer:@DIR/secret", nil, &catalogv1.Connection{Credential: &catalogv1.Connection_Bearer{Bearer: &catalogv1.BearerCredential{Token: given}}}},
		{"--backend-credential oauth2:c=@DIR/secret --backend-token-url https://id.example/ --backend-token-scope a --backend-token-scope b --backend-token-audience us --backend-token-auth body", nil,
			oauth2(&catalogv1.OAuth2Credential{
				TokenUrl: "https://id.example/", ClientId: "c", ClientSecret: given, Scopes: []string{"a", "b"}, Audience: "us", AuthStyle: catalogv1.OAuth2Credential_AUTH_STYLE_BODY,
			})},
		{"--backend-proxy http://proxy:3128 --backend-proxy-user u=@DIR/secret", nil, &catalogv1.Connection{Proxy: &catalogv1.ConnectProxy{Url: "http://proxy:3128", User: "u", Password: given}}},
		{"--backend-cert DIR/cert.pem", was, with(func(c *catalogv1.Connection) { c.Tls.ClientCertificate = "CERT" })},
		{"--backend-key DIR/key.pem", was, with(func(c *catalogv1.Connection) { c.Tls.ClientKey = &catalogv1.PrivateKey{Pem: "KEY"} })},
		{"--backend-token-url https://other.example/", was, with(func(c *catalogv1.Connection) { c.GetOauth2().TokenUrl = "https://other.example/" })},
		{"--backend-credential oauth2:d", was, with(func(c *catalogv1.Connection) {
			c.GetOauth2().ClientId, c.GetOauth2().ClientSecret = "d", &catalogv1.Secret{}
		})},
		{"--backend-credential none --backend-proxy none --backend-cert= --backend-server-name=", was, nil},
		{"--drop-connection", was, nil},
		{"--drop-connection --backend-server-name n", was, &catalogv1.Connection{Tls: &catalogv1.BackendTLS{ServerName: "n"}}},
		{"--backend-proxy-user=", was, with(func(c *catalogv1.Connection) { c.Proxy.User, c.Proxy.Password = "", nil })},
	} {
		for of, path := range map[string]string{"": "endpoints.production_connection", "production": "endpoints.production_connection", "sandbox": "endpoints.sandbox_connection", "http": "http", "sandbox-http": "http"} {
			s.was, s.http = &catalogv1.Endpoints{ProductionConnection: tt.was, SandboxConnection: tt.was}, &catalogv1.HTTPOptions{
				Endpoints: &catalogv1.Endpoints{Production: endpoints([]string{"http://b"}), ProductionConnection: tt.was, SandboxConnection: tt.was}, MaxBodyBytes: 7,
			}
			flags := tt.flags
			if of != "" {
				flags += " --backend-of " + of
			}
			if stderr, code := run(flags); code != 0 {
				t.Errorf("%s = %q, %d", flags, stderr, code)
				continue
			}
			v := s.change.GetVersion()
			got := map[string]*catalogv1.Connection{
				"": v.GetEndpoints().GetProductionConnection(), "production": v.GetEndpoints().GetProductionConnection(), "sandbox": v.GetEndpoints().GetSandboxConnection(),
				"http": v.GetHttp().GetEndpoints().GetProductionConnection(), "sandbox-http": v.GetHttp().GetEndpoints().GetSandboxConnection(),
			}[of]
			if mask := strings.Join(s.change.GetUpdateMask().GetPaths(), " "); mask != path {
				t.Errorf("%s changes %q, want %q", flags, mask, path)
			}
			if diff := cmp.Diff(tt.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("%s (- want, + got):\n%s", flags, diff)
			}
			if path == "http" && v.GetHttp().GetMaxBodyBytes() != 7 {
				t.Errorf("%s loses what else is said of HTTP: %v", flags, v.GetHttp())
			}
		}
	}
	s.was, s.http = nil, nil
	for flags, want := range map[string]string{
		"--backend-credential basic:u=s3cret":         "--backend-credential: a secret does not belong on the command line",
		"--backend-credential bearer:s3cret":          "--backend-credential: a secret does not belong on the command line",
		"--backend-credential oauth2:":                "--backend-credential: must be basic:USER=@FILE, bearer:@FILE, oauth2:CLIENT_ID=@FILE or none",
		"--backend-credential basic:u=":               "--backend-credential: must have @FILE, or - for standard input, behind the =",
		"--backend-token-url https://id.example/":     "--backend-credential: must be oauth2:CLIENT_ID=@FILE with the flags of --backend-token-",
		"--backend-proxy-user u=@DIR/secret":          "--backend-proxy: is needed with --backend-proxy-user",
		"--backend-cert DIR/cert.pem":                 "--backend-key: is needed with --backend-cert",
		"--backend-key DIR/key.pem":                   "--backend-cert: is needed with --backend-key",
		"--backend-of sandbox":                        "--backend-of: is for flags such as --backend-ca and --backend-credential",
		"--backend-of http --backend-credential none": "--http-endpoint: is needed with --backend-of http",
	} {
		stderr, code := run(flags)
		if code != exitUsage || !strings.Contains(stderr, want) || strings.Contains(stderr, "s3cret:") || s.change != nil {
			t.Errorf("%s = %q, %d, and changes %v, want %q", flags, stderr, code, s.change, want)
		}
	}
	if stderr, code := run("--backend-ca DIR/none.pem"); code != 1 || !strings.Contains(stderr, "--backend-ca: open ") {
		t.Errorf("a file that is not there = %q, %d", stderr, code)
	}
	words := connectionWords(was)
	for _, want := range []string{"a certificate (key set ", "server name b", "oauth2:c of https://id.example/ (set 2", "scopes a", "through http://proxy", "as u there (set 2"} {
		if !strings.Contains(words, want) {
			t.Errorf("the connection is shown as %q, want %q in it", words, want)
		}
	}
}

// TestConnectionFlagsOfFields: what the catalog says of a field is said of the flag.
func TestConnectionFlagsOfFields(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]string{
		"endpoints.production_connection":                                 "--backend-of",
		"endpoints.production_connection.tls":                             "--backend-cert",
		"endpoints.production_connection.tls.root_certificates":           "--backend-ca",
		"endpoints.sandbox_connection.tls.client_key.pem":                 "--backend-key",
		"endpoints.sandbox_connection.tls.server_name":                    "--backend-server-name",
		"http.endpoints.sandbox_connection.oauth2.scopes[0]":              "--backend-token-scope",
		"http.endpoints.production_connection.oauth2.client_secret.value": "--backend-credential",
		"endpoints.production_connection.basic.user":                      "--backend-credential",
		"endpoints.production_connection.proxy":                           "--backend-proxy-user",
		"endpoints.production_connection.proxy.url":                       "--backend-proxy",
	} {
		if got := argument("version." + field); got != want {
			t.Errorf("%s is given by %q, want %q", field, got, want)
		}
	}
}
