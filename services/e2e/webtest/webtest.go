// Package webtest starts a Tidegate for tests of its pages, and is a browser without
// scripts: it follows links and fills in forms as the HTML says.
package webtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/html"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/standalone"
)

// Tidegate is a running server with all services, on ports of its own.
type Tidegate struct {
	standalone.Addresses
	// Data is its folder.
	Data string
	// Password is the one of the user admin.
	Password string
	// Conn is the public gRPC, for what a test needs to be there.
	Conn *grpc.ClientConn

	tls  *tls.Config
	logs *output
	stop context.CancelFunc
	code chan int // what the server ended with
}

// patience is how long a server may take to start or stop. Only failures use it up.
const patience = time.Minute

// Start starts a server on SQLite that ends with the test; args are further flags.
func Start(t testing.TB, args ...string) *Tidegate {
	t.Helper()
	s, err := Launch(filepath.Join(t.TempDir(), "data"), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Launch starts a server on SQLite for more than one test, with its data in a folder; args
// are further flags. Stop ends it.
func Launch(data string, args ...string) (*Tidegate, error) {
	ctx, stop := context.WithCancel(context.Background())
	s := &Tidegate{Data: data, logs: &output{}, stop: stop, code: make(chan int, 1)}
	ready := make(chan standalone.Addresses, 1)
	p := run.Program{Name: "tidegate", Stdout: io.Discard, Stderr: s.logs, Args: append([]string{
		"-data", s.Data, "-https", "0", "-grpc", "0", "-ws", "0", "-wss", "0", "-ops", "", "-no-sample", "-drain", "100ms", "-gateway.report-every", "50ms",
	}, args...)}
	go func() {
		s.code <- standalone.Serve(ctx, p, standalone.Options{Program: "tidegate", Ready: func(a standalone.Addresses) { ready <- a }})
	}()
	select {
	case s.Addresses = <-ready:
	case got := <-s.code:
		stop()
		return nil, fmt.Errorf("the server does not start, it ended with %d:\n%s", got, s.logs)
	case <-time.After(patience):
		stop()
		return nil, fmt.Errorf("the server is not ready:\n%s", s.logs)
	}
	if err := s.trust(); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// Stop ends the server, and is an error where it does not end well.
func (s *Tidegate) Stop() error {
	if s.Conn != nil {
		_ = s.Conn.Close()
	}
	s.stop()
	select {
	case got := <-s.code:
		if got != 0 {
			return fmt.Errorf("the server ended with %d:\n%s", got, s.logs)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("the server does not end:\n%s", s.logs)
	}
}

// OnPostgres starts a server on Postgres, or skips the test where there is none.
func OnPostgres(t testing.TB, args ...string) *Tidegate {
	t.Helper()
	return Start(t, append([]string{"-catalog.db", testdb.PostgresURL(t), "-subscription.db", testdb.PostgresURL(t)}, args...)...)
}

// Each runs a test on a server on each of the databases.
func Each(t *testing.T, test func(t *testing.T, s *Tidegate)) {
	t.Run("sqlite", func(t *testing.T) { test(t, Start(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, OnPostgres(t)) })
}

// trust reads the server's authority and the first password, and connects.
func (s *Tidegate) trust() error {
	ca, err1 := os.ReadFile(filepath.Join(s.Data, "ca.pem"))
	password, err2 := os.ReadFile(filepath.Join(s.Data, "admin-password"))
	roots := x509.NewCertPool()
	if err := errors.Join(err1, err2); err != nil || !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("the data folder is not whole: %w", err)
	}
	s.Password, s.tls = strings.TrimSpace(string(password)), certs.Modern()
	s.tls.RootCAs = roots
	var err error
	s.Conn, err = grpc.NewClient(s.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(s.tls.Clone())))
	return err
}

// As returns a context whose calls over Conn are a user's.
func (s *Tidegate) As(t testing.TB, username, password string) context.Context {
	t.Helper()
	ctx, err := s.signIn(t.Context(), username, password)
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

// signIn signs a user in, and returns a context whose calls over Conn are the user's.
func (s *Tidegate) signIn(ctx context.Context, username, password string) (context.Context, error) {
	resp, err := identityv1.NewSignInServiceClient(s.Conn).SignIn(ctx, &identityv1.SignInRequest{Username: username, Password: password})
	if err != nil {
		return nil, fmt.Errorf("sign in as %s: %w", username, err)
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+resp.GetAccessToken()), nil
}

// Dial opens a WebSocket at an address of the server, with headers as names and values in
// turn. Where the status of the answer is another than 101, the connection is nil.
func (s *Tidegate) Dial(t testing.TB, to string, headers ...string) (conn *websocket.Conn, status int) {
	t.Helper()
	h := http.Header{}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Add(headers[i], headers[i+1])
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, to, &websocket.DialOptions{HTTPClient: s.HTTP(t), HTTPHeader: h}) //nolint:bodyclose // Dial has read the body
	if resp == nil {
		t.Fatalf("dial %s: %v", to, err)
	}
	if err != nil {
		return nil, resp.StatusCode
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn, resp.StatusCode
}

// Renew gives the live session with a ref a token.
func (s *Tidegate) Renew(t testing.TB, ref, token string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http"+strings.TrimPrefix(s.WSS, "ws")+"/-/sessions/"+ref+"/credential", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.HTTP(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("renewal of %s = %s", ref, resp.Status)
	}
}

// HTTP returns a client that trusts the server, for a test.
func (s *Tidegate) HTTP(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: s.tls.Clone()}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// UserPassword is the password of those whom User adds.
const UserPassword = "correct horse battery"

// User adds a user with roles, and returns a browser in which the user has signed in.
func (s *Tidegate) User(t testing.TB, username string, roles ...identityv1.User_Role) *Browser {
	t.Helper()
	_, err := identityv1.NewUserServiceClient(s.Conn).CreateUser(s.As(t, "admin", s.Password), &identityv1.CreateUserRequest{
		User: &identityv1.User{Username: username, Roles: roles}, Password: UserPassword,
	})
	if err != nil {
		t.Fatalf("add %s: %v", username, err)
	}
	b := s.Browser(t)
	b.SignIn(username, UserPassword)
	return b
}

// Browser is a browser without scripts, in which nobody has signed in. It fails the test
// when something cannot be done.
type Browser struct {
	t      testing.TB
	origin *url.URL
	client *http.Client
	// Page is what it shows.
	Page *Page
}

// Browser returns a new browser. It sends what browsers send with requests of the site's
// own pages.
func (s *Tidegate) Browser(t testing.TB) *Browser {
	t.Helper()
	return NewBrowser(t, s.Portal, s.tls)
}

// NewBrowser is like Browser, of a portal that runs by itself.
func NewBrowser(t testing.TB, portal string, trust *tls.Config) *Browser {
	t.Helper()
	origin, err := url.Parse(portal)
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &Browser{t: t, origin: origin, client: &http.Client{Jar: jar, Transport: transport}}
}

// Stay lets the browser show redirects instead of following them.
func (b *Browser) Stay() {
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
}

// Tab returns another tab: it has the same cookies and shows nothing yet.
func (b *Browser) Tab() *Browser {
	return &Browser{t: b.t, origin: b.origin, client: b.client}
}

// Cookie returns a cookie's value, or "".
func (b *Browser) Cookie(name string) string {
	for _, c := range b.client.Jar.Cookies(b.origin) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// SetCookie sets a cookie, or deletes it with an empty value.
func (b *Browser) SetCookie(name, value string) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", Secure: true}
	if value == "" {
		c.MaxAge = -1
	}
	b.client.Jar.SetCookies(b.origin, []*http.Cookie{c})
}

// Open shows the page at a path.
func (b *Browser) Open(path string) *Page {
	b.t.Helper()
	return b.Do(http.MethodGet, path, nil)
}

// Do sends a request as a page of the site does, with further headers, names and values in
// turn, and shows the answer.
func (b *Browser) Do(method, path string, form url.Values, headers ...string) *Page {
	b.t.Helper()
	to, err := b.origin.Parse(path)
	if err != nil {
		b.t.Fatal(err)
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, to.String(), body)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if b.Page != nil {
		req.Header.Set("Referer", b.origin.ResolveReference(b.Page.URL).String())
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", b.origin.Scheme+"://"+b.origin.Host)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	if b.Page, err = ParsePage(resp, resp.Request.URL); err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return b.Page
}

// Click follows the link with a text.
func (b *Browser) Click(text string) *Page {
	b.t.Helper()
	a := b.Page.find(func(n *html.Node) bool { return n.Data == "a" && words(n) == text })
	if a == nil {
		b.t.Fatalf("%s has no link %q:\n%s", b.Page.URL, text, b.Page.Text())
	}
	return b.Open(attr(a, "href"))
}

// Submit fills in the form that has the button with a text, and clicks on the button.
// Entries are names and values in turn; a name may come again, for several values. What is
// not named is sent as the form has it.
func (b *Browser) Submit(button string, entries ...string) *Page {
	b.t.Helper()
	form, pressed := b.Page.form(button)
	if form == nil {
		b.t.Fatalf("%s has no form with a button %q:\n%s", b.Page.URL, button, b.Page.Text())
	}
	values := formValues(form)
	named := map[string]bool{}
	for i := 0; i+1 < len(entries); i += 2 {
		name := entries[i]
		if !hasControl(form, name) {
			b.t.Fatalf("the form with the button %q at %s has no entry %q", button, b.Page.URL, name)
		}
		if !named[name] {
			values.Del(name)
		}
		named[name] = true
		values.Add(name, entries[i+1])
	}
	if name := attr(pressed, "name"); name != "" {
		values.Set(name, attr(pressed, "value"))
	}
	to := attr(form, "action")
	if to == "" {
		to = b.Page.URL.RequestURI()
	}
	if strings.EqualFold(attr(form, "method"), http.MethodPost) {
		return b.Do(http.MethodPost, to, values)
	}
	return b.Open(to + "?" + values.Encode())
}

// SignIn signs a user in.
func (b *Browser) SignIn(username, password string) *Page {
	b.t.Helper()
	b.Open("/signin")
	p := b.Submit("Sign in", "username", username, "password", password)
	if p.URL.Path == "/signin" {
		b.t.Fatalf("%s does not get in:\n%s", username, p.Text())
	}
	return p
}

// output collects the server's log.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends to the log.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String returns the log.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
