package api

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// Bounds of certificates in PEM, and how long before its expiry one is a warning.
const (
	maxRoots        = 10
	maxChain        = 5
	expiryIsWarning = 30 * 24 * time.Hour
)

// stageConnection is a connection with what it is for.
type stageConnection struct {
	field     string // below version.
	endpoints int
	is        *catalogv1.Connection
}

// connections are those of both stages, of the socket and of HTTP.
func connections(v *catalogv1.Version) []stageConnection {
	socket, http := v.GetEndpoints(), v.GetHttp().GetEndpoints()
	return []stageConnection{
		{"endpoints.production_connection", len(socket.GetProduction()), socket.GetProductionConnection()},
		{"endpoints.sandbox_connection", len(socket.GetSandbox()), socket.GetSandboxConnection()},
		{"http.endpoints.production_connection", len(http.GetProduction()), http.GetProductionConnection()},
		{"http.endpoints.sandbox_connection", len(http.GetSandbox()), http.GetSandboxConnection()},
	}
}

// checkConnections checks what the proto's rules do not about how backends are connected to.
// A private key is checked by checkKeys, when it is known which one is stored.
func checkConnections(v *catalogv1.Version) []fault.Violation {
	var wrong []fault.Violation
	for _, c := range connections(v) {
		at := "version." + c.field
		add := func(field string, err error) {
			if err != nil {
				wrong = append(wrong, fault.Violation{Field: at + field, Message: err.Error()})
			}
		}
		if c.is == nil {
			continue
		}
		if c.endpoints == 0 {
			stage, _, _ := strings.Cut(c.field[strings.LastIndex(c.field, ".")+1:], "_")
			add("", fmt.Errorf("needs an endpoint in %s: remove the connection, too, where its last one is removed", stage))
		}
		_, err := rootCertificates(c.is.GetTls().GetRootCertificates())
		add(".tls.root_certificates", err)
		_, err = certificates(c.is.GetTls().GetClientCertificate(), maxChain)
		add(".tls.client_certificate", err)
		add(".tls.server_name", checkServerName(c.is.GetTls().GetServerName()))
		if c.is.GetCredential() != nil {
			add("."+credentialField(c.is), checkAuthorization(v))
		}
		if token := c.is.GetBearer().GetToken().GetValue(); token != "" && !bearerToken(token) {
			add(".bearer.token.value", errors.New("must be a token of letters, digits and -._~+/, with = at the end only"))
		}
		if o := c.is.GetOauth2(); o != nil {
			add(".oauth2.token_url", checkTokenURL(o.GetTokenUrl()))
		}
		if p := c.is.GetProxy(); p != nil {
			add(".proxy.url", checkEndpoint(p.GetUrl()))
		}
	}
	return wrong
}

// credentialField returns the field of a connection that has its credential, empty for none.
func credentialField(c *catalogv1.Connection) string {
	m := c.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().ByName("credential"))
	if field == nil {
		return ""
	}
	return string(field.Name())
}

// checkAuthorization returns why backends of a version cannot get a credential of its own as
// Authorization, or nil.
func checkAuthorization(v *catalogv1.Version) error {
	if v.GetPassCredential() {
		return errors.New("must not be with pass_credential, by which backends get that of clients as Authorization")
	}
	for i, rule := range v.GetBackendOptions().GetHeaders() {
		if canonical(rule.GetName()) == "Authorization" {
			return fmt.Errorf("must not be with backend_options.headers[%d], a rule for Authorization, which it is sent as", i)
		}
	}
	return nil
}

// bearerToken reports whether a text has the form of a token (b64token of RFC 6750).
func bearerToken(text string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`).MatchString(text)
}

// checkServerName checks what the proto's rules do not about the name of a server; empty
// means none.
func checkServerName(name string) error {
	if _, err := netip.ParseAddr(name); err != nil && name != "" && !dnsName(name) {
		return errors.New("must be a DNS name or an IP address, as backend.example.com, without a port")
	}
	return nil
}

// checkTokenURL checks what the proto's rules do not about the URL of a token endpoint.
func checkTokenURL(text string) error {
	if err := checkEndpoint(text); err != nil {
		return err
	}
	u, err := url.Parse(text)
	if err != nil || strings.EqualFold(u.Scheme, "https") {
		return err
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil && addr.IsLoopback() || strings.EqualFold(u.Hostname(), "localhost") {
		return nil
	}
	return errors.New("must be an https URL: the secret of the OAuth client is sent there")
}

// certificates reads at most most certificates in PEM; none of an empty text.
func certificates(text string, most int) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	rest := []byte(text)
	for len(strings.TrimSpace(string(rest))) > 0 {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		switch {
		case block == nil:
			return nil, errors.New("must be certificates in PEM, each from BEGIN CERTIFICATE to END CERTIFICATE, and nothing else")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, errors.New("must not have a private key: it is shown to those who see the endpoints")
		case block.Type != "CERTIFICATE":
			return nil, fmt.Errorf("must have certificates only, and not %.50q", block.Type)
		case len(all) == most:
			return nil, fmt.Errorf("must have at most %d certificates", most)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", len(all)+1, err)
		}
		all = append(all, c)
	}
	if text != "" && len(all) == 0 {
		return nil, errors.New("must be empty, or have a certificate in PEM")
	}
	return all, nil
}

// rootCertificates reads those of authorities.
func rootCertificates(text string) ([]*x509.Certificate, error) {
	all, err := certificates(text, maxRoots)
	for i, c := range all {
		if !c.IsCA || !c.BasicConstraintsValid {
			return nil, fmt.Errorf("certificate %d is not that of an authority (CA:TRUE)", i+1)
		}
	}
	return all, err
}

// checkKeys checks that the private keys of a version, whose secrets are complete, belong to
// their certificates.
func checkKeys(v store.Version) []fault.Violation {
	var wrong []fault.Violation
	for _, c := range connectionsOf(v) {
		if c.is.TLS == nil || c.is.TLS.Key == nil || c.is.TLS.Key.Value == "" {
			continue
		}
		if field, err := checkPair(c.is.TLS.Certificate, c.is.TLS.Key.Value); err != nil {
			wrong = append(wrong, fault.Violation{Field: "version." + c.field + ".tls." + field, Message: err.Error()})
		}
	}
	return wrong
}

// checkPair returns what is wrong with a private key for a certificate, with the field that
// says it. Its messages have nothing of the key.
func checkPair(certificate, key string) (field string, err error) {
	block, rest := pem.Decode([]byte(key))
	switch {
	case block == nil || strings.TrimSpace(string(rest)) != "" || !strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return "client_key.pem", errors.New("must be one private key in PEM, from BEGIN PRIVATE KEY to END PRIVATE KEY")
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return "client_key.pem", errors.New("must not be encrypted: it is stored sealed")
	}
	if _, err := tls.X509KeyPair([]byte(certificate), []byte(key)); err == nil {
		return "", nil
	}
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		_, rsa := x509.ParsePKCS1PrivateKey(block.Bytes)
		_, ec := x509.ParseECPrivateKey(block.Bytes)
		if rsa != nil && ec != nil {
			return "client_key.pem", errors.New("must be a private key for RSA, ECDSA or Ed25519")
		}
	}
	return "client_certificate", errors.New("does not belong to client_key: the first certificate must be that of the key")
}

// storedConnection is a connection as rows have it, with what it is for.
type storedConnection struct {
	field     string // below version.
	is        store.Connection
	endpoints []store.Endpoint
}

// connectionsOf are the connections of a version that are set.
func connectionsOf(v store.Version) []storedConnection {
	var all []storedConnection
	add := func(at string, e store.Endpoints) {
		if c := e.Connections.Production; c != nil {
			all = append(all, storedConnection{at + "endpoints.production_connection", *c, e.Production})
		}
		if c := e.Connections.Sandbox; c != nil {
			all = append(all, storedConnection{at + "endpoints.sandbox_connection", *c, e.Sandbox})
		}
	}
	add("", v.Endpoints)
	if v.HTTP != nil {
		add("http.", v.HTTP.Endpoints)
	}
	return all
}

// connectionWarnings say what in the connections of a version does not go on working, or is
// of no use.
func connectionWarnings(v store.Version, now time.Time) []string {
	var all []string
	for _, c := range connectionsOf(v) {
		at := c.field
		if t := c.is.TLS; t != nil {
			roots, _ := certificates(t.Roots, maxRoots)
			chain, _ := certificates(t.Certificate, maxChain)
			all = append(append(all, expiries(at+".tls.root_certificates", roots, now)...), expiries(at+".tls.client_certificate", chain, now)...)
		}
		plain := 0
		for _, e := range c.endpoints {
			if strings.HasPrefix(placeOf(e.URL), "ws:") {
				plain++
			}
		}
		if c.is.TLS != nil && plain == len(c.endpoints) {
			all = append(all, at+".tls: no endpoint of the stage begins with wss:// or https://, so it is of no use")
		}
		if c.is.HasCredential() && plain > 0 {
			all = append(all, at+": an endpoint without TLS gets the credential as it is, and so does whoever listens on the way")
		}
	}
	return all
}

// expiries are warnings of certificates that have expired, or will soon.
func expiries(at string, list []*x509.Certificate, now time.Time) []string {
	var all []string
	for i, c := range list {
		if c.NotAfter.Sub(now) > expiryIsWarning {
			continue
		}
		word := "expires"
		if c.NotAfter.Before(now) {
			word = "has expired"
		}
		all = append(all, fmt.Sprintf("%s: certificate %d %s at %s", at, i+1, word, c.NotAfter.UTC().Format(time.RFC3339)))
	}
	return all
}

// mayProxy returns why the caller may not make a version next, or nil: whatever is behind a
// proxy is reached past the address rules of gateways, so where it leads is for
// administrators to say.
func mayProxy(c identity.Caller, old, next store.Version) error {
	if c.User.Has(identity.RoleAdmin) {
		return nil
	}
	before := map[string]bool{}
	for _, o := range connectionsOf(old) {
		for _, to := range behindProxy(o) {
			before[to] = true
		}
	}
	for _, n := range connectionsOf(next) {
		for _, to := range behindProxy(n) {
			if !before[to] {
				return fault.Denied("this needs an administrator: %s.proxy leads past the address rules of gateways, so only administrators set it, and change the endpoints and the token_url behind it", n.field)
			}
		}
	}
	return nil
}

// behindProxy are the servers that a stage's proxy leads to, each with the proxy; none where
// there is none.
func behindProxy(c storedConnection) []string {
	proxy := c.is.ProxyURL()
	if proxy == "" {
		return nil
	}
	all := []string{proxy + " " + c.is.Proxy.User}
	lead := func(text string) {
		if u, err := url.Parse(text); err == nil {
			all = append(all, proxy+" "+serverOf(u))
		}
	}
	for _, e := range c.endpoints {
		lead(e.URL)
	}
	if o := c.is.OAuth2; o != nil {
		lead(o.TokenURL)
	}
	return all
}

// connectionRows returns the connections of both stages as rows have them.
func connectionRows(e *catalogv1.Endpoints) store.Connections {
	return store.Connections{Production: connectionRow(e.GetProductionConnection()), Sandbox: connectionRow(e.GetSandboxConnection())}
}

// connectionRow returns a connection as rows have it; one that says nothing is none.
func connectionRow(c *catalogv1.Connection) *store.Connection {
	row := store.Connection{}
	if t := c.GetTls(); t.GetRootCertificates() != "" || t.GetClientCertificate() != "" || t.GetServerName() != "" {
		row.TLS = &store.BackendTLS{Roots: t.GetRootCertificates(), Certificate: t.GetClientCertificate(), ServerName: t.GetServerName()}
		if t.GetClientKey() != nil {
			row.TLS.Key = &store.Secret{Value: t.GetClientKey().GetPem()}
		}
	}
	switch credential := c.GetCredential().(type) {
	case *catalogv1.Connection_Basic:
		row.Basic = &store.BasicCredential{User: credential.Basic.GetUser(), Password: secretRow(credential.Basic.GetPassword())}
	case *catalogv1.Connection_Bearer:
		row.Bearer = secretRow(credential.Bearer.GetToken())
	case *catalogv1.Connection_Oauth2:
		o := credential.Oauth2
		row.OAuth2 = &store.OAuth2Credential{
			TokenURL: o.GetTokenUrl(), ClientID: o.GetClientId(), Secret: secretRow(o.GetClientSecret()),
			Scopes: o.GetScopes(), Audience: o.GetAudience(), AuthStyle: enumRow(o.GetAuthStyle(), store.AuthStylePrefix),
		}
	}
	if p := c.GetProxy(); p != nil {
		row.Proxy = &store.ConnectProxy{URL: p.GetUrl(), User: p.GetUser(), Password: secretRow(p.GetPassword())}
	}
	if row == (store.Connection{}) {
		return nil
	}
	return &row
}
