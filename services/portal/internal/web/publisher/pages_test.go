package publisher_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// TestVersionPages goes through the pages of a version on one server; its parts run at
// once.
func TestVersionPages(t *testing.T) {
	s := webtest.Start(t)
	for name, test := range map[string]func(*testing.T, *webtest.Tidegate){
		"endpoint": endpointPage, "plans": plansPage,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// echo starts a backend that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"tide"}})
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

// own is a user's own published version, with a browser in which the user has signed in.
type own struct {
	*webtest.Tidegate
	*webtest.Browser
	// name is the version's, base the address of its pages.
	name, base string
	// plans are the names of plans by what users call them.
	plans map[string]string
}

// publish has a user, who may create and publish, publish a version with the plans Gold
// and Silver; change may change it before.
func publish(t *testing.T, s *webtest.Tidegate, username string, change func(*catalogv1.Version)) *own {
	t.Helper()
	o := &own{Tidegate: s, Browser: s.User(t, username, ui.Creator, ui.Publisher), plans: map[string]string{}}
	catalog, ctx := catalogv1.NewCatalogServiceClient(s.Conn), s.As(t, username, webtest.UserPassword)
	plans, err := catalog.ListPlans(ctx, &catalogv1.ListPlansRequest{PageSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, plan := range plans.GetPlans() {
		o.plans[plan.GetDisplayName()] = plan.GetName()
	}
	api, err := catalog.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: "Tides of " + username, Context: "/" + username}})
	if err != nil {
		t.Fatal(err)
	}
	v := &catalogv1.Version{
		Version: "1.0.0", Plans: []string{o.plans["Gold"], o.plans["Silver"]},
		Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "ws://backend.test"}}}},
	}
	if change != nil {
		change(v)
	}
	if v, err = catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: v}); err != nil {
		t.Fatal(err)
	}
	if _, err = catalog.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName()}); err != nil {
		t.Fatal(err)
	}
	o.name, o.base = v.GetName(), "/publisher/"+v.GetName()
	return o
}

// want fails the test unless a page has the status and says all this.
func want(t *testing.T, p *webtest.Page, status int, texts ...string) {
	t.Helper()
	if p.Status != status {
		t.Fatalf("%s = %d, want %d:\n%s", p.URL, p.Status, status, p.Text())
	}
	for _, text := range texts {
		if !p.Has(text) {
			t.Fatalf("%s does not say %q:\n%s", p.URL, text, p.Text())
		}
	}
}

// endpointPage changes endpoints, also against a change of somebody else, and tries them.
func endpointPage(t *testing.T, s *webtest.Tidegate) {
	b := publish(t, s, "erin", nil)
	b.Open(b.base)
	b.Click("Endpoint")
	p := b.Submit("Save", "production", "", "sandbox", "")
	if p.Status != http.StatusUnprocessableEntity || p.Error("production") == "" {
		t.Errorf("no endpoint at all: %d %q\n%s", p.Status, p.Error("production"), p.Text())
	}
	p = b.Submit("Save", "production", "ws://backend.test", "sandbox", "ftp://x")
	if p.Error("sandbox") == "" || p.Error("production") != "" || p.Value("sandbox") != "ftp://x" {
		t.Errorf("a sandbox that is none: %q\n%s", p.Error("sandbox"), p.Text())
	}
	late := b.Tab()
	late.Open(b.base + "/endpoint")
	backend := echo(t)
	want(t, b.Submit("Save", "production", backend, "sandbox", "ws://127.0.0.1:1"), http.StatusOK, "is saved")
	want(t, late.Submit("Save", "production", "ws://late.test"), http.StatusConflict, "Somebody else has changed this meanwhile", "Stored now: "+backend, "Stored now: ws://127.0.0.1:1")
	if got := late.Page.Value("production"); got != "ws://late.test" {
		t.Errorf("after a conflict the entry is %q", got)
	}
	want(t, late.Submit("Save", "production", backend, "sandbox", "ws://127.0.0.1:1"), http.StatusOK, "is saved")

	late.Open(b.base + "/endpoint/check")
	want(t, late.Submit("Test connection", "stage", "STAGE_PRODUCTION", "subprotocols", "ebb tide"), http.StatusOK, "Connected", "101", "tide", "ms")
	want(t, late.Submit("Test connection", "stage", "STAGE_SANDBOX", "subprotocols", ""), http.StatusOK, "Failed at TCP", "none")
	if p := late.Submit("Test connection", "subprotocols", "a/b"); p.Status != http.StatusUnprocessableEntity || p.Error("subprotocols") == "" || p.Value("subprotocols") != "a/b" {
		t.Errorf("a sub-protocol that is none: %d\n%s", p.Status, p.Text())
	}
	want(t, late.Click("Back to the endpoint"), http.StatusOK)

	other := s.User(t, "otto", ui.Creator)
	for _, path := range []string{"/endpoint", "/endpoint/check"} {
		want(t, other.Do(http.MethodPost, b.base+path, url.Values{"production": {"ws://mine.test"}}), http.StatusUnprocessableEntity, "owner")
	}
}

// plansPage changes what a version offers, also against a change of somebody else.
func plansPage(t *testing.T, s *webtest.Tidegate) {
	b := publish(t, s, "paul", nil)
	b.Open(b.base)
	b.Click("Plans")
	late := b.Tab()
	late.Open(b.base + "/plans")
	want(t, b.Submit("Save", "plans", b.plans["Gold"], "traffic_plan", b.plans["Gold"]), http.StatusOK, "are saved")
	if p := b.Page; p.Value("traffic_plan") != b.plans["Gold"] {
		t.Errorf("the traffic plan is %q\n%s", p.Value("traffic_plan"), p.Text())
	}
	want(t, late.Submit("Save", "plans", b.plans["Silver"]), http.StatusConflict, "Stored now: Gold")
	want(t, late.Submit("Save"), http.StatusOK, "are saved")
	want(t, b.Open(b.base), http.StatusOK, "Business plans Silver")
	b.Open(b.base + "/plans")
	none := url.Values{"etag": {b.Page.Value("etag")}}
	if p := b.Do(http.MethodPost, b.base+"/plans", none); p.Status == http.StatusOK || p.Error("plans") == "" && len(p.Notices()) == 0 {
		t.Errorf("a published version without a plan: %d\n%s", p.Status, p.Text())
	}
}
