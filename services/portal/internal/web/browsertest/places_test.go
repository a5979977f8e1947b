package browsertest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
)

// places has a version take access tokens at these places, from pages of an origin.
func places(t *testing.T, origin string, texts ...string) func(*catalogv1.Version) {
	t.Helper()
	oauth2 := &catalogv1.OAuth2Scheme{}
	for _, text := range texts {
		place, err := credentialplace.Parse(text)
		if err != nil {
			t.Fatalf("%q %v", text, err)
		}
		oauth2.Places = append(oauth2.Places, place)
	}
	return func(v *catalogv1.Version) {
		v.AllowedOrigins = []string{origin}
		v.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: oauth2}}}
	}
}

// placesPage opens a socket as each entry of /sockets says, one after another, and says what
// came of it.
const placesPage = `<!doctype html><link rel="icon" href="data:,"><script>
const open = ({ url, protocols, cookie, first }) => new Promise((said) => {
	if (cookie) {
		document.cookie = cookie + "; path=/";
		while (!document.cookie.includes(cookie)); // what is read is stored, and a socket sends it
	}
	const socket = new WebSocket(url, protocols || []);
	socket.onopen = () => {
		if (first) socket.send(first);
		socket.send("hello");
	};
	socket.onmessage = ({ data }) => {
		said("[" + socket.protocol + "] " + data);
		socket.close();
	};
	socket.onclose = ({ code }) => said("closed " + code);
});
(async () => {
	let said = "";
	for (const socket of await (await fetch("/sockets")).json()) said += socket.name + ": " + await open(socket) + "\n";
	await fetch("/said", { method: "POST", body: said });
})();
</script>`

// TestPlaces has Chromium's own WebSocket show a token everywhere that a page can.
func TestPlaces(t *testing.T) {
	t.Parallel()
	w := world(t)
	ctx := w.As(t, "admin", w.Password)
	type socket struct {
		Name      string   `json:"name"`
		URL       string   `json:"url"`
		Protocols []string `json:"protocols,omitempty"`
		Cookie    string   `json:"cookie,omitempty"`
		First     string   `json:"first,omitempty"`
	}
	var sockets []socket
	said := make(chan string, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(rw, placesPage)
	})
	mux.HandleFunc("GET /sockets", func(rw http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(rw).Encode(sockets) })
	mux.HandleFunc("POST /said", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		said <- string(text)
	})
	pages := httptest.NewServer(mux)
	t.Cleanup(pages.Close)
	// Cookies are the host's, whatever the port.
	site := "http://" + strings.Split(strings.TrimPrefix(w.WS, "ws://"), ":")[0] + pages.URL[strings.LastIndexByte(pages.URL, ':'):]
	echo := backend(t, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"one"}})

	listed := w.Publish(t, ctx, own("Places"), echo, places(t, site, "query:auth:base64", "cookie:sid-places", "subprotocol", "first-message,at=/token"))
	token := w.Token(t, ctx, own("Places"), listed)
	address := w.WS + addressOf(listed)
	strange := w.Publish(t, ctx, own("Strange"), echo, places(t, "https://another.example", "cookie:sid-places"))
	sockets = []socket{
		{Name: "query", URL: address + "?a=1&auth=" + url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(token)))},
		{Name: "pair", URL: address, Protocols: []string{"bearer", token}},
		{Name: "pair and another", URL: address, Protocols: []string{"bearer", token, "one"}},
		{Name: "Kubernetes", URL: address, Protocols: []string{"one", "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte(token))}},
		{Name: "first message", URL: address, First: fmt.Sprintf(`{"token":%q}`, token)},
		{Name: "bad first message", URL: address, First: `{"token":"none"}`},
		{Name: "cookie", URL: address, Cookie: "sid-places=" + token},
		{Name: "cookie of a page that is not listed", URL: w.WS + addressOf(strange)},
	}
	tab := shared.chromium.Tab(t, site, w.WS)
	tab.Open("/")
	const want = "query: [] hello\npair: [bearer] hello\npair and another: [one] hello\nKubernetes: [one] hello\nfirst message: [] hello\n" +
		"bad first message: closed 4001\ncookie: [] hello\ncookie of a page that is not listed: closed 1006\n"
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
	tab.Complains("WebSocket connection to '" + w.WS + addressOf(strange)) // refused, as it must be
}

// TestConsolePlaces has the console send a token to each place of a version.
func TestConsolePlaces(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	ctx := w.As(t, "admin", w.Password)
	echo := backend(t, &websocket.AcceptOptions{InsecureSkipVerify: true})
	v := w.Publish(t, ctx, own("Console places"), echo, places(t, "https://app.example", "header:X-Token", "query:auth:base64", "cookie:sid", "subprotocol", "first-message,at=/token,if=/method=TOKEN_AUTH"))
	token := w.Token(t, ctx, own("Console places"), v)
	tab.SignIn("admin", w.Password)
	tab.Open("/devportal/" + v.GetName() + "/console")
	tab.Choose("Key", "A token of my own")
	for _, place := range []string{"The header X-Token", "The parameter auth, in base64", "The cookie sid", "The sub-protocol after bearer", "The first message, at /token"} {
		tab.Fill("Token", token)
		tab.Choose("Where it goes", place)
		tab.Click("Connect")
		tab.Has("Connected: 101")
		tab.Fill("Message to send", place)
		tab.Click("Send")
		tab.Until(fmt.Sprintf("%s === %q", last("in"), place))
		tab.Click("Disconnect")
		tab.Until(`document.getElementById("c-state").textContent === "Not connected"`)
		tab.Click("Clear")
	}
}
