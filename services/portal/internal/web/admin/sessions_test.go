package admin_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// patience is how long anything may take. Only failures use it up.
const patience = time.Minute

// published is a version at the gateway that everybody may connect to, maybe with a plan of
// all its traffic.
func published(t *testing.T, s *webtest.Tidegate, name string, trafficPlan ...string) *catalogv1.Version {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	}))
	t.Cleanup(backend.Close)
	return s.Publish(t, s.As(t, "admin", s.Password), name, "ws"+strings.TrimPrefix(backend.URL, "http"), webtest.ForAll, func(v *catalogv1.Version) {
		v.Version, v.TrafficPlan = "1", strings.Join(trafficPlan, "")
	})
}

// connect opens a session and sends a message there and back.
func connect(t *testing.T, address string) *websocket.Conn {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	conn, _, err := websocket.Dial(ctx, address, nil) //nolint:bodyclose // Dial has read the body
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	err = conn.Write(ctx, websocket.MessageText, []byte("ahoy"))
	if err == nil {
		_, _, err = conn.Read(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// closed returns the code and the reason that a session ends with.
func closed(t *testing.T, conn *websocket.Conn) websocket.CloseError {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	_, _, err := conn.Read(ctx)
	var end websocket.CloseError
	if !errors.As(err, &end) {
		t.Fatalf("the session ended without a close: %v", err)
	}
	return end
}

// sessions are listed with what users call things, filtered, and closed after a question.
func sessions(t *testing.T, s *webtest.Tidegate) {
	v := published(t, s, "Harbour")
	first, second := connect(t, s.WS+"/harbour/1"), connect(t, s.WS+"/harbour/1")
	b := browser(t, s)
	b.Open("/admin/sessions")
	p := b.Submit("Search", "version", v.GetName())
	want(t, p, http.StatusOK, "2 live sessions", "Harbour 1", "1 / 1", "127.0.0.1")
	closes := 0
	for text, to := range p.Links() {
		if strings.HasPrefix(text, "Close the session of ") {
			closes++
			want(t, b.Tab().Open(to), http.StatusOK, "Close this session?", "is connected to Harbour 1", "1 live session ends with it.")
		}
	}
	if closes != 2 {
		t.Fatalf("there are %d links that close, want 2", closes)
	}
	want(t, b.Open("/admin"), http.StatusOK)
	gateway := ""
	for _, to := range b.Page.Links() {
		if strings.HasPrefix(to, "/admin/sessions?gateway=") {
			gateway = to
		}
	}
	want(t, b.Open(gateway), http.StatusOK, "Harbour 1")

	want(t, b.Open("/admin/sessions?user=admin"), http.StatusOK, "No live session found")
	for _, credential := range []string{"oauth_client=applications/x/oauthClients/y", "api_key=applications/x/apiKeys/y"} {
		want(t, b.Open("/admin/sessions?"+credential), http.StatusOK, "No live session found")
	}
	p = b.Open("/admin/sessions?user=nobody-at-all&version=x")
	if want(t, p, http.StatusUnprocessableEntity); p.Error("user") == "" || p.Value("version") != "x" {
		t.Errorf("a user who is not there: %q\n%s", p.Error("user"), p.Text())
	}
	if p = b.Open("/admin/sessions?gateway=nowhere"); p.Error("gateway") == "" {
		t.Errorf("a gateway that is not there: %d\n%s", p.Status, p.Text())
	}

	b.Open("/admin/sessions?version=" + v.GetName())
	for text, to := range b.Page.Links() {
		if strings.HasPrefix(text, "Close the session of ") {
			b.Open(to)
			want(t, b.Submit("Close the session"), http.StatusOK, "is closed")
		}
	}
	for _, conn := range []*websocket.Conn{first, second} {
		if end := closed(t, conn); end.Code != 4010 {
			t.Errorf("a client got %v, want 4010", end)
		}
	}
	// Those of a version at an address are closed, and no others.
	third := connect(t, s.WS+"/harbour/1")
	b.Open("/admin/sessions")
	b.Click("Close sessions")
	if p := b.Submit("Close them"); p.Status != http.StatusUnprocessableEntity || p.Error("version") == "" {
		t.Errorf("nothing that says which sessions: %d\n%s", p.Status, p.Text())
	}
	want(t, b.Submit("Close them", "version", v.GetName(), "address", "::1"), http.StatusOK, "Such sessions are closed. No session was open.")
	b.Open("/admin/close-sessions")
	want(t, b.Submit("Close them", "version", v.GetName(), "address", "127.0.0.1"), http.StatusOK, "Such sessions are closed. 1 session on 1 gateway closed in")
	if end := closed(t, third); end.Code != 4010 {
		t.Errorf("a client got %v, want 4010", end)
	}
	_, id, _ := strings.Cut(gateway, "gateway=")
	gone := "/admin/sessions/" + id + "/0000000000000000/close"
	want(t, b.Open(gone), http.StatusNotFound)
	want(t, b.Do(http.MethodPost, gone, url.Values{}), http.StatusOK, "had ended before")
}
