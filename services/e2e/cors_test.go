package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/e2e/browser"
)

// TestBrowserClient runs the code of docs/browser.md in a page of another origin: it
// signs in, writes, waits, and talks to an API. A page of a third origin is refused.
func TestBrowserClient(t *testing.T) {
	t.Parallel()
	ours, strange := &site{}, &site{}
	page, stranger := ours.start(t), strange.start(t)
	s := start(t, newData(t), append(quick(), "-no-sample", "-portal.cors-origins", page)...).Stack
	b := chromium(t, s.Portal)
	a := &applications{user: s.admin(t), origins: []string{page}}
	address, token := a.publish(t, "Page", "/page", newBackend(t))
	ours.portal, ours.token, strange.portal = s.Portal, token, s.Portal

	tab := b.Tab(t, page, s.Portal, s.WS)
	tab.Open("/")
	got := browser.Read[string](tab, `(async () => {
		const said = []
		await signIn('admin', '`+s.password(t)+`')
		await refresh()
		said.push((await call('GET', '/v1/users/me')).json.username)
		const plan = (await call('GET', '/v1/plans')).json.plans[0].name
		const api = (await call('POST', '/v1/apis', { displayName: 'From a page', context: '/from-a-page' })).json.name
		const version = (await call('POST', '/v1/' + api + '/versions',
			{ version: '1', endpoints: { production: [{ url: 'wss://backend.example.com' }] }, plans: [plan] })).json.name
		said.push((await call('PATCH', '/v1/' + api, { description: 'x' })).change.split('/')[0])
		said.push(await publish(version))
		said.push(await call('GET', '/v1/apis/none').catch((e) => e.status))
		said.push((await fetch(portal + '/v1/apis')).headers.get('WWW-Authenticate'))
		const wrong = new URLSearchParams({ grant_type: 'client_credentials', client_id: 'none', client_secret: 'none' })
		said.push((await (await fetch(portal + '/oauth2/token', { method: 'POST', body: wrong })).json()).error)
		const socket = await connectWithOurs('`+address+`')
		said.push(await new Promise((resolve) => {
			socket.onmessage = ({ data }) => resolve(data)
			socket.send('hello')
		}))
		said.push(await connect('`+address+`', 'wrong').catch((e) => e.message))
		await signOut()
		return said.join('\n')
	})()`)
	want := strings.Join([]string{
		"admin", "services", "true", "404", `Bearer realm="tidegate"`, "invalid_client", "hello", address + " does not let us in",
	}, "\n")
	if got != want {
		t.Errorf("the page says\n%s\nwant\n%s", got, want)
	}
	tab.Complains("401") // calls that are refused, as they must be
	tab = b.Tab(t, stranger, s.Portal)
	tab.Open("/")
	got = browser.Read[string](tab, `signIn('admin', '`+s.password(t)+`').then(() => 'signed in', (e) => e.message)`)
	if got != "Failed to fetch" {
		t.Errorf("a page that is not listed gets %q, want that it is kept from the answer", got)
	}
	tab.Complains("blocked by CORS policy")
}

// site is a website whose page has the code of docs/browser.md. Its fields are set
// before the page is opened.
type site struct{ portal, token string }

// start serves the site and returns its origin.
func (s *site) start(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/browser.md")
	if err != nil {
		t.Fatal(err)
	}
	const documented = "'https://localhost:9443'"
	var code strings.Builder
	for _, m := range regexp.MustCompile("(?s)```js\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		code.WriteString(m[1])
	}
	if !strings.Contains(code.String(), documented) {
		t.Fatalf("docs/browser.md does not say %s", documented)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!doctype html><link rel="icon" href="data:,"><script src="/client.js"></script>`)
	})
	mux.HandleFunc("GET /client.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = io.WriteString(w, strings.ReplaceAll(code.String(), documented, "'"+s.portal+"'"))
	})
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s.token) })
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}
