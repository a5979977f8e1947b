package credential

import (
	"net/http"
	"strings"
)

// Part is a part of a handshake, or what follows it, that can hold a credential.
type Part uint8

// The parts.
const (
	Header Part = iota + 1
	Query
	Cookie
	// Subprotocol is Sec-WebSocket-Protocol.
	Subprotocol
	// TicketQuery is the query parameter "ticket", which holds a ticket whatever the scheme.
	TicketQuery
	// FirstMessage is what the client sends first once it has been answered 101.
	FirstMessage
)

// Form is how a place holds a credential.
type Form uint8

// The forms.
const (
	// Raw is the credential as it is; percent-encoded in a query.
	Raw Form = iota
	// Bearer is the word Bearer, in any case, a space and the credential; in a header.
	Bearer
	// Base64 is the credential in base64 of either alphabet, padded or not; in a query.
	Base64
)

// Place is where a credential may be. It is a value; its zero value is no place.
type Place struct {
	Part Part
	// Name is that of the header, as HTTP libraries write it ("X-Api-Key"), of the parameter
	// or of the cookie.
	Name string
	Form Form
	// Message says how the first message holds the credential; nil for other parts.
	Message *Message
}

// InHeader is a header of this name, in any case.
func InHeader(name string, form Form) Place {
	return Place{Part: Header, Name: http.CanonicalHeaderKey(name), Form: form}
}

// InQuery is a query parameter.
func InQuery(name string, form Form) Place { return Place{Part: Query, Name: name, Form: form} }

// InCookie is a cookie.
func InCookie(name string) Place { return Place{Part: Cookie, Name: name} }

// InSubprotocol is Sec-WebSocket-Protocol.
func InSubprotocol() Place { return Place{Part: Subprotocol} }

// InTicket is the query parameter for a ticket.
func InTicket() Place { return Place{Part: TicketQuery, Name: "ticket"} }

// OAuth2Places are where access tokens are looked for where a version says nothing else:
// "Authorization: Bearer TOKEN", then the query parameter access_token.
func OAuth2Places() []Place {
	return []Place{InHeader("Authorization", Bearer), InQuery("access_token", Raw)}
}

// APIKeyPlaces are where API keys are looked for where a version says nothing else: the
// header apikey, then the query parameter apikey.
func APIKeyPlaces() []Place { return []Place{InHeader("apikey", Raw), InQuery("apikey", Raw)} }

// String describes the place to a user who has to put a credential there.
func (p Place) String() string {
	switch p.Part {
	case Header:
		if p.Form == Bearer {
			return "the header " + p.Name + ": Bearer"
		}
		return "the header " + p.Name
	case Query:
		if p.Form == Base64 {
			return "the query parameter " + p.Name + ", in base64"
		}
		return "the query parameter " + p.Name
	case Cookie:
		return "the cookie " + p.Name
	case Subprotocol:
		return "the sub-protocol after " + pairName
	case TicketQuery:
		return "a ticket in the query parameter " + p.Name
	case FirstMessage:
		return "the first message" + p.Message.where()
	default:
		return "an unknown place"
	}
}

// Names lists the places of schemes to a user, in the order of the search.
func Names(schemes []Scheme) string {
	var names []string
	for _, s := range schemes {
		for _, p := range s.Places {
			names = append(names, p.String())
		}
	}
	return strings.Join(names, ", then in ")
}
