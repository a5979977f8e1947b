package beside

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
)

// TestRunningRequestsEnd ends what requests rest on while they run: whoever waits for the
// answer is refused, whoever has got a part of it is cut, and the backend's connection ends.
func TestRunningRequestsEnd(t *testing.T) {
	revoked := func(w *world) { w.sessions.EndAllOn(ending.New(ending.Revoked, ""), "grants/good") }
	for name, tt := range map[string]struct {
		end    func(w *world)
		status int
		code   string
	}{
		"revoked": {revoked, 401, "CREDENTIAL_INVALID"},
		"blocked": {func(w *world) { w.sessions.EndAllOn(ending.New(ending.Blocked, ""), "applications/good") }, 403, "BLOCKED"},
		"denied":  {func(w *world) { deniedNow(w) }, 403, "DENIED"},
		"withdrawn": {func(w *world) {
			r := w.route("http://127.0.0.1:1")
			r.Published = false
			w.serve(r)
			w.sessions.EndPublic(ending.New(ending.Blocked, ""), r.Name)
		}, 404, "NOT_FOUND"},
		"expired": {func(w *world) {}, 401, "CREDENTIAL_INVALID"},
	} {
		for _, part := range []string{"", "part", "upload"} {
			t.Run(name+part, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, nil)
				if name == "expired" {
					w.grants["good"] = &grant.Grant{Name: "grants/good", Stage: grant.Production, Expires: time.Now().Add(300 * time.Millisecond)}
				}
				asked, left := make(chan struct{}), make(chan struct{})
				w.serve(w.route(backend(t, func(rw http.ResponseWriter, r *http.Request) {
					if part == "part" {
						fmt.Fprint(rw, "part")
						_ = http.NewResponseController(rw).Flush()
					}
					close(asked)
					_, _ = io.Copy(io.Discard, r.Body)
					<-r.Context().Done()
					close(left)
				})))
				c := w.dial()
				body := "\r\n"
				if part == "upload" {
					body = "Content-Length: 100\r\n\r\nhello" // the rest never comes
				}
				c.send("POST /echo/1.0.0 HTTP/1.1\r\nHost: h\r\n" + good + body)
				<-asked
				var resp *http.Response
				if part == "part" {
					var err error
					if resp, err = http.ReadResponse(c.br, nil); err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
				}
				began := time.Now()
				tt.end(w)
				if part == "part" {
					if body, err := io.ReadAll(resp.Body); err == nil || !strings.HasPrefix("part", string(body)) {
						t.Errorf("the answer ends with %q, %v, want it cut", body, err)
					}
				} else {
					if a := c.receive("POST"); a.StatusCode != tt.status || a.Code != tt.code || !a.Close {
						t.Errorf("the answer is %s %s, want %d %s", a.Status, a.text, tt.status, tt.code)
					}
					c.ends()
				}
				<-left
				if took := time.Since(began); took > time.Second {
					t.Errorf("it took %v", took)
				}
			})
		}
	}
}

// deniedNow adds a deny rule for the application, as the watch of routes does.
func deniedNow(w *world) {
	rule := &deny.Rule{Name: "denyRules/1", Application: "applications/good"}
	w.deny.Swap(w.deny.Load().With([]*deny.Rule{rule}, nil))
	w.sessions.EndDenied(new(deny.Table).With([]*deny.Rule{rule}, nil))
}

// TestSlowReaderIsCut has a client take nothing of its answer, and its credential end
// meanwhile: the write that waits for it does not keep it.
func TestSlowReaderIsCut(t *testing.T) {
	w := newWorld(t, nil)
	left := make(chan struct{})
	var stuck atomic.Bool
	w.serve(w.route(backend(t, func(rw http.ResponseWriter, r *http.Request) {
		defer close(left)
		chunk := make([]byte, 64<<10)
		for {
			waits := time.AfterFunc(200*time.Millisecond, func() { stuck.Store(true) })
			_, err := rw.Write(chunk)
			waits.Stop()
			if err != nil {
				return
			}
		}
	})))
	c := w.dial()
	c.send("GET /echo/1.0.0 HTTP/1.1\r\nHost: h\r\n" + good + "\r\n")
	eventually(t, "the backend can send no more", stuck.Load)
	w.sessions.EndAllOn(ending.New(ending.Revoked, ""), "grants/good")
	<-left
}

// TestDrain stops the gateway while a request runs and a connection waits for another one: the
// request has the drain time, and is refused after it; the idle connection is closed at once.
func TestDrain(t *testing.T) {
	for _, within := range []time.Duration{100 * time.Millisecond, 10 * time.Second} {
		w := newWorld(t, nil)
		asked, answer := make(chan struct{}), make(chan struct{})
		w.serve(open(w.route(backend(t, func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				close(asked)
				select {
				case <-answer:
				case <-r.Context().Done():
				}
			}
		}))))
		idle, running := w.dial(), w.dial()
		if a := idle.ask("GET", "/echo/1.0.0", "\r\n"); a.Close {
			t.Error("a connection is closed before the gateway stops")
		}
		running.send("GET /echo/1.0.0/slow HTTP/1.1\r\nHost: h\r\n\r\n")
		<-asked
		w.notReady = context.Canceled
		w.listener.CloseIdle()
		idle.ends()
		drained := make(chan error, 1)
		go func() { drained <- w.sessions.Drain(context.Background(), within) }()
		want := 503
		if within > time.Second {
			want = 200
			close(answer)
		}
		if a := running.receive("GET"); a.StatusCode != want || !a.Close {
			t.Errorf("within %v the request was answered %s, close %t; want %d", within, a.Status, a.Close, want)
		}
		if err := <-drained; err != nil {
			t.Errorf("Drain = %v", err)
		}
		late := w.dial()
		if a := late.ask("GET", "/echo/1.0.0", "\r\n"); a.StatusCode != 503 || a.Code != "DRAINING" {
			t.Errorf("a request after that: %s %s", a.Status, a.text)
		}
	}
}
