// Package credential finds the credential in a handshake and cuts it out. What
// the credential is worth is for package auth to say.
package credential

import (
	"errors"
	"net/http"
	"strings"
)

// Place is where a credential may stand in a handshake.
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

const (
	header    = "Authorization"
	parameter = "access_token"
	// maxToken is the longest credential that the control plane takes.
	maxToken = 8192
)

var (
	// ErrNone is returned when no place holds a credential.
	ErrNone = errors.New("no credential")
	// ErrMalformed is returned when the first place that holds a credential
	// holds several, or one that cannot be a token.
	ErrMalformed = errors.New("malformed credential")
)

// Extract returns the credential of the first of these places that holds one.
// That place decides: when its credential is malformed, no other is tried.
//
// An Authorization header of another scheme and a parameter without a value
// hold none (RFC 6749 section 3.1). A header line or a parameter that is
// repeated is malformed (RFC 6750 section 3.1).
func Extract(places []Place, h http.Header, rawQuery string) (string, error) {
	for _, p := range places {
		var token string
		var err error
		switch p {
		case AuthorizationHeader:
			token, err = fromHeader(h[header])
		case AccessTokenQuery:
			token, err = fromQuery(rawQuery)
		default:
			err = ErrNone
		}
		if !errors.Is(err, ErrNone) {
			return token, err
		}
	}
	return "", ErrNone
}

func fromHeader(lines []string) (string, error) {
	switch {
	case len(lines) == 0:
		return "", ErrNone
	case len(lines) > 1:
		return "", ErrMalformed
	}
	scheme, token, _ := strings.Cut(strings.Trim(lines[0], " \t"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrNone
	}
	return check(strings.TrimLeft(token, " "))
}

func fromQuery(query string) (string, error) {
	var found string
	count, held := 0, false
	for piece := range strings.SplitSeq(query, "&") {
		if !isParameter(piece) {
			continue
		}
		_, value, _ := strings.Cut(piece, "=")
		found, held = value, held || value != ""
		count++
	}
	switch {
	case !held:
		return "", ErrNone
	case count > 1:
		return "", ErrMalformed
	}
	// No token has a space in it, so a plus is a plus.
	token, ok := unescape(found)
	if !ok {
		return "", ErrMalformed
	}
	return check(token)
}

// check returns a token of RFC 6750 section 2.1's form.
func check(token string) (string, error) {
	body := strings.TrimRight(token, "=")
	if body == "" || len(token) > maxToken {
		return "", ErrMalformed
	}
	for i := range len(body) {
		if !isTokenByte(body[i]) {
			return "", ErrMalformed
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
