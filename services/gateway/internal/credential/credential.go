// Package credential takes the credential out of a handshake, so that the backend
// never sees it: Take finds it in the places that the API allows, and removes it there;
// a Recognizer removes what is a credential of this installation at any other place.
// Package grant finds out what a credential is valid for.
package credential

import (
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// Type is a kind of credential.
type Type uint8

// The types.
const (
	// OAuth2 is an access token of an application, used as a bearer token
	// (RFC 6750).
	OAuth2 Type = iota + 1
	// None is no credential at all: anybody may connect.
	None
	// APIKey is an API key of an application, of one of the formats of package apikey.
	APIKey
	// Ticket is the right to open one session. Places of any scheme hold one.
	Ticket
)

// Scheme is one way to authenticate that an API accepts.
type Scheme struct {
	Type   Type
	Places []Place // where the credential may be, in the order tried
}

// Credential is what a client presented.
type Credential struct {
	Type  Type   // of the scheme in whose place it was found
	Value string // "" for None
	Use   Use    // of a ticket
}

// Use is the handshake that a ticket is shown in.
type Use struct {
	Attempt string     // its ref, until the ticket says which the session has
	Origin  string     // "" for none
	Client  netip.Addr // not valid where it is not known
}

// Handshake is what of a handshake can hold credentials.
type Handshake struct {
	Header    http.Header // with canonical names
	Query     string      // undecoded, without "?"
	Protocols []string    // the sub-protocols offered, in the client's order; not changed in place
}

// Taken is what Take found.
type Taken struct {
	Credential
	Part Part // in which it was; 0 for None
	// Answer is the sub-protocol of the handshake that the client is to be answered where the
	// backend chooses none, or browsers fail the connection; "" where there is none.
	Answer string
}

// maxToken is the longest credential that the control plane takes.
const maxToken = 8192

// ErrMissing means that no place holds a credential.
var ErrMissing = errors.New("no credential")

// errMalformed means that the first place that holds a credential holds several, or
// something that cannot be a token.
var errMalformed = errors.New("malformed credential")

// Take finds the credential of a handshake. It tries the schemes in order, and the
// places of each in order; the first place that holds a credential decides. If that
// credential is malformed, no other place is tried. The error is ErrMissing, ErrAlone or
// says that the credential is malformed.
//
// A header whose form is Bearer and that has another scheme, and a header, a parameter or
// a cookie without a value hold no credential (RFC 6749 section 3.1). A header line, a
// parameter or a cookie that is repeated is malformed (RFC 6750 section 3.1). A first
// message is not there yet, and holds none.
//
// Whatever the outcome, everything at a place of one of the schemes is removed from h, used
// or not. All other bytes of the query, of the cookies and of the protocols stay as they
// are, in their order.
func Take(schemes []Scheme, h *Handshake) (Taken, error) {
	var t Taken
	decided, err := false, ErrMissing
	for _, s := range schemes {
		if s.Type == None && !decided {
			t.Credential, decided, err = Credential{Type: None}, true, nil
		}
		for _, p := range s.Places {
			value, answer, e := h.cut(p)
			if answer != "" {
				t.Answer = answer
			}
			if decided || errors.Is(e, ErrMissing) {
				continue
			}
			kind := s.Type
			if p.Part == TicketQuery {
				kind = Ticket
			}
			if decided, err = true, e; e == nil {
				value, err = kind.check(value)
			}
			if err == nil {
				t.Credential, t.Part = Credential{Type: kind, Value: value}, p.Part
			}
		}
	}
	return t, err
}

// cut removes what is at a place and returns the credential there, decoded and not
// checked. answer is as Taken has it.
func (h *Handshake) cut(p Place) (value, answer string, err error) {
	switch p.Part {
	case Header:
		lines := h.Header[p.Name]
		delete(h.Header, p.Name)
		value, err = fromHeader(lines, p.Form)
	case Query, TicketQuery:
		found := cutTokens(h.Query, p.Name)
		h.Query = found.rest
		value, err = found.one(p.Form)
	case Cookie:
		value, err = h.cutCookie(p.Name)
	case Subprotocol:
		return h.cutProtocol()
	default:
		err = ErrMissing
	}
	return value, "", err
}

// TakesTickets reports whether a place of schemes holds tickets.
func TakesTickets(schemes []Scheme) bool {
	return slices.ContainsFunc(schemes, func(s Scheme) bool {
		return slices.ContainsFunc(s.Places, func(p Place) bool { return p.Part == TicketQuery })
	})
}

// FirstMessagePlace returns the place of schemes that is the first message, and the type of
// the credential there; ok is false where none is.
func FirstMessagePlace(schemes []Scheme) (p Place, t Type, ok bool) {
	for _, s := range schemes {
		for _, p := range s.Places {
			if p.Part == FirstMessage {
				return p, s.Type, true
			}
		}
	}
	return Place{}, 0, false
}

// TryOutSchemes are those by which a try-out token is taken from a version with these
// schemes: it is good at the places of access tokens, whatever the version asks for. The
// version's own places are emptied, too.
func TryOutSchemes(schemes []Scheme) []Scheme {
	return append([]Scheme{{Type: OAuth2, Places: OAuth2Places()}}, schemes...)
}

// TryOut returns the version that the credential of a handshake says it is a try-out token
// of, "" for any other credential. It is looked for at the places of access tokens, then at
// those of schemes. Nothing is verified, and nothing removed.
func TryOut(schemes []Scheme, h *Handshake) string {
	token, err := fromHeader(h.Header["Authorization"], Bearer)
	if errors.Is(err, ErrMissing) && strings.Contains(h.Query, "=") {
		found := cutTokens(h.Query, "access_token")
		token, err = found.one(Raw)
	}
	if errors.Is(err, ErrMissing) && len(schemes) > 0 {
		var t Taken
		t, err = Take(schemes, &Handshake{Header: maps.Clone(h.Header), Query: h.Query, Protocols: h.Protocols})
		token = t.Value
	}
	if err != nil {
		return ""
	}
	return tryOutVersion(token)
}

// tryOutVersion returns the version that a token says it is a try-out token of, or "".
func tryOutVersion(token string) string {
	if !strings.HasPrefix(token, jwtPrefix) {
		return ""
	}
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	var claims identity.TryOutClaims
	if !readPart(payload, &claims) {
		return ""
	}
	return claims.Version
}

// fromHeader returns the credential of a header.
func fromHeader(lines []string, form Form) (string, error) {
	switch {
	case len(lines) == 0:
		return "", ErrMissing
	case len(lines) > 1:
		return "", errMalformed
	}
	value := strings.Trim(lines[0], " \t")
	if form == Bearer {
		scheme, token, _ := strings.Cut(value, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", ErrMissing
		}
		return strings.TrimLeft(token, " "), nil
	}
	if value == "" {
		return "", ErrMissing
	}
	return value, nil
}

// check returns a credential if it can be one of the type: an access token has the form of
// RFC 6750 section 2.1, and every other is visible ASCII.
func (t Type) check(value string) (string, error) {
	body := value
	if t == OAuth2 {
		body = strings.TrimRight(value, "=")
	}
	if body == "" || len(value) > maxToken {
		return "", errMalformed
	}
	for i := range len(body) {
		if c := body[i]; c <= ' ' || c >= 0x7f || t == OAuth2 && !isTokenByte(c) {
			return "", errMalformed
		}
	}
	return value, nil
}

func isTokenByte(c byte) bool {
	switch c {
	case '-', '.', '_', '~', '+', '/':
		return true
	}
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
