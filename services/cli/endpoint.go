package cli

import (
	"context"
	"path"
	"slices"
	"strconv"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// versionCheckCmd has gateways check the endpoints of a stage.
type versionCheckCmd struct {
	Version     string   `arg:"" help:"The version, such as EchoWebSocket/1.0.0."`
	Sandbox     bool     `help:"Check the endpoints of the sandbox stage instead of production."`
	HTTP        bool     `name:"http" help:"Check the endpoints for plain HTTP requests instead of the socket's, by a GET of the path of their health checks, or else of their own."`
	Subprotocol []string `sep:"none" placeholder:"NAME" help:"Sub-protocol to offer; can be repeated."`
}

// Run checks the endpoints, and fails unless all gateways reach them all.
func (c *versionCheckCmd) Run(ctx context.Context, s *shell) error {
	if c.HTTP && len(c.Subprotocol) > 0 {
		return usagef("--subprotocol: is only for the socket: leave it or --http away")
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	v, err := cl.version(ctx, "VERSION", c.Version)
	if err != nil {
		return err
	}
	stage := catalogv1.Stage_STAGE_PRODUCTION
	if c.Sandbox {
		stage = catalogv1.Stage_STAGE_SANDBOX
	}
	found, err := gatewayv1.NewEndpointServiceClient(cl.conn).CheckEndpoint(ctx, &gatewayv1.CheckEndpointRequest{
		Version: v.GetName(), Stage: stage, Subprotocols: c.Subprotocol, Http: c.HTTP,
	})
	if err != nil {
		return err
	}
	s.noteUnreachable(found.GetUnreachable(), "what it reaches is not known")
	if s.whole() {
		err = s.printWhole(found)
	} else {
		err = s.printTable([]string{"GATEWAY", "ENDPOINT", "STEP", "STATUS", "SUB-PROTOCOL", "TOOK", "ERROR"}, checkRows(found.GetChecks()))
	}
	if err != nil {
		return err
	}
	failed := func(c *gatewayv1.EndpointCheck) bool { return c.GetStep() != gatewayv1.EndpointCheck_STEP_DONE }
	if len(found.GetUnreachable()) > 0 || len(found.GetChecks()) == 0 || slices.ContainsFunc(found.GetChecks(), failed) {
		return &exitError{exitFailed}
	}
	return nil
}

// apiEndpointsCmd shows what gateways know of a version's endpoints.
type apiEndpointsCmd struct {
	Version string `arg:"" help:"The version, such as EchoWebSocket/1.0.0."`
}

// Run shows it.
func (c *apiEndpointsCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	v, err := cl.version(ctx, "VERSION", c.Version)
	if err != nil {
		return err
	}
	found, err := gatewayv1.NewEndpointServiceClient(cl.conn).DescribeEndpoints(ctx, &gatewayv1.DescribeEndpointsRequest{Version: v.GetName()})
	if err != nil {
		return err
	}
	s.noteUnreachable(found.GetUnreachable(), "what it knows of the endpoints is not shown")
	if s.whole() {
		return s.printWhole(found)
	}
	var rows [][]string
	for _, e := range found.GetEndpoints() {
		failure := e.GetLastFailure()
		if failure != "" {
			failure = when(e.GetLastFailureTime()) + ": " + failure
		}
		rows = append(rows, []string{
			path.Base(e.GetGateway()), endpointOf(e), word(e.GetStage(), "STAGE_"), e.GetUrl(), word(e.GetState(), "STATE_"), when(e.GetSinceTime()),
			when(e.GetSuspendedUntilTime()), strconv.FormatInt(e.GetConnections(), 10), failure,
		})
	}
	return s.printTable([]string{"GATEWAY", "FOR", "STAGE", "ENDPOINT", "STATE", "SINCE", "UNTIL", "CONNECTIONS", "LAST FAILURE"}, rows)
}

// endpointOf says what an endpoint is for: the socket, or the HTTP beside it.
func endpointOf(e *gatewayv1.EndpointStatus) string {
	if e.GetHttp() {
		return "HTTP"
	}
	return "socket"
}

// checkRows are what gateways found, one in each row.
func checkRows(checks []*gatewayv1.EndpointCheck) [][]string {
	var rows [][]string
	for _, c := range checks {
		status := ""
		if c.GetStatus() != 0 {
			status = strconv.Itoa(int(c.GetStatus()))
		}
		rows = append(rows, []string{
			path.Base(c.GetGateway()), c.GetUrl(), word(c.GetStep(), "STEP_"), status,
			c.GetSubprotocol(), c.GetElapsed().AsDuration().Round(100 * time.Microsecond).String(), c.GetError(),
		})
	}
	return rows
}
