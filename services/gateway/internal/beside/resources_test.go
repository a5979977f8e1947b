package beside

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
)

// TestSlowClients has clients take their time: for another head, inside of one, and inside of a
// body. Each is let go, and the gateway holds nothing of it.
func TestSlowClients(t *testing.T) {
	w := newWorld(t, func(c *Config, l *listener.Config) {
		c.Stall, l.Idle, l.Timeout = 200*time.Millisecond, 150*time.Millisecond, 300*time.Millisecond
	})
	w.serve(open(w.route(backend(t, echo))))
	for name, then := range map[string]string{
		"no head": "", "a part of a head": "GET /echo/1.0.0 HTTP/1.1\r\nHost: h\r\nX-", "a part of a pipelined head": "GET /echo/1.0.0 HTTP/1.1\r\nHost: h\r\n\r\nGET /e",
	} {
		c := w.dial()
		c.ask("GET", "/echo/1.0.0", "\r\n")
		began := time.Now()
		c.send(then)
		rest := c.rest()
		if took := time.Since(began); took > 5*time.Second || strings.Count(rest, "HTTP/1.1 200") != strings.Count(then, "\r\n\r\n") {
			t.Errorf("%s: after %v the client has got %q", name, took, rest)
		}
	}
	c := w.dial()
	if a := c.ask("POST", "/echo/1.0.0", "Content-Length: 10\r\n\r\nhello"); a.StatusCode != 400 || !a.Close {
		t.Errorf("a body that stalls: %s %s", a.Status, a.text)
	}
	c.ends()
	eventually(t, "nothing is held", func() bool { return w.listener.Connections() == 0 && w.server.InFlight() == 0 })
}

// descriptors returns how many this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("descriptors can be counted on Linux only")
	}
	return len(list)
}

// TestNothingLeaks makes requests of all fates, many times, and counts what is left of them.
func TestNothingLeaks(t *testing.T) {
	w := newWorld(t, nil)
	hang := make(chan struct{})
	w.serve(open(w.route(backend(t, func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/cut":
			panic(http.ErrAbortHandler)
		case "/early": // without a look at the body
			rw.WriteHeader(http.StatusForbidden)
		case "/hang":
			_, _ = io.Copy(io.Discard, r.Body)
			hang <- struct{}{}
			<-r.Context().Done()
		default:
			echo(rw, r)
		}
	}))))
	round := func() {
		c := w.dial()
		c.ask("POST", "/echo/1.0.0", "Content-Length: 5\r\n\r\nhello")
		c.ask("GET", "/echo/1.0.0", "Connection: close\r\n\r\n")
		w.dial().ask("GET", "/echo/1.0.0/cut", "\r\n")
		w.dial().ask("POST", "/echo/1.0.0/early", "Content-Length: 1000000\r\n\r\nhello")
		w.dial().ask("GET", "/echo/none", "\r\n")
		left := w.dial()
		left.send("POST /echo/1.0.0/hang HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
		<-hang
		_ = left.Close()
		for _, conn := range w.dialled {
			_ = conn.Close()
		}
		w.dialled = nil
		eventually(t, "all requests are over", func() bool { return w.listener.Connections()+w.server.InFlight()+w.listener.InProgress() == 0 })
	}
	round()
	eventually(t, "connections settle", func() bool { return w.server.Connections() <= 2 })
	goroutines, open := runtime.NumGoroutine(), descriptors(t)
	for range 20 {
		round()
	}
	eventually(t, "there are no more goroutines and descriptors than before", func() bool {
		return runtime.NumGoroutine() <= goroutines+6 && descriptors(t) <= open+4
	})
}

// TestMemoryOfARequest has many requests in progress, with bodies in both directions that are
// far greater than what one may hold.
func TestMemoryOfARequest(t *testing.T) {
	if testing.Short() {
		t.Skip("it looks at memory")
	}
	const n, body = 50, 4 << 20
	w := newWorld(t, nil)
	var began sync.WaitGroup
	began.Add(n)
	release := make(chan struct{})
	w.serve(open(w.route(backend(t, func(rw http.ResponseWriter, r *http.Request) {
		half := make([]byte, body/2)
		if _, err := io.ReadFull(r.Body, half[:64<<10]); err != nil {
			t.Errorf("the backend reads: %v", err)
		}
		began.Done()
		<-release
		_, _ = io.Copy(io.Discard, r.Body)
		for range 2 {
			_, _ = rw.Write(half)
		}
	}))))
	var clients sync.WaitGroup
	for range n {
		c := w.dial()
		clients.Go(func() {
			_, _ = fmt.Fprintf(c, "POST /echo/1.0.0 HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", body)
			chunk := make([]byte, 16<<10)
			for range body / len(chunk) {
				if _, err := c.Write(chunk); err != nil {
					t.Errorf("the client sends: %v", err)
					return
				}
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Errorf("the answer: %v", err)
				return
			}
			defer resp.Body.Close()
			if got, err := io.Copy(io.Discard, resp.Body); err != nil || got != body {
				t.Errorf("the answer has %d bytes, %v, want %d", got, err, body)
			}
		})
	}
	began.Wait()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	// The test's own: half an answer at the backend and a chunk at the client of each request.
	if held := int64(m.HeapAlloc) - n*(body/2+(16<<10)); held > n*256<<10+(32<<20) {
		t.Errorf("with %d requests in progress %d KiB are held, %d each", n, held>>10, held/n>>10)
	}
	close(release)
	clients.Wait()
}

// TestConnectionsCount has connections count for the bounds of the listener: the refusals on
// one for its client's rate, and those that are kept for the slots.
func TestConnectionsCount(t *testing.T) {
	w := newWorld(t, func(_ *Config, l *listener.Config) { l.MaxRate = 1 }) // and ten at once
	w.serve(w.route(backend(t, echo)))
	refused := 0
	for refused = 0; refused < 10; refused++ {
		c := w.dial()
		if a := c.ask("GET", "/echo/1.0.0", good+"\r\n"); a.StatusCode == 429 && a.Code == "ADDRESS_RATE" {
			break
		}
		for range 3 {
			if a := c.ask("GET", "/echo/1.0.0", good+"\r\n"); a.StatusCode != 200 {
				t.Fatalf("another request: %s %s", a.Status, a.text)
			}
		}
		c.ask("GET", "/echo/1.0.0", "Authorization: Bearer bad\r\n\r\n")
		_ = c.Close()
		eventually(t, "the connection is over", func() bool { return w.listener.Connections() == 0 })
	}
	if refused != 5 {
		t.Errorf("%d connections with a refusal each were served, want 5 within a rate of 10", refused)
	}

	w = newWorld(t, func(_ *Config, l *listener.Config) { l.MaxHandshakes = 4 })
	w.serve(w.route(backend(t, echo)))
	kept := 0
	for range 4 {
		if a := w.dial().ask("GET", "/echo/1.0.0", good+"\r\n"); a.StatusCode != 200 {
			t.Fatalf("a request: %s %s", a.Status, a.text)
		} else if !a.Close {
			kept++
		}
		eventually(t, "its place is given back", func() bool { return w.server.InFlight() == 0 })
	}
	if kept == 0 || kept > 2 {
		t.Errorf("%d connections are kept, with 4 slots, want one or two", kept)
	}
}
