package web_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

const sessionCookie = "__Host-tidegate"

// TestFixation has somebody sign in to a browser that an attacker has put cookies into: no
// sign-in but a new one is the user's.
func TestFixation(t *testing.T) {
	t.Parallel()
	s := webtest.Start(t)
	mallory, admin := s.User(t, "mallory", ui.Subscriber), s.Browser(t)
	admin.SignIn("admin", s.Password)
	hers := mallory.Cookie(sessionCookie)
	b := s.Browser(t)
	for what, planted := range map[string]string{
		"text": "fixed", "another user's": hers, "the device's": mallory.Cookie(sessionCookie + "-device"),
		"another user's, altered": strings.ToUpper(hers), "the user's own, earlier": admin.Cookie(sessionCookie),
	} {
		b.SetCookie(sessionCookie, planted)
		who := b.Open("/account")
		if taken := who.URL.Path == "/account"; taken != (planted == hers || planted == admin.Cookie(sessionCookie)) {
			t.Errorf("with the cookie %s, /account leads to %s", what, who.URL)
		}
		p := b.Do(http.MethodPost, "/signin", url.Values{"username": {"admin"}, "password": {s.Password}, "to": {"/account"}})
		if got := b.Cookie(sessionCookie); got == planted || got == "" || !p.Has("Username admin") {
			t.Errorf("after %s, signing in leaves the cookie as it was, or shows\n%s", what, p.Text())
		}
	}
	if p := mallory.Open("/account"); mallory.Cookie(sessionCookie) != hers || !p.Has("Username mallory") {
		t.Errorf("the cookie that was planted shows\n%s", p.Text())
	}
	// Each was a sign-in of its own: this one's, the first of admin's, and five.
	list, err := identityv1.NewSignInServiceClient(s.Conn).ListSignIns(s.As(t, "admin", s.Password), &identityv1.ListSignInsRequest{Parent: "users/me"})
	if err != nil || len(list.GetSignIns()) < 7 {
		t.Errorf("there are the sign-ins %v, %v, want one for each time", list, err)
	}
}

// TestFrames: no answer at a page's address can be shown in a frame of another page, nor
// what is answered to those who have not signed in, or to a wrong form.
func TestFrames(t *testing.T) {
	t.Parallel()
	w := webtest.NewWorld(t, webtest.Start(t))
	b, nobody := w.Browser(t), w.Browser(t)
	b.SignIn("admin", w.Password)
	b.Stay()
	nobody.Stay()
	check := func(p *webtest.Page) {
		t.Helper()
		if got := p.Header.Values("X-Frame-Options"); !slices.Equal(got, []string{"DENY"}) {
			t.Errorf("%s %d has X-Frame-Options %q, want DENY", p.URL, p.Status, got)
		}
		policies := p.Header.Values("Content-Security-Policy")
		if len(policies) != 1 || !strings.Contains(policies[0], "frame-ancestors 'none'") {
			t.Errorf("%s %d has the policies %q, want one that allows no frames", p.URL, p.Status, policies)
		}
	}
	for _, route := range web.Routes() {
		path := w.Path(route.Pattern)
		for method := range strings.FieldsSeq(route.Method) {
			if method == http.MethodGet {
				check(b.Open(path))
			}
			check(nobody.Do(method, path, map[string]url.Values{http.MethodPost: {}}[method]))
		}
	}
	for _, path := range []string{"/", "/nothing", "/docs", "/openapi.json", "/v1/apis", nobody.Open("/signin").Attributes("src")[0]} {
		check(b.Open(path))
	}
}

// backend echoes, and has the headers of the handshakes that came to it.
type backend struct {
	url  string
	mu   sync.Mutex
	seen []http.Header
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	b := &backend{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		b.seen = append(b.seen, r.Header.Clone())
		b.mu.Unlock()
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		for {
			kind, data, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, data) != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	b.url = "ws" + strings.TrimPrefix(server.URL, "http")
	return b
}

// handshakes returns the headers of those that have come.
func (b *backend) handshakes() []http.Header {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.seen)
}

// harbour is a server with a published version before a backend, to which an application of
// sue's is subscribed, and another to which none is.
type harbour struct {
	*webtest.Tidegate
	backend, private *backend
	sue              *webtest.Browser
	open, closed     *catalogv1.Version // to sue's application
	application      string
}

func newHarbour(t *testing.T, args ...string) *harbour {
	t.Helper()
	h := &harbour{Tidegate: webtest.Start(t, args...), backend: newBackend(t), private: newBackend(t)}
	h.sue = h.User(t, "sue", ui.Subscriber)
	admin, sue := h.As(t, "admin", h.Password), h.As(t, "sue", webtest.UserPassword)
	catalog := catalogv1.NewCatalogServiceClient(h.Conn)
	plans, err := catalog.ListPlans(admin, &catalogv1.ListPlansRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(name, url string) *catalogv1.Version {
		api, err := catalog.CreateApi(admin, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: name, Context: "/" + name}})
		if err != nil {
			t.Fatal(err)
		}
		v, err := catalog.CreateVersion(admin, &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: &catalogv1.Version{
			Version: "1", Plans: []string{plans.GetPlans()[0].GetName()},
			Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: url}}}},
		}})
		if err == nil {
			v, err = catalog.PublishVersion(admin, &catalogv1.PublishVersionRequest{Name: v.GetName()})
		}
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	h.open, h.closed = publish("open", h.backend.url), publish("closed", h.private.url)
	applications := subscriptionv1.NewApplicationServiceClient(h.Conn)
	app, err := applications.CreateApplication(sue, &subscriptionv1.CreateApplicationRequest{Application: &subscriptionv1.Application{DisplayName: "Buoys"}})
	if err != nil {
		t.Fatal(err)
	}
	h.application = app.GetName()
	_, err = applications.CreateOAuthClient(sue, &subscriptionv1.CreateOAuthClientRequest{Parent: app.GetName(), OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_PRODUCTION}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = subscriptionv1.NewSubscriptionServiceClient(h.Conn).CreateSubscription(sue, &subscriptionv1.CreateSubscriptionRequest{
		Subscription: &subscriptionv1.Subscription{Application: app.GetName(), Version: h.open.GetName(), Plan: h.open.GetPlans()[0]},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// socket is the address of a version's console.
func (h *harbour) socket(v *catalogv1.Version) string {
	return "wss" + strings.TrimPrefix(h.Portal, "https") + "/devportal/" + v.GetName() + "/console/socket"
}

// console opens sue's console of a version, sends the first command, and returns the event
// that answers it.
func (h *harbour) console(t *testing.T, v *catalogv1.Version, command map[string]any, headers ...string) (*websocket.Conn, map[string]any) {
	t.Helper()
	conn, status := h.Dial(t, h.socket(v), append([]string{"Origin", h.Portal, "Cookie", sessionCookie + "=" + h.sue.Cookie(sessionCookie)}, headers...)...)
	if conn == nil {
		t.Fatalf("the console's socket is answered %d", status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command["type"] = "open"
	event := map[string]any{}
	if err := wsjson.Write(ctx, conn, command); err != nil {
		t.Fatal(err)
	}
	if err := wsjson.Read(ctx, conn, &event); err != nil {
		t.Fatal(err)
	}
	return conn, event
}

// token issues one of sue's application for the version that it is subscribed to.
func (h *harbour) token(t *testing.T) string {
	t.Helper()
	token, err := subscriptionv1.NewTokenServiceClient(h.Conn).IssueApplicationToken(h.As(t, "sue", webtest.UserPassword),
		&subscriptionv1.IssueApplicationTokenRequest{Application: h.application, Version: h.open.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	return token.GetAccessToken()
}

// TestCookiesDoNotLeave sends all cookies of the portal to a gateway on the same host, as a
// browser does: the backend gets the others only. So it is by the console.
func TestCookiesDoNotLeave(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	h.sue.Do(http.MethodPost, "/theme", url.Values{"theme": {"dark"}})
	own := sessionCookie + "=" + h.sue.Cookie(sessionCookie) + "; " + sessionCookie + "-device=" + h.sue.Cookie(sessionCookie+"-device") + "; " + sessionCookie + "-notice=n"
	conn, status := h.Dial(t, h.WSS+"/open/1", "Authorization", "Bearer "+h.token(t), "Cookie", own+"; theirs=1", "Cookie", own)
	if conn == nil {
		t.Fatalf("the gateway answers %d", status)
	}
	if _, event := h.console(t, h.open, map[string]any{"application": h.application, "headers": [][2]string{{"Cookie", own}, {"cookie", "theirs=2"}}}); event["type"] != "opened" {
		t.Fatalf("the console says %v", event)
	}
	seen := h.backend.handshakes()
	if len(seen) != 2 || seen[0].Get("Cookie") != "theirs=1" || len(seen[0].Values("Cookie")) != 1 || seen[1].Values("Cookie") != nil {
		t.Errorf("the backend got %v, want no cookie but theirs=1", seen)
	}
	for _, header := range seen {
		for name, values := range header {
			if text := strings.Join(values, "\n"); strings.Contains(text, "__Host") || strings.Contains(text, "Bearer") {
				t.Errorf("the backend got %s: %s", name, text)
			}
		}
	}
}

// TestConsoleOfOthers opens the console's socket from pages of other origins, and without
// a sign-in.
func TestConsoleOfOthers(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	cookie := sessionCookie + "=" + h.sue.Cookie(sessionCookie)
	portal := strings.TrimPrefix(h.Portal, "https://")
	_, port, err := net.SplitHostPort(portal)
	if err != nil {
		t.Fatal(err)
	}
	for _, origin := range []string{"", "null", "https://evil.example", "http://" + portal, "https://127.0.0.1:" + port, "https://localhost", "https://localhost:1", h.Portal + ".evil.example", h.Portal + "/", "file://"} {
		headers := []string{"Cookie", cookie}
		if origin != "" {
			headers = append(headers, "Origin", origin)
		}
		if conn, status := h.Dial(t, h.socket(h.open), headers...); conn != nil || status != http.StatusForbidden {
			t.Errorf("a page of %q opens the socket: %d, want 403", origin, status)
		}
	}
	if conn, status := h.Dial(t, h.socket(h.open), "Origin", h.Portal, "Origin", "https://evil.example", "Cookie", cookie); conn != nil || status != http.StatusForbidden {
		t.Errorf("with two origins the socket is answered %d, want 403", status)
	}
	for _, other := range []string{"", sessionCookie + "=x"} {
		if conn, status := h.Dial(t, h.socket(h.open), "Origin", h.Portal, "Cookie", other); conn != nil {
			t.Errorf("without a sign-in the socket is answered %d", status)
		}
	}
}

// TestConsoleElsewhere uses the console for what it is not for: a version without a
// subscription, other people's tokens and applications, and addresses that are no gateway's.
func TestConsoleElsewhere(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	foreign := newBackend(t)
	host := strings.TrimPrefix(foreign.url, "ws://")
	for what, test := range map[string]struct {
		version *catalogv1.Version
		command map[string]any
		want    string // type of the event
	}{
		"the application is not subscribed":     {h.closed, map[string]any{"application": h.application}, "failed"},
		"another version's token":               {h.closed, map[string]any{"token": h.token(t)}, "refused"},
		"no token":                              {h.closed, map[string]any{}, "refused"},
		"try-out by somebody else":              {h.closed, map[string]any{"tryOut": true}, "failed"},
		"the application of nobody":             {h.open, map[string]any{"application": "applications/try-out"}, "failed"},
		"a path to another version":             {h.open, map[string]any{"application": h.application, "path": "/../../closed/1"}, "failed"},
		"the same, encoded":                     {h.open, map[string]any{"application": h.application, "path": "/%2e%2e/%2e%2e/closed/1"}, "failed"},
		"a path that is a host":                 {h.open, map[string]any{"token": h.token(t), "path": "@" + host + "/"}, "failed"},
		"a path that has the beginning of one":  {h.open, map[string]any{"token": h.token(t), "path": "//" + host + "/"}, "refused"},
		"an address":                            {h.open, map[string]any{"token": h.token(t), "address": foreign.url, "url": foreign.url, "target": foreign.url, "host": host}, "opened"},
		"the headers Host and Forwarded":        {h.open, map[string]any{"token": h.token(t), "headers": [][2]string{{"Host", host}, {"Forwarded", "host=" + host}, {"X-Forwarded-Host", host}}}, "opened"},
		"a query that begins with another host": {h.open, map[string]any{"token": h.token(t), "query": "u=" + url.QueryEscape(foreign.url)}, "opened"},
	} {
		conn, event := h.console(t, test.version, test.command)
		if event["type"] != test.want {
			t.Errorf("%s: the console says %v, want %s", what, event, test.want)
		}
		_ = conn.CloseNow()
	}
	if got := append(foreign.handshakes(), h.private.handshakes()...); got != nil {
		t.Errorf("handshakes came to where none should: %v", got)
	}
	if got := h.backend.handshakes(); len(got) != 3 {
		t.Errorf("%d handshakes came to the version's backend, want those 3 that the console is for", len(got))
	}
}

// TestForgedClientAddress: the gateway believes the portal about who a session's client is,
// and the portal nobody: neither the page's headers nor those of the request that opens the
// socket become the address of the session or of its record.
func TestForgedClientAddress(t *testing.T) {
	t.Parallel()
	h := newHarbour(t, "-gateway.trusted-proxies", "127.0.0.0/8,::1/128")
	const forged = "203.0.113.9"
	var headers [][2]string
	var request []string
	for _, name := range []string{"X-Forwarded-For", "x-forwarded-for", "X_Forwarded_For", "Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "Via"} {
		value := forged
		if name == "Forwarded" {
			value = "for=" + forged
		}
		headers, request = append(headers, [2]string{name, value}), append(request, name, value)
	}
	headers = append(headers, [2]string{"Connection", "X-Forwarded-For"})
	conn, event := h.console(t, h.open, map[string]any{"application": h.application, "headers": headers}, request...)
	if event["type"] != "opened" {
		t.Fatalf("the console says %v", event)
	}
	for _, header := range h.backend.handshakes() {
		for name, values := range header {
			if strings.Contains(strings.Join(values, " "), forged) {
				t.Errorf("the backend is told %s: %q", name, values)
			}
		}
	}
	sue := h.As(t, "sue", webtest.UserPassword)
	if err := wsjson.Write(t.Context(), conn, map[string]any{"type": "close", "code": 1000}); err != nil {
		t.Fatal(err)
	}
	usage := usagev1.NewUsageServiceClient(h.Conn)
	for deadline := time.Now().Add(time.Minute); ; {
		list, err := usage.ListSessionRecords(sue, &usagev1.ListSessionRecordsRequest{Filter: `application = "` + h.application + `"`})
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("no record: %v, %v", list, err)
		}
		if records := list.GetSessionRecords(); len(records) > 0 {
			if got := records[0].GetClientAddress(); !net.ParseIP(got).IsLoopback() {
				t.Errorf("the record says that the client is %q, want a loopback address, as the portal says", got)
			}
			break
		}
	}
	// Whoever calls the portal is not believed either.
	h.sue.Do(http.MethodPost, "/signout", url.Values{})
	h.sue.Do(http.MethodPost, "/signin", url.Values{"username": {"sue"}, "password": {webtest.UserPassword}, "to": {"/account"}}, request...)
	if p := h.sue.Open("/account"); p.H1() != "Account" || p.Has(forged) || !p.Has("127.0.0.1") {
		t.Errorf("the account's page says\n%s", p.Text())
	}
}
