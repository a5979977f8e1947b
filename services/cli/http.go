package cli

import (
	"strings"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// httpFlags say what becomes of plain HTTP requests below a version's addresses.
type httpFlags struct {
	HTTPEndpoint        []string       `name:"http-endpoint" sep:"none" placeholder:"URL" help:"Backend of the production stage for plain HTTP requests, which open no socket: an http or https URL; can be repeated; empty for none. Replaces all of the stage. Default: such requests are refused."`
	SandboxHTTPEndpoint []string       `name:"sandbox-http-endpoint" sep:"none" placeholder:"URL" help:"Backend of the sandbox stage for plain HTTP requests; can be repeated; empty for none. Replaces all of the stage."`
	HTTPSecurity        []string       `name:"http-security" enum:"oauth2,api-key,none,socket" placeholder:"KIND" help:"How clients prove who they are in a plain HTTP request, as --security has it; or socket, as for the socket (the default)."`
	HTTPPlace           []string       `name:"http-place" sep:"none" placeholder:"PLACE" help:"Where the access token may be in a plain HTTP request: header:NAME, query:NAME, query:NAME:base64 or cookie:NAME; can be repeated."`
	HTTPKeyPlace        []string       `name:"http-key-place" sep:"none" placeholder:"PLACE" help:"Where the API key may be in a plain HTTP request, as --http-place has it."`
	HTTPCORS            *string        `name:"http-cors" placeholder:"WHO" help:"Who answers browsers that ask for pages of other origins: gateway (the default), from the version's origins, or backend."`
	HTTPMaxBody         *string        `name:"http-max-body" placeholder:"BYTES" help:"Greatest body of a plain HTTP request, such as 1MiB; 0 for that of the gateway."`
	HTTPTimeout         *time.Duration `name:"http-timeout" placeholder:"DURATION" help:"How long a backend may take until its answer to a plain HTTP request begins; 0 for that of the gateway."`
	HTTPHealthCheck     *string        `name:"http-health-check" placeholder:"CHECK" help:"How gateways check the endpoints for plain HTTP requests: a path such as /healthz, or off (the default)."`
	HTTPChoice          choiceFlags    `embed:"" prefix:"http-" set:"endpoint=endpoint for plain HTTP requests"`
}

// setHTTP puts what is given into a version, beside what was there before, and returns the
// fields that it is for. Without an endpoint there is no HTTP.
func (f *httpFlags) setHTTP(v *catalogv1.Version, was *catalogv1.HTTPOptions) (paths []string, err error) {
	h, given := cloned(was), false
	if h.Endpoints == nil {
		h.Endpoints = &catalogv1.Endpoints{}
	}
	for _, stage := range []struct {
		urls []string
		of   *[]*catalogv1.Endpoint
	}{{f.HTTPEndpoint, &h.Endpoints.Production}, {f.SandboxHTTPEndpoint, &h.Endpoints.Sandbox}} {
		if len(stage.urls) > 0 {
			*stage.of, given = endpoints(stage.urls), true
		}
	}
	if len(h.GetEndpoints().GetProduction())+len(h.GetEndpoints().GetSandbox()) == 0 {
		h.Endpoints = nil
	}
	options, err := f.setHTTPOptions(h)
	switch {
	case err != nil:
		return nil, err
	case !given && !options:
		return nil, nil
	case h.GetEndpoints() == nil && options:
		return nil, usagef("--http-endpoint: is needed with the other flags of --http-, as --http-endpoint http://localhost:8080")
	case h.GetEndpoints() == nil:
		h = nil
	}
	v.Http = h
	return []string{"http"}, nil
}

// setHTTPOptions puts what is given beside the endpoints into h, and reports whether something
// is.
func (f *httpFlags) setHTTPOptions(h *catalogv1.HTTPOptions) (given bool, err error) {
	given = setSpan(&h.Timeout, f.HTTPTimeout)
	if n := len(f.HTTPSecurity) + len(f.HTTPPlace) + len(f.HTTPKeyPlace); n > 0 {
		if given = true; n == 1 && len(f.HTTPSecurity) == 1 && f.HTTPSecurity[0] == "socket" {
			h.Security = nil
		} else if h.Security, err = schemes("--http-", f.HTTPSecurity, f.HTTPPlace, f.HTTPKeyPlace); err != nil {
			return false, err
		}
	}
	if f.HTTPCORS != nil {
		given = true
		switch *f.HTTPCORS {
		case "gateway":
			h.Cors = catalogv1.HTTPOptions_CORS_GATEWAY
		case "backend":
			h.Cors = catalogv1.HTTPOptions_CORS_BACKEND
		default:
			return false, usagef("--http-cors: must be gateway or backend")
		}
	}
	if f.HTTPMaxBody != nil {
		if given, h.MaxBodyBytes = true, 0; *f.HTTPMaxBody != "0" {
			if h.MaxBodyBytes, err = amountOf(*f.HTTPMaxBody, catalogv1.Unit_UNIT_BYTES); err != nil {
				return false, usagef("--http-max-body: %v, or 0 for that of the gateway", err)
			}
		}
	}
	balanced, err := f.setBalanceOf(h.GetEndpoints())
	return given || balanced, err
}

// setBalanceOf puts what is given of checks, suspensions and time-outs into the endpoints, and
// reports whether something is. Where there are none it only reads it.
func (f *httpFlags) setBalanceOf(e *catalogv1.Endpoints) (given bool, err error) {
	if e == nil {
		e = &catalogv1.Endpoints{}
	}
	check, given, err := f.HTTPChoice.check(e.GetHealthCheck(), f.HTTPHealthCheck, httpHealthKind)
	switch {
	case err != nil:
		return false, err
	case given && check == nil && f.HTTPHealthCheck == nil:
		return false, usagef("--http-health-check: is needed, as --http-health-check /healthz")
	case given:
		e.HealthCheck = check
	}
	if suspension, suspended := f.HTTPChoice.suspension(e.GetSuspension()); suspended {
		e.Suspension, given = suspension, true
	}
	if timeouts, timed := f.HTTPChoice.timeouts(e.GetTimeouts()); timed {
		e.Timeouts, given = timeouts, true
	}
	return given, nil
}

// httpHealthKind reads a path or off.
func httpHealthKind(text string) (catalogv1.HealthCheck_Kind, string, error) {
	switch {
	case text == "off":
		return catalogv1.HealthCheck_KIND_UNSPECIFIED, "", nil
	case strings.HasPrefix(text, "/"):
		return catalogv1.HealthCheck_KIND_HTTP, text, nil
	}
	return 0, "", usagef("--http-health-check: must be a path such as /healthz, or off")
}

// httpFields say what becomes of plain HTTP requests; none where they are refused.
func httpFields(h *catalogv1.HTTPOptions) [][2]string {
	if h == nil {
		return nil
	}
	security := "as for the socket"
	if len(h.GetSecurity()) > 0 {
		security = schemeLabels(h.GetSecurity())
	}
	body, timeout := "", ""
	if h.GetMaxBodyBytes() != 0 {
		body = sizeWords(h.GetMaxBodyBytes())
	}
	if h.GetTimeout() != nil {
		timeout = h.GetTimeout().AsDuration().String()
	}
	fields := [][2]string{
		{"HTTP endpoint", urls(h.GetEndpoints().GetProduction())}, {"HTTP sandbox endpoint", urls(h.GetEndpoints().GetSandbox())},
		{"HTTP security", security}, {"HTTP CORS", option(h.GetCors() == 0, h.GetCors(), "CORS_")},
		{"Greatest HTTP body", body}, {"Time-out of HTTP", timeout}, {"HTTP health check", healthWords(h.GetEndpoints().GetHealthCheck())},
		{"HTTP suspension", suspensionWords(h.GetEndpoints().GetSuspension())}, {"Time-outs of HTTP backends", timeoutWords(h.GetEndpoints().GetTimeouts())},
	}
	return append(fields, httpAddresses(h)...)
}

// httpAddresses are where plain HTTP requests go.
func httpAddresses(h *catalogv1.HTTPOptions) (fields [][2]string) {
	for _, a := range h.GetAddresses() {
		fields = append(fields, [2]string{"HTTP address", a})
	}
	return fields
}
