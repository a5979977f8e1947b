package publisher_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// denyPages keep the client of a live session from an API of one's own. What an
// administrator has denied is seen and not changed, and others see nothing.
func denyPages(t *testing.T, s *webtest.Tidegate) {
	backend := echo(t)
	b := publish(t, s, "dina", func(v *catalogv1.Version) {
		v.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}}
		v.Endpoints.Production[0] = &catalogv1.Endpoint{Endpoint: &catalogv1.Endpoint_Url{Url: backend}}
	})
	conn := connect(t, s.WS+"/tides-of-dina/1.0.0")
	b.Open(b.base + "/sessions")
	want(t, b.Click("Deny this client"), http.StatusOK, "Deny clients")
	if got := b.Page.Value("client_address"); got != "127.0.0.1" {
		t.Errorf("the form has the address %q, want the session's without its port", got)
	}
	if p := b.Submit("Deny", "client_address", "127.0.0.1/8"); p.Status != http.StatusUnprocessableEntity || !strings.Contains(p.Error("client_address"), "127.0.0.0/8 is meant") {
		t.Errorf("a network with bits beyond its length: %d %q", p.Status, p.Error("client_address"))
	}
	want(t, b.Submit("Deny", "client_address", "127.0.0.0/8", "versions", b.name, "reason", "Too loud."), http.StatusOK, "1 live session ends with this. Send the form again to go on.")
	// What is sent with other conditions is not what the user has agreed to.
	want(t, b.Submit("Deny", "client_address", "127.0.0.0/9"), http.StatusOK, "1 live session ends with this. Send the form again to go on.")
	want(t, b.Submit("Deny", "client_address", "127.0.0.0/8"), http.StatusOK, "1 live session ends with this. Send the form again to go on.")
	want(t, b.Submit("Deny"), http.StatusOK, "The rule is added", "127.0.0.0/8", "1 version", "Too loud.")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != 4006 {
		t.Errorf("the client gets %v, want 4006", err)
	}
	list := b.Page.URL.Path
	b.Click("127.0.0.0/8")
	rule := b.Page.URL.Path
	want(t, b.Submit("Save", "client_address", "192.0.2.1", "reason", ""), http.StatusOK, "The rule is changed")
	connect(t, s.WS+"/tides-of-dina/1.0.0")

	other := publish(t, s, "dolf", nil)
	want(t, other.Open(rule), http.StatusNotFound)
	want(t, other.Do(http.MethodPost, rule+"/delete", url.Values{}), http.StatusNotFound)
	want(t, other.Open(strings.Replace(rule, list, strings.TrimSuffix(other.base, "/versions/"+ui.ID(other.base))+"/denyrules", 1)), http.StatusNotFound)

	api, _, _ := strings.Cut(b.name, "/versions/")
	made, err := catalogv1.NewDenyRuleServiceClient(s.Conn).CreateDenyRule(s.As(t, "admin", s.Password), &catalogv1.CreateDenyRuleRequest{
		DenyRule: &catalogv1.DenyRule{Api: api, ClientAddress: "192.0.2.2", Reason: "Ordered."},
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, b.Open(list), http.StatusOK, "192.0.2.2", "By an administrator", "Ordered.")
	p := b.Click("192.0.2.2")
	want(t, p, http.StatusOK, "what an administrator made or changed, only administrators")
	if p.Has("Save") || p.Has("Delete") {
		t.Errorf("what an administrator made can be changed:\n%s", p.Text())
	}
	p = b.Do(http.MethodPost, list+"/"+ui.ID(made.GetName())+"/delete", url.Values{})
	if p.Status != http.StatusForbidden || !p.Has("only administrators change or delete it") {
		t.Errorf("deleting what an administrator made = %d:\n%s", p.Status, p.Text())
	}
	// Nor does the API's end let in whom it denies.
	want(t, b.Do(http.MethodPost, strings.TrimSuffix(list, "/denyrules")+"/delete", url.Values{}), http.StatusConflict,
		"An administrator's deny rule names the API: ask an administrator to delete the API, or the rule first")
	b.Open(rule)
	want(t, b.Click("Delete"), http.StatusOK, "It denies 192.0.2.1 at the API Tides of dina.")
	want(t, b.Submit("Delete"), http.StatusOK, "The rule is deleted.", "192.0.2.2")
}
