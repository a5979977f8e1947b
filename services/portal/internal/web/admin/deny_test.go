package admin_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// deny keeps the client of a live session out with a click and a form, and lets it in again.
func deny(t *testing.T, s *webtest.Tidegate) {
	v := published(t, s, "Denied")
	conn := connect(t, s.WS+"/denied/1")
	b := s.Browser(t) // another user's would be an event too many of a second for the test of the security log
	b.SignIn("admin", s.Password)
	b.Open("/admin/sessions")
	b.Submit("Search", "version", v.GetName())
	for text, to := range b.Page.Links() {
		if strings.HasPrefix(text, "Deny 127.0.0.1:") {
			b.Open(to)
		}
	}
	want(t, b.Page, http.StatusOK, "Add deny rule")
	if got := b.Page.Value("client_address"); got != "127.0.0.1" {
		t.Errorf("the form has the address %q, want the session's without its port", got)
	}
	refused(t, b.Submit("Deny", "api", "Nothing like this"), "api", "Nothing like this")
	refused(t, b.Submit("Deny", "api", "Denied", "client_address", "here"), "client_address", "here")
	want(t, b.Submit("Deny", "client_address", "127.0.0.1", "expire_time", "2020-01-01T00:00"), http.StatusOK, "1 live session ends with this. Send the form again to go on.")
	refused(t, b.Submit("Deny"), "expire_time", "2020-01-01T00:00")
	want(t, b.Submit("Deny", "expire_time", "", "reason", "It scans."), http.StatusOK, "The rule is added", "API Denied", "It scans.")
	rule := b.Page.URL.Path
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != 4006 {
		t.Errorf("the client gets %v, want 4006", err)
	}
	for b.Open("/admin/records?version=" + v.GetName()).Has("No record found") {
		if ctx.Err() != nil {
			t.Fatalf("no record:\n%s", b.Page.Text())
		}
	}
	for _, to := range b.Page.Links() {
		if strings.HasPrefix(to, "/admin/records/") {
			want(t, b.Open(to), http.StatusOK, "denied by denyRules/"+rule[strings.LastIndexByte(rule, '/')+1:])
			break
		}
	}
	ended := b.Page.URL.Path
	if p := b.Click("The deny rule"); p.URL.Path != rule {
		t.Errorf("the record leads to %s, want the rule %s", p.URL.Path, rule)
	}
	b.Open(ended)
	b.Click("Deny this client")
	if got := b.Page.Value("client_address"); got != "127.0.0.1" {
		t.Errorf("from its record the form has the address %q", got)
	}
	want(t, b.Open("/admin/denyrules?client_address=127.0.0.1"), http.StatusOK, "Denied", "It scans.")
	want(t, b.Open("/admin/denyrules?client_address=192.0.2.200"), http.StatusOK, "No deny rule found")
	if p := b.Open("/admin/denyrules?client_address=here"); p.Status != http.StatusUnprocessableEntity || p.Error("client_address") == "" {
		t.Errorf("an address that is none: %d %q", p.Status, p.Error("client_address"))
	}
	late := b.Tab()
	late.Open(rule)
	b.Open(rule)
	want(t, b.Submit("Save", "client_address", "192.0.2.0/24", "reason", "It scanned."), http.StatusOK, "The rule is changed")
	want(t, late.Submit("Save", "reason", "Other."), http.StatusConflict, "Stored now: 192.0.2.0/24", "Stored now: It scanned.")
	connect(t, s.WS+"/denied/1")
	b.Open(rule)
	want(t, b.Click("Delete"), http.StatusOK, "It denies 192.0.2.0/24 at the API Denied.")
	want(t, b.Submit("Delete"), http.StatusOK, "The rule is deleted.")
	want(t, b.Open(rule), http.StatusNotFound)
	if p := b.Open(ended); p.Has("The deny rule") {
		t.Error("a record leads to a rule that is deleted")
	}
}
