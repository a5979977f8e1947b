package gateway

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/apikey"
)

// takingKeys makes a version take API keys alone, at these places, as users write them.
func (w *world) takingKeys(version string, places ...string) {
	w.t.Helper()
	w.takes(version, &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{Places: w.places(places)}}})
}

// TestKeysAtPlaces has an API key at each place in each form. The key opens a session, and
// the backend sees nothing of it. There a key that nobody has, an access token and the UUID
// of zeros are refused, and the key is refused where the version takes tokens alone.
func TestKeysAtPlaces(t *testing.T) {
	w := newWorld(t)
	asked := make(chan *http.Request, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked <- r
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"mqtt"}})
		if err != nil {
			return
		}
		for {
			kind, text, err := c.Read(context.Background())
			if err != nil || c.Write(context.Background(), kind, text) != nil {
				return
			}
		}
	}))
	t.Cleanup(backend.Close)
	w.backend.URL = backend.URL
	key := w.plane.issueKey(apikey.Declared()[0].Make(), time.Hour)
	token := w.plane.issue("a-token", "subscriptions/1", time.Hour)
	b64, b64url := base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString
	type shown struct {
		query     string
		header    http.Header
		protocols []string
		first     string
	}
	places := []struct {
		name, place string
		show        func(credential string) shown
	}{
		{"raw header", "header:apikey", func(c string) shown { return shown{header: http.Header{"Apikey": {c}}} }},
		{"bearer header", "header:X-Key:bearer", func(c string) shown { return shown{header: http.Header{"X-Key": {"Bearer " + c}}} }},
		{"Authorization", "header:Authorization", func(c string) shown { return shown{header: bearer(c)} }},
		{"query", "query:apikey", func(c string) shown { return shown{query: "a=1&apikey=" + url.QueryEscape(c)} }},
		{"query in base64", "query:auth:base64", func(c string) shown { return shown{query: "a=1&auth=" + b64([]byte(c))} }},
		{"cookie", "cookie:sid", func(c string) shown {
			return shown{header: http.Header{"Cookie": {"a=1; sid=" + c}, "Origin": {"https://app.example"}}}
		}},
		{"pair", "subprotocol", func(c string) shown { return shown{protocols: []string{"bearer", c}} }},
		{"Kubernetes' form", "subprotocol", func(c string) shown {
			return shown{protocols: []string{"mqtt", "base64url.bearer.authorization.k8s.io." + b64url([]byte(c))}}
		}},
		{"whole first message", "first-message", func(c string) shown { return shown{first: c} }},
		{"first message at a pointer", "first-message,at=/auth/key,if=/method=AUTH", func(c string) shown {
			return shown{first: fmt.Sprintf(`{"method":"AUTH","auth":{"key":%q}}`, c)}
		}},
	}
	for i, p := range places {
		w.takingKeys(fmt.Sprint("key", i), p.place)
		w.taking(fmt.Sprint("token", i), p.place)
	}
	w.start()
	// opens reports how a handshake goes: with 101, or with the status of a refusal, which is
	// a close where the credential is a message.
	opens := func(version string, s shown) (got int) {
		t.Helper()
		c, resp := w.ask(w.plain+"/x/"+version+"?"+s.query, s.header, s.protocols...)
		if resp.status != http.StatusSwitchingProtocols {
			return resp.status
		}
		if s.first != "" {
			if err := c.Write(t.Context(), websocket.MessageText, []byte(s.first)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, got, err := c.Read(ctx)
			if err != nil && websocket.CloseStatus(err) > 0 {
				return int(websocket.CloseStatus(err))
			}
			if err != nil || string(got) != "hello" {
				t.Errorf("%s: the backend sends back %q, %v, want hello", version, got, err)
			}
		}
		_ = c.CloseNow()
		r := <-asked
		var head strings.Builder
		_ = r.Header.Write(&head)
		for _, credential := range []string{key, token} {
			for _, form := range []string{credential, b64([]byte(credential)), b64url([]byte(credential))} {
				if text := r.RequestURI + "\r\n" + head.String(); strings.Contains(text, form) {
					t.Errorf("%s: the backend got the credential:\n%s", version, text)
				}
			}
		}
		return resp.status
	}
	for i, p := range places {
		refused := http.StatusUnauthorized
		if p.show("c").first != "" {
			refused = 4001
		}
		keys, tokens := fmt.Sprint("key", i), fmt.Sprint("token", i)
		for _, tt := range []struct {
			name, version, credential string
			want                      int
		}{
			{"the key", keys, key, 101},
			{"a key that nobody has", keys, apikey.Declared()[0].Make(), refused},
			{"a token where keys alone are taken", keys, token, refused},
			{"the UUID of zeros where keys are taken", keys, "00000000-0000-0000-0000-000000000000", refused},
			{"a token", tokens, token, 101},
			{"the key where tokens alone are taken", tokens, key, refused},
			{"the UUID of zeros where tokens are taken", tokens, "00000000-0000-0000-0000-000000000000", refused},
		} {
			if got := opens(tt.version, p.show(tt.credential)); got != tt.want {
				t.Errorf("%s, %s: %d, want %d", p.name, tt.name, got, tt.want)
			}
		}
	}
}

// TestTicketOfAKey: an API key buys a ticket, which opens a session that rests on the key.
func TestTicketOfAKey(t *testing.T) {
	w := newWorld(t)
	w.takingKeys("1", "header:apikey", "ticket")
	key := w.plane.issueKey(apikey.Declared()[0].Make(), time.Hour)
	w.start()
	status, _, text := w.askTickets(http.MethodPost, url.Values{"path": {"/x/1"}}, "", "apikey", key)
	if status != http.StatusOK {
		t.Fatalf("buy a ticket with a key = %d %s, want 200", status, text)
	}
	c, got := w.with("1", "ticket=ticket-1")
	if got != http.StatusSwitchingProtocols {
		t.Fatalf("spend it = %d, want 101", got)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	echoes(t, c, "hello")
	if _, got := w.with("1", "ticket=ticket-1"); got != http.StatusUnauthorized {
		t.Errorf("spend it again = %d, want 401", got)
	}
}

// TestKeyOfASecond: a key that is good for a second opens a session; after the second it is
// refused, and its session ends within a second more, also for a client that only listens.
func TestKeyOfASecond(t *testing.T) {
	w := newWorld(t)
	w.takingKeys("1", "header:apikey")
	w.start()
	var late time.Duration
	for range 3 { // another process may have the processor for a while
		key := w.plane.issueKey(apikey.Declared()[0].Make(), time.Second)
		ends := w.plane.tokens[key].expires
		c, resp := w.ask(w.plain+"/x/1", http.Header{"Apikey": {key}})
		if c == nil {
			if time.Now().Before(ends) {
				t.Fatalf("a key of a second: %d %s, want 101", resp.status, resp.body)
			}
			continue // the second was over before the gateway looked
		}
		closes(t, c, 4001, "EXPIRED")
		late = time.Since(ends)
		if late < 0 {
			t.Errorf("the session ended %s before the key did", -late)
		}
		w.answers(w.plain+"/x/1", http.Header{"Apikey": {key}}, http.StatusUnauthorized)
		if late <= limit {
			return
		}
	}
	t.Errorf("at last the session ended %s after its key, want %s at most", late, limit)
}
