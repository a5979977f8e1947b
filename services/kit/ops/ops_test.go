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

// TestReadyz shows which readiness is which answer, of one service and of several.
func TestReadyz(t *testing.T) {
	full, away := ops.Degraded(errors.New("the disk is full")), errors.New("no database")
	for _, tt := range []struct {
		ready error
		code  int
		body  string
	}{
		{nil, 200, "ok\n"},
		{full, 200, "ok, but the disk is full\n"},
		{away, 503, "not ready: no database\n"},
		{errors.Join(full, away), 503, "not ready: the disk is full\nno database\n"},
		{ops.Degraded(nil), 200, "ok\n"},
		{ops.Join(map[string]error{"a": nil, "b": nil}), 200, "ok\n"},
		{ops.Join(map[string]error{"b": full, "a": full}), 200, "ok, but a: the disk is full\nb: the disk is full\n"},
		{ops.Join(map[string]error{"a": full, "b": away}), 503, "not ready: b: no database\n"},
	} {
		var told func() error
		cfg := ops.Default()
		cfg.Tell = func(ready func() error) { told = ready }
		srv := ops.New(cfg, quiet(), ops.NewRegistry(), func() error { return tt.ready })
		rec := httptest.NewRecorder()
		srv.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/readyz", nil))
		if rec.Code != tt.code || rec.Body.String() != tt.body {
			t.Errorf("with %v: %d %q, want %d %q", tt.ready, rec.Code, rec.Body, tt.code, tt.body)
		}
		if got := told(); !errors.Is(got, tt.ready) {
			t.Errorf("Tell was told %v, want %v", got, tt.ready)
		}
	}
}

func TestHandler(t *testing.T) {
	reg := ops.NewRegistry()
	sessions := prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidegate_sessions", Help: "Live sessions."})
	reg.MustRegister(sessions)
	sessions.Set(3)
	var ready error
	srv := ops.New(ops.Default(), quiet(), reg, func() error { return ready })
	get := func(path string) (int, string) {
		h := srv.Handler()
		if rest, ok := strings.CutPrefix(path, "/profiles"); ok {
			h, path = srv.PprofHandler(), rest
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1"+path, nil))
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
		{"/profiles/debug/pprof/", 200, "goroutine"},
		{"/profiles/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"/profiles/metrics", 404, ""},
		{"/debug/pprof/", 404, ""},
		{"/debug/pprof/cmdline", 404, ""},
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

// TestHost asks under names: what a web page of a stranger's can make lead here is
// refused, whichever endpoint it asks for.
func TestHost(t *testing.T) {
	cfg := ops.Default()
	cfg.Hosts = "localhost, Gateway-1.example.com"
	srv := ops.New(cfg, quiet(), ops.NewRegistry(), nil)
	for host, want := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:9091": 200, "[::1]:9091": 200, "[::1]": 200, "10.0.0.7:9091": 200,
		"localhost": 200, "LOCALHOST:9091": 200, "gateway-1.example.com": 200, "gateway-1.example.com.:9091": 200, "": 200,
		"attacker.example": 421, "attacker.example:9091": 421, "127.0.0.1.attacker.example": 421, "localhost.attacker.example": 421,
		"gateway-2.example.com": 421, "127.0.0.1@attacker.example": 421,
	} {
		for path, h := range map[string]http.Handler{"/metrics": srv.Handler(), "/healthz": srv.Handler(), "/debug/pprof/": srv.PprofHandler()} {
			rec := httptest.NewRecorder()
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			req.Host = host
			h.ServeHTTP(rec, req)
			if rec.Code != want {
				t.Errorf("GET %s with Host %q = %d, want %d", path, host, rec.Code, want)
			}
		}
	}
}

// TestProfilesAreOffByDefault runs what Default returns beside profiles that were
// asked for, on a listener of their own.
func TestProfilesAreOffByDefault(t *testing.T) {
	if cfg := ops.Default(); cfg.Pprof != "" {
		t.Errorf("profiles are at %q by default, want nowhere", cfg.Pprof)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := ops.Default()
	cfg.Addr, cfg.PprofListener = "", lis
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ops.New(cfg, quiet(), ops.NewRegistry(), nil).Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]int{"/debug/pprof/cmdline": 200, "/metrics": 404} {
		resp, err := client.Get("http://" + lis.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s of profiles = %d, want %d", path, resp.StatusCode, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
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
	if err == nil || !strings.Contains(err.Error(), "is taken by another program") {
		t.Errorf("Run = %v, want is taken by another program", err)
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
	c.Addr, c.Pprof, c.Hosts = "x", "y", "a:1"
	want := `-catalog.ops: "x" is not host:port
-catalog.ops-hosts: "a:1" is not a name without a port, such as gateway-1.example.com
-catalog.pprof: "y" is not host:port`
	if err := c.Check(); err == nil || err.Error() != want {
		t.Errorf("Check = %v, want\n%s", err, want)
	}
	if err := new(ops.Config).Check(); err == nil || !strings.Contains(err.Error(), "HeadTimeout") {
		t.Errorf("Check of a Config that Default has not made = %v, want the field", err)
	}
}
