package browsertest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/browser"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// TestRequestsOfPages has pages of other origins send plain requests to a version, in Chromium:
// one that the version lists reads answers and refusals, with and without a credential, and
// another one is kept from them. The backend hears nothing of what pages may not.
func TestRequestsOfPages(t *testing.T) {
	t.Parallel()
	w := world(t)
	ctx := w.As(t, "admin", w.Password)
	var preflights, strangers atomic.Int64
	listed, strange := emptyPage(t), emptyPage(t)
	plain := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			preflights.Add(1)
		}
		if r.Header.Get("Origin") == strange {
			strangers.Add(1)
		}
		body, _ := io.ReadAll(r.Body)
		rw.Header().Set("Access-Control-Allow-Origin", "https://nobody.example") // which clients must not get
		rw.Header().Set("Access-Control-Allow-Headers", "x-own, authorization")
		rw.Header().Set("Access-Control-Expose-Headers", "X-Of-Backend")
		rw.Header().Set("X-Of-Backend", "read")
		_, _ = fmt.Fprintf(rw, "%s %s %q %q %q", r.Method, r.URL.Path, body, r.Header.Get("Authorization"), r.Header.Get("X-Own"))
	}))
	t.Cleanup(plain.Close)
	beside := func(cors catalogv1.HTTPOptions_Cors) func(*catalogv1.Version) {
		return func(v *catalogv1.Version) {
			v.AllowedOrigins = []string{listed}
			v.Http = &catalogv1.HTTPOptions{
				Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: plain.URL + "/at"}}}}, Cors: cors,
			}
		}
	}
	v := w.Publish(t, ctx, own("Beside"), w.Backend, beside(catalogv1.HTTPOptions_CORS_GATEWAY))
	token := w.Token(t, ctx, own("Beside"), v)
	gateway := "http" + strings.TrimPrefix(w.WS, "ws")
	address := gateway + addressOf(v)

	tab := shared.chromium.Tab(t, listed, gateway)
	tab.Open("/")
	got := browser.Read[string](tab, `(async () => {
		const said = []
		const tell = async (request) => {
			const answer = await request
			const text = await answer.text()
			said.push(answer.status + ' ' + (answer.status === 200 ? text : JSON.parse(text).code + ' ' + !!JSON.parse(text).ref))
			return answer
		}
		const headers = { Authorization: 'Bearer `+token+`', 'X-Own': 'mine' }
		const answer = await tell(fetch('`+address+`/a', { headers }))
		said.push(answer.headers.get('X-Of-Backend'))
		await tell(fetch('`+address+`/b', { method: 'PUT', headers, body: 'put' }))
		await tell(fetch('`+address+`/c?access_token=`+token+`', { method: 'POST', body: 'posted' }))
		await tell(fetch('`+address+`/d?access_token=`+token+`', { credentials: 'include' }))
		await tell(fetch('`+address+`/e'))
		await tell(fetch('`+address+`/f', { headers: { Authorization: 'Bearer wrong' } }))
		return said.join('\n')
	})()`)
	want := strings.Join([]string{
		`200 GET /at/a "" "" "mine"`, "read", `200 PUT /at/b "put" "" "mine"`, `200 POST /at/c "posted" "" ""`, `200 GET /at/d "" "" ""`,
		"401 CREDENTIAL_MISSING true", "401 CREDENTIAL_INVALID true",
	}, "\n")
	if got != want {
		t.Errorf("the page says\n%s\nwant\n%s", got, want)
	}
	if n := preflights.Load(); n != 0 {
		t.Errorf("the backend got %d preflights, want none", n)
	}
	tab.Complains("401") // requests that are refused, as they must be

	// Where the backend does it, its word counts: it names somebody else.
	left := w.Publish(t, ctx, own("Beside"), w.Backend, webtest.ForAll, beside(catalogv1.HTTPOptions_CORS_BACKEND))
	if got := fails(tab, gateway+addressOf(left)+"/g", `{ headers: { 'X-Own': 'mine' } }`); got != "Failed to fetch" || preflights.Load() == 0 {
		t.Errorf("the page gets %q where the backend allows another one, after %d preflights", got, preflights.Load())
	}
	tab.Complains("blocked by CORS policy")

	tab = shared.chromium.Tab(t, strange, gateway)
	tab.Open("/")
	for _, options := range []string{`{ headers: { Authorization: 'Bearer ` + token + `' } }`, `{ method: 'POST', body: 'x' }`, `{}`} {
		if got := fails(tab, address+"/h?access_token="+token, options); got != "Failed to fetch" {
			t.Errorf("a page that is not listed gets %q with %s, want that it is kept from the answer", got, options)
		}
	}
	if n := strangers.Load(); n != 0 {
		t.Errorf("the backend got %d requests of a page that is not listed", n)
	}
	tab.Complains("blocked by CORS policy")
	tab.Complains("net::ERR_FAILED")
}

// fails returns what the page of a tab is told of a request that it may not read, or the answer
// that it reads.
func fails(tab *browser.Tab, address, options string) string {
	return browser.Read[string](tab, `fetch('`+address+`', `+options+`).then((answer) => answer.text(), (error) => error.message)`)
}

// emptyPage serves a page with nothing on it, and returns its origin.
func emptyPage(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(rw, `<!doctype html><link rel="icon" href="data:,"><title>Page</title>`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
