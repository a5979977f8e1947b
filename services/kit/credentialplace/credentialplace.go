// Package credentialplace writes the places of credentials as users do, on the command
// line and in pages:
//
//	header:NAME                     "Bearer CREDENTIAL" in Authorization, else the credential
//	header:NAME:bearer, :raw        the other way
//	query:NAME                      the credential
//	query:NAME:base64               the credential in base64
//	cookie:NAME
//	subprotocol
//	ticket                          a ticket, in the query parameter ticket
//	first-message                   the whole text
//	first-message,at=/token,if=/method=TOKEN_AUTH,protocol=mqtt,pass-on
//
// What follows "first-message" are options, in any order: where in its JSON the credential
// is, what else it has to say, the sub-protocols of the version, and that the backend gets
// it. In their values "%", ",", "=" and spaces are percent-encoded.
package credentialplace

import (
	"errors"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// Forms says how places are written, for messages.
const Forms = "header:NAME, query:NAME, query:NAME:base64, cookie:NAME, subprotocol, ticket or first-message"

// ErrForm means that a text is no place.
var ErrForm = errors.New("must be " + Forms)

// Parse reads a place. The error is ErrForm. Whether such a place can be had, the catalog
// says.
func Parse(text string) (*catalogv1.CredentialPlace, error) {
	if rest, ok := strings.CutPrefix(text, "first-message"); ok {
		return parseFirst(rest)
	}
	part, rest, _ := strings.Cut(text, ":")
	name, form, formed := strings.Cut(rest, ":")
	if name == "" && part != "subprotocol" && part != "ticket" {
		return nil, ErrForm
	}
	switch {
	case part == "header" && (!formed || form == "bearer" || form == "raw"):
		h := &catalogv1.HeaderPlace{Name: name, Form: catalogv1.HeaderPlace_Form(catalogv1.HeaderPlace_Form_value["FORM_"+strings.ToUpper(form)])}
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Header{Header: h}}, nil
	case part == "query" && (!formed || form == "base64" || form == "plain"):
		q := &catalogv1.QueryPlace{Name: name, Encoding: catalogv1.QueryPlace_Encoding(catalogv1.QueryPlace_Encoding_value["ENCODING_"+strings.ToUpper(form)])}
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Query{Query: q}}, nil
	case part == "cookie" && !formed:
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Cookie{Cookie: &catalogv1.CookiePlace{Name: name}}}, nil
	case text == "subprotocol":
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Subprotocol{Subprotocol: &catalogv1.SubprotocolPlace{}}}, nil
	case text == "ticket":
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Ticket{Ticket: &catalogv1.TicketPlace{}}}, nil
	}
	return nil, ErrForm
}

// Text returns a place as Parse reads it; "" for one of a kind that this program does not
// know.
func Text(p *catalogv1.CredentialPlace) string {
	switch p := p.GetPlace().(type) {
	case *catalogv1.CredentialPlace_Header:
		return withForm("header:"+p.Header.GetName(), int32(p.Header.GetForm()), catalogv1.HeaderPlace_Form_name, "FORM_")
	case *catalogv1.CredentialPlace_Query:
		return withForm("query:"+p.Query.GetName(), int32(p.Query.GetEncoding()), catalogv1.QueryPlace_Encoding_name, "ENCODING_")
	case *catalogv1.CredentialPlace_Cookie:
		return "cookie:" + p.Cookie.GetName()
	case *catalogv1.CredentialPlace_Subprotocol:
		return "subprotocol"
	case *catalogv1.CredentialPlace_Ticket:
		return "ticket"
	case *catalogv1.CredentialPlace_FirstMessage:
		return firstText(p.FirstMessage)
	}
	return ""
}

// withForm appends the name of an enum's value to a place, unless it is not set.
func withForm(text string, value int32, names map[int32]string, prefix string) string {
	if value == 0 {
		return text
	}
	return text + ":" + strings.ToLower(strings.TrimPrefix(names[value], prefix))
}

// Words describes a place to a user.
func Words(p *catalogv1.CredentialPlace) string {
	switch p := p.GetPlace().(type) {
	case *catalogv1.CredentialPlace_Header:
		return "the header " + p.Header.GetName()
	case *catalogv1.CredentialPlace_Query:
		if p.Query.GetEncoding() == catalogv1.QueryPlace_ENCODING_BASE64 {
			return "the parameter " + p.Query.GetName() + ", in base64"
		}
		return "the parameter " + p.Query.GetName()
	case *catalogv1.CredentialPlace_Cookie:
		return "the cookie " + p.Cookie.GetName()
	case *catalogv1.CredentialPlace_Subprotocol:
		return "the sub-protocol after bearer"
	case *catalogv1.CredentialPlace_Ticket:
		return "a ticket in the parameter ticket"
	case *catalogv1.CredentialPlace_FirstMessage:
		if at := p.FirstMessage.GetPointer(); at != "" {
			return "the first message, at " + at
		}
		return "the first message"
	}
	return "a place that this program does not know"
}

// HasBearer reports whether a header's value is "Bearer CREDENTIAL", not the credential
// alone.
func HasBearer(h *catalogv1.HeaderPlace) bool {
	switch h.GetForm() {
	case catalogv1.HeaderPlace_FORM_UNSPECIFIED:
		return strings.EqualFold(h.GetName(), "Authorization")
	default:
		return h.GetForm() == catalogv1.HeaderPlace_FORM_BEARER
	}
}
