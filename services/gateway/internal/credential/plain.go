package credential

import (
	"errors"
	"maps"
	"slices"
)

// PlainSchemes are those by which a request that opens no session shows a credential of a
// version with these schemes: one that buys a ticket, lists sessions or renews one. Whatever
// places the version lists, an access token is looked for in "Authorization: Bearer" and an API
// key in the header apikey, unless the version has the header for the other; then at the places
// of the version that are in these parts of a handshake.
func PlainSchemes(schemes []Scheme, parts ...Part) []Scheme {
	var plain []Scheme
	for _, s := range schemes {
		if s.Type == None {
			plain = append(plain, s)
		} else if p := plainPlace(s.Type); p != (Place{}) && !hasHeader(schemes, p.Name, s.Type) {
			plain = append(plain, Scheme{Type: s.Type, Places: []Place{p}})
		}
	}
	for _, s := range schemes {
		own := slices.DeleteFunc(slices.Clone(s.Places), func(p Place) bool {
			return !slices.Contains(parts, p.Part) || p == plainPlace(s.Type)
		})
		if len(own) > 0 {
			plain = append(plain, Scheme{Type: s.Type, Places: own})
		}
	}
	return plain
}

// plainPlace is where every plain request may show a credential of a type; none for what is no
// credential.
func plainPlace(t Type) Place {
	switch t {
	case OAuth2:
		return InHeader("Authorization", Bearer)
	case APIKey:
		return InHeader("apikey", Raw)
	default:
		return Place{}
	}
}

// hasHeader reports whether a scheme of another type has a place in a header.
func hasHeader(schemes []Scheme, name string, but Type) bool {
	return slices.ContainsFunc(schemes, func(s Scheme) bool {
		return s.Type != but && slices.ContainsFunc(s.Places, func(p Place) bool { return p.Part == Header && p.Name == name })
	})
}

// TakePlain finds the credential of a request that opens no session at the places of
// PlainSchemes, and leaves the request as it is. The first place that holds a credential
// decides. The error is ErrMissing, or says that the credential is malformed.
func TakePlain(plain []Scheme, h *Handshake) (Taken, error) {
	for _, s := range plain {
		for _, p := range s.Places {
			shown := Handshake{Header: maps.Clone(h.Header), Query: h.Query}
			t, err := Take([]Scheme{{Type: s.Type, Places: []Place{p}}}, &shown)
			if !errors.Is(err, ErrMissing) {
				return t, err
			}
		}
	}
	if slices.ContainsFunc(plain, func(s Scheme) bool { return s.Type == None }) {
		return Taken{Credential: Credential{Type: None}}, nil
	}
	return Taken{}, ErrMissing
}
