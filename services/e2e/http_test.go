package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestRequestsOnOneConnection sends plain requests for two versions with the tokens of two
// applications, each subscribed to one of them, over one connection, with TLS and without: none
// profits from what another one showed. What the gateway ends is a new connection's.
func TestRequestsOnOneConnection(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	p := s.admin(t)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s %s", r.URL, body, r.Header.Get("Authorization"))
	}))
	t.Cleanup(backend.Close)
	a := &applications{user: p}
	_, first := a.publishHTTP(t, "First", "/first", "ws"+strings.TrimPrefix(backend.URL, "http")+"/1")
	a.client = p.application(t, "Others")
	_, second := a.publishHTTP(t, "Second", "/second", "ws"+strings.TrimPrefix(backend.URL, "http")+"/2")
	for _, address := range []string{s.WS, s.WSS} {
		var conn net.Conn
		var answers *bufio.Reader
		send := func(target, token, body string) (status int, text string) {
			if conn == nil {
				conn = plainOrTLS(t, s, address)
				answers = bufio.NewReader(conn)
			}
			credential := ""
			if token != "" {
				credential = "Authorization: Bearer " + token + "\r\n"
			}
			_, host, _ := strings.Cut(address, "://")
			if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n%s", target, host, credential, len(body), body); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			read, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.Close {
				conn.Close()
				conn = nil
			}
			return resp.StatusCode, string(read)
		}
		for _, tt := range []struct {
			target, token, body string
			status              int
			want                string
		}{
			{"/first/1.0.0/a?q=1", first, "one", 200, "/1/a?q=1 one "},
			{"/second/1.0.0/b", second, "two", 200, "/2/b two "},
			{"/first/1.0.0", first, "", 200, "/1  "},
			{"/second/1.0.0", first, "not mine", 403, "NOT_SUBSCRIBED"},
			{"/second/1.0.0", second, "mine", 200, "/2 mine "},
			{"/first/1.0.0", "", "", 401, "CREDENTIAL_MISSING"},
			{"/first/1.0.0", first, "", 200, "/1  "},
			{"/first/9.9.9", first, "", 404, "NOT_FOUND"},
		} {
			status, text := send(tt.target, tt.token, tt.body)
			if status != tt.status || status == 200 && text != tt.want || !strings.Contains(text, tt.want) || tt.token != "" && strings.Contains(text, tt.token) {
				t.Errorf("%s at %s = %d %q, want %d %q", tt.target, address, status, text, tt.status, tt.want)
			}
		}
		if conn != nil {
			conn.Close()
		}
	}
}

// plainOrTLS connects to the host of a ws or wss URL.
func plainOrTLS(t *testing.T, s *Stack, address string) net.Conn {
	t.Helper()
	scheme, host, _ := strings.Cut(address, "://")
	if scheme == "ws" {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	conn, err := tls.Dial("tcp", host, s.trust(t))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
