package routes

import (
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
)

// places converts the places of a scheme, for which empty means usual.
func (r *Route) places(list []*catalogv1.CredentialPlace, usual []credential.Place) (places []credential.Place) {
	if len(list) == 0 {
		return usual
	}
	for _, p := range list {
		if place, ok := placeOf(p); ok {
			places = append(places, place)
		} else {
			r.lacks("place")
		}
	}
	return places
}

// placeOf converts a place; ok is false for one that this gateway does not know.
func placeOf(p *catalogv1.CredentialPlace) (place credential.Place, ok bool) {
	switch p := p.GetPlace().(type) {
	case *catalogv1.CredentialPlace_Header:
		form, ok := headerForm(p.Header)
		return credential.InHeader(p.Header.GetName(), form), ok && p.Header.GetName() != ""
	case *catalogv1.CredentialPlace_Query:
		form, ok := queryForm(p.Query)
		return credential.InQuery(p.Query.GetName(), form), ok && p.Query.GetName() != ""
	case *catalogv1.CredentialPlace_Cookie:
		return credential.InCookie(p.Cookie.GetName()), p.Cookie.GetName() != ""
	case *catalogv1.CredentialPlace_Subprotocol:
		return credential.InSubprotocol(), true
	case *catalogv1.CredentialPlace_Ticket:
		return credential.InTicket(), true
	case *catalogv1.CredentialPlace_FirstMessage:
		message, ok := messageOf(p.FirstMessage)
		return credential.Place{Part: credential.FirstMessage, Message: message}, ok
	}
	return credential.Place{}, false
}

func headerForm(h *catalogv1.HeaderPlace) (form credential.Form, ok bool) {
	switch h.GetForm() {
	case catalogv1.HeaderPlace_FORM_UNSPECIFIED:
		if strings.EqualFold(h.GetName(), "Authorization") {
			return credential.Bearer, true
		}
		return credential.Raw, true
	case catalogv1.HeaderPlace_FORM_BEARER:
		return credential.Bearer, true
	case catalogv1.HeaderPlace_FORM_RAW:
		return credential.Raw, true
	}
	return 0, false
}

func queryForm(q *catalogv1.QueryPlace) (form credential.Form, ok bool) {
	switch q.GetEncoding() {
	case catalogv1.QueryPlace_ENCODING_UNSPECIFIED, catalogv1.QueryPlace_ENCODING_PLAIN:
		return credential.Raw, true
	case catalogv1.QueryPlace_ENCODING_BASE64:
		return credential.Base64, true
	}
	return 0, false
}

// messageOf converts how a first message holds a credential; ok is false for pointers that
// are none.
func messageOf(p *catalogv1.FirstMessagePlace) (m *credential.Message, ok bool) {
	m = &credential.Message{PassOn: p.GetPassOn(), Protocols: p.GetSubprotocols()}
	if m.Pointer, ok = credential.ParsePointer(p.GetPointer()); !ok {
		return nil, false
	}
	if c := p.GetCondition(); c != nil {
		m.If = &credential.Condition{Value: c.GetValue()}
		m.If.Pointer, ok = credential.ParsePointer(c.GetPointer())
	}
	return m, ok
}
