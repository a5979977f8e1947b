package credential

import (
	"errors"
	"net/http"
	"testing"
)

// TestTakePlain has credentials in requests that open no session, of versions of every kind: in
// the header that is everybody's, and at the version's own places.
func TestTakePlain(t *testing.T) {
	tokens := func(places ...Place) Scheme { return Scheme{Type: OAuth2, Places: places} }
	keys := func(places ...Place) Scheme { return Scheme{Type: APIKey, Places: places} }
	lines := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	for _, tt := range []struct {
		name    string
		schemes []Scheme
		header  http.Header
		query   string
		want    Credential
		err     error
	}{
		{"a ticket's version", []Scheme{tokens(InTicket())}, lines("Authorization", "Bearer abc"), "", Credential{Type: OAuth2, Value: "abc"}, nil},
		{"its ticket", []Scheme{tokens(InTicket())}, nil, "ticket=abc", Credential{}, ErrMissing},
		{"a first message's", []Scheme{tokens(Place{Part: FirstMessage, Message: &Message{}})}, lines("Authorization", "bearer abc"), "", Credential{Type: OAuth2, Value: "abc"}, nil},
		{"a sub-protocol's", []Scheme{tokens(InSubprotocol())}, lines("Authorization", "Bearer abc"), "", Credential{Type: OAuth2, Value: "abc"}, nil},
		{"a key of one for keys", []Scheme{keys(InTicket())}, lines("Apikey", "abc"), "", Credential{Type: APIKey, Value: "abc"}, nil},
		{"a key of one for tokens", []Scheme{tokens(InTicket())}, lines("Apikey", "abc"), "", Credential{}, ErrMissing},
		{"a token of one for keys", []Scheme{keys(InTicket())}, lines("Authorization", "Bearer abc"), "", Credential{}, ErrMissing},
		{"a token of one for both", []Scheme{keys(APIKeyPlaces()...), tokens(InTicket())}, lines("Authorization", "Bearer abc"), "", Credential{Type: OAuth2, Value: "abc"}, nil},
		{"a header of its own", []Scheme{tokens(InHeader("X-Token", Raw))}, lines("X-Token", "abc"), "", Credential{Type: OAuth2, Value: "abc"}, nil},
		{"its header, raw", []Scheme{tokens(InHeader("Authorization", Raw))}, lines("Authorization", "abc"), "", Credential{Type: OAuth2, Value: "abc"}, nil},
		{"its header, raw, with Bearer", []Scheme{tokens(InHeader("Authorization", Raw))}, lines("Authorization", "Bearer abc"), "", Credential{Type: OAuth2, Value: "abc"}, nil},
		{"a header that is for keys", []Scheme{tokens(InTicket()), keys(InHeader("Authorization", Bearer))}, lines("Authorization", "Bearer abc"), "", Credential{Type: APIKey, Value: "abc"}, nil},
		{"a parameter", []Scheme{tokens(InQuery("t", Raw))}, nil, "a=1&t=abc", Credential{Type: OAuth2, Value: "abc"}, nil},
		{"a cookie", []Scheme{tokens(InCookie("sid"))}, lines("Cookie", "a=1; sid=abc"), "", Credential{Type: OAuth2, Value: "abc"}, nil},
		{"a cookie of before, and a token", []Scheme{tokens(InCookie("sid"))}, lines("Cookie", "sid=old", "Authorization", "Bearer abc"), "", Credential{Type: OAuth2, Value: "abc"}, nil},
		{"two lines", []Scheme{tokens(InTicket())}, lines("Authorization", "Bearer abc", "Authorization", "Bearer abc"), "", Credential{}, errMalformed},
		{"none needed", []Scheme{{Type: None}}, nil, "", Credential{Type: None}, nil},
		{"none needed, one there", []Scheme{tokens(InTicket()), {Type: None}}, lines("Authorization", "Bearer abc"), "", Credential{Type: OAuth2, Value: "abc"}, nil},
	} {
		before := tt.header.Clone()
		got, err := TakePlain(PlainSchemes(tt.schemes, Header, Query, Cookie), &Handshake{Header: tt.header, Query: tt.query})
		if got.Credential != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: TakePlain = %+v, %v, want %+v, %v", tt.name, got.Credential, err, tt.want, tt.err)
		}
		for name := range before {
			if tt.header.Get(name) != before.Get(name) {
				t.Errorf("%s: the request has lost its %s", tt.name, name)
			}
		}
	}
}

// TestPlainSchemesOfParts: places in other parts than those that a request has are not named.
func TestPlainSchemesOfParts(t *testing.T) {
	schemes := []Scheme{{Type: OAuth2, Places: append(OAuth2Places(), InCookie("sid"), InTicket())}}
	if got, want := Names(PlainSchemes(schemes, Header, Cookie)), "the header Authorization: Bearer, then in the cookie sid"; got != want {
		t.Errorf("the places are %q, want %q", got, want)
	}
}
