package publisher

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// Kinds of credentials for backends, as the form has them.
const (
	byBasic  = "basic"
	byBearer = "bearer"
	byOAuth2 = "oauth2"
)

// connected is one of a version's connections: of a stage, of the socket or of HTTP.
type connected struct {
	// path is the end of the page's address, heading what stands above the form.
	path, heading string
	http, sandbox bool
}

// connections are all that a version may have.
func connections() []connected {
	return []connected{
		{"endpoint/production", "Endpoint security: production", false, false}, {"endpoint/sandbox", "Endpoint security: sandbox", false, true},
		{"endpoint/http/production", "Endpoint security: HTTP, production", true, false}, {"endpoint/http/sandbox", "Endpoint security: HTTP, sandbox", true, true},
	}
}

// security is the page of a connection.
func (c connected) security() versionForm {
	return versionForm{tab: "Endpoint", path: c.path, heading: c.heading, fields: c.fields, set: c.set}
}

// of returns the connection of a version, nil for none.
func (c connected) of(v *catalogv1.Version) *catalogv1.Connection {
	e := v.GetEndpoints()
	if c.http {
		e = v.GetHttp().GetEndpoints()
	}
	if c.sandbox {
		return e.GetSandboxConnection()
	}
	return e.GetProductionConnection()
}

// field is the name of the field that has the connection.
func (c connected) field() string {
	name := "version.endpoints.production_connection"
	if c.sandbox {
		name = "version.endpoints.sandbox_connection"
	}
	if c.http {
		name = strings.Replace(name, "version.", "version.http.", 1)
	}
	return name
}

// set puts the entries into next. What is wrong with one is said at the entry.
func (c connected) set(form *ui.Form, was, next *catalogv1.Version) {
	is := c.entries(form, c.of(was))
	if proto.Size(is) == 0 {
		is = nil
	}
	e := &catalogv1.Endpoints{}
	if next.Endpoints = e; c.http {
		next.Endpoints, next.Http = nil, proto.CloneOf(was.GetHttp())
		if e = next.GetHttp().GetEndpoints(); e == nil {
			form.Wrong("credential", "needs an endpoint: set HTTP beside the socket up first")
			return
		}
	}
	if c.sandbox {
		e.SandboxConnection = is
	} else {
		e.ProductionConnection = is
	}
}

// entries returns the connection that the form says. What is left over of another choice goes
// with it.
func (c connected) entries(form *ui.Form, was *catalogv1.Connection) *catalogv1.Connection {
	is := &catalogv1.Connection{}
	if form.Get("drop") == "on" {
		return is
	}
	t := &catalogv1.BackendTLS{RootCertificates: form.Get("roots"), ClientCertificate: form.Get("certificate"), ServerName: form.Get("server_name")}
	switch key := form.Get("key"); {
	case t.GetClientCertificate() != "":
		t.ClientKey = &catalogv1.PrivateKey{Pem: key}
	case key != "":
		form.Wrong("certificate", "is needed with its private key")
	}
	if proto.Size(t) > 0 {
		is.Tls = t
	}
	secret := &catalogv1.Secret{Value: form.Get("secret")}
	kind := form.Get("credential")
	if kind != byOAuth2 {
		leave(form, was, "token_url", "scopes", "audience", "auth_style")
	}
	if kind != byOAuth2 && kind != byBasic {
		leave(form, was, "name")
	}
	switch kind {
	case byBasic:
		is.Credential = &catalogv1.Connection_Basic{Basic: &catalogv1.BasicCredential{User: form.Get("name"), Password: secret}}
	case byBearer:
		is.Credential = &catalogv1.Connection_Bearer{Bearer: &catalogv1.BearerCredential{Token: secret}}
	case byOAuth2:
		is.Credential = &catalogv1.Connection_Oauth2{Oauth2: &catalogv1.OAuth2Credential{
			TokenUrl: form.Get("token_url"), ClientId: form.Get("name"), ClientSecret: secret, Scopes: strings.Fields(form.Get("scopes")), Audience: form.Get("audience"),
			AuthStyle: catalogv1.OAuth2Credential_AuthStyle(form.Enum("auth_style", "AUTH_STYLE_", catalogv1.OAuth2Credential_AuthStyle_value)),
		}}
	}
	for _, name := range c.foreign(kind) {
		if form.Get(name) != "" {
			form.Wrong(name, "is for another credential: choose that, or leave this empty")
		}
	}
	if form.Get("proxy_url") == "" {
		leave(form, was, "proxy_user")
		if form.Get("proxy_user") != "" || form.Get("proxy_password") != "" {
			form.Wrong("proxy_url", "is needed with a user or a password at the proxy")
		}
		return is
	}
	is.Proxy = &catalogv1.ConnectProxy{Url: form.Get("proxy_url"), User: form.Get("proxy_user")}
	if form.Get("proxy_user") != "" || form.Get("proxy_password") != "" {
		is.Proxy.Password = &catalogv1.Secret{Value: form.Get("proxy_password")}
	}
	return is
}

// leave empties entries that are only left over from what is stored.
func leave(form *ui.Form, was *catalogv1.Connection, names ...string) {
	for _, stored := range connectionFields("", was) {
		if slices.Contains(names, stored.Name) {
			form.Leave(stored.Name, stored.Value)
		}
	}
}

// foreign are the entries that a kind of credential does not have.
func (c connected) foreign(kind string) []string {
	switch kind {
	case byOAuth2:
		return nil
	case byBasic:
		return []string{"token_url", "scopes", "audience", "auth_style"}
	case byBearer:
		return []string{"name", "token_url", "scopes", "audience", "auth_style"}
	}
	return []string{"name", "secret", "token_url", "scopes", "audience", "auth_style"}
}

// fields are the entries of a connection.
func (c connected) fields(v *catalogv1.Version) []ui.Field {
	fields := connectionFields(c.field(), c.of(v))
	if c.http { // which is sent as a whole
		for i := range fields {
			fields[i].Paths = append([]string{"version.http"}, fields[i].Paths...)
		}
	}
	return fields
}

// connectionFields are the entries of what is stored in a field. Secrets are not among it:
// empty keeps them.
func connectionFields(field string, c *catalogv1.Connection) []ui.Field {
	t, p, o := c.GetTls(), c.GetProxy(), c.GetOauth2()
	kind, name, set := "", "", (*catalogv1.Secret)(nil)
	switch {
	case c.GetBasic() != nil:
		kind, name, set = byBasic, c.GetBasic().GetUser(), c.GetBasic().GetPassword()
	case c.GetBearer() != nil:
		kind, set = byBearer, c.GetBearer().GetToken()
	case o != nil:
		kind, name, set = byOAuth2, o.GetClientId(), o.GetClientSecret()
	}
	paths := func(below ...string) []string {
		all := []string{field}
		for _, b := range below {
			all = append(all, field+"."+b)
		}
		return all
	}
	return []ui.Field{
		{Name: "credential", Label: "Gateways prove who they are", Kind: "select", Value: kind, Options: []ui.Option{
			{Value: "", Text: "Not at all"}, {Value: byBasic, Text: "With a user and a password"}, {Value: byBearer, Text: "With a token"}, {Value: byOAuth2, Text: "As an OAuth client"},
		}, Hint: "Backends get it as Authorization, whatever the client sends there. A secret in another header is set under Settings.", Paths: paths("basic", "bearer", "oauth2")},
		{Name: "name", Label: "User, or client ID", Max: 255, Value: name, Paths: paths("basic.user", "oauth2.client_id")},
		{Name: "secret", Label: "Password, token or client secret", Kind: "password", Max: 4096, Autocomplete: "new-password", Hint: since(set),
			Paths: paths("basic.password", "bearer.token", "oauth2.client_secret")},
		{Name: "token_url", Label: "Token endpoint", Code: true, Max: 2048, Value: o.GetTokenUrl(), Placeholder: "https://id.example.com/token", Hint: "Of an OAuth client: gateways get access tokens there.", Paths: paths("oauth2.token_url")},
		{Name: "scopes", Label: "Scopes", Code: true, Max: 2100, Value: strings.Join(o.GetScopes(), " "), Hint: "Of an OAuth client, with spaces between them. May be empty.", Paths: paths("oauth2.scopes")},
		{Name: "audience", Label: "Audience", Code: true, Max: 1024, Value: o.GetAudience(), Hint: "Of an OAuth client. May be empty.", Paths: paths("oauth2.audience")},
		{Name: "auth_style", Label: "At the token endpoint", Kind: "select", Value: ui.EnumEntry(o.GetAuthStyle(), "AUTH_STYLE_", "HEADER"), Options: []ui.Option{
			{Value: "", Text: "The client secret is in the header"}, {Value: "BODY", Text: "The client secret is in the body"},
		}, Paths: paths("oauth2.auth_style")},
		{Name: "roots", Label: "Root certificates", Kind: "textarea", Code: true, Max: 16384, Value: t.GetRootCertificates(), Placeholder: "-----BEGIN CERTIFICATE-----",
			Hint: "In PEM, at most 10: those of the authorities that backends' certificates must be of, in place of those that gateways trust.", Paths: paths("tls.root_certificates")},
		{Name: "certificate", Label: "Client certificate", Kind: "textarea", Code: true, Max: 8192, Value: t.GetClientCertificate(), Placeholder: "-----BEGIN CERTIFICATE-----",
			Hint: "In PEM, with its intermediate ones: what gateways show to backends that ask for one.", Paths: paths("tls", "tls.client_certificate")},
		{Name: "key", Label: "Private key of the client certificate", Kind: "textarea", Secret: true, Code: true, Max: 8192, Placeholder: "-----BEGIN PRIVATE KEY-----", Hint: since(t.GetClientKey()), Paths: paths("tls.client_key")},
		{Name: "server_name", Label: "Server name", Code: true, Max: 253, Value: t.GetServerName(), Placeholder: "backend.example.com", Hint: "That backends' certificates must have. Empty for the host of the endpoint.", Paths: paths("tls.server_name")},
		{Name: "proxy_url", Label: "Proxy", Code: true, Max: 300, Value: p.GetUrl(), Placeholder: "http://proxy.example.com:3128", Hint: "That leads to the backends by CONNECT. Only administrators set it. Empty for none.", Paths: paths("proxy", "proxy.url")},
		{Name: "proxy_user", Label: "User at the proxy", Max: 255, Value: p.GetUser(), Hint: "May be empty.", Paths: paths("proxy.user")},
		{Name: "proxy_password", Label: "Password at the proxy", Kind: "password", Max: 4096, Autocomplete: "new-password", Hint: since(p.GetPassword()), Paths: paths("proxy.password")},
		{Name: "drop", Label: "Remove all of this", Kind: "check", Options: []ui.Option{{Value: "on", Text: "yes"}, {Value: "", Text: "no"}}, Hint: "As before the last endpoint is removed: nothing of the entries above is kept.", Paths: paths()},
	}
}

// since says since when a secret is set; s may be nil.
func since(s interface {
	GetSetTime() *timestamppb.Timestamp
}) string {
	if s.GetSetTime() == nil {
		return "It is stored sealed, and nobody is shown it."
	}
	return "Set since " + s.GetSetTime().AsTime().Format(time.DateTime) + " UTC; nobody is shown it. Empty keeps it."
}

// connectionView is what the Endpoint page says of a connection.
type connectionView struct {
	Name, To string
	Words    []string
}

// connectionViews are those of the stages that have endpoints.
func connectionViews(v *version) []connectionView {
	var all []connectionView
	for i, c := range connections() {
		e := v.Version.GetEndpoints()
		if c.http {
			e = v.Version.GetHttp().GetEndpoints()
		}
		list := e.GetProduction()
		if c.sandbox {
			list = e.GetSandbox()
		}
		if len(list) == 0 {
			continue
		}
		all = append(all, connectionView{
			Name: []string{"Production", "Sandbox", "HTTP, production", "HTTP, sandbox"}[i], To: v.Base + "/" + c.path, Words: connectionWords(c.of(v.Version)),
		})
	}
	return all
}

// connectionWords say what is set of a connection.
func connectionWords(c *catalogv1.Connection) []string {
	var words []string
	for _, w := range []struct {
		set  bool
		text string
	}{
		{c.GetBasic() != nil, "user " + c.GetBasic().GetUser()}, {c.GetBearer() != nil, "a token"}, {c.GetOauth2() != nil, "OAuth client " + c.GetOauth2().GetClientId()},
		{c.GetTls().GetRootCertificates() != "", "root certificates"}, {c.GetTls().GetClientCertificate() != "", "client certificate"},
		{c.GetTls().GetServerName() != "", "server name " + c.GetTls().GetServerName()}, {c.GetProxy() != nil, "proxy " + c.GetProxy().GetUrl()},
	} {
		if w.set {
			words = append(words, w.text)
		}
	}
	return words
}
