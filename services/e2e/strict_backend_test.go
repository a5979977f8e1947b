package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
)

// strictBackend is a server with the default checks of a library: it refuses pages
// whose origin is not its own host, as it understands that from Host. It tells which
// path it was asked for last.
func strictBackend(t *testing.T) (url string, asked func() string) {
	t.Helper()
	var path atomic.Value
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path.Store(r.RequestURI) // before the answer, which whoever asks waits for
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		_ = conn.Close(websocket.StatusNormalClosure, "")
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http"), func() string { return path.Load().(string) }
}

// page is the handshake of a web page: its status, and what the answer says.
func (s *Stack) page(t *testing.T, url, origin string) (status int, answer string) {
	t.Helper()
	conn, res, err := websocket.Dial(within(t), url, &websocket.DialOptions{ //nolint:bodyclose // Dial keeps its beginning
		HTTPClient: s.http(t), HTTPHeader: http.Header{"Origin": {origin}},
	})
	if res == nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	if conn != nil {
		_ = conn.CloseNow()
		return res.StatusCode, ""
	}
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

// TestABackendThatChecksOrigins: a page that such a backend refuses is told what to
// look at, and options of the version let it in. The default version takes the paths
// of libraries that choose their own.
func TestABackendThatChecksOrigins(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	sh := s.newShell(t)
	backend, asked := strictBackend(t)
	sh.run(t, "login", "--password-file", s.PasswordFile)
	sh.run(t, "api", "create", "Strict", "--endpoint", backend, "--security", "none", "--publish")
	const foreign = "https://page.example"
	own := "http" + strings.TrimPrefix(s.WS, "ws")
	becomes := func(what, path, origin string, want int, text string) {
		t.Helper()
		eventually(t, func() error {
			if status, answer := s.page(t, s.WS+path, origin); status != want || !strings.Contains(answer, text) {
				return fmt.Errorf("%s: a page of %s gets %d %s, want %d and %q", what, origin, status, answer, want, text)
			}
			return nil
		})
	}
	becomes("by default", "/strict", foreign, 403, "backend_options")
	_, answer := s.page(t, s.WS+"/strict", foreign)
	var problem struct{ Ref string }
	if err := json.Unmarshal([]byte(answer), &problem); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	eventually(t, func() error {
		record, _, _ := sh.try(t, "", "record", "get", problem.Ref)
		if !strings.Contains(record, "BACKEND_REFUSED") || !strings.Contains(record, "the version's backend_options set") {
			return fmt.Errorf("the record of %s is\n%s", problem.Ref, record)
		}
		return nil
	})
	sh.run(t, "api", "version", "update", "Strict/1.0.0", "--backend-origin", "endpoint")
	becomes("with the endpoint's origin", "/strict", foreign, 101, "")
	sh.run(t, "api", "version", "update", "Strict/1.0.0", "--backend-origin", "client", "--backend-host", "client")
	becomes("with the client's host", "/strict", foreign, 403, "BACKEND_REFUSED")
	becomes("with the client's host", "/strict", own, 101, "")
	sh.run(t, "api", "version", "update", "Strict/1.0.0", "--backend-host", "page.example")
	becomes("with a fixed host", "/strict", foreign, 101, "")

	becomes("without paths", "/strict/socket.io/?EIO=4", foreign, 404, "no such API or version")
	sh.run(t, "api", "update", "Strict", "--default-paths")
	becomes("with paths", "/strict/socket.io/?EIO=4", foreign, 101, "")
	if got := asked(); got != "/socket.io/?EIO=4" {
		t.Errorf("the backend was asked for %s, want the path as it came", got)
	}
	sh.run(t, "api", "version", "create", "Strict", "2.0.0", "--endpoint", backend, "--security", "none")
	sh.run(t, "api", "version", "delete", "Strict/2.0.0")
	becomes("a version that is deleted", "/strict/2.0.0", foreign, 404, "no such API or version")
	sh.says(t, []string{"page.example", "client"}, "api", "version", "get", "Strict/1.0.0")
	sh.says(t, []string{"all that name no version"}, "api", "get", "Strict")
}
