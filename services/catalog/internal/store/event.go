package store

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/addresstemplate"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/routefeature"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Prefixes of the protos' enum values, which rows leave out.
const (
	statePrefix    = "STATE_"
	HostPrefix     = "HOST_"
	OriginPrefix   = "ORIGIN_"
	CausePrefix    = "CAUSE_"
	IdentityPrefix = "IDENTITY_"
	PingsPrefix    = "PINGS_"
	BillingPrefix  = "BILLING_"
	TemplatePrefix = "TEMPLATE_"
	KindPrefix     = "KIND_"
	FormPrefix     = "FORM_"
	EncodingPrefix = "ENCODING_"
	ServesPrefix   = "SERVES_"
	CorsPrefix     = "CORS_"

	AuthStylePrefix = "AUTH_STYLE_"
)

// Snapshot emits what the installation is called, all plans, deny rules and routes, for
// watchers.
func (s *Store) Snapshot(ctx context.Context, tx *sqldb.Tx, emit func(proto.Message)) error {
	installation, err := readInstallation(ctx, tx)
	if err != nil {
		return err
	}
	emit(&backplanev1.RouteSnapshot{Installation: installation})
	plans := change.NewBatch(func(all []*catalogv1.Plan) { emit(&backplanev1.RouteSnapshot{Plans: all}) })
	for p, err := range s.listPlans(ctx, tx, PlanFilter{}, Order{}, ListPlace{}) {
		if err != nil {
			return fmt.Errorf("read plans: %w", err)
		}
		plans.Add(p.Message())
	}
	plans.Flush()
	rules := change.NewBatch(func(all []*catalogv1.DenyRule) { emit(&backplanev1.RouteSnapshot{DenyRules: all}) })
	for r, err := range listDenyRules(ctx, tx, everything, DenyRuleFilter{}, Order{}, ListPlace{}) {
		if err != nil {
			return fmt.Errorf("read deny rules: %w", err)
		}
		rules.Add(r.routed())
	}
	rules.Flush()
	routes := change.NewBatch(func(all []*backplanev1.Route) { emit(&backplanev1.RouteSnapshot{Routes: all}) })
	for v, err := range s.listVersions(ctx, tx, everything, VersionFilter{}, Order{}, ListPlace{}) {
		if err != nil {
			return fmt.Errorf("read versions: %w", err)
		}
		routes.Add(v.Route())
	}
	routes.Flush()
	return nil
}

// routesEvent returns the effect on routes of a change to an API and its versions;
// before has the versions as they were.
func (s *Store) routesEvent(ctx context.Context, tx *change.Tx, api string, before []Version) (*backplanev1.RouteEvent, error) {
	after, err := s.readVersions(ctx, tx, api)
	if err != nil {
		return nil, err
	}
	event := &backplanev1.RouteEvent{}
	old := map[string]*backplanev1.Route{}
	for _, v := range before {
		old[v.ID] = v.Route()
	}
	for _, v := range after {
		if err := addRoute(ctx, tx, event, &v, old[v.ID]); err != nil {
			return nil, err
		}
		delete(old, v.ID)
	}
	for _, v := range before {
		if old[v.ID] != nil {
			event.RemovedRoutes = append(event.RemovedRoutes, v.Name().String())
		}
	}
	return event, nil
}

// routeEvent reads a changed version again and returns the effect on its route; before
// is nil for a new version.
func (s *Store) routeEvent(ctx context.Context, tx *change.Tx, v, before *Version) (*backplanev1.RouteEvent, error) {
	now, err := s.readVersion(ctx, tx, everything, v.Name())
	if err != nil {
		return nil, err
	}
	*v = now
	var old *backplanev1.Route
	if before != nil {
		old = before.Route()
	}
	event := &backplanev1.RouteEvent{}
	return event, addRoute(ctx, tx, event, v, old)
}

// addRoute adds a version's route to an event if it differs from before, and records
// that this change made it.
func addRoute(ctx context.Context, tx *change.Tx, event *backplanev1.RouteEvent, v *Version, old *backplanev1.Route) error {
	if proto.Equal(v.Route(), old) {
		return nil
	}
	v.ChangeNumber = int64(tx.Number)
	if _, err := tx.ExecContext(ctx, `UPDATE version SET change_number = $1 WHERE id = $2`, v.ChangeNumber, v.ID); err != nil {
		return fmt.Errorf("note which change made the route: %w", err)
	}
	event.Routes = append(event.Routes, v.Route())
	return nil
}

// Route returns a version as gateways need it.
func (v Version) Route() *backplanev1.Route {
	r := &backplanev1.Route{
		Name:           v.Name().String(),
		Api:            v.Name().Parent().String(),
		DisplayName:    v.DisplayName,
		Owner:          resourcename.User{User: v.Owner}.String(),
		Context:        v.Context,
		Version:        v.Version,
		Default:        v.Default,
		State:          catalogv1.Version_State(catalogv1.Version_State_value[statePrefix+v.State]),
		Endpoints:      v.EndpointsFor(forGateways),
		AllowedOrigins: v.Origins,
		ChangeNumber:   uint64(v.ChangeNumber),

		DefaultVersionPaths: v.DefaultPaths,
		VersionStrings:      v.Strings,
		BackendOptions:      v.BackendOptions(forGateways),
		Pings:               catalogv1.Version_Pings(catalogv1.Version_Pings_value[PingsPrefix+v.Pings]),
		AdvertisedHosts:     v.AdvertisedHosts,
		PassCredential:      v.Backend.PassCredential,
		Deflate:             v.Backend.Deflate,
		ClientEndings:       clientEndings(v.Endings),
		FurtherAddresses:    served(v.Further),
		Subscriptionless:    v.Subscriptionless,
		MaxMessageBytes:     v.MaxMessageBytes,
		IdleTimeout:         span(v.IdleTimeout),
	}
	if v.Connections != (Connections{}) || v.HTTP != nil && v.HTTP.Connections != (Connections{}) {
		// A gateway that does not know connections would connect past the proxy, and without
		// what backends ask for.
		r.Requires = append(r.Requires, routefeature.Connections)
	}
	if slices.ContainsFunc(v.AllEndpoints(), func(e Endpoint) bool { return addresstemplate.Has(e.URL) }) {
		// A gateway that does not know variables would ask backends for their names.
		r.Requires = append(r.Requires, routefeature.Templates)
	}
	if v.TrafficPlan != "" {
		r.TrafficPlan = resourcename.Plan{Plan: v.TrafficPlan}.String()
	}
	if v.ErrorTemplate != "" {
		template := catalogv1.ErrorFrames_Template(catalogv1.ErrorFrames_Template_value[TemplatePrefix+v.ErrorTemplate])
		r.ErrorFrames = &catalogv1.ErrorFrames{Template: template, Text: v.ErrorText}
	}
	r.Security = messages(v.Security)
	if v.HTTP != nil {
		r.Http = v.HTTP.Message(forGateways)
		r.Http.Security = messages(v.HTTPSecurity())
	}
	for _, id := range v.Plans {
		r.Plans = append(r.Plans, resourcename.Plan{Plan: id}.String())
	}
	if v.MaxSessionAge != 0 {
		r.MaxSessionAge = durationpb.New(v.MaxSessionAge)
	}
	return r
}

func endpoints(rows []Endpoint) []*catalogv1.Endpoint {
	var all []*catalogv1.Endpoint
	for _, e := range rows {
		all = append(all, &catalogv1.Endpoint{Endpoint: &catalogv1.Endpoint_Url{Url: e.URL}})
	}
	return all
}

func messages(schemes []SecurityScheme) (all []*catalogv1.SecurityScheme) {
	for _, s := range schemes {
		all = append(all, s.Message())
	}
	return all
}

// Message returns the scheme as the API and routes have it.
func (s SecurityScheme) Message() *catalogv1.SecurityScheme {
	if s.Type == SchemeNone {
		return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}
	}
	var places []*catalogv1.CredentialPlace
	for _, p := range s.Places {
		places = append(places, p.Message())
	}
	if s.Type == SchemeAPIKey {
		return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{Places: places}}}
	}
	return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: places}}}
}

// Message returns the plan as the API and routes have it.
func (p Plan) Message() *catalogv1.Plan {
	m := &catalogv1.Plan{
		Name:        p.Name().String(),
		DisplayName: p.DisplayName,
		Description: p.Description,
		Billing:     catalogv1.Plan_Billing(catalogv1.Plan_Billing_value[BillingPrefix+p.Billing]),
		PriceLabel:  p.PriceLabel,
		CreateTime:  timestamppb.New(p.CreatedAt),
		UpdateTime:  timestamppb.New(p.UpdatedAt),
		Etag:        page.Etag(p.Etag),
	}
	for _, l := range p.Limits {
		m.Limits = append(m.Limits, l.Message())
	}
	for _, a := range p.Attributes {
		if m.Attributes == nil {
			m.Attributes = map[string]string{}
		}
		m.Attributes[a.Name] = a.Value
	}
	return m
}
