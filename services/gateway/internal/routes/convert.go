package routes

import (
	"errors"
	"fmt"
	"slices"
	"strings"

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
		Revision:    p.GetChangeNumber(),
	}
	var errs [4]error
	r.Production, errs[0] = r.endpoint(p.GetEndpoints().GetProduction())
	r.Sandbox, errs[1] = r.endpoint(p.GetEndpoints().GetSandbox())
	r.Origins, errs[2] = ParseOrigins(p.GetAllowedOrigins())
	if errs[0] == nil && errs[1] == nil && r.Production == nil && r.Sandbox == nil && len(r.Requires) == 0 {
		errs[3] = errors.New("no endpoint")
	}
	r.secure(p.GetSecurity())
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Name, err)
	}
	return r, nil
}

func published(p *backplanev1.Route) bool { return p.GetState() == catalogv1.Version_STATE_PUBLISHED }

// endpoint takes the endpoint of a stage, nil for none.
func (r *Route) endpoint(stage []*catalogv1.Endpoint) (*Endpoint, error) {
	if len(stage) == 0 {
		return nil, nil
	}
	if len(stage) > 1 {
		r.lacks("several endpoints")
	}
	url, ok := stage[0].GetEndpoint().(*catalogv1.Endpoint_Url)
	if !ok {
		r.lacks("endpoint")
		return nil, nil
	}
	return ParseEndpoint(url.Url)
}

// secure sets how clients prove who they are; what is not said is the default.
func (r *Route) secure(alternatives []*catalogv1.SecurityScheme) {
	if len(alternatives) == 0 {
		r.oauth2(nil)
	}
	for _, alternative := range alternatives {
		switch s := alternative.GetScheme().(type) {
		case *catalogv1.SecurityScheme_Oauth2:
			r.oauth2(s.Oauth2.GetPlaces())
		case *catalogv1.SecurityScheme_None:
			r.Schemes = append(r.Schemes, SchemeNone)
		default:
			r.lacks("scheme")
		}
	}
}

func (r *Route) oauth2(places []*catalogv1.CredentialPlace) {
	r.Schemes = append(r.Schemes, SchemeOAuth2)
	if len(places) == 0 {
		r.Places = append(r.Places, credential.AuthorizationHeader, credential.AccessTokenQuery)
	}
	for _, place := range places {
		switch {
		case strings.EqualFold(place.GetHeader().GetName(), "Authorization"):
			r.Places = append(r.Places, credential.AuthorizationHeader)
		case place.GetQuery().GetName() == "access_token":
			r.Places = append(r.Places, credential.AccessTokenQuery)
		default:
			r.lacks("place")
		}
	}
}

// lacks notes that the route says something that this gateway does not know, in
// the kind of thing that what names.
func (r *Route) lacks(what string) {
	r.Requires = append(r.Requires, "unknown "+what)
}
