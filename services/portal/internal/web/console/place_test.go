package console

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
)

// TestTokenAtEveryPlace has a token at each place that a version lists, and at the first one
// where the page says none of them.
func TestTokenAtEveryPlace(t *testing.T) {
	heads, first := make(chan *http.Request, 1), make(chan string, 1)
	serve := accept(t, func(ctx context.Context, conn *websocket.Conn) {
		if _, data, err := conn.Read(ctx); err == nil {
			first <- string(data)
		}
	})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/-/tickets" {
			if r.Method != http.MethodPost || r.URL.Query().Get("path") != "/echo/1" || r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get("X-Forwarded-For") != user {
				t.Errorf("a ticket is asked for with %s %s, %v", r.Method, r.URL, r.Header)
			}
			_, _ = io.WriteString(rw, `{"ticket":"bought"}`)
			return
		}
		heads <- r.Clone(context.WithoutCancel(r.Context()))
		serve(rw, r)
	})
	list := &catalogv1.OAuth2Scheme{}
	for _, text := range []string{"header:X-Token", "ticket", "header:Authorization", "query:t", "query:auth:base64", "cookie:sid", "subprotocol", "first-message,at=/t,if=/m=x"} {
		p, err := credentialplace.Parse(text)
		if err != nil {
			t.Fatalf("%q %v", text, err)
		}
		list.Places = append(list.Places, p)
	}
	w.version = &catalogv1.Version{
		AllowedOrigins: []string{"https://app.example"}, Security: []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: list}}},
	}
	for _, tt := range []struct{ place, header, value, query, message string }{
		{"", "X-Token", "secret", "a=b", ""},
		{"query:elsewhere", "X-Token", "secret", "a=b", ""},
		{"header:X-Token", "X-Token", "secret", "a=b", ""},
		{"header:Authorization", "Authorization", "Bearer secret", "a=b", ""},
		{"query:t", "", "", "a=b&t=secret", ""},
		{"query:auth:base64", "", "", "a=b&auth=c2VjcmV0", ""},
		{"ticket", "", "", "a=b&ticket=bought", ""},
		{"cookie:sid", "Cookie", "sid=secret", "a=b", ""},
		{"subprotocol", "Sec-Websocket-Protocol", "two, bearer, secret", "a=b", ""},
		{"first-message,at=/t,if=/m=x", "", "", "a=b", `{"m":"x","t":"secret"}`},
	} {
		page := w.page(&command{Type: "open", Query: "a=b", Protocols: []string{"two"}, Token: "secret", Place: tt.place})
		if e := next(t, page); e.Type != "opened" {
			t.Fatalf("%q: the first event = %+v, want opened", tt.place, e)
		}
		head := <-heads
		if got := head.Header.Get(tt.header); tt.header != "" && got != tt.value || head.URL.RawQuery != tt.query {
			t.Errorf("%q: the gateway got %s %q and the query %q, want %q and %q", tt.place, tt.header, got, head.URL.RawQuery, tt.value, tt.query)
		}
		for _, name := range []string{"X-Token", "Authorization", "Cookie"} {
			if got := head.Header.Get(name); name != tt.header && got != "" {
				t.Errorf("%q: the gateway got %s: %q, too", tt.place, name, got)
			}
		}
		wantOrigin := ""
		if tt.header == "Cookie" {
			wantOrigin = "https://app.example"
		}
		if got := head.Header.Get("Origin"); got != wantOrigin {
			t.Errorf("%q: the origin is %q, want %q", tt.place, got, wantOrigin)
		}
		want := tt.message
		if want == "" {
			want = "hello"
			send(t, page, &command{Type: "text", Text: "hello"})
		}
		if got := <-first; got != want {
			t.Errorf("%q: the first message is %q, want %q", tt.place, got, want)
		}
	}
}
