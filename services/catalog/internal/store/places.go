package store

import (
	"slices"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// Place is where in a handshake a credential may be.
type Place struct {
	// In is one of the parts below.
	In string `json:"in"`
	// Name is that of the header, the parameter or the cookie.
	Name string `json:"name,omitempty"`
	// Form is a value of the enum HeaderPlace.Form or QueryPlace.Encoding without its prefix;
	// empty is "not set".
	Form string `json:"form,omitempty"`
	// FirstMessage says how a first message holds the credential.
	FirstMessage *FirstMessage `json:"firstMessage,omitempty"`
}

// FirstMessage is how the first message of a client holds a credential.
type FirstMessage struct {
	Pointer string `json:"pointer,omitempty"`
	// Condition is what else the message has to say; nil for nothing.
	Condition *Condition `json:"condition,omitempty"`
	PassOn    bool       `json:"passOn,omitempty"`
	// Subprotocols are those of the version.
	Subprotocols []string `json:"subprotocols,omitempty"`
}

// Condition is a member of a message that has to have a value.
type Condition struct {
	Pointer string `json:"pointer"`
	Value   string `json:"value"`
}

// Parts that have places.
const (
	InHeader       = "header"
	InQuery        = "query"
	InCookie       = "cookie"
	InSubprotocol  = "subprotocol"
	InFirstMessage = "firstMessage"
	InTicket       = "ticket"
)

// Message returns the place as the API and routes have it.
func (p Place) Message() *catalogv1.CredentialPlace {
	switch p.In {
	case InQuery:
		encoding := catalogv1.QueryPlace_Encoding(catalogv1.QueryPlace_Encoding_value[EncodingPrefix+p.Form])
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Query{Query: &catalogv1.QueryPlace{Name: p.Name, Encoding: encoding}}}
	case InCookie:
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Cookie{Cookie: &catalogv1.CookiePlace{Name: p.Name}}}
	case InSubprotocol:
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Subprotocol{Subprotocol: &catalogv1.SubprotocolPlace{}}}
	case InTicket:
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Ticket{Ticket: &catalogv1.TicketPlace{}}}
	case InFirstMessage:
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_FirstMessage{FirstMessage: p.FirstMessage.message()}}
	default:
		form := catalogv1.HeaderPlace_Form(catalogv1.HeaderPlace_Form_value[FormPrefix+p.Form])
		return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: p.Name, Form: form}}}
	}
}

func (m *FirstMessage) message() *catalogv1.FirstMessagePlace {
	if m == nil {
		return &catalogv1.FirstMessagePlace{}
	}
	p := &catalogv1.FirstMessagePlace{Pointer: m.Pointer, PassOn: m.PassOn, Subprotocols: m.Subprotocols}
	if m.Condition != nil {
		p.Condition = &catalogv1.FirstMessagePlace_Condition{Pointer: m.Condition.Pointer, Value: m.Condition.Value}
	}
	return p
}

// PassesOn reports whether backends get a first message that has a credential in it.
func (v Version) PassesOn() bool {
	return slices.ContainsFunc(v.Security, func(s SecurityScheme) bool {
		return slices.ContainsFunc(s.Places, func(p Place) bool { return p.FirstMessage != nil && p.FirstMessage.PassOn })
	})
}
