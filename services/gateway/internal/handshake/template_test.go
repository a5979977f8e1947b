package handshake

import (
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// TestVariables: a backend is asked for what its endpoint's URL says once the client's request
// has filled it in, without the credential. A request that does not is the client's mistake: the
// backend is not asked, and stays as healthy as it was.
func TestVariables(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, nil)
	w.serve(backend.url+"/rooms/{uri.path.1}?user={uri.query.user}", func(r *routes.Route) {
		r.Schemes = []credential.Scheme{{Type: credential.OAuth2, Places: credential.OAuth2Places()}}
	})
	for _, tt := range []struct {
		target, want string
		status       int
		code         string
	}{
		{"/echo/1.0.0/blue/a?x=1&access_token=good&user=ann%26b", "/rooms/blue/a?user=ann%26b&x=1", 101, ""},
		{"/echo/blue?access_token=good&user=ann", "", 404, "NOT_FOUND"},
		{"/echo/1.0.0?access_token=good&user=ann", "", 404, "NOT_FOUND"},
		{"/echo/1.0.0/blue?access_token=good", "", 400, "BAD_REQUEST"},
		{"/echo/1.0.0/%zz?access_token=good&user=ann", "", 400, "BAD_REQUEST"},
		{"/echo/1.0.0/blue?access_token=good&user=%zz", "", 400, "BAD_REQUEST"},
		{"/echo/1.0.0/blue?access_token=good&user=ann", "/rooms/blue?user=ann", 101, ""},
	} {
		conn := w.dial(false)
		w.send(conn, request(tt.target, ""))
		a := w.receive(conn)
		if a.StatusCode != tt.status || a.Code != tt.code {
			t.Errorf("%s: the answer is %d %s %s, want %d %s", tt.target, a.StatusCode, a.Code, a.Detail, tt.status, tt.code)
		}
		if tt.status != 101 {
			continue
		}
		if got := (<-backend.requests).RequestURI; got != tt.want {
			t.Errorf("%s: the backend is asked for %s, want %s", tt.target, got, tt.want)
		}
	}
	if n := len(backend.requests); n > 0 {
		t.Errorf("the backend was asked %d times more", n)
	}
}
