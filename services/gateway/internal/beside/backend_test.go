package beside

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// speaking is a backend that answers each connection's first request with a text, and then
// closes it.
func speaking(t testing.TB, text string) string {
	t.Helper()
	return accepting(t, func(conn net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(conn, text)
		}
	})
}

// accepting is a backend that calls treat for each of its connections.
func accepting(t testing.TB, treat func(net.Conn)) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				treat(conn)
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return "http://" + ln.Addr().String()
}

// closed is the address of a backend that is not there.
func closed(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return "http://" + ln.Addr().String()
}

// TestBackendsThatFail has backends fail in all ways: the client gets a problem that says so,
// and nothing of theirs.
func TestBackendsThatFail(t *testing.T) {
	for name, tt := range map[string]struct {
		url    func(t *testing.T) string
		status int
		code   string
	}{
		"nothing listens": {func(t *testing.T) string { return closed(t) }, 502, "BACKEND_UNREACHABLE"},
		"no answer":       {func(t *testing.T) string { return speaking(t, "") }, 502, "BACKEND_BROKEN"},
		"nonsense":        {func(t *testing.T) string { return speaking(t, "nonsense and secrets\r\n\r\n") }, 502, "BACKEND_INCORRECT"},
		"a head too great": {func(t *testing.T) string {
			return speaking(t, "HTTP/1.1 200 OK\r\nX-A: "+strings.Repeat("secret", 20000)+"\r\n\r\n")
		}, 502, "BACKEND_INCORRECT"},
		"101": {func(t *testing.T) string {
			return speaking(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nsecret")
		}, 502, "BACKEND_INCORRECT"},
		"silence": {func(t *testing.T) string {
			return backend(t, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
			})
		}, 504, "BACKEND_TIMEOUT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			r := w.route(tt.url(t))
			r.HTTP.Timeout = 150 * time.Millisecond
			w.serve(r)
			c := w.dial()
			for _, body := range []string{"\r\n", "Content-Length: 5\r\n\r\nhello"} {
				a := c.ask("POST", "/echo/1.0.0", good+body)
				if a.StatusCode != tt.status || a.Code != tt.code || strings.Contains(a.text, "secret") || strings.Contains(a.text, "127.0.0.1") {
					t.Errorf("with %q: %s %s, want %d %s", body, a.Status, a.text, tt.status, tt.code)
				}
				if a.Close {
					c = w.dial()
				}
			}
		})
	}
}

// TestAnswerThatEndsEarly has a backend break off inside of an answer: the client sees that it
// is not whole.
func TestAnswerThatEndsEarly(t *testing.T) {
	w := newWorld(t, nil)
	for name, answer := range map[string]string{
		"length": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		w.serve(open(w.route(speaking(t, answer))))
		c := w.dial()
		c.send("GET /echo/1.0.0 HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err == nil || string(body) != "hello" {
			t.Errorf("%s: the answer is %q, %v, want it cut", name, body, err)
		}
		_ = resp.Body.Close()
	}
}

// TestNextEndpoint has endpoints fail before and after they got a request: only what can be
// repeated is sent to the next one.
func TestNextEndpoint(t *testing.T) {
	var served atomic.Int64
	works := func(rw http.ResponseWriter, r *http.Request) {
		served.Add(1)
		_, _ = io.Copy(rw, r.Body)
	}
	busy := func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) }
	for name, tt := range map[string]struct {
		first        func(t *testing.T) string
		method, body string
		status       int
	}{
		"not there, GET":         {func(t *testing.T) string { return closed(t) }, "GET", "", 200},
		"not there, with a body": {func(t *testing.T) string { return closed(t) }, "POST", "Content-Length: 2\r\n\r\nok", 200},
		"breaks, GET":            {func(t *testing.T) string { return speaking(t, "") }, "GET", "", 200},
		"breaks, POST":           {func(t *testing.T) string { return speaking(t, "") }, "POST", "", 502},
		"breaks, with a body":    {func(t *testing.T) string { return speaking(t, "") }, "PUT", "Content-Length: 2\r\n\r\nok", 502},
		"busy, GET":              {func(t *testing.T) string { return backend(t, busy) }, "GET", "", 200},
		"busy, DELETE":           {func(t *testing.T) string { return backend(t, busy) }, "DELETE", "", 503},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.serve(open(w.route(tt.first(t), backend(t, works))))
			if tt.body == "" {
				tt.body = "\r\n"
			}
			if a := w.dial().ask(tt.method, "/echo/1.0.0", tt.body); a.StatusCode != tt.status {
				t.Errorf("%s %s, want %d", a.Status, a.text, tt.status)
			}
			stage := w.routes.Load().Get("apis/echo/versions/1").HTTP.Production
			state := stage.Member(0).Status(time.Now()).State
			if want := tt.status != 503; (state == balance.Suspended) != want {
				t.Errorf("the first endpoint is in state %d", state)
			}
			for i := range 2 {
				eventually(t, "an endpoint has no connection once the request is over", func() bool { return stage.Member(i).Status(time.Now()).Connections == 0 })
			}
		})
	}
}

// TestConnectionsAreKept counts the connections of a backend: one serves request after request,
// and is closed when the version changes, or is gone.
func TestConnectionsAreKept(t *testing.T) {
	var opened, now atomic.Int64
	s := &http.Server{Handler: http.HandlerFunc(echo), ConnState: func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened.Add(1)
			now.Add(1)
		case http.StateClosed:
			now.Add(-1)
		}
	}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close() })
	w := newWorld(t, nil)
	url := "http://" + ln.Addr().String()
	w.serve(open(w.route(url)))
	for i := range 20 {
		if a := w.dial().ask("POST", "/echo/1.0.0", "Content-Length: 2\r\n\r\nok"); a.StatusCode != 200 {
			t.Fatalf("request %d: %s", i, a.Status)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("20 requests took %d connections", n)
	}
	w.serve(open(w.route(url)))
	w.dial().ask("GET", "/echo/1.0.0", "\r\n")
	eventually(t, "the connection of the route before is closed", func() bool { return opened.Load() == 2 && now.Load() == 1 })
	w.server.pools.keep(w.routes.Load())
	if now.Load() != 1 {
		t.Error("a connection of a route that is served is closed")
	}
	table, _ := w.routes.Load().With(routes.Changes{Remove: []string{"apis/echo/versions/1"}})
	w.routes.Swap(table)
	w.server.pools.keep(table)
	eventually(t, "the connections of a version that is gone are closed", func() bool { return now.Load() == 0 && w.server.Connections() == 0 })
}

// TestEventsPassAtOnce has a backend send events one by one, each of which its client has
// before the next one is sent.
func TestEventsPassAtOnce(t *testing.T) {
	next := make(chan struct{})
	w := newWorld(t, nil)
	w.serve(open(w.route(backend(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(rw, "data: %d\n\n", i)
			_ = http.NewResponseController(rw).Flush()
			<-next
		}
	}))))
	c := w.dial()
	c.send("GET /echo/1.0.0 HTTP/1.1\r\nHost: h\r\n\r\n")
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := bufio.NewReader(resp.Body)
	for i := range 5 {
		if line, err := events.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d is %q, %v", i, line, err)
		}
		_, _ = events.ReadString('\n')
		next <- struct{}{}
	}
}

// TestClientLeaves has clients leave while a backend works for them: it is told.
func TestClientLeaves(t *testing.T) {
	for _, body := range []string{"\r\n", "Content-Length: 2\r\n\r\nok", "Content-Length: 9\r\n\r\nok"} {
		w := newWorld(t, nil)
		asked, left := make(chan struct{}), make(chan struct{})
		w.serve(open(w.route(backend(t, func(_ http.ResponseWriter, r *http.Request) {
			close(asked)
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			close(left)
		}))))
		c := w.dial()
		c.send("POST /echo/1.0.0 HTTP/1.1\r\nHost: h\r\n" + body)
		<-asked
		_ = c.Close()
		<-left
	}
}
