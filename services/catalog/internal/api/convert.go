package api

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// Prefixes of the names of the proto's values, which rows do without.
const (
	statePrefix  = "STATE_"
	windowPrefix = "WINDOW_"
)

func etag(n int64) string { return strconv.FormatInt(n, 10) }

// apiProto is an API as a user sees it.
func apiProto(row store.API, c identity.Caller) *catalogv1.Api {
	a := &catalogv1.Api{
		Name:        apiName(row.ID),
		DisplayName: row.DisplayName,
		Context:     row.Context,
		Description: row.Description,
		Owner:       row.Owner,
		CreateTime:  timestamppb.New(row.CreatedAt),
		UpdateTime:  timestamppb.New(row.UpdatedAt),
		Etag:        etag(row.Etag),
	}
	if row.DefaultVersion != "" && (row.DefaultPublished || c.Sees(row.Owner)) {
		a.DefaultVersion = versionName(row.ID, row.DefaultVersion)
	}
	return a
}

// apiRow is what a row takes from an API.
func apiRow(a *catalogv1.Api) store.API {
	_, version := versionIDs(a.GetDefaultVersion())
	return store.API{
		DisplayName:    a.GetDisplayName(),
		Context:        a.GetContext(),
		Description:    a.GetDescription(),
		DefaultVersion: version,
	}
}

// versionProto is a version with its addresses.
func (a *API) versionProto(row store.Version) *catalogv1.Version {
	v := &catalogv1.Version{
		Name:           versionName(row.APIID, row.ID),
		Version:        row.Version,
		Description:    row.Description,
		Tags:           row.Tags,
		Endpoints:      endpointsProto(row),
		Security:       securityProto(row.Security),
		Plans:          planNames(row.Plans),
		AllowedOrigins: row.Origins,
		MaxSessionAge:  ageProto(row),
		State:          stateProto(row.State),
		CreateTime:     timestamppb.New(row.CreatedAt),
		UpdateTime:     timestamppb.New(row.UpdatedAt),
		Etag:           etag(row.Etag),
	}
	for _, gateway := range a.gateways {
		v.Addresses = append(v.Addresses, gateway+row.Context+"/"+row.Version)
	}
	return v
}

// versionRow is what a row takes from a version.
func versionRow(v *catalogv1.Version) store.Version {
	row := store.Version{
		Version:       v.GetVersion(),
		Description:   v.GetDescription(),
		Tags:          v.GetTags(),
		Production:    endpointRows(v.GetEndpoints().GetProduction()),
		Sandbox:       endpointRows(v.GetEndpoints().GetSandbox()),
		Security:      securityRows(v.GetSecurity()),
		Origins:       v.GetAllowedOrigins(),
		MaxSessionAge: v.GetMaxSessionAge().AsDuration(),
	}
	for _, plan := range v.GetPlans() {
		row.Plans = append(row.Plans, planID(plan))
	}
	return row
}

// route is what gateways need of a version.
func route(row store.Version) *backplanev1.Route {
	return &backplanev1.Route{
		Name:           versionName(row.APIID, row.ID),
		Api:            apiName(row.APIID),
		DisplayName:    row.DisplayName,
		Owner:          row.Owner,
		Context:        row.Context,
		Version:        row.Version,
		Default:        row.Default,
		State:          stateProto(row.State),
		Endpoints:      endpointsProto(row),
		Security:       securityProto(row.Security),
		Plans:          planNames(row.Plans),
		AllowedOrigins: row.Origins,
		MaxSessionAge:  ageProto(row),
		ChangeNumber:   uint64(row.Revision),
	}
}

// filledIn returns the security with its defaults: oauth2, and its two places.
func filledIn(schemes []*catalogv1.SecurityScheme) []*catalogv1.SecurityScheme {
	if len(schemes) == 0 {
		schemes = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_Oauth2{}}}
	}
	filled := make([]*catalogv1.SecurityScheme, len(schemes))
	for i, s := range schemes {
		_, oauth2 := s.GetScheme().(*catalogv1.SecurityScheme_Oauth2)
		if filled[i] = s; oauth2 && len(s.GetOauth2().GetPlaces()) == 0 {
			filled[i] = schemeProto(store.SecurityScheme{Type: store.SchemeOAuth2, Places: []store.Place{
				{In: store.InHeader, Name: "Authorization"}, {In: store.InQuery, Name: "access_token"},
			}})
		}
	}
	return filled
}

func endpointsProto(row store.Version) *catalogv1.Endpoints {
	endpoints := func(rows []store.Endpoint) []*catalogv1.Endpoint {
		var all []*catalogv1.Endpoint
		for _, e := range rows {
			all = append(all, &catalogv1.Endpoint{Endpoint: &catalogv1.Endpoint_Url{Url: e.URL}})
		}
		return all
	}
	return &catalogv1.Endpoints{Production: endpoints(row.Production), Sandbox: endpoints(row.Sandbox)}
}

func endpointRows(endpoints []*catalogv1.Endpoint) []store.Endpoint {
	var rows []store.Endpoint
	for _, e := range endpoints {
		rows = append(rows, store.Endpoint{URL: e.GetUrl()})
	}
	return rows
}

func securityProto(rows []store.SecurityScheme) []*catalogv1.SecurityScheme {
	var schemes []*catalogv1.SecurityScheme
	for _, row := range rows {
		schemes = append(schemes, schemeProto(row))
	}
	return schemes
}

func schemeProto(row store.SecurityScheme) *catalogv1.SecurityScheme {
	if row.Type == store.SchemeNone {
		return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}
	}
	oauth2 := &catalogv1.OAuth2Scheme{}
	for _, p := range row.Places {
		place := &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: p.Name}}}
		if p.In == store.InQuery {
			place.Place = &catalogv1.CredentialPlace_Query{Query: &catalogv1.QueryPlace{Name: p.Name}}
		}
		oauth2.Places = append(oauth2.Places, place)
	}
	return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: oauth2}}
}

// securityRows are the alternatives with their defaults filled in.
func securityRows(schemes []*catalogv1.SecurityScheme) []store.SecurityScheme {
	var rows []store.SecurityScheme
	for _, s := range filledIn(schemes) {
		row := store.SecurityScheme{Type: store.SchemeOAuth2}
		if s.GetNone() != nil {
			row.Type = store.SchemeNone
		}
		for _, place := range s.GetOauth2().GetPlaces() {
			row.Places = append(row.Places, placeRow(place))
		}
		rows = append(rows, row)
	}
	return rows
}

func placeRow(p *catalogv1.CredentialPlace) store.Place {
	if q := p.GetQuery(); q != nil {
		return store.Place{In: store.InQuery, Name: q.GetName()}
	}
	return store.Place{In: store.InHeader, Name: p.GetHeader().GetName()}
}

func stateProto(state string) catalogv1.Version_State {
	return catalogv1.Version_State(catalogv1.Version_State_value[statePrefix+state])
}

func ageProto(row store.Version) *durationpb.Duration {
	if row.MaxSessionAge == 0 {
		return nil
	}
	return durationpb.New(row.MaxSessionAge)
}

// planProto is a plan. Gateways do not hold sessions to limits yet.
func planProto(row store.Plan) *catalogv1.Plan {
	p := &catalogv1.Plan{
		Name:           planName(row.ID),
		DisplayName:    row.DisplayName,
		Description:    row.Description,
		LimitsEnforced: row.QuotaMessages == 0,
		CreateTime:     timestamppb.New(row.CreatedAt),
		UpdateTime:     timestamppb.New(row.UpdatedAt),
		Etag:           etag(row.Etag),
	}
	if row.QuotaMessages != 0 {
		p.Quota = &catalogv1.Quota{
			Messages: row.QuotaMessages,
			Window:   catalogv1.Quota_Window(catalogv1.Quota_Window_value[windowPrefix+row.QuotaWindow]),
		}
	}
	return p
}

// planRow is what a row takes from a plan.
func planRow(p *catalogv1.Plan) store.Plan {
	row := store.Plan{DisplayName: p.GetDisplayName(), Description: p.GetDescription()}
	if q := p.GetQuota(); q != nil {
		row.QuotaMessages = q.GetMessages()
		row.QuotaWindow = strings.TrimPrefix(q.GetWindow().String(), windowPrefix)
	}
	return row
}
