package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/browser"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// TestBrowserClient runs the code of docs/browser.md in a page of another origin: it
// signs in, writes, waits, and talks to an API. A page of a third origin is refused.
func TestBrowserClient(t *testing.T) {
	t.Parallel()
	w := world(t)
	ctx := w.As(t, "admin", w.Password)
	v := w.Publish(t, ctx, own("Listed"), w.Backend, func(v *catalogv1.Version) {
		v.AllowedOrigins, v.Security = []string{shared.listed.URL}, inQuery("access_token", ticketPlace())
	})
	token := w.Token(t, ctx, own("Listed"), v)
	strange, err := newSite()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(strange.Close)
	address := addressOf(v)
	ticket := func() string { return buyTicket(t, w, address, token, shared.listed.URL) }
	shared.listed.serve(w.Portal, token, ticket)
	strange.serve(w.Portal, token, ticket)

	api := own("From a page")
	tab := shared.chromium.Tab(t, shared.listed.URL, w.Portal, w.WS)
	tab.Open("/")
	got := browser.Read[string](tab, `(async () => {
		const said = []
		await signIn('admin', '`+w.Password+`')
		await refresh()
		said.push((await call('GET', '/v1/users/me')).json.username)
		const plan = (await call('GET', '/v1/plans')).json.plans[0].name
		const api = (await call('POST', '/v1/apis', { displayName: '`+api+`', context: '/`+strings.ReplaceAll(api, " ", "-")+`' })).json.name
		const version = (await call('POST', '/v1/' + api + '/versions',
			{ version: '1', endpoints: { production: [{ url: 'wss://backend.example.com' }] }, plans: [plan] })).json.name
		said.push((await call('PATCH', '/v1/' + api, { description: 'x' })).change.split('/')[0])
		said.push(await publish(version))
		said.push(await call('GET', '/v1/apis/none').catch((e) => e.status))
		said.push((await fetch(portal + '/v1/apis')).headers.get('WWW-Authenticate'))
		const wrong = new URLSearchParams({ grant_type: 'client_credentials', client_id: 'none', client_secret: 'none' })
		said.push((await (await fetch(portal + '/oauth2/token', { method: 'POST', body: wrong })).json()).error)
		const socket = await connectWithOurs('`+w.WS+address+`')
		said.push(await new Promise((resolve) => {
			socket.onmessage = ({ data }) => resolve(data)
			socket.send('hello')
		}))
		const ticketed = await connectWithTicket('`+w.WS+address+`')
		said.push(await new Promise((resolve) => {
			ticketed.onmessage = ({ data }) => resolve(data)
			ticketed.onopen = () => ticketed.send('ahoy')
		}))
		said.push(await connect('`+w.WS+address+`', 'wrong').catch((e) => e.message))
		await signOut()
		return said.join('\n')
	})()`)
	want := strings.Join([]string{
		"admin", "services", "true", "404", `Bearer realm="tidegate"`, "invalid_client", "hello", "ahoy", w.WS + address + " does not let us in",
	}, "\n")
	if got != want {
		t.Errorf("the page says\n%s\nwant\n%s", got, want)
	}
	tab.Complains("401") // calls that are refused, as they must be
	tab = shared.chromium.Tab(t, strange.URL, w.Portal)
	tab.Open("/")
	got = browser.Read[string](tab, `signIn('admin', '`+w.Password+`').then(() => 'signed in', (e) => e.message)`)
	if got != "Failed to fetch" {
		t.Errorf("a page that is not listed gets %q, want that it is kept from the answer", got)
	}
	tab.Complains("blocked by CORS policy")
}

// addressOf is the path of a version at the gateway.
func addressOf(v *catalogv1.Version) string {
	_, path, _ := strings.Cut(strings.SplitN(v.GetAddresses()[0], "://", 2)[1], "/")
	return "/" + path
}

// site is a website whose page has the code of docs/browser.md.
type site struct {
	*httptest.Server
	code string
	mux  *http.ServeMux
}

// newSite starts a site. Its page is there once it is told what to serve.
func newSite() (*site, error) {
	text, err := os.ReadFile("../../../../../docs/browser.md")
	if err != nil {
		return nil, err
	}
	var code strings.Builder
	for _, m := range regexp.MustCompile("(?s)```js\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		code.WriteString(m[1])
	}
	if !strings.Contains(code.String(), documented) {
		return nil, fmt.Errorf("docs/browser.md does not say %s", documented)
	}
	s := &site{code: code.String()}
	s.Server = httptest.NewServer(s)
	return s, nil
}

// documented is the portal's address in docs/browser.md.
const documented = "'https://localhost:9443'"

// serve serves the page, with code for this portal, a token, and tickets.
func (s *site) serve(portal, token string, ticket func() string) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!doctype html><link rel="icon" href="data:,"><script src="/client.js"></script>`)
	})
	mux.HandleFunc("GET /client.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = io.WriteString(w, strings.ReplaceAll(s.code, documented, "'"+portal+"'"))
	})
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, token) })
	mux.HandleFunc("GET /ticket", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, ticket()) })
	s.mux = mux
}

// buyTicket buys a ticket for a page of an origin, as the server of the page does.
func buyTicket(t *testing.T, w *webtest.World, path, token, origin string) string {
	asked := url.Values{"path": {path}, "origin": {origin}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, strings.Replace(w.WSS, "wss", "https", 1)+"/-/tickets?"+asked.Encode(), nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := w.HTTP(t).Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	var answer struct{ Ticket string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("buy a ticket = %d, %v", resp.StatusCode, err)
	}
	return answer.Ticket
}

// ticketPlace is where a handshake has a ticket.
func ticketPlace() *catalogv1.CredentialPlace {
	return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Ticket{Ticket: &catalogv1.TicketPlace{}}}
}

// inQuery has access tokens in a query parameter, and at further places.
func inQuery(name string, further ...*catalogv1.CredentialPlace) []*catalogv1.SecurityScheme {
	query := &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Query{Query: &catalogv1.QueryPlace{Name: name}}}
	return []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{
		Places: append([]*catalogv1.CredentialPlace{query}, further...),
	}}}}
}

// ServeHTTP answers as serve has said.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// TestPage opens the page of testdata, which talks to an API that takes its origin, is
// refused by one that takes another, and talks to a backend that takes its own origin alone.
func TestPage(t *testing.T) {
	t.Parallel()
	w := world(t)
	ctx := w.As(t, "admin", w.Password)
	var addresses struct {
		Address string `json:"address"`
		Refused string `json:"refused"`
		Strict  string `json:"strict"`
	}
	said := make(chan string, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, r *http.Request) { http.ServeFile(rw, r, "testdata/page.html") })
	mux.HandleFunc("GET /addresses", func(rw http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(rw).Encode(addresses) })
	mux.HandleFunc("POST /said", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		said <- string(text)
	})
	pages := httptest.NewServer(mux)
	t.Cleanup(pages.Close)

	polite := backend(t, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"one"}})
	from := func(origin string) func(*catalogv1.Version) {
		return func(v *catalogv1.Version) { v.AllowedOrigins = []string{origin} }
	}
	taken := w.Publish(t, ctx, own("Taken"), polite, from(pages.URL))
	addresses.Address = w.WS + addressOf(taken) + "?access_token=" + w.Token(t, ctx, own("Taken"), taken)
	other := w.Publish(t, ctx, own("Other"), polite, from("https://another.example"))
	addresses.Refused = w.WS + addressOf(other) + "?access_token=" + w.Token(t, ctx, own("Other"), other)
	strict := w.Publish(t, ctx, own("Strict"), backend(t, nil), func(v *catalogv1.Version) {
		v.BackendOptions = &catalogv1.BackendOptions{Origin: catalogv1.BackendOptions_ORIGIN_ENDPOINT}
	}, webtest.ForAll)
	addresses.Strict = w.WS + addressOf(strict)

	tab := shared.chromium.Tab(t, pages.URL, w.WS)
	tab.Open("/")
	want := "protocol one\ntext hello\nbinary 0,255\nlarge true\nclosed 4321 as you said true\nrefused 1006\nstrict own origin\n"
	within, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case got := <-said:
		if got != want {
			t.Errorf("the page says\n%s\nwant\n%s", got, want)
		}
	case <-within.Done():
		t.Error("the page says nothing")
	}
	tab.Complains("WebSocket connection to '" + w.WS + addressOf(other)) // refused, as it must be
}

// backend starts a backend that takes handshakes as it is told. Who may come from its own
// origin alone is told so; else it sends back what it gets, and closes when it is asked to.
func backend(t *testing.T, options *websocket.AcceptOptions) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, options) // without options it must be the host's origin
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		if options == nil {
			_ = conn.Write(r.Context(), websocket.MessageText, []byte("own origin"))
		}
		conn.SetReadLimit(1 << 20)
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			if string(message) == "close" {
				_ = conn.Close(4321, "as you said")
				return
			}
			if conn.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

// TestTicketInAPage has a page buy a ticket with fetch, as the version's origins let it, and
// open a WebSocket with it. The same page cannot spend it twice, and one of another origin
// gets none.
func TestTicketInAPage(t *testing.T) {
	t.Parallel()
	w := world(t)
	ctx := w.As(t, "admin", w.Password)
	newPage := func() *httptest.Server {
		srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(rw, `<!doctype html><link rel="icon" href="data:,"><title>Page</title>`)
		}))
		t.Cleanup(srv.Close)
		return srv
	}
	listed, strange := newPage(), newPage()
	v := w.Publish(t, ctx, own("Ticketed"), w.Backend, func(v *catalogv1.Version) {
		v.AllowedOrigins, v.Security = []string{listed.URL}, inQuery("access_token", ticketPlace())
	})
	token := w.Token(t, ctx, own("Ticketed"), v)
	gateway := strings.Replace(w.WS, "ws", "http", 1)
	script := `(async () => {
		const asked = new URLSearchParams({ path: '` + addressOf(v) + `', origin: location.origin, lifetime: 60 })
		const answer = await fetch('` + gateway + `/-/tickets?' + asked, { method: 'POST', headers: { Authorization: 'Bearer ` + token + `' } }).catch((e) => e.message)
		if (typeof answer === 'string') return answer
		const { ticket, ref } = await answer.json()
		const address = '` + w.WS + addressOf(v) + `?ticket=' + ticket
		const say = () => new Promise((resolve) => {
			const socket = new WebSocket(address)
			socket.onopen = () => socket.send('hello')
			socket.onmessage = ({ data }) => resolve(data)
			socket.onclose = ({ code }) => resolve(code)
		})
		return [ref.length, await say(), await say()].join(' ')
	})()`
	tab := shared.chromium.Tab(t, listed.URL, gateway, w.WS)
	tab.Open("/")
	if got := browser.Read[string](tab, script); got != "20 hello 1006" {
		t.Errorf("a page that is listed says %q, want that it has talked once", got)
	}
	tab.Complains("HTTP Authentication failed") // the second time
	tab = shared.chromium.Tab(t, strange.URL, gateway, w.WS)
	tab.Open("/")
	if got := browser.Read[string](tab, script); got != "Failed to fetch" {
		t.Errorf("a page that is not listed says %q, want that it gets no answer", got)
	}
	tab.Complains("blocked by CORS policy")
}
