package cli

import (
	"encoding/base64"
	"net/http"
	"net/url"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
)

// show puts an access token or an API key, one of which is "", where the flags say: into the
// address, the header, among the sub-protocols, or into the first message, which is
// returned.
func (c *connectCmd) show(token, key string, target *url.URL, header http.Header) (first string, err error) {
	text := c.Place
	switch {
	case text != "":
	case c.Query && key != "":
		text = "query:apikey"
	case c.Query:
		text = "query:access_token"
	case key != "":
		text = "header:apikey"
	default:
		text = "header:Authorization"
	}
	token += key
	place, err := credentialplace.Parse(text)
	if err != nil || place.GetTicket() != nil {
		return "", usagef("--place: %q: must be header:NAME, query:NAME, query:NAME:base64, cookie:NAME, subprotocol or first-message", text)
	}
	if token == "" {
		return "", nil
	}
	switch p := place.GetPlace().(type) {
	case *catalogv1.CredentialPlace_Header:
		if credentialplace.HasBearer(p.Header) {
			token = "Bearer " + token
		}
		header.Set(p.Header.GetName(), token)
	case *catalogv1.CredentialPlace_Query:
		if p.Query.GetEncoding() == catalogv1.QueryPlace_ENCODING_BASE64 {
			token = base64.StdEncoding.EncodeToString([]byte(token))
		}
		addParameter(target, p.Query.GetName(), token)
	case *catalogv1.CredentialPlace_Cookie:
		cookie := p.Cookie.GetName() + "=" + token
		if others := header.Get("Cookie"); others != "" {
			cookie = others + "; " + cookie
		}
		header.Set("Cookie", cookie)
	case *catalogv1.CredentialPlace_Subprotocol:
		c.Protocol += ",bearer," + token
	case *catalogv1.CredentialPlace_FirstMessage:
		return credentialplace.Message(p.FirstMessage, token), nil
	}
	return "", nil
}
