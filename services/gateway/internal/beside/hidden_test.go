package beside

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// tryOutToken is a token that says it is a try-out token of version 1. Nobody has signed it.
func tryOutToken() string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"ES256"}`)) + "." + encode([]byte(`{"tidegate_try_out":"apis/echo/versions/1"}`)) + ".c2ln"
}

// TestForgedTryOutTokens shows made-up try-out tokens for a version that is not published, of
// all kinds: each answer is the one where there is no version at all.
func TestForgedTryOutTokens(t *testing.T) {
	w := newWorld(t, nil)
	url, token := backend(t, echo), tryOutToken()
	placed := []credential.Scheme{
		{Type: credential.OAuth2, Places: []credential.Place{credential.InHeader("X-Token", credential.Raw), credential.InSubprotocol()}},
		{Type: credential.APIKey, Places: []credential.Place{credential.InHeader("Apikey", credential.Raw)}},
	}
	kinds := map[string]func(r *routes.Route){
		"with HTTP":              func(*routes.Route) {},
		"without HTTP":           func(r *routes.Route) { r.HTTP = nil },
		"HTTP for all":           func(r *routes.Route) { open(r) },
		"a socket for all":       func(r *routes.Route) { r.Schemes = []credential.Scheme{{Type: credential.None}} },
		"all for all":            func(r *routes.Route) { open(r).Schemes = r.HTTP.Schemes },
		"a feature that lacks":   func(r *routes.Route) { r.Requires = []string{"of tomorrow"} },
		"that, and without HTTP": func(r *routes.Route) { r.Requires, r.HTTP = []string{"of tomorrow"}, nil },
		"the backend's CORS":     func(r *routes.Route) { r.HTTP.BackendCORS = true },
		"places of its own":      func(r *routes.Route) { r.Schemes, r.HTTP.Schemes = placed, placed },
		"places of its socket":   func(r *routes.Route) { r.Schemes = placed },
		"no endpoint":            func(r *routes.Route) { open(r).HTTP.Production = nil; r.HTTP.Sandbox = stageOf(t, url) },
		"no page's": func(r *routes.Route) {
			origins, err := routes.ParseOrigins([]string{"https://other.example"})
			if err != nil {
				t.Fatal(err)
			}
			r.Origins = origins
		},
	}
	const page = "Origin: https://page.example\r\n"
	const socket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	bearer, own := "Authorization: Bearer "+token+"\r\n", "X-Token: "+token+"\r\n"
	type question struct{ method, target, more string }
	asked := map[string]question{}
	for name, more := range map[string]string{"": "", " of a page": page, " with a key": "Apikey: none\r\n"} {
		asked["GET"+name] = question{"GET", "/echo/1.0.0", bearer + more}
		asked["POST"+name] = question{"POST", "/echo/1.0.0/x", bearer + more + "Content-Length: 0\r\n"}
		asked["a query"+name] = question{"GET", "/echo/1.0.0?access_token=" + token, more}
		asked["a header of its own"+name] = question{"GET", "/echo/1.0.0", own + more}
		asked["nothing"+name] = question{"GET", "/echo/1.0.0", more}
		asked["a preflight"+name] = question{"OPTIONS", "/echo/1.0.0?access_token=" + token, "Access-Control-Request-Method: PUT\r\n" + more}
		asked["a handshake"+name] = question{"GET", "/echo/1.0.0", socket + bearer + more}
		asked["a handshake, a header of its own"+name] = question{"GET", "/echo/1.0.0", socket + own + more}
		asked["a handshake, a sub-protocol"+name] = question{"GET", "/echo/1.0.0", socket + "Sec-WebSocket-Protocol: bearer, " + token + ", x\r\n" + more}
		asked["a handshake, a sub-protocol alone"+name] = question{"GET", "/echo/1.0.0", socket + "Sec-WebSocket-Protocol: bearer, " + token + "\r\n" + more}
	}
	answers := func() map[string]string {
		all := map[string]string{}
		for name, q := range asked {
			a := w.dial().ask(q.method, q.target, q.more+"\r\n")
			a.Header.Del("Date")
			a.Header.Del("X-Tidegate-Ref")
			all[name] = strings.ReplaceAll(fmt.Sprint(a.Status, a.Header, a.Close, a.text), a.Ref, "REF")
		}
		return all
	}
	other := w.route(url)
	other.Name, other.Segment, other.Default = "apis/echo/versions/2", "2.0.0", false
	w.serve(other)
	none := answers()
	for name, got := range none {
		if !strings.HasPrefix(got, "404 ") || strings.Contains(got, "Vary") {
			t.Errorf("%s, of no version: %s", name, got)
		}
	}
	for kind, edit := range kinds {
		r := w.route(url)
		r.Published = false
		edit(r)
		w.serve(r, other)
		for name, got := range answers() {
			if got != none[name] {
				t.Errorf("%s, of a version %s:\n%s\nwant what there is of no version:\n%s", name, kind, got, none[name])
			}
		}
	}
}

// TestTryOutTokens shows a good try-out token for versions that are not published: they are
// served, or it is told why not.
func TestTryOutTokens(t *testing.T) {
	w := newWorld(t, nil)
	url := backend(t, echo)
	w.grants[tryOutToken()] = &grant.Grant{Name: "grants/2", Application: "applications/try-out", Stage: grant.Production}
	for kind, tt := range map[string]struct {
		edit   func(r *routes.Route)
		status int
		code   string
	}{
		"with HTTP":            {func(*routes.Route) {}, 200, ""},
		"HTTP for all":         {func(r *routes.Route) { open(r) }, 200, ""},
		"without HTTP":         {func(r *routes.Route) { r.HTTP = nil }, 426, "UPGRADE_REQUIRED"},
		"a feature that lacks": {func(r *routes.Route) { r.Requires = []string{"of tomorrow"} }, 503, "FEATURE_MISSING"},
	} {
		r := w.route(url)
		r.Published = false
		tt.edit(r)
		w.serve(r)
		if a := w.dial().ask("GET", "/echo/1.0.0", "Authorization: Bearer "+tryOutToken()+"\r\n\r\n"); a.StatusCode != tt.status || a.Code != tt.code {
			t.Errorf("%s: %s %s, want %d %s", kind, a.Status, a.text, tt.status, tt.code)
		}
	}
}
