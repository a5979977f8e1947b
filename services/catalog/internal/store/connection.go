package store

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// Connections say how the backends of each stage are connected to; nil is by default.
type Connections struct {
	Production *Connection `json:"production,omitempty"`
	Sandbox    *Connection `json:"sandbox,omitempty"`
}

// Connection says how the backends of a stage are connected to. It is stored sealed, with
// the endpoints.
type Connection struct {
	// TLS is nil for what gateways trust, without a certificate.
	TLS *BackendTLS `json:"tls,omitempty"`
	// At most one of the credentials is set.
	Basic  *BasicCredential  `json:"basic,omitempty"`
	Bearer *Secret           `json:"bearer,omitempty"`
	OAuth2 *OAuth2Credential `json:"oauth2,omitempty"`
	Proxy  *ConnectProxy     `json:"proxy,omitempty"`
}

// BackendTLS says how gateways speak TLS with backends. Certificates are PEM.
type BackendTLS struct {
	Roots       string  `json:"roots,omitempty"`
	Certificate string  `json:"certificate,omitempty"`
	Key         *Secret `json:"key,omitempty"`
	ServerName  string  `json:"serverName,omitempty"`
}

// BasicCredential is a user and a password.
type BasicCredential struct {
	User     string  `json:"user"`
	Password *Secret `json:"password"`
}

// OAuth2Credential is an OAuth client of the backends' authorization server.
type OAuth2Credential struct {
	TokenURL string   `json:"tokenURL"`
	ClientID string   `json:"clientID"`
	Secret   *Secret  `json:"secret"`
	Scopes   []string `json:"scopes,omitempty"`
	Audience string   `json:"audience,omitempty"`
	// AuthStyle is a value of the enum OAuth2Credential.AuthStyle without its prefix.
	AuthStyle string `json:"authStyle,omitempty"`
}

// ConnectProxy leads to the backends. Password is nil without a user.
type ConnectProxy struct {
	URL      string  `json:"url"`
	User     string  `json:"user,omitempty"`
	Password *Secret `json:"password,omitempty"`
}

// HasCredential reports whether backends get a credential as Authorization. c may be nil.
func (c *Connection) HasCredential() bool {
	return c != nil && (c.Basic != nil || c.Bearer != nil || c.OAuth2 != nil)
}

// ProxyURL returns the address of the proxy, empty for none. c may be nil.
func (c *Connection) ProxyURL() string {
	if c == nil || c.Proxy == nil {
		return ""
	}
	return c.Proxy.URL
}

// message returns the connection as the API and routes have it.
func (c *Connection) message(r reader) *catalogv1.Connection {
	if c == nil {
		return nil
	}
	m := &catalogv1.Connection{}
	if t := c.TLS; t != nil {
		m.Tls = &catalogv1.BackendTLS{RootCertificates: t.Roots, ClientCertificate: t.Certificate, ClientKey: t.Key.key(r), ServerName: t.ServerName}
	}
	switch {
	case c.Basic != nil:
		m.Credential = &catalogv1.Connection_Basic{Basic: &catalogv1.BasicCredential{User: c.Basic.User, Password: c.Basic.Password.message(r)}}
	case c.Bearer != nil:
		m.Credential = &catalogv1.Connection_Bearer{Bearer: &catalogv1.BearerCredential{Token: c.Bearer.message(r)}}
	case c.OAuth2 != nil:
		o := c.OAuth2
		m.Credential = &catalogv1.Connection_Oauth2{Oauth2: &catalogv1.OAuth2Credential{
			TokenUrl: o.TokenURL, ClientId: o.ClientID, ClientSecret: o.Secret.message(r), Scopes: o.Scopes, Audience: o.Audience,
			AuthStyle: catalogv1.OAuth2Credential_AuthStyle(catalogv1.OAuth2Credential_AuthStyle_value[AuthStylePrefix+o.AuthStyle]),
		}}
	}
	if p := c.Proxy; p != nil {
		m.Proxy = &catalogv1.ConnectProxy{Url: p.URL, User: p.User, Password: p.Password.message(r)}
	}
	return m
}

// key returns a private key as the API and routes have it, as message does for others.
func (s *Secret) key(r reader) *catalogv1.PrivateKey {
	switch {
	case s == nil:
		return nil
	case r == forGateways:
		return &catalogv1.PrivateKey{Pem: s.Value}
	}
	return &catalogv1.PrivateKey{SetTime: timestamppb.New(s.SetAt), Setter: resourcename.User{User: s.Setter}.String()}
}
