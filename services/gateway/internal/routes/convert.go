package routes

import (
	"errors"
	"fmt"
	"slices"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
)

// Features returns the features of routes that this gateway understands, as it
// tells the catalog.
func Features() []string { return []string{} }

// Missing returns the features of a route that this gateway lacks: it must not
// be served then.
func (r *Route) Missing() []string {
	var missing []string
	for _, f := range r.Requires {
		if !slices.Contains(Features(), f) {
			missing = append(missing, f)
		}
	}
	return missing
}

// FromProto converts a route. What it says in words that this gateway does not
// know becomes a feature that the gateway lacks.
func FromProto(p *backplanev1.Route) (*Route, error) {
	r := &Route{
		Name:        p.GetName(),
		API:         p.GetApi(),
		DisplayName: p.GetDisplayName(),
		Owner:       p.GetOwner(),
		Context:     p.GetContext(),
		Version:     p.GetVersion(),
		Default:     p.GetDefault(),
		Published:   published(p),
		MaxAge:      p.GetMaxSessionAge().AsDuration(),
		Requires:    slices.Clone(p.GetRequires()),
		Revision:    p.GetRevision(),
	}
	var errs [4]error
	r.Production, errs[0] = endpoint(p.GetEndpoints().GetProduction())
	r.Sandbox, errs[1] = endpoint(p.GetEndpoints().GetSandbox())
	r.Origins, errs[2] = ParseOrigins(p.GetAllowedOrigins())
	if errs[0] == nil && errs[1] == nil && r.Production == nil && r.Sandbox == nil {
		errs[3] = errors.New("no endpoint")
	}
	r.secure(p.GetSecurity())
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Name, err)
	}
	return r, nil
}

func published(p *backplanev1.Route) bool { return p.GetState() == catalogv1.Version_STATE_PUBLISHED }

// endpoint parses a backend's address, nil for none.
func endpoint(raw string) (*Endpoint, error) {
	if raw == "" {
		return nil, nil
	}
	return ParseEndpoint(raw)
}

// secure sets how clients prove who they are; what is not said is the default.
func (r *Route) secure(s *catalogv1.Security) {
	for _, scheme := range s.GetSchemes() {
		switch scheme {
		case catalogv1.Security_SCHEME_OAUTH2:
			r.Schemes = append(r.Schemes, SchemeOAuth2)
		case catalogv1.Security_SCHEME_NONE:
			r.Schemes = append(r.Schemes, SchemeNone)
		default:
			r.lacks("scheme", int32(scheme))
		}
	}
	for _, place := range s.GetPlaces() {
		switch place {
		case catalogv1.Security_PLACE_AUTHORIZATION_HEADER:
			r.Places = append(r.Places, credential.AuthorizationHeader)
		case catalogv1.Security_PLACE_ACCESS_TOKEN_QUERY:
			r.Places = append(r.Places, credential.AccessTokenQuery)
		default:
			r.lacks("place", int32(place))
		}
	}
	if len(s.GetSchemes()) == 0 {
		r.Schemes = []Scheme{SchemeOAuth2}
	}
	if len(s.GetPlaces()) == 0 {
		r.Places = []credential.Place{credential.AuthorizationHeader, credential.AccessTokenQuery}
	}
}

// lacks notes a word that is not known.
func (r *Route) lacks(what string, value int32) {
	r.Requires = append(r.Requires, fmt.Sprintf("%s-%d", what, value))
}
