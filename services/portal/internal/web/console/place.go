package console

import (
	"encoding/base64"
	"net/http"
	"net/url"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/snippet"
)

// place returns the version's place that text names, or else the first one; nil where the
// version has none.
func (s *socket) place(text string) *catalogv1.CredentialPlace {
	all := snippet.Places(s.version) // at one for tickets, the portal buys one
	for _, p := range all {
		if credentialplace.Text(p) == text {
			return p
		}
	}
	if len(all) > 0 {
		return all[0]
	}
	return nil
}

// headerPlace is a header as a place.
func headerPlace(name string) *catalogv1.CredentialPlace {
	return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: name}}}
}

// show puts the command's token at a place of a version: into the query, among the
// sub-protocols. A cookie goes with the origin of a page of the version's, unless the user
// says another.
func (c *command) show(p *catalogv1.CredentialPlace, v *catalogv1.Version) {
	switch p := p.GetPlace().(type) {
	case *catalogv1.CredentialPlace_Query:
		q, err := url.ParseQuery(c.Query)
		if err != nil {
			return // which the address says
		}
		value := c.Token
		if p.Query.GetEncoding() == catalogv1.QueryPlace_ENCODING_BASE64 {
			value = base64.StdEncoding.EncodeToString([]byte(value))
		}
		q.Set(p.Query.GetName(), value)
		c.Query = q.Encode()
	case *catalogv1.CredentialPlace_Subprotocol:
		c.Protocols = append(c.Protocols, "bearer", c.Token)
	case *catalogv1.CredentialPlace_Cookie:
		for _, h := range c.Headers {
			if http.CanonicalHeaderKey(h[0]) == "Origin" {
				return
			}
		}
		for _, origin := range v.GetAllowedOrigins() {
			c.Headers = append(c.Headers, [2]string{"Origin", origin})
			return
		}
	}
}

// showInHeader puts a token into the header, where its place is there.
func showInHeader(h http.Header, p *catalogv1.CredentialPlace, token string) {
	switch p := p.GetPlace().(type) {
	case *catalogv1.CredentialPlace_Header:
		if credentialplace.HasBearer(p.Header) {
			token = "Bearer " + token
		}
		h.Set(p.Header.GetName(), token)
	case *catalogv1.CredentialPlace_Cookie:
		h.Set("Cookie", p.Cookie.GetName()+"="+token)
	}
}
