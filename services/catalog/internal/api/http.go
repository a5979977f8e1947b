package api

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/addresstemplate"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// checkEndpoints returns what the proto's rules do not find wrong with endpoints, by field; at
// is the field that has them, and check says what is wrong with the URL of one.
func checkEndpoints(at string, e *catalogv1.Endpoints, check func(string) error) []fault.Violation {
	var wrong []fault.Violation
	if e == nil {
		return []fault.Violation{{Field: at, Message: "is required"}}
	}
	templated := false
	for _, stage := range []struct {
		name string
		list []*catalogv1.Endpoint
	}{{"production", e.GetProduction()}, {"sandbox", e.GetSandbox()}} {
		for i, one := range stage.list {
			field := fmt.Sprintf("%s.%s[%d].url", at, stage.name, i)
			templated = templated || addresstemplate.Has(one.GetUrl())
			if err := check(one.GetUrl()); err != nil {
				wrong = append(wrong, fault.Violation{Field: field, Message: err.Error()})
			}
			if slices.ContainsFunc(stage.list[:i], func(o *catalogv1.Endpoint) bool { return o.GetUrl() == one.GetUrl() }) {
				wrong = append(wrong, fault.Violation{Field: field, Message: "must not be the same as another one of its stage"})
			}
		}
	}
	if health := e.GetHealthCheck(); templated && health != nil && health.GetKind() != catalogv1.HealthCheck_KIND_HTTP {
		wrong = append(wrong, fault.Violation{
			Field: at + ".health_check.kind", Message: "must be KIND_HTTP with variables in an endpoint's URL, which only a client's request fills in",
		})
	}
	return wrong
}

// checkHTTPEndpoint is checkEndpoint for plain requests.
func checkHTTPEndpoint(text string) error {
	if scheme, _, _ := strings.Cut(strings.ToLower(text), ":"); scheme == "ws" || scheme == "wss" {
		return errors.New("must be an http or https URL: requests that open no socket go there")
	}
	return checkEndpoint(text)
}

// checkHTTP returns what the proto's rules do not find wrong with the HTTP beside a version's
// socket, by field.
func checkHTTP(v *catalogv1.Version) []fault.Violation {
	h := v.GetHttp()
	if h == nil {
		return nil
	}
	wrong := checkEndpoints("http.endpoints", h.GetEndpoints(), checkHTTPEndpoint)
	add := func(field, message string) { wrong = append(wrong, fault.Violation{Field: field, Message: message}) }
	e := h.GetEndpoints()
	if e.GetHealthCheck().GetKind() == catalogv1.HealthCheck_KIND_WEBSOCKET {
		add("http.endpoints.health_check.kind", "must be KIND_HTTP: no socket is opened there")
	}
	if e.GetTimeouts().GetHandshake() != nil {
		add("http.endpoints.timeouts.handshake", "must not be set: there is no handshake, and http.timeout says how long an answer may take")
	}
	wrong = append(wrong, checkSecurity("http.security", placesFilledIn(h.GetSecurity()), v.GetAllowedOrigins())...)
	for i, s := range h.GetSecurity() {
		kind, places := placesOf(s)
		for j, p := range places {
			if !placeRow(p).InRequests() {
				add(fmt.Sprintf("http.security[%d].%s.places[%d]", i, kind, j), "must be a header, a query parameter or a cookie: a request has no other place")
			}
		}
	}
	if row := withVersion(store.Version{}, v); len(row.HTTPSecurity()) == 0 {
		add("http.security", "is required, because security has no place that a request has: a header, a query parameter or a cookie")
	}
	return wrong
}

// httpRow returns the HTTP beside a version's socket as rows have it.
func httpRow(h *catalogv1.HTTPOptions) *store.HTTP {
	if h == nil {
		return nil
	}
	return &store.HTTP{
		Endpoints: endpointsRow(h.GetEndpoints()), Security: schemeRows(placesFilledIn(h.GetSecurity())),
		Cors: enumRow(h.GetCors(), store.CorsPrefix), MaxBodyBytes: h.GetMaxBodyBytes(), Timeout: h.GetTimeout().AsDuration(),
	}
}

// httpAddress is where plain requests go that are for the version at an address of a gateway.
func httpAddress(address string) string { return "http" + strings.TrimPrefix(address, "ws") }
