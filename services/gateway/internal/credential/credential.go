// Package credential takes the credential out of a handshake, so that the backend
// never sees it: Take finds it in the places that the API allows, and removes it there;
// a Recognizer removes what is a credential of this installation at any other place.
// Package grant finds out what a credential is valid for.
package credential

import (
	"errors"
	"net/http"
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
)

// Scheme is one way to authenticate that an API accepts.
type Scheme struct {
	Type   Type
	Places []Place // where the credential may be, in the order tried
}

// Place is where in a handshake a credential may be.
type Place uint8

// The places.
const (
	// AuthorizationHeader is the header "Authorization: Bearer TOKEN".
	AuthorizationHeader Place = iota + 1
	// AccessTokenQuery is the query parameter access_token.
	AccessTokenQuery
)

// String describes the place to a user who has to put a credential there.
func (p Place) String() string {
	switch p {
	case AuthorizationHeader:
		return "the header Authorization: Bearer"
	case AccessTokenQuery:
		return "the query parameter access_token"
	default:
		return "an unknown place"
	}
}

// Credential is what a client presented.
type Credential struct {
	Type  Type   // of the scheme in whose place it was found
	Value string // "" for None
}

const (
	header    = "Authorization"
	parameter = "access_token"
	// maxToken is the longest credential that the control plane takes.
	maxToken = 8192
)

// ErrMissing means that no place holds a credential.
var ErrMissing = errors.New("no credential")

// errMalformed means that the first place that holds a credential holds several, or
// something that cannot be a token.
var errMalformed = errors.New("malformed credential")

// Take finds the credential of a handshake. It tries the schemes in order, and the
// places of each in order; the first place that holds a credential decides. If that
// credential is malformed, no other place is tried. The error is ErrMissing or says
// that the credential is malformed.
//
// An Authorization header of another scheme and a parameter without a value hold
// no credential (RFC 6749 section 3.1). A header line or a parameter that is
// repeated is malformed (RFC 6750 section 3.1).
//
// Whatever the outcome, every header and every parameter that is a place of one
// of the schemes is removed, used or not: headers from h, parameters from the
// query that is returned. All other bytes of the query stay as they are, in
// their order.
func Take(schemes []Scheme, h http.Header, query string) (c Credential, rest string, err error) {
	lines, found := h[header], tokens{rest: query}
	if anyHas(schemes, AuthorizationHeader) {
		delete(h, header)
	}
	if anyHas(schemes, AccessTokenQuery) {
		found = cutTokens(query)
	}
	for _, s := range schemes {
		if s.Type == None {
			return Credential{Type: None}, found.rest, nil
		}
		for _, p := range s.Places {
			var token string
			err := ErrMissing
			switch p {
			case AuthorizationHeader:
				token, err = fromHeader(lines)
			case AccessTokenQuery:
				token, err = found.one()
			}
			switch {
			case err == nil:
				return Credential{Type: s.Type, Value: token}, found.rest, nil
			case !errors.Is(err, ErrMissing):
				return Credential{}, found.rest, err
			}
		}
	}
	return Credential{}, found.rest, ErrMissing
}

// TryOutSchemes are those by which a try-out token is taken, whatever the version asks for.
func TryOutSchemes() []Scheme {
	return []Scheme{{Type: OAuth2, Places: []Place{AuthorizationHeader, AccessTokenQuery}}}
}

// TryOut returns the version that the credential of a handshake says it is a try-out token
// of, "" for any other credential. Nothing is verified, and nothing removed.
func TryOut(h http.Header, query string) string {
	token, err := fromHeader(h[header])
	if errors.Is(err, ErrMissing) && strings.Contains(query, "=") {
		found := cutTokens(query)
		token, err = found.one()
	}
	if err != nil || !strings.HasPrefix(token, jwtPrefix) {
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

func anyHas(schemes []Scheme, p Place) bool {
	return slices.ContainsFunc(schemes, func(s Scheme) bool { return slices.Contains(s.Places, p) })
}

func fromHeader(lines []string) (string, error) {
	switch {
	case len(lines) == 0:
		return "", ErrMissing
	case len(lines) > 1:
		return "", errMalformed
	}
	scheme, token, _ := strings.Cut(strings.Trim(lines[0], " \t"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrMissing
	}
	return check(strings.TrimLeft(token, " "))
}

// check returns the token if it has the form of RFC 6750 section 2.1.
func check(token string) (string, error) {
	body := strings.TrimRight(token, "=")
	if body == "" || len(token) > maxToken {
		return "", errMalformed
	}
	for i := range len(body) {
		if !isTokenByte(body[i]) {
			return "", errMalformed
		}
	}
	return token, nil
}

func isTokenByte(c byte) bool {
	switch c {
	case '-', '.', '_', '~', '+', '/':
		return true
	}
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
