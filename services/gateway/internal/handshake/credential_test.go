package handshake

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/kit/madesecret"
)

// ourCredentials are an application's token, a user's and two made secrets.
func ourCredentials() []string {
	token := func(typ string) string {
		encode := base64.RawURLEncoding.EncodeToString
		return encode([]byte(`{"alg":"ES256","typ":"`+typ+`"}`)) + "." + encode([]byte(`{"iss":"`+issuer+`"}`)) + "." + encode([]byte("any signature"))
	}
	return []string{
		token("at+jwt"), token("tidegate-user+jwt"),
		madesecret.Make(madesecret.ClientSecret, strings.Repeat("Ab-_", 10)), madesecret.Make(madesecret.RefreshToken, strings.Repeat("0z9Z", 10)),
	}
}

// listing are versions that list places of all kinds, with the header lines and the
// query that get a client in.
var listing = []struct {
	name             string
	schemes          []credential.Scheme
	lines, parameter string
}{
	{"both places", []credential.Scheme{{Type: credential.OAuth2, Places: credential.OAuth2Places()}}, good, ""},
	{"the header", []credential.Scheme{{Type: credential.OAuth2, Places: credential.OAuth2Places()[:1]}}, good, ""},
	{"the query", []credential.Scheme{{Type: credential.OAuth2, Places: credential.OAuth2Places()[1:]}}, "", "access_token=good&"},
	{"none", []credential.Scheme{{Type: credential.None}}, "", ""},
	{"a token or none", []credential.Scheme{{Type: credential.OAuth2, Places: credential.OAuth2Places()[1:]}, {Type: credential.None}}, "", ""},
}

// wrong are the places where clients put a credential by mistake.
var wrong = map[string]func(credential string) (lines, query string){
	"Authorization":  func(c string) (string, string) { return "Authorization: Bearer " + c + "\r\n", "" },
	"another header": func(c string) (string, string) { return "X-Api-Key: " + c + "\r\n", "" },
	"Bearer in another one": func(c string) (string, string) {
		return "X-Forwarded-Access-Token: a\r\nApikey: Bearer " + c + "\r\n", ""
	},
	"a cookie":              func(c string) (string, string) { return "Cookie: a=1; token=" + c + "; b=2\r\n", "" },
	"a sub-protocol":        func(c string) (string, string) { return "Sec-WebSocket-Protocol: " + c + "\r\n", "" },
	"access_token":          func(c string) (string, string) { return "", "access_token=" + c },
	"another parameter":     func(c string) (string, string) { return "", "a=1&token=" + c + "&b=2" },
	"Bearer in a parameter": func(c string) (string, string) { return "", "a=1&token=Bearer%20" + c + "&b=2" },
	"a parameter's name":    func(c string) (string, string) { return "", c },
}

// encoded are the forms that a backend could decode, all fit for every place.
var encoded = map[string]func(string) string{
	"as it is":  func(s string) string { return s },
	"percent":   func(s string) string { return "%" + fmt.Sprintf("%02X", s[0]) + s[1:] },
	"base64":    func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64url": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
}

// TestNoCredentialOfOursIsDialled puts credentials into every place in every encoding,
// and looks for them in all that the backend gets.
func TestNoCredentialOfOursIsDialled(t *testing.T) {
	w := newWorld(t, nil)
	dialled := make(chan string, 1)
	url := recording(t, dialled)
	for _, version := range listing {
		w.serve(url, func(r *routes.Route) { r.Schemes = version.schemes })
		for place, put := range wrong {
			if version.lines != "" && place == "Authorization" || version.parameter != "" && place == "access_token" {
				continue // they would be beside the credential that lets the client in
			}
			for form, encode := range encoded {
				lines, query := version.lines, version.parameter+"c=3"
				for _, c := range ourCredentials() {
					l, q := put(encode(c))
					lines, query = lines+l, query+"&"+q
				}
				a := w.ask("/echo/1.0.0?"+query, lines)
				if a.StatusCode == http.StatusUnauthorized && place == "access_token" {
					continue
				}
				name := version.name + ", " + place + ", " + form
				if a.StatusCode != http.StatusSwitchingProtocols {
					t.Fatalf("%s: %d %s %s", name, a.StatusCode, a.Code, a.Detail)
				}
				checkDialled(t, name, <-dialled, lines+query)
			}
		}
	}
}

// checkDialled wants no credential in a backend's request, and all of what the client
// sent beside them.
func checkDialled(t *testing.T, name, request, sent string) {
	t.Helper()
	for what, encode := range encoded {
		for _, credential := range ourCredentials() {
			if strings.Contains(request, encode(credential)) {
				t.Errorf("%s: the backend was sent the credential (%s):\n%s", name, what, request)
			}
		}
	}
	for _, rest := range []string{"a=1", "b=2", "c=3"} {
		if strings.Count(request, rest) != strings.Count(sent, rest) {
			t.Errorf("%s: the backend was not sent every %s:\n%s", name, rest, request)
		}
	}
}

// recording is a backend that tells the head of each request, and chooses the first
// sub-protocol. Its sessions end at once.
func recording(t *testing.T, heads chan<- string) string {
	t.Helper()
	return accepting(t, func(conn net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		text, err := httputil.DumpRequest(r, false)
		if err != nil {
			t.Errorf("the backend's request: %v", err)
		}
		heads <- string(text)
		answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
			head.AcceptKey(r.Header.Get("Sec-WebSocket-Key")) + "\r\n"
		if offered, _, _ := strings.Cut(r.Header.Get("Sec-WebSocket-Protocol"), ","); offered != "" {
			answer += "Sec-WebSocket-Protocol: " + offered + "\r\n"
		}
		_, _ = io.WriteString(conn, answer+"\r\n")
	})
}

// A backend that wants to answer with the credential's sub-protocol cannot know it.
func TestSubprotocolOfACredentialIsNotEchoed(t *testing.T) {
	w := newWorld(t, nil)
	dialled := make(chan string, 1)
	w.serve(recording(t, dialled), func(r *routes.Route) { r.Schemes = []credential.Scheme{{Type: credential.None}} })
	token := ourCredentials()[0]
	for offer, chosen := range map[string]string{token: "", token + ", chat": "chat", "bearer, " + token: "bearer"} {
		a := w.ask("/echo/1.0.0", "Sec-WebSocket-Protocol: "+offer+"\r\n")
		if got := a.Header["Sec-Websocket-Protocol"]; a.StatusCode != 101 || a.Header.Get("Sec-WebSocket-Protocol") != chosen || chosen == "" && len(got) > 0 {
			t.Errorf("offered %s: %d %q, want 101 and %q", offer, a.StatusCode, got, chosen)
		}
		if request := <-dialled; strings.Contains(request, token) {
			t.Errorf("offered %s: the backend was sent %s", offer, request)
		}
	}
}

// Cookies of the pages stay between the browser and the portal.
func TestCookiesOfThePagesAreNotDialled(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, nil)
	w.serve(backend.url)
	if a := w.ask("/echo/1.0.0", good+"Cookie: a=1; __Host-tidegate=sealed; b=2\r\nCookie: TIDEGATE-theme=dark\r\n"); a.StatusCode != 101 {
		t.Fatalf("answer = %d %s, want 101", a.StatusCode, a.Detail)
	}
	if r := <-backend.requests; len(r.Header["Cookie"]) != 1 || r.Header.Get("Cookie") != "a=1; b=2" {
		t.Errorf("the backend was sent the cookies %q, want its own", r.Header["Cookie"])
	}
}
