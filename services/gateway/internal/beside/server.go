package beside

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http/httputil"
	"sync/atomic"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/handshake"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
)

// Config is the configuration of a Server. Default makes it.
type Config struct {
	MaxBody int64         // bytes of a request's body
	Timeout time.Duration // of the head of a backend's answer, from the end of the request
	Stall   time.Duration // in which a client or a backend takes nothing of what it is sent, or a client sends nothing of its body
	MaxIdle int           // connections to backends, from which on none is kept for another request; 0: none is

	prefix string
}

// Default returns the default configuration.
func Default() Config {
	return Config{MaxBody: 10 << 20, Timeout: 2 * time.Minute, Stall: 30 * time.Second, MaxIdle: 1024}
}

// Flags registers the options, each name after prefix. Their defaults are what the Config
// holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.Int64Var(&c.MaxBody, prefix+"http-max-body", c.MaxBody,
		"largest body of a request of HTTP beside the socket in `bytes`, where its version says no other; a larger one is answered with 413")
	fs.DurationVar(&c.Timeout, prefix+"http-timeout", c.Timeout,
		"`time` for a backend to begin its answer to a request of HTTP beside the socket, where its version says no other; then it is answered with 504")
	fs.DurationVar(&c.Stall, prefix+"http-stall", c.Stall,
		"`time` after which a request of HTTP beside the socket is cut whose client sends nothing of its body, or of whose bodies nothing is taken; a client that is waited for longer in all must send 500 bytes a second")
}

// Check reports what is wrong with the configuration.
func (c *Config) Check() error {
	var errs []error
	if c.MaxBody <= 0 {
		errs = append(errs, fmt.Errorf("-%shttp-max-body: must be more than 0", c.prefix))
	}
	if c.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("-%shttp-timeout: must be more than 0, or silent backends would be waited for for ever", c.prefix))
	}
	if c.Stall <= 0 {
		errs = append(errs, fmt.Errorf("-%shttp-stall: must be more than 0, or silent clients would stay for ever", c.prefix))
	}
	return errors.Join(errs...)
}

// Meter counts what requests use. metering.Meter does.
type Meter interface {
	// Used counts what a request has used since the last call.
	Used(info *session.Info, used []ending.Usage)
	// Answered takes the record of a request that is over and was not refused.
	Answered(r session.Record)
}

// Dependencies are what a Server works with.
type Dependencies struct {
	Handshakes *handshake.Handler // whose steps requests take
	Routes     *routes.Current
	Dialer     *upstream.Dialer
	Metrics    *metrics.Metrics
	Meter      Meter
	// Minute returns the Unix seconds of the start of the minute of a time of the clock of
	// plans, 0 for now.
	Minute func(at int64) int64
	// Ready returns why connections are not kept for another request, or nil.
	Ready func() error
	Log   *slog.Logger
}

// Server serves plain requests. It is safe for concurrent use.
type Server struct {
	Dependencies
	cfg      Config
	pools    pools
	proxy    *httputil.ReverseProxy
	inFlight atomic.Int64
}

// New returns a server. Run must run as long as it serves.
func New(cfg Config, d Dependencies) *Server {
	s := &Server{Dependencies: d, cfg: cfg}
	s.pools = pools{server: s, byVersion: map[string]*pool{}}
	s.proxy = s.newProxy()
	return s
}

// sweepEvery is how often connections to backends are closed that no route leads to any more.
const sweepEvery = 5 * time.Second

// Run closes the connections to backends that are kept, once no route leads there, and all of
// them when ctx ends.
func (s *Server) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	defer s.pools.keep(new(routes.Table))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.pools.keep(s.Routes.Load())
		}
	}
}

// InFlight returns how many requests are in progress.
func (s *Server) InFlight() int { return int(s.inFlight.Load()) }

// Connections returns how many connections to backends there are, in use or kept.
func (s *Server) Connections() int { return int(s.pools.open.Load()) }

// Handle serves one request. It implements listener.Config.Beside.
func (s *Server) Handle(ctx context.Context, r *listener.Request) listener.Served {
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x := s.newExchange(ctx, r, cancel)
	defer x.end()
	err := x.of.Admit(x.ctx)
	switch {
	case err != nil:
		x.refuse(err)
	case x.of.Preflight && !x.of.HTTP().BackendCORS:
		x.preflight()
	default:
		if err = x.begin(); err != nil {
			x.refuse(err)
			break
		}
		s.forward(x)
	}
	return x.served()
}
