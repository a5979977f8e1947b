package console_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// patience is how long something may take. Only failures use it up.
const patience = 30 * time.Second

// harness is a server whose portal believes a proxy on loopback about its users, and whose
// gateway believes nobody.
type harness struct {
	*webtest.World
	options websocket.DialOptions
	admin   context.Context
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	s := webtest.Start(t, "-portal.trusted-proxies", "127.0.0.1,::1")
	h := &harness{World: webtest.NewWorld(t, s), admin: s.As(t, "admin", s.Password)}
	ca, err := os.ReadFile(filepath.Join(s.Data, "ca.pem"))
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		t.Fatal(err, "no certificate of the authority")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	h.options.HTTPClient = &http.Client{Transport: transport}
	return h
}

// draft adds a version without plans, with an API of its own, which edit may change;
// published publishes it, too.
func (h *harness) draft(t *testing.T, name string, edit func(*catalogv1.Version)) *catalogv1.Version {
	t.Helper()
	return h.Create(t, h.admin, name, h.Backend, withoutPlans, edit)
}

func (h *harness) published(t *testing.T, name string, edit func(*catalogv1.Version)) *catalogv1.Version {
	t.Helper()
	return h.Publish(t, h.admin, name, h.Backend, withoutPlans, edit)
}

func needsNone(v *catalogv1.Version) { v.Subscriptionless = true }

func withoutPlans(v *catalogv1.Version) { v.Version, v.Plans = "1", nil }

// console is the page's socket.
type console struct {
	*websocket.Conn
	t   *testing.T
	ctx context.Context
}

// open opens the socket of a version's console in which a browser has signed in. headers are
// names and values of the request.
func (h *harness) open(t *testing.T, b *webtest.Browser, version string, headers ...string) *console {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	options := h.options
	options.HTTPHeader = http.Header{"Origin": {h.Portal}, "Cookie": {"__Host-tidegate=" + b.Cookie("__Host-tidegate")}}
	for i := 0; i+1 < len(headers); i += 2 {
		options.HTTPHeader.Set(headers[i], headers[i+1])
	}
	conn, _, err := websocket.Dial(ctx, h.Portal+"/devportal/"+version+"/console/socket", &options) //nolint:bodyclose // it is the connection
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &console{Conn: conn, t: t, ctx: ctx}
}

func (c *console) say(command map[string]any) {
	c.t.Helper()
	if err := wsjson.Write(c.ctx, c.Conn, command); err != nil {
		c.t.Fatal(err)
	}
}

// hear returns the next event but those that messages were taken, which must be of a type.
func (c *console) hear(want string) map[string]any {
	c.t.Helper()
	for {
		got := map[string]any{}
		if err := wsjson.Read(c.ctx, c.Conn, &got); err != nil {
			c.t.Fatal(err)
		}
		if got["type"] == "taken" {
			continue
		}
		if got["type"] != want {
			c.t.Fatalf("the event = %v, want %s", got, want)
		}
		return got
	}
}

// TestConsole speaks from the console to versions, on one server.
func TestConsole(t *testing.T) {
	h := newHarness(t)
	for name, test := range map[string]func(*testing.T, *harness){
		"try-out": tryOut, "try-out is bounded": tryOutIsBounded, "application": ofApplication, "no subscription": subscriptionless,
		"refusal": refusal, "renewal": renewal, "ticket": bought, "credential": renewed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, h)
		})
	}
}

// tryOut speaks to a version that is not published, as its owner, until the owner signs
// out.
func tryOut(t *testing.T, h *harness) {
	v := h.draft(t, "Draft", func(*catalogv1.Version) {})
	path := "/devportal/" + v.GetName() + "/console"
	if p := h.User(t, "sue", ui.Subscriber).Open(path); p.Status != http.StatusNotFound {
		t.Errorf("the console of a version that is not published = %d for a developer, want 404", p.Status)
	}
	b := h.Browser(t)
	b.SignIn("admin", h.Password)
	if p := b.Open(path); p.H1() != "Draft" || !p.Has("Try it out, as its owner") || !p.Has("Connect") {
		t.Errorf("the console's page:\n%s", p.Text())
	}
	options := h.options
	options.HTTPHeader = http.Header{"Origin": {h.Portal}}
	if conn, _, err := websocket.Dial(t.Context(), h.Portal+path+"/socket", &options); err == nil { //nolint:bodyclose // Dial has closed it
		_ = conn.CloseNow()
		t.Error("a socket is opened without a sign-in")
	}
	c := h.open(t, b, v.GetName())
	c.say(map[string]any{"type": "open", "tryOut": true})
	c.hear("opened")
	c.say(map[string]any{"type": "text", "text": "hello"})
	if e := c.hear("text"); e["text"] != "hello" {
		t.Errorf("the echo = %v", e)
	}
	b.Open(path)
	b.Submit("Sign out")
	if e := c.hear("closed"); e["code"] != 4001.0 {
		t.Errorf("after the sign-out the event is %v, want a close with 4001", e)
	}
}

// tryOutIsBounded by the version's traffic plan, as all of its traffic is.
func tryOutIsBounded(t *testing.T, h *harness) {
	plan, err := catalogv1.NewCatalogServiceClient(h.Conn).CreatePlan(h.admin, &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{
		DisplayName: "Two", Limits: []*catalogv1.Limit{{Name: "two", Reaction: catalogv1.Limit_REACTION_CLOSE, Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{
			Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: 2, Window: catalogv1.Quota_WINDOW_MONTH,
		}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	v := h.draft(t, "Bounded", func(v *catalogv1.Version) { v.TrafficPlan = plan.GetName() })
	b := h.Browser(t)
	b.SignIn("admin", h.Password)
	c := h.open(t, b, v.GetName())
	c.say(map[string]any{"type": "open", "tryOut": true})
	c.hear("opened")
	c.say(map[string]any{"type": "text", "text": "first"}) // with its echo that is two
	c.hear("text")
	c.say(map[string]any{"type": "text", "text": "second"})
	if e := c.hear("closed"); e["code"] != 4003.0 || !strings.HasPrefix(e["reason"].(string), "THROTTLED ref=") {
		t.Errorf("beyond the plan's quota the event is %v, want a close with 4003 THROTTLED", e)
	}
}

// ofApplication connects with a token of the user's application. The gateway is told the
// user's address, whatever the page says about it.
func ofApplication(t *testing.T, h *harness) {
	b := h.Browser(t)
	b.SignIn("admin", h.Password)
	p := b.Open("/devportal/" + h.Offered + "/console")
	application := p.Option("", "Buoys")
	if application != h.Application {
		t.Fatalf("the page offers %q as the application, want %q:\n%s", application, h.Application, p.Text())
	}
	const user, forged = "198.51.100.7", "192.0.2.66"
	c := h.open(t, b, h.Offered, "X-Forwarded-For", user)
	c.say(map[string]any{"type": "open", "application": application, "headers": [][2]string{{"X-Forwarded-For", forged}, {"Forwarded", "for=" + forged}, {"X-Real-IP", forged}}})
	c.hear("opened")
	list, err := gatewayv1.NewSessionServiceClient(h.Conn).ListSessions(h.admin, &gatewayv1.ListSessionsRequest{
		Parent: "gateways/-", Filter: `application = "` + application + `"`,
	})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range list.GetSessions() {
		found = found || s.GetClientAddress() == user && s.GetVersion() == h.Offered
	}
	if !found {
		t.Errorf("sessions = %v, want one of the client %s", list.GetSessions(), user)
	}
	c.say(map[string]any{"type": "close", "code": 1000})
	c.hear("closed")
	for deadline := time.Now().Add(patience); ; {
		if p := b.Open("/admin/records?version=" + h.Offered); strings.Contains(p.Body, user) {
			break
		} else if time.Now().After(deadline) || strings.Contains(p.Body, forged) {
			t.Fatalf("no record says that the client was %s:\n%s", user, p.Text())
		}
	}
}

// subscriptionless: a version that needs no subscription takes any application of the user's.
func subscriptionless(t *testing.T, h *harness) {
	v := h.published(t, "Free", needsNone)
	b := h.User(t, "ben", ui.Subscriber)
	ctx := h.As(t, "ben", webtest.UserPassword)
	applications := subscriptionv1.NewApplicationServiceClient(h.Conn)
	a, err := applications.CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{Application: &subscriptionv1.Application{DisplayName: "Ben's"}})
	if err == nil {
		_, err = applications.CreateOAuthClient(ctx, &subscriptionv1.CreateOAuthClientRequest{
			Parent: a.GetName(), OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_PRODUCTION},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	p := b.Open("/devportal/" + v.GetName() + "/console")
	if got := p.Option("", "Ben's"); got != a.GetName() || p.Option("", "Buoys") != "" {
		t.Fatalf("the page offers %q as the application, want %q, and no other user's:\n%s", got, a.GetName(), p.Text())
	}
	c := h.open(t, b, v.GetName())
	c.say(map[string]any{"type": "open", "application": a.GetName()})
	c.hear("opened")
	c.say(map[string]any{"type": "text", "text": "hello"})
	c.hear("text")
}

// bought: where a version takes tickets alone, the portal buys one with the token that is
// chosen, and tells what the gateway says of one that is not good.
func bought(t *testing.T, h *harness) {
	v := h.published(t, "Ticketed", func(v *catalogv1.Version) {
		v.Subscriptionless, v.Security = true, []*catalogv1.SecurityScheme{
			{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: []*catalogv1.CredentialPlace{
				{Place: &catalogv1.CredentialPlace_Ticket{Ticket: &catalogv1.TicketPlace{}}},
			}}}},
		}
	})
	b := h.Browser(t)
	b.SignIn("admin", h.Password)
	c := h.open(t, b, v.GetName())
	c.say(map[string]any{"type": "open", "application": h.Application, "query": "a=1"})
	c.hear("opened")
	c.say(map[string]any{"type": "text", "text": "hello"})
	c.hear("text")
	c = h.open(t, b, v.GetName())
	c.say(map[string]any{"type": "open", "token": "none"})
	if e := c.hear("refused"); e["status"] != 401.0 {
		t.Errorf("a ticket for a token that is none: %v, want 401", e)
	}
}

// renewed gives live sessions another credential, which stay what they are: of a version that
// takes tokens in a header, one that takes them in the first message alone, and one for API keys.
func renewed(t *testing.T, h *harness) {
	sessions := gatewayv1.NewSessionServiceClient(h.Conn)
	b := h.Browser(t)
	b.SignIn("admin", h.Password)
	first := h.published(t, "Greeted", func(v *catalogv1.Version) {
		v.Subscriptionless, v.Security = true, []*catalogv1.SecurityScheme{
			{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: []*catalogv1.CredentialPlace{
				{Place: &catalogv1.CredentialPlace_FirstMessage{FirstMessage: &catalogv1.FirstMessagePlace{}}},
			}}}},
		}
	})
	keyed := h.published(t, "Keyed", func(v *catalogv1.Version) {
		v.Subscriptionless, v.Security = true, []*catalogv1.SecurityScheme{
			{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{Places: []*catalogv1.CredentialPlace{
				{Place: &catalogv1.CredentialPlace_Ticket{Ticket: &catalogv1.TicketPlace{}}},
			}}}},
		}
	})
	key, err := subscriptionv1.NewAPIKeyServiceClient(h.Conn).CreateAPIKey(h.admin, &subscriptionv1.CreateAPIKeyRequest{
		Parent: h.Application, ApiKey: &subscriptionv1.APIKey{DisplayName: "Console", Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		version string
		shown   map[string]any
		ends    bool
	}{
		{h.Offered, map[string]any{"application": h.Application}, true},
		{first.GetName(), map[string]any{"application": h.Application}, true},
		{keyed.GetName(), map[string]any{"token": key.GetKey()}, false},
	} {
		c := h.open(t, b, tt.version)
		say := func(kind string, shown map[string]any) {
			command := maps.Clone(shown)
			command["type"] = kind
			c.say(command)
		}
		say("open", tt.shown)
		if e := c.hear("opened"); (e["expires"] != nil) != tt.ends {
			t.Errorf("%s: %v, want that it says when the token expires", tt.version, e)
		}
		say("credential", tt.shown)
		if e := c.hear("renewed"); (e["expires"] != nil) != tt.ends {
			t.Errorf("%s: %v, want that it says when the credential expires", tt.version, e)
		}
		say("credential", map[string]any{"token": "none"})
		if e := c.hear("kept"); !strings.Contains(fmt.Sprint(e["text"]), "that this credential can renew not found") {
			t.Errorf("%s: a token that is none: %v", tt.version, e)
		}
		say("credential", map[string]any{})
		if e := c.hear("kept"); e["text"] != "there is no token" {
			t.Errorf("%s: no token: %v", tt.version, e)
		}
		c.say(map[string]any{"type": "text", "text": "on the same socket"})
		c.hear("text")
		list, err := sessions.ListSessions(h.admin, &gatewayv1.ListSessionsRequest{Parent: "gateways/-", Filter: `version = "` + tt.version + `"`})
		if err != nil || !slices.ContainsFunc(list.GetSessions(), func(s *gatewayv1.Session) bool { return s.GetRenewals() == 1 }) {
			t.Errorf("%s: the sessions are %v, %v, want one that was renewed once", tt.version, list, err)
		}
	}
}

// refusal leads to its record.
func refusal(t *testing.T, h *harness) {
	b := h.Browser(t)
	b.SignIn("admin", h.Password)
	c := h.open(t, b, h.Offered)
	c.say(map[string]any{"type": "open", "token": "none"})
	e := c.hear("refused")
	ref, _ := e["ref"].(string)
	if e["status"] != 401.0 || ref == "" {
		t.Fatalf("a token that is none: %v, want 401 with a ref", e)
	}
	path := "/devportal/" + h.Offered + "/console/records/" + ref
	for deadline := time.Now().Add(patience); ; {
		p := b.Open(path)
		if p.Status == http.StatusOK && p.Has("401") {
			break
		}
		if p.Status != http.StatusOK || !p.Has("No record yet") || time.Now().After(deadline) {
			t.Fatalf("the record of a refusal = %d\n%s", p.Status, p.Text())
		}
	}
	if p := b.Open("/devportal/" + h.published(t, "Other", needsNone).GetName() + "/console/records/" + ref); !p.Has("No record yet") {
		t.Errorf("another version has the record too:\n%s", p.Text())
	}
	if p := h.User(t, "cat", ui.Subscriber).Open(path); !p.Has("No record yet") || p.Has("401") {
		t.Errorf("somebody else sees the record:\n%s", p.Text())
	}
}

// renewal is what the page's script gets for a sign-in that was refreshed, and its socket
// takes.
func renewal(t *testing.T, h *harness) {
	b := h.Browser(t)
	b.SignIn("admin", h.Password)
	p := b.Do(http.MethodPost, "/devportal/"+h.Offered+"/console/renewal", nil)
	var got struct{ Renewal string }
	if err := json.Unmarshal([]byte(p.Body), &got); err != nil || p.Status != http.StatusOK || got.Renewal == "" || strings.Contains(p.Body, "eyJ") {
		t.Fatalf("the renewal = %d %q, %v", p.Status, p.Body, err)
	}
	c := h.open(t, b, h.Offered)
	c.say(map[string]any{"type": "open", "application": h.Application})
	c.hear("opened")
	c.say(map[string]any{"type": "renew", "renewal": got.Renewal})
	c.say(map[string]any{"type": "text", "text": "after it"})
	c.hear("text")
	if p := h.Browser(t).Do(http.MethodPost, "/devportal/"+h.Offered+"/console/renewal", nil); strings.Contains(p.Body, `"renewal"`) {
		t.Errorf("a renewal without a sign-in: %d %s", p.Status, p.Body)
	}
}
