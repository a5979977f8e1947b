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

// versionCheckCmd has gateways check an endpoint.
type versionCheckCmd struct {
	Version     string   `arg:"" help:"The version, such as EchoWebSocket/1.0.0."`
	Sandbox     bool     `help:"Check the endpoint of the sandbox stage instead of production."`
	Subprotocol []string `sep:"none" placeholder:"NAME" help:"Sub-protocol to offer; can be repeated."`
}

// Run checks the endpoint, and fails unless all gateways reach it.
func (c *versionCheckCmd) Run(ctx context.Context, s *shell) error {
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
		Version: v.GetName(), Stage: stage, Subprotocols: c.Subprotocol,
	})
	if err != nil {
		return err
	}
	s.noteUnreachable(found.GetUnreachable(), "what it reaches is not known")
	if s.whole() {
		err = s.printWhole(found)
	} else {
		err = s.printTable([]string{"GATEWAY", "STEP", "STATUS", "SUB-PROTOCOL", "TOOK", "ERROR"}, checkRows(found.GetChecks()))
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

// checkRows are what gateways found, one in each row.
func checkRows(checks []*gatewayv1.EndpointCheck) [][]string {
	var rows [][]string
	for _, c := range checks {
		status := ""
		if c.GetStatus() != 0 {
			status = strconv.Itoa(int(c.GetStatus()))
		}
		rows = append(rows, []string{
			path.Base(c.GetGateway()), word(c.GetStep(), "STEP_"), status,
			c.GetSubprotocol(), c.GetElapsed().AsDuration().Round(100 * time.Microsecond).String(), c.GetError(),
		})
	}
	return rows
}
