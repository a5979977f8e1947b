package console_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// TestTryOut speaks from the console to a version that is not published, as its owner,
// until the owner signs out.
func TestTryOut(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		for {
			kind, data, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, data) != nil {
				return
			}
		}
	}))
	t.Cleanup(backend.Close)
	s := webtest.Start(t)
	catalog, admin := catalogv1.NewCatalogServiceClient(s.Conn), s.As(t, "admin", s.Password)
	api, err := catalog.CreateApi(admin, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: "Echo", Context: "/echo"}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := catalog.CreateVersion(admin, &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: &catalogv1.Version{
		Version: "1", Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "ws" + strings.TrimPrefix(backend.URL, "http")}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	path := "/devportal/" + v.GetName() + "/console"

	if p := s.User(t, "sue", ui.Subscriber).Open(path); p.Status != http.StatusNotFound {
		t.Errorf("the console of a version that is not published = %d for a developer, want 404", p.Status)
	}
	b := s.Browser(t)
	b.SignIn("admin", s.Password)
	p := b.Open(path)
	if p.H1() != "Echo" || !p.Has("Try it out, as its owner") || !p.Has("Connect") {
		t.Errorf("the console's page:\n%s", p.Text())
	}

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ca, err := os.ReadFile(filepath.Join(s.Data, "ca.pem"))
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		t.Fatal(err, "no certificate of the authority")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	t.Cleanup(client.CloseIdleConnections)
	options := &websocket.DialOptions{HTTPClient: client, HTTPHeader: http.Header{"Origin": {s.Portal}}}
	if conn, _, err := websocket.Dial(ctx, s.Portal+path+"/socket", options); err == nil { //nolint:bodyclose // Dial has closed it
		_ = conn.CloseNow()
		t.Error("a socket is opened without a sign-in")
	}
	options.HTTPHeader.Set("Cookie", "__Host-tidegate="+b.Cookie("__Host-tidegate"))
	conn, _, err := websocket.Dial(ctx, s.Portal+path+"/socket", options) //nolint:bodyclose // it is the connection
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	say := func(command map[string]any) {
		t.Helper()
		if err := wsjson.Write(ctx, conn, command); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(want, key string, value any) {
		t.Helper()
		for {
			got := map[string]any{}
			if err := wsjson.Read(ctx, conn, &got); err != nil {
				t.Fatal(err)
			}
			if got["type"] == "taken" {
				continue
			}
			if got["type"] != want || got[key] != value {
				t.Fatalf("the event = %v, want %s with %s %v", got, want, key, value)
			}
			return
		}
	}
	say(map[string]any{"type": "open", "tryOut": true})
	hear("opened", "protocol", nil)
	say(map[string]any{"type": "text", "text": "hello"})
	hear("text", "text", "hello")
	b.Submit("Sign out")
	hear("closed", "code", 4001.0)
}
