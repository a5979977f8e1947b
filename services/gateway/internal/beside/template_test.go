package beside

import "testing"

// TestVariables fills the URL of an endpoint in from plain requests, as from handshakes.
func TestVariables(t *testing.T) {
	w := newWorld(t, nil)
	w.serve(w.route(backend(t, echo) + "/rooms/{uri.path.1}?user={uri.query.user}"))
	c := w.dial()
	if a := c.ask("GET", "/echo/1.0.0/blue/a?user=ann&x=1", good+"\r\n"); a.StatusCode != 200 || a.Header.Get("X-Target") != "/rooms/blue/a?user=ann&x=1" {
		t.Errorf("the backend is asked for %s: %s", a.Header.Get("X-Target"), a.Status)
	}
	if a := c.ask("GET", "/echo/1.0.0?user=ann", good+"\r\n"); a.StatusCode != 404 || a.Code != "NOT_FOUND" {
		t.Errorf("without a segment: %s %s, want 404", a.Status, a.Code)
	}
	c = w.dial()
	if a := c.ask("GET", "/echo/1.0.0/blue", good+"\r\n"); a.StatusCode != 400 || a.Code != "BAD_REQUEST" {
		t.Errorf("without a parameter: %s %s, want 400", a.Status, a.Code)
	}
}
