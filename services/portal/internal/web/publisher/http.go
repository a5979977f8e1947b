package publisher

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// beside is what becomes of plain HTTP requests below a version's addresses. Without an endpoint
// there is no HTTP.
func beside() versionForm {
	return versionForm{tab: "Endpoint", path: "endpoint/http", heading: "HTTP beside the socket", fields: httpFields, set: func(form *ui.Form, was, v *catalogv1.Version) {
		h := &catalogv1.HTTPOptions{Endpoints: &catalogv1.Endpoints{}}
		if was.GetHttp().GetEndpoints() != nil {
			h = proto.CloneOf(was.GetHttp()) // with what the form does not have, such as connections
		}
		h.Endpoints.Production, h.Endpoints.Sandbox = endpoints(form.Get("production")), endpoints(form.Get("sandbox"))
		h.Security = nil
		if kinds := form.Get("security"); kinds != "" {
			for kind := range strings.SplitSeq(kinds, ",") {
				h.Security = append(h.Security, scheme(form, kind))
			}
		}
		for entry, kind := range map[string]string{"places": "oauth2", "key_places": "api_key"} {
			if form.Get(entry) != "" && !slices.Contains(strings.Split(form.Get("security"), ","), kind) {
				form.Wrong(entry, "is only for the security that has it: choose that, or leave this empty")
			}
		}
		h.Cors = catalogv1.HTTPOptions_Cors(form.Enum("cors", "CORS_", catalogv1.HTTPOptions_Cors_value))
		h.MaxBodyBytes, h.Timeout = form.Bytes("max_body"), form.Span("timeout")
		h.Endpoints.HealthCheck = httpCheck(form, was.GetHttp().GetEndpoints())
		setChoice(form, h.Endpoints)
		if len(h.GetEndpoints().GetProduction())+len(h.GetEndpoints().GetSandbox()) > 0 {
			v.Http = h
			return
		}
		for _, stored := range httpFields(was) {
			if !slices.Contains([]string{"sandbox", "places", "key_places"}, stored.Name) && form.Get(stored.Name) != "" && form.Get(stored.Name) != stored.Value {
				form.Wrong("production", "is needed, here or for the sandbox, with what else is given")
			}
		}
	}}
}

// httpFields are the entries about plain requests. Each changes all of it.
func httpFields(v *catalogv1.Version) []ui.Field {
	h := v.GetHttp()
	kinds, where, keys := schemes(h.GetSecurity())
	security, body, timeout := strings.Join(kinds, ","), "", ""
	if h.GetMaxBodyBytes() > 0 {
		body = ui.Bytes(h.GetMaxBodyBytes())
	}
	if h.GetTimeout() != nil {
		timeout = ui.Span(h.GetTimeout().AsDuration())
	}
	options := []ui.Option{
		{Value: "", Text: "As for the socket"}, {Value: "oauth2", Text: "With an access token"}, {Value: "api_key", Text: "With an API key"},
		{Value: "oauth2,api_key", Text: "With either"}, {Value: "none", Text: "Not at all"},
	}
	if !slices.ContainsFunc(options, func(o ui.Option) bool { return o.Value == security }) {
		options = append(options, ui.Option{Value: security, Text: "As it is now, in another order"})
	}
	paths := func(fields ...string) []string {
		all := []string{"version.http"}
		for _, field := range fields {
			all = append(all, "version.http."+field)
		}
		return all
	}
	return append([]ui.Field{
		{Name: "production", Label: "Production", Kind: "textarea", Code: true, Max: 25000, Value: lines(h.GetEndpoints().GetProduction()), Placeholder: "https://backend.example.com",
			Hint: "Where requests that open no socket lead, with tokens for production or without one: an http or https URL on each line, at most 10. Without any such requests are refused.", Paths: paths("endpoints")},
		{Name: "sandbox", Label: "Sandbox", Kind: "textarea", Code: true, Max: 25000, Value: lines(h.GetEndpoints().GetSandbox()),
			Hint: "Where tokens for the sandbox lead. May be empty.", Paths: paths("endpoints.sandbox")},
		{Name: "security", Label: "Clients prove who they are", Kind: "select", Value: security, Options: options,
			Hint: "As for the socket: at its places that a request has, which are headers, parameters and cookies.", Paths: paths("security")},
		{Name: "places", Label: "Where the token may be", Kind: "textarea", Code: true, Value: strings.Join(where, "\n"), Placeholder: "header:Authorization\nquery:access_token",
			Hint: "One on a line: header:NAME, query:NAME, query:NAME:base64 or cookie:NAME.", Paths: paths("security[0].oauth2.places", "security[1].oauth2.places")},
		{Name: "key_places", Label: "Where the API key may be", Kind: "textarea", Code: true, Value: strings.Join(keys, "\n"), Placeholder: "header:apikey\nquery:apikey",
			Hint: "As above, for API keys.", Paths: paths("security[0].api_key.places", "security[1].api_key.places")},
		{Name: "cors", Label: "Pages of other origins", Kind: "select", Value: ui.EnumEntry(h.GetCors(), "CORS_", "GATEWAY"), Options: []ui.Option{
			{Value: "", Text: "The gateway answers their browsers"}, {Value: "BACKEND", Text: "The backend answers their browsers"},
		}, Hint: "The gateway answers from the origins that may connect.", Paths: paths("cors")},
		{Name: "max_body", Label: "Greatest body", Max: 20, Value: body, Placeholder: "1 MiB", Hint: "Of a request. Empty for that of the gateway.", Paths: paths("max_body_bytes")},
		{Name: "timeout", Label: "Time-out", Max: 20, Value: timeout, Placeholder: "1 min", Hint: "Until the backend's answer begins, 100 ms to 1 h. Empty for that of the gateway.", Paths: paths("timeout")},
		{Name: "health_path", Label: "Path of the health check", Code: true, Max: 1024, Value: h.GetEndpoints().GetHealthCheck().GetHttpPath(), Placeholder: "/healthz",
			Hint: "Each gateway asks each endpoint for it. Empty for no check.", Paths: paths("endpoints.health_check")},
	}, choiceFields([]string{"version.http", "version.http.endpoints."}, h.GetEndpoints())...)
}

// httpView is what the Endpoint page says of plain requests; nil where they are refused.
type httpView struct {
	Endpoints []string
	Security  []string
	Cors      string
}

func httpViewOf(h *catalogv1.HTTPOptions) *httpView {
	if h == nil {
		return nil
	}
	view := &httpView{Cors: "the gateway", Security: securityWords(h.GetSecurity())}
	if h.GetCors() == catalogv1.HTTPOptions_CORS_BACKEND {
		view.Cors = "the backend"
	}
	if len(view.Security) == 0 {
		view.Security = []string{"as for the socket"}
	}
	for _, e := range slices.Concat(h.GetEndpoints().GetProduction(), h.GetEndpoints().GetSandbox()) {
		view.Endpoints = append(view.Endpoints, e.GetUrl())
	}
	return view
}

// lines are the URLs of endpoints, one on a line.
func lines(list []*catalogv1.Endpoint) string {
	var urls []string
	for _, e := range list {
		urls = append(urls, e.GetUrl())
	}
	return strings.Join(urls, "\n")
}
