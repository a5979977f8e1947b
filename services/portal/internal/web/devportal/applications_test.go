package devportal_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// applicationPages makes, changes and deletes an application and what it has.
func applicationPages(t *testing.T, w *world) {
	name := w.publish(t, "Heights", echo(t), nil)
	b, others := w.User(t, "eve", ui.Subscriber), w.User(t, "fay", ui.Subscriber)
	if p := b.Open("/devportal/applications"); !p.Has("No application yet") {
		t.Errorf("an empty list:\n%s", p.Text())
	}
	b.Click("Create application")
	if p := b.Submit("Create", "name", "", "description", "Floats"); p.Error("name") != "Is needed." || p.Value("description") != "Floats" {
		t.Errorf("without a name: %q\n%s", p.Error("name"), p.Text())
	}
	p := b.Submit("Create", "name", "Buoys")
	if p.H1() != "Buoys" || !p.Has("No subscription yet") || !p.Has("Floats") {
		t.Fatalf("Create leads to %s\n%s", p.URL, p.Text())
	}
	app := p.URL.Path
	b.Open("/devportal/applications/new")
	if p := b.Submit("Create", "name", "buoys"); p.Status == http.StatusOK || p.Value("name") != "buoys" || len(p.Notices()) == 0 && p.Error("name") == "" {
		t.Errorf("a name that is taken: %d\n%s", p.Status, p.Text())
	}
	b.Open("/devportal/applications")
	if p := b.Submit("Search", "query", "none"); !p.Has("Nothing found") {
		t.Errorf("search for what is not there:\n%s", p.Text())
	}
	if p := b.Submit("Search", "query", "UOY"); p.Links()["Buoys"] != app {
		t.Errorf("search for a part of the name: %v", p.Links())
	}

	// A subscription, its plan and its end.
	b.Open("/devportal/" + name + "/wizard")
	generated := b.Submit("Generate", "plan", w.plan("Silver"))
	if p := b.Open(app); p.Links()["Heights"] != "/devportal/"+name || !p.Has("Silver") || !p.Has("Active") {
		t.Errorf("a subscription:\n%s", p.Text())
	}
	b.Click("Change plan of Heights 1.0.0")
	stale := url.Values{"plan": {w.plan("Gold")}, "etag": {"stale"}}
	if p := b.Do(http.MethodPost, b.Page.URL.Path, stale); p.Status != http.StatusConflict || !p.Has("Stored now: Silver") || p.Value("plan") != w.plan("Gold") {
		t.Errorf("a plan that somebody else has changed: %d\n%s", p.Status, p.Text())
	}
	if p := b.Submit("Change the plan"); p.URL.Path != app || !p.Has("The plan of Heights 1.0.0 is changed") || !p.Has("Gold") {
		t.Errorf("Change the plan leads to %s\n%s", p.URL, p.Text())
	}

	// What it uses, and what is left.
	// Gateways report it soon; should the quota's window end meanwhile, there is another
	// message in the next.
	for deadline, sent := time.Now().Add(patience), -1; ; {
		if now := time.Now().Minute(); now != sent {
			wscat(t, generated.Copied("the line that sets TOKEN"), generated.Copied("wscat line 1"))
			sent = now
		}
		p := b.Open(app + "/usage")
		if !p.Has("From clients 0 ") && !p.Has("Nothing was used") && p.Has("Heights 1.0.0 5,000 messages a minute") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("usage and quotas:\n%s", p.Text())
		}
	}
	for _, span := range []string{"1 hour", "24 hours", "7 days", "30 days"} {
		b.Open(app + "/usage")
		if p := b.Click(span); p.Status != http.StatusOK || !p.Has("Live sessions") || !strings.Contains(p.Body, "Messages in the last "+span) {
			t.Errorf("usage of %s: %d\n%s", span, p.Status, p.Text())
		}
	}
	file := b.Click("Download as CSV")
	lines := strings.Split(strings.TrimSpace(file.Body), "\n")
	if cells := strings.Split(lines[len(lines)-1], ","); len(lines) != 2 || !strings.HasPrefix(lines[0], "start_time,sessions,messages_from_clients,messages_from_backends,") ||
		cells[1] == "0" || cells[1] != cells[2] || cells[1] != cells[3] || cells[5] != "0" {
		t.Errorf("the file of usage is %q, want as many sessions as messages each way", file.Body)
	}
	if got := file.Header.Get("Content-Disposition"); !strings.Contains(got, "usage-") || !strings.Contains(got, "-30d.csv") {
		t.Errorf("the file of usage is called %q", got)
	}

	// Live sessions are closed here, and then there is a record.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn := connect(ctx, t, generated.Copied("the line that sets TOKEN"), generated.Copied("wscat line 1"))
	defer func() { _ = conn.CloseNow() }()
	b.Open(app)
	p = b.Click("Sessions")
	var closing string
	for text, to := range p.Links() {
		if strings.HasPrefix(text, "Close the session of") {
			closing = to
		}
	}
	if !p.Has("Heights 1.0.0") || closing == "" {
		t.Fatalf("live sessions:\n%s", p.Text())
	}
	set := generated.Copied("the line that sets TOKEN")
	w.Renew(t, strings.TrimSuffix(strings.TrimPrefix(closing, app+"/sessions/"), "/close"), shell(ctx, t, set, `printf %s "$TOKEN"`))
	if p := b.Open(app + "/sessions"); !p.Has("Renewed once, at ") {
		t.Errorf("a live session that was renewed:\n%s", p.Text())
	}
	if p := others.Open(closing); p.Status != http.StatusNotFound {
		t.Errorf("another user's session = %d", p.Status)
	}
	if p := b.Open(closing); !p.Has("1 live session ends with it") {
		t.Errorf("Close asks:\n%s", p.Text())
	}
	if p := b.Submit("Close it"); p.URL.Path != app+"/sessions" || !p.Has("The session is closed") {
		t.Errorf("Close it leads to %s\n%s", p.URL, p.Text())
	}
	var end websocket.CloseError
	if _, _, err := conn.Read(ctx); !errors.As(err, &end) || end.Code != 4010 {
		t.Errorf("the client reads %v, want the code 4010", err)
	}
	_, ref, _ := strings.Cut(end.Reason, "ref=")
	// All that the application has is revoked, and the page says what that has closed.
	conn = connect(ctx, t, generated.Copied("the line that sets TOKEN"), generated.Copied("wscat line 1"))
	defer func() { _ = conn.CloseNow() }()
	b.Open(app + "/sessions")
	if p := b.Click("Revoke all credentials"); !p.Has("Revoke all credentials?") || !p.Has("1 live session ends with it") {
		t.Errorf("Revoke asks:\n%s", p.Text())
	}
	if p := others.Open(app + "/revoke"); p.Status != http.StatusNotFound {
		t.Errorf("another user's revocation = %d", p.Status)
	}
	if p := b.Submit("Revoke them"); p.URL.Path != app+"/sessions" || !p.Has("The credentials are revoked. 1 session on 1 gateway closed in") {
		t.Errorf("Revoke them leads to %s\n%s", p.URL, p.Text())
	}
	if _, _, err := conn.Read(ctx); !errors.As(err, &end) || end.Code != 4001 {
		t.Errorf("the client reads %v, want the code 4001", err)
	}
	for deadline := time.Now().Add(patience); ; {
		if p := b.Open(app + "/records"); p.Has("somebody closed it") && p.Has("4010") && p.Has(ref) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("records without %s:\n%s", ref, b.Page.Text())
		}
	}
	if p := b.Click(ref); p.URL.Path != app+"/records/"+ref || !p.Has("4010") || !p.Has("somebody closed it") || !p.Has("Credential renewed once, at ") {
		t.Errorf("the ref leads to %s\n%s", p.URL, p.Text())
	}
	for _, path := range []string{app + "/records/none", app + "/records/A B"} {
		if p := b.Tab().Open(path); p.Status != http.StatusNotFound {
			t.Errorf("%s = %d, want 404", path, p.Status)
		}
	}
	if p := others.Open(app + "/records/" + ref); p.Status != http.StatusNotFound {
		t.Errorf("another user's record = %d", p.Status)
	}

	b.Open(app)
	if p := b.Click("Unsubscribe from Heights 1.0.0"); !p.Has("live sessions") {
		t.Errorf("Unsubscribe asks:\n%s", p.Text())
	}
	unsubscribe := b.Page.URL.Path
	if p := b.Submit("Unsubscribe"); p.URL.Path != app || !p.Has("no longer subscribed to Heights 1.0.0") || !p.Has("No subscription yet") {
		t.Errorf("Unsubscribe leads to %s\n%s", p.URL, p.Text())
	}
	if p := b.Open(unsubscribe); p.Status != http.StatusNotFound {
		t.Errorf("a subscription that is gone = %d", p.Status)
	}

	// Settings, with a conflict, and the end.
	b.Open(app + "/settings")
	if p := b.Do(http.MethodPost, app+"/settings", url.Values{"name": {"Drifters"}, "description": {"Floats"}, "etag": {"stale"}}); p.Status != http.StatusConflict || !p.Has("Stored now: Buoys") {
		t.Errorf("settings that somebody else has changed: %d\n%s", p.Status, p.Text())
	}
	if p := b.Submit("Save"); p.H1() != "Drifters" || !p.Has("saved") {
		t.Errorf("Save leads to %s\n%s", p.URL, p.Text())
	}
	for _, path := range []string{"", "/keys", "/api-keys", "/api-keys/new", "/usage", "/sessions", "/records", "/settings", "/delete"} {
		if p := others.Open(app + path); p.Status != http.StatusNotFound {
			t.Errorf("%s of another user = %d", app+path, p.Status)
		}
	}
	if p := others.Do(http.MethodPost, app+"/keys/new", url.Values{"stage": {"STAGE_PRODUCTION"}}); p.Status != http.StatusNotFound {
		t.Errorf("a secret of another user's application = %d", p.Status)
	}
	b.Click("Delete the application")
	if p := b.Submit("Delete it"); p.URL.Path != "/devportal/applications" || !p.Has("Drifters is deleted") {
		t.Errorf("Delete leads to %s\n%s", p.URL, p.Text())
	}
}

// keys makes and deletes OAuth clients and secrets.
func keys(t *testing.T, w *world) {
	b := w.User(t, "gus", ui.Subscriber)
	ctx := w.As(t, "gus", webtest.UserPassword)
	a, err := subscriptionv1.NewApplicationServiceClient(w.Conn).CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{Application: &subscriptionv1.Application{DisplayName: "Buoys"}})
	if err != nil {
		t.Fatal(err)
	}
	path := "/devportal/" + a.GetName() + "/keys"
	p := b.Open(path)
	if !p.Has("No OAuth client yet") {
		t.Errorf("no keys:\n%s", p.Text())
	}
	request := p.Value("request_id")
	p = b.Submit("Create for production")
	if !strings.HasPrefix(p.Copied("the secret"), "tgcs_") || p.Header.Get("Cache-Control") != "no-store" || p.Copied("the client_id") == "" {
		t.Fatalf("Create for production: %q\n%s", p.Header.Get("Cache-Control"), p.Text())
	}
	secret := p.Copied("the secret")
	if p := b.Do(http.MethodPost, path+"/new", url.Values{"stage": {"STAGE_PRODUCTION"}, "request_id": {request}}); p.Copied("the secret") != "" || !p.Has("This form was sent before") {
		t.Errorf("the form sent again:\n%s", p.Text())
	}
	if p := b.Click("Back to the keys"); strings.Contains(p.Body, secret) || p.Copied("the client_id for production") == "" || strings.Count(p.Body, "/delete\"") != 2 {
		t.Errorf("the keys:\n%s", p.Text())
	}
	for range 4 {
		b.Open(path)
		if p := b.Submit("New secret for production"); p.Copied("the secret") == "" {
			t.Fatalf("New secret:\n%s", p.Text())
		}
	}
	b.Open(path)
	if p := b.Submit("New secret for production"); p.URL.Path != path || !p.Has("delete one first") {
		t.Errorf("a sixth secret leads to %s\n%s", p.URL, p.Text())
	}
	for text, to := range b.Page.Links() {
		if strings.HasPrefix(text, "Delete the secret of") {
			b.Open(to)
			break
		}
	}
	if p := b.Submit("Delete it"); p.URL.Path != path || !p.Has("The secret is deleted") {
		t.Errorf("Delete a secret leads to %s\n%s", p.URL, p.Text())
	}
	if p := b.Do(http.MethodPost, path+"/new", url.Values{"stage": {"STAGE_X"}}); p.Status != http.StatusBadRequest {
		t.Errorf("a stage that is none = %d\n%s", p.Status, p.Text())
	}
	b.Open(path)
	if p := b.Click("Delete the OAuth client for production"); !p.Has("There are no live sessions that would end.") {
		t.Errorf("Delete an OAuth client asks:\n%s", p.Text())
	}
	if p := b.Submit("Delete it"); p.URL.Path != path || !p.Has("The OAuth client is deleted") || !p.Has("No OAuth client yet") {
		t.Errorf("Delete an OAuth client leads to %s\n%s", p.URL, p.Text())
	}
}
