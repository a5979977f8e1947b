package devportal

import (
	"strconv"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
	"github.com/tidegatehq/tidegate/services/kit/quote"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/snippet"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// addressCopies are a version's addresses, to be copied.
func addressCopies(v *catalogv1.Version) []ui.Copy {
	var all []ui.Copy
	for i, address := range v.GetAddresses() {
		scheme, _, _ := strings.Cut(address, ":")
		all = append(all, ui.Copy{ID: "address-" + strconv.Itoa(i+1), What: "the " + scheme + " address", Value: address, Wrap: true})
	}
	for i, address := range v.GetHttp().GetAddresses() {
		scheme, _, _ := strings.Cut(address, ":")
		all = append(all, ui.Copy{ID: "http-address-" + strconv.Itoa(i+1), What: "the " + scheme + " address", Value: address, Wrap: true})
	}
	return all
}

// curl has the lines that send a plain request to a version from a terminal: one for each of
// its addresses, with a token, which is in the variable TOKEN there, at the first place that a
// request has.
func (p *pages) curl(v *catalogv1.Version) []ui.Copy {
	schemes := v.GetHttp().GetSecurity()
	if len(schemes) == 0 {
		schemes = v.GetSecurity()
	}
	more, needs := "", len(schemes) == 0
	for _, s := range schemes {
		needs = needs || s.GetNone() == nil
		for _, place := range s.GetOauth2().GetPlaces() {
			if more == "" {
				more = curlToken(place)
			}
		}
	}
	if needs && more == "" {
		return nil
	}
	var lines []ui.Copy
	for i, address := range v.GetHttp().GetAddresses() {
		text := "curl "
		if p.authority != "" && strings.HasPrefix(address, "https:") {
			text += "--cacert " + quote.Word(p.authority) + " "
		}
		n := strconv.Itoa(i + 1)
		lines = append(lines, ui.Copy{ID: "curl-" + n, What: "curl line " + n, Value: text + more + quote.Word(address+"/"), Wrap: true})
	}
	return lines
}

// curlToken is how curl shows the token in $TOKEN at a place; "" where that is not one of any
// request.
func curlToken(p *catalogv1.CredentialPlace) string {
	switch p := p.GetPlace().(type) {
	case *catalogv1.CredentialPlace_Header:
		word := ""
		if credentialplace.HasBearer(p.Header) {
			word = "Bearer "
		}
		return `-H "` + p.Header.GetName() + ": " + word + `$TOKEN" `
	case *catalogv1.CredentialPlace_Query:
		value := "$TOKEN"
		if p.Query.GetEncoding() == catalogv1.QueryPlace_ENCODING_BASE64 {
			value = `$(printf %s "$TOKEN" | base64 -w0)`
		}
		return `-G --data-urlencode "` + p.Query.GetName() + "=" + value + `" `
	}
	return ""
}

// securityWords say what clients of a version show, where they need to.
func securityWords(v *catalogv1.Version) string {
	var words []string
	for _, place := range snippet.Places(v) {
		words = append(words, credentialplace.Words(place))
	}
	what := "an OAuth2 access token"
	switch {
	case !snippet.TakesTokens(v):
		what = "an API key"
	case snippet.TakesKeys(v):
		what = "an OAuth2 access token or an API key"
	}
	return what + " in " + strings.Join(words, " or ")
}

// wscat has the lines that connect to a version from a terminal: one for each address and
// place of a token, which is in the variable TOKEN there.
func (p *pages) wscat(v *catalogv1.Version) []ui.Copy {
	var lines []ui.Copy
	line := func(address, more string) {
		text := "wscat "
		if p.authority != "" && strings.HasPrefix(address, "wss:") {
			text += "--ca " + quote.Word(p.authority) + " "
		}
		n := strconv.Itoa(len(lines) + 1)
		lines = append(lines, ui.Copy{ID: "wscat-" + n, What: "wscat line " + n, Value: text + "-c " + more, Wrap: true})
	}
	with := snippet.Places(v)
	for _, address := range v.GetAddresses() {
		for _, place := range with {
			if more := wscatToken(v, address, place); more != "" {
				line(address, more)
			}
		}
		if len(with) == 0 {
			line(address, quote.Word(address))
		}
	}
	return lines
}

// wscatToken is how wscat shows a version the token in $TOKEN at a place of an address; ""
// where it cannot.
func wscatToken(v *catalogv1.Version, address string, p *catalogv1.CredentialPlace) string {
	switch p := p.GetPlace().(type) {
	case *catalogv1.CredentialPlace_Header:
		word := ""
		if credentialplace.HasBearer(p.Header) {
			word = "Bearer "
		}
		return quote.Word(address) + ` -H "` + p.Header.GetName() + ": " + word + `$TOKEN"`
	case *catalogv1.CredentialPlace_Query:
		value := "$TOKEN"
		if p.Query.GetEncoding() == catalogv1.QueryPlace_ENCODING_BASE64 {
			value = `$(printf %s "$TOKEN" | base64 -w0)`
		}
		return `"` + address + "?" + p.Query.GetName() + "=" + value + `"`
	case *catalogv1.CredentialPlace_Cookie:
		for _, origin := range v.GetAllowedOrigins() { // a version with a cookie has some
			return quote.Word(address) + " -o " + quote.Word(origin) + ` -H "Cookie: ` + p.Cookie.GetName() + `=$TOKEN"`
		}
	case *catalogv1.CredentialPlace_Subprotocol:
		return quote.Word(address) + ` -s bearer -s "$TOKEN"`
	}
	return ""
}
