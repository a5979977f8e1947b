package beside

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// TestCORS asks as browsers do for pages of other origins.
func TestCORS(t *testing.T) {
	w := newWorld(t, nil)
	asked := make(chan *http.Request, 100)
	url := backend(t, func(rw http.ResponseWriter, r *http.Request) {
		asked <- r
		rw.Header().Set("Access-Control-Allow-Origin", "https://theirs.example")
		rw.Header().Set("Access-Control-Expose-Headers", "X-Theirs")
		rw.Header().Set("Vary", "Accept")
	})
	listed, any, backends := w.route(url), w.route(url), w.route(url)
	any.Name, any.Segment, any.Default = "apis/echo/versions/any", "any", false
	backends.Name, backends.Segment, backends.Default = "apis/echo/versions/theirs", "theirs", false
	backends.HTTP.BackendCORS = true
	var err error
	if listed.Origins, err = routes.ParseOrigins([]string{"https://page.example", "null"}); err != nil {
		t.Fatal(err)
	}
	backends.Origins = listed.Origins
	w.serve(listed, any, backends)
	const page, other = "Origin: https://page.example\r\n", "Origin: https://other.example\r\n"
	preflight := "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: authorization, x-signalr-user-agent, bad(name\r\n"
	for name, tt := range map[string]struct {
		method, target, more string
		status               int
		origin, credentials  string // allowed
		reached              bool
	}{
		"a preflight":                       {"OPTIONS", "/echo/1.0.0/x", page + preflight, 204, "https://page.example", "true", false},
		"a preflight of another page":       {"OPTIONS", "/echo/1.0.0/x", other + preflight, 403, "", "", false},
		"a preflight of a page in a frame":  {"OPTIONS", "/echo/1.0.0/x", "Origin: null\r\n" + preflight, 204, "*", "", false},
		"a preflight where all are taken":   {"OPTIONS", "/echo/any", other + preflight, 204, "*", "", false},
		"a preflight of no version":         {"OPTIONS", "/echo/none", page + preflight, 404, "", "", false},
		"a preflight with a body":           {"OPTIONS", "/echo/1.0.0/x", page + preflight + "Content-Length: 1\r\n", 401, "https://page.example", "true", false},
		"the backend's, with a body":        {"OPTIONS", "/echo/theirs/x", page + preflight + "Content-Length: 1\r\n", 401, "https://page.example", "true", false},
		"the backend's, with chunks":        {"OPTIONS", "/echo/theirs/x", page + preflight + "Transfer-Encoding: chunked\r\n", 401, "https://page.example", "true", false},
		"OPTIONS that is none":              {"OPTIONS", "/echo/1.0.0/x", page, 401, "https://page.example", "true", false},
		"OPTIONS with a credential":         {"OPTIONS", "/echo/1.0.0/x", page + good, 200, "https://page.example", "true", true},
		"a request":                         {"GET", "/echo/1.0.0/x", page + good, 200, "https://page.example", "true", true},
		"a request where all are taken":     {"GET", "/echo/any", other + good, 200, "*", "", true},
		"a request of another page":         {"GET", "/echo/1.0.0/x", other + good, 403, "", "", false},
		"a request of no page":              {"GET", "/echo/1.0.0/x", good, 200, "", "", true},
		"a refusal":                         {"GET", "/echo/1.0.0/x", page, 401, "https://page.example", "true", false},
		"the backend's preflight":           {"OPTIONS", "/echo/theirs/x", page + preflight, 200, "https://theirs.example", "", true},
		"the backend's, of another page":    {"OPTIONS", "/echo/theirs/x", other + preflight, 403, "", "", false},
		"a request that the backend shares": {"GET", "/echo/theirs/x", page + good, 200, "https://theirs.example", "", true},
		"a refusal where the backend does":  {"GET", "/echo/theirs/x", page, 401, "https://page.example", "true", false},
	} {
		a := w.dial().ask(tt.method, tt.target, tt.more+"\r\n")
		h := a.Header
		if a.StatusCode != tt.status || h.Get("Access-Control-Allow-Origin") != tt.origin || h.Get("Access-Control-Allow-Credentials") != tt.credentials {
			t.Errorf("%s: %s %v, want %d for %q with %q", name, a.Status, h, tt.status, tt.origin, tt.credentials)
		}
		if reached := len(asked) > 0; reached != tt.reached {
			t.Errorf("%s: that it reached the backend is %t", name, reached)
		} else if reached {
			if r := <-asked; r.Header.Get("Authorization") != "" {
				t.Errorf("%s: the backend got %v", name, r.Header)
			}
		}
		shared := !strings.HasPrefix(tt.target, "/echo/theirs") && tt.status != 404
		if vary := strings.Join(h["Vary"], ","); shared && !strings.Contains(vary, "Origin") || tt.reached && !strings.Contains(vary, "Accept") {
			t.Errorf("%s: Vary is %q", name, vary)
		}
		if tt.status == 204 && (!strings.Contains(h.Get("Access-Control-Allow-Methods"), "PUT") || h.Get("Access-Control-Max-Age") == "" ||
			h.Get("Access-Control-Allow-Headers") != "Authorization, apikey, Content-Type, x-signalr-user-agent" && h.Get("Access-Control-Allow-Headers") != "") {
			t.Errorf("%s: the preflight is answered %v", name, h)
		}
		if tt.reached && shared && tt.origin != "" && !strings.Contains(h.Get("Access-Control-Expose-Headers"), "X-Theirs") {
			t.Errorf("%s: exposed are %q", name, h.Get("Access-Control-Expose-Headers"))
		}
	}
	w.stop()
	if got := w.meter.used.FromClient.Messages; got != 6 {
		t.Errorf("%d messages were counted, want those 6 that a backend has got", got)
	}
}
