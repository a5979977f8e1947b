package publisher

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// endpointView is the form of where a version's backends are and how gateways choose among
// them, what tries them, and what gateways know of them.
type endpointView struct {
	*version
	Form   *ui.Form
	Check  *ui.Form
	Health health
	// HTTP is what is said of plain requests; nil where they are refused.
	HTTP *httpView
	// Connections are those of the stages that have endpoints.
	Connections []connectionView
}

// Advanced are the entries that say how gateways choose among endpoints.
func (v endpointView) Advanced() []*ui.Field {
	var all []*ui.Field
	for _, field := range balanceFields(nil) {
		all = append(all, v.Form.Field(field.Name))
	}
	return all
}

// AdvancedOpen reports whether one of them has a value, or something to say.
func (v endpointView) AdvancedOpen() bool {
	return slices.ContainsFunc(v.Advanced(), func(f *ui.Field) bool { return f.Value != "" || f.Error != "" || f.Stored != nil })
}

// endpoint shows and changes where a version's backends are reached.
func (p *pages) endpoint() ui.Route {
	t := ui.Parse[endpointView](files, "templates/endpoint.html")
	return ui.FormPage("/publisher/apis/{api}/versions/{version}/endpoint", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		fields := endpointFields(v)
		form := ui.NewForm(r, fields...)
		if r.Submitted() {
			next := &catalogv1.Endpoints{Production: endpoints(form.Get("production")), Sandbox: endpoints(form.Get("sandbox"))}
			setBalance(form, v.Version.GetEndpoints(), next)
			if form.Good() {
				_, err := p.Catalog.UpdateVersion(r.Context(), &catalogv1.UpdateVersionRequest{
					Version: &catalogv1.Version{Name: v.Version.GetName(), Etag: form.Get("etag"), Endpoints: next},
					UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{
						"endpoints.production", "endpoints.sandbox", "endpoints.health_check", "endpoints.suspension", "endpoints.timeouts",
					}},
				})
				if err == nil {
					return ui.Done(v.Base+"/endpoint", "The endpoint of %s is saved. New sessions go there; live ones go on.", v.name()), nil
				}
				if err := form.Explain(err); err != nil {
					return nil, err
				}
			}
			if form.Conflict {
				form.Compare(v.Version.GetEtag(), ui.Stored(fields))
			}
		}
		h := v.head("Endpoint")
		h.Status = form.Status()
		view := endpointView{version: v, Form: form, Check: checkForm(nil, v), HTTP: httpViewOf(v.Version.GetHttp()), Connections: connectionViews(v)}
		if view.Health, err = p.health(r, v); err != nil {
			return nil, err
		}
		return t.Page(h, view), nil
	})
}

// endpointFields are the endpoints of both stages, and how gateways choose among them. What
// is said of both stages is said at the first.
func endpointFields(v *version) []ui.Field {
	return append([]ui.Field{
		{Name: "sandbox", Label: "Sandbox", Kind: "textarea", Code: true, Max: 25000, Value: v.stored("sandbox"),
			Hint: "Where tokens for the sandbox lead: one on a line, at most 10. May be empty.", Paths: []string{"version.endpoints.sandbox"}},
		{Name: "production", Label: "Production", Kind: "textarea", Code: true, Max: 25000, Value: v.stored("production"), Placeholder: "wss://backend.example.com/stream",
			Hint: "Where tokens for production lead, and clients without a token: one on a line, at most 10, which take each other's place. Path and query may have {uri.path.1} and {uri.query.NAME}, which a client's request fills in.", Paths: []string{"version.endpoints"}},
		{Name: "etag", Kind: "hidden", Value: v.Version.GetEtag()},
	}, balanceFields(v.Version.GetEndpoints())...)
}

// stored are the endpoints of a stage as they are stored, one on a line, or empty.
func (v *version) stored(stage string) string {
	if stage == "sandbox" {
		return lines(v.Version.GetEndpoints().GetSandbox())
	}
	return lines(v.Version.GetEndpoints().GetProduction())
}

// endpoints are those of a stage, one on a line.
func endpoints(text string) (all []*catalogv1.Endpoint) {
	for line := range strings.FieldsSeq(text) {
		all = append(all, &catalogv1.Endpoint{Endpoint: &catalogv1.Endpoint_Url{Url: line}})
	}
	return all
}

// checkView is what gateways found at an endpoint.
type checkView struct {
	*version
	Form *ui.Form
	Rows []checkRow
	// Unreachable are the gateways that did not answer.
	Unreachable []string
	// Checked says that there was a check.
	Checked bool
}

// checkRow is what one gateway found at one endpoint, which is empty where it does not have it.
type checkRow struct {
	Gateway  string
	Endpoint string
	Badge    ui.Badge
	Error    string
	// Status is that of the backend's answer, 0 for none.
	Status      int32
	Subprotocol string
	Elapsed     string
}

// checkEndpoint has gateways connect to a version's endpoint. It changes nothing, so that
// the answer to the form is the page itself: loading it again tries again.
func (p *pages) checkEndpoint() ui.Route {
	t := ui.Parse[checkView](files, "templates/check.html")
	return ui.FormPage("/publisher/apis/{api}/versions/{version}/endpoint/check", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v, err := p.version(r)
		if err != nil {
			return nil, err
		}
		view := checkView{version: v, Form: checkForm(r, v)}
		if r.Submitted() {
			got, err := p.Endpoints.CheckEndpoint(r.Context(), &gatewayv1.CheckEndpointRequest{
				Version: v.Version.GetName(), Stage: catalogv1.Stage(catalogv1.Stage_value[strings.TrimPrefix(view.Form.Get("stage"), forHTTP)]),
				Http:         strings.HasPrefix(view.Form.Get("stage"), forHTTP),
				Subprotocols: strings.FieldsFunc(view.Form.Get("subprotocols"), func(c rune) bool { return c == ' ' || c == ',' }),
			})
			if err == nil {
				view.Checked, view.Rows, view.Unreachable = true, checkRows(got.GetChecks()), got.GetUnreachable()
			} else if err := view.Form.Explain(err); err != nil {
				return nil, err
			}
		}
		h := v.below("Test the connection of "+v.name(), "Test connection")
		h.Status = view.Form.Status()
		return t.Page(h, view), nil
	})
}

// forHTTP stands before a stage where its endpoints for plain requests are tried.
const forHTTP = "HTTP_"

// checkForm says what is tried: a stage that has an endpoint, of the socket or for HTTP.
func checkForm(r *ui.Request, v *version) *ui.Form {
	var stages []ui.Option
	socket, plain := v.Version.GetEndpoints(), v.Version.GetHttp().GetEndpoints()
	for _, stage := range []struct {
		endpoints   []*catalogv1.Endpoint
		value, text string
	}{
		{socket.GetProduction(), "STAGE_PRODUCTION", "Production"}, {socket.GetSandbox(), "STAGE_SANDBOX", "Sandbox"},
		{plain.GetProduction(), forHTTP + "STAGE_PRODUCTION", "Production, HTTP"}, {plain.GetSandbox(), forHTTP + "STAGE_SANDBOX", "Sandbox, HTTP"},
	} {
		if len(stage.endpoints) > 0 {
			stages = append(stages, ui.Option{Value: stage.value, Text: stage.text})
		}
	}
	return ui.NewForm(r,
		ui.Field{Name: "stage", Label: "Endpoint", Kind: "select", Options: stages, Paths: []string{"stage"}},
		ui.Field{Name: "subprotocols", Label: "Sub-protocols", Code: true, Placeholder: "graphql-ws", Hint: "To offer to the socket's endpoints, with spaces between them. May be empty.", Paths: []string{"subprotocols"}},
	)
}

// checkRows says what gateways found.
func checkRows(checks []*gatewayv1.EndpointCheck) []checkRow {
	var rows []checkRow
	for _, c := range checks {
		rows = append(rows, checkRow{
			Gateway: ui.ID(c.GetGateway()), Endpoint: c.GetUrl(), Badge: stepBadge(c.GetStep()), Error: c.GetError(), Status: c.GetStatus(),
			Subprotocol: c.GetSubprotocol(), Elapsed: fmt.Sprintf("%d ms", c.GetElapsed().AsDuration()/time.Millisecond),
		})
	}
	return rows
}

// stepBadge says how far a connection came.
func stepBadge(step gatewayv1.EndpointCheck_Step) ui.Badge {
	switch step {
	case gatewayv1.EndpointCheck_STEP_DONE:
		return ui.Badge{Kind: "ok", Text: "Connected"}
	case gatewayv1.EndpointCheck_STEP_UNKNOWN_VERSION:
		return ui.Badge{Kind: "warn", Text: "Not there yet"}
	case gatewayv1.EndpointCheck_STEP_RESOLVE:
		return ui.Badge{Kind: "danger", Text: "Failed at the host's name"}
	case gatewayv1.EndpointCheck_STEP_CONNECT:
		return ui.Badge{Kind: "danger", Text: "Failed at TCP"}
	case gatewayv1.EndpointCheck_STEP_TLS:
		return ui.Badge{Kind: "danger", Text: "Failed at TLS"}
	case gatewayv1.EndpointCheck_STEP_HANDSHAKE:
		return ui.Badge{Kind: "danger", Text: "Failed at the handshake"}
	case gatewayv1.EndpointCheck_STEP_REQUEST:
		return ui.Badge{Kind: "danger", Text: "Failed at the request"}
	case gatewayv1.EndpointCheck_STEP_CREDENTIAL:
		return ui.Badge{Kind: "danger", Text: "Failed at the access token"}
	case gatewayv1.EndpointCheck_STEP_PROXY:
		return ui.Badge{Kind: "danger", Text: "Failed at the proxy"}
	}
	return ui.Badge{Kind: "warn", Text: "Not known"}
}
