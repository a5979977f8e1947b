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
	schemePrefix = "SCHEME_"
	placePrefix  = "PLACE_"
	windowPrefix = "WINDOW_"
)

func etag(n int64) string { return strconv.FormatInt(n, 10) }

// apiProto is an API as a user sees it.
func apiProto(row store.API, me identity.User) *catalogv1.Api {
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
	if row.DefaultVersion != "" && (row.DefaultPublished || sees(me, row.Owner)) {
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
		Security:       securityProto(row),
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
		Production:    v.GetEndpoints().GetProduction(),
		Sandbox:       v.GetEndpoints().GetSandbox(),
		Origins:       v.GetAllowedOrigins(),
		MaxSessionAge: v.GetMaxSessionAge().AsDuration(),
	}
	for _, scheme := range v.GetSecurity().GetSchemes() {
		row.Schemes = append(row.Schemes, strings.TrimPrefix(scheme.String(), schemePrefix))
	}
	for _, place := range v.GetSecurity().GetPlaces() {
		row.Places = append(row.Places, strings.TrimPrefix(place.String(), placePrefix))
	}
	for _, plan := range v.GetPlans() {
		row.Plans = append(row.Plans, planID(plan))
	}
	return row
}

// route is what gateways need of a version.
func route(row store.Version) *backplanev1.Route {
	r := &backplanev1.Route{
		Name:           versionName(row.APIID, row.ID),
		Api:            apiName(row.APIID),
		DisplayName:    row.DisplayName,
		Owner:          row.Owner,
		Context:        row.Context,
		Version:        row.Version,
		Default:        row.Default,
		State:          stateProto(row.State),
		Endpoints:      endpointsProto(row),
		Security:       securityProto(row),
		Plans:          planNames(row.Plans),
		AllowedOrigins: row.Origins,
		MaxSessionAge:  ageProto(row),
		Revision:       uint64(row.Revision),
	}
	r.Security = filledIn(r.GetSecurity())
	return r
}

// filledIn returns the security with its defaults.
func filledIn(s *catalogv1.Security) *catalogv1.Security {
	if s == nil {
		s = &catalogv1.Security{}
	}
	if len(s.GetSchemes()) == 0 {
		s.Schemes = []catalogv1.Security_Scheme{catalogv1.Security_SCHEME_OAUTH2}
	}
	if len(s.GetPlaces()) == 0 && s.GetSchemes()[0] != catalogv1.Security_SCHEME_NONE {
		s.Places = []catalogv1.Security_Place{
			catalogv1.Security_PLACE_AUTHORIZATION_HEADER, catalogv1.Security_PLACE_ACCESS_TOKEN_QUERY,
		}
	}
	return s
}

func endpointsProto(row store.Version) *catalogv1.Endpoints {
	return &catalogv1.Endpoints{Production: row.Production, Sandbox: row.Sandbox}
}

func securityProto(row store.Version) *catalogv1.Security {
	if len(row.Schemes) == 0 && len(row.Places) == 0 {
		return nil
	}
	s := &catalogv1.Security{}
	for _, name := range row.Schemes {
		s.Schemes = append(s.Schemes, catalogv1.Security_Scheme(catalogv1.Security_Scheme_value[schemePrefix+name]))
	}
	for _, name := range row.Places {
		s.Places = append(s.Places, catalogv1.Security_Place(catalogv1.Security_Place_value[placePrefix+name]))
	}
	return s
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
