package processes

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestDenyRulesOutliveTheControlPlane: a gateway that restarts while the control plane is
// away denies whom it denied before, before any credential, on both engines.
func TestDenyRulesOutliveTheControlPlane(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			denyRulesOutlive(newWorld(startFleet(t, engine, local())))
		})
	}
}

func denyRulesOutlive(w *world) {
	w.t.Helper()
	token := w.token()
	conn, err := w.connect(token, true)
	must(w.t, err)
	rules := catalogv1.NewDenyRuleServiceClient(w.conn)
	api, _, _ := strings.Cut(w.version, "/versions/")
	rule, err := rules.CreateDenyRule(w.signedIn(), &catalogv1.CreateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{Api: api, ClientAddress: "127.0.0.0/8"}})
	must(w.t, err)
	if _, _, err := conn.Read(w.t.Context()); websocket.CloseStatus(err) != 4006 {
		w.t.Errorf("the session ended with %v, want the close 4006", err)
	}
	denied := func(when string) {
		w.t.Helper()
		for _, credential := range []string{token, "made up"} {
			w.eventually("the gateway denies "+when, func() error {
				if _, status, err := w.tryConnect("gateway", credential, false); status != http.StatusForbidden {
					return fmt.Errorf("answered %d (%w), want 403", status, err)
				}
				return nil
			})
		}
	}
	denied("at once")
	must(w.t, w.stop("gateway"))
	for _, service := range []string{"portal", "catalog", "subscription"} {
		w.kill(service)
	}
	w.start("gateway")
	denied("after a restart without the control plane")
	for _, service := range []string{"subscription", "catalog", "portal"} {
		w.start(service)
	}
	for _, service := range []string{"subscription", "catalog", "portal"} {
		w.ready(service)
	}
	denied("when the control plane is back")
	_, err = rules.DeleteDenyRule(w.signedIn(), &catalogv1.DeleteDenyRuleRequest{Name: rule.GetName()})
	must(w.t, err)
	w.eventually("the client is let in again", func() error {
		_, _, err := w.tryConnect("gateway", token, false)
		return err
	})
}
