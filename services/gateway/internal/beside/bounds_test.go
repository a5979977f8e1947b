package beside

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// TestRequestsKeepNoHandshakesOut has plain requests hold all the places that they may: of an
// application, of a version and in all. Further ones are refused, and handshakes get in.
func TestRequestsKeepNoHandshakesOut(t *testing.T) {
	// 4 requests at once, 2 of a version, 1 of an application; 2 handshakes of a version.
	w := newWorld(t, func(_ *Config, l *listener.Config) { l.MaxHandshakes = 16 })
	third := *w.grants["other"]
	third.Application = "applications/third"
	w.grants["third"] = &third
	w.grants["more"] = &grant.Grant{Name: "grants/more", Application: "applications/good", Plan: "plans/gold", Stage: grant.Production}
	asked, release := make(chan struct{}), make(chan struct{})
	hangs := backend(t, func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	})
	refuses := backend(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusGone) })
	var list []*routes.Route
	for _, id := range []string{"1", "2", "3"} {
		r := w.route(hangs)
		r.Name, r.Segment, r.Default = "apis/echo/versions/"+id, id, id == "1"
		r.Production = stageOf(t, "ws"+refuses[len("http"):])
		list = append(list, r)
	}
	open(list[2])
	w.serve(list...)
	as := func(token string) string { return "Authorization: Bearer " + token + "\r\n\r\n" }
	hold := func(version, token string) *clientConn {
		c := w.dial()
		c.send("GET /echo/" + version + " HTTP/1.1\r\nHost: h\r\n" + as(token))
		<-asked
		return c
	}
	refused := func(what, version, more string, status int, code string) {
		t.Helper()
		c := w.dial()
		a := c.ask("GET", "/echo/"+version, more)
		_ = c.Close()
		if bounded := status != http.StatusGone; a.StatusCode != status || a.Code != code || bounded && (a.Header.Get("Retry-After") == "" || !strings.Contains(a.Detail, "requests")) {
			t.Errorf("%s: %s %s, want %d %s with Retry-After", what, a.Status, a.text, status, code)
		}
	}
	getsIn := func(version string) {
		t.Helper()
		refused("a handshake of version "+version, version,
			"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"+as("good"), 410, "BACKEND_REFUSED")
	}
	held := []*clientConn{hold("1", "good")}
	refused("another of the application", "1", as("more"), 429, "REQUESTS_FULL")
	held = append(held, hold("1", "other"))
	refused("another of the version", "1", as("third"), 503, "VERSION_BUSY")
	getsIn("1")
	held = append(held, hold("2", "good"), hold("2", "other"))
	refused("another one", "3", "\r\n", 503, "BUSY")
	for _, version := range []string{"1", "2", "3"} {
		getsIn(version)
	}
	close(release)
	for _, c := range held {
		if a := c.receive("GET"); a.StatusCode != 200 {
			t.Errorf("a request that had a place: %s %s", a.Status, a.text)
		}
	}
	for _, c := range held {
		_ = c.Close()
	}
	eventually(t, "all requests are over", func() bool { return w.server.InFlight()+w.listener.Connections() == 0 })
	release = make(chan struct{})
	again := []*clientConn{hold("1", "good"), hold("1", "third"), hold("2", "good"), hold("3", "")}
	refused("another of the address", "3", "\r\n", 429, "REQUESTS_FULL")
	close(release)
	for _, c := range again {
		c.receive("GET")
	}
}

// TestPreflightsOfBackendsCount sends preflights over one connection: those that reach a backend
// count for the rate of the address, as handshakes do, and those that the gateway answers do not.
func TestPreflightsOfBackendsCount(t *testing.T) {
	w := newWorld(t, func(_ *Config, l *listener.Config) { l.MaxRate = 1 }) // and ten at once
	url := backend(t, echo)
	own, theirs := w.route(url), w.route(url)
	theirs.Name, theirs.Segment, theirs.Default = "apis/echo/versions/theirs", "theirs", false
	theirs.HTTP.BackendCORS = true
	w.serve(own, theirs)
	const preflight = "Origin: https://page.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
	c := w.dial()
	for i := range 30 {
		if a := c.ask("OPTIONS", "/echo/1.0.0", preflight); a.StatusCode != 204 {
			t.Fatalf("preflight %d of the gateway's: %s %s", i, a.Status, a.text)
		}
	}
	for i := range 30 {
		a := c.ask("OPTIONS", "/echo/theirs", preflight)
		switch {
		case a.StatusCode == 200:
		case a.StatusCode == 429 && a.Code == "ADDRESS_RATE" && a.Header.Get("Retry-After") != "" && a.Close && i >= 9:
			c.ends()
			return
		default:
			t.Fatalf("preflight %d of the backend's: %s %s", i, a.Status, a.text)
		}
	}
	t.Error("30 preflights of the backend's are served, of an address that may send ten at once")
}
