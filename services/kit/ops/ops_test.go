package ops_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tidegatehq/tidegate/services/kit/ops"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestHandler(t *testing.T) {
	reg := ops.NewRegistry()
	sessions := prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidegate_sessions", Help: "Live sessions."})
	reg.MustRegister(sessions)
	sessions.Set(3)
	var ready error
	h := ops.New(ops.Default(), quiet(), reg, func() error { return ready }).Handler()
	get := func(path string) (int, string) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return rec.Code, rec.Body.String()
	}
	for _, tt := range []struct {
		path string
		code int
		want string
	}{
		{"/healthz", 200, "ok\n"},
		{"/readyz", 200, "ok\n"},
		{"/metrics", 200, "tidegate_sessions 3\n"},
		{"/metrics", 200, "go_goroutines"},
		{"/debug/pprof/", 200, "goroutine"},
		{"/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"/nothing", 404, ""},
	} {
		if code, body := get(tt.path); code != tt.code || !strings.Contains(body, tt.want) {
			t.Errorf("GET %s = %d, %q, want %d with %q", tt.path, code, body, tt.code, tt.want)
		}
	}
	ready = errors.New("no routes yet")
	if code, body := get("/readyz"); code != 503 || body != "not ready: no routes yet\n" {
		t.Errorf("GET /readyz = %d, %q, want 503", code, body)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("GET /healthz = %d while not ready, want 200", code)
	}
}

func TestRun(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := ops.Default()
	cfg.Listener = lis
	s := ops.New(cfg, quiet(), ops.NewRegistry(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+lis.Addr().String()+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(body) != "ok\n" {
		t.Errorf("GET /readyz = %q, %v, want ok", body, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestRunWithoutAnAddress(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := ops.Default()
	cfg.Addr = ""
	if err := ops.New(cfg, quiet(), ops.NewRegistry(), nil).Run(ctx); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestRunReportsATakenPort(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	cfg := ops.Default()
	cfg.Addr = lis.Addr().String()
	err = ops.New(cfg, quiet(), ops.NewRegistry(), nil).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("Run = %v, want address already in use", err)
	}
}

func TestCheck(t *testing.T) {
	for addr, ok := range map[string]bool{"": true, "127.0.0.1:9091": true, ":0": true, "9091": false, "localhost": false} {
		c := ops.Default()
		c.Addr = addr
		if err := c.Check(); (err == nil) != ok {
			t.Errorf("Check of %q = %v, want ok %v", addr, err, ok)
		}
	}
	c := ops.Default()
	c.Flags(flag.NewFlagSet("x", flag.ContinueOnError), "catalog.")
	c.Addr = "x"
	if err := c.Check(); err == nil || err.Error() != `-catalog.ops: "x" is not host:port` {
		t.Errorf("Check = %v, want the flag's whole name", err)
	}
	if err := new(ops.Config).Check(); err == nil || !strings.Contains(err.Error(), "HeadTimeout") {
		t.Errorf("Check of a Config that Default has not made = %v, want the field", err)
	}
}
