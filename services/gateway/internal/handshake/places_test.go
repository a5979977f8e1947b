package handshake

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// TestEveryPlaceLetsIn shows the credential at each place, and wants it gone from what the
// backend gets, and the rest as it came.
func TestEveryPlaceLetsIn(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, func(e *echo) { e.protocols = []string{"mqtt"} })
	w.serve(backend.url, func(r *routes.Route) {
		r.Origins = origins(t, "https://ok.example")
		r.Schemes[0].Places = append(credential.OAuth2Places(), credential.InHeader("X-Token", credential.Raw), credential.InQuery("auth", credential.Base64),
			credential.InCookie("sid"), credential.InSubprotocol())
	})
	const page = "Origin: https://ok.example\r\n"
	for _, tt := range []struct {
		name, query, lines   string
		answer               string
		backendQuery, cookie string
		protocols            string
	}{
		{"Authorization", "", "Authorization: bearer good\r\n", "", "", "", ""},
		{"access_token", "a=%2B+&access_token=good&b", "", "", "a=%2B+&b", "", ""},
		{"a raw header", "", "x-token: good\r\n", "", "", "", ""},
		{"base64 in the query", "a&auth=Z29vZA==&a", "", "", "a&a", "", ""},
		{"a cookie", "", page + "Cookie: a=1;  b; sid=good; c=%20\r\n", "", "", "a=1;  b; c=%20", ""},
		{"a pair of sub-protocols", "", "Sec-WebSocket-Protocol: bearer, good\r\n", "bearer", "", "", ""},
		{"a pair, and one that the backend speaks", "", "Sec-WebSocket-Protocol: bearer, good, mqtt\r\n", "mqtt", "", "", "mqtt"},
		{"a pair, and one that it does not", "", "Sec-WebSocket-Protocol: stomp, bearer, good\r\n", "bearer", "", "", "stomp"},
		{"Kubernetes' form", "", "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.Z29vZA, mqtt\r\n", "mqtt", "", "", "mqtt"},
		{"Kubernetes' form, and one that the backend does not speak", "", "Sec-WebSocket-Protocol: stomp, base64url.bearer.authorization.k8s.io.Z29vZA\r\n", "", "", "", "stomp"},
		{"all of them", "access_token=x&auth=x&a=1", good + page + "X-Token: x\r\nCookie: sid=x\r\nSec-WebSocket-Protocol: bearer, x\r\n", "bearer", "a=1", "", ""},
	} {
		a := w.ask("/echo/1.0.0?"+tt.query, tt.lines)
		if got := a.Header["Sec-Websocket-Protocol"]; a.StatusCode != 101 || strings.Join(got, "|") != tt.answer {
			t.Errorf("%s: %d %s, sub-protocol %q, want 101 and %q", tt.name, a.StatusCode, a.Detail, got, tt.answer)
			continue
		}
		r := <-backend.requests
		if r.URL.RawQuery != tt.backendQuery || r.Header.Get("Cookie") != tt.cookie || strings.Join(r.Header["Sec-Websocket-Protocol"], "|") != tt.protocols {
			t.Errorf("%s: the backend was asked %q with the cookies %q and the sub-protocols %q", tt.name, r.RequestURI, r.Header["Cookie"], r.Header["Sec-Websocket-Protocol"])
		}
		for _, name := range []string{"Authorization", "X-Token"} {
			if len(r.Header[name]) > 0 {
				t.Errorf("%s: the backend was sent %s: %q", tt.name, name, r.Header[name])
			}
		}
	}
	if asked := w.grants.asked; len(asked) != 11 || slices.ContainsFunc(asked, func(s string) bool { return !strings.HasPrefix(s, "good ") }) {
		t.Errorf("asked about %q, want the one credential each time", asked)
	}
}

// A try-out token is good at the version's own places, too, and what stands at those is
// removed whichever let it in.
func TestTryOutAtThePlacesOfTheVersion(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, nil)
	w.serve(backend.url, func(r *routes.Route) {
		r.Published = false
		r.Schemes[0].Places = []credential.Place{credential.InHeader("X-Token", credential.Raw), credential.InSubprotocol()}
	})
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"ES256"}`)) + "." + encode([]byte(`{"tidegate_try_out":"apis/echo/versions/1"}`)) + ".c2ln"
	w.grants.byToken[token] = &grant.Grant{Name: "grants/2", Application: "applications/try-out", Stage: grant.Production}
	for name, lines := range map[string]string{
		"Authorization": "Authorization: Bearer " + token + "\r\nX-Token: left\r\n",
		"X-Token":       "X-Token: " + token + "\r\n",
		"sub-protocol":  "Sec-WebSocket-Protocol: bearer, " + token + "\r\n",
	} {
		if a := w.ask("/echo/1.0.0", lines); a.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("%s: %d %s, want 101", name, a.StatusCode, a.Detail)
			continue
		}
		if r := <-backend.requests; len(r.Header["X-Token"])+len(r.Header["Authorization"])+len(r.Header["Sec-Websocket-Protocol"]) > 0 {
			t.Errorf("%s: the backend was sent %v", name, r.Header)
		}
	}
}
