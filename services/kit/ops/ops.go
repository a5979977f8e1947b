// Package ops serves metrics, health, readiness and profiles to operators, over
// HTTP.
package ops

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidegatehq/tidegate/services/kit/connlimit"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/run"
)

// Config says where operators' endpoints are served. It is made by Default.
type Config struct {
	// Addr is host:port of metrics and health; empty serves neither.
	Addr string
	// Pprof is host:port of Go's profiles; empty serves none. They have a listener of
	// their own because they show what is in memory, which a monitor has no need of.
	Pprof string
	// Hosts are names, separated by commas, by which both may be asked for. IP
	// addresses may always. Other names are refused: a web page elsewhere can make its
	// own name lead here, and read what its visitor's machine serves (DNS rebinding).
	Hosts string
	// HeadTimeout is how long a request's head may take.
	HeadTimeout time.Duration
	// Listener and PprofListener are used instead of Addr and Pprof when they are set.
	Listener, PprofListener net.Listener
	// Listening, if set, is called with the address of each listener.
	Listening func(net.Addr)
	// Tell, if set, is called with the readiness of the service, for a program that
	// runs several services and answers for all of them.
	Tell func(ready func() error)

	prefix string
}

// Default returns the default configuration.
func Default() Config {
	return Config{Addr: "127.0.0.1:9091", Hosts: "localhost", HeadTimeout: 5 * time.Second}
}

// HostsHelp is the help of -ops-hosts, which tidegate serve has too.
const HostsHelp = "`names`, separated by commas, by which -ops and -pprof may be asked for; IP addresses always may"

// Flags registers -ops, -ops-hosts and -pprof, with prefix before their names. Their
// defaults are what the Config holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.StringVar(&c.Addr, prefix+"ops", c.Addr, "`address` of metrics and health over HTTP, host:port; empty for none")
	run.ListVar(fs, &c.Hosts, prefix+"ops-hosts", c.Hosts, HostsHelp)
	fs.StringVar(&c.Pprof, prefix+"pprof", c.Pprof, "`address` of Go's profiles over HTTP, host:port; empty for none")
}

// Check reports everything that is wrong with the configuration.
func (c *Config) Check() error {
	var wrong []error
	if c.HeadTimeout <= 0 {
		wrong = append(wrong, errors.New("operations: HeadTimeout must be more than 0"))
	}
	if err := netaddr.Check(c.Addr); err != nil && c.Addr != "" && c.Listener == nil {
		wrong = append(wrong, fmt.Errorf("-%sops: %w", c.prefix, err))
	}
	if err := c.CheckHosts(); err != nil {
		wrong = append(wrong, fmt.Errorf("-%sops-hosts: %w", c.prefix, err))
	}
	if err := netaddr.Check(c.Pprof); err != nil && c.Pprof != "" && c.PprofListener == nil {
		wrong = append(wrong, fmt.Errorf("-%spprof: %w", c.prefix, err))
	}
	return errors.Join(wrong...)
}

// CheckHosts reports what is wrong with Hosts, or nil.
func (c *Config) CheckHosts() error {
	for _, name := range c.hosts() {
		if strings.ContainsAny(name, ":/*[] ") {
			return fmt.Errorf("%q is not a name without a port, such as gateway-1.example.com", name)
		}
	}
	return nil
}

// hosts returns the names in Hosts, in lower case.
func (c *Config) hosts() []string {
	var all []string
	for name := range strings.SplitSeq(c.Hosts, ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			all = append(all, name)
		}
	}
	return all
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

// degraded is what is wrong with a program that is ready nevertheless.
type degraded struct{ error }

// Degraded returns what ready returns for a program that serves, but not all that it
// should: /readyz says what is wrong, and that the program is ready. It is nil for nil.
func Degraded(err error) error {
	if err == nil {
		return nil
	}
	return degraded{err}
}

// Join returns what is wrong with the services of a program, by name: as Degraded if
// all of them are ready nevertheless.
func Join(services map[string]error) error {
	var wrong, limited []error
	for _, name := range slices.Sorted(maps.Keys(services)) {
		err := services[name]
		if err == nil {
			continue
		}
		named := fmt.Errorf("%s: %w", name, err)
		if _, ok := err.(degraded); ok { //nolint:errorlint // as in readyz
			limited = append(limited, named)
			continue
		}
		wrong = append(wrong, named)
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	return Degraded(errors.Join(limited...))
}

// New returns a server of the metrics in reg. ready returns why the program is not
// ready, an error of Degraded, or nil; it may be nil itself for a program that always is.
func New(cfg Config, log *slog.Logger, reg *prometheus.Registry, ready func() error) *Server {
	if cfg.Tell != nil && ready != nil {
		cfg.Tell(ready)
	}
	return &Server{cfg: cfg, log: log, reg: reg, ready: ready}
}

// Handler returns the handler of metrics and health.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.reg, promhttp.HandlerOpts{Registry: s.reg}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", s.readyz)
	return s.named(mux)
}

// PprofHandler returns the handler of profiles.
func (s *Server) PprofHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return s.named(mux)
}

// named refuses requests for a Host that is neither an IP address nor listed. One
// without Host passes: it is HTTP/1.0, which no browser speaks.
func (s *Server) named(next http.Handler) http.Handler {
	names := s.cfg.hosts()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := strings.ToLower(strings.TrimSuffix(netaddr.Host(r.Host), "."))
		if _, err := netip.ParseAddr(host); err != nil && host != "" && !slices.Contains(names, host) {
			http.Error(w, "this host name is not listed in -"+s.cfg.prefix+"ops-hosts", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	var err error
	if s.ready != nil {
		err = s.ready()
	}
	only, isDegraded := err.(degraded) //nolint:errorlint // joined with others, it is not all that is wrong
	switch {
	case err == nil:
		fmt.Fprintln(w, "ok")
	case isDegraded:
		fmt.Fprintln(w, "ok, but "+only.Error())
	default:
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
	}
}

// Connections of operators and their monitors at once, in all and of one address.
const maxConnections, maxPerAddress = 16, 8

// Run serves until ctx ends. Without an address it only waits for that.
func (s *Server) Run(ctx context.Context) error {
	limit := connlimit.New(connlimit.Config{Max: maxConnections, PerAddress: maxPerAddress}, nil)
	return run.Group(ctx,
		func(ctx context.Context) error {
			return s.serve(ctx, limit, "operations", "ops", s.cfg.Listener, s.cfg.Addr, s.Handler())
		},
		func(ctx context.Context) error {
			return s.serve(ctx, limit, "profiles", "pprof", s.cfg.PprofListener, s.cfg.Pprof, s.PprofHandler())
		})
}

// serve serves what is at the address of one flag.
func (s *Server) serve(ctx context.Context, limit *connlimit.Limit, what, flag string, given net.Listener, addr string, handler http.Handler) error {
	lis, err := netaddr.Listen(ctx, given, "-"+s.cfg.prefix+flag, addr)
	if err != nil {
		return err
	}
	if lis == nil {
		<-ctx.Done()
		return nil
	}
	if s.cfg.Listening != nil {
		s.cfg.Listening(lis.Addr())
	}
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: s.cfg.HeadTimeout,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.log.Info(what+" served", "address", lis.Addr().String())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(limit.Listener(lis)) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve %s: %w", what, err)
	case <-ctx.Done():
	}
	err = srv.Close()
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w", what, err)
	}
	return nil
}
