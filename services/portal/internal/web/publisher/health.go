package publisher

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// health is what gateways know of a version's endpoints, for those who may see that.
type health struct {
	// Shown says that the viewer may.
	Shown bool
	Rows  []healthRow
	// Unreachable are the gateways that did not answer.
	Unreachable []string
	// Live is the address that it is read from again while it is looked at, empty where it
	// stands still; Turn leads to the other of both.
	Live string
	Turn ui.Link
}

// healthRow is what one gateway knows of one endpoint.
type healthRow struct {
	Gateway, Endpoint string
	// Sandbox says that it is one of the sandbox, HTTP that plain requests go there.
	Sandbox, HTTP bool
	Badge         ui.Badge
	// Until is the end of its suspension, nil where it is not suspended.
	Until       *timestamppb.Timestamp
	Connections int64
	// Failure is why it failed last, at FailedAt; empty where it has not failed.
	Failure  string
	FailedAt *timestamppb.Timestamp
}

// health asks gateways. Where nobody knows which there are, there is nothing to show.
func (p *pages) health(r *ui.Request, v *version) (health, error) {
	if !v.mayChange(r) {
		return health{}, nil
	}
	h := health{Shown: true, Live: v.Base + "/endpoint", Turn: ui.Link{Text: "Pause", To: v.Base + "/endpoint?live=off"}}
	if r.FormValue("live") == "off" {
		h.Live, h.Turn = "", ui.Link{Text: "Follow", To: v.Base + "/endpoint"}
	}
	got, err := p.Endpoints.DescribeEndpoints(r.Context(), &gatewayv1.DescribeEndpointsRequest{Version: v.Version.GetName()})
	if ui.Away(err) {
		return h, nil
	}
	if err != nil {
		return health{}, err
	}
	h.Unreachable = got.GetUnreachable()
	for _, e := range got.GetEndpoints() {
		h.Rows = append(h.Rows, healthRow{
			Gateway: ui.ID(e.GetGateway()), Endpoint: e.GetUrl(), Sandbox: e.GetStage() == catalogv1.Stage_STAGE_SANDBOX, HTTP: e.GetHttp(), Badge: healthBadge(e.GetState()),
			Until: e.GetSuspendedUntilTime(), Connections: e.GetConnections(), Failure: e.GetLastFailure(), FailedAt: e.GetLastFailureTime(),
		})
	}
	return h, nil
}

// healthBadge says whether an endpoint is taken.
func healthBadge(state gatewayv1.EndpointStatus_State) ui.Badge {
	switch state {
	case gatewayv1.EndpointStatus_STATE_HEALTHY:
		return ui.Badge{Kind: "ok", Text: "Healthy"}
	case gatewayv1.EndpointStatus_STATE_SUSPENDED:
		return ui.Badge{Kind: "danger", Text: "Suspended"}
	case gatewayv1.EndpointStatus_STATE_ON_TRIAL:
		return ui.Badge{Kind: "warn", Text: "On trial"}
	}
	return ui.Badge{Kind: "warn", Text: "Not known"}
}
