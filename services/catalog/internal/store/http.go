package store

import (
	"slices"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// HTTP says what becomes of plain requests beside a version's socket. It is stored sealed, with
// the endpoints.
type HTTP struct {
	Endpoints
	// Security has the alternatives in order; empty: those of the version that a request can
	// show.
	Security []SecurityScheme `json:"security,omitempty"`
	// Cors is a value of the enum HTTPOptions.Cors without its prefix; empty is "not set".
	Cors string `json:"cors,omitempty"`
	// MaxBodyBytes and Timeout are 0 for what gateways allow.
	MaxBodyBytes int64         `json:"maxBodyBytes,omitempty"`
	Timeout      time.Duration `json:"timeout,omitempty"`
}

// Message returns it as the API has it.
func (h *HTTP) Message(r reader) *catalogv1.HTTPOptions {
	if h == nil {
		return nil
	}
	return &catalogv1.HTTPOptions{
		Endpoints: h.EndpointsFor(r), Security: messages(h.Security),
		Cors:         catalogv1.HTTPOptions_Cors(catalogv1.HTTPOptions_Cors_value[CorsPrefix+h.Cors]),
		MaxBodyBytes: h.MaxBodyBytes, Timeout: span(h.Timeout),
	}
}

// HTTPSecurity returns how clients prove who they are in a plain request: as HTTP says, or as
// for the socket, without the alternatives and places that only a socket has. It is empty
// where none is left.
func (v Version) HTTPSecurity() []SecurityScheme {
	if v.HTTP != nil && len(v.HTTP.Security) > 0 {
		return v.HTTP.Security
	}
	var all []SecurityScheme
	for _, s := range v.Security {
		s.Places = slices.DeleteFunc(slices.Clone(s.Places), func(p Place) bool { return !p.InRequests() })
		if s.Type == SchemeNone || len(s.Places) > 0 {
			all = append(all, s)
		}
	}
	return all
}

// AllEndpoints returns all endpoints, of the socket and of HTTP.
func (v Version) AllEndpoints() []Endpoint {
	all := slices.Concat(v.Production, v.Sandbox)
	if v.HTTP != nil {
		all = slices.Concat(all, v.HTTP.Production, v.HTTP.Sandbox)
	}
	return all
}

// InRequests reports whether the place is one of any HTTP request.
func (p Place) InRequests() bool { return p.In == InHeader || p.In == InQuery || p.In == InCookie }
