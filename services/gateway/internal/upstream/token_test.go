package upstream

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/backendtoken"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
)

// issuer is an authorization server: it gives tokens t1, t2 and so on to one OAuth client, and
// notes how it is asked.
type issuer struct {
	mu     sync.Mutex
	asked  []string
	answer func(w http.ResponseWriter) bool // instead of a token; reports whether it has answered
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	id, secret, _ := r.BasicAuth()
	i.asked = append(i.asked, fmt.Sprintf("%s %s:%s %s", r.Method, id, secret, body))
	if i.answer != nil && i.answer(w) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprint("t", len(i.asked)), "token_type": "Bearer", "expires_in": 3600})
}

func (i *issuer) heard() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string(nil), i.asked...)
}

// says has every request answered so from now on; nil gives tokens again.
func (i *issuer) says(answer func(w http.ResponseWriter) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

// picky is a backend that takes these values of Authorization alone, and notes all it is sent.
type picky struct {
	mu    sync.Mutex
	takes string
	sent  []string
}

func (p *picky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, strings.Join(r.Header["Authorization"], "|"))
	if p.takes != "" && r.Header.Get("Authorization") != p.takes {
		w.Header().Set("WWW-Authenticate", `Bearer realm="inside"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	accepting(func(*http.Request) {}).ServeHTTP(w, r)
}

func (p *picky) take(authorization string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takes = authorization
}

func (p *picky) heard() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.sent, ", ")
}

// dialled authorizes and dials, as handshakes do.
func dialled(t *testing.T, d *Dialer, r *Request) error {
	t.Helper()
	if err := d.Authorize(t.Context(), r); err != nil {
		return err
	}
	b, err := d.Dial(t.Context(), r)
	if err == nil {
		_ = b.Conn.Close()
	}
	return err
}

// TestCredentialTakesThePlaceOfTheClients sends a credential to a backend in the place of
// whatever the client sends in that header, in any form in which it may be read.
func TestCredentialTakesThePlaceOfTheClients(t *testing.T) {
	p := &picky{}
	srv := httptest.NewServer(p)
	defer srv.Close()
	d := dialer(t, Default())
	r := &Request{
		Endpoint: to(t, "ws"+strings.TrimPrefix(srv.URL, "http"), &routes.Connection{Authorization: "Basic c2VjcmV0"}), Host: "h",
		Header: http.Header{"Authorization": {"forged"}, "X-Other": {"1"}},
	}
	if err := dialled(t, d, r); err != nil {
		t.Fatal(err)
	}
	if why := d.CheckHealth(t.Context(), r, "/healthz"); why == "" {
		t.Error("a GET of a backend that upgrades is good")
	}
	if want := "Basic c2VjcmV0, Basic c2VjcmV0"; p.heard() != want {
		t.Errorf("the backend was sent %q, want %q", p.heard(), want)
	}
	sent := string((&Request{Endpoint: r.Endpoint, Authorization: "Bearer ours", Header: http.Header{"Authorization": {"forged"}, "authorization": {"forged"}}}).appendTo(nil, "k"))
	if strings.Contains(sent, "forged") || strings.Count(sent, "Bearer ours") != 1 {
		t.Errorf("the backend gets\n%s", sent)
	}
	p.take("another")
	err := dialled(t, d, r)
	if e, ok := err.(*Error); !ok || e.Kind != NotAuthorized || !e.Answered() || len(e.Header) != 0 { //nolint:errorlint // Dial returns it as it is
		t.Errorf("Dial of a backend that does not take it = %v, want NotAuthorized, without what it asks for", err)
	}
}

// TestTokenOfAnEndpoint gets tokens from a token endpoint over TLS, through the proxy of the
// connection, and has each backend get the one that is good.
func TestTokenOfAnEndpoint(t *testing.T) {
	ca := certtest.NewCA(t)
	roots, authorities := rootsOf(t, ca.File)
	i, p := &issuer{}, &picky{}
	tokens := "https://" + secure(t, i, ca, nil, 0)
	backend := "wss://" + secure(t, p, ca, nil, 0)
	proxy := newProxy(t, nil, nil)
	for _, inBody := range []bool{false, true} {
		c := &routes.Connection{
			Roots: roots, Authorities: authorities, Proxy: &routes.Proxy{Name: "127.0.0.1", Addr: proxy.addr},
			Token: backendtoken.New(backendtoken.Client{URL: tokens + "/token?x=1", ID: "tide gate", Secret: "s/cret", Scopes: "a b", Audience: "us", InBody: inBody}),
		}
		d := dialer(t, Default())
		for range 2 {
			if err := dialled(t, d, &Request{Endpoint: to(t, backend, c), Host: "h"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := []string{
		"POST tide+gate:s%2Fcret audience=us&grant_type=client_credentials&scope=a+b",
		"POST : audience=us&client_id=tide+gate&client_secret=s%2Fcret&grant_type=client_credentials&scope=a+b",
	}
	if got := i.heard(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the token endpoint was asked\n%q, want\n%q", got, want)
	}
	if want := "Bearer t1, Bearer t1, Bearer t2, Bearer t2"; p.heard() != want {
		t.Errorf("the backend was sent %q, want %q", p.heard(), want)
	}
	if want := "CONNECT " + strings.TrimPrefix(tokens, "https://"); !strings.Contains(proxy.heard(), want) {
		t.Errorf("the proxy was asked for %q, want %q", proxy.heard(), want)
	}
}

// TestTokenThatIsRefused has a backend refuse the token: another one is fetched, once, and
// shown to it within the same handshake.
func TestTokenThatIsRefused(t *testing.T) {
	i, p := &issuer{}, &picky{takes: "Bearer t2"}
	tokens, backend := httptest.NewServer(i), httptest.NewServer(p)
	defer tokens.Close()
	defer backend.Close()
	c := &routes.Connection{Token: backendtoken.New(backendtoken.Client{URL: tokens.URL, ID: "c", Secret: "s"})}
	d := dialer(t, Default())
	dial := func() error {
		return dialled(t, d, &Request{Endpoint: to(t, "ws"+strings.TrimPrefix(backend.URL, "http"), c), Host: "h"})
	}
	if err := dial(); err != nil {
		t.Errorf("Dial with a token that is refused once = %v", err)
	}
	if err := dial(); err != nil {
		t.Errorf("Dial with the next token = %v", err)
	}
	p.take("Bearer none")
	for range 5 {
		if e, ok := dial().(*Error); !ok || e.Kind != NotAuthorized { //nolint:errorlint // Dial returns it as it is
			t.Errorf("Dial of a backend that takes none = %v, want NotAuthorized", e)
		}
	}
	if got := p.heard(); got != "Bearer t1, Bearer t2, Bearer t2"+strings.Repeat(", Bearer t2", 5) || len(i.heard()) != 2 {
		t.Errorf("the backend was sent %q, after %d fetches, want 2", got, len(i.heard()))
	}
	c.Token = backendtoken.New(c.Token.Client())
	p.take("Bearer t4")
	if got := d.Check(t.Context(), &Request{Endpoint: to(t, "ws"+strings.TrimPrefix(backend.URL, "http"), c), Host: "h"}); got.Step != Done {
		t.Errorf("Check with a token that is refused once = %+v", got)
	}
	// No other token is to be had.
	c.Token = backendtoken.New(c.Token.Client())
	p.take("Bearer none")
	first := true
	i.says(func(w http.ResponseWriter) bool {
		if first {
			first = false
			return false
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	if e, ok := dial().(*Error); !ok || e.Kind != NoToken { //nolint:errorlint // Dial returns it as it is
		t.Errorf("Dial without another token = %v, want NoToken", e)
	}
}

// TestSlowTokenIsNoSlowBackend: a backend that refuses a token in its time is not too slow because
// another token does not come in that.
func TestSlowTokenIsNoSlowBackend(t *testing.T) {
	i, p := &issuer{}, &picky{takes: "Bearer none"}
	tokens, backend := httptest.NewServer(i), httptest.NewServer(p)
	defer tokens.Close()
	defer backend.Close()
	d, c := dialer(t, Default()), &routes.Connection{Token: backendtoken.New(backendtoken.Client{URL: tokens.URL, ID: "c", Secret: "s"})}
	r := &Request{Endpoint: to(t, "ws"+strings.TrimPrefix(backend.URL, "http"), c), Host: "h"}
	if err := d.Authorize(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	defer close(release)
	i.says(func(http.ResponseWriter) bool {
		<-release
		return true
	})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, ErrTooSlow)
	defer cancel()
	_, err := d.Dial(ctx, r)
	if e, ok := err.(*Error); !ok || e.Kind != NoToken { //nolint:errorlint // Dial returns it as it is
		t.Errorf("Dial while another token does not come = %v, want NoToken", err)
	}
}

// TestHealthWithATokenThatIsRefused: a token that a backend does not take any more says nothing
// of its health: checks fetch another one, as handshakes do; and where none is to be had, a check
// by a handshake has found a backend that answers.
func TestHealthWithATokenThatIsRefused(t *testing.T) {
	i := &issuer{}
	tokens := httptest.NewServer(i)
	defer tokens.Close()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t2" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer backend.Close()
	d := dialer(t, Default())
	check := func(path string) string {
		c := &routes.Connection{Token: backendtoken.New(backendtoken.Client{URL: tokens.URL, ID: "c", Secret: "s"})}
		r := &Request{Endpoint: to(t, "ws"+strings.TrimPrefix(backend.URL, "http"), c), Host: "h"}
		if err := d.Authorize(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		return d.CheckHealth(t.Context(), r, path)
	}
	if why := check("/healthz"); why != "" || len(i.heard()) != 2 {
		t.Errorf("a GET with a token that is refused once finds %q, after %d fetches, want 2", why, len(i.heard()))
	}
	if why, want := check("/healthz"), "the backend answered 401, not 2xx"; why != want || len(i.heard()) != 4 {
		t.Errorf("a GET with tokens that are refused finds %q, after %d fetches, want %q after 4", why, len(i.heard()), want)
	}
	i.says(func(w http.ResponseWriter) bool {
		if len(i.asked) > 5 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		return len(i.asked) > 5
	})
	if why := check(""); why != "" || len(i.heard()) != 6 {
		t.Errorf("a handshake without another token finds %q, after %d fetches, want 6", why, len(i.heard()))
	}
}

// TestNoToken has token endpoints fail in every way, in words that have nothing of what they
// say, nor the secret or the URL.
func TestNoToken(t *testing.T) {
	says := func(status int, kind, body string) func(http.ResponseWriter) bool {
		return func(w http.ResponseWriter) bool {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Location", "/elsewhere?s3cret")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	overTLS := "https://" + secure(t, &issuer{}, certtest.NewCA(t), nil, 0)
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter) bool
		url    string
		want   string
	}{
		{"a wrong secret", says(401, "application/json", `{"error":"invalid_client","error_description":"s3cret"}`), "", "the token endpoint answered 401 (invalid_client)"},
		{"an error of its own", says(400, "application/json", `{"error":"s3cret"}`), "", "the token endpoint answered 400"},
		{"a failure", says(503, "text/plain", "s3cret"), "", "the token endpoint answered 503"},
		{"a redirect", says(307, "text/plain", "s3cret"), "", "the token endpoint answered 307"},
		{"nonsense", says(200, "application/json", "s3cret"), "", "the token endpoint's answer has no token"},
		{"no token", says(200, "application/json", `{"s3cret":1}`), "", "the token endpoint's answer has no token"},
		{"a token with a line break", says(200, "application/json", `{"access_token":"s3cret\r\nX: y"}`), "", "the token endpoint's answer has no token that can stand in a header"},
		{"nobody listens", nil, "http://127.0.0.1:1/s3cret", "the token endpoint cannot be reached, or its certificate is not trusted"},
		{"an address that is not dialled", nil, "http://169.254.169.254/s3cret", "the token endpoint's address is not allowed here"},
		{"a certificate of its own", nil, overTLS, "the token endpoint cannot be reached, or its certificate is not trusted"},
	} {
		i := &issuer{answer: tt.answer}
		srv := httptest.NewServer(i)
		url := srv.URL + "/s3cret"
		if tt.url != "" {
			url = tt.url
		}
		c := &routes.Connection{Token: backendtoken.New(backendtoken.Client{URL: url, ID: "c", Secret: "s3cret"})}
		r := &Request{Endpoint: to(t, "ws://127.0.0.1:1", c), Host: "h"}
		d := dialer(t, Default())
		err := d.Authorize(t.Context(), r)
		if e, ok := err.(*Error); !ok || e.Kind != NoToken || e.Error() != tt.want || e.Answered() || e.Detail() != "there is no access token for the backend" { //nolint:errorlint // Authorize returns it as it is
			t.Errorf("%s: Authorize = %v, want %q", tt.name, err, tt.want)
		}
		if got := d.Check(t.Context(), r); got.Step != Credential || got.Error != tt.want {
			t.Errorf("%s: Check = %+v, want %q", tt.name, got, tt.want)
		}
		srv.Close()
	}
}
