package routes

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/backendtoken"
)

// Connection says how the backends of a stage are connected to. It is not changed once its
// route is in a table; its token is.
type Connection struct {
	// Roots are trusted in place of those of the gateway; nil: those are. Authorities are the
	// same, for what is trusted beside those: the proxy and the token endpoint.
	Roots       *x509.CertPool
	Authorities []*x509.Certificate
	Certificate *tls.Certificate // that the gateway shows; nil: none
	ServerName  string           // empty: the name of the endpoint
	// Sessions are those of TLS with backends where one of the above is set; nil: none are
	// resumed. They are not shared: a session that is resumed is checked against no authority,
	// and has the certificate of before.
	Sessions tls.ClientSessionCache
	// Authorization is what backends get as that header; empty: none, or that of Token.
	Authorization string
	Token         *backendtoken.Source // nil: none
	Proxy         *Proxy               // nil: none
}

// Proxy opens connections by CONNECT.
type Proxy struct {
	TLS           bool
	Name          string // the host, without brackets
	Addr          string // host:port to dial
	Authorization string // for Proxy-Authorization; empty: none
}

// HasCredential reports whether backends get the gateway's own Authorization. c may be nil.
func (c *Connection) HasCredential() bool {
	return c != nil && (c.Authorization != "" || c.Token != nil)
}

// inherit takes over the token of the connection that a stage has had before, if it is of the
// same client. Both may be nil.
func (c *Connection) inherit(old *Connection) {
	if c != nil && old != nil && c.Token != nil && old.Token != nil && c.Token.Client() == old.Token.Client() {
		c.Token = old.Token
	}
}

// connection converts how the backends of a stage are connected to; nil is by default. What
// it does not understand the route lacks, so that it is not served.
func (r *Route) connection(p *catalogv1.Connection) *Connection {
	if p == nil {
		return nil
	}
	c := &Connection{}
	if len(p.ProtoReflect().GetUnknown())+len(p.GetTls().ProtoReflect().GetUnknown())+len(p.GetProxy().ProtoReflect().GetUnknown()) > 0 {
		r.lacks("part of a connection") // such as a kind of credential, which is none to this gateway
	}
	r.secured(c, p.GetTls())
	switch credential := p.GetCredential().(type) {
	case *catalogv1.Connection_Basic:
		c.Authorization = basic(credential.Basic.GetUser(), credential.Basic.GetPassword().GetValue())
	case *catalogv1.Connection_Bearer:
		c.Authorization = "Bearer " + credential.Bearer.GetToken().GetValue()
	case *catalogv1.Connection_Oauth2:
		o := credential.Oauth2
		c.Token = backendtoken.New(backendtoken.Client{
			URL: o.GetTokenUrl(), ID: o.GetClientId(), Secret: o.GetClientSecret().GetValue(), Scopes: strings.Join(o.GetScopes(), " "),
			Audience: o.GetAudience(), InBody: o.GetAuthStyle() == catalogv1.OAuth2Credential_AUTH_STYLE_BODY,
		})
	}
	if !printable(strings.ReplaceAll(c.Authorization, " ", "")) {
		r.lacks("form of a credential")
	}
	if p.GetProxy() != nil {
		if c.Proxy = parseProxy(p.GetProxy()); c.Proxy == nil {
			r.lacks("proxy")
		}
	}
	return c
}

// secured sets how TLS is spoken.
func (r *Route) secured(c *Connection, p *catalogv1.BackendTLS) {
	if p == nil {
		return
	}
	c.ServerName, c.Sessions = p.GetServerName(), tls.NewLRUClientSessionCache(64)
	if text := []byte(p.GetRootCertificates()); len(text) > 0 {
		c.Roots = x509.NewCertPool()
		all, err := parseCertificates(text)
		if err != nil || len(all) == 0 {
			r.lacks("form of a certificate")
		}
		c.Authorities = all
		for _, one := range all {
			c.Roots.AddCert(one)
		}
	}
	if p.GetClientCertificate() != "" {
		pair, err := tls.X509KeyPair([]byte(p.GetClientCertificate()), []byte(p.GetClientKey().GetPem()))
		if err != nil {
			r.lacks("form of a certificate")
			return
		}
		c.Certificate = &pair
	}
}

// parseCertificates reads certificates in PEM.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return all, nil
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read a certificate: %w", err)
		}
		all, text = append(all, one), rest
	}
}

// parseProxy reads a proxy; nil of what is none.
func parseProxy(p *catalogv1.ConnectProxy) *Proxy {
	u, err := url.Parse(p.GetUrl())
	if err != nil || u.Hostname() == "" {
		return nil
	}
	proxy, port := &Proxy{Name: u.Hostname()}, "80"
	switch strings.ToLower(u.Scheme) {
	case "http":
	case "https":
		proxy.TLS, port = true, "443"
	default:
		return nil
	}
	proxy.Addr = net.JoinHostPort(proxy.Name, orDefault(u.Port(), port))
	if p.GetUser() != "" {
		proxy.Authorization = basic(p.GetUser(), p.GetPassword().GetValue())
	}
	return proxy
}

// basic returns a credential of HTTP Basic.
func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}
