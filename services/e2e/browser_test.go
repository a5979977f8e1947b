package e2e

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// tab is a page of a browser that a test leads, over the Chrome DevTools Protocol.
type tab struct {
	conn *websocket.Conn

	mu      sync.Mutex
	last    int
	answers map[int]chan frameOfTab
	// asked are the URLs that the page asked for, and complaints what it wrote to its
	// console as an error or a warning, or the browser did.
	asked, complaints []string
}

// frameOfTab is what the browser sends: an answer or an event.
type frameOfTab struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// newTab opens an empty page in a browser that trusts the stack's certificate, reaches
// nothing but loopback and ends with the test.
func (s *Stack) newTab(t *testing.T) *tab {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "TIDEGATE_REQUIRE_BROWSER", "no chromium on the path")
	}
	profile := t.TempDir()
	ended := openPage(t, chromium, "about:blank", "--user-data-dir="+profile, "--ignore-certificate-errors-spki-list="+s.keyHash(t))
	var address string
	eventually(t, func() error {
		select {
		case log := <-ended:
			t.Fatalf("chromium ended:\n%s", log)
		default:
		}
		address, err = pageOf(t, profile)
		return err
	})
	conn, _, err := websocket.Dial(within(t), address, nil) //nolint:bodyclose // Dial has read the body
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(64 << 20)
	b := &tab{conn: conn, answers: map[int]chan frameOfTab{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.read(context.WithoutCancel(t.Context()))
	}()
	t.Cleanup(func() {
		_ = conn.CloseNow()
		<-done
	})
	for _, domain := range []string{"Runtime", "Log", "Network", "Page"} {
		b.call(t, domain+".enable", nil)
	}
	return b
}

// keyHash is the hash of the public key of the portal's certificate.
func (s *Stack) keyHash(t *testing.T) string {
	t.Helper()
	conn, err := (&tls.Dialer{Config: s.trust(t)}).DialContext(within(t), "tcp", strings.TrimPrefix(s.Portal, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	secure, ok := conn.(*tls.Conn)
	if !ok {
		t.Fatal("the portal speaks no TLS")
	}
	sum := sha256.Sum256(secure.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// pageOf is the address at which the browser with this profile lets its page be led.
func pageOf(t *testing.T, profile string) (string, error) {
	text, err := os.ReadFile(filepath.Join(profile, "DevToolsActivePort"))
	if err != nil {
		return "", err
	}
	port, _, _ := strings.Cut(string(text), "\n")
	req, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://127.0.0.1:"+port+"/json/list", nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var pages []struct{ Type, WebSocketDebuggerURL string }
	if err := json.NewDecoder(res.Body).Decode(&pages); err != nil {
		return "", err
	}
	for _, p := range pages {
		if p.Type == "page" {
			return p.WebSocketDebuggerURL, nil
		}
	}
	return "", errors.New("chromium has no page")
}

// read takes what the browser sends until the connection ends.
func (b *tab) read(ctx context.Context) {
	for {
		var f frameOfTab
		if err := wsjson.Read(ctx, b.conn, &f); err != nil {
			return
		}
		b.mu.Lock()
		if answer := b.answers[f.ID]; answer != nil {
			delete(b.answers, f.ID)
			answer <- f
		}
		b.note(f)
		b.mu.Unlock()
	}
}

// note remembers an event. The caller holds the lock.
func (b *tab) note(f frameOfTab) {
	var p struct {
		Type    string
		Request struct{ URL string }
		Entry   struct{ Level, Text, URL string }
	}
	_ = json.Unmarshal(f.Params, &p)
	switch {
	case f.Method == "Network.requestWillBeSent":
		b.asked = append(b.asked, p.Request.URL)
	case f.Method == "Runtime.exceptionThrown",
		f.Method == "Runtime.consoleAPICalled" && (p.Type == "error" || p.Type == "warning"),
		f.Method == "Log.entryAdded" && (p.Entry.Level == "error" || p.Entry.Level == "warning"):
		b.complaints = append(b.complaints, string(f.Params))
	}
}

// call calls a method of the browser and returns its result.
func (b *tab) call(t *testing.T, method string, params any) json.RawMessage {
	t.Helper()
	answer := make(chan frameOfTab, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	b.answers[id] = answer
	b.mu.Unlock()
	if err := wsjson.Write(within(t), b.conn, map[string]any{"id": id, "method": method, "params": params}); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	select {
	case f := <-answer:
		if f.Error != nil {
			t.Fatalf("%s: %s", method, f.Error.Message)
		}
		return f.Result
	case <-within(t).Done():
		t.Fatalf("%s: chromium does not answer", method)
		return nil
	}
}

// open leads the page to an address.
func (b *tab) open(t *testing.T, url string) {
	t.Helper()
	b.call(t, "Page.navigate", map[string]any{"url": url})
	b.until(t, fmt.Sprintf("location.href === %q && document.readyState === 'complete'", url))
}

// run runs an expression in the page, waits where it is a promise, and returns what it
// is as a string.
func (b *tab) run(t *testing.T, expression string) string {
	t.Helper()
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	result := b.call(t, "Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true})
	if err := json.Unmarshal(result, &got); err != nil {
		t.Fatal(err)
	}
	if e := got.ExceptionDetails; e != nil {
		t.Fatalf("the page: %s %s", e.Text, e.Exception.Description)
	}
	return fmt.Sprint(got.Result.Value)
}

// until waits until an expression is true in the page.
func (b *tab) until(t *testing.T, expression string) {
	t.Helper()
	eventually(t, func() error {
		if got := b.run(t, "String(Boolean("+expression+"))"); got != "true" {
			return fmt.Errorf("the page is not yet as %s", expression)
		}
		return nil
	})
}

// TestDocsPage reads the portal's page of its interface in a browser: it shows the
// operations, one of them is tried out, and the page asks nobody but the portal.
func TestDocsPage(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	page := s.newTab(t)
	page.open(t, s.Portal+"/docs")
	const operation = `document.querySelector('#operations-OAuth2-OAuth2_Keys')`
	page.until(t, operation)
	text := page.run(t, "document.body.innerText")
	for _, want := range []string{"REST interface of Tidegate", "/v1/apis/{api}/versions/{version}", "Publishes a version"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
	page.run(t, operation+".querySelector('.opblock-summary-control').click()")
	page.until(t, operation+".querySelector('.try-out__btn')")
	page.run(t, operation+".querySelector('.try-out__btn').click()")
	page.until(t, operation+".querySelector('.execute')")
	page.run(t, operation+".querySelector('.execute').click()")
	page.until(t, operation+".querySelector('.live-responses-table .response .response-col_status')?.innerText.startsWith('200')")
	page.mu.Lock()
	defer page.mu.Unlock()
	for _, url := range page.asked {
		if !strings.HasPrefix(url, s.Portal+"/") && !strings.HasPrefix(url, "data:") && !strings.HasPrefix(url, "blob:"+s.Portal) {
			t.Errorf("the page asks for %s, want nothing but what the portal serves", url)
		}
	}
	if len(page.complaints) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(page.complaints, "\n"))
	}
}
