package portal

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"

	"github.com/tidegatehq/tidegate/gen"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/connlimit"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/ops"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/portal/internal/apidocs"
	"github.com/tidegatehq/tidegate/services/portal/internal/changes"
	"github.com/tidegatehq/tidegate/services/portal/internal/forward"
	"github.com/tidegatehq/tidegate/services/portal/internal/gateways"
	"github.com/tidegatehq/tidegate/services/portal/internal/inprocess"
	"github.com/tidegatehq/tidegate/services/portal/internal/oauth2"
	"github.com/tidegatehq/tidegate/services/portal/internal/rest"
	"github.com/tidegatehq/tidegate/services/portal/internal/sessions"
	"github.com/tidegatehq/tidegate/services/portal/internal/upstream"
	"github.com/tidegatehq/tidegate/services/portal/internal/web"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/console"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// Run serves the portal until ctx ends.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	if err := cfg.Check(); err != nil {
		return run.Misconfigured(err)
	}
	var source *certs.Source
	if cfg.TLSCert != "" {
		var err error
		if source, err = certs.Open(certs.Files{Cert: cfg.TLSCert, Key: cfg.TLSKey}, log); err != nil {
			return err
		}
		run.OnReload(ctx, source.Reload)
	}
	services, err := dial(&cfg, log)
	if err != nil {
		return err
	}
	defer services.close()
	reg := cfg.Metrics
	if reg == nil {
		reg = ops.NewRegistry()
	}
	key, keeper, err := openKey(ctx, &cfg, log, reg)
	if err != nil {
		return err
	}
	local := local{
		changes:   changes.New(services.catalog, services.subscription),
		sessions:  sessions.New(services.gateways),
		endpoints: sessions.NewEndpoints(services.gateways, services.catalog),
		revoke:    sessions.NewRevocations(services.gateways, services.subscription),
	}
	roots, err := openRoots(ctx, &cfg)
	if err != nil {
		return err
	}
	authority := cfg.Authority
	if authority == "" && cfg.GatewayCA != "" {
		authority = filepath.Base(cfg.GatewayCA) // where users have it is theirs to know
	}
	pages := web.PagesConfig{
		Services: ui.NewServices(services.catalog, services.subscription, local.conn()), Key: key, FirstPassword: cfg.FirstPassword, Authority: authority, Log: log,
	}
	pages.Console = console.New(console.Config{
		Services: pages.Services, Key: key, Dial: cfg.DialGateway, Roots: roots.Load, Authority: authority, Log: log, Now: time.Now,
	})
	handler, err := newHandler(ctx, services, local, pages, &cfg, log, reg)
	if err != nil {
		return err
	}
	if cfg.Listener == nil { // otherwise the program divides what it may have open
		if err := cfg.Connections.Fit(); err != nil {
			return run.Misconfigured(err)
		}
	}
	limit := connlimit.New(cfg.Connections, &cfg.Proxies)
	public := newGRPC(cfg, limit, services, local, source, log, reg)
	operations := ops.New(cfg.Ops, log, reg, services.ready)
	lis, err := netaddr.Listen(ctx, cfg.Listener, "-"+cfg.prefix+"listen", cfg.Listen)
	if err != nil {
		return err
	}
	https := newHTTPS(handler, source, cfg.Drain, log)
	return run.Group(ctx, keeper.Run, pages.Console.Run, operations.Run, public.Run, func(ctx context.Context) error { return https.serve(ctx, limit.Listener(lis)) })
}

// openRoots reads the authorities of the gateways' addresses, now and when a reload is asked
// for.
func openRoots(ctx context.Context, cfg *Config) (*atomic.Pointer[x509.CertPool], error) {
	roots := &atomic.Pointer[x509.CertPool]{}
	read := func() error {
		pool, err := certs.RootsWith(cfg.GatewayCA)
		if err != nil {
			return fmt.Errorf("-%sgateway-wss-ca: %w", cfg.prefix, err)
		}
		roots.Store(pool)
		return nil
	}
	run.OnReload(ctx, read)
	return roots, read()
}

// openKey reads the master key, and returns it with its keeper. Only cookies are sealed
// with it: after an exchange of the key, those of the old one sign nobody in.
func openKey(ctx context.Context, cfg *Config, log *slog.Logger, reg prometheus.Registerer) (*seal.Key, *seal.Keeper, error) {
	key, err := seal.Load(cfg.MasterKeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("-%smaster-key-file: %w", cfg.prefix, err)
	}
	keeper := seal.NewKeeper(key, seal.Stored{
		Service: identity.Portal, Reseal: func(context.Context) (int, error) { return 0, nil },
	}, log)
	if err := errors.Join(keeper.Start(ctx), reg.Register(keeper.Metrics())); err != nil {
		return nil, nil, err
	}
	run.OnReload(ctx, func() error { return keeper.Reload(ctx) })
	return key, keeper, nil
}

// local has the services that the portal serves itself.
type local struct {
	changes   changev1.ChangeServiceServer
	sessions  gatewayv1.SessionServiceServer
	endpoints gatewayv1.EndpointServiceServer
	revoke    subscriptionv1.RevocationServiceServer
}

// conn returns a connection to them, for the pages.
func (l local) conn() *inprocess.Conn {
	c := inprocess.New()
	changev1.RegisterChangeServiceServer(c, l.changes)
	gatewayv1.RegisterSessionServiceServer(c, l.sessions)
	gatewayv1.RegisterEndpointServiceServer(c, l.endpoints)
	subscriptionv1.RegisterRevocationServiceServer(c, l.revoke)
	return c
}

// newHandler returns the handler of all that is served over HTTP.
func newHandler(
	ctx context.Context, s *services, l local, p web.PagesConfig, cfg *Config, log *slog.Logger, reg prometheus.Registerer,
) (http.Handler, error) {
	api, err := rest.New(ctx, rest.Services{
		Catalog: s.catalog, Subscription: s.subscription, Changes: l.changes, Sessions: l.sessions, Endpoints: l.endpoints, Revocations: l.revoke,
	})
	if err != nil {
		return nil, err
	}
	docs, err := apidocs.Routes()
	if err != nil {
		return nil, err
	}
	tokens := oauth2.New(oauth2v1.NewOAuth2ServiceClient(s.subscription), log)
	pages, err := web.NewPages(p)
	if err != nil {
		return nil, err
	}
	return web.New(web.Parts{
		REST: api, OAuth2: tokens.Routes(), OpenAPI: []byte(gen.OpenAPI()), Docs: docs, Pages: pages, Proxies: &cfg.Proxies, Origins: cfg.Origins,
	}, log, reg)
}

// newGRPC returns the public gRPC server. This is the list of what it forwards and
// what it serves itself.
func newGRPC(cfg Config, limit *connlimit.Limit, s *services, l local, source *certs.Source, log *slog.Logger, reg prometheus.Registerer) *grpcserver.Server {
	f := forward.New([]*grpc.ServiceDesc{&changev1.ChangeService_ServiceDesc, &gatewayv1.SessionService_ServiceDesc, &gatewayv1.EndpointService_ServiceDesc, &subscriptionv1.RevocationService_ServiceDesc},
		forward.Service{Desc: &catalogv1.CatalogService_ServiceDesc, Conn: s.catalog},
		forward.Service{Desc: &catalogv1.DenyRuleService_ServiceDesc, Conn: s.catalog},
		forward.Service{Desc: &identityv1.SignInService_ServiceDesc, Conn: s.subscription},
		forward.Service{Desc: &identityv1.UserService_ServiceDesc, Conn: s.subscription},
		forward.Service{Desc: &identityv1.SecurityEventService_ServiceDesc, Conn: s.subscription},
		forward.Service{Desc: &subscriptionv1.ApplicationService_ServiceDesc, Conn: s.subscription},
		forward.Service{Desc: &subscriptionv1.APIKeyService_ServiceDesc, Conn: s.subscription},
		forward.Service{Desc: &subscriptionv1.SubscriptionService_ServiceDesc, Conn: s.subscription},
		forward.Service{Desc: &subscriptionv1.TokenService_ServiceDesc, Conn: s.subscription},
		forward.Service{Desc: &oauth2v1.OAuth2Service_ServiceDesc, Conn: s.subscription},
		forward.Service{Desc: &oauth2v1.SigningKeyService_ServiceDesc, Conn: s.subscription},
		forward.Service{Desc: &usagev1.UsageService_ServiceDesc, Conn: s.subscription},
		forward.Service{Desc: &usagev1.QuotaService_ServiceDesc, Conn: s.subscription},
	)
	opts := append(f.Options(), grpcserver.WithMetrics(reg), grpcserver.WithProxies(&cfg.Proxies), grpcserver.WithLimit(limit))
	if source != nil {
		opts = append(opts, grpcserver.WithUsersOptions(grpc.Creds(credentials.NewTLS(source.Server(false, "h2")))))
	}
	// Config.Check has decided whether plaintext is allowed.
	served := grpcserver.Default(cfg.GRPC, "")
	served.Listener, served.Plaintext, served.Drain = cfg.GRPCListener, true, cfg.Drain
	srv := grpcserver.New(served, log, grpcserver.Auth{Rules: f.Rules()}, opts...)
	changev1.RegisterChangeServiceServer(srv.Public(), l.changes)
	gatewayv1.RegisterSessionServiceServer(srv.Public(), l.sessions)
	gatewayv1.RegisterEndpointServiceServer(srv.Public(), l.endpoints)
	subscriptionv1.RegisterRevocationServiceServer(srv.Public(), l.revoke)
	return srv
}

// services are the connections to the services.
type services struct {
	catalog, subscription *upstream.Conn
	gateways              *gateways.Directory
	needed                map[string]*grpc.ClientConn
	closers               []func() error
}

// dial connects to the services.
func dial(cfg *Config, log *slog.Logger) (*services, error) {
	s := &services{needed: map[string]*grpc.ClientConn{}}
	catalog, err1 := cfg.Catalog.Dial()
	subscription, err2 := cfg.Subscription.Dial()
	s.closers = []func() error{
		func() error { return cfg.Catalog.Close(catalog) },
		func() error { return cfg.Subscription.Close(subscription) },
	}
	if err := errors.Join(err1, err2); err != nil {
		s.close()
		return nil, err
	}
	s.catalog = upstream.New("the catalog service", catalog, log)
	s.subscription = upstream.New("the subscription service", subscription, log)
	s.gateways = gateways.New(s.catalog, &cfg.Gateways, log)
	s.closers = append(s.closers, s.gateways.Close)
	s.needed["catalog"], s.needed["subscription"] = catalog, subscription
	return s, nil
}

func (s *services) close() {
	for _, c := range s.closers {
		_ = c()
	}
}

// ready reports the services that cannot be reached. Gateways are not among them,
// because only live sessions need them.
func (s *services) ready() error {
	var away []error
	for _, name := range []string{"catalog", "subscription"} {
		conn := s.needed[name]
		switch conn.GetState() {
		case connectivity.Ready:
			continue
		case connectivity.Idle:
			conn.Connect()
		}
		away = append(away, fmt.Errorf("the %s service is not connected", name))
	}
	return errors.Join(away...)
}

// httpsServer serves HTTP, over TLS if there is a certificate.
type httpsServer struct {
	srv   *http.Server
	drain time.Duration
	log   *slog.Logger
}

// Limits of a request in time and size. Its handler has upstream.Timeout for the
// call to a service, and the rest to answer.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = readTimeout + upstream.Timeout + 10*time.Second
	idleTimeout       = 2 * time.Minute
	maxHeader         = 64 << 10
	// maxStreams is how many concurrent HTTP/2 requests a connection may have.
	maxStreams = 100
)

func newHTTPS(handler http.Handler, source *certs.Source, drain time.Duration, log *slog.Logger) *httpsServer {
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	if source != nil {
		srv.TLSConfig = source.Server(false, "h2", "http/1.1")
	}
	return &httpsServer{srv: srv, drain: drain, log: log}
}

// serve serves until ctx ends. Then it accepts no more requests, and waits up to the
// drain time for those in progress.
func (s *httpsServer) serve(ctx context.Context, lis net.Listener) error {
	s.log.Info("HTTP served", "address", lis.Addr().String(), "tls", s.srv.TLSConfig != nil)
	done := make(chan error, 1)
	go func() {
		if s.srv.TLSConfig != nil {
			done <- s.srv.ServeTLS(lis, "", "")
			return
		}
		done <- s.srv.Serve(lis)
	}()
	select {
	case err := <-done:
		return fmt.Errorf("serve HTTPS: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.drain)
	defer cancel()
	if err := s.srv.Shutdown(stop); err != nil {
		s.log.Warn("requests were cut off", "error", err)
		_ = s.srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTPS: %w", err)
	}
	return nil
}
