package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// at is a version that asks for no credential, with this backend.
func (w *world) at(version, url string) *backplanev1.Route {
	r := w.open()
	r.Name, r.Version = "apis/x/versions/"+version, version
	r.Endpoints = &catalogv1.Endpoints{Production: endpoint(url)}
	return r
}

// TestLoopEnds: two versions whose backends are each other at this gateway. The
// second handshake of the loop is the last.
func TestLoopEnds(t *testing.T) {
	w, reg := newWorld(t), prometheus.NewRegistry()
	w.cfg.Metrics = reg
	w.start()
	public := "ws://" + forwarder(t, strings.TrimPrefix(w.plain, "ws://"))
	w.plane.put(w.at("a", public+"/x/b"))
	w.plane.put(w.at("b", public+"/x/a"))
	eventually(t, "the routes are there", func() bool { _, resp := w.ask(w.plain+"/x/b", nil); return resp.status == http.StatusBadGateway })
	seen := measure(t, reg).sums["tidegate_handshakes_total"]
	_, resp := w.ask(w.plain+"/x/a", nil)
	if resp.status != http.StatusBadGateway || !strings.Contains(resp.body, "508") {
		t.Errorf("a loop: %d %s, want 502 of a backend that answered 508", resp.status, resp.body)
	}
	if n := measure(t, reg).sums["tidegate_handshakes_total"] - seen; n != 2 {
		t.Errorf("one handshake became %v, want 2", n)
	}
}

// forwarder is a load balancer in front of an address, until the test ends.
func forwarder(t *testing.T, to string) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			from, err := lis.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer from.Close()
				onward, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer onward.Close()
				all.Go(func() { _, _ = io.Copy(onward, from); _ = onward.(*net.TCPConn).CloseWrite() })
				_, _ = io.Copy(from, onward)
			})
		}
	})
	t.Cleanup(func() { lis.Close(); all.Wait() })
	return lis.Addr().String()
}

// TestLoopIsRecognised by either header, whatever else is in it; the names of others
// pass, and go on to the backend with ours.
func TestLoopIsRecognised(t *testing.T) {
	w := newWorld(t)
	asked := make(chan http.Header, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked <- r.Header
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err == nil {
			_ = c.CloseNow()
		}
	}))
	t.Cleanup(backend.Close)
	w.plane.put(w.at("a", "ws"+strings.TrimPrefix(backend.URL, "http")))
	w.start()
	for _, h := range []http.Header{
		{"Via": {"1.1 tidegate-test"}}, {"Via": {"1.0 a, HTTP/2 TIDEGATE-test (x)", "1.1 b"}},
		{"Cdn-Loop": {"tidegate-test"}}, {"Cdn-Loop": {`a; x="1", tidegate-test; y=2`}},
	} {
		_, resp := w.ask(w.plain+"/x/a", h)
		if resp.status != http.StatusLoopDetected || !strings.Contains(resp.body, `"code":"LOOP"`) {
			t.Errorf("%v: %d %s, want 508 LOOP", h, resp.status, resp.body)
		}
	}
	if _, resp := w.ask(w.plain+"/nowhere", http.Header{"Via": {"1.1 tidegate-test"}}); resp.status != http.StatusLoopDetected {
		t.Errorf("a loop to no route: %d, want 508 before anything else", resp.status)
	}
	foreign := http.Header{"Via": {"1.1 tidegate-other, 2 cdn"}, "Cdn-Loop": {"cdn.example; a=1"}}
	foreign.Set("Connection", "Upgrade, Via, CDN-Loop")
	_, resp := w.ask(w.plain+"/x/a", foreign)
	if resp.status != http.StatusSwitchingProtocols {
		t.Fatalf("foreign names: %d, want 101", resp.status)
	}
	got := <-asked
	if via := strings.Join(got["Via"], ", "); via != "1.1 tidegate-other, 2 cdn, 1.1 tidegate-test" {
		t.Errorf("Via = %q, want ours after those of others", via)
	}
	if cdn := strings.Join(got["Cdn-Loop"], ", "); cdn != "cdn.example; a=1, tidegate-test" {
		t.Errorf("CDN-Loop = %q, want ours after those of others", cdn)
	}
}

// TestLoopAfterRestart knows its installation from the routes on disk, while the
// control plane is away.
func TestLoopAfterRestart(t *testing.T) {
	w := newWorld(t)
	w.plane.put(w.open())
	w.start()
	w.connect("open", "")
	if err := w.shut(); err != nil {
		t.Fatal(err)
	}
	w.plane.away()
	w.start()
	if _, resp := w.ask(w.plain+"/x/open", http.Header{"Via": {"1.1 tidegate-test"}}); resp.status != http.StatusLoopDetected {
		t.Errorf("a loop with routes from disk: %d, want 508", resp.status)
	}
	w.plane.back()
}

// TestSlowBackend takes its version's share of handshakes, and no other's: clients of
// a healthy version beside it get in, and further ones of its own are told to come back.
func TestSlowBackend(t *testing.T) {
	const share = 3
	w := newWorld(t)
	w.cfg.MaxHandshakesPerVersion = share
	reached, hang := make(chan struct{}, 2*share), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		reached <- struct{}{}
		<-hang
	}))
	t.Cleanup(slow.Close)
	w.plane.put(w.open())
	w.plane.put(w.at("slow", "ws"+strings.TrimPrefix(slow.URL, "http")))
	w.start()
	ctx, giveUp := context.WithCancel(t.Context())
	done := make(chan struct{}, share)
	for range share {
		go func() {
			_, _, _ = websocket.Dial(ctx, w.plain+"/x/slow", nil) //nolint:bodyclose // it fails
			done <- struct{}{}
		}()
		<-reached
	}
	for range 2 * share {
		_, resp := w.ask(w.plain+"/x/slow", nil)
		if resp.status != http.StatusServiceUnavailable || resp.header.Get("Retry-After") == "" || !strings.Contains(resp.body, "VERSION_BUSY") {
			t.Errorf("one more of the slow version: %d %v %s, want 503 VERSION_BUSY with Retry-After", resp.status, resp.header, resp.body)
		}
		echoes(t, w.connect("open", ""), "hello")
	}
	giveUp()
	close(hang)
	for range share {
		<-done
	}
	eventually(t, "the slow version takes handshakes again", func() bool {
		_, resp := w.ask(w.plain+"/x/slow", nil)
		return resp.status != http.StatusServiceUnavailable
	})
}

// TestSlowBackendOfManyVersions takes no more handshakes than that of one version, however
// many versions lead to it; a healthy backend's clients get in beside it.
func TestSlowBackendOfManyVersions(t *testing.T) {
	const share = 2
	w := newWorld(t)
	w.cfg.MaxHandshakesPerVersion = share
	reached, hang := make(chan struct{}, 2*share), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		reached <- struct{}{}
		<-hang
	}))
	t.Cleanup(slow.Close)
	w.plane.put(w.open())
	for _, version := range []string{"a", "b", "c"} {
		w.plane.put(w.at(version, "ws"+strings.TrimPrefix(slow.URL, "http")+"/"+version))
	}
	w.start()
	ctx, giveUp := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, version := range []string{"a", "b"} {
		all.Go(func() {
			_, _, _ = websocket.Dial(ctx, w.plain+"/x/"+version, nil) //nolint:bodyclose // it fails
		})
		<-reached
	}
	for _, version := range []string{"a", "b", "c"} {
		_, resp := w.ask(w.plain+"/x/"+version, nil)
		if resp.status != http.StatusServiceUnavailable || resp.header.Get("Retry-After") == "" || !strings.Contains(resp.body, "BACKEND_BUSY") {
			t.Errorf("version %s of the slow backend: %d %v %s, want 503 BACKEND_BUSY with Retry-After", version, resp.status, resp.header, resp.body)
		}
	}
	echoes(t, w.connect("open", ""), "hello")
	giveUp()
	close(hang)
	all.Wait()
}
