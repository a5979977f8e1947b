package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// besideWorld is a world whose version 1 has HTTP beside its socket: /hang never ends its
// answer, of which it sends a part if asked for /hang?part.
func besideWorld(t *testing.T) (w *world, hangs chan struct{}) {
	t.Helper()
	hangs = make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			if r.URL.RawQuery == "part" {
				fmt.Fprint(rw, "part")
				_ = http.NewResponseController(rw).Flush()
			}
			hangs <- struct{}{}
			<-r.Context().Done()
			return
		}
		_, _ = io.Copy(rw, r.Body)
	}))
	t.Cleanup(server.Close)
	w = newWorld(t)
	r := w.route("1")
	r.Http = &catalogv1.HTTPOptions{Endpoints: &catalogv1.Endpoints{Production: endpoint(server.URL)}}
	w.plane.put(r)
	w.start()
	return w, hangs
}

// request makes a plain request with a token, to the version 1.
func (w *world) request(method, path, token, body string) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http"+strings.TrimPrefix(w.plain, "ws")+"/x/1"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// TestPlainRequests makes requests beside sessions: they are in usage and records, the ref of
// each is its record's, and no session is listed for them.
func TestPlainRequests(t *testing.T) {
	w, _ := besideWorld(t)
	token := w.plane.issue("t1", "subscriptions/1", time.Hour)
	c := w.connect("1", token)
	echoes(t, c, "beside it")
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for range 3 {
		resp, err := client.Do(w.request("POST", "", token, "hello"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || string(body) != "hello" || len(resp.Header.Get("X-Tidegate-Ref")) < 16 {
			t.Errorf("a request: %s %q %v, %v", resp.Status, body, resp.Header, err)
		}
	}
	eventually(t, "they are reported", func() bool {
		sessions, in, out := w.plane.totals()
		return sessions == 1 && in == 4 && out == 1
	})
	eventually(t, "their records are reported", func() bool {
		n := 0
		for _, word := range w.plane.endReasons() {
			if word == "ANSWERED" {
				n++
			}
		}
		return n == 3
	})
	echoes(t, c, "still here")
}

// TestPlainRequestsEnd ends the credential of running requests, by what the control plane says,
// by their expiry and by a change of the version: each is over within a second.
func TestPlainRequestsEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		end    func(w *world)
		status int
		reason usagev1.EndReason
	}{
		"revoked": {func(w *world) { w.plane.touch(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, "grants/t1") }, 401, usagev1.EndReason_END_REASON_REVOKED},
		"blocked": {func(w *world) { w.plane.touch(backplanev1.GrantEvent_CAUSE_USER_SUSPENDED, "users/sue") }, 403, usagev1.EndReason_END_REASON_BLOCKED},
		"demoted": {func(w *world) {
			r := w.route("1")
			r.State = catalogv1.Version_STATE_CREATED
			w.plane.put(r)
		}, 404, usagev1.EndReason_END_REASON_BLOCKED},
		"expired": {func(*world) {}, 401, usagev1.EndReason_END_REASON_EXPIRED},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, hangs := besideWorld(t)
			lifetime := time.Hour
			if name == "expired" {
				lifetime = 2 * time.Second
			}
			token := w.plane.issue("t1", "subscriptions/1", lifetime)
			waits := make(chan string, 1) // the status of the answer
			transport := &http.Transport{DisableKeepAlives: true}
			go func() {
				resp, err := transport.RoundTrip(w.request("GET", "/hang", token, ""))
				if err != nil {
					waits <- err.Error()
					return
				}
				_ = resp.Body.Close()
				waits <- resp.Status
			}()
			partly, err := transport.RoundTrip(w.request("GET", "/hang?part", token, ""))
			if err != nil {
				t.Fatal(err)
			}
			defer partly.Body.Close()
			<-hangs
			<-hangs
			answer := bufio.NewReader(partly.Body)
			if _, err := answer.Peek(4); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if name == "expired" {
				began = w.plane.tokens["t1"].expires
			}
			tt.end(w)
			if body, err := io.ReadAll(answer); err == nil || string(body) != "part" {
				t.Errorf("the answer that has begun ends with %q, %v, want it cut", body, err)
			}
			want := fmt.Sprint(tt.status, " ", http.StatusText(tt.status))
			if status, took := <-waits, time.Since(began); status != want || took > time.Second {
				t.Errorf("the one that waits was answered %s after %v, want %s within a second", status, took, want)
			}
			eventually(t, "the record of the one that was cut is reported", func() bool {
				for _, word := range w.plane.endReasons() {
					if "END_REASON_"+word == tt.reason.String() {
						return true
					}
				}
				return false
			})
		})
	}
}

// TestPlainRequestsAreNoSessions lists sessions while a plain request runs: sessions are live
// sockets, and it is none of them.
func TestPlainRequestsAreNoSessions(t *testing.T) {
	w, hangs := besideWorld(t)
	token := w.plane.issue("t1", "subscriptions/1", time.Hour)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(w.request("GET", "/hang", token, "").WithContext(ctx))
		if err == nil {
			_ = resp.Body.Close()
		}
		ended <- err
	}()
	<-hangs
	api, as := w.sessions()
	if list, err := api.ListSessions(as, &gatewayv1.ListSessionsRequest{Parent: "gateways/gateway-1"}); err != nil || len(list.GetSessions()) != 0 {
		t.Errorf("ListSessions = %v, %v, want none", list, err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the request ends with %v, want that it was given up", err)
	}
}

// TestPlainRequestsAtAStop stops the gateway while a request runs: it has the drain time.
func TestPlainRequestsAtAStop(t *testing.T) {
	w, hangs := besideWorld(t)
	token := w.plane.issue("t1", "subscriptions/1", time.Hour)
	answered := make(chan int, 1)
	go func() {
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(w.request("GET", "/hang", token, ""))
		if err != nil {
			answered <- 0
			return
		}
		_ = resp.Body.Close()
		answered <- resp.StatusCode
	}()
	<-hangs
	began := time.Now()
	if err := w.shut(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if status, took := <-answered, time.Since(began); status != http.StatusServiceUnavailable || took < w.cfg.Drain || took > 5*time.Second {
		t.Errorf("the request was answered %d after %v, want 503 after the drain time of %v", status, took, w.cfg.Drain)
	}
}
