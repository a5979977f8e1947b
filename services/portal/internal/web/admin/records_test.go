package admin_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// records are found by ref and by filters, and show how a session ended.
func records(t *testing.T, s *webtest.Tidegate) {
	v := published(t, s, "Pier")
	conn := connect(t, s.WS+"/pier/1")
	if err := conn.Close(4321, "enough"); err != nil {
		t.Fatal(err)
	}
	usage, ctx := usagev1.NewUsageServiceClient(s.Conn), s.As(t, "admin", s.Password)
	var ref string
	for deadline := time.Now().Add(patience); ref == ""; {
		list, err := usage.ListSessionRecords(ctx, &usagev1.ListSessionRecordsRequest{Filter: `version = "` + v.GetName() + `"`})
		if err == nil && len(list.GetSessionRecords()) > 0 {
			ref = ui.ID(list.GetSessionRecords()[0].GetName())
		} else if time.Now().After(deadline) {
			t.Fatalf("there is no record: %v", err)
		}
	}
	b := browser(t, s)
	b.Open("/admin/records")
	p := b.Submit("Search", "version", v.GetName(), "end_reason", "PEER_CLOSE", "refused", "false", "start_time", "2020-01-01T00:00")
	want(t, p, http.StatusOK, "Pier 1", "PEER_CLOSE", ref, "127.0.0.1")
	want(t, b.Click(ref), http.StatusOK, "How the session ended", "4321", "enough", "client", "Messages in 1 with 4 bytes", "Messages out 1 with 4 bytes")
	want(t, b.Click("Pier 1"), http.StatusOK, ref)
	b.Open("/admin/records")
	if p = b.Submit("Search", "ref", "PEER_CLOSE ref="+ref+" and more"); p.URL.Path != "/admin/records/"+ref {
		t.Errorf("a close reason leads to %s:\n%s", p.URL, p.Text())
	}
	want(t, b.Open("/admin/records?end_reason=DRAIN&version="+v.GetName()), http.StatusOK, "No record found")
	want(t, b.Open("/admin/records?version=apis/none/versions/none"), http.StatusOK, "No record found")
	for query, field := range map[string]string{
		"ref=what!": "ref", "ref=" + ref[:len(ref)-8] + "00000000": "ref", "start_time=soon": "start_time", "version=Pier": "version",
		"start_time=2026-01-02T00:00&end_time=2026-01-01T00:00": "end_time",
	} {
		if p := b.Open("/admin/records?" + query); p.Status != http.StatusUnprocessableEntity || p.Error(field) == "" {
			t.Errorf("records?%s = %d, with %q at %s:\n%s", query, p.Status, p.Error(field), field, p.Text())
		}
	}
	want(t, b.Open("/admin/records?end_reason=BORED"), http.StatusUnprocessableEntity, `No end_reason "BORED": there are`)
	want(t, b.Open("/admin/records/what!"), http.StatusNotFound)
}

// changes are listed with before and after, filtered, and have pages of their own.
func changes(t *testing.T, s *webtest.Tidegate) {
	b := browser(t, s)
	b.Open("/admin/users/new")
	want(t, b.Submit("Add user", "username", "logged", "display_name", "Before", "roles", "CREATOR", "password", webtest.UserPassword), http.StatusOK, "logged is added")
	name := strings.TrimPrefix(b.Page.URL.Path, "/admin/")
	b.Click("Change")
	want(t, b.Submit("Save", "display_name", "After"), http.StatusOK, "logged is changed")
	me, err := identityv1.NewUserServiceClient(s.Conn).GetUser(s.As(t, "logged", webtest.UserPassword), &identityv1.GetUserRequest{Name: "users/me"})
	if err != nil || me.GetName() != name {
		t.Fatalf("the user is %v, %v, want %s", me, err, name)
	}

	b.Open("/admin/changes")
	p := b.Submit("Search", "resource", name, "action", "UpdateUser", "service", "subscription")
	want(t, p, http.StatusOK, "display_name Before After", "logged", "UpdateUser")
	if p.Has("CreateUser") {
		t.Errorf("another action:\n%s", p.Text())
	}
	want(t, b.Click("UpdateUser"), http.StatusOK, "Before and after", "display_name Before After", name, "subscription")
	if b.Page.H1() != "UpdateUser" {
		t.Errorf("the change's page is %q", b.Page.H1())
	}
	want(t, b.Open("/admin/changes?resource="+name), http.StatusOK, "CreateUser", "UpdateUser")
	if b.Page.Has(webtest.UserPassword) {
		t.Errorf("the log has a password:\n%s", b.Page.Text())
	}
	want(t, b.Open("/admin/changes?actor_display_name=nobody-here"), http.StatusOK, "No change found")
	want(t, b.Open("/admin/changes?service=elsewhere"), http.StatusNotFound)
	if p := b.Open("/admin/changes?end_time=never"); p.Status != http.StatusUnprocessableEntity || p.Error("end_time") == "" {
		t.Errorf("a time that is none: %d\n%s", p.Status, p.Text())
	}
	want(t, b.Open("/admin/changes/subscription/x"), http.StatusNotFound)
}

// securityLog is listed and filtered, and leads to users' pages and from there.
func securityLog(t *testing.T, s *webtest.Tidegate) {
	b := browser(t, s)
	s.User(t, "watched", ui.Creator)
	late := s.Browser(t)
	late.Open("/signin")
	late.Submit("Sign in", "username", "Watched", "password", "a wrong password")
	wait, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !b.Open("/admin/security?user=watched&event=SIGN_IN_FAILED").Has("SIGN_IN_FAILED not known watched SignIn 127.0.0.1 wrong username or password") {
		if wait.Err() != nil {
			t.Fatalf("the failed sign-in is not shown:\n%s", b.Page.Text())
		}
	}
	want(t, b.Click("watched"), http.StatusOK, "watched", "Sign-ins")
	p := b.Click("Security events")
	want(t, p, http.StatusOK, "Security log", "SIGNED_IN", "SIGN_IN_FAILED", "USER_CHANGED", "created as watched with the roles creator")
	if p.Value("user") != "watched" {
		t.Errorf("the filter is %q, want the user's", p.Value("user"))
	}
	want(t, b.Submit("Search", "event", "USER_CHANGED", "client_address", "127.0.0.1", "start_time", "2020-01-01T00:00"), http.StatusOK, "created as watched")
	if b.Page.Has("SIGN_IN_FAILED not known") {
		t.Errorf("another event:\n%s", b.Page.Text())
	}
	want(t, b.Submit("Search", "client_address", "192.0.2.1"), http.StatusOK, "No event found")
	for query, field := range map[string]string{
		"user=nobody-here": "user", "client_address=here": "client_address", "start_time=soon": "start_time",
		"start_time=2026-01-02T00:00&end_time=2026-01-01T00:00": "end_time",
	} {
		if p := b.Open("/admin/security?" + query); p.Status != http.StatusUnprocessableEntity || p.Error(field) == "" {
			t.Errorf("security?%s = %d, with %q at %s:\n%s", query, p.Status, p.Error(field), field, p.Text())
		}
	}
	want(t, b.Open("/admin/security?event=BORED"), http.StatusUnprocessableEntity, `No event "BORED": there are`)

	// In one program the events of the catalog and the gateway are there, too.
	v := published(t, s, "Logged")
	connect(t, s.WS+"/logged/1")
	b.Open("/admin/sessions")
	b.Submit("Search", "version", v.GetName())
	session := ""
	for text, to := range b.Page.Links() {
		if strings.HasPrefix(text, "Close the session of ") {
			session = strings.Split(to, "/")[4] // of /admin/sessions/GATEWAY/SESSION/close
			b.Open(to)
			b.Submit("Close the session")
		}
	}
	api, _, _ := strings.Cut(v.GetName(), "/versions/")
	_, err := catalogv1.NewCatalogServiceClient(s.Conn).TransferOwnership(s.As(t, "admin", s.Password), &catalogv1.TransferOwnershipRequest{Name: api, Owner: "watched"})
	if err != nil {
		t.Fatal(err)
	}
	for event, what := range map[string]string{"OWNER_CHANGED": "OWNER_CHANGED admin " + api, "SESSION_CLOSED": "/sessions/" + session + " CloseSession"} {
		for !b.Open("/admin/security?event=" + event).Has(what) {
			if wait.Err() != nil {
				t.Fatalf("an event of another service, %s, is not shown:\n%s", what, b.Page.Text())
			}
		}
	}
}
