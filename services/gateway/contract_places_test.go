package gateway

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
)

// taking makes a version take access tokens at these places, as users write them.
func (w *world) taking(version string, places ...string) {
	w.t.Helper()
	w.takes(version, &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: w.places(places)}}})
}

// takes makes a version take what a scheme does, from pages of one origin and from programs.
func (w *world) takes(version string, scheme *catalogv1.SecurityScheme) {
	r := w.route(version)
	r.Security, r.AllowedOrigins = []*catalogv1.SecurityScheme{scheme}, []string{"https://app.example"}
	w.plane.put(r)
}

// places reads places as users write them.
func (w *world) places(texts []string) (list []*catalogv1.CredentialPlace) {
	w.t.Helper()
	for _, text := range texts {
		place, err := credentialplace.Parse(text)
		if err != nil {
			w.t.Fatalf("%q %v", text, err)
		}
		list = append(list, place)
	}
	return list
}

// TestPlaces has a good token and bad ones at each place of a handshake, over ws and wss, and
// looks at what the backend is asked for: nothing that stood at a place, and all the rest.
func TestPlaces(t *testing.T) {
	w := newWorld(t)
	asked := make(chan *http.Request, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked <- r
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"mqtt"}})
		if err == nil {
			_ = c.CloseNow()
		}
	}))
	t.Cleanup(backend.Close)
	w.backend.URL = backend.URL
	secure := w.withTLS()
	all := []string{"header:Authorization", "header:X-Token", "header:X-Other:bearer", "query:access_token", "query:auth:base64", "cookie:sid", "subprotocol"}
	w.taking("all", all...)
	for _, place := range all {
		w.taking(strings.NewReplacer(":", "-").Replace(place), place)
	}
	w.start()
	token := w.plane.issue("a+token/of~24==", "subscriptions/1", time.Hour)
	word := w.plane.issue("word", "subscriptions/1", time.Hour)
	b64, b64url := base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString
	const page = "https://app.example"
	for _, tt := range []struct {
		name      string
		version   string // of one place; every request is also made of the version "all"
		query     string
		header    http.Header
		protocols []string
		want      int
		answer    string // the sub-protocol
		left      string // the query that the backend gets
	}{
		{"Bearer", "header-Authorization", "", http.Header{"Authorization": {"bEARER " + token}}, nil, 101, "", ""},
		{"a raw header", "header-X-Token", "", http.Header{"X-Token": {token}}, nil, 101, "", ""},
		{"Bearer in another header", "header-X-Other-bearer", "", http.Header{"X-Other": {"Bearer " + token}}, nil, 101, "", ""},
		{"no Bearer there", "header-X-Other-bearer", "", http.Header{"X-Other": {token}}, nil, 401, "", ""},
		{"a header twice", "header-X-Token", "", http.Header{"X-Token": {token, token}}, nil, 401, "", ""},
		{"a bad token in a header", "header-X-Token", "", http.Header{"X-Token": {"00000000-0000-0000-0000-000000000000"}}, nil, 401, "", ""},
		{"the query, first", "query-access_token", "access_token=" + url.QueryEscape(token) + "&a=1&b=2", nil, nil, 101, "", "a=1&b=2"},
		{"the query, between", "query-access_token", "a=%2B%20%2F%3D&access_token=a+token/of%7E24%3D%3D&a&b=", nil, nil, 101, "", "a=%2B%20%2F%3D&a&b="},
		{"the query, last", "query-access_token", "access_token2=x&a&access_token=" + url.QueryEscape(token), nil, nil, 101, "", "access_token2=x&a"},
		{"base64 in the query, a plus in it", "query-auth-base64", "deviceId=d&auth=" + b64([]byte(token)) + "&x=+", nil, nil, 101, "", "deviceId=d&x=+"},
		{"base64 in the query, percent-encoded", "query-auth-base64", "auth=" + url.QueryEscape(b64([]byte(token))), nil, nil, 101, "", ""},
		{"base64url in the query, without padding", "query-auth-base64", "auth=" + b64url([]byte(token)), nil, nil, 101, "", ""},
		{"no base64 there", "query-auth-base64", "auth=" + url.QueryEscape(token) + "&a=1", nil, nil, 401, "", ""},
		{"a cookie", "cookie-sid", "", http.Header{"Cookie": {"a=1;b; sid=" + token + "; c=%20"}, "Origin": {page}}, nil, 101, "", ""},
		{"a cookie from another page", "cookie-sid", "", http.Header{"Cookie": {"sid=" + token}, "Origin": {"https://evil.example"}}, nil, 403, "", ""},
		{"a cookie from a page without an origin", "cookie-sid", "", http.Header{"Cookie": {"sid=" + token}, "Origin": {"null"}}, nil, 403, "", ""},
		{"a cookie from no page", "cookie-sid", "", http.Header{"Cookie": {"sid=" + token}}, nil, 403, "", ""},
		{"a cookie twice", "cookie-sid", "", http.Header{"Cookie": {"sid=" + token + "; sid=" + token}, "Origin": {page}}, nil, 401, "", ""},
		{"a pair", "subprotocol", "", nil, []string{"bearer", word}, 101, "bearer", ""},
		{"a pair and one that the backend speaks", "subprotocol", "", nil, []string{"bearer", word, "mqtt"}, 101, "mqtt", ""},
		{"a bad token in a pair", "subprotocol", "", nil, []string{"bearer", "nobody", "mqtt"}, 401, "", ""},
		{"Kubernetes' form", "subprotocol", "", nil, []string{"base64url.bearer.authorization.k8s.io." + b64url([]byte(token)), "mqtt"}, 101, "mqtt", ""},
		{"Kubernetes' form alone", "subprotocol", "", nil, []string{"base64url.bearer.authorization.k8s.io." + b64url([]byte(token))}, 400, "", ""},
		{"what is no HTTP token", "subprotocol", "", nil, []string{"bearer", token}, 400, "", ""},
		{"a token whose place is not listed", "subprotocol", "", http.Header{"Authorization": {"Bearer " + token}}, nil, 401, "", ""},
	} {
		for _, address := range []string{w.plain + "/x/" + tt.version, secure + "/x/" + tt.version, w.plain + "/x/all"} {
			if strings.HasSuffix(address, "/all") && strings.Contains(tt.name, "not listed") {
				continue
			}
			_, resp := w.ask(address+"?"+tt.query, tt.header.Clone(), tt.protocols...)
			if resp.status != tt.want || resp.header.Get("Sec-WebSocket-Protocol") != tt.answer {
				t.Errorf("%s at %s: %d with the sub-protocol %q: %s, want %d and %q", tt.name, address, resp.status, resp.header.Get("Sec-WebSocket-Protocol"), resp.body, tt.want, tt.answer)
			}
			if resp.status != 101 {
				continue
			}
			r := <-asked
			if r.URL.RawQuery != tt.left {
				t.Errorf("%s: the backend was asked %q, want %q", tt.name, r.RequestURI, tt.left)
			}
			if cookie := r.Header.Get("Cookie"); cookie != "" && cookie != "a=1;b; c=%20" {
				t.Errorf("%s: the backend was sent the cookies %q", tt.name, cookie)
			}
			for name, lines := range r.Header {
				if text := strings.Join(lines, ","); strings.Contains(text, token) || strings.Contains(text, word) || strings.Contains(text, "bearer") {
					t.Errorf("%s: the backend was sent %s: %s", tt.name, name, text)
				}
			}
		}
	}
	_, resp := w.ask(w.plain+"/x/all", nil)
	if want := "the API needs a credential; it is looked for in the header Authorization: Bearer, then in the header X-Token, then in the header X-Other: Bearer, " +
		"then in the query parameter access_token, then in the query parameter auth, in base64, then in the cookie sid, then in the sub-protocol after bearer"; resp.status != 401 || !strings.Contains(resp.body, want) {
		t.Errorf("without a credential: %d %s, want 401 and all places", resp.status, resp.body)
	}
}

// TestFirstMessageAtTheGateway: the whole way of a credential in the first message, to the
// session that ends when it is revoked, and to the record of a refusal.
func TestFirstMessageAtTheGateway(t *testing.T) {
	w := newWorld(t)
	secure := w.withTLS()
	w.taking("1", "query:access_token", "first-message,at=/token,if=/method=TOKEN_AUTH")
	w.taking("kept", "first-message,pass-on")
	w.start()
	w.plane.issue("good", "subscriptions/1", time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	write := func(c *websocket.Conn, text string) {
		t.Helper()
		if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatalf("send %q: %v", text, err)
		}
	}
	for _, base := range []string{w.plain, secure} {
		w.answers(base+"/x/1?access_token=good", nil, 101)
		c, resp := w.ask(base+"/x/1", nil)
		if resp.status != 101 {
			t.Fatalf("%d %s, want 101 before the message", resp.status, resp.body)
		}
		write(c, `{"method":"TOKEN_AUTH","token":"good","rem":true}`)
		echoes(t, c, "hello")
		_ = c.CloseNow()
		c, _ = w.ask(base+"/x/kept", nil)
		echoes(t, c, "good") // the backend gets it, and sends it back
		echoes(t, c, "hello")
		_ = c.CloseNow()
		c, _ = w.ask(base+"/x/1", nil)
		write(c, `{"method":"TOKEN_AUTH","token":"nobody"}`)
		_, _, err := c.Read(ctx)
		if code := websocket.CloseStatus(err); code != 4001 {
			t.Fatalf("with a bad token: %v, want 4001", err)
		}
		_, reason, _ := strings.Cut(err.Error(), "reason = \"")
		reason, _, _ = strings.Cut(reason, "\"")
		record := w.record(reason)
		if record.GetStatus() != 401 || record.GetCode() != "CREDENTIAL_INVALID" || record.GetCloseCodeToClient() != 4001 || record.GetVersion() != "apis/x/versions/1" || record.GetPath() != "/x/1" {
			t.Errorf("the record of %s is %v", reason, record)
		}
	}
	c, _ := w.ask(w.plain+"/x/1", nil)
	write(c, `{"method":"TOKEN_AUTH","token":"good"}`)
	echoes(t, c, "hello")
	w.plane.end(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, func(n string, _ *token) bool { return n == "good" })
	w.plane.touch(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, "grants/good")
	closes(t, c, 4001, "REVOKED")
}
