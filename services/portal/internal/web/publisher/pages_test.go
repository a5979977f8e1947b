package publisher_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// TestVersionPages goes through the pages of a version on one server; its parts run at
// once.
func TestVersionPages(t *testing.T) {
	s := webtest.Start(t, "-catalog.virtual-hosts", "wss://chat.example.com")
	for name, test := range map[string]func(*testing.T, *webtest.Tidegate){
		"endpoint": endpointPage, "endpoint health": endpointHealth, "endpoint settings": endpointSettings, "http": httpPage, "connections": connectionPages, "addresses": addressesPage, "plans": plansPage, "subscriptions": subscriptionsPage, "sessions": sessionsPages, "deny": denyPages, "new version": newVersionPage,
		"settings": settingsPage, "security": securityPage, "api": apiSettingsPage, "transfer": transferPage, "delete": deletePages, "observed": observedHits, "many": manyVersions,
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
// and Silver; edit may change it before.
func publish(t *testing.T, s *webtest.Tidegate, username string, edit func(*catalogv1.Version)) *own {
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
	v := s.Publish(t, ctx, "Tides of "+username, "ws://backend.test", func(v *catalogv1.Version) {
		v.Plans = []string{o.plans["Gold"], o.plans["Silver"]}
		if edit != nil {
			edit(v)
		}
	})
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
	for _, path := range []string{"/endpoint", "/endpoint/check", "/endpoint/http", "/addresses"} {
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

// subscribe has a new user subscribe an application, Buoys, to the version under Gold.
func (o *own) subscribe(t *testing.T, username string) *subscriptionv1.Subscription {
	t.Helper()
	o.User(t, username, ui.Subscriber)
	ctx := o.As(t, username, webtest.UserPassword)
	a, err := subscriptionv1.NewApplicationServiceClient(o.Conn).CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{
		Application: &subscriptionv1.Application{DisplayName: "Buoys"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := subscriptionv1.NewSubscriptionServiceClient(o.Conn).CreateSubscription(ctx, &subscriptionv1.CreateSubscriptionRequest{
		Subscription: &subscriptionv1.Subscription{Application: a.GetName(), Version: o.name, Plan: o.plans["Gold"]},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// subscriptionsPage blocks, restores and moves a subscription.
func subscriptionsPage(t *testing.T, s *webtest.Tidegate) {
	b := publish(t, s, "sven", nil)
	b.Open(b.base)
	want(t, b.Click("Subscriptions"), http.StatusOK, "No subscription yet")
	sub := b.subscribe(t, "dora")
	list := b.base + "/subscriptions"
	want(t, b.Open(list), http.StatusOK, "Buoys", "dora", "Gold", "Active")
	want(t, b.Click("Block Buoys"), http.StatusOK, "There are no live sessions that would end.", "4006")
	late := b.Tab()
	late.Open(b.Page.URL.Path)
	want(t, b.Submit("Block"), http.StatusOK, "Buoys is blocked", "Blocked")
	want(t, late.Submit("Block"), http.StatusConflict, "Somebody else has changed this meanwhile")
	want(t, b.Open(list+"?state=ACTIVE"), http.StatusOK, "Nothing found")
	want(t, b.Submit("Search", "state", "BLOCKED", "plan", b.plans["Gold"]), http.StatusOK, "Buoys")
	want(t, b.Open(list+"?state=ASLEEP"), http.StatusUnprocessableEntity, "state")
	b.Open(list)
	want(t, b.Submit("Restore Buoys"), http.StatusOK, "may use Tides of sven 1.0.0 again", "Active")

	b.Click("Move Buoys to another plan")
	late.Open(b.Page.URL.Path)
	want(t, b.Submit("Move", "plan", b.plans["Silver"]), http.StatusOK, "Buoys is moved", "Silver")
	want(t, late.Submit("Move", "plan", b.plans["Gold"]), http.StatusConflict, "Stored now: Silver")
	want(t, late.Submit("Move"), http.StatusOK, "Buoys is moved")

	other := publish(t, s, "olaf", nil)
	want(t, other.Open(other.base+"/"+sub.GetName()+"/block"), http.StatusNotFound)
	want(t, other.Do(http.MethodPost, b.base+"/"+sub.GetName()+"/block", url.Values{}), http.StatusNotFound)
	want(t, other.Do(http.MethodPost, b.base+"/"+sub.GetName()+"/restore", url.Values{}), http.StatusNotFound)
}

// connect opens a session at an address, and proves that it lives.
func connect(t *testing.T, address string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, address, nil) //nolint:bodyclose // Dial has read the body
	for resp != nil && resp.StatusCode == http.StatusForbidden && ctx.Err() == nil {
		// The gateway has not heard yet that the client is let in again.
		conn, resp, err = websocket.Dial(ctx, address, nil) //nolint:bodyclose // Dial has read the body
	}
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	if err := conn.Write(ctx, websocket.MessageText, []byte("ebb")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Read(ctx); err != nil {
		t.Fatal(err)
	}
	return conn
}

// patience is how long something may take. Only failures use it up.
const patience = 30 * time.Second

// sessionsPages shows a session that lives, closes it, and shows its record.
func sessionsPages(t *testing.T, s *webtest.Tidegate) {
	backend := echo(t)
	b := publish(t, s, "lena", func(v *catalogv1.Version) {
		v.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}}
		v.Endpoints.Production[0] = &catalogv1.Endpoint{Endpoint: &catalogv1.Endpoint_Url{Url: backend}}
	})
	b.Open(b.base)
	want(t, b.Open(b.base), http.StatusOK, "Messages 0 nothing on either day", "Live sessions 0")
	want(t, b.Click("Live sessions"), http.StatusOK, "No live session")
	b.follows(t, true)
	want(t, b.Click("Pause"), http.StatusOK, "No live session")
	b.follows(t, false)
	b.Click("Refresh")
	b.follows(t, false)
	b.Click("Follow")
	b.follows(t, true)
	conn := connect(t, s.WS+"/tides-of-lena/1.0.0")
	want(t, b.Open(b.base+"/sessions"), http.StatusOK, "1 live session", "none", "127.0.0.1")
	want(t, b.Open("/publisher"), http.StatusOK, "1.0.0 Published 1 ")
	b.Open(b.base + "/sessions")
	for text, to := range b.Page.Links() {
		if strings.HasPrefix(text, "Close the session of") {
			b.Open(to)
			break
		}
	}
	want(t, b.Page, http.StatusOK, "1 live session ends with it.", "4010")
	path := b.Page.URL.Path
	other := publish(t, s, "luke", nil)
	want(t, other.Open(path), http.StatusNotFound)
	want(t, other.Do(http.MethodPost, path, url.Values{}), http.StatusNotFound)
	want(t, b.Submit("Close it"), http.StatusOK, "is closed")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != 4010 {
		t.Errorf("the client gets %v, want 4010", err)
	}
	for b.Open(b.base + "/records").Has("No record yet") {
		if ctx.Err() != nil {
			t.Fatalf("no record:\n%s", b.Page.Text())
		}
	}
	want(t, b.Page, http.StatusOK, "somebody closed it OPERATOR_CLOSE", "4010")
	want(t, b.Submit("Search", "refused", "true", "end_reason", ""), http.StatusOK, "Nothing found")
	want(t, b.Submit("Search", "refused", "false", "end_reason", "OPERATOR_CLOSE"), http.StatusOK, "4010")
	want(t, b.Open(b.base+"/records?end_reason=BOREDOM"), http.StatusUnprocessableEntity, "BOREDOM")
	want(t, other.Open(b.base+"/records"), http.StatusOK, "No record yet")
	b.recordPage(t, other, path)

	// Gateways report usage soon.
	for !b.Open(b.base + "/usage").Has("From clients 1 From backends 1 Live sessions 0") {
		if ctx.Err() != nil {
			t.Fatalf("no usage:\n%s", b.Page.Text())
		}
	}
	want(t, b.Open(b.base), http.StatusOK, "Messages 2 nothing on the day before")
	if p := b.Open("/publisher"); !p.Has("Published 0 2") || !strings.Contains(p.Body, `class="spark"`) {
		t.Errorf("the list of APIs has no traffic:\n%s", p.Text())
	}
	for _, span := range []string{"1 hour", "24 hours", "7 days", "30 days"} {
		b.Open(b.base + "/usage")
		if p := b.Click(span); p.Status != http.StatusOK || !strings.Contains(p.Body, "Messages in the last "+span) || !p.Has("none 1 1 1 6 0") {
			t.Errorf("usage of %s: %d\n%s", span, p.Status, p.Text())
		}
	}
	p := b.Click("Download as CSV")
	lines := strings.Split(strings.TrimSpace(p.Body), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "start_time,sessions,") || !strings.HasSuffix(lines[1], ",1,1,1,6,0") || !strings.Contains(p.Header.Get("Content-Disposition"), "usage-1.0.0-30d.csv") {
		t.Errorf("the file of usage is %q, %v", p.Body, p.Header)
	}
	want(t, other.Open(b.base+"/usage"), http.StatusOK, "Nothing was used in this time.")

	// Those at an address are closed, or those of a filter, and no others.
	last := connect(t, s.WS+"/tides-of-lena/1.0.0")
	b.Open(b.base + "/sessions")
	b.Click("Close some")
	for _, entries := range [][]string{{"address", "", "filter", ""}, {"address", "nowhere", "filter", ""}} {
		if p := b.Submit("Close them", entries...); p.Status != http.StatusUnprocessableEntity || p.Error("address") == "" {
			t.Errorf("Close them with %q: %d %q\n%s", entries, p.Status, p.Error("address"), p.Text())
		}
	}
	if p := b.Submit("Close them", "address", "", "filter", "colour = \"red\""); p.Error("filter") == "" {
		t.Errorf("a filter that is none: %d\n%s", p.Status, p.Text())
	}
	want(t, b.Submit("Close them", "address", "192.0.2.0/24", "filter", ""), http.StatusOK, "Such sessions are closed. No session was open.")
	b.Open(b.base + "/close-some")
	want(t, b.Submit("Close them", "address", "127.0.0.0/8", "filter", `application = ""`), http.StatusOK, "Such sessions are closed. 1 session on 1 gateway closed in")
	if _, _, err := last.Read(ctx); websocket.CloseStatus(err) != 4010 {
		t.Errorf("the client gets %v, want 4010", err)
	}

	// All sessions of the version are closed at once.
	last = connect(t, s.WS+"/tides-of-lena/1.0.0")
	want(t, b.Open(b.base+"/close-sessions"), http.StatusOK, "Close all sessions?", "1 live session ends with it.")
	want(t, other.Do(http.MethodPost, b.base+"/close-sessions", url.Values{}), http.StatusOK, "No session was open.") // none that another publisher sees
	want(t, b.Submit("Close them"), http.StatusOK, "All are closed. 1 session on 1 gateway closed in")
	if _, _, err := last.Read(ctx); websocket.CloseStatus(err) != 4010 {
		t.Errorf("the client gets %v, want 4010", err)
	}
}

// observedHits shows whom a limit on observe would have hit.
func observedHits(t *testing.T, s *webtest.Tidegate) {
	backend := echo(t)
	catalog, admin := catalogv1.NewCatalogServiceClient(s.Conn), s.As(t, "admin", s.Password)
	plan, err := catalog.CreatePlan(admin, &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{DisplayName: "Watched", Limits: []*catalogv1.Limit{{
		Name: "few", Observe: true, Reaction: catalogv1.Limit_REACTION_DROP,
		Kind: &catalogv1.Limit_Rate{Rate: &catalogv1.Rate{Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: 1, Burst: 1, Per: durationpb.New(time.Hour)}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	b := publish(t, s, "obed", func(v *catalogv1.Version) {
		v.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}}
		v.Endpoints.Production[0] = &catalogv1.Endpoint{Endpoint: &catalogv1.Endpoint_Url{Url: backend}}
		v.TrafficPlan = plan.GetName()
	})
	connect(t, s.WS+"/tides-of-obed/1.0.0") // its echo is the second message
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !b.Open(b.base + "/usage").Has("What limits did") {
		if ctx.Err() != nil {
			t.Fatalf("no hit is shown:\n%s", b.Page.Text())
		}
	}
	want(t, b.Page, http.StatusOK, "none few Watched, version 1 0 0 0 0 "+time.Now().UTC().Format("2 Jan 2006"))
	other := s.User(t, "otis", ui.Creator, ui.Publisher)
	if p := other.Open(b.base + "/usage"); p.Has("What limits did") {
		t.Errorf("another publisher sees hits:\n%s", p.Text())
	}
}

// follows fails the test unless the list of sessions is read again by itself, or not.
func (o *own) follows(t *testing.T, want bool) {
	t.Helper()
	var target string
	for _, to := range o.Page.Attributes("hx-get") {
		target = to
	}
	if got := target != ""; got != want {
		t.Fatalf("%s is read again by itself: %v, want %v", o.Page.URL, got, want)
	}
	if want && (o.Tab().Open(target).Status != http.StatusOK || !strings.Contains(o.Page.Body, `id="live"`) || o.Page.Attributes("hx-trigger")[0] != "every 2s") {
		t.Errorf("what is read again is %q", target)
	}
}

// recordPage finds the record of the closed session of a page by its ref; other is a user
// who may not see it.
func (o *own) recordPage(t *testing.T, other *own, closed string) {
	t.Helper()
	ref := strings.TrimSuffix(closed[strings.Index(closed, "/sessions/")+len("/sessions/"):], "/close")
	list := o.base + "/records"
	o.Open(list)
	want(t, o.Submit("Search", "ref", "OPERATOR_CLOSE ref="+ref), http.StatusOK, "How the session ended", "somebody closed it OPERATOR_CLOSE", "Close code to the client 4010", "Ended by operator", "Messages in 1 with 3 bytes")
	if got := o.Page.URL.Path; got != list+"/"+ref {
		t.Errorf("a ref leads to %s", got)
	}
	o.Open(list)
	want(t, o.Click(ref), http.StatusOK, "How the session ended")
	want(t, other.Open(list+"/"+ref), http.StatusNotFound)
	want(t, other.Open(other.base+"/records/"+ref), http.StatusNotFound)
	want(t, o.Open(list+"?ref=nonsense"), http.StatusUnprocessableEntity, "not found")
	want(t, o.Open(list+"/nonsense"), http.StatusNotFound)
}

// newVersionPage makes a version from one that there is.
func newVersionPage(t *testing.T, s *webtest.Tidegate) {
	b := publish(t, s, "nora", nil)
	api, _, _ := strings.Cut(b.base, "/versions/")
	b.Open(api)
	want(t, b.Click("New version"), http.StatusOK, "New version of Tides of nora")
	if p := b.Submit("Create", "version", ""); p.Status != http.StatusUnprocessableEntity || p.Error("version") != "Is needed." || p.Value("source") != b.name {
		t.Errorf("without a version: %d %q from %q\n%s", p.Status, p.Error("version"), p.Value("source"), p.Text())
	}
	if p := b.Submit("Create", "version", "2 0"); p.Error("version") == "" || p.Value("version") != "2 0" {
		t.Errorf("a version that is none: %q\n%s", p.Error("version"), p.Text())
	}
	if p := b.Submit("Create", "version", "2.0.0", "source", ""); p.Status == http.StatusOK || p.Error("endpoint") == "" {
		t.Errorf("without an endpoint: %d %q\n%s", p.Status, p.Error("endpoint"), p.Text())
	}
	want(t, b.Submit("Create", "source", b.name), http.StatusOK, "Tides of nora 2.0.0 is created", "ws://backend.test", "Gold", "Silver")
	want(t, b.Open(api), http.StatusOK, "1.0.0 Published", "2.0.0 Created")
	other := s.User(t, "nils", ui.Creator)
	other.Open(api + "/versions/new")
	want(t, other.Submit("Create", "version", "3.0.0", "endpoint", "ws://mine.test"), http.StatusUnprocessableEntity, "owner")
}
