package standalone

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/tidegatehq/tidegate/services/catalog"
	"github.com/tidegatehq/tidegate/services/gateway"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/ops"
	"github.com/tidegatehq/tidegate/services/kit/retry"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/portal"
	"github.com/tidegatehq/tidegate/services/standalone/internal/folder"
	"github.com/tidegatehq/tidegate/services/standalone/internal/sample"
	"github.com/tidegatehq/tidegate/services/subscription"
)

// stack is the services of one process, wired.
type stack struct {
	cfg   *Config
	data  *folder.Folder
	at    Addresses
	again bool
	log   *slog.Logger
	echo  *sample.Echo // nil without a sample
	ops   *ops.Server
	ready *probe
	open  sockets
	conns []*grpc.ClientConn
	// security is the log of security events that the services share.
	security *securitylog.Log
}

// newStack wires the services: each has an in-memory listener, and each of its callers
// has a connection by which it is identified.
func newStack(cfg *Config, data *folder.Folder, open sockets, at Addresses, again bool, log *slog.Logger) (*stack, error) {
	s := &stack{cfg: cfg, data: data, at: at, again: again, log: log, open: open}
	inside := map[string]*memnet.Listener{}
	for _, name := range []string{"catalog", "subscription", "gateway"} {
		inside[name] = memnet.Listen(name)
	}
	dial := func(to, from string, conn **grpc.ClientConn) error {
		c, err := inside[to].Dial(from)
		if err != nil {
			return err
		}
		s.conns, *conn = append(s.conns, c), c
		return nil
	}
	for _, link := range []struct {
		to, from string
		conn     **grpc.ClientConn
	}{
		{"subscription", "catalog", &cfg.catalog.Subscription.Conn},
		{"catalog", "subscription", &cfg.subscription.Catalog.Conn},
		{"catalog", "gateway", &cfg.gateway.Catalog.Conn},
		{"subscription", "gateway", &cfg.gateway.Subscription.Conn},
		{"catalog", "portal", &cfg.portal.Catalog.Conn},
		{"subscription", "portal", &cfg.portal.Subscription.Conn},
		{"gateway", "portal", &cfg.portal.Gateways.Conn},
	} {
		if err := dial(link.to, link.from, link.conn); err != nil {
			s.close()
			return nil, err
		}
	}
	cfg.catalog.GRPC.InternalListener = inside["catalog"]
	cfg.subscription.GRPC.InternalListener = inside["subscription"]
	cfg.gateway.GRPC.InternalListener = inside["gateway"]
	cfg.gateway.Listen.Listener, cfg.gateway.Listen.TLSListener = open["ws"], open["wss"]
	consoles := memnet.Listen("consoles")
	cfg.gateway.Listen.Inside, cfg.portal.DialGateway = consoles, consoles.DialSocket
	cfg.portal.Listener, cfg.portal.GRPCListener = open["https"], open["grpc"]
	cfg.portal.FirstPassword = (&hint{
		path: data.Path(adminPasswordFile), log: log,
		good: func(ctx context.Context) (bool, error) {
			return subscription.HoldsAdminPassword(ctx, *cfg.subscription)
		},
	}).text
	var err error
	if s.security, err = securitylog.Open(cfg.SecurityLog, log, time.Now); err != nil {
		s.close()
		return nil, fmt.Errorf("-security-log: %w", err)
	}
	cfg.catalog.Security.Log, cfg.subscription.Security.Log, cfg.gateway.Security.Log = s.security, s.security, s.security
	reg := ops.NewRegistry()
	cfg.catalog.Metrics, cfg.subscription.Metrics, cfg.gateway.Metrics, cfg.portal.Metrics = reg, reg, reg, reg
	if lis := open[sampleFlag]; lis != nil {
		s.echo = sample.NewEcho(lis, log)
	}
	if s.ready, err = newProbe(data.Path(folder.CACert), open, &cfg.gateway.Listen.Proxies, &cfg.portal.Proxies); err != nil {
		s.close()
		return nil, err
	}
	served := ops.Default()
	served.Addr, served.Listener, served.PprofListener, served.Hosts = "", open["ops"], open["pprof"], cfg.OpsHosts
	parts := &readiness{}
	cfg.catalog.Ops.Tell, cfg.subscription.Ops.Tell = parts.of("catalog"), parts.of("subscription")
	s.ops = ops.New(served, log, reg, func() error { return cmp.Or(s.ready.Now(), parts.now()) })
	return s, nil
}

// close closes the connections between the services, and the sockets that no service
// has begun to serve.
func (s *stack) close() {
	s.open.close()
	for _, c := range s.conns {
		_ = c.Close()
	}
	if s.ready != nil {
		s.ready.close()
	}
	_ = s.security.Close()
}

// tasks returns all tasks in the order of dependence: the last one stops first, once
// stopping is closed.
func (s *stack) tasks(stopping <-chan struct{}) []task {
	cfg, log := s.cfg, s.log
	last := slog.New(calm{log.Handler(), stopping})
	tasks := []task{{"operations", s.ops.Run}}
	if s.echo != nil {
		tasks = append(tasks, task{"sample backend", s.echo.Run})
	}
	return append(tasks,
		task{"catalog", func(ctx context.Context) error {
			return catalog.Run(ctx, *cfg.catalog, last.With("service", "catalog"))
		}},
		task{"subscription", func(ctx context.Context) error {
			return subscription.Run(ctx, *cfg.subscription, log.With("service", "subscription"))
		}},
		task{"portal", func(ctx context.Context) error {
			return portal.Run(ctx, *cfg.portal, log.With("service", "portal"))
		}},
		task{"gateway", func(ctx context.Context) error {
			return gateway.Run(ctx, *cfg.gateway, log.With("service", "gateway"))
		}},
		task{"certificates", s.renew},
		task{"welcome", s.welcome},
	)
}

// renew renews the server's certificate in time; the listeners read it again.
func (s *stack) renew(ctx context.Context) error {
	for retry.Sleep(ctx, renewEvery) {
		if err := s.data.Certificates(s.cfg.names(), time.Now()); err != nil {
			s.log.Error("the server's certificate is not renewed", "error", err)
		}
	}
	return nil
}

// welcome waits until everything is served, makes the sample and prints the banner,
// unless ctx ends before.
func (s *stack) welcome(ctx context.Context) error {
	err := s.ready.wait(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	b := &banner{program: s.cfg.Program, data: s.cfg.Data, again: s.again, at: s.at, ca: s.data.Path(folder.CACert)}
	holds, err := subscription.HoldsAdminPassword(ctx, *s.cfg.subscription)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		s.log.Warn("whether the first password is still good is not known", "error", err)
	}
	if holds {
		b.password = s.data.Path(adminPasswordFile)
	}
	if s.echo != nil {
		err := s.prepareSample(ctx, holds)
		if ctx.Err() != nil {
			return nil
		}
		if b.sample = err == nil; err != nil {
			b.noSample = err.Error()
		}
	}
	if err := b.print(s.cfg.out()); err != nil {
		s.log.Warn("the welcome is not printed", "error", err)
	}
	if s.cfg.Ready != nil {
		s.cfg.Ready(s.at)
	}
	<-ctx.Done()
	s.cfg.say("Stopping: live sessions have %v to end.", s.cfg.Drain)
	return nil
}

// prepareSample makes or finds the sample. It signs in only with a password that is good:
// others would count as failed sign-ins.
func (s *stack) prepareSample(ctx context.Context, good bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var password []byte // needed to make the sample, and to look after it
	if good {
		var err error
		if password, err = s.data.Read(adminPasswordFile); err != nil {
			return err
		}
	}
	return sample.Prepare(ctx, sample.Config{
		Files: s.data, Conn: s.ready.grpc, Backend: s.echo.URL(),
		Server: s.at.GRPC, Portal: s.at.Portal, Address: s.at.WSS + sample.APIContext + "/" + sample.APIVersion,
		Username: "admin", Password: strings.TrimSpace(string(password)), Log: s.log,
	})
}
