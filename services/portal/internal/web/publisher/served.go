package publisher

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/tidegatehq/tidegate/gen"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// served leads to a version that was published, and says which gateways serve it: header
// names the change, which gateways get a moment to apply.
func (p *pages) served(r *ui.Request, version, name string, header metadata.MD) ui.Redirect {
	done := ui.Done(versionPath(version), "%s is published.", name)
	change := strings.Join(header.Get(gen.ChangeHeader), "")
	_, digits, _ := strings.Cut(change, "/changes/")
	number, err := strconv.ParseUint(digits, 10, 64)
	if err == nil {
		_, err = p.Changes.WaitChange(r.Context(), &changev1.WaitChangeRequest{Name: change})
	}
	var list *gatewayv1.ListGatewaysResponse
	if err == nil {
		list, err = p.Sessions.ListGateways(r.Context(), &gatewayv1.ListGatewaysRequest{PageSize: mostGateways, ReturnPartialSuccess: true})
	}
	if err != nil {
		done.Notice.Text += " Which gateways serve it is not known now."
		return done
	}
	done.Notice = servedBy(done.Notice, list, number)
	return done
}

// mostGateways is how many gateways are asked whether they serve a version, and mostNamed
// how many of those that do not are named.
const (
	mostGateways = 1000
	mostNamed    = 5
)

// servedBy says how many gateways have applied a change of the catalog, and names those
// that have not.
func servedBy(n ui.Notice, list *gatewayv1.ListGatewaysResponse, change uint64) ui.Notice {
	var late []string
	for _, g := range list.GetGateways() {
		if g.GetRoutesAppliedChangeNumber() < change {
			late = append(late, ui.ID(g.GetName()))
		}
	}
	for _, name := range list.GetUnreachable() {
		late = append(late, ui.ID(name))
	}
	all := len(list.GetGateways()) + len(list.GetUnreachable())
	switch {
	case all == 0:
		n.Kind = "warn"
		n.Text += " There is no gateway that serves it."
		return n
	case len(late) == 0 && all == 1:
		n.Text += " The gateway serves it: clients can connect."
		return n
	}
	n.Text += fmt.Sprintf(" %d of %s serve it.", all-len(late), ui.Plural(all, "gateway"))
	if len(late) > 0 {
		n.Kind = "warn"
		more := ""
		if len(late) > mostNamed {
			more = fmt.Sprintf(" and %d more", len(late)-mostNamed)
			late = late[:mostNamed]
		}
		n.Text += " Not yet: " + strings.Join(late, ", ") + more + "."
	}
	return n
}
