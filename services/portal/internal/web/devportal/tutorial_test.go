package devportal_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc/metadata"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// patience is how long a call or message may take. Only failures use it up.
const patience = 30 * time.Second

// echo starts a backend that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
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

// world is a server with an administrator.
type world struct {
	*webtest.Tidegate
	token metadata.MD
	plans map[string]string
}

func newWorld(t *testing.T, s *webtest.Tidegate) *world {
	t.Helper()
	w := &world{Tidegate: s, plans: map[string]string{}}
	w.token, _ = metadata.FromOutgoingContext(s.As(t, "admin", s.Password))
	list, err := catalogv1.NewCatalogServiceClient(w.Conn).ListPlans(w.admin(t), &catalogv1.ListPlansRequest{PageSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, plan := range list.GetPlans() {
		w.plans[plan.GetDisplayName()] = plan.GetName()
	}
	return w
}

// admin returns a context whose calls are the administrator's.
func (w *world) admin(t *testing.T) context.Context {
	return metadata.NewOutgoingContext(t.Context(), w.token)
}

// publish publishes a version of an API with the plans Gold and Silver; change may add to
// it. It returns the version's name.
func (w *world) publish(t *testing.T, name, backend string, change func(*catalogv1.Version)) string {
	t.Helper()
	if change == nil {
		change = func(*catalogv1.Version) {}
	}
	return w.Publish(t, w.admin(t), name, backend, change).GetName()
}

// plan returns the name of the plan that users call so.
func (w *world) plan(title string) string { return w.plans[title] }

// wscat does what the program does with a line that was copied, and has a message come
// back.
func wscat(t *testing.T, set, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn := connect(ctx, t, set, line)
	defer func() { _ = conn.CloseNow() }()
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if _, got, err := conn.Read(ctx); err != nil || string(got) != "hello" {
		t.Fatalf("%s: echo = %q, %v", line, got, err)
	}
	_ = conn.Close(websocket.StatusNormalClosure, "")
}

// shell runs lines, and returns what they print.
func shell(ctx context.Context, t *testing.T, lines ...string) string {
	t.Helper()
	out, err := exec.CommandContext(ctx, "sh", "-c", strings.Join(lines, "\n")).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", lines[len(lines)-1], err, out)
	}
	return string(out)
}

// connect does what the program wscat does with a line that was copied, after the line
// that sets the variable: a shell reads both, so that what is quoted is proven too.
func connect(ctx context.Context, t *testing.T, set, line string) *websocket.Conn {
	t.Helper()
	out := shell(ctx, t, "wscat() { printf '%s\\n' \"$@\"; }", set, line)
	var address string
	opts, roots := &websocket.DialOptions{HTTPHeader: http.Header{}}, x509.NewCertPool()
	words := strings.Split(strings.TrimSpace(out), "\n")
	for i := 0; i+1 < len(words); i += 2 {
		switch option, value := words[i], words[i+1]; option {
		case "--ca":
			ca, err := os.ReadFile(value)
			if err != nil || !roots.AppendCertsFromPEM(ca) {
				t.Fatalf("%s: --ca: %v", line, err)
			}
		case "-c":
			address = value
		case "-H":
			name, value, _ := strings.Cut(value, ": ")
			opts.HTTPHeader.Set(name, value)
		default:
			t.Fatalf("%s has %q, which wscat does not", line, option)
		}
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	opts.HTTPClient = &http.Client{Transport: transport}
	conn, _, err := websocket.Dial(ctx, address, opts) //nolint:bodyclose // Dial has read the body
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return conn
}

// TestTutorial goes the developer's way through the pages, as the tutorial words it, from
// signing in to messages that come back.
func TestTutorial(t *testing.T) {
	webtest.Each(t, func(t *testing.T, s *webtest.Tidegate) {
		w := newWorld(t, s)
		w.publish(t, "EchoWebSocket", echo(t), nil)
		b := s.Browser(t)
		if p := b.Open("/devportal"); p.URL.Path != "/signin" {
			t.Fatalf("/devportal leads to %s", p.URL)
		}
		p := b.Submit("Sign in", "username", "admin", "password", s.Password)
		if p.URL.Path != "/devportal" || !p.Has("EchoWebSocket") || !p.Has("1.0.0") || !p.Has("/echowebsocket/1.0.0") || !p.Has("Gold") {
			t.Fatalf("after signing in: %s %s", p.URL, p.Text())
		}
		p = b.Click("EchoWebSocket")
		if p.H1() != "EchoWebSocket" || p.Copied("the wss address") != s.WSS+"/echowebsocket/1.0.0" || p.Copied("the ws address") != s.WS+"/echowebsocket/1.0.0" {
			t.Fatalf("the API's page: %q %q\n%s", p.H1(), p.Copied("the wss address"), p.Text())
		}
		if p = b.Click("Key generation wizard"); p.H1() != "Key generation wizard" || p.Value("name") == "" || p.Value("plan") == "" || p.Value("stage") != "STAGE_PRODUCTION" {
			t.Fatalf("the wizard is not filled in: %s", p.Text())
		}
		p = b.Submit("Generate")
		if p.Status != http.StatusOK || p.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(p.Copied("the secret"), "tgcs_") || p.Copied("the client_id") == "" {
			t.Fatalf("Generate: %d %q\n%s", p.Status, p.Header.Get("Cache-Control"), p.Text())
		}
		if got, want := p.Copied("the line that sets TOKEN"), "TOKEN="+p.Copied("the access token"); got != want {
			t.Errorf("the variable is set with %q, want %q", got, want)
		}
		for _, n := range []string{"1", "2", "3", "4"} {
			wscat(t, p.Copied("the line that sets TOKEN"), p.Copied("wscat line "+n))
		}
		if p.Copied("wscat line 5") != "" {
			t.Errorf("there are more lines than addresses and places:\n%s", p.Text())
		}
		secret := p.Copied("the secret")
		for _, path := range []string{"/devportal", p.URL.Path} {
			if p := b.Open(path); strings.Contains(p.Body, secret) {
				t.Errorf("%s shows the secret again", path)
			}
		}
	})
}

// TestPages looks at the pages of developers one after the other, on one server.
func TestPages(t *testing.T) {
	w := newWorld(t, webtest.Start(t))
	t.Run("catalogue", func(t *testing.T) { catalogue(t, w) }) // begins with nothing
	t.Run("rest", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *world){
			"wizard takes up": wizardTakesUp, "wizard refuses": wizardRefusals, "other ways": otherWays,
			"applications": applicationPages, "keys": keys, "revocations": revocations, "API keys": apiKeys,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, w)
			})
		}
	})
}

// wizardTakesUp what exists: each part is made once, and a form that is sent twice
// makes nothing twice.
func wizardTakesUp(t *testing.T, w *world) {
	name := w.publish(t, "Echo", echo(t), nil)
	b := w.User(t, "ann", ui.Subscriber)
	first := b.Open("/devportal/" + name + "/wizard")
	form := url.Values{"name": {"Buoys"}, "application": {""}, "plan": {w.plan("Silver")}, "stage": {"STAGE_PRODUCTION"}, "secret": {"on"}, "request_id": {first.Value("request_id")}}
	if p := b.Do(http.MethodPost, first.URL.Path, form); p.Copied("the secret") == "" || !p.Has("Echo 1.0.0, Silver") || p.Has("There already") {
		t.Fatalf("the first form:\n%s", p.Text())
	}
	p := b.Do(http.MethodPost, first.URL.Path, form)
	if p.Status != http.StatusOK || p.Copied("the secret") != "" || p.Copied("the client_id") == "" || !p.Has("This form was sent before") {
		t.Errorf("the form sent again: %d\n%s", p.Status, p.Text())
	}
	wscat(t, p.Copied("the line that sets TOKEN"), p.Copied("wscat line 1"))
	form.Del("secret")
	if p := b.Do(http.MethodPost, first.URL.Path, form); p.Copied("the secret") != "" || p.Has("sent before") || !p.Has("It is good for Echo 1.0.0 only") {
		t.Errorf("a token without a secret:\n%s", p.Text())
	} else {
		wscat(t, p.Copied("the line that sets TOKEN"), p.Copied("wscat line 4"))
	}
	p = b.Open(first.URL.Path)
	if p.Option("application", "Buoys") != p.Value("application") || p.Value("plan") != w.plan("Silver") {
		t.Errorf("the form is not filled in with what there is:\n%s", p.Text())
	}
	if p = b.Submit("Generate"); p.Copied("the secret") == "" || !p.Has("There already: the application, the subscription, the OAuth client") {
		t.Errorf("a second form:\n%s", p.Text())
	}
	// Another stage is another OAuth client of the same application.
	b.Open(first.URL.Path)
	if p = b.Submit("Generate", "stage", "STAGE_SANDBOX"); p.Copied("the secret") == "" || !p.Has("There already: the application, the subscription.") {
		t.Errorf("a form for the sandbox:\n%s", p.Text())
	}
	ctx := w.As(t, "ann", webtest.UserPassword)
	applications := subscriptionv1.NewApplicationServiceClient(w.Conn)
	list, err := applications.ListApplications(ctx, &subscriptionv1.ListApplicationsRequest{})
	if err != nil || len(list.GetApplications()) != 1 {
		t.Fatalf("applications = %v, %v, want one", list, err)
	}
	clients, err := applications.ListOAuthClients(ctx, &subscriptionv1.ListOAuthClientsRequest{Parent: list.GetApplications()[0].GetName()})
	if err != nil || len(clients.GetOauthClients()) != 2 {
		t.Fatalf("OAuth clients = %v, %v, want one for each stage", clients, err)
	}
	secrets, err := applications.ListOAuthClientSecrets(ctx, &subscriptionv1.ListOAuthClientSecretsRequest{Parent: clients.GetOauthClients()[0].GetName()})
	if err != nil || len(secrets.GetOauthClientSecrets()) != 2 {
		t.Errorf("secrets = %v, %v, want those of the two forms", secrets, err)
	}
}

// wizardRefusals are said at the fields, and the rest of the form is kept.
func wizardRefusals(t *testing.T, w *world) {
	name := w.publish(t, "Strict", "ws://echo.test", nil)
	b := w.User(t, "ben", ui.Subscriber)
	path := "/devportal/" + name + "/wizard"
	b.Open(path)
	if p := b.Submit("Generate", "name", ""); p.Status != http.StatusUnprocessableEntity || p.Error("name") == "" {
		t.Errorf("without a name: %d %q", p.Status, p.Error("name"))
	}
	if p := b.Submit("Generate", "name", "a\u200bb"); p.Error("name") == "" || p.Value("name") != "a\u200bb" {
		t.Errorf("a name that is none: %q %q\n%s", p.Error("name"), p.Value("name"), p.Text())
	}
	if p := b.Submit("Generate", "name", "Buoys", "plan", w.plan("Bronze")); p.Status == http.StatusOK || p.Error("plan") == "" {
		t.Errorf("a plan that is not offered: %d %q\n%s", p.Status, p.Error("plan"), p.Text())
	}
	if p := b.Submit("Generate", "plan", w.plan("Gold")); p.Copied("the secret") == "" {
		t.Errorf("the mended form:\n%s", p.Text())
	}
	b.Open(path)
	if p := b.Submit("Generate", "application", "applications/none"); p.Error("application") == "" {
		t.Errorf("an application that is not there:\n%s", p.Text())
	}
	for range 4 {
		b.Open(path)
		b.Submit("Generate")
	}
	b.Open(path)
	if p := b.Submit("Generate"); p.Status == http.StatusOK || len(p.Notices()) != 1 || !p.Has("delete one first") {
		t.Errorf("a sixth secret: %d\n%s", p.Status, p.Text())
	}
}

// otherWays to prove who one is have other lines, and what is not published is not
// there.
func otherWays(t *testing.T, w *world) {
	open := w.publish(t, "Open", echo(t), func(v *catalogv1.Version) {
		v.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}}
	})
	header := w.publish(t, "Header", echo(t), func(v *catalogv1.Version) {
		v.Subscriptionless = true
		v.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: []*catalogv1.CredentialPlace{
			{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: "Authorization"}}},
		}}}}}
	})
	b := w.User(t, "cat", ui.Subscriber)
	p := b.Open("/devportal/" + open)
	if p.Links()["Key generation wizard"] != "" || !p.Has("everybody may connect") {
		t.Errorf("a version for all:\n%s", p.Text())
	}
	wscat(t, "", p.Copied("wscat line 1"))
	wscat(t, "", p.Copied("wscat line 2"))
	if p := b.Open("/devportal/" + open + "/wizard"); p.URL.Path != "/devportal/"+open || !p.Has("need no key") {
		t.Errorf("the wizard for all leads to %s\n%s", p.URL, p.Text())
	}
	b.Open("/devportal/" + header + "/wizard")
	p = b.Submit("Generate")
	if p.Copied("wscat line 3") != "" || !p.Has("none is needed") {
		t.Errorf("a version without subscriptions:\n%s", p.Text())
	}
	wscat(t, p.Copied("the line that sets TOKEN"), p.Copied("wscat line 2"))
	keysOnly(t, w, b)

	_, err := catalogv1.NewCatalogServiceClient(w.Conn).DemoteVersion(w.admin(t), &catalogv1.DemoteVersionRequest{Name: open})
	if err != nil {
		t.Fatal(err)
	}
	admin := w.Browser(t)
	admin.SignIn("admin", w.Password)
	for _, b := range []*webtest.Browser{b, admin} {
		for _, path := range []string{"/devportal/" + open, "/devportal/" + open + "/wizard", "/devportal/apis/A B/versions/x"} {
			if p := b.Open(path); p.Status != http.StatusNotFound {
				t.Errorf("%s, which is not published, is %d", path, p.Status)
			}
		}
		if p := b.Open("/devportal"); p.Links()["Open"] != "" || p.Links()["Header"] == "" {
			t.Errorf("the list with what is not published:\n%s", p.Text())
		}
	}
}

// keysOnly has the wizard make an API key for a version that takes no tokens, and connects
// with it.
func keysOnly(t *testing.T, w *world, b *webtest.Browser) {
	keyed := w.publish(t, "Keyed", echo(t), func(v *catalogv1.Version) {
		v.Subscriptionless = true
		v.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{}}}}
	})
	if p := b.Open("/devportal/" + keyed); !p.Has("an API key in the header apikey or the parameter apikey") {
		t.Errorf("a version for API keys:\n%s", p.Text())
	}
	b.Open("/devportal/" + keyed + "/wizard")
	p := b.Submit("Generate")
	if key := p.Copied("the API key"); !strings.HasPrefix(key, "tgak_") || p.Header.Get("Cache-Control") != "no-store" || p.Copied("the client_id") != "" || p.Has("OAuth") {
		t.Fatalf("the wizard of a version for API keys:\n%s", p.Text())
	}
	wscat(t, p.Copied("the line that sets TOKEN"), p.Copied("wscat line 1"))
	wscat(t, p.Copied("the line that sets TOKEN"), p.Copied("wscat line 2"))
}

// catalogue is searched, and shown in parts.
func catalogue(t *testing.T, w *world) {
	b := w.User(t, "dot", ui.Subscriber)
	if p := b.Open("/devportal"); !p.Has("No API is published yet") {
		t.Errorf("an empty list:\n%s", p.Text())
	}
	w.publish(t, "Tides", "ws://echo.test", func(v *catalogv1.Version) { v.Description, v.Tags = "Heights by the hour", []string{"sea"} })
	w.publish(t, "Winds", "ws://echo.test", nil)
	if p := b.Open("/devportal"); !p.Has("Tides") || !p.Has("sea") || !p.Has("Winds") {
		t.Errorf("the list:\n%s", p.Text())
	}
	for query, want := range map[string]bool{"tID": true, "by the HOUR": true, "winds": false} {
		b.Open("/devportal")
		if p := b.Submit("Search", "query", query); p.Has("Tides") != want || p.Has("Winds") == want || p.Value("query") != query {
			t.Errorf("search for %q:\n%s", query, p.Text())
		}
	}
	if p := b.Submit("Search", "query", "<script>"); !p.Has("Nothing found") || !p.Has("<script>") {
		t.Errorf("search for what is not there:\n%s", p.Text())
	}
	if p := b.Click("Show all APIs"); !p.Has("Winds") {
		t.Errorf("the way back:\n%s", p.Text())
	}
	if p := b.Open("/devportal?page=none"); p.Status != http.StatusBadRequest {
		t.Errorf("a page that is none = %d", p.Status)
	}
	many := w.publish(t, "Many", "ws://echo.test", nil)
	catalog, ctx := catalogv1.NewCatalogServiceClient(w.Conn), w.admin(t)
	for i := range 48 {
		v, err := catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{
			Parent: strings.Split(many, "/versions/")[0], SourceVersion: many, Version: &catalogv1.Version{Version: strconv.Itoa(i + 2)},
		})
		if err == nil {
			_, err = catalog.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName()})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p := b.Open("/devportal")
	if p.Has("Winds") || p.Links()["50 more"] == "" {
		t.Fatalf("the first 50 of 51:\n%s", p.Text())
	}
	if p = b.Click("50 more"); !p.Has("Winds") || p.Links()["50 more"] != "" {
		t.Errorf("the rest:\n%s", p.Text())
	}
}
