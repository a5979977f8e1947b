package publisher

import (
	"testing"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// TestServedBy names the gateways that do not serve a version yet.
func TestServedBy(t *testing.T) {
	gateways := func(applied ...uint64) (list []*gatewayv1.Gateway) {
		for i, n := range applied {
			list = append(list, &gatewayv1.Gateway{Name: "gateways/g" + string(rune('0'+i)), RoutesAppliedChangeNumber: n})
		}
		return list
	}
	for _, tt := range []struct {
		list *gatewayv1.ListGatewaysResponse
		want ui.Notice
	}{
		{&gatewayv1.ListGatewaysResponse{}, ui.Notice{Kind: "warn", Text: "Done. There is no gateway that serves it."}},
		{&gatewayv1.ListGatewaysResponse{Gateways: gateways(7)}, ui.Notice{Kind: "ok", Text: "Done. The gateway serves it: clients can connect."}},
		{&gatewayv1.ListGatewaysResponse{Gateways: gateways(7, 8)}, ui.Notice{Kind: "ok", Text: "Done. 2 of 2 gateways serve it."}},
		{&gatewayv1.ListGatewaysResponse{Gateways: gateways(6)}, ui.Notice{Kind: "warn", Text: "Done. 0 of 1 gateway serve it. Not yet: g0."}},
		{&gatewayv1.ListGatewaysResponse{Gateways: gateways(6, 7), Unreachable: []string{"gateways/far"}}, ui.Notice{Kind: "warn", Text: "Done. 1 of 3 gateways serve it. Not yet: g0, far."}},
		{&gatewayv1.ListGatewaysResponse{Gateways: gateways(1, 2, 3, 4, 5, 6, 7)}, ui.Notice{Kind: "warn", Text: "Done. 1 of 7 gateways serve it. Not yet: g0, g1, g2, g3, g4 and 1 more."}},
	} {
		if got := servedBy(ui.Notice{Kind: "ok", Text: "Done."}, tt.list, 7); got != tt.want {
			t.Errorf("servedBy(%v) = %v, want %v", tt.list, got, tt.want)
		}
	}
}

// TestTrend compares a day with the one before.
func TestTrend(t *testing.T) {
	for want, tr := range map[string]traffic{
		"nothing on either day": {}, "nothing on the day before": {Messages: 1}, "50 % more than on the day before": {Messages: 3, Before: 2},
		"100 % less than on the day before": {Before: 5}, "as many as on the day before": {Messages: 5, Before: 5},
	} {
		if got := tr.Trend(); got != want {
			t.Errorf("%+v has the trend %q, want %q", tr, got, want)
		}
	}
}
