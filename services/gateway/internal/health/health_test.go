package health

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
)

// checking starts health checks of versions with one endpoint each, at these URLs, and
// returns the endpoints, and what ends the checks and waits for that.
func checking(t *testing.T, cfg balance.Config, check routes.HealthCheck, urls ...string) (c *Checker, all []*balance.Member, end func()) {
	t.Helper()
	var changes routes.Changes
	for i, url := range urls {
		e, err := routes.ParseEndpoint("ws" + strings.TrimPrefix(url, "http"))
		if err != nil {
			t.Fatal(err)
		}
		stage := routes.NewStage(cfg, e)
		segment := strconv.Itoa(i + 1)
		changes.Put = append(changes.Put, &routes.Route{
			Name: "apis/a/versions/" + segment, API: "apis/a", Context: "/a", Segment: segment, Published: true, Endpoints: routes.Endpoints{Production: stage, Check: &check},
		})
		all = append(all, stage.Member(0))
	}
	table, err := new(routes.Table).With(changes)
	if err != nil {
		t.Fatal(err)
	}
	current := &routes.Current{}
	current.Swap(table)
	dialing := upstream.Default()
	dialing.AllowLoopback = true
	dialer, err := upstream.New(dialing)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c = &Checker{Routes: current, Dialer: dialer, Metrics: metrics.New(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler)}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, all, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// becomes waits until something is so.
func becomes(t *testing.T, what string, is func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for end := time.Now().Add(10 * time.Second); !is(); <-poll.C {
		if time.Now().After(end) {
			t.Fatalf("timed out: it never became %s", what)
		}
	}
}

// quick has a short first suspension, and checks that suspend after two failures.
func quick() balance.Config {
	cfg := balance.Default()
	cfg.Checked, cfg.First, cfg.Unhealthy = true, 50*time.Millisecond, 2
	return cfg
}

// TestHTTP: where nobody connects, checks find out that an endpoint is ill and well again,
// and nothing of them is left.
func TestHTTP(t *testing.T) {
	defer goleak.VerifyNone(t)
	var status atomic.Int64
	status.Store(200)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			t.Errorf("asked for %s", r.URL)
		}
		if status.Load() == 0 { // silence
			<-r.Context().Done()
			return
		}
		w.WriteHeader(int(status.Load()))
	}))
	defer backend.Close()
	cfg := quick()
	cfg.Longest = cfg.First
	_, all, end := checking(t, cfg, routes.HealthCheck{HTTPPath: "/healthz", Interval: time.Millisecond, Timeout: 200 * time.Millisecond}, backend.URL)
	for ill, why := range map[int64]string{500: "the backend answered 500, not 2xx", 401: "the backend answered 401, not 2xx", 0: "the backend did not answer in time"} {
		status.Store(ill)
		becomes(t, "suspended: "+why, func() bool {
			s := all[0].Status(time.Now())
			return s.State == balance.Suspended && s.LastFailure == why
		})
		status.Store(204)
		becomes(t, "healthy", func() bool { return all[0].Status(time.Now()).State == balance.Healthy })
	}
	end()
}

// TestWebSocket: a handshake is a good check if its answer would be passed on, and it is
// closed with 1000; 502, 503 and 504 are bad ones, and so is no answer in time.
func TestWebSocket(t *testing.T) {
	defer goleak.VerifyNone(t)
	var status, closed atomic.Int64
	status.Store(503)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch code := status.Load(); code {
		case 0: // silence
			<-r.Context().Done()
		case http.StatusSwitchingProtocols:
			conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
			if err != nil {
				t.Errorf("a check is no handshake: %v", err)
				return
			}
			defer conn.Close()
			_, _, err = conn.ReadMessage()
			var end *websocket.CloseError
			if errors.As(err, &end) && end.Code == websocket.CloseNormalClosure {
				closed.Add(1)
			}
		default:
			w.WriteHeader(int(code))
		}
	}))
	defer backend.Close()
	cfg := quick()
	cfg.Longest = cfg.First
	_, all, end := checking(t, cfg, routes.HealthCheck{Interval: time.Millisecond, Timeout: 200 * time.Millisecond}, backend.URL)
	for _, bad := range []struct {
		status int64
		why    string
	}{
		{502, "the backend answered 502 Bad Gateway"}, {503, "the backend answered 503 Service Unavailable"},
		{504, "the backend answered 504 Gateway Timeout"}, {0, "the backend did not answer the handshake in time"},
	} {
		for _, good := range []int64{101, 401, 403, 404, 410, 429} {
			if good != 101 && bad.status != 503 {
				continue // each good one once, and each bad one
			}
			status.Store(bad.status)
			becomes(t, "suspended by "+bad.why, func() bool {
				s := all[0].Status(time.Now())
				return s.State == balance.Suspended && s.LastFailure == bad.why
			})
			status.Store(good)
			becomes(t, "healthy by "+strconv.FormatInt(good, 10), func() bool { return all[0].Status(time.Now()).State == balance.Healthy })
		}
	}
	status.Store(101)
	becomes(t, "closed with 1000", func() bool { return closed.Load() > 0 })
	end()
}

// TestAtOnce: of many checks that are due, 16 are made at once, and the others after them.
func TestAtOnce(t *testing.T) {
	defer goleak.VerifyNone(t)
	const versions = maxChecks + 4
	release := make(chan struct{})
	var now, most, answered atomic.Int64
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for before := most.Load(); n > before && !most.CompareAndSwap(before, n); before = most.Load() {
		}
		<-release
		now.Add(-1)
		answered.Add(1)
	}))
	defer backend.Close()
	var urls []string
	for range versions {
		urls = append(urls, backend.URL)
	}
	c, _, end := checking(t, quick(), routes.HealthCheck{HTTPPath: "/", Interval: time.Hour, Timeout: time.Minute}, urls...)
	becomes(t, "as many checks as there may be", func() bool { return now.Load() == maxChecks })
	if c.begin(new(balance.Group).NewMember(quick()), time.Now()) {
		t.Errorf("there is room for a check beside %d", maxChecks)
	}
	close(release)
	becomes(t, "checked, each once", func() bool { return answered.Load() == versions })
	end()
	if n := most.Load(); n > maxChecks {
		t.Errorf("%d checks were made at once, want at most %d", n, maxChecks)
	}
	if n := answered.Load(); n != versions {
		t.Errorf("%d checks were made of %d endpoints within their interval", n, versions)
	}
}
