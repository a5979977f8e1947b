package health

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
)

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
		w.WriteHeader(int(status.Load()))
	}))
	defer backend.Close()
	e, err := routes.ParseEndpoint("ws" + strings.TrimPrefix(backend.URL, "http"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := balance.Default()
	cfg.Checked, cfg.First, cfg.Unhealthy = true, 50*time.Millisecond, 2
	stage := routes.NewStage(cfg, e)
	table, err := new(routes.Table).With(routes.Changes{Put: []*routes.Route{{
		Name: "apis/a/versions/1", API: "apis/a", Context: "/a", Segment: "1", Published: true, Production: stage,
		Check: &routes.HealthCheck{HTTPPath: "/healthz", Interval: time.Millisecond, Timeout: time.Second},
	}}})
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
	c := &Checker{Routes: current, Dialer: dialer, Metrics: metrics.New(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler)}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	becomes := func(what string, is func(balance.Status) bool) {
		t.Helper()
		poll := time.NewTicker(5 * time.Millisecond)
		defer poll.Stop()
		for end := time.Now().Add(10 * time.Second); !is(stage.Member(0).Status(time.Now())); <-poll.C {
			if time.Now().After(end) {
				t.Fatalf("timed out: it never became %s", what)
			}
		}
	}
	status.Store(500)
	becomes("suspended", func(s balance.Status) bool {
		return s.State == balance.Suspended && s.LastFailure == "the backend answered 500, not 2xx"
	})
	status.Store(204)
	becomes("healthy", func(s balance.Status) bool { return s.State == balance.Healthy })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
