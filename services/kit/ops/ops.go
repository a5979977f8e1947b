// Package ops serves metrics, health, readiness and profiles to operators, over
// HTTP.
package ops

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidegatehq/tidegate/services/kit/netaddr"
)

// Config says where operators' endpoints are served. It is made by Default.
type Config struct {
	// Addr is host:port; empty serves nothing.
	Addr string
	// HeadTimeout is how long a request's head may take.
	HeadTimeout time.Duration
	// Listener is used instead of Addr when it is set.
	Listener net.Listener

	prefix string
}

// Default returns the default configuration.
func Default() Config { return Config{Addr: "127.0.0.1:9091", HeadTimeout: 5 * time.Second} }

// Flags registers -ops, with prefix before its name. Its default is what the Config
// holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.StringVar(&c.Addr, prefix+"ops", c.Addr,
		"`address` of metrics, health and profiles over HTTP; empty for none")
}

// Check reports what is wrong with the configuration.
func (c *Config) Check() error {
	if c.HeadTimeout <= 0 {
		return errors.New("operations: HeadTimeout must be more than 0")
	}
	if c.Addr == "" || c.Listener != nil {
		return nil
	}
	if err := netaddr.Check(c.Addr); err != nil {
		return fmt.Errorf("-%sops: %w", c.prefix, err)
	}
	return nil
}

// NewRegistry returns a registry with the metrics of the process and of Go's
// runtime.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	return reg
}

// Server serves the operators' endpoints.
type Server struct {
	cfg   Config
	log   *slog.Logger
	reg   *prometheus.Registry
	ready func() error
}

// New returns a server of the metrics in reg. ready returns why the program is not
// ready, or nil; it may be nil itself for a program that always is.
func New(cfg Config, log *slog.Logger, reg *prometheus.Registry, ready func() error) *Server {
	return &Server{cfg: cfg, log: log, reg: reg, ready: ready}
}

// Handler returns the handler of all endpoints.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.reg, promhttp.HandlerOpts{Registry: s.reg}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if s.ready != nil {
		if err := s.ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "ok")
}

// Run serves until ctx ends. Without an address it only waits for that.
func (s *Server) Run(ctx context.Context) error {
	lis, err := netaddr.Listen(ctx, s.cfg.Listener, s.cfg.Addr)
	if err != nil {
		return fmt.Errorf("serve operations: %w", err)
	}
	if lis == nil {
		<-ctx.Done()
		return nil
	}
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: s.cfg.HeadTimeout,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.log.Info("operations served", "address", lis.Addr().String())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(lis) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve operations: %w", err)
	case <-ctx.Done():
	}
	err = srv.Close()
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("stop operations: %w", err)
	}
	return nil
}
