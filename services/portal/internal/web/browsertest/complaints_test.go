package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestComplaints has a page do what no page may, so that the silence of all other tests
// means something.
func TestComplaints(t *testing.T) {
	t.Parallel()
	world(t)
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(elsewhere.Close)
	const policy = "default-src 'none'; img-src data:; script-src 'self'; connect-src *; require-trusted-types-for 'script'"
	for script, want := range map[string]string{
		"":                                      "",
		"console.info('so far')":                "",
		"console.error('broken')":               "broken",
		"throw new Error('out')":                "out",
		"Promise.reject(new Error('not kept'))": "not kept",
		"document.body.innerHTML = '<b>'":       "TrustedHTML",
		"document.body.append(document.createElement('iframe'))":        "",
		"document.body.setAttribute('style', 'color: red')":             "style",
		"fetch('/gone').then(() => {})":                                 "404",
		"fetch('" + elsewhere.URL + "').catch(() => {})":                "a request to " + elsewhere.URL,
		"new WebSocket('ws" + elsewhere.URL[len("http"):] + "/socket')": "a request to ws" + elsewhere.URL[len("http"):],
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Security-Policy", policy)
				w.WriteHeader(http.StatusUnprocessableEntity) // what a form with a mistake answers is no complaint
				fmt.Fprint(w, `<!doctype html><title>x</title><link rel="icon" href="data:,"><body><script src="/script.js"></script>`)
			})
			mux.HandleFunc("GET /script.js", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/javascript")
				fmt.Fprint(w, script)
			})
			site := httptest.NewServer(mux)
			t.Cleanup(site.Close)
			tab := shared.chromium.Tab(t, site.URL)
			tab.Open("/")
			if want == "" {
				return // the tab fails the test by itself
			}
			tab.Complains(want)
		})
	}
}
