package api

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/hostname"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// What routes and events have too is converted in package store.

// apiProto returns an API as a viewer sees it.
func apiProto(row store.API, v identity.Viewer) *catalogv1.Api {
	a := &catalogv1.Api{
		Name:        row.Name().String(),
		DisplayName: row.DisplayName,
		Context:     row.Context,
		Description: row.Description,
		Owner:       resourcename.User{User: row.Owner}.String(),
		CreateTime:  timestamppb.New(row.CreatedAt),
		UpdateTime:  timestamppb.New(row.UpdatedAt),
		Etag:        page.Etag(row.Etag),

		DefaultVersionPaths: row.DefaultVersionPaths,
	}
	if row.DefaultVersion != "" && (row.DefaultPublished || v.Publishes || v.Sees(row.Owner)) {
		a.DefaultVersion = resourcename.Version{API: row.ID, Version: row.DefaultVersion}.String()
	}
	return a
}

// withAPI returns the row with the values of an API.
func withAPI(row store.API, a *catalogv1.Api) (store.API, error) {
	row.DisplayName, row.Context, row.Description, row.DefaultVersion = a.GetDisplayName(), a.GetContext(), a.GetDescription(), ""
	row.DefaultVersionPaths = a.GetDefaultVersionPaths()
	if a.GetDefaultVersion() == "" {
		return row, nil
	}
	name, err := resourcename.ParseVersion("api.default_version", a.GetDefaultVersion())
	if err != nil || name.API != row.ID {
		return row, fault.Invalid("api.default_version", "must be a version of this API, or empty")
	}
	row.DefaultVersion = name.Version
	return row, nil
}

// Resource returns what a row of the store is to whoever sees everything, for the audit
// log; nil for any other value.
func Resource(row any) proto.Message {
	switch row := row.(type) {
	case store.API:
		return apiProto(row, identity.Viewer{All: true})
	case store.Version:
		return versionProto(row)
	case store.Plan:
		return row.Message()
	case store.DenyRule:
		return row.Message()
	}
	return nil
}

// versionProto returns a version with its addresses, as a viewer sees it: without the
// endpoints, which may have secrets, how they are spoken to, and what all its traffic may
// be, if it is not the viewer's own and not there for the viewer to publish.
func (a *API) versionProto(row store.Version, viewer identity.Viewer) *catalogv1.Version {
	v := versionProto(row)
	publishes := viewer.Publishes && row.State == store.Created
	if !publishes && !viewer.Sees(row.Owner) {
		v.Endpoints, v.BackendOptions, v.TrafficPlan, v.Warnings = nil, nil, "", warnings(row)
		if v.Http != nil {
			v.Http.Endpoints = nil
		}
	}
	for _, gateway := range a.gateways {
		address := gateway + row.Context + "/" + row.Version
		v.Addresses = append(v.Addresses, address)
		if v.Http != nil {
			v.Http.Addresses = append(v.Http.Addresses, httpAddress(address))
		}
	}
	for _, further := range row.Further {
		if hostname.IsWildcard(further.Host) {
			continue
		}
		if further.Serves != store.ServesHTTP {
			v.Addresses = append(v.Addresses, further.Addresses...)
		}
		if v.Http == nil || further.Serves == store.ServesSocket {
			continue
		}
		for _, address := range further.Addresses {
			v.Http.Addresses = append(v.Http.Addresses, httpAddress(address))
		}
	}
	return v
}

// versionProto returns a version without its addresses.
func versionProto(row store.Version) *catalogv1.Version {
	r := row.Route()
	var further []*catalogv1.FurtherAddress
	for _, a := range row.Further {
		further = append(further, a.Message())
	}
	return &catalogv1.Version{
		Name:           r.GetName(),
		Version:        r.GetVersion(),
		Description:    row.Description,
		Tags:           row.Tags,
		Endpoints:      row.EndpointsFor(store.ForUsers),
		Security:       r.GetSecurity(),
		Plans:          r.GetPlans(),
		AllowedOrigins: r.GetAllowedOrigins(),
		MaxSessionAge:  r.GetMaxSessionAge(),
		IdleTimeout:    r.GetIdleTimeout(),
		BackendOptions: row.BackendOptions(store.ForUsers),
		Pings:          r.GetPings(),
		Warnings:       append(warnings(row), connectionWarnings(row, time.Now())...),

		TrafficPlan:      r.GetTrafficPlan(),
		PassCredential:   r.GetPassCredential(),
		Deflate:          r.GetDeflate(),
		ClientEndings:    r.GetClientEndings(),
		FurtherAddresses: further,
		Http:             row.HTTP.Message(store.ForUsers),
		Subscriptionless: r.GetSubscriptionless(),
		MaxMessageBytes:  r.GetMaxMessageBytes(),
		ErrorFrames:      r.GetErrorFrames(),

		State:      r.GetState(),
		CreateTime: timestamppb.New(row.CreatedAt),
		UpdateTime: timestamppb.New(row.UpdatedAt),
		Etag:       page.Etag(row.Etag),
	}
}

// withVersion returns the row with the values of a version; its version string stays.
// Secrets of which the version has no value are to be kept (keepSecrets).
func withVersion(row store.Version, v *catalogv1.Version) store.Version {
	row.Description, row.Tags, row.Origins = v.GetDescription(), v.GetTags(), v.GetAllowedOrigins()
	row.Endpoints, row.HTTP = endpointsRow(v.GetEndpoints()), httpRow(v.GetHttp())
	row.Security = schemeRows(filledIn(v.GetSecurity()))
	row.MaxSessionAge, row.IdleTimeout = v.GetMaxSessionAge().AsDuration(), v.GetIdleTimeout().AsDuration()
	options := v.GetBackendOptions()
	row.Backend = backendRow(options)
	row.Backend.PassCredential, row.Backend.Deflate = v.GetPassCredential(), v.GetDeflate()
	row.Endings = nil
	for _, e := range v.GetClientEndings() {
		row.Endings = append(row.Endings, store.ClientEnding{Cause: enumRow(e.GetCause(), store.CausePrefix), Code: e.GetCode(), Text: e.GetText()})
	}
	row.Further = nil
	for _, a := range v.GetFurtherAddresses() {
		row.Further = append(row.Further, store.FurtherAddress{
			Host: a.GetHost(), Prefix: a.GetPrefix(), Serves: enumRow(a.GetServes(), store.ServesPrefix), KeepPrefix: a.GetKeepPrefix(),
		})
	}
	row.BackendHost, row.FixedHost = enumRow(options.GetHost(), store.HostPrefix), options.GetFixedHost()
	row.BackendOrigin, row.Pings = enumRow(options.GetOrigin(), store.OriginPrefix), enumRow(v.GetPings(), store.PingsPrefix)
	row.Subscriptionless, row.MaxMessageBytes = v.GetSubscriptionless(), v.GetMaxMessageBytes()
	row.ErrorTemplate, row.ErrorText = enumRow(v.GetErrorFrames().GetTemplate(), store.TemplatePrefix), v.GetErrorFrames().GetText()
	row.TrafficPlan = planID(v.GetTrafficPlan())
	row.Plans = nil
	for _, plan := range v.GetPlans() {
		row.Plans = append(row.Plans, planID(plan))
	}
	return row
}

// planID returns the id in the name of a plan, which the proto's rules have checked;
// empty of none.
func planID(name string) string {
	plan, _ := resourcename.ParsePlan("", name)
	return plan.Plan
}

// enumRow returns the value of an enum as rows have it; empty if it is not set.
func enumRow[E interface {
	~int32
	String() string
}](value E, prefix string) string {
	if value == 0 {
		return ""
	}
	return strings.TrimPrefix(value.String(), prefix)
}

// warnings says what is allowed in a version and risky.
func warnings(v store.Version) (all []string) {
	if slices.Contains(v.Origins, "null") {
		all = append(all, "allowed_origins: null is what pages in sandboxed frames and pages from files send, "+
			"so any website can have its visitors' browsers connect")
	}
	if v.Backend.PassCredential {
		all = append(all, "pass_credential: backends get the credentials of clients, and can use them at whatever these are good for")
	}
	if v.PassesOn() {
		all = append(all, "security: backends get the first message of clients, with the credential in it, and can use that at whatever it is good for")
	}
	for i, a := range v.Further {
		if !a.Served() {
			all = append(all, fmt.Sprintf("further_addresses[%d]: the installation has no virtual host %s any more, so gateways do not serve it", i, a.Host))
		}
	}
	return all
}

// usualPlaces are where the credential of a scheme is where its publisher does not say it.
func usualPlaces(kind string) []store.Place {
	switch kind {
	case store.SchemeOAuth2:
		return []store.Place{{In: store.InHeader, Name: "Authorization"}, {In: store.InQuery, Name: "access_token"}}
	case store.SchemeAPIKey:
		return []store.Place{{In: store.InHeader, Name: "apikey"}, {In: store.InQuery, Name: "apikey"}}
	}
	return nil
}

// filledIn returns the security with its defaults: oauth2, and the places of each scheme.
func filledIn(schemes []*catalogv1.SecurityScheme) []*catalogv1.SecurityScheme {
	if len(schemes) == 0 {
		schemes = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_Oauth2{}}}
	}
	return placesFilledIn(schemes)
}

// placesFilledIn returns alternatives with the places of each scheme that names none.
func placesFilledIn(schemes []*catalogv1.SecurityScheme) []*catalogv1.SecurityScheme {
	filled := make([]*catalogv1.SecurityScheme, len(schemes))
	for i, s := range schemes {
		if filled[i] = s; s.GetScheme() == nil {
			continue // the proto's rules say that
		}
		if row := schemeRow(s); len(row.Places) == 0 {
			row.Places = usualPlaces(row.Type)
			filled[i] = row.Message()
		}
	}
	return filled
}

// endpointsRow returns endpoints as rows have them.
func endpointsRow(e *catalogv1.Endpoints) store.Endpoints {
	return store.Endpoints{
		Production: endpointRows(e.GetProduction()), Sandbox: endpointRows(e.GetSandbox()), Balance: balanceRow(e), Connections: connectionRows(e),
	}
}

func endpointRows(endpoints []*catalogv1.Endpoint) []store.Endpoint {
	var rows []store.Endpoint
	for _, e := range endpoints {
		rows = append(rows, store.Endpoint{URL: e.GetUrl()})
	}
	return rows
}

// balanceRow returns what is said of all endpoints of a version. A message without a value
// says nothing.
func balanceRow(e *catalogv1.Endpoints) (row store.Balance) {
	if c := e.GetHealthCheck(); c != nil {
		row.HealthCheck = &store.HealthCheck{
			Kind: enumRow(c.GetKind(), store.KindPrefix), HTTPPath: c.GetHttpPath(), Interval: c.GetInterval().AsDuration(), Timeout: c.GetTimeout().AsDuration(),
			HealthyAfter: c.GetHealthyAfter(), UnhealthyAfter: c.GetUnhealthyAfter(),
		}
	}
	s := e.GetSuspension()
	suspension := store.Suspension{Failures: s.GetFailures(), First: s.GetFirst().AsDuration(), Longest: s.GetLongest().AsDuration(), Factor: s.GetFactor()}
	if suspension != (store.Suspension{}) {
		row.Suspension = &suspension
	}
	timeouts := store.Timeouts{Dial: e.GetTimeouts().GetDial().AsDuration(), Handshake: e.GetTimeouts().GetHandshake().AsDuration()}
	if timeouts != (store.Timeouts{}) {
		row.Timeouts = &timeouts
	}
	return row
}

// schemeRows returns alternatives, whose defaults are filled in, as rows have them.
func schemeRows(schemes []*catalogv1.SecurityScheme) []store.SecurityScheme {
	var rows []store.SecurityScheme
	for _, s := range schemes {
		rows = append(rows, schemeRow(s))
	}
	return rows
}

// schemeRow returns a scheme as rows have it.
func schemeRow(s *catalogv1.SecurityScheme) store.SecurityScheme {
	row := store.SecurityScheme{Type: store.SchemeOAuth2}
	switch {
	case s.GetNone() != nil:
		row.Type = store.SchemeNone
	case s.GetApiKey() != nil:
		row.Type = store.SchemeAPIKey
	}
	_, places := placesOf(s)
	for _, place := range places {
		row.Places = append(row.Places, placeRow(place))
	}
	return row
}

// planUseProto returns what uses a plan, in the catalog and elsewhere.
func planUseProto(use store.PlanUse, elsewhere *backplanev1.CountPlanUseResponse) *catalogv1.PlanUse {
	return &catalogv1.PlanUse{
		Versions: use.Offers, TrafficVersions: use.Traffic, SubscriptionlessVersions: use.Subscriptionless,
		Subscriptions: elsewhere.GetSubscriptions(), Applications: elsewhere.GetApplications(),
	}
}

// withPlan returns the row with the values of a plan, whose limits are complete.
func withPlan(row store.Plan, p *catalogv1.Plan) store.Plan {
	row.DisplayName, row.Description, row.PriceLabel = p.GetDisplayName(), p.GetDescription(), p.GetPriceLabel()
	row.Billing = enumRow(cmp.Or(p.GetBilling(), catalogv1.Plan_BILLING_FREE), store.BillingPrefix)
	row.Limits, row.Attributes = nil, nil
	for _, l := range p.GetLimits() {
		row.Limits = append(row.Limits, limitRow(l))
	}
	for _, name := range slices.Sorted(maps.Keys(p.GetAttributes())) {
		row.Attributes = append(row.Attributes, store.Attribute{Name: name, Value: p.GetAttributes()[name]})
	}
	return row
}

// withDenyRule returns the row with the values of a deny rule, which it checks.
func withDenyRule(row store.DenyRule, r *catalogv1.DenyRule) (store.DenyRule, error) {
	if err := checkDenyRule(row, r); err != nil {
		return row, err
	}
	// What cannot be parsed is empty: the names have been checked.
	api, _ := resourcename.ParseAPI("", r.GetApi())
	application, _ := resourcename.ParseApplication("", r.GetApplication())
	subscription, _ := resourcename.ParseSubscription("", r.GetSubscription())
	row.API, row.Application, row.Subscription = api.API, application.Application, subscription.Subscription
	row.Versions = nil
	for _, name := range r.GetVersions() {
		version, _ := resourcename.ParseVersion("", name)
		row.Versions = append(row.Versions, version.Version)
	}
	row.ClientAddress = ""
	if r.GetClientAddress() != "" {
		network, _ := netaddr.ParseNetwork(r.GetClientAddress())
		row.ClientAddress = netaddr.NetworkText(network)
	}
	row.Reason, row.ExpiresAt = r.GetReason(), time.Time{}
	if t := r.GetExpireTime(); t != nil {
		row.ExpiresAt = t.AsTime().Truncate(time.Microsecond)
	}
	return row, nil
}

func limitRow(l *catalogv1.Limit) store.Limit {
	row := store.Limit{Name: l.GetName(), Reaction: enumRow(l.GetReaction(), store.ReactionPrefix), Observe: l.GetObserve()}
	switch l.GetKind().(type) {
	case *catalogv1.Limit_Rate:
		r := l.GetRate()
		row.Kind, row.Unit, row.Amount = store.KindRate, enumRow(r.GetUnit(), store.UnitPrefix), r.GetAmount()
		row.Per, row.Burst, row.LongestPause = r.GetPer().AsDuration(), r.GetBurst(), r.GetLongestPause().AsDuration()
		row.Direction, row.PerConnection = enumRow(r.GetDirection(), store.DirectionPrefix), r.GetPerConnection()
	case *catalogv1.Limit_Quota:
		q := l.GetQuota()
		row.Kind, row.Unit, row.Amount = store.KindQuota, enumRow(q.GetUnit(), store.UnitPrefix), q.GetAmount()
		row.Window, row.OnOutage = enumRow(q.GetWindow(), store.WindowPrefix), enumRow(q.GetOnOutage(), store.OutagePrefix)
	case *catalogv1.Limit_Connections:
		row.Kind, row.Amount = store.KindConnections, int64(l.GetConnections().GetMost())
	case *catalogv1.Limit_MessageSize:
		row.Kind, row.Amount = store.KindMessageSize, l.GetMessageSize().GetBytes()
	case *catalogv1.Limit_SessionAge:
		row.Kind, row.Amount = store.KindSessionAge, int64(l.GetSessionAge().GetAge().AsDuration())
	}
	return row
}
