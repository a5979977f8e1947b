package e2e

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// heardBackend is a backend that refuses every handshake, and tells what it was asked.
func heardBackend(t *testing.T) (url string, requests <-chan *http.Request) {
	t.Helper()
	got := make(chan *http.Request, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Clone(r.Context())
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http"), got
}

// knock does a handshake that the backend refuses.
func (s *Stack) knock(t *testing.T, url string, header http.Header) {
	t.Helper()
	conn, res, err := websocket.Dial(within(t), url, &websocket.DialOptions{HTTPClient: s.http(t), HTTPHeader: header}) //nolint:bodyclose // Dial has read the body
	if err == nil {
		_ = conn.CloseNow()
		t.Fatalf("%s: the backend took a handshake", url)
	}
	if res == nil || res.StatusCode != http.StatusForbidden {
		t.Fatalf("%s: %v, %v, want the backend's 403", url, res, err)
	}
}

// TestWhatBackendsGet sets rules of headers by the command line, and has them hold for the
// next handshake. Their secrets are in no file of the server as they are.
func TestWhatBackendsGet(t *testing.T) {
	t.Parallel()
	s := start(t, newData(t), append(quick(), "-no-sample")...)
	backend, requests := heardBackend(t)
	sh := s.newShell(t)
	const secret, second = "not-for-any-file-1", "not-for-any-file-2"
	file := filepath.Join(t.TempDir(), "secret")
	keep := func(value string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keep(secret)
	sh.run(t, "login", "--password-file", s.PasswordFile)
	sh.run(t, "api", "create", "Spoken", "--endpoint", backend, "--security", "none", "--publish",
		"--backend-header", "secret:Authorization=@"+file, "--backend-header", "set:X-Tenant=acme",
		"--backend-header", "remove:Cookie", "--backend-header", "copy:X-Page=Origin")
	gets := func(want map[string]string) {
		t.Helper()
		eventually(t, func() error {
			s.knock(t, s.WS+"/spoken/1.0.0", http.Header{
				"X-Tenant": {"forged"}, "X_tenant": {"forged"}, "Cookie": {"a=1"}, "Origin": {"https://page.example"}, "X-Page": {"forged"},
				"X-Tidegate-Application": {"forged"}, "X_tidegate_application": {"forged"},
			})
			r := <-requests
			got := map[string]string{}
			for name, values := range r.Header {
				for _, ours := range []string{"Authorization", "X-Tenant", "X_tenant", "Cookie", "X-Page", "X-Tidegate", "X_tidegate"} {
					if strings.HasPrefix(name, ours) {
						got[name] = strings.Join(values, "|")
					}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				return errors.New(diff)
			}
			return nil
		})
	}
	gets(map[string]string{"Authorization": secret, "X-Tenant": "acme", "X-Page": "https://page.example"})
	shown := sh.run(t, "api", "version", "get", "Spoken/1.0.0") + sh.run(t, "api", "version", "get", "Spoken/1.0.0", "-o", "json")
	if strings.Contains(shown, "not-for-any-file") || !strings.Contains(shown, "secret:Authorization (set 2") || !strings.Contains(shown, "setTime") {
		t.Errorf("the version is shown as\n%s", shown)
	}
	versionFiles(t, sh, "Spoken", "--tag tides --tag sea --description Spoken --plan Gold --plan Silver --origin https://example.com --max-session-age 1h --idle-timeout 10m "+
		"--traffic-plan Silver --max-message 64KiB --error-frames wso2 --ending drain=4500 --ending throttled=:slow --pings clients --deflate")
	keep(second)
	sh.run(t, "api", "version", "update", "Spoken/1.0.0", "--backend-header", "secret:Authorization", "--backend-header", "secret:X-Tenant=@"+file)
	gets(map[string]string{"Authorization": secret, "X-Tenant": second, "Cookie": "a=1", "X-Page": "forged"})
	elsewhere, _ := heardBackend(t)
	_, stderr, code := sh.try(t, "", "api", "version", "update", "Spoken/1.0.0", "--endpoint", elsewhere)
	if want := "--backend-header: must be given again"; code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("another backend for the same secrets = %d %s, want %q", code, stderr, want)
	}
	// Whatever the server writes is sealed or has no secret.
	s.stop()
	if code := s.wait(t); code != 0 {
		t.Fatalf("the server ended with %d", code)
	}
	files := 0
	err := filepath.WalkDir(s.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if files++; strings.Contains(string(content), "not-for-any-file") {
			t.Errorf("%s has a secret as it is", path)
		}
		return err
	})
	if _, logged := s.output(); err != nil || files < 5 || strings.Contains(logged, "not-for-any-file") {
		t.Errorf("%d files: %v; the log:\n%s", files, err, logged)
	}
}

// TestEndingsForClients takes a version back whose clients get a code and a text of its own
// for that: a client gets them, and the record says what it was.
func TestEndingsForClients(t *testing.T) {
	t.Parallel()
	s := start(t, newData(t), quick()...)
	sh := s.newShell(t)
	sh.run(t, "login", "--password-file", s.PasswordFile)
	sh.run(t, "api", "create", "Parting", "--endpoint", s.sample, "--security", "none", "--publish",
		"--ending", `blocked=4321:{"gone":"{word}","ref":"{ref}"}`)
	var conn *websocket.Conn
	eventually(t, func() (err error) {
		conn, _, err = websocket.Dial(within(t), s.WS+"/parting/1.0.0", &websocket.DialOptions{HTTPClient: s.http(t)}) //nolint:bodyclose // Dial has read the body
		return err
	})
	defer func() { _ = conn.CloseNow() }()
	if err := conn.Write(within(t), websocket.MessageText, []byte("ahoy")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := conn.Read(within(t)); err != nil || string(got) != "ahoy" {
		t.Fatalf("the echo is %q, %v", got, err)
	}
	sh.run(t, "api", "demote", "Parting/1.0.0")
	kind, got, err := conn.Read(within(t))
	var last struct{ Gone, Ref string }
	if err != nil || kind != websocket.MessageText || json.Unmarshal(got, &last) != nil || last.Gone != "BLOCKED" {
		t.Fatalf("the last message is %q, %v, want the version's text", got, err)
	}
	_, _, err = conn.Read(within(t))
	if closed, ok := errors.AsType[websocket.CloseError](err); !ok || closed.Code != 4321 || !strings.HasPrefix(closed.Reason, "BLOCKED ref="+last.Ref) {
		t.Errorf("the close is %v, want 4321 and the reason", err)
	}
	eventually(t, func() error {
		record, _, _ := sh.try(t, "", "record", "get", last.Ref)
		if !strings.Contains(record, "BLOCKED") || !strings.Contains(record, "4321") {
			return errors.New("the record is\n" + record)
		}
		return nil
	})
	sh.says(t, []string{"blocked=4321:"}, "api", "version", "get", "Parting/1.0.0")
}
