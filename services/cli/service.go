package cli

import (
	"context"
	"path"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// serviceCmds are the commands about services.
type serviceCmds struct {
	List serviceListCmd `cmd:"" help:"List the services that have changes and who watches them, with the last change that each has applied. Only administrators see them."`
}

// serviceListCmd lists services and their watchers.
type serviceListCmd struct{}

// Run lists the watchers of all services.
func (c *serviceListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	list, err := cl.changes.ListWatchers(ctx, &changev1.ListWatchersRequest{Parent: allServices})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(list)
	}
	var rows [][]string
	heads := map[string]string{}
	for _, w := range list.GetWatchers() {
		service := parent(w.GetName())
		if _, known := heads[service]; !known {
			if heads[service], err = cl.head(ctx, service); err != nil {
				return err
			}
		}
		rows = append(rows, []string{
			path.Base(service), heads[service], w.GetInstance(), w.GetKind(), strconv.FormatUint(w.GetAppliedChangeNumber(), 10),
			yes(w.GetConnected()), when(w.GetSeenTime()), w.GetBuild(), w.GetFailure(),
		})
	}
	return s.printTable([]string{"SERVICE", "NEWEST", "WATCHER", "KIND", "APPLIED", "CONNECTED", "SEEN", "BUILD", "FAILURE"}, rows)
}

// head returns the number of the newest change of a service.
func (c *client) head(ctx context.Context, service string) (string, error) {
	list, err := c.changes.ListChanges(ctx, &changev1.ListChangesRequest{Parent: service, PageSize: 1})
	if err != nil || len(list.GetChanges()) == 0 {
		return "0", err
	}
	return strconv.FormatUint(list.GetChanges()[0].GetChangeNumber(), 10), nil
}

// gatewayGetCmd shows a gateway.
type gatewayGetCmd struct {
	Gateway string `arg:"" help:"The gateway, as the list has it, or gateways/…."`
}

// Run shows the gateway.
func (c *gatewayGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	g, err := cl.sessions.GetGateway(ctx, &gatewayv1.GetGatewayRequest{Name: "gateways/" + strings.TrimPrefix(c.Gateway, "gateways/")})
	if absent(err) {
		return unknown("GATEWAY", "gateway", c.Gateway, "gateway list")
	}
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(g)
	}
	fields := [][2]string{
		{"Gateway", path.Base(g.GetName())}, {"Name", g.GetName()}, {"Ready", yes(g.GetReady())},
		{"Sessions", strconv.FormatUint(g.GetSessions(), 10)}, {"Since", when(g.GetStartTime())}, {"Build", g.GetBuild()},
		{"Applied of catalog", strconv.FormatUint(g.GetRoutesAppliedChangeNumber(), 10)},
		{"Applied of subscription", strconv.FormatUint(g.GetGrantsAppliedChangeNumber(), 10)},
	}
	more, err := cl.watches(ctx, path.Base(g.GetName()))
	if err != nil {
		return err
	}
	return s.printFields(append(fields, more...)...)
}

// watches says what services know of a gateway that watches them, to administrators.
func (c *client) watches(ctx context.Context, instance string) (fields [][2]string, err error) {
	list, err := c.changes.ListWatchers(ctx, &changev1.ListWatchersRequest{Parent: allServices})
	if st, ok := statusOf(err); ok && st.Code() == codes.PermissionDenied {
		return nil, nil
	}
	for _, w := range list.GetWatchers() {
		if w.GetInstance() != instance {
			continue
		}
		text := "not connected, last heard of " + when(w.GetSeenTime())
		if w.GetConnected() {
			text = "connected, at change " + strconv.FormatUint(w.GetAppliedChangeNumber(), 10)
		}
		if w.GetFailure() != "" {
			text += ": " + w.GetFailure()
		}
		fields = append(fields, [2]string{"Watches " + path.Base(parent(w.GetName())), text})
	}
	return fields, err
}

// yes prints a yes or a no.
func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
