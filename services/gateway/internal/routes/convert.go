package routes

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/kit/routefeature"
)

// Features returns the features of routes that this gateway supports. Its hello
// tells them to the catalog.
func Features() []string { return []string{routefeature.Connections, routefeature.Templates} }

// Missing returns the features that a route requires and this gateway lacks. Such
// a route must not be served.
func (r *Route) Missing() []string {
	var missing []string
	for _, f := range r.Requires {
		if !slices.Contains(Features(), f) {
			missing = append(missing, f)
		}
	}
	return missing
}

// fromProto converts a route. Whatever this gateway does not understand in it
// becomes a required feature that the gateway lacks. So the route is never served
// with less than it asks for, such as less security.
func fromProto(p *backplanev1.Route) (*Route, error) {
	r := &Route{
		Name:           p.GetName(),
		API:            p.GetApi(),
		Owner:          p.GetOwner(),
		Context:        p.GetContext(),
		Segment:        p.GetVersion(),
		Default:        p.GetDefault(),
		Published:      published(p),
		PassCredential: p.GetPassCredential(),
		Deflate:        p.GetDeflate(),
		MaxAge:         p.GetMaxSessionAge().AsDuration(),
		Idle:           p.GetIdleTimeout().AsDuration(),
		Requires:       slices.Clone(p.GetRequires()),
		ChangeNumber:   p.GetChangeNumber(),
		Limits:         throttle.Version{TrafficPlan: p.GetTrafficPlan(), MaxMessage: p.GetMaxMessageBytes()},
	}
	if r.DefaultPaths = p.GetDefaultVersionPaths(); r.DefaultPaths {
		r.VersionStrings = make(map[string]struct{}, len(p.GetVersionStrings()))
		for _, s := range p.GetVersionStrings() {
			r.VersionStrings[strings.ToLower(s)] = struct{}{}
		}
	}
	var errs [3]error
	r.Endpoints, errs[0] = r.endpoints(p.GetEndpoints())
	r.HTTP, errs[1] = r.beside(p.GetHttp())
	r.Origins, errs[2] = ParseOrigins(p.GetAllowedOrigins())
	r.addresses(p.GetFurtherAddresses())
	r.speak(p.GetBackendOptions(), slices.Concat(p.GetAdvertisedHosts(), advertised(p.GetFurtherAddresses())))
	r.Schemes = r.schemes(p.GetSecurity())
	r.ping(p.GetPings())
	r.tell(p.GetErrorFrames())
	r.end(p.GetClientEndings())
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Name, err)
	}
	return r, nil
}

func published(p *backplanev1.Route) bool { return p.GetState() == catalogv1.Version_STATE_PUBLISHED }

// schemes converts how clients authenticate; none is the default.
func (r *Route) schemes(alternatives []*catalogv1.SecurityScheme) (all []credential.Scheme) {
	if len(alternatives) == 0 {
		return []credential.Scheme{{Type: credential.OAuth2, Places: credential.OAuth2Places()}}
	}
	for _, alternative := range alternatives {
		switch s := alternative.GetScheme().(type) {
		case *catalogv1.SecurityScheme_Oauth2:
			all = append(all, credential.Scheme{Type: credential.OAuth2, Places: r.places(s.Oauth2.GetPlaces(), credential.OAuth2Places())})
		case *catalogv1.SecurityScheme_ApiKey:
			all = append(all, credential.Scheme{Type: credential.APIKey, Places: r.places(s.ApiKey.GetPlaces(), credential.APIKeyPlaces())})
		case *catalogv1.SecurityScheme_None:
			all = append(all, credential.Scheme{Type: credential.None})
		default:
			r.lacks("scheme")
		}
	}
	return all
}

// speak sets how backends are spoken to.
func (r *Route) speak(o *catalogv1.BackendOptions, advertised []string) {
	switch o.GetHost() {
	case catalogv1.BackendOptions_HOST_UNSPECIFIED, catalogv1.BackendOptions_HOST_ENDPOINT:
	case catalogv1.BackendOptions_HOST_CLIENT:
		r.Backends.ClientHosts = advertised
	case catalogv1.BackendOptions_HOST_FIXED:
		r.Backends.FixedHost = o.GetFixedHost()
	default:
		r.lacks("host for backends")
	}
	switch o.GetOrigin() {
	case catalogv1.BackendOptions_ORIGIN_UNSPECIFIED, catalogv1.BackendOptions_ORIGIN_CLIENT:
	case catalogv1.BackendOptions_ORIGIN_NONE:
		r.Backends.Origin = NoOrigin
	case catalogv1.BackendOptions_ORIGIN_ENDPOINT:
		r.Backends.Origin = EndpointOrigin
	default:
		r.lacks("origin for backends")
	}
	switch o.GetIdentity() {
	case catalogv1.BackendOptions_IDENTITY_UNSPECIFIED, catalogv1.BackendOptions_IDENTITY_NONE:
	case catalogv1.BackendOptions_IDENTITY_HEADERS:
		r.Backends.Identity = HeadersIdentity
	case catalogv1.BackendOptions_IDENTITY_JWT:
		r.Backends.Identity = JWTIdentity
	default:
		r.lacks("identity for backends")
	}
	r.headers(o.GetHeaders())
}

// headers sets what becomes of headers on the way to backends.
func (r *Route) headers(rules []*catalogv1.HeaderRule) {
	for _, p := range rules {
		rule := HeaderRule{Name: p.GetName(), Key: HeaderKey(p.GetName())}
		switch action := p.GetAction().(type) {
		case *catalogv1.HeaderRule_Set:
			rule.Value = action.Set
		case *catalogv1.HeaderRule_Secret:
			rule.Value = action.Secret.GetValue()
		case *catalogv1.HeaderRule_Remove:
		case *catalogv1.HeaderRule_CopyOf:
			rule.From = http.CanonicalHeaderKey(action.CopyOf)
		default:
			r.lacks("rule of a header")
			continue
		}
		if !head.IsToken(rule.Name) || strings.ContainsAny(rule.Value, "\r\n\x00") {
			r.lacks("form of a header")
			continue
		}
		r.Backends.Headers = append(r.Backends.Headers, rule)
	}
}

// ping sets whom the gateway sends pings.
func (r *Route) ping(p catalogv1.Version_Pings) {
	switch p {
	case catalogv1.Version_PINGS_UNSPECIFIED, catalogv1.Version_PINGS_BOTH:
	case catalogv1.Version_PINGS_CLIENTS:
		r.Pings.NoBackend = true
	case catalogv1.Version_PINGS_BACKENDS:
		r.Pings.NoClient = true
	case catalogv1.Version_PINGS_OFF:
		r.Pings = Pings{NoClient: true, NoBackend: true}
	default:
		r.lacks("pings")
	}
}

// tell sets what clients are told of messages that are dropped.
func (r *Route) tell(f *catalogv1.ErrorFrames) {
	switch f.GetTemplate() {
	case catalogv1.ErrorFrames_TEMPLATE_UNSPECIFIED:
	case catalogv1.ErrorFrames_TEMPLATE_JSON:
		r.Frames = &ending.ErrorFrames{Template: ending.JSONFrames}
	case catalogv1.ErrorFrames_TEMPLATE_WSO2:
		r.Frames = &ending.ErrorFrames{Template: ending.WSO2Frames}
	case catalogv1.ErrorFrames_TEMPLATE_TEXT:
		r.Frames = &ending.ErrorFrames{Template: ending.TextFrames, Text: f.GetText()}
	case catalogv1.ErrorFrames_TEMPLATE_NONE:
		r.Frames = &ending.ErrorFrames{}
	default:
		r.lacks("template of error frames")
	}
}

// end sets what clients get at ends of sessions.
func (r *Route) end(all []*catalogv1.ClientEnding) {
	reasons := map[catalogv1.ClientEnding_Cause]ending.Reason{
		catalogv1.ClientEnding_CAUSE_DRAIN: ending.Drain, catalogv1.ClientEnding_CAUSE_BACKEND_GONE: ending.BackendGone,
		catalogv1.ClientEnding_CAUSE_REVOKED: ending.Revoked, catalogv1.ClientEnding_CAUSE_EXPIRED: ending.Expired,
		catalogv1.ClientEnding_CAUSE_BLOCKED: ending.Blocked, catalogv1.ClientEnding_CAUSE_THROTTLED: ending.Throttled,
	}
	for _, e := range all {
		reason, known := reasons[e.GetCause()]
		if !known {
			r.lacks("cause of an ending")
			continue
		}
		if r.Endings == nil {
			r.Endings = ending.ClientEndings{}
		}
		r.Endings[reason] = ending.ClientEnding{Code: uint16(e.GetCode()), Text: e.GetText()}
	}
}

// lacks notes that the route says something of the given kind that this gateway
// does not know. That counts as a required feature that the gateway lacks.
func (r *Route) lacks(what string) {
	r.Requires = append(r.Requires, "unknown "+what)
}
