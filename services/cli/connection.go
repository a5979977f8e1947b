package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// connectionFlags say how gateways connect to the backends of a stage.
type connectionFlags struct {
	BackendOf            []string `enum:"production,sandbox,http,sandbox-http" placeholder:"ENDPOINTS" help:"Which endpoints the flags from --backend-ca to --backend-proxy-user are for: production (the default), sandbox, http or sandbox-http; can be repeated."`
	DropConnection       bool     `help:"Remove all that was set by the flags from --backend-ca to --backend-proxy-user for the endpoints that --backend-of names, as before a stage's last endpoint is removed; other flags then begin anew."`
	BackendCA            *string  `name:"backend-ca" placeholder:"FILE" help:"PEM file of the authorities that backends' certificates must be of, in place of those that gateways trust; empty for those."`
	BackendCert          *string  `placeholder:"FILE" help:"PEM file of the certificate that gateways show to backends, with its intermediate ones; empty for none."`
	BackendKey           *string  `placeholder:"FILE" help:"PEM file of the private key of --backend-cert; nobody is shown it."`
	BackendServerName    *string  `placeholder:"NAME" help:"Name that backends' certificates must have, and that gateways ask for (SNI); empty for the endpoint's host."`
	BackendCredential    *string  `placeholder:"CREDENTIAL" help:"What gateways prove to backends who they are with, as Authorization: basic:USER=@FILE, bearer:@FILE, or oauth2:CLIENT_ID=@FILE with --backend-token-url, where the FILE has the secret and - is standard input; without it, the secret that is stored stays; or none."`
	BackendTokenURL      *string  `name:"backend-token-url" placeholder:"URL" help:"Token endpoint that gateways get access tokens for backends from."`
	BackendTokenScope    []string `sep:"none" placeholder:"SCOPE" help:"Scope to ask the token endpoint for; can be repeated; empty for none. Replaces all."`
	BackendTokenAudience *string  `placeholder:"AUDIENCE" help:"Audience to ask the token endpoint for; empty for none."`
	BackendTokenAuth     string   `enum:"header,body," default:"" placeholder:"HOW" help:"How the OAuth client authenticates at the token endpoint: header (HTTP Basic, the default) or body."`
	BackendProxy         *string  `placeholder:"URL" help:"HTTP proxy that leads to the backends by CONNECT, as http://proxy.example.com:3128; or none. Only administrators set it."`
	BackendProxyUser     *string  `placeholder:"USER=@FILE" help:"User at the proxy, with the password in the file, or - for standard input; USER alone keeps the one that is stored; empty for none."`
}

// connectionEdit changes a connection as a flag says.
type connectionEdit func(c *catalogv1.Connection) error

// setConnections puts what is given into a version, beside what was there before, and returns
// the fields that it is for.
func (f *connectionFlags) setConnections(ctx context.Context, s *shell, v, was *catalogv1.Version) (paths []string, err error) {
	edits, err := f.edits(ctx, s)
	switch {
	case err != nil:
		return nil, err
	case len(edits) == 0 && len(f.BackendOf) > 0:
		return nil, usagef("--backend-of: is for flags such as --backend-ca and --backend-credential: give one of them")
	case len(edits) == 0:
		return nil, nil
	}
	of := f.BackendOf
	if len(of) == 0 {
		of = []string{"production"}
	}
	for _, which := range of {
		path, to, before, err := connectionOf(which, v, was)
		if err != nil {
			return nil, err
		}
		c := cloned(before)
		for _, edit := range edits {
			if err := edit(c); err != nil {
				return nil, err
			}
		}
		if *to = c; proto.Size(c) == 0 {
			*to = nil
		}
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// connectionOf returns the field that a connection is sent in, where it is to be put, and what
// was there before.
func connectionOf(which string, v, was *catalogv1.Version) (path string, to **catalogv1.Connection, before *catalogv1.Connection, err error) {
	if !strings.HasSuffix(which, "http") {
		if v.Endpoints == nil {
			v.Endpoints = &catalogv1.Endpoints{}
		}
		if which == "sandbox" {
			return "endpoints.sandbox_connection", &v.Endpoints.SandboxConnection, was.GetEndpoints().GetSandboxConnection(), nil
		}
		return "endpoints.production_connection", &v.Endpoints.ProductionConnection, was.GetEndpoints().GetProductionConnection(), nil
	}
	if v.Http == nil {
		v.Http = proto.CloneOf(was.GetHttp())
	}
	if v.GetHttp().GetEndpoints() == nil {
		return "", nil, nil, usagef("--http-endpoint: is needed with --backend-of %s, as --http-endpoint https://backend.example.com", which)
	}
	to = &v.Http.Endpoints.ProductionConnection
	if which == "sandbox-http" {
		to = &v.Http.Endpoints.SandboxConnection
	}
	return "http", to, *to, nil
}

// edits are what the flags say, with the files read.
func (f *connectionFlags) edits(ctx context.Context, s *shell) (edits []connectionEdit, err error) {
	for _, read := range []func(context.Context, *shell) (connectionEdit, error){f.drop, f.authorities, f.certificate, f.serverName, f.credential, f.token, f.proxy, f.proxyUser} {
		edit, err := read(ctx, s)
		if err != nil {
			return nil, err
		}
		if edit != nil {
			edits = append(edits, edit)
		}
	}
	return edits, nil
}

func (f *connectionFlags) drop(context.Context, *shell) (connectionEdit, error) {
	if !f.DropConnection {
		return nil, nil
	}
	return func(c *catalogv1.Connection) error {
		proto.Reset(c)
		return nil
	}, nil
}

// tlsOf returns what a connection says of TLS, to be changed.
func tlsOf(c *catalogv1.Connection) *catalogv1.BackendTLS {
	if c.Tls == nil {
		c.Tls = &catalogv1.BackendTLS{}
	}
	return c.Tls
}

// tidy leaves TLS away that says nothing.
func tidy(c *catalogv1.Connection) error {
	if proto.Size(c.GetTls()) == 0 {
		c.Tls = nil
	}
	return nil
}

// pemFile reads the file that a flag names; empty for none.
func pemFile(flag, file string) (string, error) {
	if file = strings.TrimPrefix(file, "@"); file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return notEmpty(flag, file, string(text))
}

func (f *connectionFlags) authorities(context.Context, *shell) (connectionEdit, error) {
	if f.BackendCA == nil {
		return nil, nil
	}
	text, err := pemFile("--backend-ca", *f.BackendCA)
	return func(c *catalogv1.Connection) error {
		tlsOf(c).RootCertificates = text
		return tidy(c)
	}, err
}

func (f *connectionFlags) certificate(context.Context, *shell) (connectionEdit, error) {
	if f.BackendCert == nil && f.BackendKey == nil {
		return nil, nil
	}
	var cert, key string
	var err error
	if f.BackendCert != nil {
		if cert, err = pemFile("--backend-cert", *f.BackendCert); err != nil {
			return nil, err
		}
	}
	if f.BackendKey != nil {
		if key, err = pemFile("--backend-key", *f.BackendKey); err != nil {
			return nil, err
		}
	}
	return func(c *catalogv1.Connection) error {
		t := tlsOf(c)
		if f.BackendCert != nil {
			t.ClientCertificate = cert
		}
		switch {
		case t.GetClientCertificate() == "" && key != "":
			return usagef("--backend-cert: is needed with --backend-key")
		case t.GetClientCertificate() == "":
			t.ClientKey = nil
		case key != "":
			t.ClientKey = &catalogv1.PrivateKey{Pem: key}
		case t.GetClientKey() == nil:
			return usagef("--backend-key: is needed with --backend-cert")
		}
		return tidy(c)
	}, nil
}

func (f *connectionFlags) serverName(context.Context, *shell) (connectionEdit, error) {
	if f.BackendServerName == nil {
		return nil, nil
	}
	return func(c *catalogv1.Connection) error {
		tlsOf(c).ServerName = *f.BackendServerName
		return tidy(c)
	}, nil
}

// named reads NAME=SECRET, where the secret is as given takes it, or NAME alone.
func (s *shell) named(ctx context.Context, flag, text string) (name string, secret *catalogv1.Secret, err error) {
	value := ""
	if at := strings.LastIndexByte(text, '='); at >= 0 {
		text, value = text[:at], text[at+1:]
		if value == "" {
			return "", nil, usagef("%s: must have @FILE, or - for standard input, behind the =", flag)
		}
	}
	value, err = s.given(ctx, flag, value, "")
	return text, &catalogv1.Secret{Value: value}, err
}

func (f *connectionFlags) credential(ctx context.Context, s *shell) (connectionEdit, error) {
	if f.BackendCredential == nil {
		return nil, nil
	}
	const flag = "--backend-credential"
	kind, rest, _ := strings.Cut(*f.BackendCredential, ":")
	switch {
	case *f.BackendCredential == "none":
		return func(c *catalogv1.Connection) error {
			c.Credential = nil
			return nil
		}, nil
	case kind == "bearer":
		value, err := s.given(ctx, flag, rest, "")
		return func(c *catalogv1.Connection) error {
			c.Credential = &catalogv1.Connection_Bearer{Bearer: &catalogv1.BearerCredential{Token: &catalogv1.Secret{Value: value}}}
			return nil
		}, err
	case (kind == "basic" || kind == "oauth2") && rest != "":
		name, secret, err := s.named(ctx, flag, rest)
		return func(c *catalogv1.Connection) error {
			if kind == "basic" {
				c.Credential = &catalogv1.Connection_Basic{Basic: &catalogv1.BasicCredential{User: name, Password: secret}}
				return nil
			}
			o := cloned(c.GetOauth2())
			o.ClientId, o.ClientSecret = name, secret
			c.Credential = &catalogv1.Connection_Oauth2{Oauth2: o}
			return nil
		}, err
	}
	return nil, usagef("%s: must be basic:USER=@FILE, bearer:@FILE, oauth2:CLIENT_ID=@FILE or none", flag)
}

// token is what else is said of an OAuth client.
func (f *connectionFlags) token(context.Context, *shell) (connectionEdit, error) {
	if f.BackendTokenURL == nil && f.BackendTokenAudience == nil && len(f.BackendTokenScope) == 0 && f.BackendTokenAuth == "" {
		return nil, nil
	}
	return func(c *catalogv1.Connection) error {
		o := c.GetOauth2()
		if o == nil {
			return usagef("--backend-credential: must be oauth2:CLIENT_ID=@FILE with the flags of --backend-token-")
		}
		if f.BackendTokenURL != nil {
			o.TokenUrl = *f.BackendTokenURL
		}
		if f.BackendTokenAudience != nil {
			o.Audience = *f.BackendTokenAudience
		}
		if len(f.BackendTokenScope) > 0 {
			o.Scopes = some(f.BackendTokenScope)
		}
		if f.BackendTokenAuth != "" {
			o.AuthStyle = catalogv1.OAuth2Credential_AuthStyle(catalogv1.OAuth2Credential_AuthStyle_value["AUTH_STYLE_"+strings.ToUpper(f.BackendTokenAuth)])
		}
		return nil
	}, nil
}

func (f *connectionFlags) proxy(context.Context, *shell) (connectionEdit, error) {
	if f.BackendProxy == nil {
		return nil, nil
	}
	return func(c *catalogv1.Connection) error {
		if *f.BackendProxy == "none" || *f.BackendProxy == "" {
			c.Proxy = nil
			return nil
		}
		p := cloned(c.GetProxy())
		p.Url = *f.BackendProxy
		c.Proxy = p
		return nil
	}, nil
}

func (f *connectionFlags) proxyUser(ctx context.Context, s *shell) (connectionEdit, error) {
	if f.BackendProxyUser == nil {
		return nil, nil
	}
	user, password, err := s.named(ctx, "--backend-proxy-user", *f.BackendProxyUser)
	return func(c *catalogv1.Connection) error {
		if c.GetProxy() == nil {
			return usagef("--backend-proxy: is needed with --backend-proxy-user, as --backend-proxy http://proxy.example.com:3128")
		}
		if c.Proxy.User, c.Proxy.Password = user, password; user == "" {
			c.Proxy.Password = nil
		}
		return nil
	}, err
}

// connectionFlag returns the flag for a field of a connection.
func connectionFlag(field string) string {
	for _, of := range [][2]string{
		{"tls.root_certificates", "--backend-ca"}, {"tls.client_key", "--backend-key"}, {"tls.server_name", "--backend-server-name"}, {"tls", "--backend-cert"},
		{"oauth2.token_url", "--backend-token-url"}, {"oauth2.scopes", "--backend-token-scope"}, {"oauth2.audience", "--backend-token-audience"}, {"oauth2.auth_style", "--backend-token-auth"},
		{"basic", "--backend-credential"}, {"bearer", "--backend-credential"}, {"oauth2", "--backend-credential"}, {"proxy.url", "--backend-proxy"}, {"proxy", "--backend-proxy-user"},
	} {
		if strings.HasPrefix(field, of[0]) {
			return of[1]
		}
	}
	return "--backend-of"
}

// connectionFields say how gateways connect to a version's backends; what is by default is
// left out.
func connectionFields(v *catalogv1.Version) [][2]string {
	socket, http := v.GetEndpoints(), v.GetHttp().GetEndpoints()
	return slices.DeleteFunc([][2]string{
		{"Connection", connectionWords(socket.GetProductionConnection())}, {"Sandbox connection", connectionWords(socket.GetSandboxConnection())},
		{"HTTP connection", connectionWords(http.GetProductionConnection())}, {"HTTP sandbox connection", connectionWords(http.GetSandboxConnection())},
	}, func(field [2]string) bool { return field[1] == "" })
}

// connectionWords say how backends are connected to; of secrets, since when they are set.
func connectionWords(c *catalogv1.Connection) string {
	var words []string
	say := func(format string, a ...any) { words = append(words, fmt.Sprintf(format, a...)) }
	if t := c.GetTls(); t.GetRootCertificates() != "" {
		say("own authorities")
	}
	if key := c.GetTls().GetClientKey(); key != nil {
		say("a certificate (key set %s)", when(key.GetSetTime()))
	}
	if name := c.GetTls().GetServerName(); name != "" {
		say("server name %s", name)
	}
	switch credential := c.GetCredential().(type) {
	case *catalogv1.Connection_Basic:
		say("basic:%s (set %s)", credential.Basic.GetUser(), when(credential.Basic.GetPassword().GetSetTime()))
	case *catalogv1.Connection_Bearer:
		say("bearer (set %s)", when(credential.Bearer.GetToken().GetSetTime()))
	case *catalogv1.Connection_Oauth2:
		o := credential.Oauth2
		say("oauth2:%s of %s (set %s)", o.GetClientId(), o.GetTokenUrl(), when(o.GetClientSecret().GetSetTime()))
		if len(o.GetScopes()) > 0 {
			say("scopes %s", strings.Join(o.GetScopes(), " "))
		}
		if o.GetAudience() != "" {
			say("audience %s", o.GetAudience())
		}
	}
	if p := c.GetProxy(); p != nil {
		say("through %s", p.GetUrl())
		if p.GetUser() != "" {
			say("as %s there (set %s)", p.GetUser(), when(p.GetPassword().GetSetTime()))
		}
	}
	return strings.Join(words, ", ")
}
