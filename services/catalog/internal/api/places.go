package api

import (
	"fmt"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/cookiename"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// checkSecurity returns what is wrong with the alternatives of a version that has these
// origins, by field; at is the field that has them. The defaults of the alternatives are
// filled in.
func checkSecurity(at string, schemes []*catalogv1.SecurityScheme, origins []string) []fault.Violation {
	var wrong []fault.Violation
	add := func(field, format string, args ...any) {
		wrong = append(wrong, fault.Violation{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	taken, cookie, message := map[string]string{}, "", ""
	for i, s := range schemes {
		field := fmt.Sprintf("%s[%d]", at, i)
		if s.GetNone() != nil && len(schemes) > 1 {
			add(field, "none stands alone")
		}
		kind, places := placesOf(s)
		for j, p := range places {
			place, where := placeRow(p), fmt.Sprintf("%s.%s.places[%d]", field, kind, j)
			key := placeKey(place)
			if other, ok := taken[key]; ok {
				add(where, "must differ from %s: the two could not be told apart", other)
			}
			taken[key] = where
			if message != "" {
				add(message, "a first message is the last place: those before it are looked at in the handshake")
				message = ""
			}
			if below, text := checkPlace(place); text != "" {
				add(where+"."+below, "%s", text)
			}
			switch place.In {
			case store.InCookie:
				cookie = where
			case store.InFirstMessage:
				message = where
			}
		}
	}
	if cookie != "" {
		wrong = append(wrong, checkCookieOrigins(cookie, origins)...)
	}
	return wrong
}

// placesOf returns the places of a scheme, and the field that has them.
func placesOf(s *catalogv1.SecurityScheme) (kind string, places []*catalogv1.CredentialPlace) {
	if key := s.GetApiKey(); key != nil {
		return "api_key", key.GetPlaces()
	}
	return "oauth2", s.GetOauth2().GetPlaces()
}

// placeKey is the same for two places where it could not be told what one of them holds.
func placeKey(p store.Place) string {
	switch p.In {
	case store.InHeader:
		return p.In + " " + strings.ToLower(p.Name)
	case store.InTicket:
		return store.InQuery + " ticket"
	}
	return p.In + " " + p.Name
}

// checkPlace returns what the proto's rules do not find wrong with a place, and in which
// field of it; text is "" where nothing is.
func checkPlace(p store.Place) (field, text string) {
	switch {
	case p.In == store.InHeader && usedHeader(p.Name):
		return "header.name", "must not be " + p.Name + ", which means something else in a handshake"
	case p.In == store.InCookie && cookiename.Reserved(p.Name):
		return "cookie.name", "must not begin with " + cookiename.Prefix + ", as the cookies of Tidegate's own pages do"
	case p.In == store.InFirstMessage && p.FirstMessage.Condition != nil && p.FirstMessage.Pointer == "":
		return "first_message.condition", "is for a message in JSON: set the pointer, too"
	}
	return "", ""
}

// usedHeader reports whether a header means something else in a handshake, to the gateway,
// to HTTP or to what backends are told about clients. Many servers read X_A as X-A.
func usedHeader(name string) bool {
	name = canonical(name)
	switch name {
	case "Cookie", "Date", "User-Agent", "Traceparent", "Tracestate":
		return true
	}
	return writtenHeader(name)
}

// writtenHeader reports whether backends get a header as the handshake, HTTP or the gateway
// itself writes it, whatever clients send.
func writtenHeader(name string) bool {
	name = canonical(name)
	switch name {
	case "Host", "Origin", "Connection", "Upgrade", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Http2-Settings",
		"Expect", "Forwarded", "Via", "Cdn-Loop":
		return true
	}
	for _, prefix := range []string{"Sec-Websocket-", "Proxy-", "Content-", "X-Forwarded-", "X-Tidegate-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// checkCookieOrigins returns what is wrong with the origins of a version that takes a
// credential in a cookie. Browsers send cookies whatever page connects: only the Origin
// says which it is.
func checkCookieOrigins(cookie string, origins []string) []fault.Violation {
	if len(origins) == 0 {
		return []fault.Violation{{Field: "allowed_origins", Message: "must list the pages that may connect, as https://app.example.com, because " + cookie + " is a cookie"}}
	}
	var wrong []fault.Violation
	for i, origin := range origins {
		if origin == "null" || strings.Contains(origin, "*") {
			wrong = append(wrong, fault.Violation{
				Field:   fmt.Sprintf("allowed_origins[%d]", i),
				Message: "must be the whole origin of a page, as https://app.example.com, without * and not null, because " + cookie + " is a cookie",
			})
		}
	}
	return wrong
}

// placeRow returns a place as rows have it.
func placeRow(p *catalogv1.CredentialPlace) store.Place {
	switch place := p.GetPlace().(type) {
	case *catalogv1.CredentialPlace_Query:
		return store.Place{In: store.InQuery, Name: place.Query.GetName(), Form: enumRow(place.Query.GetEncoding(), store.EncodingPrefix)}
	case *catalogv1.CredentialPlace_Cookie:
		return store.Place{In: store.InCookie, Name: place.Cookie.GetName()}
	case *catalogv1.CredentialPlace_Subprotocol:
		return store.Place{In: store.InSubprotocol}
	case *catalogv1.CredentialPlace_Ticket:
		return store.Place{In: store.InTicket}
	case *catalogv1.CredentialPlace_FirstMessage:
		m := place.FirstMessage
		row := &store.FirstMessage{Pointer: m.GetPointer(), PassOn: m.GetPassOn(), Subprotocols: m.GetSubprotocols()}
		if c := m.GetCondition(); c != nil {
			row.Condition = &store.Condition{Pointer: c.GetPointer(), Value: c.GetValue()}
		}
		return store.Place{In: store.InFirstMessage, FirstMessage: row}
	default:
		return store.Place{In: store.InHeader, Name: p.GetHeader().GetName(), Form: enumRow(p.GetHeader().GetForm(), store.FormPrefix)}
	}
}
